"""The monitoring component: it speaks of metrics that there are, and of pages that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from static_route_operator.observability.metrics import PREFIX, ApiMetrics, ControllerMetrics, Metrics
from tests.unit.test_docs import DOCS, anchors

MONITORING = Path(__file__).resolve().parents[2] / "deploy/components/monitoring"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]

_METRIC = re.compile(rf"(?<![\w:]){PREFIX}_\w+")


def _names(metrics: ApiMetrics) -> set[str]:
    """The names of all series."""
    return {
        name + suffix
        for name, kind, _ in metrics.describe()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


@pytest.mark.parametrize("file", ["rules.yaml", "dashboard.json"])
def test_metrics_that_are_asked_for_exist(file: str) -> None:
    """A metric that is renamed or dropped does not leave an alert or a panel behind that is silent for ever."""
    asked = set(_METRIC.findall((MONITORING / file).read_text()))

    assert asked
    assert asked <= _names(Metrics()) | _names(ControllerMetrics())


def test_recorded_series_have_rules() -> None:
    """Every recorded series that an alert uses has a rule."""
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    used = {name for rule in ALERTS for name in re.findall(r"\w+:\w+:\w+", rule["expr"])}

    assert used <= recorded


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """Each alert links to a section about just this alert."""
    page, _, anchor = alert["annotations"]["runbook_url"].partition("/docs/")[2].partition("#")

    assert anchor == alert["alert"].lower()
    assert anchor in anchors(DOCS / page)
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert f"| [{alert['alert']}](#{anchor}) | {alert['labels']['severity']} |" in (DOCS / page).read_text()


def test_panels_stand_side_by_side() -> None:
    """No panel of the dashboard covers another, and none is outside of the page."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    places = [each["gridPos"] for each in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
