"""Logging set-up: one line per transition, as text for people or as JSON for collectors, on standard error."""

import logging
import time

from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s %(levelname)-7s %(message)s"
JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

# They tell of every request and handler; only what goes wrong in them is worth a line.
_LIBRARIES = ("kopf", "aiohttp", "asyncio", "pyroute2", "watchfiles")

# Kopf says each failed try of each request: in an outage one in so many seconds is enough.
_REPEAT = 60.0


class _KopfFilter(logging.Filter):
    """Thins out what Kopf repeats, and drops what is so on purpose here."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kopf") or current_level() == "debug":
            return True
        # What ended a watch is told in one line, and the watch is begun anew.
        record.exc_info = record.exc_text = None
        message = record.getMessage()
        if message.startswith("OS signals are ignored"):
            # Kopf runs in a thread so that signals stay ours.
            return False
        if message.startswith("Request attempt"):
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + _REPEAT
            # Routes stay, and it is tried again: nothing that a person has to do.
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def set_up_logging(level: str, form: str, node: str = "") -> None:
    """Send log lines to standard error.

    Args:
        level: the lowest level shown: debug, info, warning or error. At debug the libraries speak too.
        form: text or json. JSON has what a line is about (object, generation, state, …) in fields of its own.
        node: a field of every line of JSON, so that a collector can tell nodes apart.
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
    """Show lines from this level on, from now on."""
    logging.getLogger().setLevel(level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def current_level() -> str:
    """The lowest level that is shown."""
    return logging.getLevelName(logging.getLogger().level).lower()
