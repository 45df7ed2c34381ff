"""Selection of the gateways that a node uses: the best of those for the node that it reaches and that are up."""

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
    """The gateways that a StaticRoute uses on a node.

    Attributes:
        next_hops: the next hops of its routes; None to write no routes.
        keep: without next hops, installed routes stay as they are.
        problem: why there are no next hops, or which gateways are not used; None without a problem.
        reachable: packed addresses of the gateways that the node reaches.
        targets: the targets to probe for the StaticRoute.
    """

    next_hops: NextHops | None = None
    keep: bool = False
    problem: Issue | None = None
    reachable: tuple[bytes, ...] = ()
    targets: tuple[Target, ...] = ()


class GatewaySelector:
    """The selection of gateways on one node, at one moment.

    Args:
        node: the node.
        facts: facts of the node, with look-ups of all gateways.
        down: the targets whose gateways are down. A gateway without a verdict counts as up; otherwise a start of this
            program would move routes.
        probed: the targets so far. A gateway that the node does not reach is probed further; otherwise it would count
            as up at the moment that the node reaches it again.
    """

    def __init__(self, node: Node, facts: Facts, down: Collection[Target], probed: Iterable[Target]) -> None:
        self._node = node
        self._facts = facts
        self._down = down
        self._probed: Mapping[tuple[bytes, Check], Target] = {(each.gateway, each.check): each for each in probed}

    def choose(self, route: ResolvedRoute) -> GatewaySelection:
        """Select the gateways of one StaticRoute."""
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
        next_hops, keep, problem = None, False, None
        if usable:
            best = min(each.priority for each in usable)
            tier = [hops[each] for each in usable if each.priority == best]
            next_hops = _next_hops(tier, spec.options)
            if unused:
                problem = Issue(RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED, "; ".join(unused))
        else:
            problem = _all_down([*unused, *(each.message for each in problems.values())], list(problems.values()))
            if problem.reason is Reason.GATEWAY_IS_THIS_NODE or spec.when_all_down is WhenAllDown.KEEP:
                # The gateway node must never blackhole or withdraw: it is the next hop.
                keep = True
            elif spec.when_all_down is WhenAllDown.BLACKHOLE:
                next_hops = BLACKHOLE_IPV4 if route.address_size == 4 else BLACKHOLE_IPV6
                problem = problem.but("packets are dropped")
            else:
                problem = problem.but("its routes are withdrawn")
        return GatewaySelection(next_hops, keep, problem, tuple(each.address for each in hops), tuple(targets.values()))

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


def _next_hops(hops: Sequence[NextHop], options: Options) -> NextHops:
    source, metrics = options.source, options.metrics
    if len(hops) == 1:
        # A single next hop gets all traffic; the kernel stores no weight for it.
        return NextHops((hops[0]._replace(weight=1),), source, metrics)
    return NextHops(tuple(sorted(hops)), source, metrics)


def _all_down(messages: Sequence[str], problems: Sequence[Issue]) -> Issue:
    """Explain why no gateway can be used."""
    if len(problems) == len(messages):
        # The node reaches none. Name first that the node is itself the gateway: that is no fault.
        first = min(problems, key=lambda each: each.reason is not Reason.GATEWAY_IS_THIS_NODE)
        return Issue(first.state, first.reason, "; ".join(messages))
    return Issue(RowState.FAILED, Reason.ALL_GATEWAYS_DOWN, "; ".join(messages))
