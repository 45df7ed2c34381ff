"""Settings: one flag, one variable, one default and one description each."""

import pytest

from static_route_operator.settings import (
    ClusterSettings,
    ControllerSettings,
    ProcessSettings,
    Settings,
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
