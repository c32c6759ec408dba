"""The public archive: a plain directory page of packed nights, a list of their MD5 sums, and polite requests for both.

Formats: the page is HTML with a link for each file, as Apache's mod_autoindex makes it; ``MD5SUMS`` is what ``md5sum``
prints. HTTP: RFC 9110, sections 10.2.3 (Retry-After) and 15 (status codes).
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
import urllib.parse
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib import metadata
from types import TracebackType

import requests
import urllib3

from broker.archive.errors import NoSuchRelease, RemoteError
from broker.archive.local import is_release

ZTF_URL = "https://ztf.uw.edu/alerts/public/"
MD5_LIST = "MD5SUMS"
TRIES = 5
"""Requests in a row that may fail before we give up."""
PAUSE_SECS = 1.0
"""The first pause, about; each further one is twice as long, up to the longest."""
_LONGEST_PAUSE_SECS = 60.0
_LONGEST_WAIT_SECS = 900.0
"""A server that asks to come back later than that is left alone."""
_CONNECT_TIMEOUT_SECS, _READ_TIMEOUT_SECS = 20.0, 60.0
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_MD5_LINE = re.compile(r"\\?([0-9a-fA-F]{32})[ \t]+\*?(\S+)")
_log = logging.getLogger("broker.ztf_archive")


class Patience:
    """Counts the failures in a row and waits after each."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Something came: begin to count anew."""
        self._failures = 0

    def wait(self, cause: str, retry_after: str | None = None) -> None:
        """Wait before the next try, as long as the server asks for. Raises ``RemoteError`` when it has been tried enough."""
        self._failures += 1
        if self._failures >= TRIES:
            raise RemoteError(f"{cause}; gave up after {TRIES} tries: call again to go on where it stopped")
        pause_secs = _seconds(retry_after)
        if pause_secs is None:
            # With jitter, so that those who failed together do not come back together.
            pause_secs = min(PAUSE_SECS * 2 ** (self._failures - 1), _LONGEST_PAUSE_SECS) * random.uniform(0.5, 1.5)
        if pause_secs > _LONGEST_WAIT_SECS:
            raise RemoteError(f"{cause} and wants to be left alone for more than {_LONGEST_WAIT_SECS:.0f} s: call again later")
        _log.warning("%s; trying again in %.1f s", cause, pause_secs)
        time.sleep(pause_secs)


class Remote:
    """The archive at ``url``: by default ``$PITT_BROKER_ZTF_URL``, else the one at the University of Washington."""

    def __init__(self, url: str | None = None) -> None:
        chosen = url or os.environ.get("PITT_BROKER_ZTF_URL") or ZTF_URL
        self.url = chosen if chosen.endswith("/") else chosen + "/"
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"pitt-broker/{metadata.version('pitt-broker')}"

    def releases(self) -> list[str]:
        """Names of the nights, oldest first. Raises ``RemoteError`` when there are none: the page must be another one."""
        links = _Links()
        links.feed(self._text(""))
        names = {urllib.parse.unquote(urllib.parse.urlsplit(link).path).rsplit("/", 1)[-1] for link in links.found}
        found = sorted(filter(is_release, names))
        if not found:
            raise RemoteError(f"the page at {self.url} has no link to a ztf_public_YYYYMMDD.tar.gz; check the URL")
        return found

    def md5_sums(self) -> dict[str, str]:
        """MD5 sum, in lower case, by file name, in the order of the list."""
        lines = (_MD5_LINE.fullmatch(line.strip()) for line in self._text(MD5_LIST).splitlines())
        return {line[2].rsplit("/", 1)[-1]: line[1].lower() for line in lines if line}

    def get(self, name: str, patience: Patience, headers: Mapping[str, str] | None = None) -> requests.Response:
        """The beginning of an answer of status 200, 206 or 416; its body is still to be read.

        Raises ``NoSuchRelease`` for 404 and 410, and ``RemoteError`` for what trying again does not help.
        """
        address = urllib.parse.urljoin(self.url, name)
        while True:
            try:
                answer = self._session.get(
                    address,
                    # The file as it is: some servers take a .tar.gz for a .tar that they compressed for the journey.
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                    stream=True,
                    timeout=(_CONNECT_TIMEOUT_SECS, _READ_TIMEOUT_SECS),
                )
            except requests.exceptions.SSLError as error:
                raise RemoteError(f"{address} has no certificate we trust: {error}") from error
            except (requests.ConnectionError, requests.Timeout) as error:
                patience.wait(f"{address} does not answer ({_innermost(error)})")
                continue
            except requests.RequestException as error:
                raise RemoteError(f"{address} cannot be asked: {error}") from error
            if answer.status_code in (200, 206, 416):
                return answer
            answer.close()
            said = f"{address} answers {answer.status_code} {answer.reason}"
            if answer.status_code in (404, 410):
                raise NoSuchRelease(f"{said}: get_remote_release_list() gives what is there")
            if answer.status_code not in _TRY_AGAIN:
                raise RemoteError(said)
            patience.wait(said, answer.headers.get("Retry-After"))

    def _text(self, name: str) -> str:
        patience = Patience()
        while True:
            with self.get(name, patience) as answer:
                try:
                    return answer.content.decode("utf-8", "replace")
                except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                    cause = f"{answer.url} broke off ({_innermost(error)})"
            patience.wait(cause)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.close()


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None where there is none, or nonsense."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(urllib3.Retry().parse_retry_after(retry_after)))
    except urllib3.exceptions.InvalidHeader:
        return None


def _innermost(error: BaseException) -> str:
    """What happened, without the layers of libraries around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
