"""Which gateways a node uses: of those that are for it and that it reaches, the best that are up."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from static_route_operator.api.gateways import Gateway, WhenAllDown
from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node, selects
from static_route_operator.api.options import Options
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.guards import Issue, gateway_problem
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.nexthops import BLACKHOLE_IPV4, BLACKHOLE_IPV6, NextHop, NextHops


@dataclass(frozen=True, slots=True)
class GatewaySelection:
    """What a StaticRoute gets on a node.

    Attributes:
        path: of its routes; None when none is to be written.
        keep: without a path, routes that are there stay as they are.
        problem: why there is no path, or which gateways are not used; None when all is well.
        reachable: packed addresses of the gateways that routes could go through.
        targets: what is to be probed for it.
    """

    path: NextHops | None = None
    keep: bool = False
    problem: Issue | None = None
    reachable: tuple[bytes, ...] = ()
    targets: tuple[Target, ...] = ()


class GatewaySelector:
    """Chooses gateways on one node, at one moment.

    Args:
        node: the node.
        facts: what it knows of itself; look-ups of all gateways included.
        down: the targets whose gateways do not answer. What has not been judged yet counts as up: so a start of this
            program moves no route.
        probed: the targets until now. A gateway that can't be reached goes on being probed, so that it is not taken for
            up as soon as it can.
    """

    def __init__(self, node: Node, facts: Facts, down: Collection[Target], probed: Iterable[Target]) -> None:
        self._node = node
        self._facts = facts
        self._down = down
        self._probed: Mapping[tuple[bytes, Check], Target] = {(each.gateway, each.check): each for each in probed}

    def choose(self, route: ResolvedRoute) -> GatewaySelection:
        """The choice for one object."""
        spec = route.spec
        mine = [each for each in route.gateways if selects(each.node_selector, self._node)]
        if not mine:
            return GatewaySelection(
                problem=Issue(RowState.FAILED, Reason.NO_GATEWAY, "none of its gateways is for this node")
            )
        problems: dict[Gateway, Issue] = {}
        hops: dict[Gateway, NextHop] = {}
        for each in mine:
            problem = gateway_problem(each.address, self._facts, on_link=spec.options.on_link, interface=each.interface)
            if problem is None:
                hops[each] = self._hop(each, on_link=spec.options.on_link)
            else:
                problems[each] = problem
        targets = self._targets(mine, hops, spec.check) if spec.check else {}
        down = [each for each in hops if targets.get(each) in self._down]
        usable = [each for each in hops if each.weight and each not in down]
        unused = [
            f"gateway {each.text} is {'down' if each in down else 'drained'}" for each in hops if each not in usable
        ]
        path, keep, problem = None, False, None
        if usable:
            best = min(each.priority for each in usable)
            path = _path([each for each in usable if each.priority == best], hops, spec.options)
            if unused:
                problem = Issue(RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED, "; ".join(unused))
        else:
            problem = _all_down([*unused, *(each.message for each in problems.values())], list(problems.values()))
            if problem.reason is Reason.GATEWAY_IS_THIS_NODE or spec.when_all_down is WhenAllDown.KEEP:
                # What a gateway itself does with packets is no matter of whether it reaches other ones.
                keep = True
            elif spec.when_all_down is WhenAllDown.BLACKHOLE:
                path = BLACKHOLE_IPV4 if route.address_size == 4 else BLACKHOLE_IPV6
                problem = problem.but("packets are dropped")
            else:
                problem = problem.but("its routes are withdrawn")
        return GatewaySelection(path, keep, problem, tuple(each.address for each in hops), tuple(targets.values()))

    def _hop(self, gateway: Gateway, *, on_link: bool) -> NextHop:
        lookup = self._facts.lookups.get(gateway.address)
        if gateway.interface:
            index = self._facts.index(gateway.interface)
            direct = lookup is not None and lookup.on_link and lookup.interface == index
            return NextHop(gateway.address, index, gateway.weight, on_link or not direct)
        return NextHop(gateway.address, lookup.interface if lookup else 0, gateway.weight, on_link)

    def _targets(self, mine: Iterable[Gateway], hops: Mapping[Gateway, NextHop], check: Check) -> dict[Gateway, Target]:
        targets = {}
        for each in mine:
            if each in hops:
                targets[each] = Target(each.address, hops[each].interface, check)
            elif (known := self._probed.get((each.address, check))) and known.interface in self._facts.interfaces:
                targets[each] = known
        return targets


def _path(tier: Sequence[Gateway], hops: Mapping[Gateway, NextHop], options: Options) -> NextHops:
    source, metrics = options.source, options.metrics
    if len(tier) == 1:
        # Alone it has all of the traffic, whatever its weight.
        return NextHops((hops[tier[0]]._replace(weight=1),), source, metrics)
    return NextHops(tuple(sorted(hops[each] for each in tier)), source, metrics)


def _all_down(messages: Sequence[str], problems: Sequence[Issue]) -> Issue:
    """Why no gateway can be used."""
    if len(problems) == len(messages):
        # None can be reached; that it is this node itself is the more important.
        first = min(problems, key=lambda each: each.reason is not Reason.GATEWAY_IS_THIS_NODE)
        return Issue(first.state, first.reason, "; ".join(messages))
    return Issue(RowState.FAILED, Reason.ALL_GATEWAYS_DOWN, "; ".join(messages))
