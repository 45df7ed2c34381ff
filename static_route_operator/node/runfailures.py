"""Runs of the reconciler that fail as a whole, one after the other."""

import datetime as dt
import logging
import time

from static_route_operator.errors import KernelError
from static_route_operator.observability.metrics import Metrics

logger = logging.getLogger(__name__)

# Failed runs in a row from which on the rows say so. A single one, as of a socket that fails, is repeated at once.
VISIBLE = 3


class RunFailures:
    """The failed runs since the last one that succeeded.

    The first is logged, then the second, fourth and so on, and the success after them: a failure that lasts for days
    fills no disk.

    Args:
        metrics: of the agent.

    Attributes:
        text: what the rows say; empty while the runs succeed, or have failed a few times only.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._number = 0
        self._since = 0.0
        self.text = ""

    def add(self, error: Exception) -> None:
        """Take in a failed run."""
        if not self._number:
            self._since = time.time()
        self._number += 1
        self._metrics.reconcile_errors.inc()
        self._metrics.consecutive_reconcile_errors.set(self._number)
        expected = isinstance(error, (KernelError, OSError))
        words = str(error) if expected else f"{type(error).__name__}: {error}"
        if self._number >= VISIBLE:
            since = dt.datetime.fromtimestamp(self._since, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.text = (
                f"since {since} this node can't bring its routes up to date: {words}; its routes stay as they are, and"
                " it is tried again and again"
            )
        if not self._number & self._number - 1:
            # A defect is logged in full; the text of any other error says it all.
            times = f" for the {self._number}th time in a row" if self._number > 3 else ""
            logger.error(
                "Reconciling failed%s and is tried again: %s", times, words, exc_info=None if expected else error
            )

    def end(self) -> None:
        """Take in a run that succeeded."""
        if self._number:
            logger.info(
                "Reconciling works again, after %d failed runs in %.0f s", self._number, time.time() - self._since
            )
        self._number = 0
        self.text = ""
        self._metrics.consecutive_reconcile_errors.set(0)
