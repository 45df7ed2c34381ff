"""Differences between this host's desired routes and rules and its kernel, read by this process."""

from collections.abc import Collection, Mapping
from typing import Any

from static_route_operator.cli.host.process import ask
from static_route_operator.errors import KernelError, UnansweredError
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.network import read_network
from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.planning.desired import DesiredState, parse_desired
from static_route_operator.planning.diff import diff, diff_rules
from static_route_operator.routing.description import describe_route, shadow_words
from static_route_operator.routing.kernelroute import KernelRoute
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Routes
from static_route_operator.routing.rules import Rule

# The present state, for each action that would mend it.
KINDS = {Action.ADD: "Missing", Action.REPLACE: "Different", Action.DELETE: "Surplus"}
# The state of a route that is installed, while packets take another program's.
SHADOWED = "Shadowed"


async def compare(http_address: str, http_port: int) -> dict[str, Any]:
    """Return the differences on this host as a JSON object.

    Args:
        http_address: where the process on this host serves.
        http_port: port of the same.

    Raises:
        NoProcessError: no process reports the desired routes of this host.
        UnansweredError: the kernel can't be read.
    """
    answer = ask(http_address, http_port, "/wanted")
    desired = parse_desired(answer)
    fib = Fib()
    try:
        installed = await fib.read(desired.routes)
        fib.require_complete()
        rules = await RuleSet(fib).read()
        fib.require_complete()
        interfaces = dict((await read_network()).names)
        preceding = await fib.preceding(installed)
        fib.require_complete()
    except KernelError as error:
        raise UnansweredError(str(error)) from error
    finally:
        fib.close()
    return {
        "node": answer["node"],
        "complete": answer["complete"],
        "wanted": len(desired.routes),
        "present": len(installed),
        "differences": [
            *differences(desired, installed, interfaces),
            *shadowed(desired, installed, preceding, interfaces),
        ],
        "rules": rule_differences(desired, rules),
    }


def differences(desired: DesiredState, installed: Routes, interfaces: dict[int, str]) -> list[dict[str, Any]]:
    """Return the routes that differ, by destination."""
    had: dict[bytes, NextHops] = dict(installed.in_order()) if installed != desired.routes else {}
    found = []
    for action, next_hops, keys in diff(desired.routes, installed, retained=desired.retained):
        for key in keys:
            owner = desired.owner(key)
            now = had.get(key)
            found.append(
                {
                    "kind": KINDS[action],
                    "object": owner.name if owner else None,
                    "wanted": None if action is Action.DELETE else describe_route(key, next_hops, interfaces),
                    "present": describe_route(key, now, interfaces) if now is not None else None,
                    "message": owner.message if owner else "no StaticRoute wants it",
                }
            )
    return found


def shadowed(
    desired: DesiredState,
    installed: Routes,
    preceding: Mapping[bytes, KernelRoute],
    interfaces: dict[int, str],
) -> list[dict[str, Any]]:
    """Return the desired, installed routes in whose place packets take a route of another program."""
    found = []
    for key, next_hops in installed.in_order():
        if (route := preceding.get(key)) and (owner := desired.owner(key)):
            described = describe_route(key, next_hops, interfaces)
            found.append(
                {
                    "kind": SHADOWED,
                    "object": owner.name,
                    "wanted": described,
                    "present": described,
                    "message": shadow_words(key, route, interfaces),
                }
            )
    return found


def rule_differences(desired: DesiredState, installed: Collection[Rule]) -> list[dict[str, Any]]:
    """Return the policy rules that are missing, or that no StaticRoute needs."""
    messages = {owner.name: owner.message for owner in desired.owners}
    found = []
    for action, rule in diff_rules(desired.rules, installed):
        names = desired.rules.get(rule, ())
        found.append(
            {
                "kind": KINDS[action],
                "objects": list(names),
                "family": rule.family,
                "rule": str(rule),
                "message": messages.get(names[0], "") if names else "no StaticRoute needs this rule",
            }
        )
    return found
