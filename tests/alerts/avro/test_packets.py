"""Framing: Avro container files and wire messages, whole and damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib

import cramjam
import fastavro
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro import packets
from alerts.avro.decompress import decompress
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet, open_container, open_packets, wrap_in_container
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.errors import DeadLetter, UnreadableInput
from alerts.limits import MAX_PAYLOAD_BYTES
from tests.alerts.making import (
    LSST_SCHEMA,
    SYNC,
    ZTF_SCHEMA,
    container,
    cut_lengths,
    datum,
    examples,
    filled,
    ingest,
    lsst_record,
    wire_message,
    ztf_packet,
    ztf_record,
)

NIGHT = [ztf_record(candid) for candid in (101, 102, 103, 104, 105, 106)]
CODECS = ["null", "deflate", "snappy", "zstandard"]


def block_header_at(packet: bytes) -> int:
    """Where the first block's count of records stands: behind the header's sync marker."""
    return packet.index(SYNC) + len(SYNC)


def replaced(packet: bytes, old: bytes, new: bytes) -> bytes:
    assert packet.count(old) == 1
    return packet.replace(old, new)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("per_block", [1, 2, 6])
def test_all_alerts_of_a_container_come_out_in_order(codec, per_block):
    outcome = ingest(container(NIGHT, codec=codec, per_block=per_block))
    assert outcome.alert_ids == [101, 102, 103, 104, 105, 106]
    assert not outcome.letters


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000, 4096])
def test_a_container_reads_the_same_however_its_bytes_arrive(monkeypatch, chunk_bytes):
    file = container(NIGHT[:3], per_block=2)
    whole = list(open_packets(file, "night.avro", WireSchemas()))
    monkeypatch.setattr(packets, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(packets, "MAX_PAYLOAD_BYTES", 100)
    monkeypatch.setattr(packets, "_headers", [])
    stream = io.BufferedReader(io.BytesIO(file), 1)
    read = list(open_container(stream, "night.avro"))
    assert [bytes(one.datum) for one in read if isinstance(one, Packet)] == [bytes(one.datum) for one in whole]


def test_a_packet_is_the_datum_without_its_framing():
    record = lsst_record()
    (in_a_message,) = open_packets(wire_message(record), "m", WireSchemas())
    (in_a_file,) = open_packets(container([record], LSST_SCHEMA), "f", WireSchemas())
    assert bytes(in_a_message.datum) == bytes(in_a_file.datum) == datum(record, LSST_SCHEMA)


def test_the_digest_is_of_the_datum_whatever_the_framing_and_the_codec():
    digest = xxhash.xxh3_128_digest(datum(NIGHT[0], ZTF_SCHEMA))
    for codec in CODECS:
        assert [row["packet_digest"] for row in ingest(container(NIGHT[:1], codec=codec)).rows] == [digest]


def test_a_cut_packet_is_one_dead_letter_that_keeps_its_bytes():
    packet = ztf_packet()
    for length in cut_lengths(packet):
        letter = ingest(packet[:length], "cut.avro").the_letter()
        assert letter.payload == packet[:length]
        assert letter.source == "cut.avro"
        assert letter.stage == "read"


def test_a_cut_wire_message_is_one_dead_letter_that_keeps_its_bytes():
    message = wire_message(lsst_record())
    for length in cut_lengths(message):
        assert ingest(message[:length], "cut.bin").the_letter().payload == message[:length]


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"


def a_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("1.avro", b"Obj")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty (0 bytes)"),
        (
            b"candid,jd,ra,dec\n1,2,3,4\n",
            "neither an Avro container, a wire message nor an archive: it begins with b'candid,jd,ra,de",
        ),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "web page"),
        (b"  \n<?xml version='1.0'?>", "web page or XML"),
        (b"<html><head><title>Log in</title>", "a web page (Log in), an error or a login saved in its place; download it again"),
        (LFS_POINTER, "a Git LFS pointer, which only names the file; fetch it with: git lfs pull"),
        (b"/annex/objects/SHA256E-s1--2.avro\n", "a git-annex pointer"),
        (a_zip(), "a .zip archive; unpack it, and give the files in it or a .tar of them"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a .7z archive; unpack it"),
        (b"Rar!\x1a\x07\x01\0", "a .rar archive; unpack it"),
        (b"Rar!\x1a\x07\0\xcf", "a .rar archive; unpack it"),
        (bytes(cramjam.zstd.compress(b"Obj\1")), "a Zstandard file (.zst); unpack it first, with: zstd -d"),
        (b"\x1f\x9d\x90O", "a file of Unix compress (.Z)"),
        (b"PAR1\x15\0", "a Parquet file, which holds rows and no packets"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (b'{"type": "record", "name": "a", "fields": []}', "an Avro schema (.avsc), without alerts; .* --schemas"),
        (b'{"candid": 1', "JSON; alerts are read as Avro containers and wire messages"),
        (b'[{"candid": 1}]', "JSON; alerts are read as Avro containers and wire messages"),
        (b"\0\0\0\1Bud1\0", "a .DS_Store"),
        (b"BZh91 is no bzip2", "neither an Avro container"),
        (b"Obj\x02" + bytes(50), "neither an Avro container"),
        (b"Obj", "neither an Avro container"),
        (b"\0", "wire message of 1 bytes holds no alert"),
        (b"\0\0\0\x03\xe8", "wire message of 5 bytes holds no alert"),
        (bytes(300), "wire schema id 0 is not known"),
    ],
)
def test_what_is_no_alert_says_what_it_looks_like(data, reason):
    letter = ingest(data, "thing").the_letter()
    assert re.search(re.escape(reason).replace(r"\.\*", ".*"), letter.message)
    assert (letter.stage, letter.source, letter.payload) == ("read", "thing", data)


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_what_is_compressed_twice_is_not_unpacked_twice(pack, name):
    letter = ingest(pack(pack(ztf_packet())), "thing").the_letter()
    assert letter.message.startswith(f"not an alert but a {name} file inside a compressed file; unpack it once")


def test_an_unknown_wire_schema_names_its_id_and_the_remedy():
    letter = ingest(wire_message(lsst_record(), schema_id=1234)).the_letter()
    assert letter.error_type == "UnknownSchema"
    assert "1234" in letter.message
    assert "--schemas" in letter.message


@pytest.mark.parametrize("behind", [b"\0", b"another alert?"])
def test_bytes_behind_the_alert_of_a_wire_message_are_found(behind):
    letter = ingest(wire_message(lsst_record()) + behind).the_letter()
    assert letter.stage == "decode"
    assert f"{len(behind)} bytes are left behind the end of the alert" in letter.message
    assert letter.payload == wire_message(lsst_record()) + behind


def test_a_container_without_records_says_so():
    assert "holds no record" in ingest(container([])).the_letter().message
    empty_block = container([]) + b"\0\0" + SYNC
    assert "holds no record" in ingest(empty_block).the_letter().message


def test_an_empty_block_between_others_is_nothing_to_complain_of():
    first, second = container(NIGHT[:1]), container(NIGHT[1:2])
    outcome = ingest(first + b"\0\0" + SYNC + second[block_header_at(second) :])
    assert outcome.alert_ids == [101, 102]
    assert not outcome.letters


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{}", "not valid Avro"),
        (b"not JSON", "not valid Avro (JSONDecodeError"),
        (b"null", "not valid Avro"),
        (b'{"type": "record", "name": "ztf.alert", "fields": [{"name": "x", "type": "number"}]}', "number"),
        (b'{"type": "record", "name": "ztf.alert", "fields": 5}', "not valid Avro"),
        (b'{"type": "record", "name": "a\\ud800", "fields": []}', "not valid Avro (UnicodeEncodeError"),
        (b"\xff\xfe\xfd", "not valid Avro"),
        (b"[" * 100_000, "not valid Avro (RecursionError"),
    ],
)
def test_a_header_whose_schema_is_not_avro_is_a_dead_letter(text, reason):
    # As wrap_in_container writes it, but with a text that no WriterSchema can be made of.
    fine = writer_schema(b'"int"')
    object.__setattr__(bad := type(fine)(b'"int"'), "text", text)
    assert reason in ingest(wrap_in_container(bad, b"\2")).the_letter().message


def test_an_unknown_codec_is_named_together_with_the_known_ones():
    letter = ingest(replaced(ztf_packet(), b"\x08null", b"\x08lzma")).the_letter()
    assert "codec 'lzma' is not one of null, deflate, snappy, zstandard" in letter.message


def test_a_header_without_a_schema_is_a_dead_letter():
    letter = ingest(replaced(ztf_packet(), b"avro.schema", b"avro.schemb")).the_letter()
    assert "holds no avro.schema" in letter.message


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_comes_before_a_damaged_sync_marker_comes_out(in_memory):
    file = container(NIGHT, per_block=2)
    third = file.index(SYNC, file.index(SYNC, block_header_at(file)) + 16)
    damaged = file[:third] + b"\xee" + file[third + 1 :]
    reader = open_packets(damaged, "n", WireSchemas()) if in_memory else read_input(io.BytesIO(damaged), "n", WireSchemas())
    *good, letter = reader
    assert [one for one in good if isinstance(one, DeadLetter)] == []
    assert len(good) == 2
    assert isinstance(letter, DeadLetter)
    assert "sync marker" in letter.message
    assert letter.payload == damaged


@pytest.mark.parametrize("codec", ["deflate", "snappy", "zstandard"])
def test_a_block_that_does_not_decompress_leaves_the_other_blocks_alone(codec):
    file = container(NIGHT, codec=codec, per_block=2)
    second = file.index(SYNC, block_header_at(file)) + 16
    damaged = file[: second + 5] + b"\xff" * 8 + file[second + 13 :]
    outcome = ingest(damaged)
    letter = outcome.one_letter()
    assert outcome.alert_ids == [101, 102, 105, 106]
    assert letter.attributes["records_lost"] == 2
    assert f"the {codec} block" in letter.message
    again = ingest(letter.payload or b"").the_letter()
    assert again.attributes["records_lost"] == 2


@pytest.mark.parametrize(
    ("codec", "data", "says"),
    [
        ("zstandard", b"", "it is empty"),
        ("deflate", zlib.compress(bytes(10_000), wbits=-15)[:-4], "it is cut short"),
        ("snappy", b"", ""),
    ],
)
def test_a_block_of_nothing_or_of_a_part_is_none(codec, data, says):
    with pytest.raises(UnreadableInput, match=f"the {codec} block before byte 99 does not decompress: {says}"):
        decompress(codec, data, 99)


def test_a_snappy_block_whose_checksum_is_wrong_is_not_believed():
    file = container(NIGHT[:1], codec="snappy")
    end_of_block = file.rindex(SYNC)
    damaged = file[: end_of_block - 1] + bytes([file[end_of_block - 1] ^ 1]) + SYNC
    assert "its checksum is wrong" in ingest(damaged).the_letter().message


def test_a_damaged_record_leaves_the_other_blocks_alone():
    file = container(NIGHT, per_block=3)
    text = b"ZTF18abcdefg"
    second = file.index(text, file.index(text) + 1)  # objectId of the second alert
    damaged = file[: second - 1] + b"\xff" + file[second:]
    outcome = ingest(damaged)
    letter = outcome.one_letter()
    assert outcome.alert_ids == [101, 104, 105, 106]
    assert "record 2 of 3 in a block is damaged" in letter.message
    assert letter.attributes["records_lost"] == 2


@pytest.mark.parametrize(
    ("count", "rows", "reason"),
    [
        (0, 0, "bytes are left behind the 0 records"),
        (1, 0, "bytes are left behind the end of the alert"),
        (2, 2, "bytes are left behind the 2 records"),
        (4, 3, "record 4 of 4 in a block is damaged"),
        (-1, 0, "the block header before byte"),
    ],
)
def test_a_block_that_miscounts_its_alerts_loses_none_in_silence(count, rows, reason):
    file = container(NIGHT[:3])
    at = block_header_at(file)
    assert file[at] == 3 * 2  # zigzag
    zigzag = count * 2 if count >= 0 else -count * 2 - 1
    outcome = ingest(file[:at] + bytes([zigzag]) + file[at + 1 :])
    assert len(outcome.rows) == rows
    assert reason in outcome.one_letter().message


@pytest.mark.parametrize("claimed", [2**33, 2**62, -1])
def test_a_length_that_claims_gigabytes_is_not_believed(claimed):
    file = container(NIGHT[:1])
    length = io.BytesIO()
    fastavro.schemaless_writer(length, {"type": "long"}, claimed)
    at = block_header_at(file) + 1
    damaged = file[:at] + length.getvalue() + file[at + 3 :]
    assert str(claimed) in ingest(damaged).the_letter().message
    in_the_header = b"Obj\x01" + length.getvalue() * 3 + file[10:]
    assert "header is damaged" in ingest(in_the_header).the_letter().message


def test_a_dead_letter_among_others_is_a_container_that_can_be_read_again():
    no_time = ztf_record(102, jd=float("nan"))
    outcome = ingest(container([NIGHT[0], no_time, NIGHT[2]]))
    letter = outcome.one_letter()
    assert outcome.alert_ids == [101, 103]
    (record,) = fastavro.reader(io.BytesIO(letter.payload or b""))
    assert record["candid"] == 102


def test_an_input_that_is_too_large_to_keep_is_left_out_of_its_dead_letter():
    huge = b"not an alert " * (MAX_PAYLOAD_BYTES // 13 + 1)
    assert ingest(huge).the_letter().payload is None
    assert ingest(huge[:MAX_PAYLOAD_BYTES]).the_letter().payload == huge[:MAX_PAYLOAD_BYTES]


def test_what_a_message_brings_goes_into_its_packet_or_its_dead_letter():
    attributes = {"topic": "alerts", "partition": 3}
    (packet,) = open_packets(wire_message(lsst_record()), "m", WireSchemas(), attributes=attributes)
    (letter,) = open_packets(b"nothing", "m", WireSchemas(), attributes=attributes)
    assert packet.attributes == letter.attributes == attributes


def test_every_kind_of_avro_value_survives_the_framing():
    schema = {
        "type": "record",
        "name": "things",
        "fields": [
            {"name": kind, "type": kind} for kind in ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
        ],
    }
    record = filled(schema)
    (packet,) = open_packets(container([record], schema), "t", WireSchemas())
    assert isinstance(packet, Packet)
    assert fastavro.schemaless_reader(io.BytesIO(packet.datum), packet.schema.parsed, None) == record
    assert json.loads(packet.schema.text)["name"] == "things"


ONE = ztf_packet(7)
TWO_HEADERS = [ONE, container([lsst_record(8)], LSST_SCHEMA)]


def in_words(data: bytes) -> list[tuple]:
    return [
        (one.datum.tobytes(), one.schema, one.alone, one.as_sent()) if isinstance(one, Packet) else (one.message, one.payload)
        for one in open_packets(data, "source", WireSchemas())
    ]


def assert_opened_alike(data: bytes) -> None:
    """With its header known and with no header known, when it is read step by step."""
    for known in TWO_HEADERS:
        list(open_packets(known, "", WireSchemas()))
    quickly = in_words(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "_usual_container", lambda *_: None)
        assert quickly == in_words(data)


@examples(500)
@given(
    st.sampled_from([ONE, *TWO_HEADERS, container(NIGHT), container(NIGHT[:1], codec="deflate"), container([])]),
    st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=6), st.booleans()), max_size=2),
    st.integers(0, 40),
    st.sampled_from([b"", b"\0", SYNC, ONE]),
)
def test_a_usual_container_is_opened_as_any_other(packet, damages, cut, behind):
    data = bytearray(packet)
    for place, damage, inserted in damages:
        # Around the block's header, where the two ways differ.
        at = packet.index(SYNC) + place
        data[at : at + (0 if inserted else len(damage))] = damage
    assert_opened_alike(bytes(data[: len(data) - cut]) + behind)


@pytest.mark.parametrize("count", [b"\2", b"\1", b"\4", b"\0"])
@pytest.mark.parametrize("more", range(-3, 4))
@pytest.mark.parametrize("width", range(1, 7))
def test_sizes_that_nearly_fit_and_are_longer_than_they_need_be(count, more, width):
    begin = block_header_at(ONE)
    datum = ONE[begin + 3 : -len(SYNC)]
    assert ONE[begin : begin + 3] == b"\2" + ONE[begin + 1 : begin + 3]
    size = 2 * (len(datum) + more)
    bytes_of = [(size >> 7 * place & 0x7F) | (0x80 if place < width - 1 else 0) for place in range(width)]
    assert_opened_alike(ONE[:begin] + count + bytes(bytes_of) + datum + SYNC)


def test_a_usual_container_is_opened_in_one_step(monkeypatch):
    list(open_packets(ONE, "", WireSchemas()))
    monkeypatch.setattr(packets, "_container", lambda *_: pytest.fail("it was read step by step"))
    (packet,) = open_packets(ztf_packet(8), "1.avro", WireSchemas())
    assert isinstance(packet, Packet)
    assert (packet.source, packet.alone, packet.as_sent()) == ("1.avro", True, ztf_packet(8))
