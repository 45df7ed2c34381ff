"""Node selectors: the core/v1 NodeSelector of ``spec.nodeSelector``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from static_route_operator.errors import shown


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as the API server or the flags of `run` describe it.

    Attributes:
        name: ``metadata.name``.
        labels: ``metadata.labels``.
        uid: ``metadata.uid``, which differs when a node is created again under its name. Empty outside a cluster.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""


WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label, or on the field ``metadata.name``."""

    key: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """Conditions that must all hold. A term without conditions matches no node, as in Kubernetes."""

    expressions: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """Terms, one of which must match."""

    terms: tuple[Term, ...]


def parse_node_selector(value: object) -> NodeSelector:
    """Read a NodeSelector from its JSON form.

    Raises:
        ValueError: the value is malformed; the text names the place and the correction.
    """
    if not isinstance(value, Mapping) or not isinstance(terms := value.get("nodeSelectorTerms"), list) or not terms:
        raise ValueError("must have nodeSelectorTerms, a list of at least one term")
    return NodeSelector(tuple(_term(term, f"nodeSelectorTerms[{index}]") for index, term in enumerate(terms)))


def _term(value: object, where: str) -> Term:
    if not isinstance(value, Mapping) or set(value) - {"matchExpressions", "matchFields"}:
        raise ValueError(f"{where} may have only matchExpressions and matchFields")
    expressions = _requirements(value.get("matchExpressions") or [], f"{where}.matchExpressions")
    fields = _requirements(value.get("matchFields") or [], f"{where}.matchFields")
    for each in fields:
        if each.key != "metadata.name" or each.operator not in {"In", "NotIn"} or len(each.values) != 1:
            raise ValueError(f"{where}.matchFields supports only metadata.name, with In or NotIn and one value")
    return Term(expressions, fields)


def _requirements(values: Any, where: str) -> tuple[Requirement, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{where} must be a list")  # noqa: TRY004  parsers of values raise ValueError
    return tuple(_requirement(item, where) for item in values)


def _requirement(value: Any, where: str) -> Requirement:
    if not isinstance(value, Mapping) or not isinstance(key := value.get("key"), str) or not key:
        raise ValueError(f"{where}: each entry needs a key")
    operator = value.get("operator")
    if operator not in OPERATORS:
        raise ValueError(f"{where}: operator of {shown(key)} must be one of {', '.join(OPERATORS)}")
    values = value.get("values") or []
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise ValueError(f"{where}: values of {shown(key)} must be a list of strings")
    if operator in {"Exists", "DoesNotExist"} and values:
        raise ValueError(f"{where}: operator {operator} of {shown(key)} takes no values")
    if operator in {"In", "NotIn"} and not values:
        raise ValueError(f"{where}: operator {operator} of {shown(key)} needs at least one value")
    if operator in {"Gt", "Lt"} and (len(values) != 1 or not WHOLE_NUMBER.fullmatch(values[0])):
        raise ValueError(f"{where}: operator {operator} of {shown(key)} takes one whole number, in quotes")
    return Requirement(key, operator, tuple(values))


def selects(selector: NodeSelector | None, node: Node) -> bool:
    """Report whether a selector matches a node, as in Kubernetes; None matches every node."""
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
