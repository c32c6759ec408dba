"""One night to disk: what came stays in a ``.part`` file, and gets the night's name when it is whole and its MD5 is right.

HTTP: RFC 9110, sections 13.1.5 (If-Range) and 14 (Range requests).
"""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
import urllib3

from alerts.avro.archives import READ_ERRORS
from alerts.avro.unpack import GZIP_MAGIC, gunzip
from broker.archive.errors import ChecksumMismatch, NotEnoughSpace
from broker.archive.part import Note, PartialDownload
from broker.archive.progress import progress_bar
from broker.archive.remote import MD5_LIST, Patience, Remote

_CHUNK_BYTES = 128 * 2**10
_PROGRESS_BYTES = 2**20
"""A try that brought so much is the first of those that are counted."""
_INDEX_SHARE = 0.02
"""Room for a night's index, as a share of the night: more than it takes."""
_log = logging.getLogger("broker.ztf_archive")


def fetch(remote: Remote, name: str, md5: str | None, folder: Path, *, progress: bool | None = None) -> Path:
    """Download a night into a folder, or go on with it; gives its path. Does nothing when it is there already.

    Of two callers at once the second waits, and finds it there. Where the archive gives no MD5, the checksum at the end
    of a gzip file must do. Raises ``ChecksumMismatch``, ``NotEnoughSpace``, ``NoSuchRelease`` and ``RemoteError``.
    """
    final = folder / name
    if final.exists():
        return final
    folder.mkdir(parents=True, exist_ok=True)
    with PartialDownload.held(folder, name, Note(remote.url + name, md5)) as part:
        if final.exists():
            return final
        for _ in range(2):
            _fill(part, remote, name, progress)
            fault = _fault(part, md5)
            if fault is None:
                part.become(final)
                return final
            _log.warning("%s: %s", name, fault)
            part.clear()
    raise ChecksumMismatch(f"{name} from {remote.url} came wrong twice ({fault}); nothing was kept: try again later")


def _fill(part: PartialDownload, remote: Remote, name: str, progress: bool | None) -> None:
    """Bring all bytes into the part, in as many requests as it takes."""
    patience = Patience()
    with progress_bar(name, part.note.total_bytes, part.size_bytes, shown=progress) as bar:
        while part.size_bytes != part.note.total_bytes:
            before = part.size_bytes
            with remote.get(name, patience, _range(part)) as answer:
                if not _continues(part, answer):
                    cause: str | None = f"{answer.url} answers {answer.status_code} with another part than asked for"
                else:
                    _check_space(part, name)
                    if part.size_bytes < before:
                        before = bar.initial = 0
                        bar.reset()
                    bar.total = part.note.total_bytes
                    bar.refresh()
                    cause = _take(part, answer, bar)
            if cause is None:
                return
            if part.size_bytes - before >= _PROGRESS_BYTES:
                patience.reset()
            patience.wait(cause)


def _range(part: PartialDownload) -> dict[str, str]:
    if part.size_bytes == 0:
        return {}
    asked = {"Range": f"bytes={part.size_bytes}-"}
    # Without anything to tell versions of the file apart, its MD5 will show whether it was the same.
    return asked | ({"If-Range": part.note.validator} if part.note.validator else {})


def _continues(part: PartialDownload, answer: requests.Response) -> bool:
    """Whether the body goes on where the part ends. The part is emptied where it does not."""
    headers = answer.headers
    if answer.status_code == 200:
        etag = headers.get("ETag")
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        length = headers.get("Content-Length")
        part.clear()
        part.take_note(replace(part.note, total_bytes=int(length) if length else None, validator=validator))
        return True
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", "").strip())
    if answer.status_code == 206 and span and int(span[1]) == part.size_bytes:
        if part.note.total_bytes is None:
            part.take_note(replace(part.note, total_bytes=int(span[2])))
        if part.note.total_bytes == int(span[2]):
            return True
    part.clear()
    return False


def _take(part: PartialDownload, answer: requests.Response, bar: Any) -> str | None:
    """Append the body to the part; gives what broke it off, if something did."""
    chunks = answer.raw.stream(_CHUNK_BYTES, decode_content=False)
    while True:
        try:
            chunk = next(chunks, None)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return f"{answer.url} broke off after {part.size_bytes:,} bytes ({error})"
        if chunk is None:
            return None
        part.append(chunk)
        bar.update(len(chunk))


def _check_space(part: PartialDownload, name: str) -> None:
    if part.note.total_bytes is None:
        return
    needed = part.note.total_bytes - part.size_bytes + int(_INDEX_SHARE * part.note.total_bytes)
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise NotEnoughSpace(
            f"{name} needs {needed / 1e9:,.1f} GB more and {part.path.parent} has {free / 1e9:,.1f} GB free; "
            "make room, or choose another folder with folder= or $PITT_BROKER_DATA"
        )


def _fault(part: PartialDownload, md5: str | None) -> str | None:
    """What is wrong with a full part, if anything is."""
    if md5 is not None:
        found = part.hexdigest()
        return None if found == md5 else f"its MD5 is {found} and {MD5_LIST} says {md5}"
    _log.warning("%s is not in %s: only the checksum of its gzip stream is checked", part.final_name, MD5_LIST)
    contents = part.contents()
    if contents.read(2) != GZIP_MAGIC:
        return "it is no gzip file"
    stream = gunzip(part.contents())
    try:
        while stream.read(2**20):
            pass
    except READ_ERRORS as error:
        return f"it is no whole gzip file: {error}"
    return None
