"""Which StaticRoutes are for this node."""

from static_route_operator.api.nodeselector import WHOLE_NUMBER, NodeSelector, Requirement, Term
from static_route_operator.planning.facts import Node


def selects(selector: NodeSelector | None, node: Node) -> bool:
    """Whether a selector matches a node, by the rules of core/v1 NodeSelector; no selector matches every node."""
    return selector is None or any(_term_matches(term, node) for term in selector.terms)


def _term_matches(term: Term, node: Node) -> bool:
    if not term.expressions and not term.fields:
        return False
    return all(_holds(each, node.labels.get(each.key)) for each in term.expressions) and all(
        _holds(each, node.name) for each in term.fields
    )


def _holds(requirement: Requirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return (number := _whole(value)) is not None and number > int(requirement.values[0])
        case _:  # Lt
            return (number := _whole(value)) is not None and number < int(requirement.values[0])


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and WHOLE_NUMBER.fullmatch(value) else None
