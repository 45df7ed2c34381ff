"""Logging set-up: one line per transition, as text for people or as JSON for collectors, on standard error."""

import logging

from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s %(levelname)-7s %(message)s"
JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

# Kopf and aiohttp tell of every request and handler; only what goes wrong in them is worth a line.
_QUIET = ("kopf", "aiohttp", "asyncio", "pyroute2", "watchfiles")


def set_up_logging(level: str, form: str) -> None:
    """Send log lines to standard error.

    Args:
        level: the lowest level shown: debug, info, warning or error. At debug the libraries speak too.
        form: text or json.
    """
    handler = logging.StreamHandler()
    if form == "json":
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(JSON_FIELDS, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
