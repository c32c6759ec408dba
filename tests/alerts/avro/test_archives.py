"""Tar archives and gzip streams, whole and damaged, as streams of members."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alerts.avro import archives
from alerts.avro.archives import READ_ERRORS, is_alert_name, is_tar, read_member, walk_tar
from alerts.avro.unpack import gunzip
from alerts.errors import UnreadableInput
from tests.alerts.making import examples, tar_of

LONG = "night/" + "x" * 180 + ".avro"
MEMBERS = {"1.avro": b"one", "2.avro": b"", "3.avro": b"three" * 300, "4.avro": bytes(512)}


def contents(archive: bytes, end_mark: bool = True) -> dict[str, bytes]:
    """The regular files of an archive."""
    walk = walk_tar(io.BytesIO(archive), end_mark=end_mark)
    return {member.name: read_member(member, stream) for member, stream in walk if member.is_file}


def read_into(pieces: list[bytes], stream: io.BufferedReader) -> None:
    while piece := stream.read1(2**20):
        pieces.append(piece)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header whose size need not be true."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("seekable", [True, False])
def test_the_members_of_an_archive_are_those_that_tarfile_finds(tar_format, seekable):
    archive = tar_of(MEMBERS, tar_format)
    found = {member.name: member for member, _ in walk_tar(io.BytesIO(archive), seekable=seekable)}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {one.name: (one.offset_data, one.size) for one in tar} == {
            name: (member.offset_bytes, member.size_bytes) for name, member in found.items()
        }
    assert contents(archive) == MEMBERS


def of_tarfile(block: bytes) -> tuple[str, bytes, int] | type[Exception]:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        return type(error)
    return info.name, info.type, info.size


def of_ours(block: bytes) -> tuple[str, bytes, int] | type[Exception]:
    try:
        return tuple(archives._parse(block))
    except tarfile.HeaderError as error:
        return type(error)


@examples(500)
@given(
    st.sampled_from(["1.avro", "night/1.avro", "nächte/1.avro", "x" * 99, "x" * 100, "x/" * 70 + "1", "folder/", "caf\udce9"]),
    st.sampled_from([0, 1, 511, 2**33 - 1, 2**33, 2**40]),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_SPARSE]),
    st.lists(st.tuples(st.integers(0, 511) | st.integers(100, 160), st.binary(min_size=1, max_size=13)), max_size=3),
    st.booleans(),
    st.integers(0, 512),
)
def test_a_header_is_understood_as_tarfile_understands_it(name, size, tar_format, kind, damages, mended, length):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    try:
        whole = info.tobuf(tar_format, errors="surrogateescape")[-512:]
    except ValueError:
        assume(False)  # a name or a size that ustar cannot tell
    block = bytearray(whole)
    for place, damage in damages:
        block[place : place + len(damage)] = damage[: 512 - place]
    if mended:
        # Mode, owner, time and device, which tarfile wants to understand and we do not need.
        for field in (slice(100, 124), slice(136, 148), slice(265, 345)):
            block[field] = whole[field]
        block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    for cut in (bytes(block), bytes(block[:length])):
        assert of_ours(cut) == of_tarfile(cut)


@pytest.mark.parametrize(
    "size", [b"000000000017", b"00000000001 ", b"0000000001 7", b" 00000000017", b"0000000009\0\0", b"1_0\0" * 3]
)
def test_sizes_written_in_other_ways(size):
    block = bytearray(header("1.avro", 0))
    block[124:136] = size
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    assert of_ours(bytes(block)) == of_tarfile(bytes(block))


@pytest.mark.parametrize("end", [b"\0 ", b" \0", b"\0\0", b"  ", b"\x01 ", b"7 "])
def test_checksums_ended_in_other_ways(end):
    block = bytearray(header("1.avro", 0))
    block[154:156] = end
    assert of_ours(bytes(block)) == of_tarfile(bytes(block))


def test_the_headers_of_nights_need_no_tarfile(monkeypatch):
    """Which they would get for being unusual, and nobody would notice but by the clock."""
    archive = tar_of(MEMBERS, tarfile.GNU_FORMAT) + tar_of(MEMBERS, tarfile.USTAR_FORMAT)
    monkeypatch.setattr(tarfile.TarInfo, "frombuf", lambda *_: pytest.fail("tarfile was asked"))
    assert [archives._parse(archive[:512]).name, archives._usual_header(bytes(512))] == ["1.avro", None]


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", [LONG, "nächte/Vulkan-Sternwarte.avro", "x" * 5000 + ".avro"])
def test_long_and_foreign_names_are_kept(tar_format, name):
    assert contents(tar_of({name: b"a", "short.avro": b"b"}, tar_format)) == {name: b"a", "short.avro": b"b"}


def test_a_name_that_is_no_unicode_can_still_be_written_down():
    (name,) = contents(header("caf\udce9.avro", 0) + bytes(1024))
    assert name.encode() == b"caf\\xe9.avro"


def test_pax_sizes_beyond_the_header_are_believed():
    info = tarfile.TarInfo("big.avro")
    info.size = 5
    info.pax_headers = {"size": "5"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"12345"))
    assert contents(out.getvalue()) == {"big.avro": b"12345"}


def test_folders_links_and_devices_are_members_but_no_files():
    kinds = [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
    # Some archivers note the target's size at a link, which has no contents of its own.
    archive = b"".join(header(f"{number}", 700, kind) for number, kind in enumerate(kinds)) + tar_of({"a.avro": b"alert"})
    found = [(member.name, member.is_file, member.size_bytes) for member, _ in walk_tar(io.BytesIO(archive))]
    assert found == [(f"{number}", False, 0) for number in range(len(kinds))] + [("a.avro", True, 5)]


def test_a_member_of_a_type_that_is_not_in_the_standard_is_passed_over_with_its_contents():
    archive = header("dump", 5, b"D") + b"12345".ljust(512, b"\0") + tar_of({"a.avro": b"alert"})
    assert [(member.name, member.is_file) for member, _ in walk_tar(io.BytesIO(archive))] == [("dump", False), ("a.avro", True)]


def test_an_archive_put_behind_another_is_read_too():
    assert list(contents(tar_of({"1.avro": b"1"}) + tar_of({"2.avro": b"2"}))) == ["1.avro", "2.avro"]


def test_a_header_overwritten_with_zeros_is_not_taken_for_the_end():
    archive = bytearray(tar_of({"1.avro": b"1", "2.avro": b"2" * 600, "3.avro": b"3"}))
    archive[1024:1536] = bytes(512)
    with pytest.raises(UnreadableInput, match="damaged header at byte 1536"):
        contents(bytes(archive))


def test_a_missing_end_mark_is_said_unless_the_checksum_of_a_gzip_stream_stands_for_it():
    archive = tar_of({"1.avro": b"1"})[:1024]
    with pytest.raises(UnreadableInput, match="ends at byte 1024 without an end mark"):
        contents(archive)
    assert contents(archive, end_mark=False) == {"1.avro": b"1"}


@pytest.mark.parametrize("length", [1, 100, 511, 513, 900, 1023, 1025, 1500, 2040])
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("end_mark", [True, False])
def test_a_cut_archive_says_that_it_is_cut(length, seekable, end_mark):
    archive = tar_of({"1.avro": b"1" * 500, "2.avro": b"2" * 500})[:length]
    with pytest.raises(UnreadableInput, match=r"cut short|damaged header|without an end mark"):
        list(walk_tar(io.BytesIO(archive), seekable=seekable, end_mark=end_mark))


def test_a_member_that_is_cut_is_not_given_out_as_whole():
    archive = tar_of({"1.avro": b"1" * 500})[:800]
    with pytest.raises(UnreadableInput, match=r"member '1\.avro' is cut short: 288 of 500 bytes"):
        contents(archive)


@pytest.mark.parametrize("size", [-1, -(2**40), 2**60, 2**80])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_sizes_beyond_reason_are_damage(size, kind):
    with pytest.raises(UnreadableInput, match="damaged header at byte 0"):
        contents(header("1.avro", size, kind) + tar_of({"2.avro": b"2"}))


@pytest.mark.parametrize(
    "records",
    [
        b"11 path=a\n garbage",
        b"999999 path=a\n",
        b"0 path=a\n",
        b"path=a\n",
        b"1" * 5000,
        b"12 size=-5\n\n",
        "13 size=²\n".encode() + b"\n",
        b"5019 size=" + b"9" * 5008 + b"\n",
    ],
)
def test_damaged_pax_headers_are_damage(records):
    archive = header("pax", len(records), tarfile.XHDTYPE) + records.ljust(-(-len(records) // 512) * 512, b"\0")
    with pytest.raises(UnreadableInput, match=r"pax header|damaged header"):
        contents(archive + tar_of({"2.avro": b"2"}))


def test_a_header_extension_that_claims_megabytes_is_not_read():
    with pytest.raises(UnreadableInput, match="header extension of 5000000 bytes"):
        contents(header("long", 5_000_000, tarfile.GNUTYPE_LONGNAME) + bytes(10_000))


def test_what_a_tar_archive_looks_like():
    assert is_tar(tar_of({"1.avro": b"1"}))
    assert is_tar(tar_of({}))
    assert is_tar(tar_of({LONG: b"1"}, tarfile.PAX_FORMAT))
    assert not is_tar(b"")
    assert not is_tar(bytes(600))
    assert not is_tar(b"Obj\x01" + bytes(1020))
    assert not is_tar(tar_of({"1.avro": b"1"})[:511])


@examples(100)
@given(
    st.lists(
        st.tuples(st.integers(0, 5119), st.binary(min_size=1, max_size=20)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_a_damaged_archive_gives_members_or_an_unreadable_input(damages, end_mark):
    archive = bytearray(tar_of({"1.avro": b"1" * 700, LONG: b"2" * 20, "3.avro": b"3" * 600}, tarfile.PAX_FORMAT)[:5120])
    for place, noise in damages:
        archive[place : place + len(noise)] = noise
    # Any other error is a failure of this test.
    with contextlib.suppress(UnreadableInput):
        contents(bytes(archive), end_mark)


@pytest.mark.parametrize(
    ("name", "may_hold_alerts"),
    [
        ("2560123456789012345.avro", True),
        ("../../etc/2560.avro", True),
        ("night/170112044529352779", True),
        ("message.bin", True),
        ("._2560.avro", False),
        ("night/._2560.avro", False),
        (".DS_Store", False),
        ("night/", True),
        ("..", False),
        ("", False),
        ("schema/candidate.avsc", False),
        ("README.md", False),
        ("ztf_public_20181129.tar.gz.MD5", False),
    ],
)
def test_side_files_of_an_archive_are_known_by_their_names(name, may_hold_alerts):
    assert is_alert_name(name) == may_hold_alerts


def test_gzip_members_that_follow_each_other_are_one_stream():
    parts = [b"a", b"", b"bc" * 1000, b"d"]
    stream = gunzip(io.BytesIO(b"".join(gzip.compress(part) for part in parts)))
    assert len(stream.peek(1024)) >= 1024
    assert stream.read() == b"".join(parts)


def test_everything_before_the_damage_of_a_gzip_stream_is_given_out():
    noise = zlib.compress(bytes(range(256)) * 40)  # does not shrink further
    stream = gzip.compress(noise * 20_000, 1)
    cut = stream[: len(stream) // 2]
    could_be_read = len(zlib.decompressobj(31).decompress(cut))
    opened = gunzip(io.BytesIO(cut))
    pieces: list[bytes] = []
    with pytest.raises(READ_ERRORS):
        read_into(pieces, opened)
    assert sum(map(len, pieces)) > could_be_read - 2**14
    with pytest.raises(READ_ERRORS):
        opened.read1(1)


@pytest.mark.parametrize("place", [-1, -6])
def test_a_wrong_checksum_or_length_of_a_gzip_stream_is_an_error(place):
    stream = bytearray(gzip.compress(b"alert" * 1000))
    stream[place] ^= 1
    with pytest.raises(READ_ERRORS):
        gunzip(io.BytesIO(bytes(stream))).read()
