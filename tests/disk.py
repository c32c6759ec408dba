"""A disk that takes no more, without mounting one."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

TOO_LARGE = "File too large"
"""What the system says then (EFBIG)."""


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this: as a full disk, but for the words."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
