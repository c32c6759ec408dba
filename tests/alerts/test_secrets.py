"""Credentials are taken out of texts, and nothing else is."""

from __future__ import annotations

import string
import time
import timeit
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.errors import DeadLetter, UnreadableInput
from alerts.secrets import HIDDEN, holds_credential, redact, redacted
from tests.alerts.making import examples

HUNTER = "hunter2-Tr0ub4dor"


@pytest.mark.parametrize(
    "text",
    [
        "no schema for wire schema id 5 from https://user:{}@registry.example.org/schemas/ids/5: timed out",
        "https://user:{}/with-a-slash@registry.example.org/ cannot be reached",
        "https://user:{}@with-an-at@registry.example.org/",
        "https://{}@github.example.org/x",
        "http://cds/xmatch?request=xmatch&key={}&format=votable answers 403",
        "GET https://host/a.tar?X-Goog-Signature={}&X-Goog-Date=1",
        "https://host/?access_token={}",
        "nonnumeric port: '{}@host'",
        "Authorization: Basic {}",
        "{{'Authorization': 'Bearer {}', 'Accept': '*/*'}}",
        "wrong: Basic {}==",
        "proxy said: Bearer {} is over",
        "unknown arguments: --s3_secret_access_key {} --region x",
        "--s3_session_token={}",
        '{{"password": "{}", "user": "me"}}',
        "{{'client_secret': '{}'}}",
        "sasl.password={}",
        "api_key={}, region=1",
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        "cut short: -----BEGIN RSA PRIVATE KEY-----\n{}",
    ],
)
def test_a_credential_is_hidden(text: str) -> None:
    hidden = redact(text.format(HUNTER))
    assert HUNTER not in hidden
    assert "hunter2" not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize(
    "token",
    [
        "ya29.a0AfH6SMBx-abc_def",
        "AIza" + "SyD-1234567890abcdefghijklmnopqrstu",
        "AKIAIOSFODNN7EXAMPLE",
        "GOCSPX-abcdefghijk",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    ],
)
def test_a_token_is_known_by_its_form(token: str) -> None:
    assert redact(f"the service says {token} has expired") == f"the service says {HIDDEN} has expired"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gs://bucket/night.tar.gz#ZTF/1.avro",
        "gs://bucket/a@b/1.avro",
        "projects/testproj/subscriptions/alerts-sub",
        "http://127.0.0.1:8080/schemas/ids/5 answered 500",
        "vizier:II/246/out?radius_arcsec=1.5&canary=10.5,-3",
        "basic statistics of a night, bearer of news",
        "unexpected token: '}' at line 3",
        "the key is missing: candid; write me@example.org",
        "candidate.magpsf = 18.2; drb=0.99",
        "an alert at 12:30:00, id 5 (ValueError: not enough bytes)",
        "--dataflow_kms_key projects/p/locations/l/keyRings/r/cryptoKeys/k",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redact(text) == text


@given(
    st.text(string.ascii_letters + string.digits + "!$%&*()+,;=:@-._~", min_size=6, max_size=30),
    st.text(string.ascii_letters, min_size=1),
    st.booleans(),
)
@examples(200)
def test_no_password_of_a_url_is_left(password: str, user: str, encoded: bool) -> None:
    password = f"Pw{password}"
    url = f"https://{user}:{quote(password, safe='') if encoded else password}@host.example.org:8081/path"
    assert redact(f"GET {url} failed") == f"GET https://{HIDDEN}@host.example.org:8081/path failed"
    assert holds_credential(url)
    assert not holds_credential(urlsplit(redact(url))._replace(netloc="host.example.org:8081").geturl())


def test_what_the_environment_holds_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PITT_BROKER_REGISTRY_PASSWORD", HUNTER)
    monkeypatch.setenv("SOMEBODYS_API_KEY", "k" * 20)
    monkeypatch.setenv("PLAIN_SETTING", "everybody-may-know")
    monkeypatch.setenv("SHORT_TOKEN", "on")
    monkeypatch.setenv("TOKEN_EXPIRES_AT", "20261126")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    text = f"a {HUNTER} b {'k' * 20} c everybody-may-know d on e {tmp_path} f 20261126T190254Z"
    assert redact(text) == f"a {HIDDEN} b {HIDDEN} c everybody-may-know d on e {tmp_path} f 20261126T190254Z"


def test_options_are_hidden_by_name_and_by_value_at_any_depth() -> None:
    options = {
        "s3_secret_access_key": HUNTER,
        "input": ["gs://bucket/a.tar", f"https://u:{HUNTER}@h/a"],
        "dataflow_kms_key": "projects/p/cryptoKeys/k",
        "nested": {"password": HUNTER, "n": 5, "none": None, "yes": True},
    }
    assert redacted(options) == {
        "s3_secret_access_key": HIDDEN,
        "input": ["gs://bucket/a.tar", f"https://{HIDDEN}@h/a"],
        "dataflow_kms_key": "projects/p/cryptoKeys/k",
        "nested": {"password": HIDDEN, "n": 5, "none": None, "yes": True},
    }


def test_a_dead_letter_keeps_its_input_and_no_credential() -> None:
    # The message is long: shortened first, it would lose the password's beginning but not its end.
    error = UnreadableInput(f"{'x' * 230} https://user:{HUNTER * 3}@host/ {'y' * 400}")
    attributes = {"candid": "5", "authorization": f"Bearer {HUNTER}", "note": f"token={HUNTER}", "offset_bytes": 7}
    letter = DeadLetter.of("read", error, "gs://b/a.avro", b"payload", attributes=attributes)
    assert "hunter2" not in letter.message
    assert "dor@host" not in letter.message
    assert letter.attributes == {"candid": "5", "authorization": HIDDEN, "note": f"token={HIDDEN}", "offset_bytes": 7}
    assert (letter.payload, letter.source) == (b"payload", "gs://b/a.avro")


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a-",
        "a://",
        "a://b:",
        "token",
        "'token':'",
        "--token",
        "eyJaaaaaaaa-",
        "?key",
        "basic ",
        "?a_",
        "x@",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_no_text_takes_longer_than_its_length_allows(piece: str) -> None:
    """Messages quote what packets hold: one made for the purpose must not stop a worker."""

    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        return min(timeit.repeat(lambda: redact(text), timer=time.process_time, number=1, repeat=9))

    # Four times the text: four times as long, not sixteen times.
    assert seconds(80_000) < 9 * seconds(20_000) + 0.01
