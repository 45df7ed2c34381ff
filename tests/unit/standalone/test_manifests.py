"""StaticRoutes from files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from static_route_operator.api.nodeselector import Node
from static_route_operator.errors import ManifestError
from static_route_operator.node.inventory import Inventory
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.standalone.manifests import ManifestDirectory, read_manifest
from tests.unit.builders import manifest


@pytest.fixture
def inventory() -> Inventory:
    """An inventory that knows its node."""
    inventory = Inventory()
    inventory.set_node(Node("node1"))
    return inventory


@pytest.fixture
def directory(tmp_path: Path, inventory: Inventory) -> ManifestDirectory:
    """An empty directory that feeds the inventory."""
    return ManifestDirectory(tmp_path, inventory)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes objects into a file of the directory, as YAML documents."""

    def write(name: str, *objects: dict[str, Any]) -> Path:
        file = tmp_path / name
        file.write_text(yaml.safe_dump_all(objects))
        return file

    return write


def _gateways(inventory: Inventory) -> dict[str, str]:
    return {each.name: unpack_address(each.gateways[0].address) for each in inventory.routes.values()}


def _generations(inventory: Inventory) -> dict[str, int]:
    return {each.name: each.generation for each in inventory.routes.values()}


def test_all_objects_of_a_file_are_read(write: Callable[..., Path]) -> None:
    """A file may hold several documents, lists, and empty documents between them."""
    file = write("a.yaml", manifest("a"), {"kind": "List", "items": [manifest("b"), manifest("c")]})
    file.write_text("# heading\n---\n" + file.read_text() + "---\n")

    assert [each.name for each in read_manifest(file)] == ["a", "b", "c"]


def test_json_is_read(tmp_path: Path) -> None:
    """A manifest may be JSON, indented by tabs too."""
    file = tmp_path / "a.json"
    file.write_text(json.dumps(manifest("a"), indent="\t"))

    assert [each.name for each in read_manifest(file)] == ["a"]


def test_manifests_of_the_reference_operator_are_read(tmp_path: Path) -> None:
    """A manifest as the reference operator's users have it means what it meant."""
    file = tmp_path / "static-route-ifconfig.me.yaml"
    file.write_text(
        "apiVersion: networking.digitalocean.com/v1\nkind: StaticRoute\nmetadata:\n  name: static-route-ifconfig.me\n"
        'spec:\n  destinations:\n  - "34.160.111.145"\n  gateway: "10.116.0.5"\n'
    )

    (parsed,) = read_manifest(file)
    assert (parsed.name, unpack_address(parsed.gateways[0].address)) == ("static-route-ifconfig.me", "10.116.0.5")


def test_time_of_creation_stays_text(tmp_path: Path) -> None:
    """A creationTimestamp without quotes, which YAML takes for a time, sorts with those of other objects."""
    file = tmp_path / "a.yaml"
    text = yaml.safe_dump(manifest("a")).replace("name: a", "name: a\n  creationTimestamp: 2024-05-01T10:00:00Z")
    file.write_text(text)

    (parsed,) = read_manifest(file)
    assert parsed.created == "2024-05-01T10:00:00Z"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not valid YAML"),
        ("a: !!python/object:os.system {}", "is not valid YAML"),
        ("created: 2024-99-99", "StaticRoute (unnamed): apiVersion: is missing"),
        ("text", "holds something that is not a Kubernetes object"),
        ("- a", "holds something that is not a Kubernetes object"),
        ("{kind: List, items: [5]}", "holds something that is not a Kubernetes object"),
        ("{kind: List, items: 5}", "items of a List is not a list"),
        ("{metadata: {name: a}}", "StaticRoute a: apiVersion: is missing"),
        ("{kind: StaticRoute, metadata: {name: a}}", "StaticRoute a: apiVersion: is missing"),
        ("{apiVersion: networking.digitalocean.com/v1, metadata: {name: a}}", "StaticRoute a: kind: is missing"),
        (yaml.safe_dump(manifest("a") | {"kind": "Service"}), "StaticRoute a: apiVersion: must be"),
        (yaml.safe_dump(manifest("a", gateway="x")), "StaticRoute a: spec.gateway: gateway 'x' is not an IP address"),
        (
            yaml.safe_dump(manifest("a", destinations=["192.0.2.1", "10.0.0.1/8", "x"])),
            "spec.destinations: '10.0.0.1/8' has host bits set; did you mean '10.0.0.0/8'?; 'x' is not an IP address",
        ),
    ],
)
def test_unusable_file_is_refused_by_its_name(tmp_path: Path, text: str, problem: str) -> None:
    """A file that is anything but valid StaticRoutes is refused as a whole, with its name and what is wrong."""
    file = tmp_path / "a.yaml"
    file.write_text(text)

    with pytest.raises(ManifestError) as caught:
        read_manifest(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert problem in str(caught.value)


def test_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path) -> None:
    """A binary file is refused, not half read."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ManifestError, match=r"a\.yaml: can't be read"):
        read_manifest(file)


def test_only_manifests_are_read(
    tmp_path: Path, directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """YAML and JSON files count; editors' leftovers, hidden files and subdirectories do not."""
    for name in ("a.yaml", "b.yml", "c.json"):
        write(name, manifest(name[0]))
    for name in (".hidden.yaml", "notes.txt", "a.yaml~", "a.yaml.swp"):
        (tmp_path / name).write_text("neither: [")
    (tmp_path / "more.yaml").mkdir()
    directory.load()

    assert directory.problems == []
    assert sorted(_gateways(inventory)) == ["a", "b", "c"]
    assert inventory.complete


def test_file_that_breaks_keeps_its_last_good_version(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A broken file changes nothing until it is mended, says so, and holds nothing else up."""
    file = write("a.yaml", manifest("a"))
    write("b.yaml", manifest("b"))
    directory.load()
    file.write_text("spec: [")
    write("b.yaml", manifest("b", "10.0.0.3"))
    directory.load()

    assert _gateways(inventory) == {"a": "10.0.0.1", "b": "10.0.0.3"}
    assert inventory.complete
    (problem,) = directory.problems
    assert problem.startswith(f"{file}: is not valid YAML: ")
    assert problem.endswith("; its last good version stays in force")

    write("a.yaml", manifest("a", "10.0.0.9"))
    directory.load()
    assert _gateways(inventory)["a"] == "10.0.0.9"
    assert directory.problems == []


def test_file_that_was_never_good_holds_up_removals(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """Until a file can be read for the first time it is not known what it wants, so nothing may be removed."""
    file = write("a.yaml", manifest("a", gateway="x"))
    write("b.yaml", manifest("b"))
    directory.load()

    assert _gateways(inventory) == {"b": "10.0.0.1"}
    assert inventory.complete is False
    assert directory.problems[0].endswith("; no route is removed until this file is corrected")

    file.unlink()
    directory.load()
    assert (inventory.complete, directory.problems) == (True, [])


def test_deleted_file_takes_its_objects_along(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """An object that no file contains any more is gone; the same file again is a new object."""
    file = write("a.yaml", manifest("a"))
    directory.load()
    (first,) = inventory.routes
    file.unlink()
    directory.load()
    assert inventory.routes == {}

    write("a.yaml", manifest("a"))
    directory.load()
    (second,) = inventory.routes
    assert first != second


def test_unreadable_directory_changes_nothing(
    tmp_path: Path, directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A directory that goes away (a mount) is a problem, not an order to remove everything."""
    write("a.yaml", manifest("a"))
    directory.load()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    directory.load()

    assert _gateways(inventory) == {"a": "10.0.0.1"}
    (problem,) = directory.problems
    assert "can't be read" in problem
    assert problem.endswith("; all routes stay as they are")


def test_first_of_two_equal_names_counts(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """If two objects have one name, the first file's counts, and the problem names both files."""
    write("a.yaml", manifest("nat"))
    second = write("b.yaml", manifest("nat", "10.0.0.3"), manifest("other"))
    directory.load()

    assert _gateways(inventory) == {"nat": "10.0.0.1", "other": "10.0.0.1"}
    assert directory.problems == [f"{second}: StaticRoute nat is also defined in a.yaml, which takes precedence"]


def test_object_that_moves_to_another_file_stays_the_same(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A renamed file changes nothing."""
    file = write("a.yaml", manifest("nat"))
    directory.load()
    (uid,) = inventory.routes
    file.rename(file.with_name("b.yaml"))
    directory.load()

    assert list(inventory.routes) == [uid]
    assert _generations(inventory) == {"nat": 1}


def test_generation_moves_with_the_spec_only(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """Reading again, or writing the same in other words, is no change; another spec is one."""
    file = write("a.yaml", manifest("a", destinations=["192.0.2.1", "192.0.2.2"]), manifest("b"))
    directory.load()
    directory.load()
    file.write_text("# new comment\n" + file.read_text())
    directory.load()
    write("a.yaml", manifest("a", destinations=["192.0.2.2", "192.0.2.1/32"]), manifest("b"))
    directory.load()
    assert _generations(inventory) == {"a": 1, "b": 1}

    write("a.yaml", manifest("a", "10.0.0.3"), manifest("b"))
    directory.load()
    assert _generations(inventory) == {"a": 2, "b": 1}


def test_problem_is_logged_once(
    directory: ManifestDirectory, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A problem that lasts is logged when it comes, not with every reading."""
    write("a.yaml", manifest("a", gateway="x"))
    directory.load()
    directory.load()

    assert len(directory.problems) == 1
    assert len([each for each in caplog.records if "a.yaml" in each.getMessage()]) == 1
