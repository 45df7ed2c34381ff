"""Keys of routes and sets of them, held against Python's own sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.routing.keys import (
    IPV4_KEY_SIZE,
    IPV6_KEY_SIZE,
    pack_table_metric,
    prefix_of,
    unpack_table_metric,
)
from static_route_operator.routing.keyset import KeySet, by_family, duplicates, union
from static_route_operator.routing.prefixes import host_prefix, last_address, pack_address, pack_prefix
from tests.unit.builders import default_table_metric, keys

# Few values, so that sets overlap, and enough keys that the sets are cut into pieces.
numbers = st.integers(0, 60) | st.integers(0, 3000)
runs = st.builds(lambda start, length, step: range(start, start + length * step, step), numbers, numbers, st.just(1))
some_numbers = st.builds(lambda single, run: single | set(run), st.sets(numbers, max_size=30), runs)


def _key(number: int) -> bytes:
    return bytes([20, number >> 16, number >> 8 & 255, number & 255, 32]) + pack_table_metric(254, 0)


def _keys(some: set[int]) -> KeySet:
    return KeySet.of(IPV4_KEY_SIZE, map(_key, some))


def _numbers(keys: KeySet) -> set[int]:
    found = [int.from_bytes(key[1:4]) for key in keys]
    assert found == sorted(set(found))
    return set(found)


@given(some_numbers, some_numbers)
def test_operations_are_those_of_sets(left: set[int], right: set[int]) -> None:
    """Union, intersection, difference and comparison come out as with Python's sets, sorted and each key once."""
    one, other = _keys(left), _keys(right)

    assert _numbers(one | other) == left | right
    assert _numbers(one & other) == left & right
    assert _numbers(one - other) == left - right
    only_left, both, only_right = one.compare(other)
    assert (_numbers(only_left), _numbers(both), _numbers(only_right)) == (left - right, left & right, right - left)
    assert (one == other) == (left == right)


@given(some_numbers, st.sets(numbers, max_size=3))
def test_sets_that_are_nearly_equal(left: set[int], changed: set[int]) -> None:
    """A comparison finds a few differing keys, at the ends or amid many equal ones."""
    right = left ^ changed

    only_left, both, only_right = _keys(left).compare(_keys(right))

    assert (_numbers(only_left), _numbers(both), _numbers(only_right)) == (left - right, left & right, right - left)


@given(st.lists(some_numbers, max_size=6))
def test_repeated_keys_are_those_in_more_than_one_set(sets: list[set[int]]) -> None:
    """Keys in two or more sets are found, and no others."""
    found = duplicates(map(_keys, sets))

    assert found == {_key(each) for each in set().union(*sets) if sum(each in one for one in sets) > 1}


@given(st.lists(st.integers(0, 3), max_size=4000))
def test_united_is_the_union_of_parts(owners: list[int]) -> None:
    """Disjoint sets become one."""
    parts = [{number for number, owner in enumerate(owners) if owner == each} for each in range(4)]

    assert _numbers(union(list(map(_keys, parts)))) == set(range(len(owners)))


@given(some_numbers, numbers)
def test_members_are_found(some: set[int], number: int) -> None:
    """A set reports whether it contains a key, and the position of the key."""
    keys = _keys(some)

    assert (_key(number) in keys) == (number in some)
    assert len(keys) == len(some)
    assert bool(keys) == bool(some)
    assert [keys[index] for index in range(len(keys))] == list(keys) == sorted(map(_key, some))
    assert list(keys[1:-1]) == list(keys)[1:-1]
    assert list(keys[1::3]) == list(keys)[1::3]
    assert keys.index(_key(number)) == sum(each < number for each in some)


@given(some_numbers, st.integers(0, 3000), st.integers(8, 32))
def test_between_is_all_that_a_prefix_holds(some: set[int], number: int, length: int) -> None:
    """All keys from the first to the last prefix are included, with any table and metric."""
    prefix = pack_prefix(f"20.0.{number >> 8}.{number & 255}")[:-1]
    held = int.from_bytes(prefix[1:]) >> (32 - length) << (32 - length)
    first = bytes([20]) + held.to_bytes(3) + bytes([length])

    found = _keys(some).between(first, host_prefix(last_address(first)))

    assert _numbers(found) == {each for each in some if held <= each < held + (1 << (32 - length))}


def test_families_have_nothing_in_common() -> None:
    """Sets of both families can be compared, but have no union."""
    four = KeySet.of(IPV4_KEY_SIZE, [_key(1)])
    six = KeySet.of(IPV6_KEY_SIZE, [pack_prefix("2001:db8::/32") + pack_table_metric(254, 1024)])

    assert four.compare(six) == (four, KeySet(IPV4_KEY_SIZE), six)
    assert four != six
    assert six[0] not in four
    assert set(by_family([six[0], four[0]])) == {four, six}
    assert duplicates([four, six, six]) == {six[0]}
    with pytest.raises(ValueError, match="IPv4 and IPv6"):
        four | six
    assert four | KeySet(IPV6_KEY_SIZE) is four


@pytest.mark.parametrize(
    ("prefix", "gateway", "metric", "size"),
    [("192.0.2.0/24", "10.0.0.1", 0, IPV4_KEY_SIZE), ("2001:db8::/32", "fd00::1", 1024, IPV6_KEY_SIZE)],
)
def test_default_key_is_what_the_kernel_stores(prefix: str, gateway: str, metric: int, size: int) -> None:
    """Without table and metric a route is in the main table with the kernel's default metric."""
    packed = pack_prefix(prefix)
    (key,) = KeySet.with_table_metric(len(packed), packed, default_table_metric(pack_address(gateway)))

    assert len(key) == size
    assert prefix_of(key) == packed
    assert unpack_table_metric(key) == (254, metric)


def test_keys_sort_by_prefix() -> None:
    """Keys of one table and metric sort as their prefixes do."""
    texts = ["192.0.2.0/24", "192.0.2.0/25", "192.0.2.1/32", "198.51.100.0/24"]
    table_metric = default_table_metric(pack_address("10.0.0.1"))

    keys = KeySet.with_table_metric(5, b"".join(map(pack_prefix, texts)), table_metric)

    assert keys == KeySet.of(IPV4_KEY_SIZE, [pack_prefix(text) + table_metric for text in reversed(texts)])


@given(some_numbers, st.integers(1, 700))
def test_interleaved_parts_are_all_keys_once(some: set[int], most: int) -> None:
    """Parts are sorted, no larger than asked for, and together the whole; a small set is one part."""
    parts = list(_keys(some).interleaved(most))

    found = [_numbers(part) for part in parts]
    assert set().union(*found) == some
    assert sum(map(len, found)) == len(some)
    assert all(len(part) <= most for part in parts)
    assert len(some) > most or parts == [_keys(some)]


def test_interleaved_parts_lie_between_those_before() -> None:
    """The first part is spread over the whole set, and the next one halfway between its keys."""
    first, second, *rest = _keys(set(range(3200))).interleaved(100)

    assert _numbers(first) == set(range(0, 3200, 32))
    assert _numbers(second) == set(range(16, 3200, 32))
    assert len(rest) == 30


def test_keys_that_hold_an_address() -> None:
    """All prefixes around an address are found, those of some lengths alone, and none for the other family."""
    some = keys("0.0.0.0/1", "10.0.0.0/8", "10.1.0.0/16", "10.0.0.5", "192.0.2.0/24")

    assert some.holding(pack_address("10.0.0.5")) == keys("0.0.0.0/1", "10.0.0.0/8", "10.0.0.5")
    assert some.holding(pack_address("10.0.0.5"), range(2, 32)) == keys("10.0.0.0/8")
    assert not some.holding(pack_address("10.0.0.5"), range(0))
    assert not some.holding(pack_address("203.0.113.1"))
    assert not some.holding(pack_address("fd00::5"))
