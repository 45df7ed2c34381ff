"""Generator of CRDs, release manifest, dashboard, Helm chart, reference page and picture of the demo.

    generate.py [--image NAME:TAG] [--check]

With --check nothing is written, and the exit status is 1 if a file is out of date.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import chart
import recording
import reference
import yaml
from dashboard import dashboard
from documents import GENERATED, NAME, to_yaml

from static_route_operator import __version__
from static_route_operator.api.crd import noderoutestate as noderoutestate_crd
from static_route_operator.api.crd import staticroute as staticroute_crd

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
CHART = ROOT / "charts" / NAME
IMAGE = f"docker.io/staticrouteoperator/{NAME}:v{__version__}"

# Recording of the demo, made by `make recording`.
RECORDING = ROOT / "docs/images/demo.cast"

# Generated files of deploy/, and the functions that return their documents.
CRDS = {
    "crd.yaml": staticroute_crd.custom_resource_definition,
    "crd-noderoutestates.yaml": noderoutestate_crd.custom_resource_definition,
}


def base() -> dict[str, list[dict[str, Any]]]:
    """Return the documents of the base of deploy/, by file."""
    resources = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    return {
        resource: [CRDS[resource]()] if resource in CRDS else list(yaml.safe_load_all((DEPLOY / resource).read_text()))
        for resource in resources
    }


def release(image: str) -> str:
    """Return the base of deploy/ as one file, with an image."""
    documents = [document for documents in base().values() for document in documents]
    for document in documents:
        if document["kind"] in {"DaemonSet", "Deployment"}:
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container["image"] = image
    return GENERATED + to_yaml(*documents)


def helm_chart(image: str) -> dict[Path, str]:
    """Return the files of the Helm chart."""
    directory = DEPLOY / "components/monitoring"

    def read(file: str) -> list[dict[str, Any]]:
        return list(yaml.safe_load_all((directory / file).read_text()))

    (component,), (rules,), (patch,) = read("kustomization.yaml"), read("rules.yaml"), read("metrics-address.yaml")
    (configuration,) = component["configMapGenerator"]
    monitoring = chart.Monitoring(
        podmonitors=read("podmonitors.yaml"),
        rules=rules,
        patch=patch,
        configuration={
            "name": configuration["name"],
            "namespace": configuration["namespace"],
            "labels": configuration["options"]["labels"],
        },
        dashboard=to_json(dashboard()),
    )
    return {CHART / path: text for path, text in chart.files(image, base(), monitoring).items()}


def to_json(document: Any) -> str:
    """Return a document as JSON with little indentation."""
    return json.dumps(document, indent=1) + "\n"


def released_image(path: Path) -> str:
    """Return the image of a release manifest; the default image if the file does not exist."""
    documents = yaml.safe_load_all(path.read_text()) if path.exists() else ()
    for document in documents:
        if document["kind"] == "DaemonSet":
            return str(document["spec"]["template"]["spec"]["containers"][0]["image"])
    return IMAGE


def main() -> None:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--image", default=IMAGE, help="image that the release manifest and the chart name")
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    manifest = ROOT / f"releases/v{__version__.partition('.')[0]}/{NAME}-v{__version__}.yaml"
    # `make release` may have written the user's own image, which is not an error.
    image = released_image(manifest) if arguments.check else arguments.image
    files = {
        **{DEPLOY / name: GENERATED + to_yaml(definition()) for name, definition in CRDS.items()},
        manifest: release(image),
        DEPLOY / "components/monitoring/dashboard.json": to_json(dashboard()),
        **helm_chart(image),
        ROOT / "docs/reference.md": reference.page(),
        RECORDING.with_suffix(".svg"): recording.picture(RECORDING.read_text()),
    }
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if arguments.check:
            print(f"{path.relative_to(ROOT)} is stale: run `make generate`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
            print(f"wrote {path.relative_to(ROOT)}")
    if arguments.check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
