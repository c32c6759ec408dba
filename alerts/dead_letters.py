"""Dead letters as rows of their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import xxhash

from alerts.errors import DeadLetter
from alerts.json_text import to_json
from alerts.limits import MAX_ATTRIBUTES_BYTES
from schemas.tables import DEAD_LETTERS

REPLAYED = "replayed"
"""The stage of a mark: this letter has since become rows."""
OWN_ATTRIBUTES = frozenset({"letter", "run_id", "published_at", "records_lost", "offset_bytes", "table"})
"""What we note of a dead letter ourselves, and believe: which letter it is, how many alerts it stands for."""


def sent_attributes(sent: Mapping[str, str]) -> dict[str, str | int]:
    """The attributes of a message as a dead letter keeps them: none that is called like one of ours, nor more than may be."""
    size = sum(len(name.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace")) for name, value in sent.items())
    if size > MAX_ATTRIBUTES_BYTES:
        return {"sent_attributes_bytes": size}
    return {f"sent_{name}" if name in OWN_ATTRIBUTES else name: value for name, value in sent.items()}


def letter_id(letter: DeadLetter) -> str:
    """What tells the same input that failed twice from two inputs: hex digest of the payload, and of the source."""
    source = letter.source.encode("utf-8", "surrogatepass")
    digest = xxhash.xxh3_128(len(source).to_bytes(8, "big") + source)
    # Of an input too large to keep, what is wrong with it tells one failure from another.
    digest.update(b"\1" + letter.message.encode("utf-8", "surrogatepass") if letter.payload is None else b"\0" + letter.payload)
    return digest.hexdigest()


def dead_letter_rows(letters: Sequence[DeadLetter], run_id: str) -> pa.RecordBatch:
    """The rows of ``dead_letters``; the run's id and the letter's own stand among the attributes."""
    rows = [
        {
            "stage": letter.stage,
            "error_type": letter.error_type,
            "message": letter.message,
            "survey": letter.survey,
            "source": letter.source,
            "payload": letter.payload,
            "attributes": to_json({**letter.attributes, "run_id": run_id, "letter": letter_id(letter)}),
            "failed_at": letter.failed_at,
        }
        for letter in letters
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTERS.arrow_schema)
