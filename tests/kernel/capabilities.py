"""A context without a capability for this thread, as a container's security policy might take it away."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

NET_ADMIN = 12

_VERSION = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def without(capability: int) -> Iterator[None]:
    """Suspend the capability, one below 32, inside the context; started programs have it all the same."""
    sets = (_Sets * 2)()
    _check(_libc.capget(ctypes.byref(_Header(_VERSION, 0)), sets))
    effective = sets[0].effective
    sets[0].effective &= ~(1 << capability)
    _check(_libc.capset(ctypes.byref(_Header(_VERSION, 0)), sets))
    try:
        yield
    finally:
        sets[0].effective = effective
        _check(_libc.capset(ctypes.byref(_Header(_VERSION, 0)), sets))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
