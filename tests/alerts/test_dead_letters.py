"""Dead letters as rows: enough to know what is wrong, where it came from, and to run it again."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from alerts.dead_letters import dead_letter_rows
from alerts.errors import AlertError, DeadLetter, UnknownSchema, UnreadableInput
from alerts.limits import MAX_PAYLOAD_BYTES
from tests.alerts.making import ingest, tar_of, ztf_packet


def test_a_dead_letter_is_a_row_with_the_input_as_it_came():
    before = datetime.now(timezone.utc)
    letters = ingest(tar_of({"1.avro": ztf_packet()[:500], "2.avro": b"<html>"}), "gs://bucket/n.tar").letters
    rows = dead_letter_rows(letters, "run 7")
    rows.validate(full=True)
    first, second = rows.to_pylist()
    assert first["payload"] == ztf_packet()[:500]
    assert first["source"] == "gs://bucket/n.tar#1.avro"
    assert (second["stage"], second["error_type"], second["survey"]) == ("read", "UnreadableInput", None)
    assert json.loads(second["attributes"])["run_id"] == "run 7"
    assert before <= second["failed_at"] <= datetime.now(timezone.utc)


def test_what_a_message_brought_is_kept_but_does_not_pass_for_the_run():
    letter = DeadLetter.of("read", UnreadableInput("x"), "m", b"", attributes={"topic": "t", "offset": 2**60, "run_id": "other"})
    attributes = json.loads(dead_letter_rows([letter], "run 7").to_pylist()[0]["attributes"])
    assert (attributes["topic"], attributes["offset"], attributes["run_id"]) == ("t", str(2**60), "run 7")


def test_an_error_of_ours_speaks_for_itself_and_one_of_a_library_is_named():
    assert DeadLetter.of("read", UnknownSchema("wire schema id 5 is not known"), "m").message == "wire schema id 5 is not known"
    assert DeadLetter.of("write", OSError("disk full"), "m").message == "OSError: disk full"
    assert DeadLetter.of("write", OSError("disk full"), "m").error_type == "OSError"


def test_our_errors_are_one_family():
    assert issubclass(UnknownSchema, AlertError)
    assert issubclass(AlertError, ValueError)


def test_a_message_that_quotes_a_whole_schema_is_shortened_in_its_middle():
    letter = DeadLetter.of("read", UnreadableInput("beginning " + "x" * 30_000 + " end"), "m")
    assert len(letter.message) < 500
    assert letter.message.startswith("beginning")
    assert letter.message.endswith("end")


@pytest.mark.parametrize(("size", "kept"), [(0, True), (MAX_PAYLOAD_BYTES, True), (MAX_PAYLOAD_BYTES + 1, False)])
def test_an_input_is_kept_whole_or_not_at_all(size, kept):
    letter = DeadLetter.of("read", UnreadableInput("x"), "m", bytes(size))
    assert letter.payload == (bytes(size) if kept else None)


def test_no_dead_letters_are_no_rows():
    assert dead_letter_rows([], "run 7").num_rows == 0
