"""Credentials taken out of texts, before these are stored, logged or shown.

What we know as one: the password in a URL, parameters, headers and flags by their names, keys and tokens by their form, and the
values of environment variables that are secrets by their name. It costs a message some tens of microseconds.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "***"
_SHORTEST = 6
"""Characters of an environment variable's value that is looked for; shorter ones stand in too many words."""

_NAMED = (
    r"passw(?:or)?d|passwd|passphrase|secret|token|credential|(?:api|access|private|account|shared)[_.-]?key|authorization|cookie"
)
_NAME = re.compile(_NAMED, re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"(?:file|path|dir|_id|_ur[il]|_type|_secs|_ttl)$|expir", re.IGNORECASE)
"""Variables that say something about a secret: where it is (VAULT_TOKEN_PATH), and until when."""
_PATTERNS = (
    # user:password@ of a URL, a password that holds / or @ too; a user alone (a token, often) as well.
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)(?:[^\s/?#@'\"]{0,300}:[^\s'\"]{0,600}@|[^\s/?#'\"]{1,300}@)", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (
        re.compile(r"-----BEGIN ([A-Z ]{0,30}PRIVATE KEY)-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL),
        rf"-----BEGIN \1-----{HIDDEN}",
    ),
    # Authorization: Basic dXNlcjpwYXNz, in a header's words or in a dictionary's.
    (
        re.compile(
            r"(\bauthorization['\"]?\s{0,9}[:=]\s{0,9}['\"]?)(?:(?:basic|bearer|digest|negotiate)\s+)?[^\s'\",}]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\bbasic\s{1,9})(?=\S{0,600}[0-9=+/])[\w+/-]{8,600}={0,2}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\bbearer\s{1,9})[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # ?key=..., and other names that are a secret's only where a URL has parameters.
    (re.compile(r"([?&;](?:key|sig|auth|code|pwd|[\w-]{0,60}signature)=)[^\s&;#'\"<>)]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    # password=..., "token": "...", --s3_secret_access_key VALUE
    (re.compile(rf"((?:{_NAMED})[\w.-]{{0,60}}=)['\"]?[^\s&;#,'\"<>)]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            rf"((?:{_NAMED})[\w.-]{{0,60}}['\"]\s{{0,9}}:\s{{0,9}}b?)(['\"]).{{0,4000}}?(?:\2|\Z)", re.IGNORECASE | re.DOTALL
        ),
        rf"\1\2{HIDDEN}\2",
    ),
    (re.compile(rf"(--[\w-]{{0,60}}(?:{_NAMED})[\w-]{{0,60}}\s{{1,9}})[^\s-]\S*", re.IGNORECASE), rf"\1{HIDDEN}"),
    # Where user:password@ stands in no URL any more: how http.client complains of one.
    (re.compile(r"(nonnumeric port: )'[^']*'"), rf"\1'{HIDDEN}'"),
    # By their form: Google's access tokens, keys and client secrets, AWS's key ids, JSON web tokens.
    (
        re.compile(
            r"\bya29\.[\w.-]+|\bAIza[\w-]{35}|\bGOCSPX-[\w-]+|\bA(?:KI|SI)A[0-9A-Z]{16}\b"
            r"|\beyJ[\w-]{8,2000}\.[\w-]{1,4000}\.[\w-]*"
        ),
        HIDDEN,
    ),
)
"""Lengths are bounded, so that no text takes longer than its own length allows: what is in a message, others have written."""
_MAY_HOLD_ONE = re.compile(rf"@|[?&;]|-----|nonnumeric|basic|bearer|ya29|AIza|GOCSPX|A(?:KI|SI)A|eyJ|{_NAMED}", re.IGNORECASE)


def redact(text: str) -> str:
    """``text`` with ``***`` in place of every credential."""
    for value in _of_environment():
        text = text.replace(value, HIDDEN)
    return without_credentials(text)


def without_credentials(text: str) -> str:
    """``text`` with ``***`` in place of what looks like a credential by itself."""
    if _MAY_HOLD_ONE.search(text):
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
    return text


def redacted(value: Any, name: str = "") -> Any:
    """``value``, whose name is ``name``, without credentials: of texts, and of lists and mappings of them at any depth."""
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(item, name) for item in value]
    if isinstance(value, str):
        return HIDDEN if value and _NAME.search(name) else redact(value)
    return value


def holds_credential(url: str) -> bool:
    """Whether a URL has a user, a password or a key in it."""
    return without_credentials(url) != url


def _of_environment() -> Iterator[str]:
    """Values of environment variables that are secrets by their name."""
    for name in filter(_is_secret, os.environ):
        value = os.environ[name]
        if len(value) >= _SHORTEST and not os.path.exists(value):
            yield value


@functools.lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return bool(_NAME.search(name)) and not _PUBLIC_NAME.search(name)
