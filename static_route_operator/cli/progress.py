"""How far long work is, on the terminal of a person who waits."""

import sys


def show_progress(done: int, all_: int) -> None:
    """Show how many nodes have answered; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {all_} nodes have answered" if done < all_ else "\r\033[K")
        sys.stderr.flush()
