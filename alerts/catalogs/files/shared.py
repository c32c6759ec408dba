"""Catalogs in files, each read once into a process and shared by its threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.files.local import LocalCatalog, open_local
from alerts.catalogs.files.read_table import Opener, parts_of

_LOG = logging.getLogger(__name__)


class _Shared:
    """One catalog of this process, opened by whoever comes first while the others wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.catalog: LocalCatalog | None = None
        self.stamp: tuple[int, int] | None = None
        self.problem = ""
        """Why a list stays as it was."""


_SHARED: dict[tuple[str, frozenset[tuple[str, str]], bool], _Shared] = {}
_SHARED_LOCK = threading.Lock()


def shared_local(
    path: str, columns: Mapping[str, str], opener: Opener | None = None, *, is_list: bool = False, anew: bool = False
) -> LocalCatalog:
    """``open_local``, once per process and for all its threads; again when a file on disk has changed. Raises ``BadCatalog``.

    ``anew``: also one in a bucket, of which nothing else tells that it has changed. A list that can no longer be read stays as
    it was in this process, which says so once: a stream goes on with it.
    """
    with _SHARED_LOCK:
        shared = _SHARED.setdefault((path, frozenset(columns.items()), is_list), _Shared())
    with shared.lock:
        stamp = _stamp(path)
        if shared.catalog is None or shared.stamp != stamp or (anew and "://" in path):
            before = shared.catalog if is_list else None
            # First let go of what it was: there may be no room for both.
            shared.catalog = None
            try:
                shared.catalog = open_local(path, columns, opener, is_list=is_list)
                shared.problem = ""
            except BadCatalog as error:
                if before is None:
                    raise
                if shared.problem != str(error):
                    _LOG.warning("the list in %s stays as it was: %s", path, error)
                shared.catalog, shared.problem = before, str(error)
            # Of one that cannot be read, too: it is read again when it has changed.
            shared.stamp = stamp
        return shared.catalog


def _stamp(path: str) -> tuple[int, int] | None:
    """What tells a file from an earlier one of its name; None where that would mean asking a storage service."""
    try:
        found = [os.stat(part) for part in (parts_of(path) if os.path.isdir(path) else [path])]
    except OSError:
        return None
    return max((status.st_mtime_ns for status in found), default=0), sum(status.st_size for status in found)
