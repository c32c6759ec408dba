"""Batches of any size and fault after fault, in any order: what is refused is what is wrong, and all else is there.

A seed makes the same batches and faults; with ``PITT_BROKER_HUNT`` (``make fuzz``) they are other ones each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.cloud.bigquery_storage_v1 import types

from tests.cloud.appending import SOON, copies, error, make, only_first_named, rows, unnamed
from tests.emulators import settings
from tests.emulators.cloud import Cloud
from tests.emulators.rpc_faults import FaultyRpcProxy
from warehouses.bigquery.append import Appender, RetryTimes
from warehouses.bigquery.append_connection import channel_of, write_client
from warehouses.bigquery.pending import PendingStream, commit

HUNT = int(os.environ.get("PITT_BROKER_HUNT", "0"))
SEEDS = [random.randrange(10**9) for _ in range(20 * HUNT)] or list(range(16))
Code = grpc.StatusCode
Storage = types.StorageError.StorageErrorCode
FAULTS: list[dict[str, Any]] = [
    {"code": Code.UNAVAILABLE},
    {"code": Code.ABORTED, "after": True},
    {"code": Code.UNKNOWN, "after": True},
    {"cut": True},
    {"cut": True, "after": True},
    {"silent": True},
    {"silent": True, "after": True},
    {"answer": error(Code.INTERNAL)},
    {"answer": error(Code.INTERNAL), "after": True},
    {"answer": error(Code.RESOURCE_EXHAUSTED)},
    {"answer": error(Code.NOT_FOUND)},
    {"answer": error(Code.INVALID_ARGUMENT, "extra", Storage.SCHEMA_MISMATCH_EXTRA_FIELDS)},
    {"answer": error(Code.OUT_OF_RANGE, "beyond", Storage.OFFSET_OUT_OF_RANGE)},
]


@pytest.fixture(scope="module")
def proxy(cloud: Cloud) -> Iterator[FaultyRpcProxy]:
    with FaultyRpcProxy(os.environ[settings.BIGQUERY_WRITE]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(proxy: FaultyRpcProxy) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(settings.BIGQUERY_WRITE, proxy.host)
        client = write_client()
    yield client
    client.transport.close()


@pytest.fixture(scope="module")
def dataset(cloud: Cloud) -> str:
    name = cloud.dataset()
    cloud.client().create_dataset(name)
    return name


@pytest.mark.parametrize("pending", [False, True], ids=["default", "pending"])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_faults(cloud: Cloud, proxy: FaultyRpcProxy, client: Any, dataset: str, seed: int, pending: bool) -> None:
    chance, table = random.Random(seed), make(cloud, f"t{seed}{pending}", dataset)
    count, size = chance.randint(1, 120), chance.choice([0, 100, 1000, 3000])
    bad = set(chance.sample(range(count), chance.choice([0, 0, 1, min(3, count), count // 2])))
    some = rows([None if number in bad else number for number in range(count)], size)
    proxy.heal()
    proxy.edit = chance.choice([None, only_first_named, unnamed])
    for _ in range(chance.randint(1, 6)):
        proxy.fail(1, "AppendRows", spare=chance.randint(0, 8), **chance.choice(FAULTS))
    patience = RetryTimes(SOON.passing_secs, SOON.unknown_secs, SOON.first_delay_secs, SOON.most_delay_secs, answer_secs=0.25)
    appender = Appender(channel_of(client), patience=patience, request_bytes=chance.choice([2_000, 12_000, 50_000]))
    stream = PendingStream(client, appender, table, SOON) if pending else None
    refused: list[int] = []
    # A row that is taken tells that the columns are right, and so does what follows of the others.
    begin, parts = 0, [rows([-1])]
    while begin < count:
        step = chance.randint(1, count - begin)
        parts.append(some.slice(begin, step))
        begin += step
    begin = -1
    for part in parts:
        (found,) = appender.append_to([(stream.stream, part)]) if stream else appender.append([(table, part)])
        refused += [begin + row.number for row in found]
        begin += part.num_rows
    appender.close()
    if stream:
        stream.finalize()
        commit(client, table, [stream.name], SOON)
    assert sorted(refused) == sorted(bad)
    there = copies(cloud, table)
    assert set(there) == {-1, *range(count)} - bad
    assert max(there.values()) == 1 or not pending
