"""The node's inventory, from sources of which none is trusted alone."""

import dataclasses
from collections.abc import Callable

import pytest

from static_route_operator.api import store
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import Version, resolve
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.inventory import Invalid, Inventory
from tests.unit.builders import resolved, route

NODE = Node("node1", {"zone": "a"})


class Changes:
    """Counts the calls of ``on_change``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """One change."""
        self.count += 1


@pytest.fixture
def changes() -> Changes:
    """Return how often the inventory reported a change."""
    return Changes()


@pytest.fixture
def inventory(changes: Changes) -> Inventory:
    """An empty inventory."""
    inventory = Inventory()
    inventory.on_change.connect(changes)
    return inventory


def _invalid(name: str, uid: str = "", generation: int = 2) -> Invalid:
    return Invalid(uid or f"uid-{name}", generation, InvalidSpecError(name, "spec.gateway", "is missing"))


def _names(inventory: Inventory) -> list[str]:
    return sorted(each.name for each in inventory.routes.values())


@pytest.mark.parametrize("list_first", [True, False])
def test_complete_takes_a_list_and_the_node(inventory: Inventory, list_first: bool) -> None:
    """Nothing may be removed before both a list and this node are known, in whatever order they come."""

    def replace() -> None:
        inventory.replace({}, 1)

    def set_node() -> None:
        inventory.set_node(NODE)

    seen = [inventory.complete]
    for step in (replace, set_node) if list_first else (set_node, replace):
        step()
        seen.append(inventory.complete)

    assert seen == [False, False, True]


def test_complete_waits_for_every_listed_object(inventory: Inventory) -> None:
    """A list shows uids only: until the watch has delivered each of them it is not known what they want."""
    inventory.set_node(NODE)
    inventory.put(route("a"), 1)
    inventory.replace({"uid-a": 1, "uid-b": 2, "uid-c": 3}, 3)
    assert not inventory.complete

    inventory.put(route("b"), 2)
    assert not inventory.complete
    inventory.put(_invalid("c"), 3)
    assert inventory.complete


def test_awaited_object_that_is_deleted_is_not_waited_for(inventory: Inventory) -> None:
    """The deletion of an object that was never delivered ends the wait for it."""
    inventory.set_node(NODE)
    inventory.replace({"uid-a": 1}, 1)
    inventory.remove("uid-a")

    assert inventory.complete


def test_objects_seen_before_the_first_list_do_not_make_it_complete(inventory: Inventory) -> None:
    """Events alone never tell that there are no further objects."""
    inventory.set_node(NODE)
    inventory.put(route("a"), 1)

    assert not inventory.complete


def test_list_finds_what_is_gone_without_an_event(inventory: Inventory) -> None:
    """An object that a later list lacks is gone, valid or not."""
    inventory.put(route("a"), 5)
    inventory.put(_invalid("b"), 6)
    inventory.put(route("c"), 7)
    inventory.replace({"uid-c": 7}, 10)

    assert _names(inventory) == ["c"]
    assert inventory.invalid == {}


def test_lagging_list_does_not_remove_a_newer_object(inventory: Inventory) -> None:
    """A list older than the newest event about an object can't know that it exists."""
    inventory.put(route("a"), 11)
    inventory.put(route("b"), 10)
    inventory.replace({}, 10)

    assert _names(inventory) == ["a"]


def test_old_event_does_not_make_an_object_older(inventory: Inventory) -> None:
    """The newest resource version seen of an object counts, also when an older event comes late."""
    inventory.put(route("a"), 11)
    inventory.put(route("a"), 3)
    inventory.replace({}, 10)

    assert _names(inventory) == ["a"]


def test_removed_object_does_not_come_back(inventory: Inventory) -> None:
    """A delayed event about an object that is gone does not revive it, nor does a lagging list await it."""
    inventory.set_node(NODE)
    inventory.put(route("a"), 1)
    inventory.remove("uid-a")
    inventory.put(route("a", generation=2), 2)
    inventory.replace({"uid-a": 2}, 2)

    assert _names(inventory) == []
    assert inventory.complete


def test_tombstones_are_bounded(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest removals are remembered, so that memory does not grow with the cluster's history."""
    monkeypatch.setattr(store, "MOST_TOMBSTONES", 3)
    for number in range(5):
        inventory.remove(f"uid-{number}")
    for number in range(5):
        inventory.put(route(f"r{number}", uid=f"uid-{number}"), 1)

    assert _names(inventory) == ["r0", "r1"]


def test_invalid_object_keeps_its_last_good_version(inventory: Inventory) -> None:
    """A version that can't be used leaves the last good one in force, until a good one comes."""
    good, better = route("a"), route("a", "10.0.0.3", generation=3)
    inventory.put(good, 1)
    inventory.put(_invalid("a"), 2)
    assert inventory.routes == {"uid-a": resolve(good)}
    assert inventory.invalid["uid-a"].name == "a"

    inventory.put(better, 3)
    assert inventory.routes == {"uid-a": resolve(better)}
    assert inventory.invalid == {}


def test_object_that_was_never_valid_is_known_as_such(inventory: Inventory) -> None:
    """An object without a good version wants no routes, but is reported."""
    inventory.put(_invalid("a"), 1)

    assert inventory.routes == {}
    assert list(inventory.invalid) == ["uid-a"]


@pytest.mark.parametrize("first_valid", [True, False])
def test_same_name_with_a_new_uid_replaces_the_old_object(inventory: Inventory, first_valid: bool) -> None:
    """A name is given again only after its owner is gone, so the old object goes, deletion event or not, for good."""
    inventory.put(route("a", uid="old") if first_valid else _invalid("a", "old"), 1)
    inventory.put(route("a", "10.0.0.3", uid="new"), 5)
    inventory.put(route("a", uid="old"), 1)

    assert list(inventory.routes) == ["new"]
    assert inventory.invalid == {}


def test_new_object_outlives_the_deletion_of_its_predecessor(inventory: Inventory) -> None:
    """The late deletion event of the first owner of a name does not remove the second."""
    inventory.put(route("a", uid="old"), 1)
    inventory.put(route("a", uid="new"), 5)
    inventory.remove("old")

    assert list(inventory.routes) == ["new"]


def test_forget_all_empties_and_completes(inventory: Inventory) -> None:
    """Without the resource there are no objects, and that is complete knowledge."""
    inventory.set_node(NODE)
    inventory.put(route("a"), 1)
    inventory.put(_invalid("b"), 1)
    inventory.clear()

    assert (inventory.routes, inventory.invalid, inventory.complete) == ({}, {}, True)


def test_forgotten_objects_may_come_back(inventory: Inventory) -> None:
    """If the API server was mistaken, the same objects are taken in again."""
    inventory.put(route("a"), 1)
    inventory.clear()
    inventory.put(route("a"), 1)

    assert _names(inventory) == ["a"]


def test_forgetting_again_changes_nothing(inventory: Inventory, changes: Changes) -> None:
    """The same news twice is no news."""
    inventory.clear()
    before = changes.count
    inventory.clear()

    assert changes.count == before


def test_every_change_is_told_and_numbered(inventory: Inventory, changes: Changes) -> None:
    """Each change moves the version and is reported; the same node again is no change."""
    steps: tuple[Callable[[], None], ...] = (
        lambda: inventory.put(route("a"), 1),
        lambda: inventory.put(_invalid("a"), 2),
        lambda: inventory.replace({"uid-a": 2}, 2),
        lambda: inventory.remove("uid-a"),
        lambda: inventory.set_node(NODE),
    )
    for number, step in enumerate(steps, 1):
        step()
        assert (inventory.version, changes.count) == (number, number)

    inventory.set_node(dataclasses.replace(NODE))
    assert (inventory.version, changes.count) == (len(steps), len(steps))
    inventory.set_node(Node("node1", {"zone": "b"}))
    assert changes.count == len(steps) + 1


def test_held_version_leaves_the_last_one_in_force(inventory: Inventory, changes: Changes) -> None:
    """A version that is not to be used here yet waits, until it is released or a later one may be used."""
    inventory.put(route("a"), 1)
    inventory.put(route("a", generation=2), 2, released=False)
    assert (inventory.routes["uid-a"].generation, inventory.gated["uid-a"].generation) == (1, 2)

    before = changes.count
    inventory.release(Version("uid-a", 1))
    assert changes.count == before, "that is another one"
    inventory.release(Version("uid-a", 2))
    assert (inventory.routes["uid-a"].generation, inventory.gated, changes.count) == (2, {}, before + 1)
    inventory.put(route("a", generation=2), 3, released=False)
    assert not inventory.gated, "what is in force already is not taken back"
    inventory.put(route("a", generation=3), 4, released=False)
    inventory.put(route("a", generation=4), 5)
    assert not inventory.gated


@pytest.mark.parametrize("list_first", [True, False])
@pytest.mark.parametrize("end", ["release", "remove", "forget"])
def test_held_version_without_a_last_one_is_in_doubt(inventory: Inventory, end: str, list_first: bool) -> None:
    """An object gated from the start may have routes of an unknown version; a new object can't have any."""
    inventory.set_node(NODE)
    if list_first:
        inventory.replace({"uid-old": 1}, 1)
    inventory.put(route("old"), 1, released=False)
    inventory.replace({"uid-old": 1}, 1)
    in_doubt = inventory.unsynced

    inventory.put(route("new"), 2, released=False)
    match end:
        case "release":
            inventory.release(Version("uid-old", 1))
        case "remove":
            inventory.remove("uid-old")
        case _:
            inventory.clear()
    assert (in_doubt, inventory.unsynced) == (True, False)
    assert ("uid-new" in inventory.gated) == (end != "forget")


def test_remembered_objects_stand_until_a_list(inventory: Inventory) -> None:
    """What was known before a start is in force at once, completes nothing, and goes if a list does not have it."""
    inventory.remember(Node("node1"), [(resolved("kept"), 5), (resolved("gone"), 6), (resolved("newer"), 9)])
    assert {each.name for each in inventory.routes.values()} == {"kept", "gone", "newer"}

    inventory.replace({"uid-kept": 5}, 8)
    inventory.set_node(Node("node1"))
    known = inventory.complete
    assert {each.name for each in inventory.routes.values()} == {"kept", "newer"}

    inventory.put(route("kept", generation=2), 7)
    assert (known, inventory.complete) == (False, True)
    assert inventory.routes["uid-kept"].generation == 2


def test_remembered_node_completes_nothing(inventory: Inventory) -> None:
    """The labels that a node had before a start select objects, but complete is only what is known of it now."""
    inventory.remember(Node("node1", {"zone": "a"}), [])
    inventory.replace({}, 8)
    assert (inventory.node, inventory.complete) == (Node("node1", {"zone": "a"}), False)

    version = inventory.version
    inventory.set_node(Node("node1", {"zone": "a"}))
    assert inventory.complete
    assert inventory.version > version


def test_remembered_object_may_be_deleted_or_forgotten(inventory: Inventory) -> None:
    """A remembered object goes with its deletion, and when there is no such resource any more."""
    inventory.remember(None, [(resolved("one"), 5), (resolved("two"), 6)])

    inventory.remove("uid-one")
    assert {each.name for each in inventory.routes.values()} == {"two"}
    inventory.clear()
    assert inventory.routes == {}


def test_dry_run_is_never_in_force(inventory: Inventory) -> None:
    """A dry run leaves the last version in force, whatever is released, until a version comes that is none."""
    inventory.put(route("a"), 1)
    inventory.put(route("a", generation=2, dryRun=True), 2)
    inventory.release(Version("uid-a", 2))
    assert (inventory.routes["uid-a"].generation, [each.generation for each in inventory.dry_runs]) == (1, [2])

    inventory.put(route("a", generation=3), 3)
    assert (inventory.routes["uid-a"].generation, inventory.dry_runs) == (3, [])
