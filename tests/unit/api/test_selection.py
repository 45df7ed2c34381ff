"""The nodes that a selector matches, by the rules of core/v1."""

from typing import Any

import pytest

from static_route_operator.api.nodeselector import Node, parse_node_selector, selects

NODE = Node("node1", {"zone": "a", "cores": "8", "name": "x8", "grouped": "1_0", "empty": ""})


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _selects(*terms: dict[str, Any]) -> bool:
    return selects(parse_node_selector({"nodeSelectorTerms": list(terms)}), NODE)


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("zone", "In", ["a", "b"], True),
        ("zone", "In", ["b"], False),
        ("absent", "In", ["a"], False),
        ("empty", "In", [""], True),
        ("zone", "NotIn", ["b"], True),
        ("zone", "NotIn", ["a", "b"], False),
        ("absent", "NotIn", ["a"], True),
        ("zone", "Exists", [], True),
        ("empty", "Exists", [], True),
        ("absent", "Exists", [], False),
        ("absent", "DoesNotExist", [], True),
        ("empty", "DoesNotExist", [], False),
        ("cores", "Gt", ["7"], True),
        ("cores", "Gt", ["8"], False),
        ("cores", "Gt", ["-1"], True),
        ("cores", "Lt", ["9"], True),
        ("cores", "Lt", ["8"], False),
        ("cores", "Gt", ["10"], False),
        ("name", "Gt", ["1"], False),
        ("name", "Lt", ["1"], False),
        ("grouped", "Gt", ["1"], False),
        ("absent", "Gt", ["1"], False),
        ("absent", "Lt", ["1"], False),
    ],
)
def test_each_operator_decides_as_kubernetes_does(key: str, operator: str, values: list[str], expected: bool) -> None:
    """Each operator decides as in the node affinity of a Pod, also where the label is missing or no number."""
    assert _selects({"matchExpressions": [_expression(key, operator, *values)]}) is expected


@pytest.mark.parametrize(("operator", "name", "expected"), [("In", "node1", True), ("In", "node2", False)])
@pytest.mark.parametrize("negated", [False, True])
def test_fields_match_the_name_of_the_node(operator: str, name: str, expected: bool, negated: bool) -> None:
    """A term's matchFields compare metadata.name, and NotIn says the opposite of In."""
    operator = "NotIn" if negated else operator
    requirement = _expression("metadata.name", operator, name)

    assert _selects({"matchFields": [requirement]}) is (expected != negated)


def test_all_conditions_of_a_term_must_hold() -> None:
    """Expressions and fields of one term are joined by and."""
    holds, fails = _expression("zone", "In", "a"), _expression("zone", "In", "b")
    here, elsewhere = _expression("metadata.name", "In", "node1"), _expression("metadata.name", "In", "node2")

    assert _selects({"matchExpressions": [holds], "matchFields": [here]})
    assert not _selects({"matchExpressions": [holds, fails]})
    assert not _selects({"matchExpressions": [holds], "matchFields": [elsewhere]})
    assert not _selects({"matchExpressions": [fails], "matchFields": [here]})


def test_one_term_is_enough() -> None:
    """Terms are joined by or."""
    holds, fails = _expression("zone", "In", "a"), _expression("zone", "In", "b")

    assert _selects({"matchExpressions": [fails]}, {"matchExpressions": [holds]})
    assert not _selects({"matchExpressions": [fails]}, {"matchExpressions": [fails]})


@pytest.mark.parametrize("term", [{}, {"matchExpressions": []}, {"matchExpressions": None, "matchFields": []}])
def test_empty_term_matches_no_node(term: dict[str, Any]) -> None:
    """A term without conditions matches nothing, as in Kubernetes, and does not spoil the others."""
    assert not _selects(term)
    assert _selects(term, {"matchExpressions": [_expression("zone", "Exists")]})


def test_absent_selector_matches_every_node() -> None:
    """A StaticRoute without a selector is for every node, also one without labels."""
    assert selects(None, NODE)
    assert selects(None, Node("bare"))
