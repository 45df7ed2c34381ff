"""The addresses that a host protects, and their sources."""

from pathlib import Path

import pytest

from static_route_operator.errors import SettingsError
from static_route_operator.node.protected import GRACE, LINGER, MOST_NAME_SERVERS, Protected, name_servers
from static_route_operator.routing.prefixes import contains, pack_prefix


class Clock:
    """A clock that moves by hand, and the addresses that are protected at its time."""

    def __init__(self, grace: float = GRACE) -> None:
        self.now = 1000.0
        self.protected = Protected(grace=grace, clock=lambda: self.now)
        self._always: set[bytes] = set()
        self._always = self.old | self.new

    @property
    def new(self) -> set[bytes]:
        """Return the prefixes of new claims."""
        claims = self.protected.protection.claims
        return set(claims._what if claims else ()) - self._always

    @property
    def old(self) -> set[bytes]:
        """Return the protected prefixes that count against every route, without those of the start."""
        return set(self.protected.protection._what) - self._always

    def after(self, seconds: float) -> None:
        """Let time pass, and look again."""
        self.now += seconds
        self.protected.look_again()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fe80::a9fe:a9fe",
        "fd20:ce::254",
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::23",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:42::42",
    ],
)
def test_cloud_platforms_are_always_protected(address: str) -> None:
    """The metadata and platform services of clouds stay reachable on every node, whatever is configured."""
    prefix = pack_prefix(address)

    assert any(contains(each, prefix) for each in Protected().protection._what)


def test_configured_addresses_are_protected_too() -> None:
    """Addresses and CIDRs in the setting are protected, blanks and empty entries passed over."""
    configured = Protected(" 10.9.0.53 ,, fd00:9::53,172.20.0.0/16").protection
    added = set(configured._what) - set(Protected("").protection._what)

    assert added == {pack_prefix("10.9.0.53"), pack_prefix("fd00:9::53"), pack_prefix("172.20.0.0/16")}


@pytest.mark.parametrize("text", ["dns", "10.0.0.1/8", "10.0.0.1 10.0.0.2"])
def test_bad_setting_is_refused_by_its_flag(text: str) -> None:
    """A setting that is no list of addresses is refused with the flag, the text and what would be right."""
    with pytest.raises(SettingsError) as caught:
        Protected(text)

    assert str(caught.value).startswith(f"--protected: '{text}' ")
    assert "separated by commas" in str(caught.value)


FIRST, SECOND, THIRD = (pack_prefix(f"192.0.2.{number}") for number in range(3))


def test_each_source_replaces_what_it_knew() -> None:
    """Addresses that a source has lost stay protected for a while, then no more; no change wakes nobody."""
    clock = Clock(grace=0)
    news = []
    clock.protected.on_change.connect(lambda: news.append(clock.old))

    clock.protected.put("cluster", {FIRST: "a", SECOND: "b"})
    clock.protected.put("API server", {THIRD: "c"})
    clock.protected.put("cluster", {FIRST: "a", SECOND: "b"})
    clock.protected.put("cluster", {FIRST: "a"})
    clock.after(LINGER - 1)
    assert clock.protected.next_look() == 1
    clock.after(1)

    assert news == [{FIRST, SECOND}, {FIRST, SECOND, THIRD}, {FIRST, THIRD}]
    assert clock.protected.protection.describe(THIRD) == "192.0.2.2 (c)"


def test_a_source_that_is_wrong_for_a_moment_loses_nothing() -> None:
    """An address that comes back in time was protected all the while, and is no new claim."""
    clock = Clock()
    clock.protected.put("cluster", {FIRST: "a"})
    clock.after(GRACE)
    clock.protected.put("cluster", {})
    clock.after(LINGER / 2)
    clock.protected.put("cluster", {FIRST: "a"})
    clock.after(LINGER)

    assert (clock.old, clock.new) == ({FIRST}, set())


def test_a_claim_is_new_for_a_day() -> None:
    """A new claim counts against routes in force after the grace time, from its first report by any source."""
    clock = Clock()
    clock.protected.put("cluster", {FIRST: "a"})
    clock.after(GRACE / 2)
    clock.protected.put("API server", {FIRST: "b", SECOND: "b"})
    clock.after(GRACE / 2 - 1)
    assert (clock.old, clock.new) == (set(), {FIRST, SECOND})
    clock.after(1)

    assert (clock.old, clock.new) == ({FIRST}, {SECOND})
    assert clock.protected.protection.describe(FIRST) == "192.0.2.0 (b)"


def test_the_administrator_and_the_platform_need_no_grace() -> None:
    """Addresses of the setting and of cloud platforms count at once, also if a source claims them."""
    setting, platform = pack_prefix("192.0.2.7"), pack_prefix("168.63.129.16")
    protected = Protected("192.0.2.7")
    protected.put("cluster", {setting: "a", platform: "a"})

    assert {setting, platform} <= set(protected.protection._what)
    assert protected.protection.claims is None or not {setting, platform} & set(protected.protection.claims._what)


def test_name_servers_are_those_of_the_host(tmp_path: Path) -> None:
    """Each server that a resolver file names counts, but not a resolver on this host itself; no file is no error."""
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("# a comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n")
    real.write_text("nameserver 10.0.0.53\nnameserver\nnameserver fe80::1%eth0\n  nameserver fd00::53 # second\n")

    assert set(name_servers([stub, real, tmp_path / "none"])) == {pack_prefix("10.0.0.53"), pack_prefix("fd00::53")}


def test_resolver_file_is_bounded(tmp_path: Path) -> None:
    """A file that names thousands of servers, or addresses that are none, protects a few and broadcasts nothing."""
    file = tmp_path / "resolv.conf"
    odd = "nameserver 0.0.0.0\nnameserver 255.255.255.255\nnameserver ff02::1\nnameserver 0.0.0.0/0\n"
    file.write_text(odd + "".join(f"nameserver 10.9.{n >> 8}.{n & 255}\n" for n in range(20_000)))

    found = name_servers([file])

    assert len(found) == MOST_NAME_SERVERS
    assert all(prefix.startswith(bytes([10, 9])) for prefix in found)
