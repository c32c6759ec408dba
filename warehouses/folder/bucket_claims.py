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
from warehouses.folder import manifest
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.folder.sweep import FINALS, forget_finals
from warehouses.folder.taken import StaleRun, refuse_taken

RENEW_SECS = 10.0
VOID_SECS = 60.0
_CLAIM = ".claim"
_UNKNOWN_SECS = 3600.0
"""What nobody has claimed is cleared away when it is so old: rows that are added in passing wait there for a moment."""
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


def holders(folder: str) -> set[str]:
    """See ``warehouses.folder.claims``."""
    names = (file.uri.rpartition("/")[2] for file in files_below(f"{folder}/{TEMPORARY}"))
    return {name.removesuffix(_CLAIM) for name in names if name.endswith(_CLAIM)}


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
    claims = {name for name in found if name.endswith(_CLAIM)}
    runs = {name.partition(f"/{TEMPORARY}/")[2].partition("/")[0].removesuffix(_CLAIM) for name in found} - {run_id}
    for other in runs:
        own = [name for name in found if f"/{TEMPORARY}/{other}" in name]
        claim_name = next((name for name in claims if name.endswith(f"/{other}{_CLAIM}")), None)
        renewed_at = _time(found[claim_name]["updated"]) if claim_name else max(_time(found[name]["updated"]) for name in own)
        if now - renewed_at > timedelta(seconds=VOID_SECS if claim_name else _UNKNOWN_SECS):
            remove(folder, other)
        elif claim_name:
            with contextlib.suppress(FileNotFoundError), open_file(f"gs://{claim_name}") as file:
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
        delete([clock])
        raise StaleRun(
            f"run {run_id} has lost its claim on {folder}: nobody has renewed it for {VOID_SECS:g} s, its command was killed or "
            "could not reach the bucket; nothing of it was put in place, run the same command again"
        )


def _renewed_at(uri: str) -> datetime:
    return _time(bucket_files().info(uri)["updated"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def remove(folder: str, run_id: str) -> None:
    """Clear away a run: what waits of it, and what a commit of it has put in place and no manifest has.

    The claim goes first, then comes a version of the manifest that changes nothing: a late commit of the run that has seen its
    claim builds on the version before, and is refused. Who is interrupted after that leaves what the next one clears away, an
    hour later, as of a run without a claim.
    """
    delete([_uri(folder, run_id)])
    below = [file.uri for file in files_below(f"{folder}/{TEMPORARY}/{run_id}")]
    if any(uri.endswith(FINALS) for uri in below):
        _move_on(folder, run_id)
        forget_finals(folder, below)
    delete(below)


def _move_on(folder: str, run_id: str) -> None:
    while found := manifest.versions(folder):
        with contextlib.suppress(FileNotFoundError):
            current = manifest.read(folder, found[-1])
            following = current.next(without=[], added=manifest.SCHEMA.empty_table())
            if manifest.publish(folder, following, f"{folder}/{TEMPORARY}/{run_id}/manifest"):
                return
