"""Inputs, and files for services, wherever they are: by Beam's filesystems where they are not on this machine."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from warehouses import files as stored
from warehouses.files import StoredFile
from warehouses.watched import Version

_GLOB = "*?["


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
        return stored.create_file(uri)
    return cast(BinaryIO, FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED))


def files_below(folder: str) -> list[StoredFile]:
    """All files of a folder and of the folders in it, in order of their names."""
    return _matching(f"{folder.rstrip('/')}/**") if "://" in folder else stored.files_below(folder)


def find_inputs(uri: str) -> list[StoredFile]:
    """The files an ``--input`` names: one file, all files of a folder and the folders in it, or those a glob matches."""
    uri = absolute(uri)
    if "://" not in uri and os.path.isdir(uri):
        return files_below(uri)
    if "://" not in uri and os.path.isfile(uri):
        return [StoredFile(uri, os.path.getsize(uri))]
    found = _matching(uri)
    if not found and "://" in uri and not any(char in uri for char in _GLOB):
        found = files_below(uri)
    return found


def find_versions(uri: str) -> dict[str, Version]:
    """The same files by their names, with their sizes and when they were changed; none where there is no such file."""
    uri = absolute(uri)
    if "://" not in uri:
        found = {}
        for file in find_inputs(uri):
            # It may be gone since it was listed.
            with contextlib.suppress(FileNotFoundError):
                about = os.stat(file.uri)
                found[file.uri] = Version(about.st_size, datetime.fromtimestamp(about.st_mtime, timezone.utc))
        return found
    pattern = uri if any(char in uri for char in _GLOB) else f"{uri.rstrip('/')}/**"
    return {
        file.path: Version(
            file.size_in_bytes,
            datetime.fromtimestamp(file.last_updated_in_seconds, timezone.utc) if file.last_updated_in_seconds else None,
        )
        for file in FileSystems.match([pattern])[0].metadata_list
    }


def _matching(pattern: str) -> list[StoredFile]:
    found = FileSystems.match([pattern])[0].metadata_list
    return sorted((StoredFile(file.path, file.size_in_bytes) for file in found), key=lambda file: file.uri)
