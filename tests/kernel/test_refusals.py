"""What the kernel refuses, interrupts or has not, beside what it does as ever.

The refusals are made up: no kernel without IPv6 or policy rules is at hand, and none whose tables change in each read.
"""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.kernel import fib as fib_module
from static_route_operator.kernel.dumps import InterruptedDumpError, RefusedDumpError, dump
from static_route_operator.kernel.interfaces import RTM_GETADDR, RTM_GETLINK
from static_route_operator.kernel.messages import AF_INET6, RTM_GETROUTE
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine, wait_until
from tests.kernel.program import running
from tests.unit.builders import manifest, route

RTM_GETRULE = 34

BOTH = {"192.0.2.1/32": "10.0.0.1 eth0", "198.51.100.1/32": "10.1.0.1 eth1"}

Dump = Callable[[int, bytes], Iterator[list[Any]]]


def _refuse(monkeypatch: pytest.MonkeyPatch, refuses: Callable[[int, bytes], Exception | None]) -> None:
    """Have dumps end with an error, after all that they have if they are interrupted."""

    def odd(netlink: Any, sequence: int, kind: int, request: bytes, pieces: Any) -> Iterator[list[Any]]:
        error = refuses(kind, request)
        if not isinstance(error, RefusedDumpError):
            yield from dump(netlink, sequence, kind, request, pieces)
        if error is not None:
            raise error

    monkeypatch.setattr(fib_module, "dump", odd)


async def _works(machine: Machine, engine: Engine) -> None:
    """Have routes programmed, restored, moved and removed."""
    engine.put(route("nat", "10.0.0.1"), route("other", "10.1.0.1", ["198.51.100.1"]))
    engine.complete()
    await engine.routes_are(BOTH)
    machine.ip("route del 192.0.2.1")
    await engine.routes_are(BOTH)
    machine.ip("link set eth0 down")
    await engine.state_is("nat", "Failed")
    machine.ip("link set eth0 up")
    await engine.state_is("nat", "Programmed")
    await engine.routes_are(BOTH)
    engine.put(route("nat", "10.1.0.1", generation=2))
    await engine.routes_are(dict.fromkeys(BOTH, "10.1.0.1 eth1"))
    engine.remove("other")
    await engine.routes_are({"192.0.2.1/32": "10.1.0.1 eth1"})
    assert engine.count("reconcile_errors_total") == 0


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EPERM])
@pytest.mark.parametrize("refused", [RTM_GETRULE, RTM_GETROUTE])
async def test_part_that_is_refused_stops_nothing(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch, refused: int, number: int
) -> None:
    """Without policy rules, or without the routes of IPv6, all other routes are as they should be."""

    def refuses(kind: int, request: bytes) -> Exception | None:
        hit = kind == refused and (kind != RTM_GETROUTE or request[0] == AF_INET6)
        return RefusedDumpError(number, os.strerror(number)) if hit else None

    _refuse(monkeypatch, refuses)
    await _works(machine, engine)


@pytest.mark.parametrize("kinds", [{RTM_GETLINK, RTM_GETADDR, RTM_GETRULE}, {RTM_GETROUTE}])
async def test_reads_that_changes_interrupt_stop_nothing(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch, kinds: set[int]
) -> None:
    """While the kernel's tables change in each read, what was found and notified has to do."""
    _refuse(monkeypatch, lambda kind, _: InterruptedDumpError("changed") if kind in kinds else None)
    await _works(machine, engine)


async def test_run_that_fails_again_and_again_is_in_each_row(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows have the error while no run succeeds, also those of new objects; routes stay. Then all is well."""
    engine.put(route("nat", "10.0.0.1"))
    engine.complete()
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(engine.reconciler._fib, "look_up", refuse)
        engine.put(route("new", "10.1.0.1", ["198.51.100.1"]))
        for name in ("nat", "new"):
            row = await engine.state_is(name, "Failed")
            assert row.reason == Reason.RECONCILE_FAILED
            assert "Operation not permitted" in row.message
        assert engine.count("consecutive_reconcile_errors") >= 3
        assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}

    await engine.state_is("nat", "Programmed")
    await engine.routes_are(BOTH)
    assert engine.count("consecutive_reconcile_errors") == 0


def test_process_without_descriptors_goes_on(machine: Machine, tmp_path: Path) -> None:
    """A process that may open nothing more restores and moves its routes, and looks again when it may."""
    objects = [manifest("nat", "10.0.0.1", ["192.0.2.1"]), manifest("other", "10.1.0.1", ["198.51.100.1"])]
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "all.yaml").write_text(yaml.safe_dump_all(objects))
    with running(directory, tmp_path / "log", "--http-port", "0", "--resync-seconds", "1") as program:
        wait_until(lambda: machine.routes() == BOTH, "both routes are there")
        limits = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        wait_until(lambda: "Too many open files" in program.log, "it notices")
        machine.ip("link set eth0 down")
        wait_until(lambda: machine.routes() == {"198.51.100.1/32": "10.1.0.1 eth1"}, "the kernel drops one")
        machine.ip("link set eth0 up", "route del 198.51.100.1")
        wait_until(lambda: machine.routes() == BOTH, "both routes are back")
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, limits)
        machine.ip("route flush proto 245")
        wait_until(lambda: machine.routes() == BOTH, "both routes are back again")
        assert program.lives
