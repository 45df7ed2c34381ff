"""Progress of long requests, for a person at a terminal."""

import sys


def show_progress(done: int, total: int) -> None:
    """Show how many nodes have answered; write nothing if standard error is not a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} nodes have answered" if done < total else "\r\033[K")
        sys.stderr.flush()
