"""The addresses that an agent protects."""

import pytest

from static_route_operator.agent import Protected
from static_route_operator.errors import SettingsError
from static_route_operator.prefixes import pack_address


def test_metadata_service_is_always_protected() -> None:
    """The cloud's metadata service stays reachable on every node, whatever is configured."""
    assert set(Protected("").addresses) == {pack_address("169.254.169.254"), pack_address("fd00:ec2::254")}


def test_configured_addresses_are_protected_too() -> None:
    """Addresses in the setting are protected, blanks and empty entries passed over."""
    added = Protected(" 10.0.0.53 ,, fd00::53").addresses.keys() - Protected("").addresses.keys()

    assert added == {pack_address("10.0.0.53"), pack_address("fd00::53")}


@pytest.mark.parametrize("text", ["dns", "10.0.0.0/8", "10.0.0.1 10.0.0.2"])
def test_bad_address_is_refused_by_its_flag(text: str) -> None:
    """A setting that is no list of addresses is refused with the flag, the text and what would be right."""
    with pytest.raises(SettingsError) as caught:
        Protected(text)

    assert str(caught.value).startswith(f"--protected: '{text}' is not an IP address")
    assert "separated by commas" in str(caught.value)
