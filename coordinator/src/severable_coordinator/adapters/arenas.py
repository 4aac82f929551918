"""How much freed memory the C library holds on to in a process of many threads."""

import ctypes
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h
_ARENAS: Final = 2


def share_arenas() -> None:
    """Have the threads of this process share two arenas of memory.

    glibc makes up to eight a core (mallopt(3), M_ARENA_MAX), one for every thread that comes, and each keeps some of
    what was freed in it. gRPC has threads for every core: on sixteen of them a coordinator grew by 130 MB that nobody
    used, and with two arenas it was as quick. Where there is no glibc, nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
