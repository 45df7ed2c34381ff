"""A store of objects, from two sources of which neither is trusted alone."""

from dataclasses import dataclass

import pytest

from static_route_operator.api import store
from static_route_operator.api.store import Store


@dataclass(frozen=True)
class Thing:
    """An object of some kind."""

    name: str
    size: int = 0


A, B, C = Thing("a"), Thing("b"), Thing("c")

Change = tuple[Thing | None, Thing | None]


class Scene:
    """A store, and the changes that it reported."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.store = Store[Thing](lambda before, after: self.changes.append((before, after)))

    @property
    def names(self) -> list[str]:
        """Return the names of the objects that are stored."""
        return sorted(each.name for each in self.store.items.values())

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call."""
        found = list(self.changes)
        self.changes.clear()
        return found


@pytest.fixture
def scene() -> Scene:
    """Return a scene with an empty store."""
    return Scene()


def test_each_change_is_reported_with_the_object_before_and_after(scene: Scene) -> None:
    """An object that comes, changes and goes is reported three times; one that stays the same is not."""
    larger = Thing("a", 1)
    scene.store.put("1", A, 1)
    scene.store.put("1", A, 2)
    scene.store.put("1", larger, 3)
    scene.store.remove("1")
    scene.store.remove("1")
    assert scene.changes == [(None, A), (A, larger), (larger, None)]


def test_objects_are_found_by_name(scene: Scene) -> None:
    """The name of a deleted object finds nothing."""
    scene.store.put("1", A, 1)
    assert scene.store.find("a") == A
    assert scene.store.find("b") is None
    scene.store.remove("1")
    assert scene.store.find("a") is None


def test_a_name_has_one_owner(scene: Scene) -> None:
    """An object of the same name replaces one whose deletion was missed, and the late deletion does no harm."""
    scene.store.put("1", A, 1)
    scene.store.put("2", Thing("a", 2), 2)
    assert list(scene.store.items) == ["2"]
    scene.store.remove("1")
    assert scene.store.find("a") == Thing("a", 2)
    assert scene.store.put("1", A, 3) is False


def test_a_store_is_complete_when_the_watch_has_shown_what_a_list_had(scene: Scene) -> None:
    """Objects are awaited from the list until they are shown or deleted."""
    scene.store.put("1", A, 1)
    assert not scene.store.complete
    scene.store.replace({"1": 1, "2": 1, "3": 1}, 1)
    assert not scene.store.complete
    scene.store.put("2", B, 1)
    assert not scene.store.complete
    scene.store.remove("3")
    assert scene.store.complete


def test_a_list_removes_what_it_lacks_unless_it_is_older(scene: Scene) -> None:
    """A deletion that the watch missed is found; an object that is newer than the list stays."""
    scene.store.put("1", A, 5)
    scene.store.put("2", B, 11)
    scene.store.put("2", B, 3)
    scene.store.put("3", C, 6)
    assert scene.store.replace({"3": 6}, 10) == [A]
    assert scene.names == ["b", "c"]


def test_a_deleted_object_does_not_come_back(scene: Scene) -> None:
    """Neither a late event nor a list that lags behind revives an object, or waits for it."""
    scene.store.put("1", A, 1)
    scene.store.remove("1")
    assert scene.store.put("1", A, 2) is False
    scene.store.replace({"1": 1}, 1)
    assert scene.store.complete
    assert not scene.store.items


def test_tombstones_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest deletions are remembered, so memory does not grow with the age of the cluster."""
    monkeypatch.setattr(store, "MOST_TOMBSTONES", 3)
    for number in range(5):
        scene.store.remove(str(number))
    assert [scene.store.put(str(number), Thing(f"n{number}"), 1) for number in range(5)] == [True] * 2 + [False] * 3


def test_a_kind_that_is_gone_has_no_objects_and_leaves_no_tombstones(scene: Scene) -> None:
    """Objects of a kind that the API server does not know go at once, and come back if the answer was wrong."""
    scene.store.put("1", A, 1)
    assert scene.store.clear() is True
    assert scene.take_changes() == [(None, A), (A, None)]
    assert (scene.store.complete, scene.store.clear()) == (True, False)
    assert scene.store.put("1", A, 1) is True


def test_a_kind_that_never_was_there_completes_an_empty_store(scene: Scene) -> None:
    """The first answer is news although it changes no object."""
    assert scene.store.clear() is True
    assert scene.store.complete


def test_remembered_objects_stand_until_a_list_lacks_them(scene: Scene) -> None:
    """Objects of the last run are awaited from the watch like those of a list, and removed if a list lacks them."""
    scene.store.remember("1", A, 5)
    scene.store.remember("2", B, 20)
    assert (scene.names, scene.store.version("1"), scene.store.complete) == (["a", "b"], 5, False)
    assert scene.store.replace({"2": 20}, 10) == [A]
    assert not scene.store.complete
    scene.store.put("2", B, 20)
    assert scene.store.complete


def test_the_watch_overrules_the_version_of_the_last_run(scene: Scene) -> None:
    """After a restore of etcd versions are lower: the ones of the last run must not hold an object for ever."""
    scene.store.remember("1", A, 100)
    scene.store.put("1", A, 7)
    assert scene.store.version("1") == 7
    assert scene.store.replace({}, 10) == [A]


def test_a_remembered_object_that_was_deleted_is_forgotten(scene: Scene) -> None:
    """An event deletes an object of the last run too."""
    scene.store.remember("1", A, 5)
    scene.store.remove("1")
    assert (scene.names, scene.store.version("1")) == ([], 0)
