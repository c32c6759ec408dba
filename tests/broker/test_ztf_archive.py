"""``broker.ztf_archive`` on nights that are here: what it gives is what fastavro and tarfile give, wherever it reads it."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from alerts.limits import MIN_ALERT_BYTES
from broker import ztf_archive as ztfa
from broker.archive import index
from broker.simulate import simulate_packets
from tests.broker.archive_server import pack, simulated_members
from tests.conftest import RealData

NIGHT = "ztf_public_20260917.tar.gz"
REAL = {
    "ztf_public_20180626.tar.gz": "ztf_public_20180626.tar.gz",
    "ztf_public_20180819_mod1000.tar.gz": "ztf_public_20180819.tar.gz",
    "ztf_public_20200202.tar.gz": "ztf_public_20200202.tar.gz",
    "ztf_public_20240715.tar.gz": "ztf_public_20240715.tar.gz",
}


def packets_in(archive: Path) -> list[bytes]:
    """The members of an archive by the standard library."""
    with tarfile.open(archive) as packed:
        return [packed.extractfile(member).read() for member in packed if member.isfile()]


def record_in(packet: bytes) -> dict[str, Any]:
    """The one record of a packet by nothing but fastavro."""
    [record] = fastavro.reader(io.BytesIO(packet))
    return record


def same(one: Any, other: Any) -> bool:
    """Whether two records are the same to the last bit and type; NaN is NaN."""
    return repr(one) == repr(other)


@pytest.fixture(scope="module")
def real_nights(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for source, name in REAL.items():
        shutil.copy(real_data / f"ztf/nightly/{source}", folder / name)
    return folder


@pytest.fixture(scope="module")
def large_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one night of some 40 MB, of two gzip members as ``cat`` makes them."""
    members = simulated_members(alerts=800, seed=6)
    folder = tmp_path_factory.mktemp("large")
    for last, half in ((False, members[:300]), (True, members[300:])):
        with (folder / NIGHT).open("ab") as night:
            night.write(pack(folder / "half", half, end_mark=last).read_bytes())
    (folder / "half").unlink()
    return folder


# All alerts


def test_iter_alerts_gives_what_fastavro_gives(real_nights: Path, caplog: pytest.LogCaptureFixture) -> None:
    packets = [packet for name in sorted(REAL.values()) for packet in packets_in(real_nights / name)]
    assert list(ztfa.iter_alerts(raw=True, folder=real_nights)) == packets
    for alert, packet in itertools.zip_longest(ztfa.iter_alerts(folder=real_nights), packets):
        assert type(alert) is dict
        assert same(alert, record_in(packet))
    assert ztfa.get_local_alert_list(folder=real_nights) == [record_in(packet)["candid"] for packet in packets]
    assert ztfa.get_number_local_alerts(folder=real_nights) == len(packets) == 100 + 30 + 12 + 10
    assert ztfa.get_local_release_list(folder=real_nights) == sorted(REAL.values())
    assert ztfa.get_number_local_releases(folder=real_nights) == 4
    assert not caplog.records, "nothing is wrong with these nights, end mark or not"


def test_iter_alerts_in_lists(real_nights: Path) -> None:
    alone = [alert["candid"] for alert in ztfa.iter_alerts(folder=real_nights)]
    lists = [[alert["candid"] for alert in some] for some in ztfa.iter_alerts(40, folder=real_nights)]
    assert [len(one) for one in lists] == [40, 40, 40, 32]  # across nights
    assert list(itertools.chain(*lists)) == alone
    raw = list(ztfa.iter_alerts(76, True, folder=real_nights))
    assert [len(one) for one in raw] == [76, 76]
    assert all(isinstance(packet, bytes) for packet in raw[0])
    with pytest.raises(ValueError, match="0 is too few"):
        ztfa.iter_alerts(0, folder=real_nights)


@pytest.mark.parametrize("release", ["20180819", "2018-08-19", "ztf_public_20180819.tar.gz", date(2018, 8, 19)])
def test_iter_alerts_of_one_night(real_nights: Path, release: str | date) -> None:
    # This real night ends without the end mark of a tar file.
    found = list(ztfa.iter_alerts(release=release, raw=True, folder=real_nights))
    assert found == packets_in(real_nights / "ztf_public_20180819.tar.gz")
    assert len(found) == 30


def test_a_night_that_is_not_here_is_refused_with_the_remedy(real_nights: Path) -> None:
    with pytest.raises(ztfa.NoSuchRelease, match=r"download_data_date\(2018, 6, 1\)"):
        ztfa.iter_alerts(release="20180601", folder=real_nights)
    for wrong in ("yesterday", "20181301"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no night"):
            ztfa.iter_alerts(release=wrong, folder=real_nights)


def test_no_data_yet(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert ztfa.get_local_release_list(folder=folder) == ztfa.get_local_alert_list(folder=folder) == []
        assert ztfa.get_number_local_releases(folder=folder) == ztfa.get_number_local_alerts(folder=folder) == 0
        for call in (lambda where: ztfa.iter_alerts(folder=where), lambda where: ztfa.get_alert_data(1, folder=where)):
            with pytest.raises(ztfa.NoLocalData, match=r"ztf_archive\.download_data\(\) gets the most recent") as caught:
                call(folder)
            assert isinstance(caught.value, LookupError)
        ztfa.delete_local_data(folder=folder)


def test_where_data_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PITT_BROKER_DATA", str(tmp_path / "data"))
    members = simulated_members(alerts=3)
    pack(tmp_path / "home" / "pitt-broker" / "ztf_archive" / NIGHT, members)
    pack(tmp_path / "data" / "ztf_archive" / NIGHT, members[:2])
    pack(tmp_path / "argument" / NIGHT, members[:1])
    assert ztfa.get_number_local_alerts(folder=tmp_path / "argument") == 1
    assert ztfa.get_number_local_alerts() == 2
    monkeypatch.delenv("PITT_BROKER_DATA")
    assert ztfa.get_number_local_alerts() == 3
    assert len(list(ztfa.iter_alerts())) == 3


def test_a_night_without_alerts(tmp_path: Path) -> None:
    empty = pack(tmp_path / NIGHT, [])
    assert empty.stat().st_size < 300
    (tmp_path / "ztf_public_20260918.tar.gz").write_bytes(gzip.compress(b""))
    assert list(ztfa.iter_alerts(folder=tmp_path)) == []
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 0
    assert ztfa.get_number_local_releases(folder=tmp_path) == 2
    with pytest.raises(ztfa.UnknownAlert, match="no alert 7 is in the 2 nights"):
        ztfa.get_alert_data(7, folder=tmp_path)


# One alert


def test_get_alert_data_gives_what_fastavro_gives(real_nights: Path) -> None:
    for name in REAL.values():
        packets = packets_in(real_nights / name)
        assert packets
        for packet in packets[::7]:
            candid = record_in(packet)["candid"]
            assert same(ztfa.get_alert_data(candid, folder=real_nights), record_in(packet))
            assert ztfa.get_alert_data(np.int64(candid), raw=True, folder=real_nights) == packet


def test_an_alert_is_found_in_a_night_of_another_date(real_nights: Path) -> None:
    # The first alert of this night is of 11 January; its candid says so.
    [packet, *_] = packets_in(real_nights / "ztf_public_20200202.tar.gz")
    assert ztfa.get_alert_data(1105522281015015000, raw=True, folder=real_nights) == packet


def test_get_alert_data_refuses(real_nights: Path) -> None:
    for unknown in (1, -1, 541173242915015028, 2**62, -(2**63), 2**64):
        with pytest.raises(ztfa.UnknownAlert) as caught:
            ztfa.get_alert_data(unknown, folder=real_nights)
        assert isinstance(caught.value, KeyError)
        assert str(caught.value).startswith(f"no alert {unknown} is in the 4 nights in {real_nights}; ")
    for wrong in (541173242915015029.0, "541173242915015029", None):
        with pytest.raises(TypeError):
            ztfa.get_alert_data(wrong, folder=real_nights)


def test_an_alert_may_be_named_by_a_row(real_nights: Path) -> None:
    candid = ztfa.get_local_alert_list(folder=real_nights)[0]
    row = {"survey": "ztf", "alert_id": candid, "night": date(2018, 11, 29)}
    assert ztfa.get_alert_data(row, folder=real_nights)["candid"] == candid


def test_of_copies_the_first_is_given(real_data: RealData, tmp_path: Path) -> None:
    # The survey's samples of schema 3.0 and 3.1 have one candid, and so have those of 3.2 and 3.3.
    samples = real_data.glob("ztf/by_version/v3.[0123]*.avro")
    packets = [sample.read_bytes() for sample in samples]
    candids = [record_in(packet)["candid"] for packet in packets]
    assert sorted(Counter(candids).values()) == [2, 2]
    pack(tmp_path / NIGHT, [(sample.name, packet) for sample, packet in zip(samples, packets, strict=True)])
    assert ztfa.get_local_alert_list(folder=tmp_path) == candids
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 4
    for packet in (packets[0], packets[2]):
        assert ztfa.get_alert_data(record_in(packet)["candid"], raw=True, folder=tmp_path) == packet
    # All versions of the schema, negative candids among them.
    everything = real_data.glob("ztf/by_version/*.avro")
    pack(tmp_path / "ztf_public_20260918.tar.gz", [(sample.name, sample.read_bytes()) for sample in everything])
    (tmp_path / NIGHT).unlink()
    for sample in everything:
        candid = record_in(sample.read_bytes())["candid"]
        first = next(one for one in everything if record_in(one.read_bytes())["candid"] == candid)
        assert same(ztfa.get_alert_data(candid, folder=tmp_path), record_in(first.read_bytes())), sample.name


def test_several_records_in_one_member(real_data: RealData, tmp_path: Path) -> None:
    several = (real_data / "ztf/multi_record/fink_20260322_part-3.avro").read_bytes()
    records = list(fastavro.reader(io.BytesIO(several)))
    pack(tmp_path / NIGHT, [("part-3.avro", several)])
    assert ztfa.get_number_local_alerts(folder=tmp_path) == len(records) == 31
    assert same(list(ztfa.iter_alerts(folder=tmp_path)), records)
    for record, packet in zip(records, ztfa.iter_alerts(raw=True, folder=tmp_path), strict=True):
        assert same(record_in(packet), record)
        assert same(ztfa.get_alert_data(record["candid"], folder=tmp_path), record)
        assert ztfa.get_alert_data(record["candid"], raw=True, folder=tmp_path) == packet


def test_side_files_are_no_alerts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    [(name, packet)] = simulated_members(alerts=1)
    pack(tmp_path / NIGHT, [("20260917/", b""), ("._x.avro", b"?"), ("README.md", b"read"), (f"20260917/{name}", packet)])
    assert list(ztfa.iter_alerts(raw=True, folder=tmp_path)) == [packet]
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 1
    assert not caplog.records


# Damage


def test_damaged_members_are_skipped_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    night = list(simulate_packets(survey="ztf", alerts=30, duplicates=3, damaged=12, seed=8))
    # A packet whose time is NaN can be read; what to make of it is for the reader to decide.
    bad = [packet.name for packet in night if packet.truth.damage not in (None, "nan_time")]
    good = [packet.data for packet in night if packet.truth.damage in (None, "nan_time")]
    assert (len(good), len(bad)) == (30 + 3 + 2, 10)
    pack(tmp_path / NIGHT, [(packet.name, packet.data) for packet in night])

    def one_warning() -> None:
        [warning] = [record for record in caplog.records if record.name == "broker.ztf_archive"]
        assert warning.levelno == logging.WARNING
        assert warning.getMessage().startswith(f"{NIGHT}: skipped 10 that cannot be read: {bad[0]} (")
        assert all(name in warning.getMessage() for name in bad[:5])
        assert warning.getMessage().endswith("; and 5 more")
        caplog.clear()

    assert list(ztfa.iter_alerts(raw=True, folder=tmp_path)) == good
    one_warning()
    records = list(ztfa.iter_alerts(folder=tmp_path))
    one_warning()
    assert same(records, [record_in(packet) for packet in good])
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 35
    one_warning()
    assert ztfa.get_local_alert_list(folder=tmp_path) == [record["candid"] for record in records]
    for packet in good:
        assert ztfa.get_alert_data(record_in(packet)["candid"], raw=True, folder=tmp_path) == packet
    assert not caplog.records  # the index has told once


def container(schema: dict[str, Any], *candids: object) -> bytes:
    """An Avro container file of records that hold only a candid, and as many bytes as an alert has at least."""
    out = io.BytesIO()
    records = [{"candid": candid, "filler": bytes(MIN_ALERT_BYTES)} for candid in candids]
    fastavro.writer(out, schema, records, sync_marker=bytes(16))
    return out.getvalue()


def test_an_alert_without_a_candid_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fields = [{"name": "candid", "type": ["null", "long", "string"]}, {"name": "filler", "type": "bytes"}]
    schema = {"name": "ztf.alert", "type": "record", "fields": fields}
    packets = [container(schema, candid) for candid in (None, "12", 12)]
    pack(tmp_path / NIGHT, [(f"{number}.avro", packet) for number, packet in enumerate(packets)])
    assert list(ztfa.iter_alerts(raw=True, folder=tmp_path)) == packets[2:]
    assert [alert["candid"] for alert in ztfa.iter_alerts(folder=tmp_path)] == [12]
    assert ztfa.get_alert_data(12, folder=tmp_path)["candid"] == 12
    assert "skipped 2 that cannot be read: 0.avro (its candid is None); 1.avro (its candid is '12')" in caplog.text
    # All in one file: the good one is still found.
    pack(tmp_path / NIGHT, [("all.avro", container(schema, None, "12", 12, 13))])
    assert [ztfa.get_alert_data(candid, folder=tmp_path)["candid"] for candid in (12, 13)] == [12, 13]


@pytest.fixture(scope="module")
def members() -> list[tuple[str, bytes]]:
    return simulated_members(alerts=200, seed=9)


@pytest.mark.parametrize("damage", ["cut", "cut in the checksum", "bits", "garbage behind", "no gzip", "empty"])
def test_a_damaged_archive_gives_what_comes_before(
    tmp_path: Path, damage: str, members: list[tuple[str, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    archive = pack(tmp_path / NIGHT, members)
    whole = archive.read_bytes()
    half = len(whole) // 2
    archive.write_bytes(
        {
            "cut": whole[:half],
            "cut in the checksum": whole[:-6],
            "bits": whole[:half] + bytes(64) + whole[half + 64 :],
            "garbage behind": whole + b"garbage" * 10,
            "no gzip": b"<html>" + whole[6:],
            "empty": b"",
        }[damage]
    )
    found = list(ztfa.iter_alerts(raw=True, folder=tmp_path))
    # The last 16 KB before the damage are lost with it.
    expected = {"cut": 100, "bits": 100, "cut in the checksum": 200, "garbage behind": 200, "no gzip": 0, "empty": 0}[damage]
    assert len(found) == pytest.approx(expected, abs=1 if expected != 100 else 10)
    assert found == [packet for _, packet in members[: len(found)]]
    assert ("that cannot be read: " in caplog.text) == (damage != "empty")
    assert [one["candid"] for one in ztfa.iter_alerts(folder=tmp_path)] == ztfa.get_local_alert_list(folder=tmp_path)
    assert ztfa.get_number_local_alerts(folder=tmp_path) == len(found)
    for packet in found[::9] + found[-1:]:
        assert ztfa.get_alert_data(record_in(packet)["candid"], raw=True, folder=tmp_path) == packet


# The index


def read_bytes() -> int:
    """Bytes this process has read so far, by the kernel's own count."""
    with open("/proc/self/io") as counts:
        return int(counts.readline().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel does not count")
def test_random_access_reads_little_of_the_night(large_night: Path) -> None:
    size = (large_night / NIGHT).stat().st_size
    start = read_bytes()
    candids = ztfa.get_local_alert_list(folder=large_night)
    packets = packets_in(large_night / NIGHT)
    assert read_bytes() - start > size, "this count sees what is read"
    assert len(candids) == len(packets) == 800
    index._unpacked.cache_clear()  # as a new process would begin
    for number in [0, 799, 299, 300, *range(5, 800, 50)]:
        before = read_bytes()
        assert ztfa.get_alert_data(candids[number], raw=True, folder=large_night) == packets[number]
        # 4 MB unpacked at most, and at first the restart points.
        assert read_bytes() - before < size / 5
    before = read_bytes()
    assert ztfa.get_number_local_alerts(folder=large_night) == 800
    assert read_bytes() - before < size / 1000
    assert (large_night / f"{NIGHT}.index").stat().st_size < 0.02 * size


def test_many_threads_at_once(large_night: Path) -> None:
    candids = ztfa.get_local_alert_list(folder=large_night)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda candid: ztfa.get_alert_data(candid, folder=large_night)["candid"], candids[::8]))
    assert found == candids[::8]


def test_the_index_is_made_once_and_again_for_another_night_of_the_name(tmp_path: Path) -> None:
    members = simulated_members(alerts=6, seed=1)
    archive = pack(tmp_path / NIGHT, members[:3])
    made = tmp_path / f"{NIGHT}.index"
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 3
    identity = made.stat().st_ino, made.stat().st_mtime_ns
    last = record_in(members[2][1])["candid"]
    assert ztfa.get_alert_data(last, raw=True, folder=tmp_path) == members[2][1]
    assert (made.stat().st_ino, made.stat().st_mtime_ns) == identity
    # Another size, then the same size and another time of change.
    pack(archive, members)
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 6
    archive.write_bytes(archive.read_bytes())
    os.utime(archive, ns=(1, 1))
    identity = made.stat().st_ino, made.stat().st_mtime_ns
    assert ztfa.get_alert_data(last, raw=True, folder=tmp_path) == members[2][1]
    assert (made.stat().st_ino, made.stat().st_mtime_ns) != identity
    # Whatever else stands there.
    for wrong in (b"", b"no index", made.read_bytes()[:5000]):
        made.unlink()
        made.write_bytes(wrong)
        assert ztfa.get_number_local_alerts(folder=tmp_path) == 6
    assert {path.name for path in tmp_path.iterdir()} == {NIGHT, made.name}


def test_a_night_that_rots_after_it_was_indexed_is_noticed(tmp_path: Path) -> None:
    members = simulated_members(alerts=4)
    archive = pack(tmp_path / NIGHT, members)
    candids = ztfa.get_local_alert_list(folder=tmp_path)
    before = archive.stat()
    half = before.st_size // 2
    archive.write_bytes(archive.read_bytes()[: before.st_size - half] + bytes(half))
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert archive.stat().st_size == before.st_size
    assert ztfa.get_alert_data(candids[0], raw=True, folder=tmp_path) == members[0][1]
    with pytest.raises(ztfa.DamagedArchive, match="delete the file and download the night again"):
        ztfa.get_alert_data(candids[3], folder=tmp_path)


def test_another_alert_at_the_place_is_noticed(tmp_path: Path) -> None:
    schema = {"name": "ztf.alert", "type": "record", "fields": [{"name": "candid", "type": "long"}]}
    for candids in ((12, 13), (13, 12)):
        archive = pack(tmp_path / NIGHT, [(f"{number}.avro", container(schema, one)) for number, one in enumerate(candids)])
        archive.write_bytes(archive.read_bytes().ljust(3000, b"\0"))  # zeros behind a gzip stream are allowed
        os.utime(archive, ns=(1, 1))
        if candids == (12, 13):
            assert ztfa.get_alert_data(12, folder=tmp_path) == {"candid": 12}
    with pytest.raises(ztfa.DamagedArchive, match=r"does not hold alert 12 at 0\.avro"):
        ztfa.get_alert_data(12, folder=tmp_path)


def test_a_killed_indexing_leaves_no_index(large_night: Path, tmp_path: Path) -> None:
    shutil.copy(large_night / NIGHT, tmp_path)
    program = (
        f"from broker import ztf_archive; print(1, flush=True); ztf_archive.get_number_local_alerts(folder={str(tmp_path)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        while not list(tmp_path.glob(f".{NIGHT}.index.*.partial")) and process.poll() is None:
            pass
        process.kill()
    assert list(tmp_path.glob(".*.partial"))
    assert not (tmp_path / f"{NIGHT}.index").exists()
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 800
    ztfa.delete_local_data(folder=tmp_path)
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder as someone sees it who must not write there; root must become nobody for that."""
    is_root = os.geteuid() == 0
    folder.chmod(0o555)
    try:
        if is_root:
            os.seteuid(65534)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="other rights")
def test_the_index_of_a_read_only_folder_goes_to_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    members = simulated_members(alerts=3)
    # pytest's own folder is closed to others.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        folder, cache = Path(base, "shared"), Path(base, "cache")
        cache.mkdir(mode=0o777)
        cache.chmod(0o777)
        pack(folder / NIGHT, members)
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        with read_only(folder):
            assert ztfa.get_number_local_alerts(folder=folder) == 3
            [made] = cache.rglob("*.index")
            identity = made.stat().st_ino, made.stat().st_mtime_ns
            candid = ztfa.get_local_alert_list(folder=folder)[1]
            assert ztfa.get_alert_data(candid, raw=True, folder=folder) == members[1][1]
            assert (made.stat().st_ino, made.stat().st_mtime_ns) == identity
        assert [path.name for path in folder.iterdir()] == [NIGHT]
        ztfa.delete_local_data(folder=folder)
        assert not made.exists()


def test_delete_local_data_leaves_other_files(tmp_path: Path) -> None:
    for name in (NIGHT, "ztf_public_20260918.tar.gz"):
        pack(tmp_path / name, simulated_members(alerts=1))
    mine = pack(tmp_path / "ztf_public_20180819_mod1000.tar.gz", [])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "film.part").write_text("mine")
    (tmp_path / "ztf_public_20260919.tar.gz.part").write_bytes(b"begun")
    (tmp_path / "ztf_public_20260919.tar.gz.part.json").write_text("{}")
    assert ztfa.get_number_local_alerts(folder=tmp_path) == 2
    ztfa.delete_local_data(folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, "notes.txt", "film.part"}
    assert ztfa.get_number_local_releases(folder=tmp_path) == 0
