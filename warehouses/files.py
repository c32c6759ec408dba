"""Files on this machine or in a bucket (``gs://``), by the same few words: those of a warehouse's folder, and others."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from warehouses.folder.bucket import BucketFiles, ListedFiles

_BUCKET = "gs://"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, and its size in bytes."""

    uri: str
    size_bytes: int


def is_remote(folder: str) -> bool:
    """Whether a folder is in a bucket."""
    return folder.startswith(_BUCKET)


def bucket_files() -> BucketFiles:
    """Cloud Storage as this machine's account sees it, or as everybody does where there is none; one for a process."""
    return _bucket_files(os.environ.get("STORAGE_EMULATOR_HOST"), os.getpid())


@functools.lru_cache(maxsize=4)
def _bucket_files(host: str | None, process: int) -> BucketFiles:
    from warehouses.folder.bucket import BucketFiles  # noqa: PLC0415 - half a second, and only where there is a bucket

    # Other processes write there too: what was listed a second ago says nothing.
    return BucketFiles(token=_token(), use_listings_cache=False, skip_instance_cache=True)


def listed_files(size_bytes: Mapping[str, int]) -> ListedFiles:
    """Files of a bucket that stay as they are, with their sizes, for somebody who reads."""
    from warehouses.folder.bucket import ListedFiles  # noqa: PLC0415

    return ListedFiles(size_bytes, token=_token())


def _token() -> Credentials | str:
    import google.auth  # noqa: PLC0415 - only where there is a bucket
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError:
        return "anon"
    return "anon" if isinstance(credentials, AnonymousCredentials) else credentials


def open_file(uri: str) -> BinaryIO:
    """The bytes of a file."""
    if is_remote(uri):
        return cast(BinaryIO, bucket_files().open(uri, "rb"))
    return open(uri, "rb")


def create_file(uri: str) -> BinaryIO:
    """A new file to write, its folders made where they are missing."""
    if is_remote(uri):
        return cast(BinaryIO, bucket_files().open(uri, "wb"))
    # Arrow writes to its own files without copying, a quarter of what stamps cost.
    os.makedirs(os.path.dirname(uri), exist_ok=True)
    return cast(BinaryIO, pa.OSFile(uri, "wb"))


def write_file(uri: str, data: bytes, temporary: str) -> None:
    """Write a small file so that nobody sees it half written: under ``temporary``, then renamed."""
    with create_file(temporary) as file:
        file.write(data)
    rename([(temporary, uri)])


def create_new(uri: str, data: bytes, temporary: str) -> bool:
    """Write a small file where there is none of its name, whole and on the disk; False where there is another.

    One of the same bytes is ours: its answer was lost, and the client has asked again.
    """
    if is_remote(uri):
        try:
            bucket_files().pipe_file(uri, data, mode="create")
        except FileExistsError:
            return _holds(uri, data)
        return True
    with create_file(temporary) as file:
        file.write(data)
    sync([temporary])
    _make_folders({os.path.dirname(uri)})
    try:
        os.link(temporary, uri)
    except FileExistsError:
        return _holds(uri, data)
    except OSError:  # a file system without links; there the lock of the commit must do
        if os.path.exists(uri):
            return _holds(uri, data)
        os.replace(temporary, uri)
    finally:
        delete([temporary])
    sync([os.path.dirname(uri)])
    return True


def _holds(uri: str, data: bytes) -> bool:
    with open_file(uri) as file:
        return file.read() == data


def _make_folders(paths: Iterable[str]) -> None:
    """Make folders of this machine, and have the names of the new ones on the disk."""
    for path in paths:
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)  # noqa: PLW2901 - up to the first that is there
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            sync([os.path.dirname(folder)])


def sync(paths: Iterable[str]) -> None:
    """Have files or folders of this machine on the disk: what is renamed before may be empty after a power loss."""
    for path in paths:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def exists(uri: str) -> bool:
    """Whether there is such a file."""
    return bool(bucket_files().exists(uri)) if is_remote(uri) else os.path.exists(uri)


def rename(pairs: Sequence[tuple[str, str]]) -> None:
    """Move files to their new places, replacing what is there."""
    remote = [pair for pair in pairs if is_remote(pair[0])]
    if remote:
        sources, targets = (list(side) for side in zip(*remote, strict=True))
        # A bucket knows no renaming of many: a copy within it, and the old ones go when all the new ones are there.
        bucket_files().copy(sources, targets)
        delete(sources)
    local = [pair for pair in pairs if not is_remote(pair[0])]
    sync(source for source, _ in local)
    _make_folders(sorted({os.path.dirname(target) for _, target in local}))
    for source, target in local:
        os.replace(source, target)
    sync(sorted({os.path.dirname(target) for _, target in local}))


def delete(uris: Iterable[str]) -> None:
    """Delete files; one that is gone already is no error, another job may have tidied up too."""
    remote = []
    for uri in uris:
        if is_remote(uri):
            remote.append(uri)
        elif os.path.exists(uri):
            os.remove(uri)
    if remote:
        try:
            bucket_files().rm(remote)
        except FileNotFoundError:
            for uri in remote:
                if exists(uri):
                    bucket_files().rm_file(uri)


def remove_empty(folder: str) -> None:
    """Remove a folder of this machine, and those in it, as far as nothing is in them; a bucket has no folders."""
    if is_remote(folder):
        return
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)


def files_below(folder: str) -> list[StoredFile]:
    """All files of a folder and of the folders in it, in order of their names."""
    if is_remote(folder):
        found = bucket_files().find(folder, detail=True)
        return sorted(
            (StoredFile(f"{_BUCKET}{name}", int(about["size"])) for name, about in found.items()), key=lambda file: file.uri
        )
    found = []
    for path in sorted(_paths_below(folder)):
        with contextlib.suppress(FileNotFoundError):  # somebody has just taken it away
            found.append(StoredFile(path, os.path.getsize(path)))
    return found


def _paths_below(folder: str) -> Iterator[str]:
    """Files, in folders that are links, too. Not by a glob: the folder's own name may hold brackets."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=_unless_gone, followlinks=True):
        try:
            about = os.stat(place)
        except FileNotFoundError:
            continue
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        yield from (os.path.join(place, name) for name in names)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
