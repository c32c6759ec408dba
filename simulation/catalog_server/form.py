"""The form of a request: fields by their names in lower case, which is how the service knows them."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Mapping
from urllib.parse import parse_qsl

Form = Mapping[str, str | bytes]
"""Text of plain fields, bytes of uploaded files."""


class Refused(Exception):
    """The service does not take this request; the message is what it says."""


def read_form(content_type: str, body: bytes) -> Form:
    """The fields of a POST, ``multipart/form-data`` or urlencoded. Raises ``Refused``."""
    if content_type.lower().startswith("multipart/form-data"):
        return _multipart(content_type, body)
    try:
        return read_query(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused("The request is neither multipart/form-data nor urlencoded.") from error


def read_query(query: str) -> Form:
    """The fields of a query string."""
    return {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}


def _multipart(content_type: str, body: bytes) -> Form:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise Refused("The multipart/form-data of the request has no parts.")
    form: dict[str, str | bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            form[name.lower()] = content if part.get_filename() is not None else content.decode("utf-8", "replace")
    return form
