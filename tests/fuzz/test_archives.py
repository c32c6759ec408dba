"""Archives damaged at random: what is whole before the damage is there, and what is not there is said."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro.inputs import read_slice, slice_tar
from alerts.avro.wire_schemas import WireSchemas
from tests.alerts.attacks import PACKET
from tests.alerts.making import Outcome, container, examples, ingest, lsst_record, outcome_of, tar_of, wire_message, ztf_record
from tests.fuzz.making import Accident, accidents, assert_accounted, in_time, suffer

IDS = [1, 2, 3, 4, 5]
MEMBERS = {f"night/{'x' * (40 * number)}{number}.avro": container([ztf_record(number)]) for number in IDS[:3]} | {
    "4.bin": wire_message(lsst_record(4)),
    "5.avro": container([ztf_record(5)], codec="deflate"),
}
ARCHIVES = {name: tar_of(MEMBERS, form) for name, form in (("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT))}
_PIECES_BYTES = 2 * 2**16
"""What is lost before the damage of a gzip stream at most: the piece that is being unpacked, and what was read ahead."""


def ends(archive: bytes) -> list[int]:
    """Where each member ends."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [one.offset_data + one.size for one in tar]


def first_accident(data: bytes, some: list[Accident]) -> int:
    """How much of the beginning is as it was."""
    after = suffer(data, some)
    return next((at for at, (old, new) in enumerate(zip(data, after, strict=False)) if old != new), min(len(data), len(after)))


def alerts(outcome: Outcome) -> list[int]:
    return [
        row["alert_id"]
        for row in sorted(outcome.rows, key=lambda row: IDS.index(row["alert_id"]) if row["alert_id"] in IDS else 9)
    ]


def assert_whole_before(outcome: Outcome, archive: bytes, untouched: int, changed: bool) -> None:
    assert_accounted(outcome)
    whole = [one for one, end in zip(IDS, ends(archive), strict=True) if end <= untouched]
    assert set(whole) <= {row["alert_id"] for row in outcome.rows}
    missing = set(IDS) - {row["alert_id"] for row in outcome.rows}
    # A member that came to have a name of a side file, or to be a link, is skipped and counted.
    assert not missing or outcome.letters or outcome.skipped or not changed


@pytest.mark.parametrize("form", ARCHIVES)
@examples(150)
@given(some=accidents())
def test_a_damaged_tar(form, some):
    archive = ARCHIVES[form]
    data = suffer(archive, some)
    with in_time():
        outcome = ingest(data, "n.tar")
        assert_whole_before(outcome, archive, first_accident(archive, some), data != archive)
        slices = slice_tar(io.BytesIO(data), "n.tar", 2)
        if slices is not None:
            items = [item for part in slices for item in read_slice(io.BytesIO(data), "n.tar", part, WireSchemas())]
            assert [row["source"] for row in outcome_of(items).rows] == [row["source"] for row in outcome.rows]


@examples(150)
@given(accidents(), st.sampled_from([0, 1, 9]))
def test_a_damaged_gzip_stream(some, level):
    contents = ARCHIVES["gnu"] + bytes(2**19) + ARCHIVES["pax"]
    stream = gzip.compress(contents, level)
    with in_time():
        outcome = ingest(suffer(stream, some), "n.tar.gz")
    assert_accounted(outcome)
    # A checksum stands at the end of the stream; its header and zeros behind it may change.
    if gunzipped(suffer(stream, some)) == contents:
        assert sorted(row["alert_id"] for row in outcome.rows) == sorted(2 * IDS)
        assert not outcome.letters
    else:
        assert outcome.letters
    if level == 0 and first_accident(stream, some) > len(ARCHIVES["gnu"]) + _PIECES_BYTES:
        assert {row["alert_id"] for row in outcome.rows} >= set(IDS)


@examples(100)
@given(accidents(), st.sampled_from(["bzip2", "xz"]))
def test_a_damaged_bzip2_or_xz_stream(some, packing):
    pack, unpack = (bz2.compress, bz2.decompress) if packing == "bzip2" else (lzma.compress, lzma.decompress)
    contents = ARCHIVES["gnu"] + bytes(2**19) + ARCHIVES["pax"]
    stream = suffer(pack(ARCHIVES["gnu"]) + pack(contents[len(ARCHIVES["gnu"]) :]), some)
    with in_time():
        outcome = ingest(stream, "n.tar.x")
    assert_accounted(outcome)
    try:
        whole = unpack(stream) == contents
    except (OSError, EOFError, ValueError, lzma.LZMAError):
        whole = False
    if whole and packing == "xz":
        assert sorted(row["alert_id"] for row in outcome.rows) == sorted(2 * IDS)
    if not whole:
        assert outcome.letters


def gunzipped(stream: bytes) -> bytes | None:
    """What Python's own gzip makes of it."""
    try:
        return gzip.decompress(stream)
    except (OSError, EOFError, zlib.error):
        return None


FIELDS = {"name": (0, 100), "mode": (100, 108), "size": (124, 136), "sum": (148, 156), "type": (156, 157), "link": (157, 257)}
FIELDS |= {"magic": (257, 265), "sparse": (386, 482), "goes on": (482, 483), "real size": (483, 495), "prefix": (345, 500)}


@examples(200)
@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), st.binary(min_size=1, max_size=12)), max_size=4),
    st.sampled_from(list(b"0123456789xgLKSDV\0")),
    st.sampled_from([b"", b"17 size=99999999\n", b"30 GNU.sparse.realsize=123456\n", b"12 path=../x\n", b"9 path=\n"]),
)
def test_a_header_that_was_changed_and_summed_again(number, some, kind, records):
    archive = ARCHIVES["gnu"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        at = tar.getmembers()[number].offset_data - 512
    head = bytearray(archive[at : at + 512])
    head[156] = kind
    for name, noise in some:
        first, end = FIELDS[name]
        head[first:end] = noise.ljust(end - first, b"\0")[: end - first]
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    extension = b""
    if records:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, len(records)
        extension = info.tobuf(tarfile.GNU_FORMAT) + records.ljust(512, b"\0")
    data = archive[:at] + extension + bytes(head) + archive[at + 512 :]
    with in_time():
        outcome = ingest(data, "n.tar")
        assert_accounted(outcome)
        assert {row["alert_id"] for row in outcome.rows} >= set(IDS[:number])
        assert len({row["alert_id"] for row in outcome.rows}) == len(IDS) or outcome.letters or outcome.skipped
        slices = slice_tar(io.BytesIO(data), "n.tar", 2)
        if slices is not None:
            items = [item for part in slices for item in read_slice(io.BytesIO(data), "n.tar", part, WireSchemas())]
            assert [row["source"] for row in outcome_of(items).rows] == [row["source"] for row in outcome.rows]


@examples(100)
@given(accidents(), st.sampled_from(["null", "deflate", "snappy", "zstandard"]), st.integers(1, 4))
def test_a_damaged_container_of_many(some, codec, per_block):
    file = container([ztf_record(number) for number in IDS], codec=codec, per_block=per_block)
    with in_time():
        outcome = ingest(suffer(file, some))
    assert_accounted(outcome)
    if suffer(file, some) == file:
        assert outcome.alert_ids == IDS
    among = ingest(tar_of({"1.avro": PACKET, "2.avro": suffer(file, some)}), "n.tar")
    assert among.rows[0]["alert_id"] == 1
