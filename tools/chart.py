"""The Helm chart, generated from the objects of the release manifest.

One tree of values is the source of `values.yaml`, its schema and the table in the README of the chart. The defaults are
taken from the objects, so that the chart with its defaults renders the release manifest.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

import click
import yaml
from documents import GENERATED, NAME, to_yaml

from static_route_operator import __version__
from static_route_operator.settings import (
    ClusterSettings,
    ControllerSettings,
    ProcessSettings,
    environment_variable,
    flag,
)
from tests.lab import versions

NAMESPACE = "static-routes"
CONTROLLER = f"{NAME}-controller"
RUNBOOKS = "https://github.com/staticrouteoperator/k8s-staticroute-operator/blob/main/docs/alerts.md"

_OBJECT = {"type": "object"}
_LIST = {"type": "array", "items": {"type": "object"}}
_TEXT = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
# Settings without a value: the pods' probes need the first, and monitoring sets the second.
_FIXED = {"http_address", "metrics_address"}

# Name of the namespace, except as a part of another word.
_NAMESPACE = re.compile(rf"(?<![\w./-]){NAMESPACE}(?![\w./-])")


@dataclass(frozen=True)
class Value:
    """One value of the chart.

    Attributes:
        text: description, in a sentence.
        schema: JSON schema.
    """

    default: Any
    text: str
    schema: dict[str, Any] = field(default_factory=lambda: _TEXT)


Values = dict[str, "Value | Values"]


@dataclass(frozen=True)
class Monitoring:
    """The monitoring component.

    Attributes:
        rules: the PrometheusRule.
        patch: the component's patch of the DaemonSet.
        configuration: metadata of the ConfigMap with the dashboard.
        dashboard: the dashboard as JSON of Grafana.
    """

    podmonitors: list[dict[str, Any]]
    rules: dict[str, Any]
    patch: dict[str, Any]
    configuration: dict[str, Any]
    dashboard: str


class Template(str):
    """A piece of Helm template that replaces a value or a list item of a document."""

    __slots__ = ()


def files(image: str, sources: Mapping[str, Sequence[dict[str, Any]]], monitoring: Monitoring) -> dict[str, str]:
    """Return the generated files of the chart, by path.

    Args:
        image: of the release manifest.
        sources: documents of the kustomize base, by file.
        monitoring: the monitoring component.
    """
    values = _values(image, sources)
    made = {
        "Chart.yaml": GENERATED + to_yaml(_metadata()),
        "values.yaml": _values_file(values),
        "values.schema.json": json.dumps(_schema(values), indent=2) + "\n",
        "README.md": _readme(values),
        "files/dashboard.json": monitoring.dashboard,
        "files/rules.yaml": to_yaml(monitoring.rules["spec"]),
    }
    for file, documents in sources.items():
        made[f"templates/{file}"] = _templates(documents, monitoring.patch)
    made["templates/monitoring.yaml"] = _monitoring_template(monitoring)
    return made


def _metadata() -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Installs static routes in the kernel of every node, and keeps them there",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": f">={versions.OLDEST_KUBERNETES.removeprefix('v')}-0",
        "keywords": ["routing", "egress", "gateway", "network"],
    }


# Values.


def _values(image: str, sources: Mapping[str, Sequence[dict[str, Any]]]) -> Values:
    workloads = {
        document["metadata"]["name"]: document
        for documents in sources.values()
        for document in documents
        if document["kind"] in {"DaemonSet", "Deployment"}
    }
    name, _, digest = image.partition("@")
    repository, _, tag = name.rpartition(":")
    agent: Values = {
        **_workload_values(workloads[NAME], ClusterSettings),
        "maxUnavailable": Value(
            workloads[NAME]["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            "Number or percentage of agents that are replaced at a time.",
            {"type": ["string", "integer"]},
        ),
    }
    for volume in workloads[NAME]["spec"]["template"]["spec"].get("volumes", ()):
        if path := volume.get("hostPath", {}).get("path"):
            agent["stateDirectory"] = Value(path, "Directory on the node where the agent keeps its state.")
    return {
        "image": {
            "repository": Value(repository, "Image, without tag."),
            "tag": Value(tag, "Tag of the image."),
            "digest": Value(digest, "Digest of the image, as in `sha256:…`. If set, it takes precedence over the tag."),
            "pullPolicy": Value(
                "IfNotPresent",
                "Pull policy of the image.",
                {"enum": ["Always", "IfNotPresent", "Never"], "type": "string"},
            ),
        },
        "imagePullSecrets": Value([], "Secrets for a private registry: `[{name: …}]`.", _LIST),
        "namespace": Value(NAMESPACE, "Namespace of all objects, even if the release is in another namespace."),
        "createNamespace": Value(
            default=True,
            text="Create the namespace, with Pod Security that allows host networking. Ignored if the release is in"
            " this namespace.",
            schema=_BOOLEAN,
        ),
        "crds": {
            "install": Value(
                default=True,
                text="Install and upgrade the CRDs. `helm uninstall` keeps them, with all StaticRoutes.",
                schema=_BOOLEAN,
            )
        },
        "agent": agent,
        "controller": _workload_values(workloads[CONTROLLER], ControllerSettings),
        "monitoring": {
            "enabled": Value(
                default=False,
                text="Install PodMonitors, alerts and a dashboard. Needs the Prometheus Operator.",
                schema=_BOOLEAN,
            ),
            "labels": Value({}, "Labels by which your Prometheus selects PodMonitors and rules.", _OBJECT),
            "runbooks": Value(RUNBOOKS, "URL of the page that the alerts link to."),
        },
    }


def _workload_values(workload: Mapping[str, Any], settings: type[ProcessSettings]) -> Values:
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return {
        "settings": _settings(_settable(settings, container)),
        "resources": Value(container["resources"], "Resource requests and limits.", _OBJECT),
        "nodeSelector": Value(pod["nodeSelector"], "Labels of the nodes that the pods run on.", _OBJECT),
        "tolerations": Value(pod["tolerations"], "Taints that the pods tolerate.", _LIST),
        "affinity": Value({}, "Affinity of the pods.", _OBJECT),
        "priorityClassName": Value(pod["priorityClassName"], "Priority class of the pods."),
        "podAnnotations": Value({}, "Annotations of the pods.", _OBJECT),
        "podLabels": Value({}, "Additional labels of the pods.", _OBJECT),
    }


def _settable(settings: type[ProcessSettings], container: Mapping[str, Any]) -> dict[str, Field[Any]]:
    """Return the settings that the container does not set itself, by environment variable."""
    given = {each["name"] for each in container.get("env", ())}
    variables = {environment_variable(each.name, each.metadata["env"]): each for each in fields(settings)}
    return {name: each for name, each in variables.items() if name not in given and each.name not in _FIXED}


def _settings(settings: Mapping[str, Field[Any]]) -> Values:
    """Return the values of settings; None keeps the default of the program."""
    found: Values = {}
    for each in settings.values():
        kind = each.metadata["type"]
        if isinstance(kind, click.Choice):
            schema = {"type": "string", "enum": [*kind.choices, None]}
        else:
            # The probes of the pods need a port.
            schema = dict(_PORT if each.name == "http_port" else kind.schema)
        schema["type"] = [schema["type"], "null"]
        default = f" Default: {each.default}." if each.default != "" else ""
        found[_camel(each.name)] = Value(None, f"{each.metadata['help']} `{flag(each.name)}`.{default}", schema)
    return found


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


def _walk(values: Values, path: str = "") -> Iterator[tuple[str, Value]]:
    for name, value in values.items():
        if isinstance(value, Value):
            yield path + name, value
        else:
            yield from _walk(value, f"{path}{name}.")


def _values_file(values: Values) -> str:
    lines = ["---", "# Generated by `make generate`; do not edit. values.schema.json has the type of each value."]

    def add(tree: Values, indent: str) -> None:
        for name, value in tree.items():
            if isinstance(value, Value):
                text = yaml.safe_dump({name: value.default}, sort_keys=False, width=1000).rstrip()
                lines.append(f"{indent}# {value.text}")
                lines.extend(indent + line for line in text.replace(": null", ":").splitlines())
            else:
                lines.append(f"{indent}{name}:")
                add(value, indent + "  ")

    add(values, "")
    return "\n".join(lines) + "\n"


def _schema(values: Values) -> dict[str, Any]:
    def of(tree: Values) -> dict[str, Any]:
        properties = {
            name: {**value.schema, "description": value.text} if isinstance(value, Value) else of(value)
            for name, value in tree.items()
        }
        return {"type": "object", "additionalProperties": False, "properties": properties}

    schema = of(values)
    # Helm adds this value for a chart that depends on this one.
    schema["properties"]["global"] = _OBJECT
    return {"$schema": "https://json-schema.org/draft-07/schema#", "title": f"Values of {NAME}", **schema}


def _readme(values: Values) -> str:
    lines = [
        "<!-- Generated by `make generate`; do not edit. -->",
        f"# {NAME}",
        "",
        f"{_metadata()['description']}. Install, upgrade and removal: `docs/helm.md`.",
        "",
        "| value | default | meaning |",
        "|---|---|---|",
    ]
    for path, value in _walk(values):
        default = "" if value.default in (None, "") else f"`{json.dumps(value.default)}`"
        lines.append(f"| `{path}` | {default} | {value.text} |")
    return "\n".join(lines) + "\n"


# Templates.


def _templates(documents: Sequence[dict[str, Any]], patch: Mapping[str, Any]) -> str:
    parts = []
    for source in documents:
        document = _in_namespace(copy.deepcopy(source))
        condition = ""
        match document["kind"]:
            case "CustomResourceDefinition":
                condition = ".Values.crds.install"
                document["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
            case "Namespace":
                condition = "and .Values.createNamespace (ne .Values.namespace .Release.Namespace)"
            case "DaemonSet":
                _open(document, "agent", ClusterSettings)
                document["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = Template(
                    "{{ .Values.agent.maxUnavailable }}"
                )
                _open_monitoring(document, patch)
            case "Deployment":
                _open(document, "controller", ControllerSettings)
        text = _rendered(document)
        parts.append(f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text)
    return "{{- /* Generated by `make generate`; do not edit. */ -}}\n" + "".join(parts)


def _in_namespace(node: Any) -> Any:
    """Return a document with the namespace of the values in place of ours."""
    if isinstance(node, dict):
        return {key: _in_namespace(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_in_namespace(value) for value in node]
    if isinstance(node, str):
        if "{{" in node:
            raise ValueError(f"Helm would treat a part of this text as a template: {node}")
        return _NAMESPACE.sub("{{ .Values.namespace }}", node)
    return node


def _open(document: dict[str, Any], part: str, settings: type[ProcessSettings]) -> None:
    """Replace the parts of a workload that have values with templates."""
    template = document["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    pod["priorityClassName"] = Template(f"{{{{ .Values.{part}.priorityClassName }}}}")
    for name in ("nodeSelector", "tolerations"):
        pod[name] = _block(f".Values.{part}.{name}")
    pod["affinity"] = _optional(f".Values.{part}.affinity")
    pod["imagePullSecrets"] = _optional(".Values.imagePullSecrets")
    template["metadata"]["annotations"] = _optional(f".Values.{part}.podAnnotations")
    template["metadata"]["labels"]["+"] = _more(f".Values.{part}.podLabels")
    container["resources"] = _block(f".Values.{part}.resources")
    container["image"] = Template('{{ include "image" . | quote }}')
    container["imagePullPolicy"] = Template("{{ .Values.image.pullPolicy }}")
    port = _port(part, settings)
    for name in ("livenessProbe", "readinessProbe"):
        _replace(container[name], settings().http_port, port)
    _replace(container.get("ports", []), settings().http_port, port)
    settable = _settable(settings, container)
    container.setdefault("env", []).extend(_settings_environment(part, settable))
    for volume in pod.get("volumes", ()):
        if part == "agent" and "hostPath" in volume:
            volume["hostPath"]["path"] = Template("{{ .Values.agent.stateDirectory }}")


def _port(part: str, settings: type[ProcessSettings]) -> Template:
    return Template(f"{{{{ .Values.{part}.settings.httpPort | default {settings().http_port} }}}}")


def _settings_environment(part: str, settings: Mapping[str, Field[Any]]) -> Iterator[Template]:
    for variable, each in settings.items():
        value = f".Values.{part}.settings.{_camel(each.name)}"
        yield Template(
            f'{{{{- if not (kindIs "invalid" {value}) }}}}\n- name: {variable}\n  value: {{{{ {value} | quote }}}}'
            "\n{{- end }}"
        )


def _open_monitoring(document: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Add the component's patch of the DaemonSet, on condition that monitoring is enabled."""
    (container,) = document["spec"]["template"]["spec"]["containers"]
    (added,) = copy.deepcopy(patch)["spec"]["template"]["spec"]["containers"]
    _replace(added["ports"], ClusterSettings().http_port, _port("agent", ClusterSettings))
    if "ports" in container:
        raise ValueError("the DaemonSet has ports already: the chart would list them twice")
    container["ports"] = Template(
        f"{{{{- if .Values.monitoring.enabled }}}}\nports:\n{_list(added['ports'])}{{{{- end }}}}"
    )
    # kustomize puts the patch's variables first.
    container["env"].insert(
        0, Template(f"{{{{- if .Values.monitoring.enabled }}}}\n{_list(added['env'])}{{{{- end }}}}")
    )


def _monitoring_template(monitoring: Monitoring) -> str:
    labels = Template("{{- with .Values.monitoring.labels }}\nlabels:\n  {{- toYaml . | nindent 4 }}\n{{- end }}")
    documents = [_in_namespace(copy.deepcopy(each)) for each in monitoring.podmonitors]
    rules = _in_namespace({key: value for key, value in monitoring.rules.items() if key != "spec"})
    rules["spec"] = Template(
        'spec:\n  {{- .Files.Get "files/rules.yaml" | trimPrefix "---\\n"'
        f' | replace "{RUNBOOKS}" .Values.monitoring.runbooks | nindent 2 }}}}'
    )
    for document in [*documents, rules]:
        document["metadata"]["labels"] = labels
    dashboard = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _in_namespace(monitoring.configuration),
        "data": {
            "dashboard.json": Template('dashboard.json: |\n  {{- .Files.Get "files/dashboard.json" | nindent 4 }}')
        },
    }
    text = "".join(_rendered(each) for each in [*documents, rules, dashboard])
    return (
        "{{- /* Generated by `make generate`; do not edit. */ -}}\n{{- if .Values.monitoring.enabled }}\n"
        f"{text}{{{{- end }}}}\n"
    )


def _block(value: str) -> Template:
    """Return a template for a key with a value."""
    return Template(f"KEY:\n  {{{{- toYaml {value} | nindent INDENT+2 }}}}")


def _optional(value: str) -> Template:
    """Return a template for a key with a value, left out if the value is empty."""
    return Template(f"{{{{- with {value} }}}}\nKEY:\n  {{{{- toYaml . | nindent INDENT+2 }}}}\n{{{{- end }}}}")


def _more(value: str) -> Template:
    """Return a template for additional keys."""
    return Template(f"{{{{- with {value} }}}}\n{{{{- toYaml . | nindent INDENT+0 }}}}\n{{{{- end }}}}")


def _replace(node: Any, old: int, new: Template) -> None:
    """Replace a number with a template everywhere in a document."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            _replace(value, old, new)
        elif value == old:
            node[key] = new


# Line that holds the place of a template: of a value, of a key with its value, or of a list item.
_PLACE = re.compile(r"^(?P<indent> *)(?P<dashes>(?:- )*)(?:(?P<key>[^ :]+): )?TEMPLATE(?P<number>\d+)$")


def _rendered(node: Any) -> str:
    """Return a document, or a part of one, as YAML with its templates filled in."""
    templates: list[Template] = []

    def marked(node: Any) -> Any:
        if isinstance(node, Template):
            templates.append(node)
            return f"TEMPLATE{len(templates) - 1}"
        if isinstance(node, dict):
            return {key: marked(value) for key, value in node.items()}
        if isinstance(node, list):
            return [marked(value) for value in node]
        return node

    lines = to_yaml(marked(node), width=10_000).splitlines()
    return "".join(f"{_filled_in(line, templates)}\n" for line in lines)


def _filled_in(line: str, templates: Sequence[Template]) -> str:
    match = _PLACE.match(line)
    if not match:
        return line
    indent, key = match["indent"], match["key"]
    template = templates[int(match["number"])]
    if "\n" not in template:
        return f"{indent}{match['dashes']}{key}: {template}"
    text = template.replace("KEY", key or "")
    text = re.sub(r"INDENT\+(\d)", lambda more: str(len(indent) + int(more[1])), text)
    return "\n".join(indent + part for part in text.splitlines())


def _list(items: Sequence[Any]) -> str:
    """Return a list as the inner part of a document."""
    return "".join(f"{line}\n" for line in _rendered(list(items)).splitlines() if line != "---")
