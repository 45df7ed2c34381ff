"""Logging set-up: lines on standard error, as text for people or as JSON for collectors."""

import logging
import time

from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s %(levelname)-7s %(message)s"
JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

# Loggers of libraries that report every request and handler; below debug only their warnings and errors are shown.
_LIBRARIES = ("kopf", "aiohttp", "asyncio", "pyroute2", "watchfiles")

# Beginnings of lines of Kopf. Their wording is no interface: a unit test compares them with the installed Kopf.
THREAD = "OS signals are ignored"
REPEATED = "Request attempt"

# Seconds between lines about failed requests: Kopf logs each attempt, which floods the log in an outage.
_REPEAT = 60.0


class _KopfFilter(logging.Filter):
    """Filter that limits the rate of Kopf's repeated lines, and drops those about intended behaviour."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kopf") or current_level() == "debug":
            return True
        # The engine restarts a watch that ended: one line is enough, without the traceback.
        record.exc_info = record.exc_text = None
        message = record.getMessage()
        if message.startswith(THREAD):
            # Intended: Kopf runs in a thread, so that this program handles the signals.
            return False
        if message.startswith(REPEATED):
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + _REPEAT
            # Routes stay and the request is repeated: no error that a person has to act on.
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def set_up_logging(level: str, form: str, node: str = "") -> None:
    """Send log lines to standard error.

    Args:
        level: lowest level shown: debug, info, warning or error. Libraries log below warning at debug only.
        form: text or json. JSON has separate fields for the subject of a line (object, generation, state, …).
        node: value of the field `node` in each line of JSON, by which a collector tells nodes apart.
    """
    handler = logging.StreamHandler()
    if form == "json":
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(
            JsonFormatter(JSON_FIELDS, rename_fields=names, static_fields={"node": node} if node else {})
        )
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    handler.addFilter(_KopfFilter())
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Set the lowest level shown."""
    logging.getLogger().setLevel(level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def current_level() -> str:
    """Return the lowest level shown."""
    return logging.getLevelName(logging.getLogger().level).lower()
