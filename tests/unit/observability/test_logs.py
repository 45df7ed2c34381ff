"""Logging as people and collectors read it."""

import json
import logging
from collections.abc import Iterator

import pytest

from static_route_operator.observability.logs import set_level, set_up_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Leaves logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("kopf", "aiohttp", "asyncio", "pyroute2", "watchfiles")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)


def test_text_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has the time, the level and the message, and goes to standard error."""
    set_up_logging("info", "text")
    logging.getLogger("static_route_operator.x").warning("route %s", "gone")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" WARNING route gone\n")
    assert captured.err.count("\n") == 1


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """For collectors a line is a JSON object with time, level, logger and message."""
    set_up_logging("info", "json")
    logging.getLogger("static_route_operator.x").info("two\nlines")

    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "static_route_operator.x", "two\nlines")
    assert line["time"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_level_is_the_lowest_that_is_shown(capsys: pytest.CaptureFixture[str], level: str, shown: list[str]) -> None:
    """Lines below the level are left out."""
    set_up_logging(level, "text")
    for each in ("debug", "info", "warning", "error"):
        logging.getLogger("static_route_operator").log(logging.getLevelName(each.upper()), "said at %s", each)

    assert [line.rsplit(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == shown


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
def test_libraries_are_quiet_unless_debugging(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """The libraries' lines about every request are shown at debug only."""
    set_up_logging(level, "text")
    logging.getLogger("kopf.objects").info("Handler 'update' succeeded.")

    assert capsys.readouterr().err.count("\n") == lines


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("debug", 5)])
def test_failed_tries_of_kopf_are_thinned_out(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """In an outage one of the many lines about failed tries is enough, and others are not lost with them."""
    set_up_logging(level, "text")
    for attempt in range(5):
        logging.getLogger("kopf._cogs.clients.auth").error("Request attempt #%d/9 failed; will retry", attempt)

    assert capsys.readouterr().err.count("\n") == lines
    logging.getLogger("kopf._core").error("Something else")
    logging.getLogger("static_route_operator").error("Request attempt of ours")
    assert capsys.readouterr().err.count("\n") == 2


def test_json_says_what_a_line_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    """Object, generation and node are fields, so that a collector finds all lines about one."""
    set_up_logging("info", "json", "node1")
    logging.getLogger("static_route_operator").info("said", extra={"object": "nat", "generation": 3})

    line = json.loads(capsys.readouterr().err)
    assert (line["node"], line["object"], line["generation"]) == ("node1", "nat", 3)


def test_level_is_changed_at_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Hidden lines are shown from then on, the libraries' too, and hidden again."""
    set_up_logging("info", "text")
    for level in ("debug", "info"):
        set_level(level)
        logging.getLogger("static_route_operator").debug("detail at %s", level)
        logging.getLogger("kopf.objects").info("Handler at %s", level)

    assert [line.rsplit(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == ["debug", "debug"]
