"""Settings: one flag, one variable, one default and one description each."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.errors import SettingsError
from static_route_operator.settings import (
    ClusterSettings,
    ControllerSettings,
    ProcessSettings,
    Seconds,
    Settings,
    StandaloneSettings,
    describe,
    environment_variable,
    flag,
)


@pytest.mark.parametrize("settings", [ClusterSettings, ControllerSettings])
def test_every_setting_is_described(settings: type[ProcessSettings]) -> None:
    """Each setting has a description in a sentence, and no flag or variable is given twice."""
    rows = describe(settings)

    assert all(text[0].isupper() and text.endswith(".") for *_, text in rows)
    assert len({each_flag for each_flag, *_ in rows}) == len({variable for _, variable, *_ in rows}) == len(rows)


def test_defaults_of_the_description_are_those_in_force() -> None:
    """The reference page shows the defaults that a process without settings runs with."""
    settings = ClusterSettings()

    assert all(getattr(settings, name) == default for _, _, name, default, _ in describe(ClusterSettings))


def test_agent_has_all_settings_of_a_standalone_process() -> None:
    """Every setting of the program without Kubernetes exists in the agent too, in the same words."""
    assert describe(ClusterSettings)[: len(describe(Settings))] == describe(Settings)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("node_name", "NODE_HOSTNAME"),
        ("namespace", "POD_NAMESPACE"),
        ("daemonset", "OPERATOR_NAME"),
        ("http_port", "STATIC_ROUTE_OPERATOR_HTTP_PORT"),
    ],
)
def test_environment_variables_have_stable_names(name: str, variable: str) -> None:
    """Variables that the release manifest sets keep their names; the others are derived from the flag's."""
    variables = {each: env for _, env, each, _, _ in describe(ClusterSettings)}

    assert variables[name] == variable
    assert flag(name) == "--" + name.replace("_", "-")
    assert environment_variable(name, "") == f"STATIC_ROUTE_OPERATOR_{name.upper()}"


def test_probes_and_metrics_are_on_loopback_unless_set() -> None:
    """Under host networking nothing is open to the network by default."""
    assert Settings().http_address == "127.0.0.1"


def test_controller_is_reached_by_its_probes() -> None:
    """The controller has a network of its own: it listens on all of its addresses, on a port that no agent has."""
    settings = ControllerSettings()

    assert settings.http_address == ""
    assert settings.http_port != Settings().http_port


def _kinds() -> Iterator[tuple[str, Any, Any]]:
    for settings in (ClusterSettings, ControllerSettings, StandaloneSettings):
        for each in fields(settings):
            yield f"{settings.__name__}.{each.name}", each.metadata["type"], each.default


@pytest.mark.parametrize(("name", "kind", "default"), list(_kinds()))
def test_every_setting_has_bounds(name: str, kind: Any, default: Any) -> None:
    """Each number has a least and a greatest value and each text a length, in the program and in the chart's schema."""
    if isinstance(kind, click.Choice):
        assert default in kind.choices
        return
    assert kind.convert(default, None, None) == default
    if isinstance(default, str):
        assert kind.schema["maxLength"] <= 4096
        wrong = ["x" * 5000, "a\0b", "a\nb"]
    else:
        assert any("maximum" in part for part in (kind.schema, *kind.schema.get("anyOf", ())))
        wrong = ["", "nan", "inf", "-inf", "-1", "1e300", "1e1", "1_0", "٣", "0x10", "9" * 5000, "1 2", "999999999"]
    for value in wrong:
        with pytest.raises(click.BadParameter) as caught:
            kind.convert(value, None, None)
        assert "can't be used; give " in caught.value.message
        assert len(caught.value.message) < 300


@pytest.mark.parametrize("bounds", [(1.0, 600.0, "never"), (0.5, 5.0, "")])
@given(value=st.floats(0, 1000).map(lambda value: round(value, 3)))
def test_program_and_chart_have_the_same_bounds(bounds: tuple[float, float, str], value: float) -> None:
    """A number of seconds is valid on the command line exactly if it is in the chart's schema."""
    kind = Seconds(*bounds)
    parts = [{**kind.schema, **part} for part in kind.schema.get("anyOf", [{}])]
    valid = any(
        value == part["const"] if "const" in part else part["minimum"] <= value <= part["maximum"] for part in parts
    )
    try:
        assert kind.convert(f"{value:.3f}", None, None) == value
    except click.BadParameter:
        assert not valid
    else:
        assert valid


_ALL = ".".join("0000")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"metrics_address": "10.0.0.2", "http_port": 0}, "--http-port 0 disables the server; give a port"),
        ({"metrics_address": "127.0.0.1"}, "is also served by --http-address 127.0.0.1"),
        ({"metrics_address": _ALL}, "is also served by --http-address 127.0.0.1"),
        ({"metrics_address": "10.0.0.2", "http_address": _ALL}, f"is also served by --http-address {_ALL}"),
        ({"metrics_address": "10.0.0.2", "http_address": ""}, "is also served by --http-address (all addresses)"),
        ({"metrics_address": "fd00::2", "http_address": "::"}, "is also served by --http-address ::"),
        ({"metrics_address": "gw", "http_address": "gw"}, "is also served by --http-address gw"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], problem: str) -> None:
    """Two addresses that can't both have the port, and an address without a port, are refused before the start."""
    with pytest.raises(SettingsError) as caught:
        ClusterSettings(**settings)
    assert problem in str(caught.value)


def test_second_address_for_metrics_is_accepted() -> None:
    """Metrics may be served on the node's own address, of either family, beside the loopback address."""
    assert ClusterSettings(metrics_address="10.0.0.2").metrics_address == "10.0.0.2"
    assert ClusterSettings(metrics_address="::").metrics_address == "::"
