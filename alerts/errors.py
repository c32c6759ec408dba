"""What can be wrong with a packet, and the dead letter that says so.

AlertError
  UnreadableInput   not an Avro container, archive or wire message, or damaged
  UnknownSchema     a wire message whose schema nobody has
  UnknownSurvey     a schema of no survey we know
  UndecodablePacket the datum does not fit its schema, or lacks what every alert has
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from alerts.limits import MAX_PAYLOAD_BYTES
from alerts.secrets import redact, redacted


class AlertError(ValueError):
    """Base of the errors by which a packet becomes a dead letter."""


class UnreadableInput(AlertError):
    """Bytes that are not an Avro container file, an archive or a wire message, or that are damaged."""


class UnknownSchema(AlertError):
    """A wire message names a schema that is neither built in nor given with --schemas."""


class UnknownSurvey(AlertError):
    """A schema, or a name, of no survey we know."""


class UndecodablePacket(AlertError):
    """A datum that does not fit its schema, or lacks its id or its time."""


class NoPacket(ValueError):
    """A packet that somebody wants to have and cannot: one sentence that says why."""


_MAX_MESSAGE = 400


_MOST_LOOKED_THROUGH = 20_000
"""Characters: far more than are kept, so that what is cut off here is half of no credential that stays."""


def shortened(text: str) -> str:
    """A message without its middle where it is long: libraries like to quote a whole schema in an error."""
    return text if len(text) <= _MAX_MESSAGE else f"{text[:250]} ... {text[-140:]}"


def _kept(message: str) -> str:
    """What a dead letter keeps of a message: its ends, without credentials."""
    half = _MOST_LOOKED_THROUGH // 2
    looked_through = message if len(message) <= 2 * half else f"{message[:half]} ... {message[-half:]}"
    # Before it is shortened: half a URL hides its password from whoever looks for it.
    return shortened(redact(looked_through))


@dataclass(frozen=True)
class DeadLetter:
    """An input that did not become a row, and why. ``payload`` is the input as it came, None where too large to keep.

    No credential stays in ``message`` and ``attributes``, whoever wrote them; ``payload`` and ``source`` are as they are.
    """

    stage: str
    error_type: str
    message: str
    source: str
    payload: bytes | None = None
    survey: str | None = None
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failed_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", _kept(self.message))
        object.__setattr__(self, "attributes", redacted(self.attributes))

    @classmethod
    def of(
        cls,
        stage: str,
        error: Exception,
        source: str,
        payload: bytes | None = None,
        *,
        survey: str | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> DeadLetter:
        """The dead letter for an error; a library's own error gets its class named in the message.

        A payload that is too large to keep is left out whole: a part of it would not be the input as it came.
        """
        if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
            payload = None
        name = type(error).__name__
        message = str(error) if isinstance(error, AlertError) else f"{name}: {error}"
        return cls(stage, name, message, source, payload, survey, attributes or {})
