"""Selection of the gateways that a node uses: the best of those for the node that it reaches and that are up."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from static_route_operator.api.gateways import Gateway, WhenAllDown
from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node, selects
from static_route_operator.api.options import Options
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.adjacency import belongs_here, find_next_hop
from static_route_operator.planning.guards import Issue
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
        reachable: the next hop of each gateway that the node reaches, in use or not.
        targets: the targets to probe for the StaticRoute.
    """

    next_hops: NextHops | None = None
    keep: bool = False
    problem: Issue | None = None
    reachable: tuple[NextHop, ...] = ()
    targets: tuple[Target, ...] = ()


class GatewaySelector:
    """The selection of gateways on one node, at one moment.

    Args:
        node: the node.
        facts: facts of the node, with look-ups of all gateways.
        down: the targets whose gateways are down. A gateway without a verdict counts as up; otherwise a start of this
            program would move routes.
        probed: the targets so far. A gateway that the node does not reach is probed further, where it was; otherwise it
            would count as up at the moment that the node reaches it there again.
    """

    def __init__(self, node: Node, facts: Facts, down: Collection[Target], probed: Iterable[Target]) -> None:
        self._node = node
        self._facts = facts
        self._down = down
        self._probed: dict[tuple[bytes, Check], list[Target]] = {}
        for each in probed:
            self._probed.setdefault((each.gateway, each.check), []).append(each)

    def choose(self, route: ResolvedRoute) -> GatewaySelection:
        """Select the gateways of one StaticRoute."""
        spec = route.spec
        mine = [each for each in route.gateways if selects(each.node_selector, self._node)]
        if not mine:
            return GatewaySelection(
                problem=Issue(RowState.FAILED, Reason.NO_GATEWAY, "none of its gateways is for this node")
            )
        found = {each: find_next_hop(each, self._facts, on_link=spec.options.on_link) for each in mine}
        hops = {each: hop for each, hop in found.items() if isinstance(hop, NextHop)}
        problems = {each: problem for each, problem in found.items() if isinstance(problem, Issue)}
        targets = self._targets(hops, problems, spec.check) if spec.check else {}
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
            # A gateway on a subnet of other nodes is no problem here.
            unused += [each.message for gateway, each in problems.items() if belongs_here(gateway, self._facts)]
            if unused:
                problem = Issue(RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED, "; ".join(unused))
        else:
            problem = _none_left(unused, list(problems.values()))
            if problem.reason is Reason.GATEWAY_IS_THIS_NODE:
                # Whatever the policy is: routes through this node itself lose the packets of all that it forwards for.
                problem = problem.but("its routes are withdrawn")
            elif spec.when_all_down is WhenAllDown.KEEP:
                keep = True
            elif spec.when_all_down is WhenAllDown.BLACKHOLE:
                next_hops = BLACKHOLE_IPV4 if route.address_size == 4 else BLACKHOLE_IPV6
                problem = problem.but("packets are dropped")
            else:
                problem = problem.but("its routes are withdrawn")
        return GatewaySelection(next_hops, keep, problem, tuple(hops.values()), tuple(targets.values()))

    def _targets(
        self, hops: Mapping[Gateway, NextHop], problems: Mapping[Gateway, Issue], check: Check
    ) -> dict[Gateway, Target]:
        targets = {each: Target(each.address, hop.interface, check) for each, hop in hops.items()}
        for each, problem in problems.items():
            # This node would answer itself.
            own = problem.reason is Reason.GATEWAY_IS_THIS_NODE
            if not own and (known := self._known(each, check)) is not None:
                targets[each] = known
        return targets

    def _known(self, gateway: Gateway, check: Check) -> Target | None:
        """Return the target of a gateway that the node does not reach now; None if it was not probed."""
        named = self._facts.index(gateway.interface) if gateway.interface else 0
        for target in self._probed.get((gateway.address, check), ()):
            if target.interface == named or (not gateway.interface and target.interface in self._facts.interfaces):
                return target
        return None


def _next_hops(hops: Sequence[NextHop], options: Options) -> NextHops:
    source, metrics = options.source, options.metrics
    if len(hops) == 1:
        # A single next hop gets all traffic; the kernel stores no weight for it.
        return NextHops((hops[0]._replace(weight=1),), source, metrics)
    return NextHops(tuple(sorted(hops)), source, metrics)


def _none_left(unused: Sequence[str], problems: Sequence[Issue]) -> Issue:
    """Explain why no gateway can be used.

    Args:
        unused: messages about the gateways that the node reaches.
        problems: of the gateways that it does not reach.
    """
    # Name first that the node is itself the gateway: that decides what happens.
    ordered = sorted(problems, key=lambda each: each.reason is not Reason.GATEWAY_IS_THIS_NODE)
    own = [each for each in ordered if each.reason is Reason.GATEWAY_IS_THIS_NODE]
    others = [each.message for each in ordered[len(own) :]]
    messages = "; ".join([*(each.message for each in own), *unused, *others])
    if own or not unused:
        return Issue(ordered[0].state, ordered[0].reason, messages)
    return Issue(RowState.FAILED, Reason.ALL_GATEWAYS_DOWN, messages)
