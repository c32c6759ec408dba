"""The job server of Beam's that takes a job: whether it answers, and which options it has besides Beam's."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Collection, Sequence

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipelines.errors import OptionsError

_ANSWER_SECS = 10.0
_NEAR = 0.85
"""How like a flag a word must be to be a misspelling of it, where nobody says which options there are."""


def unknown_to(options: PipelineOptions, words: Sequence[str], known: Collection[str]) -> list[str]:
    """Of words that are nothing to us and to Beam, those that are no option of the job server either, or a value of one.

    One that Beam is only to start cannot be asked: then what is like a ``known`` flag is a misspelling, and the rest is its.
    Raises ``OptionsError`` where a job server does not answer.
    """
    endpoint = endpoint_of(options)
    declared = _declared(endpoint) if endpoint else None
    left: list[str] = []
    value_of = ""
    for word in words:
        flag, equals, _ = word.partition("=")
        if not word.startswith("--"):
            left += [] if value_of else [word]
            value_of = ""
            continue
        is_its = flag[2:] in declared if declared is not None else not difflib.get_close_matches(flag, known, cutoff=_NEAR)
        value_of = flag if is_its and not equals else ""
        left += [] if is_its else [word]
    return left


def flags_of(options: PipelineOptions) -> list[str]:
    """The flags that the job server has, where it can be asked. Raises ``OptionsError`` where it does not answer."""
    endpoint = endpoint_of(options)
    return [f"--{name}" for name in sorted(_declared(endpoint))] if endpoint else []


def endpoint_of(options: PipelineOptions) -> str | None:
    """Where it listens; None where Beam starts one."""
    endpoint: str | None = options.view_as(PortableOptions).job_endpoint
    return None if endpoint == "embed" else endpoint


def check_answers(options: PipelineOptions) -> None:
    """Raises ``OptionsError`` where nobody listens at ``--job_endpoint``."""
    endpoint = endpoint_of(options)
    if endpoint is None:
        return
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit():
        raise OptionsError(f"--job_endpoint {endpoint} is not of the form HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECS).close()
    except OSError as error:
        raise OptionsError(f"--job_endpoint {endpoint}: no job server answers there: {error}") from error


def _declared(endpoint: str) -> set[str]:
    import grpc  # noqa: PLC0415 - only where there is somebody to ask
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc  # noqa: PLC0415

    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            answer = stub.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ANSWER_SECS)
        except grpc.RpcError as error:
            raise OptionsError(
                f"--job_endpoint {endpoint}: no job server says which options it has: {error.details()}"
            ) from error
    return {option.name for option in answer.options}
