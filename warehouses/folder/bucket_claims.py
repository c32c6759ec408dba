"""Claims in a bucket: objects, alive as long as they are renewed, by the bucket's own clock.

    {warehouse}/_tmp/{run_id}.claim    the inputs, as JSON

Whoever claims writes first and looks at the others then: of two that begin at once at least one sees the other, and none begins
where both do. Renewing changes an object that is there and makes none: a claim that was cleared away stays lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from warehouses.files import bucket_files, delete, files_below, open_file
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.folder.sweep import forget_finals
from warehouses.folder.taken import StaleRun, refuse_taken

RENEW_SECS = 10.0
VOID_SECS = 60.0
_CLAIM = ".claim"
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def claim(folder: str, run_id: str, inputs: Collection[str]) -> Iterator[None]:
    """See ``warehouses.folder.claims``."""
    own = _uri(folder, run_id)
    bucket_files().pipe_file(own, json.dumps(sorted(inputs)).encode("utf-8", "surrogateescape"))
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(own, ended), name="renew-claim", daemon=True)
    try:
        _look_at_others(folder, run_id, inputs)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.ident is not None:
            renewing.join()
        remove(folder, run_id)


def _uri(folder: str, run_id: str) -> str:
    return f"{folder}/{TEMPORARY}/{run_id}{_CLAIM}"


def _renew(uri: str, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(RENEW_SECS):
        number += 1
        try:
            bucket_files().setxattrs(uri, renewed=str(number))
        except FileNotFoundError:
            return
        except Exception as error:  # the next time it may do; the commit asks whether it did
            _LOG.warning("the claim %s cannot be renewed now: %s", uri, error)


def _look_at_others(folder: str, run_id: str, inputs: Collection[str]) -> None:
    """Clear away what dead runs have left; refuse to begin where one that lives has our inputs. Raises ``InputsTaken``."""
    now = _renewed_at(_uri(folder, run_id))
    found = bucket_files().find(f"{folder}/{TEMPORARY}", detail=True)
    for name, about in found.items():
        other = name.rsplit("/", 1)[-1].removesuffix(_CLAIM)
        if not name.endswith(_CLAIM) or other == run_id:
            continue
        if now - _time(about["updated"]) > timedelta(seconds=VOID_SECS):
            remove(folder, other)
            continue
        with contextlib.suppress(FileNotFoundError), open_file(f"gs://{name}") as file:
            refuse_taken(other, folder, inputs, json.loads(file.read()))


def check_claim(folder: str, run_id: str) -> None:
    """See ``warehouses.folder.claims``."""
    clock = f"{folder}/{TEMPORARY}/{run_id}/clock"
    bucket_files().pipe_file(clock, b"")
    try:
        renewed_at = _renewed_at(_uri(folder, run_id))
    except FileNotFoundError:
        renewed_at = None
    if renewed_at is None or _renewed_at(clock) - renewed_at > timedelta(seconds=VOID_SECS):
        raise StaleRun(
            f"run {run_id} has lost its claim on {folder}: nobody has renewed it for {VOID_SECS:g} s, its command was killed or "
            "could not reach the bucket; nothing of it was put in place, run the same command again"
        )


def _renewed_at(uri: str) -> datetime:
    return _time(bucket_files().info(uri)["updated"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def remove(folder: str, run_id: str) -> None:
    """Clear away a run: what waits of it, and what a commit of it has put in place and no manifest has."""
    below = files_below(f"{folder}/{TEMPORARY}/{run_id}")
    forget_finals(folder, [file.uri for file in below])
    # The claim goes last: who is interrupted here is swept by the next.
    delete([file.uri for file in below])
    delete([_uri(folder, run_id)])
