"""Flags that would do nothing in the run that the others ask for: refused, since who gives one believes that it does."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import sources
from pipelines.errors import OptionsError

_OF_KAFKA = ("kafka_topic", "kafka_group", "kafka_from", "kafka_config", "kafka_schema")
_OF_ROUNDS = ("every_secs", "once", "round_mb", "metrics_port")
_OF_DATAFLOW_STREAMS = ("id_label", "timestamp_attribute", "load_every_secs", "max_wait_secs")


def check_effects(options: PipelineOptions) -> None:
    """Refuse flags without effect. Raises ``OptionsError``."""
    name = sources.named(options)
    rounds, stream = sources.in_rounds(options), name != "input"
    given = options.get_all_options(drop_default=True, retain_unknown_options=True)
    for flag, told in (("max_filter_us", "--max_filter_us"), ("sky_region", "--region NAME=FILE")):
        if flag in given and "filters" not in given:
            raise OptionsError(f"{told} does nothing without --filters; leave it out, or name a folder of filters")
    for flags, has_effect, where in (
        (_OF_KAFKA, name == "kafka", "belongs to --kafka"),
        (_OF_ROUNDS, rounds, "is for a stream in rounds: --kafka, --watch, or --subscription on this machine"),
        (_OF_DATAFLOW_STREAMS, stream and not rounds, "is for a stream on Dataflow"),
    ):
        for flag in flags:
            if flag in given and not has_effect:
                raise OptionsError(f"--{flag} does nothing with --{name}: it {where}; leave it out")
