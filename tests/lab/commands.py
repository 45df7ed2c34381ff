"""Running programs: to their end, or as daemons that outlive this process."""

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    timeout: float | None = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed.

    Args:
        argv: the program and its arguments.
        stdin: what it reads.
        check: whether a failure is an error.
        timeout: seconds until it is killed; never if None.
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


@dataclass(frozen=True)
class Daemon:
    """A program that runs in the background."""

    pid: int
    log: Path
    """The file with all its output."""

    def log_tail(self) -> str:
        """Return the end of the daemon's log, for an error message."""
        return f"the end of {self.log}:\n{self.log.read_text(errors='replace')[-_LOG_TAIL:]}"

    def lives(self) -> bool:
        """Return True until the program has ended."""
        return Path(f"/proc/{self.pid}/exe").exists()  # a zombie has none: who waits for orphans here may be slow


def spawn(argv: Sequence[Argument], log: Path) -> Daemon:
    """Start a daemon: it has no parent, outlives this process, and needs nobody to wait for it.

    Args:
        argv: the program and its arguments.
        log: the file for all its output.
    """
    return Daemon(int(run(["setsid", "--fork", "sh", "-c", _DAEMON, log, *argv]).stdout), log)


def wait_until(condition: Callable[[], bool], what: str, *, timeout: float, daemon: Daemon | None = None) -> None:
    """Wait for a condition to hold.

    Args:
        condition: asked several times a second.
        what: the condition in words, as in "the API server is ready".
        timeout: seconds.
        daemon: the one that is to make it hold.

    Raises:
        LabError: it does not hold in time, or the daemon has ended; with the end of its log.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        tail = f"; {daemon.log_tail()}" if daemon else ""
        if daemon and not daemon.lives():
            raise LabError(f"a daemon ended before {what}{tail}")
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain until {what}{tail}")
        time.sleep(0.1)
