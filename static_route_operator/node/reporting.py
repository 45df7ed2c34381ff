"""Report of one node: a row for each StaticRoute, the health of its gateways, metrics, and a log of transitions."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from static_route_operator.api.noderoutestate import SEVERITY, GatewayRow, Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute, Version
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rows import failed_rows, with_dry_runs
from static_route_operator.observability.metrics import Metrics


class Report:
    """The rows and gateways as last reported.

    Args:
        inventory: the objects.
        metrics: of the agent.
        on_change: called when rows or gateways have changed.
        log: receives a line for each transition of a StaticRoute.

    Attributes:
        rows: one for each StaticRoute that selects this node, by name.
        gateways: the health of each gateway that is probed.
    """

    def __init__(
        self, inventory: Inventory, metrics: Metrics, on_change: Callable[[], None], log: logging.Logger
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        self._on_change = on_change
        self._log = log
        self._dry_runs: Mapping[Version, Row] = {}
        self.rows: tuple[Row, ...] = ()
        self.gateways: tuple[GatewayRow, ...] = ()

    def show_dry_runs(self, rows: Mapping[Version, Row]) -> bool:
        """Take the rows of dry runs into the next report; report whether they differ from the last ones."""
        changed = rows != self._dry_runs
        self._dry_runs = rows
        return changed

    def update(self, rows: Sequence[Row], gateways: tuple[GatewayRow, ...]) -> None:
        """Report the outcome of a run.

        Args:
            rows: the rows of the versions in force.
            gateways: the health of each gateway that is probed.
        """
        rows = with_dry_runs(rows, self._dry_runs, self._inventory.dry_runs)
        self._metrics.objects.set(len(self._inventory.routes))
        self._metrics.count_states([row.state for row in rows])
        if gateways != self.gateways:
            self.gateways = gateways
            self._on_change()
        if rows != self.rows:
            before = {row.name: row for row in self.rows}
            self.rows = rows
            self._log_transitions(before)
            self._on_change()

    def fail(self, selected: Iterable[ResolvedRoute], text: str) -> None:
        """Report that runs fail as a whole: nothing is known of the routes.

        Args:
            selected: the objects for this node, or that may be for it.
            text: the error, and since when.
        """
        rows = failed_rows(selected, self.rows, text)
        self._metrics.count_states([row.state for row in rows])
        if rows != self.rows:
            # The log of the reconciler says it once for all of them.
            self.rows = rows
            self._on_change()

    def _log_transitions(self, before: dict[str, Row]) -> None:
        for row in self.rows:
            # An unconfirmed change has no outcome yet.
            if (known := before.pop(row.name, None)) != row and row.reason is not Reason.AWAITING_CONFIRMATION:
                self._log_transition(known, row)
        for name, row in before.items():
            # A pending StaticRoute turned out not to select this node, and never was on it.
            if row.state is not RowState.PENDING:
                self._log.info("StaticRoute %s: gone from this node", name, extra={"object": name})

    def _log_transition(self, before: Row | None, row: Row) -> None:
        """Log one line for a change of a StaticRoute's state on this node, as loud as the state is bad."""
        level = logging.INFO if SEVERITY[row.state] <= SEVERITY[RowState.PENDING] else logging.WARNING
        if before is not None and (before.state, before.message) == (row.state, row.message):
            level = min(level, logging.INFO)
        routes = f": {row.programmed} of {row.destinations} destinations via {row.gateway}" if row.gateway else ""
        tail = f": {row.message}" if row.message else ""
        about = {"object": row.name, "generation": row.generation, "state": row.state.value, "reason": row.reason.value}
        self._log.log(
            level,
            "StaticRoute %s: %s%s (generation %d)%s",
            row.name,
            row.state,
            routes,
            row.generation,
            tail,
            extra=about,
        )
