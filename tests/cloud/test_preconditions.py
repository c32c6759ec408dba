"""The bucket refuses what does not meet its preconditions, verb by verb: on that a commit into a bucket is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api_core.exceptions import PreconditionFailed
from google.cloud import storage

from tests.emulators import processes
from tests.emulators.cloud import Cloud
from warehouses.files import bucket_files, create_new

CHANGES: dict[str, Callable[[storage.Blob, int], Any]] = {
    "upload": lambda blob, generation: blob.upload_from_string(b"new", if_generation_match=generation),
    "delete": lambda blob, generation: blob.delete(if_generation_match=generation),
    "copy": lambda blob, generation: blob.bucket.copy_blob(
        blob.bucket.blob("source"), blob.bucket, blob.name, if_generation_match=generation
    ),
    "rewrite": lambda blob, generation: blob.rewrite(blob.bucket.blob("source"), if_generation_match=generation),
    "patch": lambda blob, generation: blob.patch(if_generation_match=generation),
}


@pytest.fixture
def bucket(cloud: Cloud) -> Iterator[storage.Bucket]:
    client = storage.Client(project=processes.PROJECT)
    bucket = client.bucket(cloud.bucket.removeprefix("gs://"))
    for name in ("old", "source"):
        bucket.blob(name).upload_from_string(name.encode())
    yield bucket
    client.close()


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_of_another_generation_is_refused_and_changes_nothing(bucket: storage.Bucket, verb: str) -> None:
    blob = bucket.get_blob("old")
    blob.metadata = {"a": "b"}
    with pytest.raises(PreconditionFailed):
        CHANGES[verb](blob, blob.generation - 1)
    with pytest.raises(PreconditionFailed):
        CHANGES[verb](blob, 0)
    found = bucket.get_blob("old")
    assert (found.generation, found.metadata, found.download_as_bytes()) == (blob.generation, None, b"old")
    CHANGES[verb](blob, found.generation)
    after = bucket.get_blob("old")
    assert after is None or (after.generation, after.metageneration) != (found.generation, found.metageneration)


def test_what_is_made_once_is_made_once(bucket: storage.Bucket) -> None:
    uri = f"gs://{bucket.name}/only-once"
    assert create_new(uri, b"first", "")
    assert not create_new(uri, b"second", "")
    assert bucket_files().cat_file(uri) == b"first"


def test_patched_metadata_were_updated(bucket: storage.Bucket) -> None:
    before = bucket.get_blob("old")
    bucket_files().setxattrs(f"gs://{bucket.name}/old", renewed="1")
    after = bucket.get_blob("old")
    assert (after.updated > before.updated, after.generation, after.metadata) == (True, before.generation, {"renewed": "1"})
    with pytest.raises(FileNotFoundError):
        bucket_files().setxattrs(f"gs://{bucket.name}/none", renewed="1")
