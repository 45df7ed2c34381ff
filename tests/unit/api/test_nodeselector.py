"""Node selectors as they are written."""

from typing import Any

import pytest

from static_route_operator.api.nodeselector import NodeSelector, Requirement, Term, parse_node_selector


def _selector(**requirement: Any) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}


def _fields(**requirement: Any) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchFields": [requirement]}]}


def test_every_part_is_read() -> None:
    """Terms, expressions and fields keep their order and values."""
    parsed = parse_node_selector(
        {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": "zone", "operator": "In", "values": ["a", "b"]},
                        {"key": "gpu", "operator": "DoesNotExist"},
                    ],
                    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node1"]}],
                },
                {},
            ]
        }
    )

    assert parsed == NodeSelector(
        (
            Term(
                (Requirement("zone", "In", ("a", "b")), Requirement("gpu", "DoesNotExist", ())),
                (Requirement("metadata.name", "NotIn", ("node1",)),),
            ),
            Term((), ()),
        )
    )


@pytest.mark.parametrize("number", ["0", "42", "-7"])
def test_whole_numbers_are_accepted_for_gt_and_lt(number: str) -> None:
    """Gt and Lt take one whole number as text, negative ones too."""
    parsed = parse_node_selector(_selector(key="cores", operator="Gt", values=[number]))

    assert parsed.terms[0].expressions[0].values == (number,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "must have nodeSelectorTerms"),
        ({}, "must have nodeSelectorTerms"),
        ({"nodeSelectorTerms": []}, "must have nodeSelectorTerms"),
        ({"nodeSelectorTerms": {"matchFields": []}}, "must have nodeSelectorTerms"),
        ({"nodeSelectorTerms": [None]}, "nodeSelectorTerms[0] may have only"),
        ({"nodeSelectorTerms": [{}, {"matchLabels": {}}]}, "nodeSelectorTerms[1] may have only"),
        ({"nodeSelectorTerms": [{"matchExpressions": 5}]}, "nodeSelectorTerms[0].matchExpressions"),
        ({"nodeSelectorTerms": [{"matchFields": "x"}]}, "nodeSelectorTerms[0].matchFields"),
        ({"nodeSelectorTerms": [{"matchExpressions": ["x"]}]}, "each entry needs a key"),
        (_selector(operator="Exists"), "each entry needs a key"),
        (_selector(key="", operator="Exists"), "each entry needs a key"),
        (_selector(key="zone"), "operator of 'zone' must be one of In, NotIn, Exists, DoesNotExist, Gt, Lt"),
        (_selector(key="zone", operator="in", values=["a"]), "operator of 'zone' must be one of"),
        (_selector(key="zone", operator="In", values="a"), "values of 'zone' must be a list of strings"),
        (_selector(key="zone", operator="In", values=[1]), "values of 'zone' must be a list of strings"),
        (_selector(key="zone", operator="In"), "operator In of 'zone' needs at least one value"),
        (_selector(key="zone", operator="NotIn", values=[]), "operator NotIn of 'zone' needs at least one value"),
        (_selector(key="zone", operator="Exists", values=["a"]), "operator Exists of 'zone' takes no values"),
        (_selector(key="cores", operator="Gt"), "takes one whole number"),
        (_selector(key="cores", operator="Gt", values=["1", "2"]), "takes one whole number"),
        (_selector(key="cores", operator="Gt", values=["1.5"]), "takes one whole number"),
        (_selector(key="cores", operator="Lt", values=["--5"]), "takes one whole number"),
        (_selector(key="cores", operator="Lt", values=["-"]), "takes one whole number"),
        (_selector(key="cores", operator="Lt", values=["²"]), "takes one whole number"),
        (_fields(key="spec.unschedulable", operator="In", values=["x"]), "matchFields supports only metadata.name"),
        (_fields(key="metadata.name", operator="Exists"), "matchFields supports only metadata.name"),
        (_fields(key="metadata.name", operator="In", values=["a", "b"]), "matchFields supports only metadata.name"),
    ],
)
def test_wrong_shape_is_refused_with_its_place(value: object, problem: str) -> None:
    """Each way to write a selector wrongly is refused with the place and what would be right."""
    with pytest.raises(ValueError, match=r"nodeSelectorTerms") as caught:
        parse_node_selector(value)

    assert problem in str(caught.value)
