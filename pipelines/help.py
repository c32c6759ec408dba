"""What ``--help`` says of the commands that run a pipeline: without Beam, whose own flags pass through and are not listed."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass

from pipelines import flags


@dataclass(frozen=True)
class _Command:
    about: str
    examples: tuple[str, ...]


_COMMANDS = {
    "broker ingest": _Command(
        "Read alert packets and write them, every one as a row or a dead letter, to the tables of a warehouse.",
        (
            "--input ztf_public_20231018.tar.gz --warehouse ./warehouse",
            "--input night/ --crossmatch vizier:II/246/out --crossmatch 'file:stars.parquet?radius_arcsec=1.5'",
            "--input night/ --watchlist 'galaxies=galaxies.csv?radius=r_arcsec'",
            "--input gs://BUCKET/night.tar.gz --warehouse bigquery://PROJECT/DATASET --temp_location gs://BUCKET/tmp",
            "--kafka HOST:9092 --kafka_topic 'ztf_.*_programid1' --kafka_group NAME --warehouse ./warehouse",
            "--subscription projects/PROJECT/subscriptions/NAME --warehouse bigquery://PROJECT/DATASET",
        ),
    ),
    "broker replay": _Command(
        "Run the dead letters of a warehouse through the pipeline again. What passes becomes rows; what fails keeps its history.",
        (
            "--warehouse ./warehouse --stage decode",
            "--warehouse bigquery://PROJECT/DATASET --schemas ./schemas",
        ),
    ),
    "broker rematch": _Command(
        "Ask catalogs about alerts that are in a warehouse. Without --crossmatch and --watchlist: again what "
        "failed. With them: these catalogs, about every alert that has no answer from them.",
        (
            "--warehouse ./warehouse",
            "--warehouse ./warehouse --crossmatch vizier:B/vsx/vsx --night 2026-11-01..2026-11-23",
            "--warehouse ./warehouse --watchlist 'galaxies=galaxies.csv?radius=r_arcsec' --again",
        ),
    ),
    "broker refilter": _Command(
        "Ask filters about alerts that are in a warehouse: new ones about old nights, or what failed. "
        "Features and cross-matches are those that are stored.",
        (
            "--warehouse ./warehouse --filters ./filters --night 2026-11-01..07",
            "--warehouse ./warehouse --filters ./filters --night 2026-11-01..07 --publish 'folder:hits/{survey}-{filter}'",
            "--warehouse bigquery://PROJECT/DATASET --filters gs://BUCKET/filters --again",
        ),
    ),
}
_OF_WHAT_COMES_IN = (
    *("--max_alerts", "--load_every_secs", "--max_wait_secs", "--max_dead_letters"),
    *("--cutouts", "--no_cutouts", "--no_history", "--features", "--no_features"),
)
"""Flags of runs that read packets, and not of those that go over a warehouse's alerts."""
WITHOUT_EFFECT = {
    "broker replay": ("--max_alerts", "--load_every_secs", "--max_wait_secs"),
    "broker rematch": (*_OF_WHAT_COMES_IN, "--schemas", "--filters", "--sky_region", "--max_filter_us"),
    "broker refilter": (
        *_OF_WHAT_COMES_IN,
        "--crossmatch",
        "--crossmatch_epoch",
        "--crossmatch_concurrency",
        "--crossmatch_deadline_secs",
        "--crossmatch_cache_arcsec",
        "--crossmatch_url",
    ),
}
"""Flags of ``flags.add_run_without_source`` that mean nothing to a command: it does not list them, and refuses them."""
_EPILOG = """All Beam options pass through: --runner, --direct_num_workers (processes of a local run), --project,
--temp_location, ... Exit status: 0 done, 1 the run failed, 2 the options are wrong, 3 nothing but dead letters
came of the files that were given, 130 interrupted."""


def add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Our own flags of a command, ``broker ingest`` and its like, to an empty parser."""
    if command not in WITHOUT_EFFECT:
        flags.add_run(parser)
        flags.add_rounds(parser)
        return
    own = {"broker replay": flags.add_replay, "broker rematch": flags.add_again, "broker refilter": flags.add_again}
    own[command](parser)
    flags.add_run_without_source(parser)
    for action in parser._actions:
        if set(action.option_strings) & set(WITHOUT_EFFECT[command]):
            action.help = argparse.SUPPRESS


def help_text(command: str) -> str:
    """The broker's own flags, and example command lines; Beam's flags pass through and are documented there."""
    told = _COMMANDS[command]
    parser = argparse.ArgumentParser(
        command,
        description=textwrap.fill(told.about, 100),
        epilog="\n".join(["examples:", *(f"  {command} {example}" for example in told.examples), "", _EPILOG]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, command)
    return parser.format_help()
