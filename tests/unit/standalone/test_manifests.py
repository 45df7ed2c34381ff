"""StaticRoutes from files."""

import contextlib
import copy
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.nodeselector import Node, selects
from static_route_operator.errors import ManifestError
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.unconfirmed import RolledBack
from static_route_operator.node.state.snapshot import Snapshot, pack_snapshot, unpack_snapshot
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.standalone.manifests import ManifestDirectory, _parsed, read_manifest
from static_route_operator.standalone.validation import validate
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


def test_addresses_need_no_quotes(tmp_path: Path) -> None:
    """IPv6 addresses of decimal groups, which YAML 1.1 takes for numbers in base 60, are text as in kubectl."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "apiVersion: networking.digitalocean.com/v1\nkind: StaticRoute\nmetadata: {name: a}\n"
        "spec:\n  gateway: 2001:10:20:30:40:50:1:1\n  destinations: [2001:1:2:3:4:5:6:7, 2001:10:20:30::/64]\n"
    )

    (parsed,) = read_manifest(file)
    assert unpack_address(parsed.gateways[0].address) == "2001:10:20:30:40:50:1:1"
    assert len(parsed.destinations.prefixes) == 2 * 17


def test_empty_list_is_a_manifest(tmp_path: Path) -> None:
    """A List without items says that there are no objects, which an empty file does not."""
    file = tmp_path / "a.yaml"
    file.write_text("kind: List\nitems: []\n")

    assert read_manifest(file) == []


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
        ("", "holds no object; to remove its StaticRoutes delete the file"),
        ("# nothing\n---\n", "holds no object; to remove its StaticRoutes delete the file"),
        ("a: 1\na: 2", "is not valid YAML: line 2: the key 'a' is already set in line 1; remove one"),
        (yaml.safe_dump(manifest("a", metrik=5)), "line 9: StaticRoute a: spec.metrik: is not a field: did you mean"),
        (yaml.safe_dump(manifest("No_Name")), "StaticRoute No_Name: metadata.name: 'No_Name' is not a name"),
        (
            yaml.safe_dump(manifest("a", metadata={"creationTimestamp": [1]})),
            "line 5: StaticRoute a: metadata.creationTimestamp: '[1]' can't be used; leave the field out",
        ),
        (
            yaml.safe_dump(manifest("a", destinations=["192.0.2.1/" + "9" * 5000])),
            "(5010 characters) is not an IP address or CIDR: the length must be 0 to 32",
        ),
        (
            "---\n---\n" + yaml.safe_dump(manifest("a", gateway="x")),
            "document 2, line 10: StaticRoute a: spec.gateway: gateway 'x' is not an IP address",
        ),
        (json.dumps(manifest("a", gateway="x"), indent=1), "line 11: StaticRoute a: spec.gateway: gateway 'x' is not"),
        (
            yaml.safe_dump(manifest("a", destinations=["x"])).replace("- x", "- 2001:10:20:30::"),
            "'{'2001:10:20:30:': None}' is not an IP address or CIDR; write it as text, in quotes",
        ),
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


def test_file_that_became_empty_keeps_its_objects(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A write that was interrupted, or a file of comments alone, removes nothing."""
    file = write("a.yaml", manifest("a"))
    directory.load()
    for text in ("", "# nothing\n", "---\n"):
        file.write_text(text)
        directory.load()
        assert _gateways(inventory) == {"a": "10.0.0.1"}
        assert directory.problems == [
            f"{file}: holds no object; to remove its StaticRoutes delete the file; its last good version stays in force"
        ]

    file.write_text("kind: List\nitems: []")
    directory.load()
    assert (_gateways(inventory), directory.problems) == ({}, [])


def test_link_that_leads_nowhere_keeps_its_objects(
    tmp_path: Path, directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """The target of a link may be gone for a while, and its objects stay."""
    target = write("target", manifest("a"))
    (tmp_path / "a.yaml").symlink_to(target)
    directory.load()
    target.unlink()
    directory.load()

    assert _gateways(inventory) == {"a": "10.0.0.1"}
    assert directory.problems == [
        f"{tmp_path / 'a.yaml'}: can't be read: No such file or directory; its last good version stays in force"
    ]


def test_other_empty_directory_removes_nothing(
    tmp_path: Path, directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A directory that is empty in place of one that was not, as after umount, is doubt; the same one is an order."""
    write("a.yaml", manifest("a"))
    directory.load()
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-old"))
    tmp_path.mkdir()
    directory.load()
    assert _gateways(inventory) == {"a": "10.0.0.1"}
    assert "is another directory than before; all routes stay as they are" in directory.problems[0]

    file = write("b.yaml", manifest("b"))
    directory.load()
    assert _gateways(inventory) == {"b": "10.0.0.1"}
    file.unlink()
    directory.load()
    assert (_gateways(inventory), directory.problems) == ({}, [])


def test_directory_that_was_lost_is_another_one(
    directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """A new directory may have the inode number of the one that was removed; while it is empty, nothing is removed."""
    file = write("a.yaml", manifest("a"))
    directory.load()
    file.unlink()
    directory.lost()
    directory.load()

    assert _gateways(inventory) == {"a": "10.0.0.1"}
    assert "is another directory than before" in directory.problems[0]


def test_removal_waits_until_nothing_changes(tmp_path: Path, inventory: Inventory, write: Callable[..., Path]) -> None:
    """What is missing while files are being written is removed only after a quiet period, but not later than ten."""
    now = [0.0]
    directory = ManifestDirectory(tmp_path, inventory, quiet=1.0, clock=lambda: now[0])
    file = write("a.yaml", manifest("a"), manifest("b"))
    directory.load()
    write("a.yaml", manifest("a", "10.0.0.3"))
    for now[0] in (1.0, 1.5):
        directory.load()
        assert _gateways(inventory) == {"a": "10.0.0.3", "b": "10.0.0.1"}
        assert directory.unsettled
    write("a.yaml", manifest("a", "10.0.0.3"), manifest("b"))
    now[0] = 1.9
    directory.load()
    assert directory.unsettled is False

    file.unlink()
    for now[0] in (3.0, 4.0):
        directory.load()
    assert _gateways(inventory) == {}

    write("a.yaml", manifest("a"))
    directory.load()
    file.unlink()
    for now[0] in range(5, 15):
        write("other.yaml", manifest("other", f"10.0.0.{now[0]}"))
        directory.load()
        assert "a" in _gateways(inventory)
    now[0] = 15.0
    write("other.yaml", manifest("other"))
    directory.load()
    assert list(_gateways(inventory)) == ["other"]


def _restarted(
    tmp_path: Path, inventory: Inventory, rolled_back: Iterable[str] = ()
) -> tuple[Inventory, ManifestDirectory]:
    """Return inventory and directory of the next run, which knows the objects of an inventory from its state."""
    following = Inventory()
    following.set_node(Node("node1"))
    state = [
        unpack_snapshot(
            pack_snapshot(
                Snapshot(
                    routes=tuple((route, 1) for route in inventory.routes.values() if route.name not in rolled_back),
                    rolled_back=tuple(
                        RolledBack(route.version, route.name, "why", route.spec.digest)
                        for route in inventory.routes.values()
                        if route.name in rolled_back
                    ),
                )
            )
        )
    ]
    confirmed = [route for route, _ in state[0].routes]
    return following, ManifestDirectory(tmp_path, following, confirmed=confirmed, rolled_back=state[0].rolled_back)


def test_versions_stay_over_restarts(
    tmp_path: Path, directory: ManifestDirectory, inventory: Inventory, write: Callable[..., Path]
) -> None:
    """The same object has the same version after a restart, in another file too; a changed one has a later version."""
    file = write("a.yaml", manifest("same"), manifest("changed"), manifest("bad"), manifest("mended"))
    directory.load()
    write("a.yaml", manifest("same"), manifest("changed"), manifest("bad", "10.0.0.9"), manifest("mended", "10.0.0.9"))
    directory.load()
    before = {each.name: each.version for each in inventory.routes.values()}

    file.rename(tmp_path / "b.yaml")
    write("b.yaml", manifest("same"), manifest("changed", "10.0.0.3"), manifest("bad", "10.0.0.9"), manifest("mended"))
    following, again = _restarted(tmp_path, inventory, ["bad", "mended"])
    again.load()

    after = {each.name: each.version for each in following.routes.values()}
    assert {name: (version.uid == before[name].uid) for name, version in after.items()} == dict.fromkeys(before, True)
    moved = {name: version.generation - before[name].generation for name, version in after.items()}
    assert moved == {"same": 0, "changed": 1, "bad": 0, "mended": 1}


@given(st.binary(max_size=200))
def test_no_file_stops_the_reader(data: bytes) -> None:
    """Whatever a file has, it is StaticRoutes or a problem with its name."""
    result = _parsed(Path("x.yaml"), data)

    assert isinstance(result, list) or result.startswith("x.yaml: ")


_ODD: list[Any] = [None, True, 0, -1, 2**63, 1.5, "", "a", "9" * 5000, "\0", "::/0", "5%", "1h" * 16, "٣"]
_ODD += [[], {}, [[]], [None], {"a": 1}]
_FULL = manifest(
    "a",
    None,
    gateways=[{"address": "10.0.0.1", "weight": 1, "priority": 0, "interface": "eth0"}],
    healthCheck={"type": "HTTP", "port": 80, "path": "/x", "interval": "1s", "failureThreshold": 2},
    nodeSelector={"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["5"]}]}]},
    rollout={"maxUnavailable": 1},
    excludes=["192.0.2.9"],
    priority=5,
    metadata={"uid": "u", "generation": 1, "creationTimestamp": "2024-05-01T10:00:00Z"},
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _paths(each, (*path, key))


@given(st.lists(st.tuples(st.sampled_from(list(_paths(_FULL))), st.sampled_from(_ODD)), min_size=1, max_size=2))
def test_no_field_stops_the_reader(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever a field has, the object is valid and can be selected and compared, or its problem is short."""
    body = copy.deepcopy(_FULL)
    for path, value in changes:
        parent = body
        with contextlib.suppress(LookupError, TypeError):
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
    text = json.dumps(body)
    result = _parsed(Path("x.yaml"), text.encode())
    findings = validate({"x.yaml": text})["findings"]

    if isinstance(result, str):
        assert result.startswith("x.yaml: ")
        assert "can't be read: " not in result
        assert len(result) < 2000
        assert findings
    else:
        for each in result:
            selects(each.node_selector, Node("node1", {"a": "9" * 5000}))
            assert each.precedence < (10**30, "", "")
