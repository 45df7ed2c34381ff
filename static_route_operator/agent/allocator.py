"""What glibc's allocator does with memory that this process has done with."""

import ctypes

# From malloc.h.
_M_MMAP_THRESHOLD = -3

# Bytes. What holds many routes is larger; little else is.
LARGE = 64 << 10


def return_large_blocks() -> None:
    """Have large blocks given back to the system as soon as they are free.

    Left alone, glibc takes each large block that is freed for a sign that more of them will come: it keeps their
    places, and an agent stays as large as what has once passed through it. Other C libraries have no such switch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE)
