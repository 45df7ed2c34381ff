"""Routes by path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.routing.description import describe_route
from static_route_operator.routing.nexthops import UNKNOWN_IPV4, NextHops
from static_route_operator.routing.options import METRIC_OPTIONS
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Routes
from tests.unit.builders import key, make_key, pack, paths, routes, unknown_path

KEYS4 = [key(f"192.0.2.{last}") for last in range(6)]
KEYS6 = [key(f"2001:db8::{last}") for last in range(3)]
PATHS4 = [NextHops.via(pack_address("10.0.0.1"), 2), NextHops.via(pack_address("10.0.0.3"), 2)]
PATHS6 = [NextHops.via(pack_address("fd00::1"), 2), NextHops.via(pack_address("fd00::1"), 2, metrics=((2, 1400),))]

changes = st.lists(
    st.tuples(st.sampled_from([*PATHS4, None]), st.sets(st.sampled_from(KEYS4), min_size=1))
    | st.tuples(st.sampled_from([*PATHS6, None]), st.sets(st.sampled_from(KEYS6), min_size=1))
)


@given(changes)
def test_each_route_has_the_path_it_was_put_on_last(some: list[tuple[NextHops | None, set[bytes]]]) -> None:
    """Routes that are put leave the path they had; dropped ones are gone; others stay as they were."""
    found, expected = Routes(), dict[bytes, NextHops]()

    for path, changed in some:
        if path is None:
            found.drop(pack(changed))
            expected = {each: known for each, known in expected.items() if each not in changed}
        else:
            found.put(path, pack(changed))
            expected.update(dict.fromkeys(changed, path))

    assert paths(found) == expected
    assert len(found) == len(expected)
    assert found == routes(expected)
    assert {each for each in [*KEYS4, *KEYS6] if each in found} == expected.keys()
    assert found.count(pack(KEYS4)) == len(expected.keys() & set(KEYS4))


@pytest.mark.parametrize(
    ("path", "differing"),
    [
        (NextHops.via(pack_address("10.0.0.1"), 2), {}),
        (NextHops.via(pack_address("10.0.0.1"), 7), {"interface": "7"}),
        (UNKNOWN_IPV4, {"gateway": None, "interface": "0"}),
        (
            NextHops.via(pack_address("10.0.0.1"), 2, pack_address("10.0.0.9"), ((2, 1400),), on_link=True),
            {"source": "10.0.0.9", "mtu": 1400, "onLink": True},
        ),
    ],
    ids=["known interface", "interface that is gone", "unknown path", "options"],
)
def test_route_is_described_in_words(path: NextHops, differing: dict[str, object]) -> None:
    """A route is shown with texts and names; an interface without a name by its number."""
    assert (
        describe_route(make_key("192.0.2.0/24", 100, 5), path, {2: "eth0"})
        == {
            "destination": "192.0.2.0/24",
            "gateway": "10.0.0.1",
            "interface": "eth0",
            "table": 100,
            "metric": 5,
            "source": None,
            **dict.fromkeys(option.field for option in METRIC_OPTIONS),
            "onLink": False,
        }
        | differing
    )


def test_ipv4_is_shown_before_ipv6() -> None:
    """Routes are shown by family, whatever their first bytes, and then by prefix."""
    texts = ["10.0.0.0/8", "192.0.2.0/24", "192.0.2.0/25", "::2/128", "2001:db8::/32"]
    keys = [make_key(text, 254, 0) for text in texts]

    assert [key for key, _ in routes({each: unknown_path(each) for each in keys[::-1]}).in_order()] == keys
