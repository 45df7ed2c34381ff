"""Runs that fail one after the other."""

import logging
import re

import pytest

from static_route_operator.errors import KernelError
from static_route_operator.node.runfailures import RunFailures
from static_route_operator.observability.metrics import PREFIX, Metrics


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics of an agent."""
    return Metrics()


def _count(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"{PREFIX}_{name}")


def test_rows_say_it_from_the_third_failure_on(metrics: Metrics) -> None:
    """A single failed run is repeated in silence; a lasting failure has its error and its beginning."""
    failures = RunFailures(metrics)
    failures.add(KernelError("no answer"))
    failures.add(KernelError("no answer"))
    assert failures.text == ""

    failures.add(KernelError("no answer"))
    assert re.match(
        r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ this node can't bring .*: no answer; its routes stay", failures.text
    )
    assert _count(metrics, "consecutive_reconcile_errors") == 3

    failures.end()
    assert failures.text == ""
    assert _count(metrics, "consecutive_reconcile_errors") == 0
    assert _count(metrics, "reconcile_errors_total") == 3


def test_a_lasting_failure_fills_no_log(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """Lines come at doubling numbers of failures, with one when it works again."""
    failures = RunFailures(metrics)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            failures.add(KernelError("no answer"))
        failures.end()
        failures.end()

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 10
    assert "for the 512th time in a row" in errors[-1].getMessage()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [
        "Reconciling works again, after 1000 failed runs in 0 s"
    ]


def test_defect_is_logged_in_full(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody expects has its type in the row and its traceback in the log."""
    failures = RunFailures(metrics)
    for _ in range(3):
        failures.add(KeyError(1))

    assert "KeyError: 1" in failures.text
    assert caplog.records[0].exc_info
