"""What this host protects from being captured by a route: told by several sources, of which each knows a part."""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from static_route_operator.errors import InvalidPrefixError, SettingsError
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, pack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)

# Link-local or not, it is reached by whatever route there is, and identity and boot data come from it.
METADATA_SERVICE = ("169.254.169.254", "fd00:ec2::254")

# The second is what the first stands for where it names systemd's own resolver only.
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))

LOOPBACK = pack_prefix("127.0.0.0/8"), pack_prefix("::1/128")


class Protected:
    """All that is protected, as far as it is known.

    Args:
        configured: further addresses and CIDRs, separated by commas.

    Attributes:
        protection: the whole of it.
        on_change: emitted when it has changed.

    Raises:
        SettingsError: one of the configured is neither an address nor a CIDR.
    """

    def __init__(self, configured: str = "") -> None:
        self.on_change: Signal[[]] = Signal()
        self._parts: dict[str, Mapping[bytes, str]] = {
            "metadata service": _named("metadata service", METADATA_SERVICE),
            "DNS": name_servers(),
            "setting": _configured(configured),
        }
        self._own = frozenset(self._parts)
        self.protection = self._whole()

    @property
    def told(self) -> dict[str, Mapping[bytes, str]]:
        """What sources elsewhere know, by their names: what this host does not know by itself."""
        return {source: what for source, what in self._parts.items() if source not in self._own}

    def put(self, source: str, what: Mapping[bytes, str]) -> None:
        """Take in what a source knows now, in place of what it knew before.

        Args:
            source: its name.
            what: by packed prefix, what it is.
        """
        if self._parts.get(source, {}) == what:
            return
        self._parts[source] = what
        self.protection = self._whole()
        self.on_change.emit()

    def look_at_resolver(self) -> None:
        """Take in the DNS servers of this host as they are now."""
        self.put("DNS", name_servers())

    def _whole(self) -> Protection:
        whole: dict[bytes, str] = {}
        for what in self._parts.values():
            whole |= what
        return Protection(whole)


def name_servers(files: Iterable[Path] = RESOLVER_FILES) -> dict[bytes, str]:
    """The DNS servers of this host by packed prefix; a file that can't be read names none."""
    found = {}
    for file in files:
        with contextlib.suppress(OSError):
            for line in file.read_text(errors="replace").splitlines():
                match line.split():
                    case ["nameserver", text, *_]:
                        # A zone names the link of a link-local address, which no destination can hold.
                        with contextlib.suppress(InvalidPrefixError):
                            found[host_prefix(pack_address(text))] = "DNS server of this host"
    return {prefix: what for prefix, what in found.items() if not any(contains(each, prefix) for each in LOOPBACK)}


def pack_all(what: str, texts: Iterable[str]) -> dict[bytes, str]:
    """Addresses and CIDRs by packed prefix, with what they are; one that is neither is logged and passed over."""
    found = {}
    for text in texts:
        try:
            found[pack_prefix(text)] = what
        except InvalidPrefixError as error:
            logger.warning("Not protected (%s): %s", what, error)
    return found


def _named(what: str, texts: Iterable[str]) -> dict[bytes, str]:
    return {pack_prefix(text): what for text in texts}


def _configured(setting: str) -> dict[bytes, str]:
    try:
        return _named("protected by a setting", filter(None, (part.strip() for part in setting.split(","))))
    except InvalidPrefixError as error:
        raise SettingsError(f"--protected: {error}; give addresses and CIDRs separated by commas") from error
