"""The endpoints that a node reaches, and their probes after a change."""

import asyncio
import errno
from collections.abc import Iterable

import pytest

from static_route_operator.errors import SettingsError
from static_route_operator.node.rollback.endpoints import Echoes, Endpoint, parse_endpoints
from static_route_operator.node.rollback.reachability import ATTEMPT, INTERVAL, PAUSE, SPREAD, Reachability
from tests.unit.virtual_time import run


class Server:
    """Answers after some time, or refuses, or is silent."""

    addresses = ()

    def __init__(self, name: str, delay: float | None = 0.01, refusal: str = "") -> None:
        self.name = name
        self.delay = delay
        self.refusal = refusal
        self.probed: list[float] = []

    async def probe(self) -> None:
        """Answer."""
        self.probed.append(asyncio.get_running_loop().time())
        if self.refusal:
            raise ConnectionRefusedError(self.refusal)
        await asyncio.sleep(1e6 if self.delay is None else self.delay)


def _reachability(*servers: Server) -> Reachability:
    async def endpoints() -> Iterable[Endpoint]:
        return servers

    return Reachability(endpoints)


def test_a_look() -> None:
    """An endpoint that answers is known after the first round, whatever the others do."""
    good, refuses, silent = Server("good"), Server("refuses", refusal="no"), Server("silent", None)

    async def look() -> set[str]:
        reach = _reachability(good, refuses, silent)
        running = asyncio.ensure_future(reach.run())
        await reach.looked.wait()
        running.cancel()
        return set(reach.answering)

    answering, took = run(look())

    assert answering == {"good"}
    assert took == pytest.approx(ATTEMPT)


def test_looks_are_seldom_but_for_what_does_not_answer() -> None:
    """At rest it is looked every two minutes; what does not answer is asked again after a second, then less often."""
    good, returns = Server("good"), Server("returns", refusal="no")

    async def look() -> set[str]:
        reach = _reachability(good, returns)
        running = asyncio.ensure_future(reach.run())
        await asyncio.sleep(10)
        asked = len(returns.probed)
        assert 3 <= asked <= 5
        returns.refusal = ""
        reach.look_again()
        await asyncio.sleep(3 * INTERVAL)
        assert 3 <= len(returns.probed) - asked <= 5
        running.cancel()
        return set(reach.answering)

    assert run(look())[0] == {"good", "returns"}


class Exhausted(Server):
    """A server that this process has no descriptor left to ask."""

    async def probe(self) -> None:
        """Ask nothing."""
        self.probed.append(asyncio.get_running_loop().time())
        raise OSError(errno.EMFILE, "Too many open files")


def test_lack_of_descriptors_says_nothing() -> None:
    """A process that can send no probe neither holds an endpoint against a change, nor forgets that it answered."""
    server = Exhausted("server")

    async def look() -> tuple[dict[str, str], set[str]]:
        reach = _reachability(server)
        reach.answering["server"] = server
        running = asyncio.ensure_future(reach.run())
        await reach.looked.wait()
        running.cancel()
        return await reach.failing([server], 5.0), set(reach.answering)

    assert run(look())[0] == ({}, {"server"})
    assert len(server.probed) > 10


def test_all_well_after_a_change() -> None:
    """A round in which all answer ends with the last answer."""
    failing, took = run(_reachability().failing([Server("one"), Server("other", 0.1)], 5.0))

    assert failing == {}
    assert took < 0.1 + SPREAD + 0.1


def test_what_fails_after_a_change() -> None:
    """An endpoint that is silent or refuses until the timeout fails, with the reason; one that answers does not."""
    silent, refuses, late = Server("silent", None), Server("refuses", refusal="no"), Server("late", None)

    async def probe() -> dict[str, str]:
        asyncio.get_running_loop().call_later(2.5, setattr, late, "delay", 0.1)
        return await _reachability().failing([silent, refuses, late, Server("good")], 5.0)

    failing, took = run(probe())

    assert failing.keys() == {"silent", "refuses"}
    assert failing["silent"].startswith("no answer in ")
    assert failing["refuses"] == "no"
    assert 5.0 <= took <= 5.0 + SPREAD + PAUSE
    assert len(silent.probed) == 3


def test_standing_still_is_no_waiting() -> None:
    """A process that stood still for longer than is waited asks again before it says that something fails."""
    server = Server("server", None)

    async def probe() -> dict[str, str]:
        loop = asyncio.get_running_loop()

        def stand_still() -> None:
            # The clock of the loop jumps, as it does when the machine was suspended.
            loop._clock.waited += 60.0  # type: ignore[attr-defined]
            server.delay = 0.01

        loop.call_later(1.0, stand_still)
        return await _reachability().failing([server], 5.0)

    assert run(probe())[0] == {}


def test_named_by_the_user() -> None:
    """Endpoints of a setting are named by kind and place."""
    found = parse_endpoints(
        "icmp://10.0.0.1, tcp://[fd00::1]:22,,http://10.0.0.5:8080/healthz,http://10.0.0.6", Echoes()
    )

    assert [each.name for each in found] == [
        "ICMP 10.0.0.1",
        "TCP [fd00::1]:22",
        "HTTP 10.0.0.5:8080/healthz",
        "HTTP 10.0.0.6:80/",
    ]


@pytest.mark.parametrize("text", ["10.0.0.1", "tcp://10.0.0.1", "tcp://name:1", "udp://10.0.0.1:1", "tcp://10.0.0.1:x"])
def test_bad_setting(text: str) -> None:
    """An endpoint that can't be used is refused with the flag, the text, and what would be right."""
    with pytest.raises(SettingsError, match=r"^--probes: .*icmp://ADDRESS, tcp://ADDRESS:PORT or http://") as caught:
        parse_endpoints(f"icmp://10.0.0.9,{text}", Echoes())

    assert text in str(caught.value)
