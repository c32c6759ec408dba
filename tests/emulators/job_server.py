"""bqemulator 1.4.0's jobs by their ids, put right: part of ``bigquery_server.py``."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from bqemulator.api.routes import jobs, upload
from bqemulator.domain.errors import ResourceRef, resource_already_exists

Json = dict[str, Any]


def once(execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A job's id can be used once: the same request again, sent because the answer was lost, is a 409.

    bqemulator does the job again.
    """

    @functools.wraps(execute)
    async def executed(project_id: str, job_id: str, config: Json, *context: Any, **others: Any) -> Any:
        if (*context, others.get("ctx"))[0].catalog.get_job(project_id, job_id) is not None:
            raise resource_already_exists(ResourceRef("job", project_id, None, job_id))
        return await execute(project_id, job_id, config, *context, **others)

    return executed


_UPLOADED = "uploadedAs"
_uploaded: contextvars.ContextVar[str] = contextvars.ContextVar(_UPLOADED)


def with_job_id(read: Callable[[Json], Json]) -> Callable[[Json], Json]:
    """The job of an uploaded file has the id that its client gives it. bqemulator gives it one of its own, at each try."""

    @functools.wraps(read)
    def told(envelope: Json) -> Json:
        return {**read(envelope), _UPLOADED: envelope.get("jobReference", {}).get("jobId") or make_job_id()}

    make_job_id = upload._new_job_id
    return told


def uploaded_once(load: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A load of an uploaded file by its own id, and once."""

    @functools.wraps(load)
    async def loaded(*, project_id: str, configuration: Json, media_path: str, ctx: Any) -> Any:
        rest = {name: value for name, value in configuration.items() if name != _UPLOADED}
        _uploaded.set(configuration[_UPLOADED])

        async def begin(project_id: str, job_id: str, config: Json, context: Any) -> Any:
            return await load(project_id=project_id, configuration=config, media_path=media_path, ctx=context)

        return await once(begin)(project_id, configuration[_UPLOADED], rest, ctx)

    return loaded


def put_right() -> None:
    """Change bqemulator in this process."""
    for name in ("_handle_query_job", "_handle_load_job_with_async_envelope", "execute_copy_job", "execute_extract_job"):
        setattr(jobs, name, once(getattr(jobs, name)))
    upload._load_configuration_from_envelope = with_job_id(upload._load_configuration_from_envelope)
    upload._run_load, upload._new_job_id = uploaded_once(upload._run_load), _uploaded.get
    # What Google's client calls the content of a small file. bqemulator wants to know what it is.
    upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
