"""What README and docs show of the cloud, on emulators: each ``broker`` command as it stands, with names of this cloud in it."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from broker import cli
from pipelines.messages import messages
from simulation.catalog_server.server import CatalogServer
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.nights import simulated
from tests.pages import CLOUD, blocks, commands, pages
from tests.test_pages_run import served
from transforms.files import create_file

FIRST = "docs/audit.md"
"""Its warehouse has every packet once."""
STREAM_SECS = 4
ALERTS = 12


def cloud_commands(page: str) -> list[str]:
    """The ``broker`` commands of a page that need a cloud.

    Those of engines are not run here: Dataflow's are parsed by ``tests/deploy/test_pages.py``. Those with Kafka are run by
    ``tests/kafka/test_pages_run.py``.
    """
    found = [line for block in blocks(page, "sh") for line in commands(block) if line.startswith("broker ")]
    return [line for line in found if CLOUD.search(line) and "--runner " not in line and "--kafka " not in line]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("pages") / "night", "--alerts", str(ALERTS), "--seed", "8", "--night", "2026-11-23")


def test_commands_of_the_cloud_do_what_the_pages_say(
    cloud: Cloud, night: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(night.parent)
    dataset, bucket = cloud.dataset(), cloud.folder()
    warehouse = f"bigquery://{cloud.project}/{dataset}"
    archive = next(night.glob("*.tar.gz"))
    with create_file(f"{bucket}/ztf_public_20231018.tar.gz") as file:
        file.write(archive.read_bytes())
    with CatalogServer({"II/328/allwise": served("vizier:II/328/allwise")}) as service:
        asked = ["--crossmatch", "vizier:II/328/allwise", "--crossmatch_url", service.url]
        first = ["--input", str(night), "--warehouse", warehouse, "--write_method", "streaming_inserts", *asked]
        assert cli.main(["ingest", *first]) == 0
    said = re.search(r"^run (\S+)", capsys.readouterr().out, re.MULTILINE)
    assert said
    names = {
        "gs://BUCKET": bucket,
        "bigquery://PROJECT/DATASET": warehouse,
        "$WAREHOUSE": warehouse,
        "$RUN_ID": said.group(1),
        " alerts.": f" {dataset}.",
        r"'\$.": "'$.",
    }
    if cloud.has_pubsub:
        topic = Topic(cloud.project, 2)
        topic.publish(messages([str(night)]))
        for subscription, name in zip(topic.subscriptions, ("NAME", "AUDIT"), strict=True):
            names[f"projects/PROJECT/subscriptions/{name}"] = subscription
        names["projects/PROJECT/topics/NAME"] = topic.name
    ordered = sorted(pages(), key=lambda page: page != FIRST)
    for line in dict.fromkeys(line.partition(" #")[0].strip() for page in ordered for line in cloud_commands(page)):
        if "projects/" in line and not cloud.has_pubsub:
            continue
        for placeholder, name in names.items():
            line = line.replace(placeholder, name)  # noqa: PLW2901
        words = shlex.split(line, comments=True)[1:]
        beating: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if "--subscription" in words and words[0] == "ingest":
            # A stream has no end of its own.
            words += ["--stop_after_secs", str(STREAM_SECS)]
            beating = topic.beating()
        with beating:
            assert cli.main(words) == 0, line
