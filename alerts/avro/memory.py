"""Memory by its addresses, for what numba compiles: ``alerts.avro.machine`` and ``alerts.avro.encode``.

It becomes part of what is compiled there, and kept, and numba does not notice when it changes here: each of the two has this
file's digest in a constant ``MEMORY``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numba.core import cgutils, types
from numba.extending import intrinsic

Int = Any  # numba's integers are numpy's while Python's annotations say int


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


@intrinsic
def _copy(typing: Any, target: Any, source: Any, size: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, of = (builder.inttoptr(argument, cgutils.voidptr_t) for argument in arguments[:2])
        cgutils.raw_memcpy(builder, to, of, arguments[2], 1)  # type: ignore[no-untyped-call]

    return types.void(types.int64, types.int64, types.int64), build


@numba.njit(nogil=True)
def copy_bytes(target: Int, source: Int, size: Int) -> None:
    """Copy ``size`` bytes from one address to another."""
    _copy(target, source, size)  # type: ignore[call-arg]


@numba.njit(nogil=True)
def bytes_at(address: Int, size: Int) -> Any:
    """An array of the ``size`` bytes at an address."""
    return carray(_pointer(address), (size,), np.uint8)  # type: ignore[call-arg]


@numba.njit(nogil=True)
def longs_at(address: Int, size: Int) -> Any:
    """An array of the ``size`` int64 numbers at an address."""
    return carray(_pointer(address), (size,), np.int64)  # type: ignore[call-arg]


@numba.njit(nogil=True)
def ints_at(address: Int, size: Int) -> Any:
    """An array of the ``size`` int32 numbers at an address."""
    return carray(_pointer(address), (size,), np.int32)  # type: ignore[call-arg]
