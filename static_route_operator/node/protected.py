"""The addresses that no route may capture on this host, collected from several sources."""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from static_route_operator.errors import InvalidPrefixError, SettingsError
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, pack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)

# It serves identity and boot data. Although it is link-local, packets to it follow any route that matches.
METADATA_SERVICE = ("169.254.169.254", "fd00:ec2::254")

# The second lists the real servers if the first names only systemd's own resolver.
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))

LOOPBACK = pack_prefix("127.0.0.0/8"), pack_prefix("::1/128")


class Protected:
    """The protected addresses of all sources.

    Args:
        configured: further addresses and CIDRs, separated by commas.

    Attributes:
        protection: the union of all sources.
        on_change: emitted after a change of `protection`.

    Raises:
        SettingsError: `configured` has a part that is neither an address nor a CIDR.
    """

    def __init__(self, configured: str = "") -> None:
        self.on_change: Signal[[]] = Signal()
        self._parts: dict[str, Mapping[bytes, str]] = {
            "metadata service": _named("metadata service", METADATA_SERVICE),
            "DNS": name_servers(),
            "setting": _configured(configured),
        }
        self._own = frozenset(self._parts)
        self.protection = self._union()

    @property
    def reported(self) -> dict[str, Mapping[bytes, str]]:
        """Addresses by source, from sources outside this host."""
        return {source: addresses for source, addresses in self._parts.items() if source not in self._own}

    def put(self, source: str, addresses: Mapping[bytes, str]) -> None:
        """Replace the addresses of one source.

        Args:
            source: the name of the source.
            addresses: descriptions by packed prefix.
        """
        if self._parts.get(source, {}) == addresses:
            return
        self._parts[source] = addresses
        self.protection = self._union()
        self.on_change.emit()

    def look_at_resolver(self) -> None:
        """Read the DNS servers of this host again."""
        self.put("DNS", name_servers())

    def _union(self) -> Protection:
        union: dict[bytes, str] = {}
        for addresses in self._parts.values():
            union |= addresses
        return Protection(union)


def name_servers(files: Iterable[Path] = RESOLVER_FILES) -> dict[bytes, str]:
    """Return descriptions of the DNS servers of this host by packed prefix; skip files that can't be read."""
    found = {}
    for file in files:
        with contextlib.suppress(OSError):
            for line in file.read_text(errors="replace").splitlines():
                match line.split():
                    case ["nameserver", text, *_]:
                        # A zone marks a link-local address, which no destination can contain.
                        with contextlib.suppress(InvalidPrefixError):
                            found[host_prefix(pack_address(text))] = "DNS server of this host"
    return {prefix: text for prefix, text in found.items() if not any(contains(each, prefix) for each in LOOPBACK)}


def pack_all(description: str, texts: Iterable[str]) -> dict[bytes, str]:
    """Return a description by packed prefix for addresses and CIDRs; log and skip texts that are neither."""
    found = {}
    for text in texts:
        try:
            found[pack_prefix(text)] = description
        except InvalidPrefixError as error:
            logger.warning("Not protected (%s): %s", description, error)
    return found


def _named(description: str, texts: Iterable[str]) -> dict[bytes, str]:
    return {pack_prefix(text): description for text in texts}


def _configured(setting: str) -> dict[bytes, str]:
    try:
        return _named("protected by a setting", filter(None, (part.strip() for part in setting.split(","))))
    except InvalidPrefixError as error:
        raise SettingsError(f"--protected: {error}; give addresses and CIDRs separated by commas") from error
