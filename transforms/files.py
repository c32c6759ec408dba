"""Small helpers over Beam's filesystems, which reach local disks and ``gs://`` alike."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

_GLOB = "*?["


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that matched an input, and its size in bytes."""

    uri: str
    size_bytes: int


def absolute(uri: str) -> str:
    """``uri`` with a local path made absolute, so that a row's source means the same from every folder."""
    if "://" in uri:
        return uri.removeprefix("file://")
    return os.path.abspath(os.path.expanduser(uri))


def printable(uri: str) -> str:
    r"""``uri`` as text for a row; bytes of a file's name that are no UTF-8 are shown as ``\xff``."""
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def open_file(uri: str) -> BinaryIO:
    """The bytes of a file as they are: what is compressed, its contents tell."""
    return cast(BinaryIO, FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED))


def create_file(uri: str) -> BinaryIO:
    """A new file to write, its folders made where they are missing."""
    if "://" not in uri:
        # Arrow writes to its own files without copying, a quarter of what stamps cost.
        os.makedirs(os.path.dirname(uri), exist_ok=True)
        return cast(BinaryIO, pa.OSFile(uri, "wb"))
    return cast(BinaryIO, FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED))


def write_file(uri: str, data: bytes, temporary: str) -> None:
    """Write a small file so that nobody sees it half written: under ``temporary``, then renamed."""
    with create_file(temporary) as file:
        file.write(data)
    rename([(temporary, uri)])


def rename(pairs: Sequence[tuple[str, str]]) -> None:
    """Move files to their new places, replacing what is there."""
    if not pairs:
        return
    for folder in {target.rsplit("/", 1)[0] for _, target in pairs}:
        if "://" not in folder:
            os.makedirs(folder, exist_ok=True)
    FileSystems.rename([source for source, _ in pairs], [target for _, target in pairs])


def delete(uris: Iterable[str]) -> None:
    """Delete files; one that is gone already is no error, another job may have tidied up too."""
    for uri in uris:
        if FileSystems.exists(uri):
            FileSystems.delete([uri])


def files_below(folder: str) -> list[FoundFile]:
    """All files of a folder and of the folders in it, in order of their names."""
    if "://" in folder:
        return _matching(f"{folder.rstrip('/')}/**")
    # Not by a glob: the folder's own name may hold brackets.
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return [FoundFile(path, os.path.getsize(path)) for path in sorted(paths)]


def find_inputs(uri: str) -> list[FoundFile]:
    """The files an ``--input`` names: one file, all files of a folder and the folders in it, or those a glob matches."""
    uri = absolute(uri)
    if "://" not in uri and os.path.isdir(uri):
        return files_below(uri)
    if "://" not in uri and os.path.isfile(uri):
        return [FoundFile(uri, os.path.getsize(uri))]
    found = _matching(uri)
    if not found and "://" in uri and not any(char in uri for char in _GLOB):
        found = files_below(uri)
    return found


def _matching(pattern: str) -> list[FoundFile]:
    found = FileSystems.match([pattern])[0].metadata_list
    return sorted((FoundFile(one.path, one.size_in_bytes) for one in found), key=lambda file: file.uri)
