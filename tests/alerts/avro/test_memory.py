"""What is compiled from ``alerts.avro.memory`` is compiled anew when that file changes: those that use it change with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from alerts.avro import encode, machine, memory


@pytest.mark.parametrize("compiled", [machine, encode])
def test_who_uses_it_has_its_digest(compiled):
    digest = hashlib.sha256(Path(memory.__file__).read_bytes()).hexdigest()[:16]
    assert digest == compiled.MEMORY, f"{compiled.__name__}: numba would keep what it was; write MEMORY = {digest!r}"


def test_memory_is_read_and_written_by_its_address():
    numbers = np.arange(-2, 3, dtype=np.int64)
    assert memory.longs_at(numbers.ctypes.data + 8, 3).tolist() == [-1, 0, 1]
    assert memory.ints_at(numbers.ctypes.data, 2).tolist() == [-2, -1]
    assert memory.bytes_at(numbers.ctypes.data + 16, 8).tolist() == [0] * 8
    target = np.zeros(3, np.int64)
    memory.copy_bytes(target.ctypes.data + 8, numbers.ctypes.data, 16)
    assert target.tolist() == [0, -2, -1]
