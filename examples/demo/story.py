"""Script of the demo: its steps, and the promises that the operator must keep."""

import itertools
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NoReturn

from examples.demo.monitor import Event, RouteMonitor
from examples.demo.page import Page
from examples.demo.stage import (
    GATEWAY_ADDRESSES,
    GATEWAY_ANSWERS,
    NODE_ANSWERS,
    NODES,
    PLACEHOLDER,
    SITES,
    Stage,
)
from tests.lab.commands import wait_until
from tests.lab.request import TIMEOUT, Request
from tests.lab.stream import Enter, Stream, ask, first_from

IFCONFIG, IPINFO = "static-route-ifconfig.me.yaml", "static-route-ipinfo.io.yaml"
SITE = SITES[0]
FAILOVER = "failover.yaml"
NETWORK, SITE_IN_IT = "203.0.113.0/24", "203.0.113.145"  # the destination of that example
PATIENCE = 20  # seconds, for a machine that is busy with other things
WARM_UP, AFTER = 0.8, 0.8  # seconds of requests before and after an event
LEARNING = 0.7  # seconds until the operators know the round-trip times of the gateways
GIVING_UP = 1.5  # seconds; longer than TCP waits before it sends again
PROTOCOL = 245  # marks the operator's routes

_PICTURE = f"""\
node1 ─┐                    ┌─ gateway 1, {GATEWAY_ADDRESSES[0]} ──┐
node2 ─┼─ private network ──┤                          ├── web site
node3 ─┘                    └─ gateway 2, {GATEWAY_ADDRESSES[1]} ─┘   ({SITES[0]}
  │                                                    │    and {SITES[1]})
  └── each node's own way out: its default route ──────┘
"""


class BrokenPromiseError(Exception):
    """The operator did not do what the demo says it does."""


class Story:
    """The demo.

    Args:
        stage: not built yet.
        page: output.
    """

    def __init__(self, stage: Stage, page: Page) -> None:
        self._stage = stage
        self._page = page

    def tell(self) -> None:
        """Show all steps.

        Raises:
            BrokenPromiseError: the operator broke a promise.
        """
        self._show_network()
        self._show_apply()
        self._show_change()
        self._show_repair()
        self._show_failover()
        self._show_removal()

    def _show_network(self) -> None:
        self._page.heading("1. Three nodes, two NAT gateways and a web site")
        self._page.say(
            "Each machine is a network namespace of this one. They are connected to each other only: nothing here"
            " touches this machine's own network."
        )
        self._stage.build()
        self._page.show(_PICTURE)
        self._page.say("Without the operator, the site sees each node's own address:")
        self._expect_answers(NODE_ANSWERS, "every node goes its own way")

    def _show_apply(self) -> None:
        self._page.heading("2. StaticRoutes send the nodes through gateway 1")
        self._page.say(
            "An operator starts on each node: `static-route-operator run --manifests DIRECTORY`. In a cluster it is a"
            " DaemonSet and reads the same objects from the Kubernetes API."
        )
        self._stage.start_operators()
        gateway = GATEWAY_ADDRESSES[0]
        self._page.say(
            f"Into the directory go examples/{IFCONFIG} and examples/{IPINFO}, with {gateway} in place of"
            f" {PLACEHOLDER}. The first one then reads:"
        )
        text = self._stage.apply(IFCONFIG, gateway)
        self._stage.apply(IPINFO, gateway)
        self._page.show("\n".join(line for line in text.splitlines() if not line.startswith(("#", "---"))))
        self._page.say("Now the site sees gateway 1, whichever node asks:")
        self._expect_answers(dict.fromkeys(NODES, GATEWAY_ANSWERS[0]), "every node goes through gateway 1")
        self._page.say("What a node holds and why:")
        self._page.run("node1", ["static-route-operator routes"], self._stage.operator("node1", "routes"))

    def _show_change(self) -> None:
        self._page.heading("3. The gateway changes while requests are running")
        old, new = GATEWAY_ADDRESSES
        self._page.say(
            f"Every node asks {SITE} about every 5 ms, each time on a new connection. Meanwhile, `gateway` in"
            f" {IFCONFIG} is changed from {old} to {new}. The table counts the requests by the way they took, and the"
            " packets that got lost and were sent again."
        )
        monitor = RouteMonitor(self._stage.network, "node1")
        streams = self._stream(NODES)
        edited = time.monotonic()
        self._stage.edit(IFCONFIG, old, new)
        self._wait_for_answers(streams, GATEWAY_ANSWERS[1])
        seen = self._end(streams)
        monitor.stop()
        events = monitor.events(SITE)
        self._page.run("node1", ["ip monitor route"], _log(events))
        self._expect_no_failure(seen)
        for node, requests in seen.items():
            astray = [each.answer for each in requests if each.answer not in GATEWAY_ANSWERS]
            self._expect(not astray, f"{node} went through neither gateway; the site saw {sorted({*astray})}")
            order = [GATEWAY_ANSWERS.index(each.answer) for each in requests]
            self._expect(order == sorted(order), f"{node} went back to gateway 1 after the change")
        last = max(first_from(requests, GATEWAY_ANSWERS[1]) or 0 for requests in seen.values())
        self._expect(len(events) == 1 and not events[0].gone, "the route of node1 was not replaced in one step")
        self._page.kept(
            "no request failed, none went another way, and the kernel of node1 saw one replacement: the route was never"
            f" away. The last node went through gateway 2 {_milliseconds(last - edited)} after the edit."
        )

    def _show_repair(self) -> None:
        self._page.heading("4. Somebody removes a route by hand")
        self._page.say(
            "The same requests, now from node2 alone, while its route is deleted behind the operator's back:"
        )
        monitor = RouteMonitor(self._stage.network, "node2")
        streams = self._stream(["node2"])
        self._stage.ip("node2", f"route del {SITE}")
        wait_until(
            lambda: bool(self._stage.ip("node2", f"route show {SITE} proto {PROTOCOL}")),
            "the operator of node2 puts the route back",
            timeout=PATIENCE,
        )
        seen = self._end(streams)
        monitor.stop()
        events = monitor.events(SITE)
        self._page.run("node2", [f"ip route del {SITE}", "ip monitor route"], _log(events))
        self._expect_no_failure(seen)
        self._expect([each.gone for each in events] == [True, False], "the route did not go and come back once")
        away = (events[1].time - events[0].time).total_seconds()
        self._page.kept(f"the operator put it back: it was away for {_milliseconds(away)}, and no request failed.")

    def _show_failover(self) -> None:
        self._page.heading("5. A gateway is unplugged while requests are running, and plugged in again")
        self._page.say(
            f"examples/{FAILOVER} names both gateways. The second one stands by; every node asks each of them three"
            " times a second:"
        )
        text = self._stage.apply(FAILOVER, *GATEWAY_ADDRESSES)
        wait_until(
            lambda: all(ask(self._enter(node), SITE_IN_IT) == GATEWAY_ANSWERS[0] for node in NODES),
            f"every node has the route of {FAILOVER}",
            timeout=PATIENCE,
        )
        self._page.show("\n".join(line for line in text.splitlines() if not line.strip().startswith(("#", "---"))))
        self._page.say(
            f"Every node asks {SITE_IN_IT}. Then the cable of gateway 1 is pulled out of the switch: nothing tells the"
            " nodes, whose own links stay up. Later it is put back."
        )
        monitors = {node: RouteMonitor(self._stage.network, node) for node in NODES}
        streams = self._stream(NODES, SITE_IN_IT, timeout=GIVING_UP)
        time.sleep(LEARNING)
        unplugged = datetime.now().astimezone()
        self._stage.unplug("gw1")
        self._wait_for_answers(streams, GATEWAY_ANSWERS[1])
        report = self._stage.operator("node1", "routes")
        plugged_in = datetime.now().astimezone()
        moment = time.monotonic()
        self._stage.plug_in("gw1")
        self._wait_for_answers(streams, GATEWAY_ANSWERS[0], moment)
        seen = self._end(streams)
        for monitor in monitors.values():
            monitor.stop()
        events = {node: monitor.events(NETWORK) for node, monitor in monitors.items()}
        down = [line for line in report.splitlines() if " Down " in line]
        self._page.run("node1", ["static-route-operator routes | grep Down"], "\n".join(down))
        marks = [
            Event(unplugged, gone=False, text="(gateway 1 unplugged)"),
            Event(plugged_in, gone=False, text="(gateway 1 plugged in)"),
        ]
        log = sorted([*events["node1"], *marks], key=lambda each: each.time)
        self._page.run("node1", ["ip monitor route"], _log(log))
        moved, back = [], []
        for node, requests in seen.items():
            replaced = [each.gone for each in events[node]] == [False, False]
            self._expect(replaced, f"the route of {node} was not replaced just once each way")
            moved.append((events[node][0].time - unplugged).total_seconds())
            back.append((events[node][1].time - plugged_in).total_seconds())
            ways = [answer for answer, _ in itertools.groupby(each.answer for each in requests if each.answer)]
            there_and_back = [*GATEWAY_ANSWERS, GATEWAY_ANSWERS[0]]
            self._expect(ways == there_and_back, f"{node} did not go to gateway 2 and back; the site saw {ways}")
            after = moment - (plugged_in - events[node][0].time).total_seconds()
            self._expect_no_failure({node: [each for each in requests if each.began > after]}, changes=2)
        self._page.kept(
            f"the nodes moved their routes at most {_milliseconds(max(moved))} after gateway 1 was unplugged, and back"
            f" at most {_milliseconds(max(back))} after it was plugged in again. No request that began after a node had"
            " moved failed: only what was on its way through gateway 1 went with it."
        )

    def _show_removal(self) -> None:
        self._page.heading("6. The StaticRoutes are removed")
        self._page.say("All manifests are taken out of the directory. The nodes go their own way again:")
        for example in (IFCONFIG, IPINFO, FAILOVER):
            self._stage.remove(example)
        self._expect_answers(NODE_ANSWERS, "every node goes its own way again")
        command = f"route show table all proto {PROTOCOL}"
        left = {node: self._stage.ip(node, command) + self._stage.ip(node, f"-6 {command}") for node in NODES}
        self._page.run("node1", [f"ip {command}"], left["node1"])
        for node, routes in left.items():
            self._expect(not routes, f"{node} still has routes of the operator: {routes}")
        self._page.kept("no node has a route of the operator left.")

    def _expect_answers(self, expected: Mapping[str, str], meaning: str) -> None:
        """Ask both sites from every node until the answers are as expected, and show them."""
        answers: dict[str, list[str]] = {}

        def as_expected() -> bool:
            answers.update({node: [ask(self._enter(node), site) for site in SITES] for node in NODES})
            return all(answers[node] == [expected[node]] * len(SITES) for node in NODES)

        deadline = time.monotonic() + PATIENCE
        while not (good := as_expected()) and time.monotonic() < deadline:
            time.sleep(0.05)
        names = [f"{site} answers" for site in SITES]
        self._page.table(["", *names], [[node, *answers[node]] for node in NODES])
        self._expect(good, f"not so: {meaning}")
        self._page.kept(f"{meaning}.")

    def _enter(self, node: str) -> Enter:
        return self._stage.network.namespace(node).enter

    def _stream(self, nodes: Sequence[str], site: str = SITE, timeout: float = TIMEOUT) -> list[Stream]:
        """Let nodes make requests, and come back when they have been at it for a while."""
        logs = self._stage.network.logs
        streams = [
            Stream(node, self._enter(node), site, logs / f"{node}-requests.log", timeout=timeout) for node in nodes
        ]
        for stream in streams:
            stream.wait()
        time.sleep(WARM_UP)
        return streams

    def _wait_for_answers(self, streams: Sequence[Stream], answer: str, since: float = 0.0) -> None:
        """Wait until each of them was answered so in a request that began after a moment."""

        def reached(stream: Stream) -> bool:
            return any(each.answer == answer and each.began > since for each in stream.requests())

        wait_until(lambda: all(map(reached, streams)), f"the site sees {answer} from all of them", timeout=PATIENCE)

    def _end(self, streams: Sequence[Stream]) -> dict[str, list[Request]]:
        """Let the requests go on for a while, then end them; show what was seen, and return it by node."""
        time.sleep(AFTER)
        seen = {stream.name: stream.stop() for stream in streams}
        header = ["", "requests", "failed", "gateway 1", "gateway 2", "own way", "resent", "slowest"]
        rows = []
        for node, requests in seen.items():
            ways = [*GATEWAY_ANSWERS, NODE_ANSWERS[node]]
            counts = [sum(each.answer == way for each in requests) for way in ways]
            failed = sum(bool(each.failure) for each in requests)
            resent = sum(each.resent for each in requests)
            slowest = _milliseconds(max(each.ended - each.began for each in requests))
            rows.append([node, *map(str, (len(requests), failed, *counts, resent)), slowest])
        self._page.table(header, rows)
        if cut := sum(each.connections - 1 for requests in seen.values() for each in requests):
            self._page.say(
                f"({cut} of these needed a second connection: the first was open at the very moment of the change, and"
                " no connection can move from one NAT gateway to another.)"
            )
        return seen

    def _expect_no_failure(self, seen: Mapping[str, Sequence[Request]], changes: int = 1) -> None:
        for node, requests in seen.items():
            failures = [each.failure for each in requests if each.failure]
            kinds = ", ".join(f"{failures.count(kind)} {kind}" for kind in sorted({*failures}))
            self._expect(not failures, f"{len(failures)} of {len(requests)} requests from {node} failed: {kinds}")
            cut = sum(each.connections - 1 for each in requests)
            self._expect(cut <= changes, f"{cut} connections from {node} were cut off; a change explains one")

    def _expect(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self._break(otherwise)

    def _break(self, text: str) -> NoReturn:
        raise BrokenPromiseError(text)


def _log(events: Sequence[Event]) -> str:
    return "\n".join(f"{each.time:%H:%M:%S.%f}  {'Deleted ' * each.gone}{each.text}" for each in events)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
