"""Whole runs: every packet is a row or a dead letter, once, however often and however roughly the run is repeated."""

from __future__ import annotations

import random
import shutil
import signal
import tarfile
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest import run as ingest_run
from pipelines.job import Job
from pipelines.options import parse
from simulation import simulate_packets
from tests.alerts.making import tar_of
from tests.nights import ask, rows, run, simulated, truth
from tests.ready import Program
from transforms import read, write_parquet
from transforms.files import open_file
from transforms.read import split_unit
from warehouses.units import Unit


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 packets of ZTF, 40 of them sent twice, and 24 damaged ones, in one archive: more than one batch of the pipeline."""
    flags = ("--alerts", "300", "--duplicates", "40", "--damaged", "24", "--seed", "5", "--archive", "tar")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


@pytest.fixture(scope="module")
def archive(night: Path) -> Path:
    return next(night.glob("*.tar"))


@pytest.fixture(scope="module")
def whole(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse of one undisturbed run."""
    warehouse = tmp_path_factory.mktemp("whole")
    assert run(warehouse, archive) == 0
    return warehouse


TABLES = ("ztf_alerts", "ztf_cutouts", "ztf_features")


@pytest.fixture(scope="module")
def tables(whole: Path) -> dict[str, pa.Table]:
    """Its alerts and stamps."""
    return {table: rows(whole, table) for table in TABLES}


def assert_same_tables(warehouse: Path, tables: dict[str, pa.Table]) -> None:
    for table, expected in tables.items():
        assert rows(warehouse, table).equals(expected), table


def assert_same_rows(warehouse: Path, whole: Path, tables: dict[str, pa.Table]) -> None:
    assert_same_tables(warehouse, tables)
    letters = "SELECT stage, error_type, message, md5(payload), split_part(source, '#', 2) FROM dead_letters ORDER BY ALL"
    assert ask(warehouse, letters) == ask(whole, letters)


def test_counts_add_up_to_the_packet(night: Path, whole: Path) -> None:
    kinds = Counter(one["kind"] for one in truth(night))
    assert kinds == {"good": 300, "duplicate": 40, "damaged": 24}
    alerts, distinct = ask(whole, "SELECT count(*), count(DISTINCT alert_id) FROM ztf_alerts")[0]
    assert (alerts, distinct) == (340, 300)
    assert ask(whole, "SELECT count(*) FROM ztf_alerts_unique") == [(300,)]
    assert ask(whole, "SELECT count(*) FROM ztf_cutouts WHERE science IS NOT NULL") == [(340,)]
    assert ask(whole, "SELECT count(*) FROM dead_letters") == [(24,)]
    run_row = "SELECT status, records_read, alerts_written, copies, conflicts, dead_letters FROM runs"
    assert ask(whole, run_row) == [("done", 364, 340, 40, 0, 24)]


def test_every_damaged_packet_has_its_own_letter(night: Path, archive: Path, whole: Path) -> None:
    damaged = {one["name"]: one["damage"] for one in truth(night) if one["kind"] == "damaged"}
    letters = ask(whole, "SELECT split_part(source, '#', 2), message, payload FROM dead_letters")
    assert sorted(name for name, _, _ in letters) == sorted(damaged)
    with tarfile.open(archive) as packed:
        for name, message, payload in letters:
            sent = packed.extractfile(name)
            assert sent is not None
            assert payload == sent.read(), (damaged[name], message)


def test_positions_times_and_nights_are_the_true_ones(night: Path, whole: Path) -> None:
    expected = {one["alert_id"]: one for one in truth(night) if one["kind"] == "good"}
    found = ask(whole, "SELECT alert_id, object_id, ra_deg, dec_deg, night, observed_at FROM ztf_alerts_unique")
    assert len(found) == len(expected)
    for alert_id, *facts, observed_at in found:
        one = expected[alert_id]
        assert facts == [one["object_id"], one["ra_deg"], one["dec_deg"], one["night"]]
        # A Julian Date in a float64 resolves 40 us; its conversions may differ by the last microsecond.
        assert abs(observed_at - one["observed_at"]) <= timedelta(microseconds=2)


def test_summary_tells_latency_and_copies(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, archive) == 0
    out = capsys.readouterr().out
    assert "records read            364" in out
    assert "of them 40 copies and 0 conflicts; observed to ingested" in out
    assert "(median)" in out
    assert "(p95)" in out
    assert "dead letters             24" in out


def test_same_command_twice_leaves_the_same_rows(archive: Path, whole: Path, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    assert run(tmp_path, archive) == 0
    assert run(tmp_path, archive) == 0
    assert_same_rows(tmp_path, whole, tables)
    assert ask(tmp_path, "SELECT count(*) FROM runs") == [(2,)]


def test_every_way_of_packing_gives_the_same_rows(
    archive: Path, whole: Path, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    folder, gzipped = tmp_path / "loose", tmp_path / "night.tar.gz"
    with tarfile.open(archive) as packed, tarfile.open(gzipped, "w:gz", compresslevel=1) as again:
        packed.extractall(folder, filter="data")
        for member in packed:
            again.addfile(member, packed.extractfile(member))
    assert run(tmp_path / "a", gzipped) == 0
    assert_same_rows(tmp_path / "a", whole, tables)
    assert run(tmp_path / "b", folder) == 0
    assert_same_tables(tmp_path / "b", tables)
    assert ask(tmp_path / "b", "SELECT count(*) FROM dead_letters") == [(24,)]


def test_a_tar_is_divided_among_workers(archive: Path, whole: Path, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    tasks = list(split_unit(Unit((str(archive),)), members_per_slice=60))
    assert [len(task.part.members) for task in tasks if task.part] == [60] * 6 + [4]
    # Workers in other processes, as a runner elsewhere would have them.
    assert run(tmp_path, archive, flags=("--direct_num_workers", "2")) == 0
    assert_same_rows(tmp_path, whole, tables)


def test_killed_half_way_and_run_again_equals_one_whole_run(
    archive: Path, whole: Path, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    words = ["--input", str(archive), "--warehouse", str(tmp_path)]
    moments = random.Random(7)
    killed = 0
    for _ in range(4):
        with Program(f"import sys; from pipelines.ingest import run; sys.exit(run({words!r}))") as process:
            # Killed while it writes: a file of the run is there, and then some moments more.
            deadline = time.monotonic() + 60
            while process.poll() is None and not any(tmp_path.glob("_tmp/*/**/*.parquet")) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.4))
            process.kill()
        killed += process.returncode == -signal.SIGKILL
    assert killed > 0
    assert run(tmp_path, archive) == 0
    assert_same_rows(tmp_path, whole, tables)
    assert not list(tmp_path.glob("_tmp/*")), "what killed runs left must go"


def test_a_second_run_over_the_same_inputs_is_refused_and_one_over_others_is_not(
    archive: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = simulated(tmp_path / "other", "--alerts", "20", "--seed", "6")
    warehouse = tmp_path / "warehouse"
    options = parse(["--input", str(archive), "--warehouse", str(warehouse)])
    first = Job.from_options(options)
    with first.warehouse.claim(first.run_id, first.claims):
        assert run(warehouse, archive, other) == 1
        said = capsys.readouterr().err
        assert f"run {first.run_id} is writing {archive} into {warehouse} now; wait for its end" in said
        assert said.count("\n") == 1
        assert run(warehouse, other) == 0
    assert run(warehouse, archive) == 0
    assert ask(warehouse, "SELECT count(*) FROM ztf_alerts") == [(360,)]
    assert not list(warehouse.glob("_tmp/*"))


def test_a_reader_never_sees_a_half_written_file(archive: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    broken: list[str] = []
    done = threading.Event()

    def read_all() -> None:
        while not done.is_set():
            for file in tmp_path.glob("*/night=*/*.parquet"):
                try:
                    seen.append(pq.ParquetFile(file).metadata.num_rows)
                except FileNotFoundError:
                    continue
                except Exception as error:
                    broken.append(f"{file}: {error}")

    reader = threading.Thread(target=read_all)
    reader.start()
    try:
        assert run(tmp_path, archive) == 0
        assert run(tmp_path, archive) == 0
    finally:
        done.set()
        reader.join()
    assert not broken
    assert sum(seen) > 0


def test_files_that_come_later_do_not_double_those_before(
    archive: Path, whole: Path, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "all", filter="data")
    packets = sorted((tmp_path / "all").iterdir())
    for packet in packets[:150]:
        shutil.copy(packet, folder)
    warehouse = tmp_path / "warehouse"
    assert run(warehouse, folder) == 0
    for packet in packets[150:]:
        shutil.copy(packet, folder)
    assert run(warehouse, folder) == 0
    assert_same_tables(warehouse, tables)
    # One packet alone, which so far stood in company: its rows move, the others' stay, stamps with their alerts.
    assert run(warehouse, folder / packets[10].name, folder / packets[310].name) == 0
    assert_same_tables(warehouse, tables)
    assert ask(warehouse, "SELECT count(*) FROM dead_letters") == [(24,)]
    assert run(warehouse, folder) == 0
    assert_same_tables(warehouse, tables)
    assert ask(warehouse, "SELECT count(*) FROM dead_letters") == [(24,)]


def test_a_file_named_twice_is_read_once(archive: Path, tmp_path: Path) -> None:
    assert run(tmp_path, archive, archive.parent / "*.tar", archive.parent) == 0
    assert ask(tmp_path, "SELECT count(*) FROM ztf_alerts") == [(340,)]


def test_the_first_alerts_of_many_archives_are_read_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other archive is opened, and what an earlier run has brought of the others stays."""
    packets = simulate_packets(survey="ztf", alerts=30, seed=2)
    data = [packet.data for packet in packets]
    for number in range(10):
        members = {f"{n}.avro": data[n] for n in range(3 * number, 3 * number + 3)}
        (tmp_path / f"night_{number}.tar").write_bytes(tar_of(members))
    archives = [tmp_path / f"night_{number}.tar" for number in range(10)]
    warehouse = tmp_path / "w"
    assert run(warehouse, *archives) == 0
    opened: list[str] = []

    def counting(uri: str) -> BinaryIO:
        opened.append(Path(uri).name)
        return open_file(uri)

    monkeypatch.setattr(read, "open_file", counting)
    for most, files in ((3, 1), (4, 2)):
        opened.clear()
        assert run(warehouse, *archives, flags=("--max_alerts", str(most))) == 0
        assert opened == [f"night_{number}.tar" for number in range(files)]
        assert f"alerts written   {most:>10,}" in capsys.readouterr().out
    # Two alerts of the second archive were not read, and it is replaced by what was.
    assert ask(warehouse, "SELECT count(*) FROM ztf_alerts") == [(28,)]


def test_without_cutouts(archive: Path, tmp_path: Path) -> None:
    assert run(tmp_path, archive, flags=("--no_cutouts",)) == 0
    assert ask(tmp_path, "SELECT count(*) FROM ztf_alerts") == [(340,)]
    assert not (tmp_path / "ztf_cutouts").exists()


def test_too_many_dead_letters_fail_the_run_after_writing(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, archive, flags=("--max_dead_letters", "0.01")) == 1
    assert "6.6% of the records are dead letters, more than --max_dead_letters allows (1.0%)" in capsys.readouterr().err
    assert ask(tmp_path, "SELECT count(*) FROM ztf_alerts") == [(340,)]
    assert ask(tmp_path, "SELECT status FROM runs") == [("failed",)]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--input is missing"),
        (["--input", "no_such_file.avro"], "no_such_file.avro matches no file"),
        (["--input", "nothing*.avro"], "nothing*.avro matches no file"),
        (["--input", "{archive}", "--survey", "sdss"], "known are ztf, lsst"),
        (["--input", "{archive}", "--warehouse", "/proc/nowhere"], "/proc/nowhere cannot be written to"),
        (["--input", "{archive}", "--schemas", "no_such_folder"], "--schemas no_such_folder is neither"),
        (["--input", "{archive}", "--max_dead_letters", "2"], "fraction between 0 and 1"),
        (["--input", "{archive}", "--colour", "red"], "'--colour' is no option"),
    ],
)
def test_wrong_options_are_said_in_one_sentence(
    archive: Path, tmp_path: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(archive=archive) for word in flags]
    if "--warehouse" not in words:
        words += ["--warehouse", str(tmp_path)]
    assert ingest_run(words) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_a_sum_that_does_not_balance_is_an_error(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sink that loses rows must be found out by the account."""

    def lose_the_first_file(files, warehouse, run_id, units, **given):
        return write_parquet.commit(warehouse, run_id, units, files[1:])

    monkeypatch.setattr(write_parquet, "_commit", lose_the_first_file)
    assert run(tmp_path, archive) == 1
    assert "the account does not balance: 364 records read" in capsys.readouterr().err


def test_lsst_wire_messages(tmp_path: Path) -> None:
    flags = ("--survey", "lsst", "--framing", "wire", "--alerts", "60", "--damaged", "6", "--seed", "2")
    night = simulated(tmp_path / "night", *flags)
    assert run(tmp_path / "w", night) == 0
    kinds = Counter(one["kind"] for one in truth(night))
    assert ask(tmp_path / "w", "SELECT count(*) FROM lsst_alerts") == [(kinds["good"],)]
    assert ask(tmp_path / "w", "SELECT count(*) FROM dead_letters") == [(6,)]
    kinds_of_objects = dict(ask(tmp_path / "w", "SELECT object_kind, count(*) FROM lsst_alerts GROUP BY 1"))
    solar_system = sum(one["is_solar_system"] for one in truth(night) if one["kind"] == "good")
    assert kinds_of_objects.get("solar_system", 0) == solar_system
