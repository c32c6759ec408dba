"""Input files of any kind: what is in them comes out once, damage is said once and takes no neighbors along."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro import inputs, unpack
from alerts.avro.inputs import Item, Skipped, in_batches, read_input, read_slice, slice_tar
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from tests.alerts.making import (
    LSST_SCHEMA,
    container,
    examples,
    ingest,
    lsst_record,
    tar_of,
    wire_message,
    ztf_packet,
    ztf_record,
)

WIRE = WireSchemas()
IDS = [201, 202, 203, 204, 205]
NIGHT = {f"{candid}.avro": ztf_packet(candid) for candid in IDS}


def summary(items: Iterator[Item] | list[Item]) -> list[tuple[str, ...]]:
    """What came out, by source; the words behind the number of the last good member may differ."""
    told = []
    for one in items:
        if isinstance(one, Packet):
            told.append(("alert", one.source, bytes(one.datum)[:40].hex()))
        elif isinstance(one, DeadLetter):
            told.append(("letter", one.source, one.message.partition(" (")[0], str(one.attributes), str(one.payload)))
        else:
            told.append(("skipped", one.source))
    return told


def read_by_slices(archive: bytes, members_per_slice: int) -> list[Item] | None:
    slices = slice_tar(io.BytesIO(archive), "night.tar", members_per_slice)
    if slices is None:
        return None
    return [item for part in slices for item in read_slice(io.BytesIO(archive), "night.tar", part, WIRE)]


def member_at(archive: bytes, name: str) -> int:
    """Where the header of a member begins."""
    return archive.index(name.encode().ljust(100, b"\0"))


def test_a_night_as_tar_as_gzipped_tar_and_as_single_files_is_the_same_alerts():
    archive = tar_of(NIGHT)
    as_tar, as_gzip = ingest(archive, "night.tar"), ingest(gzip.compress(archive), "night.tar.gz")
    assert as_tar.alert_ids == as_gzip.alert_ids == IDS
    assert [row["source"] for row in as_gzip.rows] == [f"night.tar.gz#{candid}.avro" for candid in IDS]
    singles = [ingest(data, name).rows[0] for name, data in NIGHT.items()]
    assert [row["packet_digest"] for row in singles] == [row["packet_digest"] for row in as_tar.rows]


def test_what_a_file_is_its_contents_tell_and_not_its_name():
    assert ingest(tar_of(NIGHT), "night.avro").alert_ids == IDS
    assert ingest(gzip.compress(tar_of(NIGHT)), "night.tar").alert_ids == IDS
    assert ingest(gzip.compress(NIGHT["201.avro"]), "201.tar").alert_ids == [201]
    assert len(ingest(gzip.compress(wire_message(lsst_record())), "m").rows) == 1


def test_an_archive_may_hold_containers_of_many_alerts_and_wire_messages():
    several = container([ztf_record(candid) for candid in IDS], codec="deflate", per_block=2)
    outcome = ingest(tar_of({"several.avro": several, "one.bin": wire_message(lsst_record(77))}))
    assert outcome.alert_ids == [*IDS, 77]


def test_hidden_and_side_files_folders_and_links_are_skipped_and_counted():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("night", tarfile.DIRTYPE), ("latest.avro", tarfile.SYMTYPE), ("again.avro", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "night/201.avro"
            archive.addfile(info)
        for name in ("._201.avro", "README.md", "skymap.fits", "bayestar.FITS.gz", "../201.avro"):
            info = tarfile.TarInfo(name)
            info.size = len(NIGHT["201.avro"])
            archive.addfile(info, io.BytesIO(NIGHT["201.avro"]))
    outcome = ingest(out.getvalue(), "n.tar")
    assert [row["source"] for row in outcome.rows] == ["n.tar#../201.avro"]
    side = ("._201.avro", "README.md", "skymap.fits", "bayestar.FITS.gz")
    assert outcome.skipped == [f"n.tar#{one}" for one in ("night", "latest.avro", "again.avro", *side)]
    assert not outcome.letters


@pytest.mark.parametrize("inner", [tar_of(NIGHT), gzip.compress(NIGHT["201.avro"])], ids=["tar", "gzip"])
def test_an_archive_inside_an_archive_is_a_dead_letter_and_its_neighbors_are_read(inner):
    outcome = ingest(tar_of({"201.avro": NIGHT["201.avro"], "inner": inner, "203.avro": NIGHT["203.avro"]}), "n.tar")
    letter = outcome.one_letter()
    assert outcome.alert_ids == [201, 203]
    assert "inside an archive" in letter.message
    assert (letter.source, letter.payload) == ("n.tar#inner", inner)


@pytest.mark.parametrize("bad", [b"", b"<html>", b"\0\0\0\x09\x99 no such schema", NIGHT["202.avro"][:9000]])
def test_one_bad_member_is_one_dead_letter_with_its_bytes(bad):
    outcome = ingest(tar_of({**NIGHT, "202.avro": bad}), "n.tar")
    letter = outcome.one_letter()
    assert outcome.alert_ids == [201, 203, 204, 205]
    assert (letter.source, letter.payload) == ("n.tar#202.avro", bad)


def test_an_empty_archive_holds_no_record():
    assert "holds no record" in ingest(tar_of({})).the_letter().message
    assert "holds no record" in ingest(gzip.compress(tar_of({}))).the_letter().message


def test_an_archive_without_a_packet_says_so_in_slices_too():
    [letter] = read_by_slices(tar_of({}), 2) or []
    assert letter.message == ingest(tar_of({})).the_letter().message == "the archive holds no record"


def test_an_archive_that_was_cut_after_it_was_divided_is_a_letter_for_each_lost_member():
    archive = tar_of(NIGHT)
    parts = list(slice_tar(io.BytesIO(archive), "night.tar", 2) or ())
    cut = io.BytesIO(archive[: member_at(archive, "204.avro") + 700])
    told = [(one[0], one[1]) for part in parts for one in summary(read_slice(cut, "night.tar", part, WIRE))]
    kinds = dict(zip(IDS, 3 * ["alert"] + 2 * ["letter"], strict=True))
    assert told == [(kind, f"night.tar#{candid}.avro") for candid, kind in kinds.items()]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
@pytest.mark.parametrize("read_bytes", [1, 5, 7])
def test_streams_behind_each_other_are_read_wherever_the_pieces_of_a_file_end(monkeypatch, pack, read_bytes):
    """A download comes in pieces of any length: the next stream's mark may lie in two of them."""
    monkeypatch.setattr(unpack, "_READ_BYTES", read_bytes)
    archive = tar_of({"201.avro": NIGHT["201.avro"]})
    packed = b"".join(pack(archive[start : start + 5000]) for start in range(0, len(archive), 5000))
    assert ingest(packed, "night").alert_ids == [201]


def test_behind_a_damaged_header_is_one_dead_letter_that_says_where():
    archive = bytearray(tar_of(NIGHT))
    at = member_at(bytes(archive), "204.avro")
    archive[at + 148 : at + 156] = b"0000000\0"  # the header's checksum
    outcome = ingest(bytes(archive), "n.tar")
    letter = outcome.one_letter()
    assert outcome.alert_ids == [201, 202, 203]
    assert (letter.stage, letter.source, letter.payload) == ("read", "n.tar", None)
    assert f"cannot be read beyond its member 3 (the tar archive has a damaged header at byte {at}" in letter.message
    assert letter.attributes["offset_bytes"] == member_at(bytes(archive), "203.avro") + 512


def test_a_header_of_zeros_in_mid_archive_is_not_the_end():
    archive = bytearray(tar_of(NIGHT))
    at = member_at(bytes(archive), "204.avro")
    archive[at : at + 512] = bytes(512)
    outcome = ingest(bytes(archive))
    assert outcome.alert_ids == [201, 202, 203]
    assert "damaged header" in outcome.one_letter().message


def test_a_cut_archive_gives_what_is_whole_and_one_dead_letter():
    archive = tar_of(NIGHT)
    starts = [member_at(archive, name) for name in NIGHT]
    for length in range(1024, len(archive) - 10240, 7001):
        outcome = ingest(archive[:length])
        whole = sum(start + 512 + len(data) <= length for start, data in zip(starts, NIGHT.values(), strict=True))
        assert outcome.alert_ids == IDS[:whole], length
        assert "cannot be read beyond its member" in outcome.one_letter().message


def test_a_missing_end_mark_is_a_dead_letter_for_a_tar_and_nothing_for_a_gzipped_one():
    archive = tar_of(NIGHT)
    without = archive[: member_at(archive, "205.avro") + 512 + -(-len(NIGHT["205.avro"]) // 512) * 512]
    outcome = ingest(without)
    assert outcome.alert_ids == IDS
    assert "without an end mark" in outcome.one_letter().message
    assert ingest(gzip.compress(without)).alert_ids == IDS
    assert not ingest(gzip.compress(without)).letters


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_cut_gzipped_archive_gives_what_is_before_the_cut_and_one_dead_letter(part):
    archive = tar_of(NIGHT)
    length = int(len(archive) * part)
    outcome = ingest(gzip.compress(archive, 0)[:length])  # stored, so that lengths tell what is there
    whole = sum(member_at(archive, name) + 512 + len(data) <= length - 2**14 for name, data in NIGHT.items())
    assert outcome.alert_ids[:whole] == IDS[:whole]
    assert len(outcome.rows) <= whole + 1
    assert "Compressed file ended before" in outcome.one_letter().message


def test_a_gzipped_archive_whose_checksum_is_wrong_gives_its_alerts_and_a_dead_letter():
    stream = bytearray(gzip.compress(tar_of(NIGHT)))
    stream[-5] ^= 0x10
    outcome = ingest(bytes(stream))
    assert outcome.alert_ids == IDS
    assert "CRC check failed" in outcome.one_letter().message


def test_gzip_members_that_follow_each_other_are_one_archive():
    archive = tar_of(NIGHT)
    pieces = [archive[:100], archive[100:600], archive[600:20_000], archive[20_000:]]
    outcome = ingest(b"".join(gzip.compress(piece) for piece in pieces))
    assert outcome.alert_ids == IDS
    assert not outcome.letters


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packing", PACKERS)
def test_what_is_compressed_is_read_whatever_its_name(packing):
    pack = PACKERS[packing]
    assert ingest(pack(tar_of(NIGHT)), "night").alert_ids == IDS
    assert ingest(pack(NIGHT["201.avro"]), "x.avro").alert_ids == ingest(NIGHT["201.avro"]).alert_ids
    assert ingest(pack(wire_message(lsst_record())), "x", None).alert_ids == ingest(wire_message(lsst_record())).alert_ids
    # As pbzip2 and pixz write them, and with zeros behind, as xz allows them.
    archive = tar_of(NIGHT)
    pieces = [archive[:100], archive[100:600], b"", archive[600:20_000], archive[20_000:]]
    outcome = ingest(b"".join(pack(piece) + bytes(4 if packing == "xz" else 0) for piece in pieces))
    assert (outcome.alert_ids, outcome.letters) == (IDS, [])
    assert "the input is empty" in ingest(pack(b"")).one_letter().message
    letter = ingest(tar_of({"201.avro": NIGHT["201.avro"], "x": pack(NIGHT["202.avro"])})).one_letter()
    assert letter.message == f"a {packing} file inside an archive is not read; unpack it first"


@pytest.mark.parametrize("packing", ["bzip2", "xz"])
@pytest.mark.parametrize("part", [0.0001, 0.2, 0.5, 0.9])
def test_a_cut_or_damaged_archive_in_bzip2_or_xz_gives_what_is_before_and_one_dead_letter(packing, part):
    pack = PACKERS[packing]
    # In streams of their own: within one, nothing can be unpacked before its block is whole.
    night = {f"{candid}.avro": container([ztf_record(candid)]) for candid in range(300, 340)}
    archive = tar_of(night)
    pieces = [archive[at : at + 2**15] for at in range(0, len(archive), 2**15)]
    packed = [pack(piece) for piece in pieces]
    stream = b"".join(packed)
    length = int(len(stream) * part)
    before, behind = 0, 0
    for piece, compressed in zip(pieces, packed, strict=True):
        behind += len(compressed)
        if behind > length:
            break
        before += len(piece)
    whole = [int(name[:-5]) for name, data in night.items() if member_at(archive, name) + 512 + len(data) <= before]
    assert (len(whole) > 0) == (part > 0.1)
    damaged = bytearray(stream)
    damaged[length + 20 : length + 60] = bytes(40)
    for bad in (stream[:length], bytes(damaged)):
        outcome = ingest(bad)
        if part > 0.1:
            assert outcome.alert_ids[: len(whole)] == whole
        assert len(outcome.letters) == 1
        assert outcome.letters[0].stage == "read"


@pytest.mark.parametrize("packing", ["bzip2", "xz"])
def test_bytes_behind_a_compressed_archive_are_said(packing):
    outcome = ingest(PACKERS[packing](tar_of(NIGHT)) + b"something that follows")
    assert outcome.alert_ids == IDS
    assert f"behind the {packing} stream stand bytes that are none" in outcome.one_letter().message


def test_a_cut_gzipped_container_gives_the_alerts_before_the_cut():
    file = container([ztf_record(candid) for candid in range(300, 500)], per_block=10)
    stream = gzip.compress(file, 0)
    outcome = ingest(stream[: len(stream) * 3 // 4])
    assert 100 <= len(outcome.rows) < 150
    assert "cannot be read" in outcome.one_letter().message


def test_a_member_beyond_the_limit_leaves_the_others_alone(monkeypatch):
    large = container([ztf_record(candid) for candid in (1, 2)])
    monkeypatch.setattr(inputs, "MAX_MEMBER_BYTES", len(large) - 1)
    archive = tar_of({"large.avro": large, **NIGHT})
    outcome = ingest(archive, "night.tar")
    letter = outcome.one_letter()
    assert outcome.alert_ids == IDS
    assert (letter.source, letter.payload) == ("night.tar#large.avro", None)
    assert f"claims {len(large)} bytes" in letter.message
    assert summary(read_by_slices(archive, 2) or []) == summary(read_input(io.BytesIO(archive), "night.tar", WIRE))


@pytest.mark.parametrize("members_per_slice", [1, 2, 3, 5, 100])
def test_slices_of_a_plain_tar_are_the_archive(members_per_slice):
    archive = tar_of({**NIGHT, "._hidden": b"", "bad.avro": b"<html>"}, tarfile.PAX_FORMAT)
    assert summary(read_by_slices(archive, members_per_slice) or []) == summary(
        read_input(io.BytesIO(archive), "night.tar", WIRE)
    )


def test_only_a_plain_tar_can_be_sliced():
    assert slice_tar(io.BytesIO(gzip.compress(tar_of(NIGHT))), "n", 2) is None
    assert slice_tar(io.BytesIO(NIGHT["201.avro"]), "n", 2) is None
    assert slice_tar(io.BytesIO(b""), "n", 2) is None


SMALL = tar_of({f"{number}.bin": wire_message(lsst_record(number)) for number in range(7)} | {"e.bin": b"", "x": b"?" * 600})


@examples(150)
@given(
    st.integers(1, len(SMALL)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=600)), max_size=2),
    st.integers(1, 9),
)
def test_slices_of_a_damaged_tar_are_the_archive(length, damages, members_per_slice):
    archive = bytearray(SMALL[:length])
    for place, noise in damages:
        at = int(place * length)
        archive[at : at + len(noise)] = noise
    by_slices = read_by_slices(bytes(archive), members_per_slice)
    if by_slices is not None:
        assert summary(by_slices) == summary(read_input(io.BytesIO(archive), "night.tar", WIRE))


def test_batches_are_limited_in_number_and_in_bytes():
    packets = list(open_packets(container([lsst_record(n) for n in range(5)], LSST_SCHEMA), "n", WIRE))
    length = len(packets[0].datum)
    assert [len(batch) for batch in in_batches(packets, 2, 10**9)] == [2, 2, 1]
    assert [len(batch) for batch in in_batches(packets, 100, 3 * length)] == [3, 2]
    assert [len(batch) for batch in in_batches(packets, 100, 1)] == [1, 1, 1, 1, 1]
    assert list(in_batches([], 2, 1)) == []


def test_skipped_inputs_know_their_source():
    (item,) = read_input(io.BytesIO(tar_of({".hidden": b"1"})), "n.tar", WIRE)
    assert item == Skipped("n.tar#.hidden")
