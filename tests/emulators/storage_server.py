"""The emulator of Cloud Storage with what it lacks and a warehouse in a bucket builds on.

Preconditions (``ifGenerationMatch`` and its sisters) are held against the object, and a change that does not meet them is refused
with 412 and changes nothing; the emulator answers one request after another. Metadata that are patched were updated now.
https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator import __main__, server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

_CHANGES = ("POST", "PUT", "PATCH", "DELETE")
_REFUSED = {"error": {"code": 412, "message": "conditionNotMet", "errors": [{"domain": "global", "reason": "conditionNotMet"}]}}

Handler = Callable[..., None]


def met(conditions: dict[str, list[str]], found: dict[str, str] | None) -> bool:
    """Whether an object, None where there is none, meets a request's preconditions. A generation of 0 is that of no object."""
    for name, key in (("Generation", "generation"), ("Metageneration", "metageneration")):
        has = found[key] if found else "0"
        if any(has != wanted for wanted in conditions.get(f"if{name}Match", [])):
            return False
        if any(has == other for other in conditions.get(f"if{name}NotMatch", [])):
            return False
    return True


def _target(request: Any) -> tuple[str, str] | None:
    """The bucket and name of the object that a request changes."""
    given = request.params
    if "dest_object_id" in given:
        return given["dest_bucket_name"], given["dest_object_id"]
    if "object_id" in given:
        return given["bucket_name"], given["object_id"]
    if "name" in request.query:
        return given["bucket_name"], request.query["name"][0]
    if isinstance(request.data, dict) and "bucket_name" in given:
        name = (request.data.get("meta") or request.data).get("name")
        return (given["bucket_name"], name) if name else None
    return None


def _found(storage: Any, target: tuple[str, str]) -> dict[str, str] | None:
    try:
        found: dict[str, str] = storage.get_file_obj(*target)
    except NotFound:
        return None
    return found


def guarded(handler: Handler) -> Handler:
    """A handler of changes that holds preconditions against what is there."""

    @functools.wraps(handler)
    def handle(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
        conditions = {name: values for name, values in request.query.items() if name.startswith("if")}
        if conditions and (target := _target(request)) is not None and not met(conditions, _found(storage, target)):
            response.status = HTTPStatus.PRECONDITION_FAILED
            response.json(_REFUSED)
            return
        handler(request, response, storage, *args, **kwargs)

    return handle


def _patched(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
    objects.patch(request, response, storage, *args, **kwargs)
    if response.status == HTTPStatus.OK:
        found = storage.get_file_obj(request.params["bucket_name"], request.params["object_id"])
        found["updated"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        storage.patch_object(request.params["bucket_name"], request.params["object_id"], found)
        response.json(found)


def teach() -> None:
    """Have the emulator's handlers know preconditions."""
    taught = []
    for pattern, handlers in server.HANDLERS:
        own = {method: _patched if handler is objects.patch else handler for method, handler in handlers.items()}
        taught.append((pattern, {method: guarded(one) if method in _CHANGES else one for method, one in own.items()}))
    server.HANDLERS = tuple(taught)
    objects.insert = guarded(objects.insert)  # some uploads find it by another way


if __name__ == "__main__":
    teach()
    __main__.main()
