"""Whether a place in the cloud answers, asked once and for some seconds, before a client of its own tries for minutes."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from google.cloud.storage import Client

ANSWER_SECS = 10.0
"""Who has not answered by then is not there, or cannot be reached from here."""
NO_CREDENTIALS = (
    "there are no Google credentials here; make them with: gcloud auth application-default login, "
    "or name a key file in GOOGLE_APPLICATION_CREDENTIALS"
)


class Unreachable(OSError):
    """A service does not answer, or there is nothing to show it; the message says which and what to do."""


class NoBucket(OSError):
    """A bucket is not there; the message says which."""


def why(error: Exception) -> str:
    """What an error of Google's clients says, in one sentence a person can act on."""
    if _has_no_credentials(error):
        return NO_CREDENTIALS
    # Whoever has asked again and again says so in the message, and in the text also what was answered.
    words = error if getattr(error, "cause", None) else getattr(error, "message", None) or error
    return " ".join(str(words).split())


def told(error: Exception) -> str:
    """An error for the line that says why a run failed: its kind and its words, or what to do about it."""
    return why(error) if _has_no_credentials(error) else f"{type(error).__name__}: {error}"


def _has_no_credentials(error: Exception) -> bool:
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 - only where something has gone wrong

    return isinstance(error, DefaultCredentialsError)


def check_reachable(uri: str) -> None:
    """Refuse a ``gs://`` place whose service does not answer within some seconds. Raises ``Unreachable``.

    What it answers, that there is no such bucket or no right to it, is for whoever reads or writes there to tell.
    """
    with contextlib.suppress(NoBucket):
        check_bucket(uri)


def check_bucket(uri: str) -> None:
    """Refuse a ``gs://`` place to be written to whose bucket is not there. Raises ``NoBucket``, ``Unreachable``.

    Whether there is a right to write, which may be one to write and to nothing else, only writing tells.
    """
    if uri.startswith("gs://"):
        _ask_for(urlsplit(uri).netloc)


@functools.lru_cache(maxsize=64)  # of what answered: an error is no value, and who makes the bucket then is heard
def _ask_for(bucket: str) -> None:
    # Only where there is a bucket: Google's clients take a second.
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, NotFound  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    retry = DEFAULT_RETRY.with_timeout(ANSWER_SECS)
    try:
        listed = _storage_client().list_blobs(bucket, max_results=1, timeout=ANSWER_SECS, retry=retry)
        next(iter(listed), None)
    except NotFound as error:
        raise NoBucket(f"there is no bucket gs://{bucket}; make it, or name another one") from error
    except GoogleAPICallError:
        return  # it answers
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise Unreachable(
            f"gs://{bucket} does not answer within {ANSWER_SECS:g} s ({why(error)}); see whether this machine has a network, "
            "and whether STORAGE_EMULATOR_HOST names another host than is meant"
        ) from error


def _storage_client() -> Client:
    """A client with the account of this machine, or with none, as Beam's: which looks for one for half a minute, though."""
    import google.auth  # noqa: PLC0415
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415
    from google.cloud.storage import Client  # noqa: PLC0415

    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError:
        return Client.create_anonymous_client()
    return Client(project="-", credentials=credentials)
