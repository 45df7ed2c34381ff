"""The documented list of conditions and reasons."""

from static_route_operator.api.conditions import MEANINGS, ConditionReason, ConditionType, find_condition


def test_every_reason_is_documented() -> None:
    """Each reason has a meaning in a sentence, and both conditions have reasons for true and for not true."""
    assert {reason for _, _, reason in MEANINGS} == set(ConditionReason)
    assert all(text[0].isupper() and text.endswith(".") for text in MEANINGS.values())
    for kind in ConditionType:
        assert {status == "True" for each, status, _ in MEANINGS if each == kind} == {True, False}


def test_condition_is_found_in_any_shape_of_status() -> None:
    """Objects of the retired operator may have anything in their status."""
    ready = {"type": "Ready", "status": "True"}

    assert find_condition({"conditions": [{"type": "Accepted"}, ready]}, ConditionType.READY) == ready
    for status in ({}, {"conditions": None}, {"conditions": "Ready"}, {"conditions": ["Ready"]}):
        assert find_condition(status, ConditionType.READY) == {}
