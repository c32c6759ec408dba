"""Archives that mean harm: what is whole in them is read, the rest is said, in little memory and time."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from alerts.avro.archives import walk_tar
from alerts.avro.inputs import read_slice, slice_tar
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import UnreadableInput
from alerts.limits import MAX_MEMBER_NAME_BYTES, MAX_PADDING_BYTES, MAX_UNPACKED_TIMES
from tests.alerts.attacks import MIB, PACKET, gzipped, told, told_of_tar, zeros
from tests.alerts.making import container, ingest, outcome_of, tar_of, ztf_record
from tests.within import within

SMALL = 64 * MIB
SECOND = container([ztf_record(2)])
BEFORE = tar_of({"1.avro": PACKET})[: 512 + -(-len(PACKET) // 512) * 512]
"""A member, and no end of the archive."""
BEHIND = tar_of({"2.avro": SECOND})
DEVICES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, linkname
    return info.tobuf(tarfile.GNU_FORMAT)


def blocks(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 512) * 512, b"\0")


def pax(records: dict[str, str]) -> bytes:
    """A pax header of these records."""
    info = tarfile.TarInfo("x")
    info.pax_headers = records
    return info.create_pax_header({**info.get_info(), "size": 0}, "utf-8")[: -tarfile.BLOCKSIZE]


def gnu_sparse(name: str, stored: bytes, claims: int, map_blocks: int) -> bytes:
    """A sparse member as GNU tar's old format has it: a map in the header and in blocks behind it, then what is stored."""
    head = bytearray(header(name, len(stored), tarfile.GNUTYPE_SPARSE))
    head[482] = int(map_blocks > 0)
    head[483:495] = b"%011o\0" % claims
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    maps = [bytes(504) + bytes([number < map_blocks - 1]) + bytes(7) for number in range(map_blocks)]
    return bytes(head) + b"".join(maps) + blocks(stored)


def pax_sparse(name: str, stored: bytes, claims: int) -> bytes:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(claims)}
    return pax(records) + header("GNUSparseFile.1/x", len(stored)) + blocks(stored)


@pytest.mark.parametrize("map_blocks", [0, 1, 3])
@pytest.mark.parametrize("claims", [len(PACKET), 8**11 - 1])
def test_a_sparse_member_is_a_dead_letter_and_those_behind_it_are_read(map_blocks, claims):
    # Read as it stands it would be another file than the one that was packed.
    for archive in (gnu_sparse("s.avro", PACKET, claims, map_blocks), pax_sparse("s.avro", PACKET, claims)):
        outcome = ingest(archive + BEHIND, "n.tar")
        assert outcome.alert_ids == [2]
        assert outcome.one_letter().source == "n.tar#s.avro"
        assert "a sparse member is not read; make the archive without --sparse" in outcome.one_letter().message
        sliced = [read_slice(io.BytesIO(archive + BEHIND), "n.tar", part, WireSchemas()) for part in _slices(archive + BEHIND)]
        assert outcome_of(item for part in sliced for item in part).alert_ids == [2]


def _slices(archive: bytes):
    return slice_tar(io.BytesIO(archive), "n.tar", 1) or ()


def test_what_gnu_tar_makes_of_a_file_with_holes(tmp_path):
    if os.system("tar --version > /dev/null 2>&1"):
        pytest.skip("no tar here")
    with (tmp_path / "hole.avro").open("wb") as file:
        file.truncate(10 * 2**30)
    (tmp_path / "2.avro").write_bytes(SECOND)
    for form in ("gnu", "posix"):
        assert not os.system(f"cd '{tmp_path}' && tar --sparse --format={form} -cf {form}.tar hole.avro 2.avro")
        archive = (tmp_path / f"{form}.tar").read_bytes()
        found = within(SMALL, 20, told, archive)
        assert found.alert_ids == [2]
        assert found.messages == ["a sparse member is not read; make the archive without --sparse"]


def test_the_map_of_a_sparse_member_that_is_cut():
    whole = gnu_sparse("s.avro", PACKET, 2**30, 3)
    for length in range(513, 512 * 4, 200):
        assert "map of a sparse member" in ingest(whole[:length]).the_letter().message
    endless = gnu_sparse("s.avro", b"", 2**30, 0)[:482] + b"\1" + gnu_sparse("s.avro", b"", 2**30, 0)[483:]
    with pytest.raises(UnreadableInput):
        list(walk_tar(io.BytesIO(endless + (bytes(504) + b"\1" + bytes(7)) * 100)))


@pytest.mark.parametrize("size", [2**28 + 1, 2**40, 2**50])
@pytest.mark.parametrize("name", ["big.avro", "big.txt"])
def test_a_member_that_claims_gigabytes(name, size):
    found = within(SMALL, 20, told, gzipped(zeros(64 * MIB, BEFORE + header(name, size))))
    assert found.alert_ids == [1]
    assert any("cannot be read beyond its member 2" in one for one in found.messages)


def test_members_of_gigabytes_that_are_there_are_passed_over_in_little_memory(tmp_path):
    # As a file with holes, so that it takes no room; its neighbors are read.
    archive = tmp_path / "n.tar"
    large = 10 * 2**30
    with archive.open("wb") as file:
        file.write(BEFORE + header("large.avro", large))
        file.seek(large, os.SEEK_CUR)
        file.write(BEHIND)
    found = within(SMALL, 20, told_of_tar, str(archive))
    assert found.alert_ids == [1, 2]
    assert found.messages == [f"the member claims {large} bytes; the limit is 268435456"]


def test_zeros_behind_an_archive_end_somewhere():
    packed = gzipped(zeros(2 * MAX_PADDING_BYTES, tar_of({"1.avro": PACKET})))
    found = within(SMALL, 20, told, packed)
    assert found.alert_ids == [1]
    assert f"more than {MAX_PADDING_BYTES} zeros" in found.messages[0]
    assert f"more than {MAX_PADDING_BYTES} zeros" in within(SMALL, 20, told, gzipped(zeros(2 * MAX_PADDING_BYTES))).messages[0]
    some = tar_of({"1.avro": PACKET}) + bytes(2 * MIB) + BEHIND
    assert told(some).alert_ids == [1, 2]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/shadow",
        "..",
        "a/../../b",
        "C:\\Windows\\x",
        "a\nb",
        "\x1b[31mred",
        "'; DROP TABLE ztf_alerts; --",
        "a#b#c",
        "%s%n{0}",
        "gs://bucket/x",
        "x" * (MAX_MEMBER_NAME_BYTES - 20),
    ],
)
@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_name_of_a_member_is_no_more_than_a_name(name, tar_format, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = ingest(tar_of({name: PACKET}, tar_format), "n.tar")
    if name == "..":
        assert outcome.skipped == ["n.tar#.."]
    else:
        assert [row["source"] for row in outcome.rows] == [f"n.tar#{name}"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("size", [MAX_MEMBER_NAME_BYTES + 1, 2**30, 2**40])
def test_a_name_that_claims_to_be_enormous(kind, size):
    found = within(SMALL, 20, told, gzipped(zeros(80 * MIB, BEFORE + header("x", size, kind))))
    assert found.alert_ids == [1]
    assert f"a header extension of {size} bytes" in found.messages[0]


def test_names_without_end():
    # One header extension behind another, and never a member.
    found = within(SMALL, 60, told, BEFORE + 20_000 * (header("x", 8, b"L") + blocks(b"a" * 8)))
    assert found.alert_ids == [1]
    assert len(found.messages) == 1


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "1.avro", "/dev/zero"])
def test_links_and_devices_are_not_followed(kind, target):
    outcome = ingest(header("link.avro", 10**9, kind, target) + BEHIND, "n.tar")
    assert outcome.alert_ids == [2]
    assert outcome.skipped == ["n.tar#link.avro"]


@pytest.mark.parametrize("records", [{"size": str(2**60)}, {"size": "-1"}, {"size": "1e9"}, {"size": "0x10"}, {"size": "９"}])
def test_sizes_that_a_pax_header_claims(records):
    found = within(SMALL, 20, told, BEFORE + pax(records) + header("2.avro", 5) + blocks(b"12345"))
    assert found.alert_ids == [1]
    assert len(found.messages) == 1


def test_gzip_inside_gzip_inside_gzip_is_not_followed():
    inner = gzipped(zeros(256 * MIB))
    # Whatever is no archive is read up to the longest alert, 64 MiB, which are taken at once.
    found = within(SMALL + 64 * MIB, 20, told, gzipped([gzipped([inner])]))
    assert found.messages == ["not an alert but a gzip file inside a compressed file; unpack it once"]
    found = within(SMALL, 20, told, tar_of({"1.avro": PACKET, "bomb.avro": inner, "2.avro": SECOND}))
    assert found.alert_ids == [1, 2]
    assert "inside an archive" in found.messages[0]


def test_a_megabyte_of_bzip2_that_unpacks_to_a_terabyte_is_given_up():
    # 46 MB of zeros are 46 bytes; so many streams behind each other are a member of any length.
    stream = bz2.compress(bytes(46_000_000))
    size = 2**40
    packed = bz2.compress(tar_of({"1.avro": PACKET})[: len(BEFORE)] + header("zeros.avro", size)) + stream * 10_000
    found = within(SMALL, 60, told, packed)
    assert found.alert_ids == [1]
    assert f"the member claims {size} bytes" in found.messages[0]
    assert f"more than {MAX_UNPACKED_TIMES:,} times its length, the limit" in found.messages[1]
    assert len(found.messages) == 2


def test_zeros_behind_an_archive_in_xz_and_a_stream_that_asks_for_much_memory():
    packed = lzma.compress(tar_of({"1.avro": PACKET}) + bytes(2 * MAX_PADDING_BYTES), preset=0)
    found = within(SMALL, 20, told, packed)
    assert found.alert_ids == [1]
    assert f"more than {MAX_PADDING_BYTES} zeros" in found.messages[0]
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    greedy = bytearray(lzma.compress(PACKET, filters=filters))
    # The size of the dictionary, 4 GiB - 1, and the sum of the block's header.
    end = 12 + 4 * (greedy[12] + 1)
    at = greedy.index(b"\x21\x01", 12, end) + 2
    greedy[at] = 40
    greedy[end - 4 : end] = zlib.crc32(greedy[12 : end - 4]).to_bytes(4, "little")
    found = within(SMALL, 20, told, bytes(greedy))
    assert found.alert_ids == []
    assert "Memory usage limit exceeded" in found.messages[0]


def test_a_file_of_this_machine_is_never_what_a_member_names(tmp_path):
    # Whatever its name, a member's contents are the archive's own.
    secret = tmp_path / "secret.avro"
    secret.write_bytes(PACKET)
    outcome = ingest(tar_of({str(secret): SECOND}), "n.tar")
    assert outcome.alert_ids == [2]
    assert Path(outcome.rows[0]["source"].partition("#")[2]).is_absolute()
