"""Loops compiled to machine code, by numba, when they are first called; imported late, since numba takes a second."""

from collections.abc import Callable
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable)


def compile_numba(function: F) -> F:
    """The same function as machine code that runs without the interpreter's lock.

    It is kept for later processes where numba can write: beside the source, in the user's cache, or in
    $NUMBA_CACHE_DIR. Elsewhere each process compiles it anew.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no such folder
        return numba.njit(nogil=True)(function)
