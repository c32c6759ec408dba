"""Nights from a real HTTP server on loopback: whole, checked and once, whatever breaks on the way; and ``broker download``."""

from __future__ import annotations

import argparse
import email.utils
import fcntl
import gzip
import hashlib
import logging
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import time_machine

from broker import download
from broker import ztf_archive as ztfa
from broker.archive import part, remote
from tests.broker.archive_server import ArchiveServer, Fault, pack, simulated_members
from tests.conftest import RealData
from tests.disk import TOO_LARGE, files_of_at_most
from tests.ready import Program

OLDEST, MIDDLE, NEWEST = (f"ztf_public_202609{day}.tar.gz" for day in (15, 16, 17))
NAMES = [OLDEST, MIDDLE, NEWEST]
KB = 1000


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Three packed nights of 8, 10 and 40 alerts (the last of 1.8 MB)."""
    folder = tmp_path_factory.mktemp("nights")
    sizes = zip(NAMES, (8, 10, 40), strict=True)
    return {name: pack(folder / name, simulated_members(alerts=count, seed=count)).read_bytes() for name, count in sizes}


@pytest.fixture
def server(nights: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    there = tmp_path / "there"
    there.mkdir()
    for name, data in nights.items():
        (there / name).write_bytes(data)
    with ArchiveServer(there) as running:
        monkeypatch.setenv("PITT_BROKER_ZTF_URL", running.url)
        yield running


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder nights go to by default. Pauses between tries are short."""
    monkeypatch.setenv("PITT_BROKER_DATA", str(tmp_path / "here"))
    monkeypatch.setattr(remote, "PAUSE_SECS", 0.005)
    return tmp_path / "here" / "ztf_archive"


def assert_whole(here: Path, nights: dict[str, bytes], *names: str) -> None:
    """These nights are here, byte for byte, and indexed, and nothing else is."""
    assert {path.name for path in here.iterdir()} == {one for name in names for one in (name, f"{name}.index")}
    for name in names:
        assert (here / name).read_bytes() == nights[name]


def day(name: str) -> tuple[int, int, int]:
    return 2026, 9, int(name[17:19])


# What is there


def test_remote_lists(server: ArchiveServer, nights: dict[str, bytes]) -> None:
    assert ztfa.get_remote_release_list() == NAMES
    table = ztfa.get_remote_md5_table(url=server.url.rstrip("/"))
    assert table.colnames == ["file", "md5"]
    expected = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in nights.items()}
    assert dict(table.iterrows()) == expected
    assert {one.headers["accept-encoding"] for one in server.log} == {"identity"}
    assert all(one.headers["user-agent"].startswith("pitt-broker/") for one in server.log)


def test_md5_lists_of_other_hands(server: ArchiveServer) -> None:
    (server.folder / "MD5SUMS").write_text(
        f"# comment\n{'A' * 32} *./{OLDEST}\r\n\n{'b' * 32}\t{MIDDLE}\nnonsense  {NEWEST}\n{'c' * 31}  x.tar.gz\n"
    )
    server.settings.md5_list = False  # then it is a file like any other
    assert dict(ztfa.get_remote_md5_table().iterrows()) == {OLDEST: "a" * 32, MIDDLE: "b" * 32}


def test_links_of_other_pages(server: ArchiveServer) -> None:
    server.settings.page = (
        f'<ul><li><a href="./{NEWEST}">x</a><A HREF="/alerts/public/{OLDEST}?C=1">y</A><a name="z"></a><a href="{NEWEST}">x</a>'
        '<a href="ztf_partnership_20260917.tar.gz"></a><a href="ztf_public_20260918.tar.gz.md5">z</a></ul>'
    )
    assert ztfa.get_remote_release_list() == [OLDEST, NEWEST]


def test_a_page_of_something_else_is_refused(server: ArchiveServer) -> None:
    server.settings.page = "<html>Please log in to the hotel's network</html>"
    with pytest.raises(ztfa.RemoteError, match="has no link to a ztf_public_YYYYMMDD"):
        ztfa.get_remote_release_list()


# Which nights


def test_download_data_goes_back_in_time(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    assert ztfa.download_data() == [here / NEWEST]
    assert_whole(here, nights, NEWEST)
    assert ztfa.get_number_local_alerts() == 40
    assert [path.name for path in ztfa.download_data(max_downloads=5)] == [MIDDLE, OLDEST]
    assert_whole(here, nights, *NAMES)
    assert ztfa.get_local_release_list() == NAMES
    assert ztfa.get_number_local_alerts() == 58
    assert ztfa.download_data() == []
    assert [server.sent_bytes(name) for name in NAMES] == [len(nights[name]) for name in NAMES]
    with pytest.raises(ValueError, match="0 is too few"):
        ztfa.download_data(0)


def test_a_night_without_alerts_is_not_counted(server: ArchiveServer, here: Path) -> None:
    cloudy = pack(server.folder / "ztf_public_20260918.tar.gz", [])
    assert [path.name for path in ztfa.download_data()] == [cloudy.name, NEWEST]
    assert len(next(ztfa.iter_alerts(100))) == 40


def test_download_recent_data(server: ArchiveServer, here: Path) -> None:
    ztfa.download_data_date(*day(MIDDLE))
    assert [path.name for path in ztfa.download_recent_data(1)] == [NEWEST]
    assert ztfa.download_recent_data(2) == []
    assert ztfa.download_recent_data(3, stop_on_exist=True) == []
    assert [path.name for path in ztfa.download_recent_data(9)] == [OLDEST]


def test_download_data_date(server: ArchiveServer, here: Path, tmp_path: Path) -> None:
    assert ztfa.download_data_date(year=2026, month=9, day=16, folder=tmp_path / "x", url=server.url) == tmp_path / "x" / MIDDLE
    asked = len(server.log)
    assert ztfa.download_data_date(2026, 9, 16, folder=tmp_path / "x") == tmp_path / "x" / MIDDLE
    assert len(server.log) == asked, "a night that is here needs no request"
    with pytest.raises(ValueError, match="day"):
        ztfa.download_data_date(2026, 9, 31)
    with pytest.raises(ztfa.NoSuchRelease, match=r"ztf_public_20270101.tar.gz answers 404 .*get_remote_release_list"):
        ztfa.download_data_date(2027, 1, 1)
    assert len(server.asked("ztf_public_20270101.tar.gz")) == 1, "404 is never asked again"
    assert not list(here.iterdir())


# What breaks


@pytest.mark.parametrize("cuts", [[0], [1], [700 * KB], [10 * KB, 300 * KB, 900 * KB], [1500 * KB, 0, 1, 100 * KB]])
def test_a_cut_download_goes_on(server: ArchiveServer, here: Path, nights: dict[str, bytes], cuts: list[int]) -> None:
    server.faults[NEWEST] = [Fault(cut_after=cut) for cut in cuts]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    first, *further = server.asked(NEWEST)
    assert first.start is None
    assert all(one.status == 206 and one.headers["if-range"] for one in further if one.start)
    assert max(one.start or 0 for one in further) == sum(one.sent_bytes for one in [first, *further[:-1]]), "nothing came twice"
    assert server.sent_bytes(NEWEST) == len(nights[NEWEST])


def test_after_too_many_tries_it_says_so_and_the_next_call_goes_on(
    server: ArchiveServer, here: Path, nights: dict[str, bytes]
) -> None:
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError, match=r"broke off after .* call again to go on where it stopped"):
        ztfa.download_data()
    assert {path.name for path in here.iterdir()} == {f"{NEWEST}.part", f"{NEWEST}.part.json"}
    assert ztfa.get_local_release_list() == []
    kept = (here / f"{NEWEST}.part").stat().st_size
    assert kept == server.sent_bytes(NEWEST) == remote.TRIES * 100 * KB
    ztfa.download_data()
    assert server.asked(NEWEST)[-1].start == kept
    assert_whole(here, nights, NEWEST)


def test_tries_are_counted_anew_when_much_came(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    many = [Fault(cut_after=0)] * (remote.TRIES - 1)
    server.faults[NEWEST] = [*many, Fault(cut_after=1200 * KB), *many[1:]]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


@pytest.mark.parametrize("without", ["ranges", "etag", "dates", "both", "weak etag", "length"])
def test_servers_that_cannot_do_everything(server: ArchiveServer, here: Path, nights: dict[str, bytes], without: str) -> None:
    server.settings.ranges = without != "ranges"
    server.settings.etag = {"etag": None, "both": None, "weak etag": "weak"}.get(without, "strong")
    server.settings.last_modified = without not in ("dates", "both")
    server.settings.chunked = without == "length"
    server.faults[NEWEST] = [Fault(cut_after=600 * KB), Fault(cut_after=500 * KB)]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert server.sent_bytes(NEWEST) == len(nights[NEWEST]) + (1100 * KB if without == "ranges" else 0)
    conditions = [one.headers.get("if-range", "") for one in server.asked(NEWEST) if one.start]
    assert all(one.startswith('"') for one in conditions) == (without in ("ranges", "dates", "length"))
    assert all(one.endswith("GMT") for one in conditions) == (without in ("etag", "weak etag"))


@pytest.mark.parametrize("noted", ["etag", "date", "nothing"])
def test_a_night_that_changes_meanwhile_is_begun_anew(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], noted: str
) -> None:
    server.settings.etag = "strong" if noted == "etag" else None
    server.settings.last_modified = noted == "date"
    path = server.folder / NEWEST
    os.utime(path, (1e9, 1e9))
    begun = nights[MIDDLE] + bytes(len(nights[NEWEST]) - len(nights[MIDDLE]))
    path.write_bytes(begun)
    # The list tells of the new file already, as when the page is written between two requests of ours.
    server.settings.md5[NEWEST] = hashlib.md5(nights[NEWEST], usedforsecurity=False).hexdigest()
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError):
        ztfa.download_data()
    path.write_bytes(nights[NEWEST])
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert server.sent_bytes(NEWEST) > len(nights[NEWEST])


def test_a_part_of_another_archive_or_list_is_not_gone_on_with(
    server: ArchiveServer, here: Path, nights: dict[str, bytes]
) -> None:
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError):
        ztfa.download_data()
    server.settings.md5[NEWEST] = "0" * 32
    asked = len(server.asked(NEWEST))
    with pytest.raises(ztfa.ChecksumMismatch):
        ztfa.download_data()
    assert server.asked(NEWEST)[asked].start is None


@pytest.mark.parametrize("part_bytes", [b"x" * 500, b"x" * 5_000_000], ids=["changed", "too long"])
def test_a_part_that_was_changed_is_begun_anew(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], part_bytes: bytes
) -> None:
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError):
        ztfa.download_data()
    (here / f"{NEWEST}.part").write_bytes(part_bytes)
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


def test_another_part_than_asked_for_is_not_taken(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    server.faults[NEWEST] = [Fault(cut_after=100 * KB), Fault(wrong_span=True)]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert "answers 206 with another part than asked for" in caplog.text
    assert "MD5" not in caplog.text, "it did not come to a wrong sum"


def test_wrong_md5(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.settings.md5[NEWEST] = "0123456789abcdef" * 2
    found = hashlib.md5(nights[NEWEST], usedforsecurity=False).hexdigest()
    with pytest.raises(ztfa.ChecksumMismatch, match=f"its MD5 is {found} and MD5SUMS says 0123456789abcdef0123"):
        ztfa.download_data()
    assert not list(here.iterdir())
    assert [(one.start, one.sent_bytes) for one in server.asked(NEWEST)] == [(None, len(nights[NEWEST]))] * 2


def test_bytes_that_go_wrong_on_the_way_once(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError):
        ztfa.download_data()
    with (here / f"{NEWEST}.part").open("r+b") as file:
        file.seek(50 * KB)
        file.write(b"\x00" * 8)
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


@pytest.mark.parametrize("whole_list", [True, False])
def test_without_an_md5_the_gzip_checksum_must_do(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], whole_list: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server.settings.md5[NEWEST] = None
    server.settings.md5_list = whole_list
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert f"{NEWEST} is not in MD5SUMS: only the checksum of its gzip stream is checked" in caplog.text
    for wrong in (nights[NEWEST][:-20], b"<html>moved</html>", b""):
        ztfa.delete_local_data()
        (server.folder / NEWEST).write_bytes(wrong)  # as when it is still being put there
        with pytest.raises(ztfa.ChecksumMismatch, match=r"it is no (whole )?gzip file"):
            ztfa.download_data()
        assert not list(here.iterdir())


def test_a_server_that_takes_the_file_for_an_encoded_one(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.settings.content_encoding = "x-gzip"
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


# Politeness


def pauses_of(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The seconds of every pause that was told."""
    return [record.args[1] for record in caplog.records if "trying again" in record.msg]


def test_retry_after_is_honored(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    server.faults[""] = [Fault(status=503, retry_after="1"), Fault(status=429, retry_after="0")]
    ztfa.download_data()
    first, second, _ = (one.at_secs for one in server.asked(""))
    assert pauses_of(caplog) == [1, 0]
    assert second - first >= 1
    assert_whole(here, nights, NEWEST)


def test_retry_after_a_date(server: ArchiveServer, caplog: pytest.LogCaptureFixture) -> None:
    server.faults[""] = [Fault(status=503, retry_after=email.utils.formatdate(time.time() + 2, usegmt=True))]
    ztfa.get_remote_release_list()
    first, second = (one.at_secs for one in server.asked(""))
    (pause,) = pauses_of(caplog)
    assert second - first >= pause


@pytest.mark.parametrize(("header_secs", "pause_secs"), [(7, 7), (0, 0), (-3600, 0)])
def test_a_date_is_so_many_seconds_from_now(header_secs: int, pause_secs: int) -> None:
    now = 1_790_000_000
    with time_machine.travel(now, tick=False):
        assert remote._seconds(email.utils.formatdate(now + header_secs, usegmt=True)) == pause_secs


def test_a_server_that_wants_to_be_left_alone_is(server: ArchiveServer, here: Path) -> None:
    server.faults[NEWEST] = [Fault(status=503, retry_after="86400")]
    with pytest.raises(ztfa.RemoteError, match="answers 503 Service Unavailable and wants to be left alone"):
        ztfa.download_data()
    assert len(server.asked(NEWEST)) == 1


@pytest.mark.parametrize("status", [403, 401, 400])
def test_a_refusal_is_final(server: ArchiveServer, here: Path, status: int) -> None:
    server.faults[NEWEST] = [Fault(status=status)]
    with pytest.raises(ztfa.RemoteError, match=f"answers {status} "):
        ztfa.download_data()
    assert len(server.asked(NEWEST)) == 1


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=502, retry_after="soon"), Fault(no_answer=True)])
def test_a_failing_server_is_asked_a_few_times(server: ArchiveServer, here: Path, nights: dict[str, bytes], fault: Fault) -> None:
    server.faults[""] = [fault] * 99
    with pytest.raises(ztfa.RemoteError, match=f"gave up after {remote.TRIES} tries"):
        ztfa.download_data()
    assert len(server.asked("")) == remote.TRIES
    server.faults = {name: [fault] * (remote.TRIES - 1) for name in ("", "MD5SUMS", NEWEST)}
    server.faults["MD5SUMS"][-1] = Fault(cut_after=20)
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


def test_pauses_grow_and_jitter(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECS", 0.001)
    pauses: list[list[float]] = []
    for _ in range(20):
        caplog.clear()
        patience = remote.Patience()
        start = time.monotonic()
        for _ in range(remote.TRIES - 1):
            patience.wait("it failed")
        waited = time.monotonic() - start
        pauses.append([record.args[1] for record in caplog.records])
        assert waited >= sum(pauses[-1])
    for number in range(remote.TRIES - 1):
        found = {pause[number] / 0.001 / 2**number for pause in pauses}
        assert 0.5 <= min(found) < max(found) <= 1.5
        assert len(found) == 20


def test_no_server_at_all(here: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ztfa.RemoteError, match=r"does not answer .*refused"):
            ztfa.download_data(url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
    with pytest.raises(ztfa.RemoteError, match="cannot be asked"):
        ztfa.download_data(url="ftp://127.0.0.1/")


# The disk


def test_a_night_that_does_not_fit_is_not_begun(server: ArchiveServer, here: Path) -> None:
    server.settings.claimed_bytes = 10**15
    with pytest.raises(ztfa.NotEnoughSpace, match=r"needs 1,020,000\.0 GB more and .* GB free; make room, or choose another"):
        ztfa.download_data()
    assert not list(here.iterdir())
    assert len(server.asked(NEWEST)) == 1


def test_a_disk_that_takes_no_more_is_an_error_and_what_came_is_gone_on_with(
    server: ArchiveServer, here: Path, nights: dict[str, bytes]
) -> None:
    assert len(nights[NEWEST]) > 200 * KB
    with files_of_at_most(100 * KB), pytest.raises(OSError, match=TOO_LARGE):
        ztfa.download_data()
    assert not (here / NEWEST).exists()
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


# Killed, and two at once

PROGRAM = "from broker import ztf_archive as z; z.download_data(progress=False)"


def started(program: str = PROGRAM) -> Program:
    return Program(program)


def until(server: ArchiveServer, sent_bytes: int, *processes: Program) -> None:
    """Wait until so much of the newest night went out."""

    def is_so() -> bool:
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        return server.sent_bytes(NEWEST) >= sent_bytes

    wait_for(is_so)


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait, but not forever."""
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.005)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_killed_anywhere_and_called_again(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], blow: signal.Signals
) -> None:
    server.settings.bytes_per_sec = 2e6
    for share in (0.05, 0.5, 0.9):
        with started() as process:
            until(server, int(share * len(nights[NEWEST])), process)
            process.send_signal(blow)
            process.wait()
        assert process.returncode == -blow
        assert not (here / NEWEST).exists()
        assert ztfa.get_local_release_list() == []
    server.settings.bytes_per_sec = None
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert any(one.start for one in server.asked(NEWEST))
    # A killed process loses the megabyte at most that was on its way, never what was before.
    assert server.sent_bytes(NEWEST) < 2 * len(nights[NEWEST])


def test_killed_between_the_last_byte_and_the_name(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.faults[NEWEST] = [Fault(cut_after=len(nights[NEWEST]) - 1)] + [Fault(status=500)] * remote.TRIES
    with pytest.raises(ztfa.RemoteError):
        ztfa.download_data()
    with (here / f"{NEWEST}.part").open("ab") as file:
        file.write(nights[NEWEST][-1:])
    server.faults.clear()
    asked = len(server.asked(NEWEST))
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)
    assert len(server.asked(NEWEST)) == asked, "all bytes were there"


def test_two_processes_and_a_thread_at_once(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.settings.bytes_per_sec = 1e6
    with started() as first, started(f"from broker import ztf_archive as z; z.download_data_date{day(NEWEST)}") as second:
        until(server, 1, first, second)
        thread = threading.Thread(target=lambda: ztfa.download_data_date(*day(NEWEST)))
        thread.start()
        said = [process.communicate() for process in (first, second)]
        thread.join()
    assert [first.returncode, second.returncode] == [0, 0], said
    assert_whole(here, nights, NEWEST)
    assert server.sent_bytes(NEWEST) == len(nights[NEWEST]), "it came once"


def test_whoever_waits_goes_on_when_the_other_is_killed(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    server.settings.bytes_per_sec = 1e6
    with started() as first:
        until(server, 1, first)
        thread = threading.Thread(target=ztfa.download_data)
        thread.start()
        wait_for(lambda: f"another process is downloading {NEWEST}" in caplog.text)
        ztfa.delete_local_data()
        assert "it is being downloaded now" in caplog.text, "and stays"
        first.kill()
        thread.join()
    assert_whole(here, nights, NEWEST)


def test_without_locks_it_goes_on_with_a_warning(
    server: ArchiveServer, here: Path, nights: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "fcntl", None)  # as on Windows
    server.faults[NEWEST] = [Fault(cut_after=100 * KB)]
    ztfa.download_data()
    assert_whole(here, nights, NEWEST)


# Progress


def test_progress(server: ArchiveServer, here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ztfa.download_data()
    assert capfd.readouterr() == ("", ""), "quiet where stderr is no terminal"
    server.faults[MIDDLE] = [Fault(cut_after=100 * KB)]
    ztfa.download_data(progress=True)
    shown = capfd.readouterr().err
    assert f"{MIDDLE}: 100%" in shown
    assert "B/s]" in shown
    assert f"indexing {MIDDLE}" in shown
    monkeypatch.setitem(sys.modules, "ipykernel", pty)  # as in a notebook, whose stderr is no terminal but shows bars
    ztfa.download_data()
    assert f"{OLDEST}: 100%" in capfd.readouterr().err
    ztfa.delete_local_data()
    ztfa.download_data(progress=False)
    assert capfd.readouterr() == ("", "")


def test_progress_on_a_terminal(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.settings.bytes_per_sec = 2e6
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    try:
        with subprocess.Popen([sys.executable, "-c", "from broker import ztf_archive as z; z.download_data()"], stderr=theirs):
            os.close(theirs)
            shown = b""
            while piece := read_terminal(ours):
                shown += piece
    finally:
        os.close(ours)
    assert f"{NEWEST}:".encode() in shown
    assert b"B/s]" in shown
    assert b"/1.8" in shown, "of how much"
    assert_whole(here, nights, NEWEST)


def read_terminal(number: int) -> bytes:
    try:
        return os.read(number, 4096)
    except OSError:  # Linux says so when the other end is closed
        return b""


# The command


def run(*words: str) -> int:
    parser = argparse.ArgumentParser("broker download")
    download.add_arguments(parser)
    return download.main(parser.parse_args(words))


def test_the_command(server: ArchiveServer, here: Path, nights: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out == f"{here / NEWEST}: 40 alerts\n"
    assert run("--list") == 0
    assert capsys.readouterr().out == f"{OLDEST}\n{MIDDLE}\n{NEWEST}  here\n"
    assert run("--recent", "2") == 0
    assert capsys.readouterr().out == f"{here / MIDDLE}: 10 alerts\n"
    assert run("--recent", "2") == 0
    assert capsys.readouterr().out == f"nothing to download: {here} has it all\n"
    folder = here.parent / "other"
    assert run("--nights", "20260915", "2026-09-16", "--folder", str(folder), "--url", server.url) == 0
    assert capsys.readouterr().out == f"{folder / OLDEST}: 8 alerts\n{folder / MIDDLE}: 10 alerts\n"
    assert_whole(folder, nights, OLDEST, MIDDLE)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nights", "20260915", "20260999"], "'20260999' is no night"),
        (["--nights", "20250101"], "answers 404"),
        (["--recent", "0"], "0 is too few"),
        (["--url", "http://127.0.0.1:9/"], "does not answer"),
    ],
)
def test_the_command_says_what_is_wrong(
    server: ArchiveServer, here: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("broker download: ")
    assert says in err
    assert not list(here.rglob("*.gz")), "nothing is downloaded before all nights are looked at"


def test_the_command_is_stopped_and_goes_on(server: ArchiveServer, here: Path, nights: dict[str, bytes]) -> None:
    server.settings.bytes_per_sec = 2e6
    program = (
        "import argparse, sys; from broker import download; parser = argparse.ArgumentParser(); "
        "download.add_arguments(parser); sys.exit(download.main(parser.parse_args([])))"
    )
    with started(program) as process:
        until(server, len(nights[NEWEST]) // 2, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.decode() == "broker download: stopped; the same command goes on where it stopped\n"
    assert {path.name for path in here.iterdir()} == {f"{NEWEST}.part", f"{NEWEST}.part.json"}
    server.settings.bytes_per_sec = None
    assert run() == 0
    assert server.asked(NEWEST)[-1].start
    assert_whole(here, nights, NEWEST)


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    assert "\n  broker download --recent 3 " in capsys.readouterr().out


def test_real_nights_through_the_server(
    server: ArchiveServer, here: Path, real_data: RealData, caplog: pytest.LogCaptureFixture
) -> None:
    source = real_data / "ztf/nightly/ztf_public_20231012.tar.gz"
    (server.folder / source.name).write_bytes(source.read_bytes())
    server.faults[source.name] = [Fault(cut_after=300 * KB), Fault(status=503, retry_after="0")]
    with caplog.at_level(logging.WARNING, "broker.ztf_archive"):
        assert ztfa.download_data_date(2023, 10, 12).read_bytes() == source.read_bytes()
    assert [record.args[0].split(" ", 1)[1][:9] for record in caplog.records] == ["broke off", "answers 5"]
    candids = ztfa.get_local_alert_list()
    assert len(candids) == 24
    assert ztfa.get_alert_data(candids[11])["candid"] == candids[11]
    assert gzip.decompress(source.read_bytes()).count(b"Obj\x01") >= 24
