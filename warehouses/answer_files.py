"""Answers as files: whole under their name, or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid

from warehouses.answers import Answer
from warehouses.formats import write
from warehouses.result import Result


def write_file(answer: Result | Answer, form: str, path: str) -> None:
    """Write an answer in one of ``warehouses.forms.FORMATS``; a file that is there stays as it is unless all goes well.

    Raises ``QueryError`` for an answer that does not fit the form or breaks off, ``OSError``.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, a device
        with open(path, "wb") as file:
            write(answer, form, file)
        return
    beside = f"{path}.{uuid.uuid4().hex[:8]}.part"
    try:
        with open(beside, "wb") as file:
            write(answer, form, file)
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
