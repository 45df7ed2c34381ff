"""The addresses that a host protects, and their sources."""

from pathlib import Path

import pytest

from static_route_operator.errors import SettingsError
from static_route_operator.node.protected import Protected, name_servers, pack_all
from static_route_operator.routing.prefixes import pack_prefix


def test_metadata_service_is_always_protected() -> None:
    """The cloud's metadata service stays reachable on every node, whatever is configured."""
    assert {pack_prefix("169.254.169.254"), pack_prefix("fd00:ec2::254")} <= set(Protected().protection._what)


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


def test_each_source_replaces_what_it_knew() -> None:
    """Addresses that a source no longer has lose protection, those of others keep it; no change wakes nobody."""
    protected = Protected()
    always = set(protected.protection._what)
    news = []
    protected.on_change.connect(lambda: news.append(set(protected.protection._what) - always))
    first, second, third = (pack_prefix(f"192.0.2.{number}") for number in range(3))

    protected.put("cluster", {first: "a", second: "b"})
    protected.put("API server", {third: "c"})
    protected.put("cluster", {first: "a", second: "b"})
    protected.put("cluster", {first: "a"})

    assert news == [{first, second}, {first, second, third}, {first, third}]
    assert protected.protection.describe(third) == "192.0.2.2 (c)"


def test_name_servers_are_those_of_the_host(tmp_path: Path) -> None:
    """Each server that a resolver file names counts, but not a resolver on this host itself; no file is no error."""
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("# a comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n")
    real.write_text("nameserver 10.0.0.53\nnameserver\nnameserver fe80::1%eth0\n  nameserver fd00::53 # second\n")

    assert set(name_servers([stub, real, tmp_path / "none"])) == {pack_prefix("10.0.0.53"), pack_prefix("fd00::53")}


def test_what_is_no_address_is_told_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """One bad address does not stop the others from being protected."""
    assert pack_all("API server", ["nonsense", "10.0.0.1"]) == {pack_prefix("10.0.0.1"): "API server"}
    assert "'nonsense' is not an IP address" in caplog.text
