"""What README and docs show runs as it stands: every fenced block, or it says here why not."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.catalogs.known import KNOWN
from broker import alert_ingestion, cli
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.server import CatalogServer
from tests.broker.notebook import surroundings
from tests.nights import run, simulated, truth
from tests.pages import CLOUD, ROOT, Block, blocks, commands, pages

ELSEWHERE = {
    "docs/notebook.md": "tests/broker/test_notebook.py",
    "docs/filters.md": "tests/broker/test_filters_page.py",
    "docs/orm.md": "tests/broker/test_orm.py",
    "docs/streams_out.md": "tests/streams/test_streams_out_page.py",
}
"""Pages of Python whose blocks are one program, and the test that runs it."""
CANNOT = {
    ("docs/crossmatch.md", "from astroquery.vizier import Vizier"): "asks VizieR itself for a million stars",
    ("README.md", "pip install -r requirements.txt"): "installs; what it names is looked at below",
    ("README.md", "broker ingest --watch"): "tests/pipelines/test_watch.py runs it",
    ("docs/streaming.md", "broker ingest --watch"): "tests/pipelines/test_watch.py runs it",
    ("docs/streaming.md", "pip install 'pitt-broker[kafka]'"): "installs",
    ("README.md", "broker ingest --kafka"): "tests/kafka/test_pages_run.py runs it",
    ("docs/streaming.md", "broker ingest --kafka"): "tests/kafka/test_pages_run.py runs it",
    (
        "docs/service.md",
        "broker stream status",
    ): "tests/cloud/test_streamed.py, tests/kafka/test_status.py run it",
    ("docs/filters.md", "broker filter "): "tests/broker/test_filters_page.py runs it, and compares what it prints",
    ("docs/features.md", "broker "): "tests/broker/test_features_page.py runs it, and counts what it finds",
    **{
        ("docs/service.md", begin): "installs a service; tests/deploy/test_service.py has the unit looked at"
        for begin in ("python3 -m venv", "useradd", "install -D", "systemctl", "journalctl")
    },
    ("docs/engines.md", "GOBIN="): "tests/emulators/prism.py builds it so, tests/engines/test_prism.py runs it",
    ("docs/engines.md", "broker ingest --runner PrismRunner"): "tests/engines/test_prism.py runs it",
    ("docs/engines.md", "broker ingest --runner FlinkRunner"): "needs a cluster; tests/engines/test_refused.py reads its options",
}
"""Commands and blocks that run nowhere here, by page and first line, and why."""
NO_PROGRAMS = {
    ("README.md", "ReadPackets"): "a drawing",
    ("docs/architecture.md", "broker "): "what tests/test_imports.py draws, and compares",
    ("docs/dataflow.md", "ZTF, archive, file_loads"): "what deploy.costs prints: tests/deploy/test_costs.py",
    **{
        ("docs/filters.md", begin): "tests/broker/test_filters_page.py checks it"
        for begin in ("-- about", "(SELECT COUNT(*)", "fast.sql:", "fast.sql, version", "ztf alert")
    },
    **{
        ("docs/streams_out.md", begin): "tests/streams/test_streams_out_page.py sends the same"
        for begin in ("2026-09-17T05", '{"alert_id"', '{"id"')
    },
    ("docs/operations.md", "sum by (job_id)"): "PromQL of Cloud Monitoring, which has no parser here",
    ("docs/operations.md", 'resource.type="dataflow_step"'): "the language of Cloud Logging, which has no parser here",
}
"""Blocks without a language."""
SECS = 60


def is_listed(block: Block, listed: dict[tuple[str, str], str]) -> bool:
    return any(page == block.page and block.text.startswith(begin) for page, begin in listed)


def test_every_block_is_run_or_says_why_not() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "":
                assert is_listed(block, NO_PROGRAMS), f"{block}: say what it is, ```sh or ```python, or name it in NO_PROGRAMS"
            elif block.language == "python":
                assert page in (*ELSEWHERE, "README.md") or is_listed(block, CANNOT), f"{block} is run by no test"
            else:
                assert block.language == "sh", f"{block} is in {block.language}, which no test runs"
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8").replace("PAGE", "notebook.md")
    for listed in (CANNOT, NO_PROGRAMS):
        for page, begin in listed:
            assert begin in (ROOT / page).read_text(encoding="utf-8"), f"{page} has no {begin!r} any more: take it off the list"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, CatalogServer, dict[str, str]]]:
    """A folder with all that the pages name, a service that knows the catalogs that they name, and their placeholders."""
    folder = tmp_path_factory.mktemp("pages")
    night = simulated(folder / "night", "--alerts", "40", "--seed", "5", "--damaged", "2")
    loose = simulated(folder / "made", "--alerts", "10", "--seed", "6", "--archive", "folder")
    (folder / "loose").mkdir()
    for packet in loose.rglob("*.avro"):
        shutil.copy(packet, folder / "loose" / packet.name)
    shutil.copytree(night, folder / "more_nights")
    # What the pages say of November finds something.
    november = simulated(folder / "november", "--alerts", "20", "--seed", "7", "--night", "2026-11-10")
    archive = next(november.glob("*.tar.gz"))
    for name in ("ztf_public_20231018.tar.gz", "night.tar.gz"):
        shutil.copy(archive, folder / name)
    for name in ("stars.parquet", "my_stars.parquet"):
        shutil.copy(november / "catalog.parquet", folder / name)
    (folder / "galaxies.csv").write_text("name,ra,dec,radius_arcsec\nM31,10.6847,41.2687,3600\nM87,187.7059,12.3911,\n")
    good = [one for one in truth(november) if one["kind"] == "good"]
    pq.write_table(pa.table({"candid": pa.array([one["alert_id"] for one in good], pa.int64())}), folder / "candids.parquet")
    (folder / "targets.csv").write_text("name,ra,dec\n" + "".join(f"t,{one['ra_deg']},{one['dec_deg']}\n" for one in good[:3]))
    placeholders = {"ALERT_ID": str(good[0]["alert_id"])}
    catalogs = {name.removeprefix("vizier:"): served(name) for name in KNOWN}
    (folder / "filters").mkdir()
    (fast,) = [block.text for block in blocks("docs/filters.md") if block.text.startswith("-- about: fades")]
    (folder / "filters" / "fast.sql").write_text(fast)
    shutil.copytree(ROOT / "examples", folder / "examples")
    with CatalogServer(catalogs) as service:
        assert run(folder / "warehouse", archive, flags=("--crossmatch", f"file:{folder}/stars.parquet")) == 0
        yield folder, service, placeholders


def served(name: str) -> ServedCatalog:
    """A catalog with the one star by which it is believed."""
    known = KNOWN[name]
    assert known.canary
    assert known.source_columns.ra
    assert known.source_columns.dec
    own: dict[str, Any] = {known.source_columns.ra: [known.canary[0]], known.source_columns.dec: [known.canary[1]]}
    table = pa.table({column: own.get(column, pa.nulls(1, kind)) for column, kind in known.columns.items()})
    return ServedCatalog(table, Declared(known.source_columns.ra, known.source_columns.dec))


LOCAL = [page for page in pages() if any(not CLOUD.search(line) for one in blocks(page, "sh") for line in commands(one))]


@pytest.mark.parametrize("page", LOCAL)
def test_commands_on_this_machine_do_what_the_page_says(
    page: str, made: tuple[Path, CatalogServer, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, service, placeholders = made
    here = shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(here)
    lines = [line for block in blocks(page, "sh") for line in commands(block) if not CLOUD.search(line)]
    if any("--out night" in line for line in lines):
        # The page makes it.
        shutil.rmtree(here / "night")
    serving: list[subprocess.Popen[str]] = []
    port = str(_free_port())
    try:
        for line in lines:
            if is_listed(Block(page, 0, "sh", line), CANNOT):
                continue
            words = [placeholders.get(word, word).replace("8765", port) for word in shlex.split(line, comments=True)]
            if "catalog-server" in words:
                serving.append(_serve(words))
            else:
                _run(words, line, service.url)
    finally:
        for one in serving:
            one.terminate()
            one.communicate(timeout=SECS)


def _run(words: list[str], line: str, service: str) -> None:
    if words[0] == "make":
        # What make would do, without doing it: the targets and what they stand on are there.
        ran = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=SECS, check=False)
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        return
    assert words[0] == "broker", f"{line}: no test runs this"
    if ">" in words:
        words = words[: words.index(">")]
    if words[1] in ("ingest", "rematch") and "--crossmatch_url" not in words:
        words += ["--crossmatch_url", service]
    assert cli.main(words[1:]) == 0, line


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _serve(words: list[str]) -> subprocess.Popen[str]:
    """A server that the page leaves running in another terminal; given back when it listens."""
    command = [sys.executable, "-c", "from broker.cli import console; console()", *words[1:], "--no_stars"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout
    if any("--crossmatch_url" in said for said in started.stdout):
        return started
    started.communicate()
    raise AssertionError(f"{shlex.join(words)} ended with {started.returncode}")


def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    found = blocks("README.md", "python")
    assert found
    with surroundings(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv(alert_ingestion.WAREHOUSE)
        for block in found:
            exec(compile(block.text, str(block), "exec"), {})
    assert (place / "warehouse").is_dir()
    assert (place / "radec.csv").is_file()


def test_what_the_readme_installs_is_there() -> None:
    shown = [block.text for page in pages() for block in blocks(page, "sh")]
    named = [name for text in shown for name in re.findall(r"pip install .*?(?:-[rc]|--requirement|--constraint) (\S+)", text)]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.fixture(scope="module")
def gcloud() -> str:
    found = shutil.which("gcloud")
    if not found:
        pytest.skip("gcloud is not on PATH: install the Google Cloud SDK")
    return found


def test_gcloud_knows_every_command_and_flag_that_the_pages_give_it(gcloud: str, tmp_path: Path) -> None:
    """Parsed by ``gcloud`` itself, which sends nothing; ``tests/deploy/test_pages.py`` also looks at what Dataflow's send."""
    given = [line for page in pages() for block in blocks(page, "sh") for line in commands(block) if line.startswith("gcloud ")]
    assert len(given) >= 10
    # The pages' own names are of things that nobody has.
    named = [re.sub(r"\$[A-Z_]+", "x", line.replace("$TEMPLATE", "gs://x/x.json")) for line in given]
    named = [shlex.join(shlex.split(line, comments=True)) for line in named]
    (tmp_path / "commands.json").write_text(json.dumps([{"command_string": line} for line in named]))
    words = [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={tmp_path}/commands.json"]
    environment = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=2 * SECS, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert len(told) == len(given)
    assert [(one["command_string"], one["error_message"]) for one in told if not one["success"]] == []
