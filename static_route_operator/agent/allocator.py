"""Settings of glibc's memory allocator."""

import ctypes

# From malloc.h.
_M_MMAP_THRESHOLD = -3

# Bytes from which a block is returned to the system when freed. Blocks with many routes are larger, few others are.
LARGE = 64 << 10


def return_large_blocks() -> None:
    """Return large memory blocks to the system as soon as they are freed.

    By default glibc raises the threshold with each large block that is freed, up to 32 MiB, and keeps blocks below the
    threshold: an agent would stay as large as the largest set of routes it ever had. Other C libraries lack the option.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE)
