"""Policy rules of this program."""

from typing import NamedTuple

from static_route_operator.routing.keys import TABLE_MAIN
from static_route_operator.routing.prefixes import unpack_address


class OwnRule(NamedTuple):
    """A policy rule of this program.

    Attributes:
        priority: the lowest is asked first.
        source: packed prefix of the packets that it is for; of length 0 when it is for all of its family.
        table: where it leads to.
        specific: a default route that is found there does not count.
    """

    priority: int
    source: bytes
    table: int
    specific: bool = False

    def __str__(self) -> str:
        source = f"from {unpack_address(self.source[:-1])} " if self.source[-1] else ""
        table = "main" if self.table == TABLE_MAIN else str(self.table)
        return f"{self.priority}: {source}lookup {table}" + (" suppress_prefixlength 0" if self.specific else "")
