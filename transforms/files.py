"""Inputs, and files for services, by Beam's filesystems, which reach local disks, ``gs://`` and others alike."""

from __future__ import annotations

import os
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
    return sorted((FoundFile(file.path, file.size_in_bytes) for file in found), key=lambda file: file.uri)
