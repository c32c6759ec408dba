"""The commands of ``docs/dataflow.md``: gcloud takes them, and what they send is what the template and the program know."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from deploy.main import arguments
from pipelines.options import parse
from tests.deploy.jobs_service import JobsService, serving
from tests.deploy.sources import ROOT

PAGE = (ROOT / "docs" / "dataflow.md").read_text()
BLOCKS = [block.replace("\\\n", " ") for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
NAMES = BLOCKS[0]
"""The exports that all other commands stand on."""


def commands(beginning: str) -> list[str]:
    return [line.strip() for block in BLOCKS for line in block.splitlines() if line.startswith(beginning)]


def expanded(command: str) -> list[str]:
    """A command's words with the page's names in them."""
    script = f"{NAMES}\nJOB_ID=id-of-alerts RUN_ID=20261123T190254Z-b37dded4\nprintf '%s\\0' {command}"
    return subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


def test_a_checkouts_commands_are_options_of_the_program() -> None:
    found = commands("broker ingest")
    assert len(found) == 2
    for command in found:
        given = parse(expanded(command)[2:]).get_all_options(drop_default=True)
        assert given["setup_file"] == "./setup.py"
        assert given["project"] == "my-project"
        assert given["temp_location"].startswith("gs://")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> JobsService:
    """What the service got from the page's ``gcloud dataflow`` commands, one after another."""
    if not (gcloud := shutil.which("gcloud")):
        pytest.skip("gcloud is not on PATH: install the Google Cloud SDK")
    with serving(JobsService(running=["alerts"], states=["JOB_STATE_RUNNING"])) as service:
        environment = {
            **os.environ,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": f"{service.endpoint}/",
            "CLOUDSDK_CORE_PROJECT": "my-project",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        }
        found = [*commands("gcloud dataflow"), *commands("gcloud beta dataflow")]
        assert len(found) >= 6
        for command in found:
            words = [gcloud, *expanded(command)[1:]]
            if "build" in words:
                words.append("--print-only")
            ran = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert ran.returncode == 0, f"{shlex.join(words)}\n{ran.stderr}"
    return service


def test_the_templates_parameters_are_those_of_the_metadata(sent: JobsService) -> None:
    parameters: dict[str, dict[str, Any]] = {
        one["name"]: one for one in json.loads((ROOT / "deploy" / "metadata.json").read_text())["parameters"]
    }
    required = {name for name, one in parameters.items() if not one["isOptional"]}
    assert [one["jobName"] for one in sent.launches] == ["ztf-20231018", "alerts", "alerts"]
    assert [one.get("update", False) for one in sent.launches] == [False, False, True]
    for launch in sent.launches:
        given = launch["parameters"]
        assert given.keys() >= required
        for name, value in given.items():
            assert all(re.search(regex, value) for regex in parameters[name].get("regexes", [])), (name, value)
        parse(arguments([f"--{name}={value}" for name, value in given.items()]))
    assert sent.launches[0]["parameters"]["input"] == "gs://my-bucket/ztf_public_20231018.tar.gz,gs://my-bucket/late/"


def test_a_drain_is_asked_for_and_never_a_cancel(sent: JobsService) -> None:
    states = [one["requestedState"] for one in sent.changes if "requestedState" in one]
    assert states == ["JOB_STATE_DRAINED"]
    (workers,) = [one["runtimeUpdatableParams"] for one in sent.changes if "runtimeUpdatableParams" in one]
    assert (workers["minNumWorkers"], workers["maxNumWorkers"]) == (4, 10)
    assert "jobs cancel" not in PAGE
