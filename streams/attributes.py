"""A message as Pub/Sub carries it: its key and headers as attributes, which are text, few and short, and back.

Limits of Pub/Sub: https://cloud.google.com/pubsub/quotas#resource_limits. What does not fit goes in base64, among numbered
attributes, and is put back in its place by who reads.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

from streams.errors import MessageRefused
from streams.messages import Message

MAX_ATTRIBUTES, MAX_NAME_BYTES, MAX_VALUE_BYTES = 100, 256, 1024
_MAX_PLAIN = 50
"""So many headers are attributes of their own at most, which leaves room for the others."""
KEY, NO_VALUE, REST = "kafka_key", "kafka_no_value", "kafka_rest_"
_OF_THE_CLIENT = ("self", "topic", "data", "ordering_key", "retry", "timeout")
"""Parameters of Google's client, which takes attributes by name beside them."""
_KEY_AT = -1
_MAX_READABLE = 4 * MAX_VALUE_BYTES
"""Longer than that the rest is compressed."""
_MAX_REST_BYTES = 16 * 2**20
"""A rest that would become longer is none of ours."""


def to_attributes(message: Message) -> dict[str, str]:
    """The attributes of a message. Raises ``MessageRefused`` where its headers are more than attributes hold."""
    found: dict[str, str] = {}
    rest: list[tuple[int, str] | tuple[int, str, str | None]] = []
    if message.value is None:
        found[NO_VALUE] = "true"
    if message.key is not None:
        _put(found, rest, KEY, message.key, _KEY_AT)
    plain: list[tuple[int, str]] = []
    for number, (name, value) in enumerate(message.headers):
        if _may_be_a_name(name) and name not in found and len(plain) < _MAX_PLAIN:
            if _put(found, rest, name, value, number):
                plain.append((number, name))
        else:
            rest.append((number, name, _coded(value)))
    names = [name for _, name in plain]
    if names != sorted(names):
        # Attributes have no order: these say in which place each stands.
        rest += plain
    if rest:
        text = json.dumps(rest, separators=(",", ":"))
        if len(text) > _MAX_READABLE:
            # Fink's keys are schemas, of 50 kB and more.
            text = base64.b64encode(zlib.compress(text.encode(), 1)).decode("ascii")
        parts = [text[at : at + MAX_VALUE_BYTES] for at in range(0, len(text), MAX_VALUE_BYTES)]
        found.update({f"{REST}{number}": part for number, part in enumerate(parts)})
    if len(found) > MAX_ATTRIBUTES:
        raise MessageRefused(
            f"its {len(message.headers)} headers need {len(found)} attributes of Pub/Sub, which allows {MAX_ATTRIBUTES}"
        )
    return found


def _put(found: dict[str, str], rest: list, name: str, value: bytes | None, number: int) -> bool:
    """Put a value where it fits; whether it is an attribute of its own."""
    try:
        text = (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    # An empty one among the rest, too: whether Pub/Sub takes such is not said.
    if value and text and len(value) <= MAX_VALUE_BYTES:
        found[name] = text
        return True
    rest.append((number, name, _coded(value)))
    return False


def _coded(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")


def _may_be_a_name(name: str) -> bool:
    reserved = name in (KEY, NO_VALUE, *_OF_THE_CLIENT) or name.startswith(REST) or name.lower().startswith("goog")
    try:
        return bool(name) and not reserved and len(name.encode("utf-8")) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def from_attributes(data: bytes, attributes: Mapping[str, str]) -> Message:
    """The message that ``to_attributes`` made them of. Raises ``ValueError`` where it cannot have been it."""
    left = dict(attributes)
    value = None if left.pop(NO_VALUE, None) else data
    parts = sorted((int(name.removeprefix(REST)), left.pop(name)) for name in attributes if name.startswith(REST))
    rest = _rest("".join(part for _, part in parts)) if parts else []
    key = left.pop(KEY).encode() if KEY in left else None
    placed: dict[int, tuple[str, bytes | None]] = {}
    for number, name, coded in rest:
        if number == _KEY_AT:
            key = coded
        elif coded is not _PLAIN:
            placed[number] = name, coded
        elif name in left:
            placed[number] = name, left.pop(name).encode()
    headers: list[tuple[str, bytes | None]] = []
    plain = iter(sorted(left.items()))
    for number in range(len(placed) + len(left)):
        if number in placed:
            headers.append(placed.pop(number))
        elif following := next(plain, None):
            headers.append((following[0], following[1].encode()))
    # Where somebody has taken headers away, places are beyond the end.
    headers += [placed[number] for number in sorted(placed)]
    return Message(value, key, tuple(headers))


_PLAIN = b"as it stands"
"""In place of a value: it is an attribute of its own. Known by identity."""


def _rest(text: str) -> list[tuple[int, str, bytes | None]]:
    if not text.startswith("["):
        unpack = zlib.decompressobj()
        try:
            text = unpack.decompress(base64.b64decode(text, validate=True), _MAX_REST_BYTES).decode()
        except zlib.error as error:
            raise ValueError(f"no rest of a message: {error}") from error
        if not unpack.eof:
            raise ValueError("no rest of a message: it is too long")
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("no list")
    rest: list[tuple[int, str, bytes | None]] = []
    for item in found:
        if not isinstance(item, list) or len(item) not in (2, 3) or not isinstance(item[0], int) or not isinstance(item[1], str):
            raise ValueError("no header")
        if len(item) == 2:
            rest.append((item[0], item[1], _PLAIN))
        else:
            rest.append((item[0], item[1], None if item[2] is None else base64.b64decode(item[2], validate=True)))
    return rest
