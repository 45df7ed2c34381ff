# Everything here works on a fresh Debian or Ubuntu machine: each target installs what it needs.
# Slow set-up (Python environment, Kubernetes, base image) is kept in $(CACHE), outside the tree. It is made by targets
# of its own before the tests start: no test builds or downloads anything.

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/static-route-operator
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' static_route_operator/__init__.py)
OUT ?= dist/k8s-staticroute-operator-v$(VERSION).tar
RELEASE := releases/v$(firstword $(subst ., ,$(VERSION)))/k8s-staticroute-operator-v$(VERSION).yaml
# The image that the release manifest names.
IMG ?= $(firstword $(shell sed -n "s/^ *image: //p" $(RELEASE)))

# One environment per set of locked dependencies and per checkout, since the project itself is installed editable.
LOCK := $(shell sha256sum < requirements/dev.lock | cut -c1-12)-$(shell pwd | sha256sum | cut -c1-6)
VENV := $(CACHE)/venv-$(LOCK)
BIN := $(VENV)/bin
# The site of docs/ has an environment of its own: no other target needs what builds it.
DOCS_VENV := $(CACHE)/docs-$(shell sha256sum < requirements/docs.lock | cut -c1-12)
AUDIT_VENV := $(CACHE)/audit-$(shell sha256sum < requirements/audit.lock | cut -c1-12)
SBOM ?= dist/k8s-staticroute-operator-v$(VERSION).cdx.json

.DEFAULT_GOAL := help
.PHONY: help demo test check format unit kernel cluster-tests api-versions e2e kubernetes api-servers helm \
  fresh-machine docs walkthrough recording audit sbom generate lock image image-tar release cluster cluster-down bench clean

help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready:
	tools/python-environment $(VENV) requirements/dev.lock .

$(AUDIT_VENV)/ready:
	tools/python-environment $(AUDIT_VENV) requirements/audit.lock

$(DOCS_VENV)/ready:
	tools/python-environment $(DOCS_VENV) requirements/docs.lock

demo: $(VENV)/ready ## Three nodes, two NAT gateways and a web site on this machine: see routes come, move and go (root)
	tools/apt-install $(shell tools/apt-packages demo)
	$(BIN)/python -m examples.demo

test: check docs kubernetes api-servers helm image-tar kernel cluster-tests e2e ## All tests (root; README.md tells time and disk)

check: $(VENV)/ready ## Lint, types, import contracts, generated files and unit tests, in seconds
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint -s .github deploy releases examples
	$(BIN)/python tools/generate.py --check
	grep -rIlE '^#!.*(bash|/sh)' tools .ci | xargs $(BIN)/shellcheck
	$(BIN)/pytest tests/unit
	tools/audit $(AUDIT_VENV)

format: $(VENV)/ready ## Format the code and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

unit: $(VENV)/ready ## Unit tests
	$(BIN)/pytest tests/unit

kernel: $(VENV)/ready ## Tests on the real kernel, in throw-away network namespaces (root)
	tools/apt-install $(shell tools/apt-packages kernel)
	$(BIN)/pytest $(or $(ARGS),tests/kernel)

cluster-tests: kubernetes api-servers ## Tests on a real API server, agents as processes (root)
	tools/apt-install $(shell tools/apt-packages lab)
	$(BIN)/pytest $(or $(ARGS),tests/cluster)

api-versions: kubernetes api-servers ## CRD, policies and examples on the oldest and the newest API server; a part of cluster-tests (root)
	tools/apt-install $(shell tools/apt-packages lab)
	$(BIN)/pytest tests/cluster/test_crd.py tests/cluster/test_manifests.py

e2e: kubernetes helm image-tar ## Tests on three real kubelets, the image and the release manifest as users get them (root)
	tools/apt-install $(shell tools/apt-packages lab image)
	$(BIN)/pytest $(or $(ARGS),tests/e2e)

kubernetes: $(VENV)/ready ## Build the lab's Kubernetes and etcd, once; KUBE_VERSION=v1.34.4 for another version
	$(BIN)/python -m tests.lab build kubernetes

api-servers: $(VENV)/ready ## Build the API servers of the oldest and the newest Kubernetes that are promised, once
	$(BIN)/python -m tests.lab build api-servers

helm: $(VENV)/ready ## Build Helm, once
	$(BIN)/python -m tests.lab build helm

fresh-machine: ## Run `make demo` and `make test` on an empty Debian in a directory; TARGETS="check" runs others (root)
	tools/apt-install debootstrap git
	tools/fresh-machine $(or $(TARGETS),demo test)

docs: $(DOCS_VENV)/ready ## The site of docs/, into dist/site; fails on any broken link in it
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

walkthrough: kubernetes image-tar ## Write into docs/walkthrough.md what its commands print now (root)
	tools/apt-install $(shell tools/apt-packages lab image)
	WALKTHROUGH=write $(BIN)/pytest tests/e2e/test_walkthrough.py

recording: $(VENV)/ready ## Record the demo anew, for the README (root)
	tools/apt-install $(shell tools/apt-packages demo)
	$(BIN)/python tools/recording.py docs/images/demo.cast "make demo" $(BIN)/python -m examples.demo
	$(BIN)/python tools/generate.py

audit: ## Known vulnerabilities of the locked dependencies, where their data can be reached (a part of check)
	tools/audit $(AUDIT_VENV)

sbom: $(AUDIT_VENV)/ready ## What the operator is made of, as CycloneDX: make sbom SBOM=FILE
	tools/sbom $(AUDIT_VENV) $(SBOM)

generate: $(VENV)/ready ## Write the generated files: CRD, release manifest, chart, reference, pictures
	$(BIN)/python tools/generate.py

lock: $(VENV)/ready ## Resolve the dependencies anew into requirements/
	tools/lock $(BIN)

image: ## Build the image: make image IMG=name:tag (docker, podman or buildah)
	tools/apt-install $(shell tools/apt-packages image)
	tools/image $(IMG)

image-tar: image ## Build the image and save it as a docker-archive: make image-tar OUT=FILE
	mkdir -p $(dir $(OUT))
	tools/image-tar $(IMG) $(OUT)

release: $(VENV)/ready ## Write the release manifest for an image: make release IMG=name:tag
	$(BIN)/python tools/generate.py --image $(IMG)

cluster: kubernetes image-tar ## A three-node cluster on this machine with the operator installed (root); says how to use it
	tools/apt-install $(shell tools/apt-packages lab image)
	$(BIN)/python -m tests.lab up 3 --operator

cluster-down: $(VENV)/ready ## Take that cluster away
	$(BIN)/python -m tests.lab down

bench: kubernetes image-tar ## Benchmarks, beside BIRD and FRR; writes the tables of docs/performance.md (root)
	tools/apt-install $(shell tools/apt-packages lab image)
	for package in $(shell tools/apt-packages peers); do tools/apt-install $$package || echo "bench: without $$package"; done
	$(BIN)/python -m benchmarks.kernel --write
	$(BIN)/python -m benchmarks.health --write
	$(BIN)/python -m benchmarks.busy --write
	$(BIN)/python -m benchmarks.outage --write
	$(BIN)/python -m benchmarks.memory --write
	$(BIN)/python -m benchmarks.cluster

clean: ## Remove what is cached for this project
	rm -rf $(CACHE)
