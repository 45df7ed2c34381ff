"""The addresses that no route may capture on this host, collected from several sources."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from static_route_operator.errors import InvalidPrefixError, SettingsError
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, pack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.supervision import Signal

LINK_LOCAL = "link-local addresses, such as the metadata service"
PLATFORM = "a service of the cloud platform"

# Addresses by which cloud platforms serve identity, boot data, DNS and time to a node. Packets to them follow any route
# that matches, also those to link-local addresses.
PLATFORM_ADDRESSES: Mapping[str, str] = {
    "169.254.0.0/16": LINK_LOCAL,  # AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner
    "fe80::/10": LINK_LOCAL,  # OpenStack: fe80::a9fe:a9fe
    "168.63.129.16": PLATFORM,  # Azure
    "100.100.100.200": PLATFORM,  # Alibaba
    "192.0.0.192": PLATFORM,  # Oracle Classic
    "fd00:ec2::/32": PLATFORM,  # AWS: ::254 metadata, ::253 DNS, ::123 time, ::23 pod identity
    "fd20:ce::254": PLATFORM,  # Google
    "fd00:c1::a9fe:a9fe": PLATFORM,  # Oracle
    "fd00:a9fe:a9fe::1": PLATFORM,  # Akamai (Linode)
    "fd00:42::42": PLATFORM,  # Scaleway
}

# The second lists the real servers if the first names only systemd's own resolver.
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
# Bytes and servers of a resolver file that are read; the C library reads three servers.
LARGEST_RESOLVER_FILE = 65_536
MOST_NAME_SERVERS = 8

# Addresses that no packet of this host leaves to, or that nobody may claim.
NOT_ON_THE_NETWORK = tuple(
    pack_prefix(each) for each in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")
)

# Seconds that an address stays protected after its source has lost it. The controller mends a list that another program
# has changed within less time, so such a list never takes away protection.
LINGER = 90.0
# Seconds after which an address that has become known counts against routes that were in force before.
GRACE = 86_400.0


class Protected:
    """The protected addresses of all sources.

    An address that a source reports is a claim, which may be wrong, by mistake or on purpose. While the claim is new,
    it prevents new routes to the address, but does not take away routes that are in force: see `Protection`.

    Args:
        configured: further addresses and CIDRs, separated by commas.
        grace: seconds for which a claim is new.
        clock: returns seconds.

    Attributes:
        protection: the union of all sources.
        on_change: emitted after a change of `protection`.

    Raises:
        SettingsError: `configured` has a part that is neither an address nor a CIDR.
    """

    def __init__(self, configured: str = "", grace: float = GRACE, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_change: Signal[[]] = Signal()
        self._grace = grace
        self._clock = clock
        self._fixed = {pack_prefix(text): what for text, what in PLATFORM_ADDRESSES.items()} | _configured(configured)
        # Replaced as a whole, never changed: others keep and compare what they got.
        self._claims: dict[str, Mapping[bytes, str]] = {}
        # By prefix: the time at which a new claim has become old, and the time at which a lost one ends.
        self._new: dict[bytes, float] = {}
        self._lost: dict[str, dict[bytes, float]] = {}
        self.protection = Protection(self._fixed)
        self.look_again()

    @property
    def reported(self) -> dict[str, Mapping[bytes, str]]:
        """Addresses by source, from sources outside this host."""
        return {source: addresses for source, addresses in self._claims.items() if source != "DNS"}

    def knows(self, source: str) -> bool:
        """Report whether a source has reported any address."""
        return bool(self._claims.get(source))

    def put(self, source: str, addresses: Mapping[bytes, str]) -> None:
        """Replace the addresses of one source.

        Args:
            source: the name of the source.
            addresses: descriptions by packed prefix.
        """
        now = self._clock()
        known, lost = self._claims.get(source, {}), self._lost.setdefault(source, {})
        for prefix in known.keys() - addresses.keys():
            lost.setdefault(prefix, now + LINGER)
        for prefix in addresses.keys() & lost.keys():
            del lost[prefix]
        if self._grace:
            for prefix in addresses.keys() - known.keys():
                if not any(prefix in each for each in self._claims.values()):
                    self._new[prefix] = now + self._grace
        if (after := {**known, **addresses}) != known:
            self._claims[source] = after
        self._refresh(now)

    def look_again(self) -> None:
        """Read the DNS servers of this host again, and take in the time that has passed."""
        self.put("DNS", name_servers())

    def next_look(self) -> float:
        """Return the seconds until time alone changes `protection`."""
        times = [*self._new.values(), *(at for each in self._lost.values() for at in each.values())]
        return max(min(times, default=float("inf")) - self._clock(), 0.0)

    def _refresh(self, now: float) -> None:
        """Forget lost claims, and rebuild the protection if it has changed."""
        for source, lost in self._lost.items():
            if ended := {prefix for prefix, at in lost.items() if at <= now}:
                self._lost[source] = {prefix: at for prefix, at in lost.items() if at > now}
                claims = self._claims[source]
                self._claims[source] = {prefix: what for prefix, what in claims.items() if prefix not in ended}
        union: dict[bytes, str] = {}
        for claims in self._claims.values():
            union |= claims
        self._new = {prefix: at for prefix, at in self._new.items() if at > now and prefix in union}
        old = {prefix: what for prefix, what in union.items() if prefix not in self._new} | self._fixed
        new = {prefix: union[prefix] for prefix in self._new if prefix not in old}
        protection = Protection(old, Protection(new))
        if protection != self.protection:
            self.protection = protection
            self.on_change.emit()


def name_servers(files: Iterable[Path] = RESOLVER_FILES) -> dict[bytes, str]:
    """Return descriptions of the DNS servers of this host by packed prefix; skip files that can't be read."""
    found: dict[bytes, str] = {}
    for file in files:
        with contextlib.suppress(OSError):
            for prefix in islice(_servers_in(file), MOST_NAME_SERVERS):
                found[prefix] = "DNS server of this host"
    return found


def _servers_in(file: Path) -> Iterable[bytes]:
    with file.open(errors="replace") as opened:
        for line in opened.read(LARGEST_RESOLVER_FILE).splitlines():
            match line.split():
                case ["nameserver", text, *_]:
                    # A zone marks a link-local address, which no destination can contain.
                    with contextlib.suppress(InvalidPrefixError):
                        prefix = host_prefix(pack_address(text))
                        if not any(contains(each, prefix) for each in NOT_ON_THE_NETWORK):
                            yield prefix


def _configured(setting: str) -> dict[bytes, str]:
    parts = filter(None, (part.strip() for part in setting.split(",")))
    try:
        return {pack_prefix(part): "protected by a setting" for part in parts}
    except InvalidPrefixError as error:
        raise SettingsError(f"--protected: {error}; give addresses and CIDRs separated by commas") from error
