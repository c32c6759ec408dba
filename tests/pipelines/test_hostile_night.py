"""A night with everything in it that means harm, through the whole pipeline: each input is accounted for."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from alerts.avro.packets import wrap_in_container
from alerts.avro.wire_schemas import writer_schema
from broker import warehouse
from tests.alerts.attacks import DATUM, MIB, gzipped, long, nested, varint, with_field, with_schema, zeros
from tests.alerts.making import ZTF_SCHEMA, as_text, container, tar_of, ztf_record
from tests.nights import run

NODE = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
NAMED_LIKE_SQL = as_text({**ZTF_SCHEMA, "name": "x'; DROP TABLE ztf_alerts; --", "namespace": ""})


def link() -> bytes:
    info = tarfile.TarInfo("link.avro")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT)


ATTACKS = {
    "nulls.avro": with_field(nested(1, "null"), long(2**40) + b"\0"),
    "deep.avro": with_field(NODE, b"\2" * 10**6 + b"\0"),
    "snappy.avro": wrap_in_container(writer_schema(as_text(ZTF_SCHEMA)), varint(2**32 - 1) + b"\0" * 6, 1, "snappy"),
    "records.avro": with_schema(as_text({"type": "record", "name": "ztf.alert", "fields": []}), b"", 2**40),
    "schema.avro": with_schema(as_text(ZTF_SCHEMA) + b" " * 2**18),
    "zeros.gz": gzipped(zeros(128 * MIB)),
    "wire.bin": b"\0\xff\xff\xff\xff" + DATUM,
}


@pytest.mark.parametrize("packed", [False, True], ids=["files", "tar"])
def test_a_night_of_attacks(tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool) -> None:
    good = {f"{number}.avro": container([ztf_record(number)]) for number in (1, 2, 3)}
    good["../../../4.avro"] = container([ztf_record(4)])
    good["sql.avro"] = with_schema(NAMED_LIKE_SQL)
    everything = {name: data for pair in zip([*good.items()], [*ATTACKS.items()], strict=False) for name, data in pair}
    everything |= good | ATTACKS
    night, place = tmp_path / "night", tmp_path / "warehouse"
    night.mkdir()
    if packed:
        (night / "night.tar").write_bytes(link() + tar_of(everything))
    else:
        for name, data in everything.items():
            (night / name.rpartition("/")[2]).write_bytes(data)
    assert run(place, night) == 0
    with warehouse.open(str(place)) as opened:
        assert sorted(row["alert_id"] for row in opened.query("SELECT alert_id FROM ztf_alerts").to_pylist()) == [1, 2, 3, 4]
        letters = opened.query("SELECT source, message FROM dead_letters").to_pylist()
    # A name that is no survey's is no survey's alert, whatever its fields.
    assert sorted(row["source"].rpartition("/")[2].rpartition("#")[2] for row in letters) == sorted([*ATTACKS, "sql.avro"])
    assert all("MemoryError" not in row["message"] for row in letters)
    # Nothing outside its folder was written, whatever members are called.
    assert sorted(one.name for one in tmp_path.iterdir()) == ["night", "warehouse"]


def test_an_archive_and_its_warehouse_may_be_named_like_sql(tmp_path: Path) -> None:
    night = tmp_path / "'; DROP TABLE ztf_alerts; -- [a]"
    night.mkdir()
    (night / "it's.tar").write_bytes(tar_of({"'; --.avro": container([ztf_record(5)]), "bad'": b"<html>"}))
    place = tmp_path / "ware'house"
    for _ in range(2):
        assert run(place, night) == 0
    with warehouse.open(str(place)) as opened:
        [row] = opened.query("SELECT alert_id, source FROM ztf_alerts").to_pylist()
        assert row["source"].endswith("/it's.tar#'; --.avro")
        [letter] = opened.query("SELECT source, attributes FROM dead_letters").to_pylist()
        assert letter["source"].endswith("/it's.tar#bad'")
        assert json.loads(letter["attributes"])["run_id"]
