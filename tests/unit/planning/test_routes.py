"""Keys and paths of routes."""

import pytest

from static_route_operator.planning.routes import (
    IPV4_KEY_SIZE,
    IPV6_KEY_SIZE,
    UNKNOWN_PATH,
    Path,
    default_tail,
    describe_route,
    in_order,
    keys_of,
    make_key,
    prefix_of,
)
from static_route_operator.prefixes import pack_address, pack_prefix


@pytest.mark.parametrize(
    ("prefix", "metric", "size"),
    [("192.0.2.0/24", 0, IPV4_KEY_SIZE), ("2001:db8::/32", 1024, IPV6_KEY_SIZE)],
)
def test_default_key_is_what_the_kernel_stores(prefix: str, metric: int, size: int) -> None:
    """Without table and metric a route is in the main table with the metric that the kernel makes of none."""
    packed = pack_prefix(prefix)
    (key,) = keys_of([packed], default_tail(len(packed)))

    assert key == make_key(packed, 254, metric)
    assert len(key) == size
    assert prefix_of(key) == packed


def test_keys_sort_by_prefix() -> None:
    """Keys of one table and metric sort as their prefixes do."""
    texts = ["198.51.100.0/24", "192.0.2.1/32", "192.0.2.0/25", "192.0.2.0/24"]
    keys = keys_of(map(pack_prefix, texts), default_tail(5))

    assert sorted(keys) == keys[::-1]


@pytest.mark.parametrize(
    ("path", "gateway", "interface"),
    [
        (Path(pack_address("10.0.0.1"), 2), "10.0.0.1", "eth0"),
        (Path(pack_address("10.0.0.1"), 7), "10.0.0.1", "7"),
        (UNKNOWN_PATH, None, "0"),
    ],
    ids=["known interface", "interface that is gone", "unknown path"],
)
def test_route_is_described_in_words(path: Path, gateway: str | None, interface: str) -> None:
    """A route is shown with texts and names; an interface without a name by its number."""
    assert describe_route(make_key(pack_prefix("192.0.2.0/24"), 100, 5), path, {2: "eth0"}) == {
        "destination": "192.0.2.0/24",
        "gateway": gateway,
        "interface": interface,
        "table": 100,
        "metric": 5,
    }


def test_ipv4_is_shown_before_ipv6() -> None:
    """Routes are shown by family, whatever their first bytes, and then by prefix."""
    texts = ["10.0.0.0/8", "192.0.2.0/24", "192.0.2.0/25", "::2/128", "2001:db8::/32"]
    keys = [make_key(pack_prefix(text), 254, 0) for text in texts]

    assert [key for key, _ in in_order(dict.fromkeys(keys[::-1], UNKNOWN_PATH))] == keys
