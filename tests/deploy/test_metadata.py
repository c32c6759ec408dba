"""The Flex Template: its metadata describes the program as it is, and its parameters arrive as the program's options."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from google.cloud import dataflow

from deploy.main import arguments
from pipelines.errors import OptionsError
from pipelines.job import Job
from pipelines.options import BrokerOptions, parse
from tests.deploy.sources import ROOT, copied_by_dockerfile

METADATA = ROOT / "deploy" / "metadata.json"
BEAMS_OWN = {"sdk_container_image"}
"""Parameters that are no options of the broker."""


def parameters() -> dict[str, dict[str, Any]]:
    found = json.loads(METADATA.read_text())["parameters"]
    assert len({one["name"] for one in found}) == len(found)
    return {one["name"]: one for one in found}


def actions(options: type[PipelineOptions]) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    options._add_argparse_args(parser)
    return {name.removeprefix("--"): action for action in parser._actions for name in action.option_strings}


def accepts(parameter: dict[str, Any], value: str) -> bool:
    if "enumOptions" in parameter:
        return value in [one["value"] for one in parameter["enumOptions"]]
    return all(re.search(regex, value) for regex in parameter.get("regexes", []))


def test_every_option_of_the_program_is_a_parameter_and_nothing_else() -> None:
    assert parameters().keys() == actions(BrokerOptions).keys() | BEAMS_OWN
    assert actions(WorkerOptions).keys() >= BEAMS_OWN


def test_the_service_knows_every_key_type_and_value() -> None:
    # gcloud lets unknown keys and types pass without a word; the message's own parser does not.
    template = dataflow.TemplateMetadata.from_json(METADATA.read_text(), ignore_unknown_fields=False)
    assert template.name
    assert template.description
    assert template.streaming
    for one in template.parameters:
        assert one.label, one.name
        assert one.help_text, one.name
        for regex in one.regexes:
            re.compile(regex)


def test_choices_and_defaults_are_the_programs() -> None:
    for name, action in actions(BrokerOptions).items():
        described = parameters()[name]
        if action.choices:
            assert [one["value"] for one in described["enumOptions"]] == list(action.choices), name
        if action.nargs == 0:
            assert described["paramType"] == "BOOLEAN", name
            # Of the two flags of a pair, the one whose value is the default reads true.
            assert described["defaultValue"] == str(action.const == action.default or name in ("cutouts", "features")).lower(), (
                name
            )
        elif action.default is not None and name != "warehouse":
            if action.type is None:
                assert described["defaultValue"] == action.default, name
            else:
                assert action.type(described["defaultValue"]) == action.default, name
        assert action.type in (None, str) or described["paramType"] == "NUMBER", name
    assert "auto" in [one["value"] for one in parameters()["survey"]["enumOptions"]]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("input", "gs://night/a.tar.gz,gs://night/b/*.avro", "/home/me/night.tar.gz"),
        ("input", "gs://night/", "gs://night/a,b.tar"),
        ("subscription", "projects/testproj/subscriptions/alerts-sub", "alerts-sub"),
        ("subscription", "projects/testproj/subscriptions/abc", "projects/testproj/topics/abc"),
        ("topic", "projects/testproj/topics/ztf_20231018_programid1", "projects/proj/topics/ztf"),
        ("survey", "lsst", "LSST"),
        ("schemas", "https://registry.example.org/", "schemas"),
        ("warehouse", "bigquery://testproj/alerts", "bigquery://testproj"),
        ("warehouse", "gs://bucket/warehouse", "./warehouse"),
        ("write_method", "streaming_inserts", "storage_write_api"),
        ("load_every_secs", "60", "0"),
        ("load_every_secs", "300", "soon"),
        ("max_dead_letters", "0.01", "1.5"),
        ("max_dead_letters", "1", "-1"),
        ("crossmatch", "vizier:II/246/out,simbad?radius_arcsec=2,file:gs://bucket/stars.parquet", "file:stars.parquet"),
        ("watchlist", "gal=gs://bucket/a.csv?radius_arcsec=30,b=gs://bucket/c.fits", "gal=a.csv"),
        ("watchlist", "a=gs://bucket/a.csv", "gs://bucket/a.csv"),
        ("radius_arcsec", "1.5", "-1"),
        ("crossmatch_epoch", "observed", "today"),
        ("crossmatch_concurrency", "2", "0"),
        ("max_wait_secs", "5", "0"),
        ("crossmatch_deadline_secs", "60", "0"),
        ("crossmatch_cache_arcsec", "0", "-1"),
        ("crossmatch_url", "https://localhost:1/sync", "localhost"),
        ("cutouts", "false", "maybe"),
        ("no_cutouts", "true", "2"),
        ("features", "false", "maybe"),
        ("no_features", "true", "2"),
    ],
)
def test_the_console_refuses_what_the_program_refuses(name: str, good: str, bad: str) -> None:
    assert accepts(parameters()[name], good)
    assert not accepts(parameters()[name], bad)
    parse(arguments([f"--{name}={good}"]))


@pytest.mark.parametrize(
    "wrong",
    [
        ["--subscription=alerts-sub"],
        ["--topic=projects/proj/topics/ztf"],
        ["--subscription=projects/testproj/subscriptions/alerts-sub", "--survey=LSST"],
        ["--subscription=projects/testproj/subscriptions/alerts-sub", "--write_method=storage_write_api"],
        ["--subscription=projects/testproj/subscriptions/alerts-sub", "--load_every_secs=0"],
        ["--subscription=projects/testproj/subscriptions/alerts-sub", "--max_dead_letters=1.5"],
        ["--subscription=projects/testproj/subscriptions/alerts-sub", "--warehouse=bigquery://testproj"],
    ],
)
def test_the_program_refuses_what_the_console_refuses(wrong: list[str]) -> None:
    # The regexes must not be stricter than the program for no reason: each of these is wrong there, too.
    with pytest.raises(OptionsError):
        Job.from_options(parse(arguments(["--warehouse=bigquery://testproj/alerts", *wrong])))


def test_parameters_arrive_as_options() -> None:
    sent = [
        "--input=gs://night/a.tar.gz,gs://night/b,with-comma/",
        "--crossmatch=vizier:II/246/out?canary=10,20,simbad,file:gs://a/b.csv",
        "--watchlist=gal=gs://a/b.csv?ra=x&dec=y,other=gs://a/c,d.csv",
        "--cutouts=false",
        "--warehouse=bigquery://testproj/alerts",
        "--runner=DataflowRunner",
        "--project",
        "testproj",
        "--streaming=false",
        "--use_public_ips=false",
        '--labels={"a": "b"}',
        "--an_option_of_tomorrows_launcher=1",
    ]
    options = parse(arguments(sent))
    broker = options.view_as(BrokerOptions)
    assert broker.input == ["gs://night/a.tar.gz", "gs://night/b,with-comma/"]
    assert broker.crossmatch == ["vizier:II/246/out?canary=10,20", "simbad", "file:gs://a/b.csv"]
    assert broker.watchlist == ["gal=gs://a/b.csv?ra=x&dec=y", "other=gs://a/c,d.csv"]
    assert broker.cutouts is False
    given = options.get_all_options(drop_default=True)
    assert given["project"] == "testproj"
    assert given["use_public_ips"] is False
    assert given["labels"] == ['{"a": "b"}']
    assert "streaming" not in given


@pytest.mark.parametrize(
    ("sent", "cutouts"),
    [
        ([], True),
        (["--cutouts=true"], True),
        (["--cutouts=true", "--no_cutouts=false"], True),
        (["--no_cutouts=true"], False),
        (["--no_cutouts="], False),
        (["--no_cutouts"], False),
        (["--cutouts=false"], False),
    ],
)
def test_flags_take_true_and_false(sent: list[str], cutouts: bool) -> None:
    assert parse(arguments(sent)).view_as(BrokerOptions).cutouts is cutouts


def test_a_flag_that_is_neither_is_an_error() -> None:
    with pytest.raises(ValueError, match="--cutouts is a flag: give true or false, not 'perhaps'"):
        arguments(["--cutouts=perhaps"])


def test_the_image_has_what_it_needs_and_the_release_that_was_tested() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    pinned = re.search(r"^apache-beam==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert f"apache/beam_python3.11_sdk:{pinned[1]} " in text
    copied = copied_by_dockerfile()
    assert all((ROOT / one).exists() for one in copied)
    program = re.search(r"FLEX_TEMPLATE_PYTHON_PY_FILE=/template/(\S+)", text)
    assert program
    assert program[1] in copied


def test_gcloud_takes_the_metadata(tmp_path: Path) -> None:
    if not (gcloud := shutil.which("gcloud")):
        pytest.skip("gcloud is not on PATH: install the Google Cloud SDK")
    command = ["dataflow", "flex-template", "build", "gs://bucket/broker.json", "--image=region-docker.pkg.dev/p/r/broker:1"]
    environment = {**os.environ, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true", "CLOUDSDK_CONFIG": str(tmp_path)}
    built = subprocess.run(
        [gcloud, *command, "--sdk-language=PYTHON", f"--metadata-file={METADATA}", "--print-only", "--format=value(.)"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    spec = json.loads(built.stdout)
    assert spec["sdkInfo"] == {"language": "PYTHON"}
    assert [one["name"] for one in spec["metadata"]["parameters"]] == list(parameters())
