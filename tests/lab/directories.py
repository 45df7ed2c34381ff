"""The directories of the lab's files."""

import os
import tempfile
from pathlib import Path


def state(prefix: str) -> Path:
    """Return the directory of one running lab: gone when the lab is down. Short, for the sockets in it (108 bytes)."""
    return Path(tempfile.gettempdir()) / f"{prefix}-lab"


def cache() -> Path:
    """Return the directory of files that are slow to make and shared by all labs: kept until a person removes it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "static-route-operator"
