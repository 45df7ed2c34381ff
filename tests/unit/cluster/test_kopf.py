"""Details of Kopf outside of its public interface that this program relies on, so that an upgrade fails here first."""

import asyncio
import dataclasses
import importlib
import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import kopf
import pytest

from static_route_operator.cluster.engine import EndlessBackoffs, engine_settings
from static_route_operator.observability.logs import REPEATED, THREAD

PACKAGE = Path(__file__).resolve().parents[3] / "static_route_operator"
REFERENCES = "kopf._cogs.structs.references"


def _changed(name: str) -> str:
    return f"Kopf {metadata.version('kopf')} has changed {name}: adapt static_route_operator/cluster/engine.py"


def test_one_module_imports_private_names() -> None:
    """All private imports from Kopf are in one module, so an upgrade that breaks them is repaired in one place."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), line.strip())
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.lstrip().startswith(("from kopf._", "import kopf._"))
    }

    assert found == {("cluster/engine.py", f"from {REFERENCES} import Insights")}


async def test_insights_show_the_resources_found() -> None:
    """The engine reads from Kopf's insights which resources are watched, and waits for changes."""
    references = importlib.import_module(REFERENCES)
    insights = references.Insights()

    assert isinstance(insights.watched_resources, set), _changed("Insights.watched_resources")
    assert isinstance(insights.ready_resources, asyncio.Event), _changed("Insights.ready_resources")
    assert isinstance(insights.revised, asyncio.Condition), _changed("Insights.revised")


def test_resources_have_group_and_plural() -> None:
    """The engine compares the group and plural of each resource that is watched."""
    resource = importlib.import_module(REFERENCES).Resource("example.com", "v1", "things")

    assert (resource.group, resource.version, resource.plural) == ("example.com", "v1", "things"), _changed("Resource")


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (
            kopf.spawn_tasks,
            {"registry", "settings", "insights", "clusterwide", "standalone", "identity", "stop_flag"},
        ),
        (kopf.run_tasks, {"ignored"}),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_operator_is_started_with_these_arguments(function: Callable[..., Any], keywords: set[str]) -> None:
    """Both halves of an operator are coroutines that take the keywords which the engine passes."""
    parameters = inspect.signature(function).parameters

    assert inspect.iscoroutinefunction(function), _changed(function.__name__)
    assert keywords <= {name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}, _changed(
        function.__name__
    )


def test_insights_reach_the_operator() -> None:
    """The operator fills insights of the class that the engine imports."""
    references = importlib.import_module(REFERENCES)
    annotation = inspect.signature(kopf.spawn_tasks).parameters["insights"].annotation

    assert annotation == references.Insights | None, _changed("spawn_tasks(insights=)")


def test_tasks_are_run_from_the_first_argument() -> None:
    """The tasks of an operator are the only positional argument of run_tasks."""
    parameters = inspect.signature(kopf.run_tasks).parameters

    assert [name for name, each in parameters.items() if each.kind is not each.KEYWORD_ONLY] == ["root_tasks"], (
        _changed("run_tasks")
    )


def test_settings_have_the_fields_that_are_set() -> None:
    """Kopf's settings accept any attribute: without this a field that Kopf renames would be without effect."""
    settings = engine_settings({("v1", "nodes"): "metadata.name=node1"})

    assert isinstance(settings.networking.error_backoffs, EndlessBackoffs)
    for section in dataclasses.fields(settings):
        values = getattr(settings, section.name)
        unknown = set(vars(values)) - {each.name for each in dataclasses.fields(values)}
        assert not unknown, _changed(f"settings.{section.name}")


def test_storage_of_last_states_has_no_other_methods() -> None:
    """The storage that keeps nothing replaces every method by which Kopf copies and stores objects."""
    methods = {name for name in vars(kopf.DiffBaseStorage) if not name.startswith("_")}

    assert methods == {"build", "fetch", "store"}, _changed("DiffBaseStorage")


@pytest.mark.parametrize(
    ("module", "beginning"), [("kopf._core.reactor.running", THREAD), ("kopf._cogs.clients.api", REPEATED)]
)
def test_lines_that_are_filtered_begin_as_expected(module: str, beginning: str) -> None:
    """The log filter recognises lines of Kopf by their beginning; with another one an outage floods the log."""
    assert f'"{beginning}' in inspect.getsource(importlib.import_module(module)), (
        f"Kopf {metadata.version('kopf')} words '{beginning} …' differently: adapt observability/logs.py"
    )
