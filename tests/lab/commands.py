"""Running programs: to their end, or as daemons that outlive this process."""

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError

Argument = str | Path

# The process becomes the daemon itself, so that the process id it prints stays right. Not the shell's `&`: that would
# start it with SIGINT ignored, and so would be every container.
_DAEMON = 'echo $$; exec "$@" > "$0" 2>&1 < /dev/null'
_LOG_TAIL = 2000  # characters


def run(
    argv: Sequence[Argument],
    *,
    stdin: str = "",
    check: bool = True,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed.

    Args:
        argv: the program and its arguments.
        stdin: what it reads.
        check: whether a failure is an error.
        timeout: seconds until it is killed.
        env: its whole environment; this process's own if None.
        cwd: its working directory; this process's own if None.

    Raises:
        LabError: the program is not there, took too long, or failed; with its own words.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, check=False, timeout=timeout, env=env, cwd=cwd
        )
    except FileNotFoundError as error:
        raise LabError(f"{shlex.join(words)}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{shlex.join(words)}: not done after {timeout:g} s") from error
    if check and done.returncode != 0:
        raise LabError(f"{shlex.join(words)}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def spawn(argv: Sequence[Argument], log: Path) -> int:
    """Start a daemon and return its process id.

    It is nobody's child: it lives on when this process ends, and needs no one to wait for it.

    Args:
        argv: the program and its arguments.
        log: the file for all its output.
    """
    return int(run(["setsid", "--fork", "sh", "-c", _DAEMON, log, *argv]).stdout)


def wait_until(condition: Callable[[], bool], what: str, *, timeout: float, log: Path | None = None) -> None:
    """Wait for a condition to hold.

    Args:
        condition: asked several times a second.
        what: the condition in words, as in "the API server is ready".
        timeout: seconds.
        log: a file whose end tells why it does not hold.

    Raises:
        LabError: it does not hold in time; with the end of the log.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            tail = f"; the end of {log}:\n{log.read_text(errors='replace')[-_LOG_TAIL:]}" if log else ""
            raise LabError(f"waited {timeout:g} s in vain until {what}{tail}")
        time.sleep(0.1)
