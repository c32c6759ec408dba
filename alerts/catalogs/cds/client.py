"""CDS X-Match: VizieR's catalogs and SIMBAD. astroquery words the question; sending it, and trusting the answer, is ours.

Form, limits and errors: http://cdsxmatch.u-strasbg.fr/xmatch/doc/ (API), and what ``docs/crossmatch.md`` tells of it.
Every answer is distrusted: what does not look as it must is ``Unavailable``, never "nothing there".
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.catalogs.catalog import (
    MAX_RADIUS_ARCSEC,
    BadCatalog,
    Banned,
    Candidates,
    Floats,
    Rejected,
    SourceColumns,
    Unavailable,
)
from alerts.catalogs.cds.answers import read_answer, read_columns
from alerts.catalogs.cds.gate import Gate, LeftAlone, pause_secs
from alerts.catalogs.cds.question import request, upload, user_agent
from alerts.catalogs.defaults import CROSSMATCH_URL, DEADLINE_SECS
from alerts.catalogs.http import post
from alerts.catalogs.known import KNOWN, Known
from alerts.catalogs.matching import places, separations
from alerts.catalogs.spec import PROPER_MOTION_REACH_ARCSEC, SIMBAD, CatalogSpec, canary_position, epochs
from alerts.limits import MAX_ANSWER_BYTES, MAX_ANSWER_ROWS, MAX_DECLARATION_BYTES

MAX_ROWS = MAX_ANSWER_ROWS
TRIES = 2
_MARGIN_ARCSEC = 0.02
"""Positions are sent with 7 decimals and come with as few as 6: we ask for a little more than we keep."""
_TOLERANCE_ARCSEC = 0.1
_UNIT_ANGLE_ERROR = 0.001
_LAYOUT = {"ra": "ra", "dec": "dec", "id": "source_id", "pmra": "pmra", "pmdec": "pmdec"}
"""Parameters of a catalog's name that are names of its columns."""

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Service:
    """How to call X-Match."""

    gate: Gate
    url: str = CROSSMATCH_URL
    deadline_secs: float = DEADLINE_SECS
    """For one call, from the first byte to the last."""
    longest_pause_secs: float = 5.0
    """Between two tries."""
    count: Callable[[str, int], None] = lambda name, number: None
    """Told of calls, their milliseconds, and positions."""


class CdsCatalog:
    """A catalog behind CDS X-Match."""

    def __init__(self, spec: CatalogSpec, service: Service) -> None:
        """Raises ``BadCatalog`` when the parameters of ``spec`` are none; calls nobody."""
        self.name = spec.name
        self._service = service
        self._cat2 = SIMBAD if spec.kind == SIMBAD else spec.name
        self._known = declared(spec)
        self._columns: Mapping[str, pa.DataType] = self._known.columns
        """Replaced as a whole, never changed."""
        self._lock = threading.Lock()

    @property
    def source_columns(self) -> SourceColumns:
        """Which columns hold what, as declared."""
        return self._known.source_columns

    def search(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epoch_jyear: Floats | None) -> Candidates:
        """All sources near the positions (ICRS; up to ``MAX_POSITIONS`` are one call). Raises ``CatalogError``."""
        reach = self.reach_arcsec(radius_arcsec, moving=epoch_jyear is not None)
        # Of this call: what others learn or forget meanwhile is not for the answers that are on their way.
        columns = self._learned_columns()
        try:
            return self._ask(ra_deg, dec_deg, reach, columns)
        except Unavailable:
            # What was learned may be out of date.
            with self._lock:
                if self._columns is columns:
                    self._columns = self._known.columns
            raise

    def reach_arcsec(self, radius_arcsec: float, moving: bool) -> float:
        """The radius that is asked for, so that all within ``radius_arcsec`` come, and those that move there."""
        if self.source_columns.ra is None:
            return radius_arcsec
        widened = radius_arcsec + _MARGIN_ARCSEC + (PROPER_MOTION_REACH_ARCSEC if moving and self.source_columns.moves else 0)
        return min(widened, MAX_RADIUS_ARCSEC)

    def _ask(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, columns: Mapping[str, pa.DataType]) -> Candidates:
        try:
            return self._ask_once(ra_deg, dec_deg, radius_arcsec, columns)
        except _TooManyRows as cut:
            if len(ra_deg) == 1:
                raise Rejected(
                    f"{self.name} has {MAX_ROWS:,} sources or more within {radius_arcsec:g} arcsec of one position"
                ) from cut
        half = len(ra_deg) // 2
        first = self._ask(ra_deg[:half], dec_deg[:half], radius_arcsec, columns)
        second = self._ask(ra_deg[half:], dec_deg[half:], radius_arcsec, columns)
        sources = pa.Table.from_batches([first.sources, second.sources]).combine_chunks().to_batches()
        given = (first.separation_arcsec, second.separation_arcsec)
        return Candidates(
            np.concatenate([first.position, second.position + half]),
            sources[0] if sources else first.sources,
            None if given[0] is None or given[1] is None else np.concatenate([given[0], given[1]]),
        )

    def _ask_once(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, columns: Mapping[str, pa.DataType]) -> Candidates:
        canary = self._known.canary
        ra = np.append(ra_deg, canary[0]) if canary else ra_deg
        dec = np.append(dec_deg, canary[1]) if canary else dec_deg

        def read(body: bytes) -> Candidates | None:
            found = read_answer(body, columns, len(ra), self.name, MAX_ROWS)
            if len(found.position) >= MAX_ROWS:
                return None
            self._distrust(found, ra, dec, radius_arcsec)
            return self._without_canary(found, len(ra_deg)) if canary else found

        self._service.count("positions", len(ra_deg))
        found = self._try(upload(ra, dec), radius_arcsec, "csv", read)
        if found is None:
            raise _TooManyRows
        return found

    def _without_canary(self, found: Candidates, number: int) -> Candidates:
        """The answer without the star that must be in it, the last position asked."""
        own = np.flatnonzero(found.position != number)
        if len(own) == len(found.position):
            raise Unavailable(f"{self.name} does not know a star that it has (its canary): no answer of it counts")
        given = found.separation_arcsec
        return Candidates(found.position[own], found.sources.take(pa.array(own)), None if given is None else given[own])

    def _distrust(self, found: Candidates, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float) -> None:
        """Refuse an answer whose separations are beyond what was asked, or do not agree with its positions."""
        given = found.separation_arcsec
        if given is None or not len(given):
            return
        if not (given <= radius_arcsec + _UNIT_ANGLE_ERROR).all():
            raise Unavailable(f"{self.name} gives a source {np.max(given):g} arcsec away where {radius_arcsec:g} was asked for")
        if self.source_columns.ra is None:
            return
        ra, dec, _ = places(found, self.source_columns, None)
        own = separations(ra_deg[found.position], dec_deg[found.position], ra, dec)
        # How a service moves stars may differ from ours in the last per cent.
        tolerance = _TOLERANCE_ARCSEC + 0.01 * self._moved_arcsec(found, ra, dec)
        # A source without a position of its own is taken where the service says.
        wrong = np.flatnonzero(np.abs(own - given) > tolerance)
        if len(wrong):
            row = int(wrong[0])
            raise Unavailable(
                f"{self.name} calls {given[row]:.3f} arcsec what by its columns is {own[row]:.3f}: "
                "the epochs or columns we declare for it are not its own (any more)"
            )

    def _moved_arcsec(self, found: Candidates, ra: Floats, dec: Floats) -> Floats:
        if self.source_columns.ra is None or self.source_columns.dec is None:
            return np.zeros(len(ra))
        listed = (pc.cast(found.sources.column(name), pa.float64()) for name in (self.source_columns.ra, self.source_columns.dec))
        ra0, dec0 = (np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64) for column in listed)
        return separations(ra0, dec0, ra, dec)

    def _learned_columns(self) -> Mapping[str, pa.DataType]:
        """The columns; of a catalog that we do not know the service itself is asked, once: a VOTable declares them."""

        def read(body: bytes) -> dict[str, pa.DataType]:
            return read_columns(body, self.name, self.source_columns)

        with self._lock:
            if not self._columns:
                self._columns = self._try(upload(np.array([0.0]), np.array([0.0])), 1.0, "votable", read)
            return self._columns

    def _try(self, sent: str, radius_arcsec: float, answer_format: str, read: Callable[[bytes], _Read]) -> _Read:
        """What ``read`` makes of the answer; an answer that it does not trust is a failure of the service like any other."""
        columns = list(self._known.columns)
        max_bytes = MAX_DECLARATION_BYTES if answer_format == "votable" else MAX_ANSWER_BYTES
        payload, files = request(self._cat2, sent, radius_arcsec, answer_format=answer_format, columns=columns, max_rows=MAX_ROWS)
        attempt = 1
        while True:
            try:
                with self._service.gate.call(self.name):
                    return read(self._send(payload, files, max_bytes))
            except LeftAlone:
                raise
            except Unavailable as error:
                if attempt == TRIES:
                    raise
                wait_secs = error.wait_secs if isinstance(error, _AskedToWait) else None
                time.sleep(pause_secs(attempt, self._service.longest_pause_secs, wait_secs))
            attempt += 1

    def _send(self, payload: dict[str, Any], files: dict[str, Any], max_bytes: int) -> bytes:
        service, begun = self._service, time.monotonic()
        service.count("calls", 1)
        try:
            response, body = post(
                service.url,
                payload,
                files,
                headers={"User-Agent": user_agent()},
                deadline_secs=service.deadline_secs,
                max_bytes=max_bytes,
            )
        except Unavailable as error:
            raise _AskedToWait(f"{self.name}: {error}") from error
        finally:
            service.count("call_milliseconds", round((time.monotonic() - begun) * 1000))
        if response.status_code == 200:
            return body
        said = _message(body)
        if response.status_code == 403:
            raise Banned(f"{service.url} has shut us out (403: {said}); write to cds-question@unistra.fr")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise Rejected(f"{self.name}: the service refuses the question ({response.status_code}): {said}")
        if 300 <= response.status_code < 400:
            raise Rejected(f"{self.name}: {service.url} has moved to {response.headers.get('Location')}; give --crossmatch_url")
        raise _AskedToWait(
            f"{self.name}: the service answers {response.status_code}: {said}", _seconds(response.headers.get("Retry-After"))
        )


class _TooManyRows(Exception):
    """The answer may have been cut."""


class _AskedToWait(Unavailable):
    """A failure that may be over in a moment."""

    def __init__(self, message: str, wait_secs: float | None = None) -> None:
        super().__init__(message)
        self.wait_secs = wait_secs


def declared(spec: CatalogSpec) -> Known:
    """What is known of a catalog: our list, and what the parameters of its name say instead. Raises ``BadCatalog``."""
    known = KNOWN.get(spec.name, Known(SourceColumns(None, None), {}))
    canary = canary_position(spec) or known.canary
    position_epoch, match_epoch = epochs(spec)
    given: dict[str, Any] = {_LAYOUT[name]: value for name, value in spec.columns.items() if name in _LAYOUT}
    if position_epoch is not None:
        given["position_epoch_jyear"] = position_epoch
    if match_epoch is not None or "pmra" in given:
        given["match_epoch_jyear"] = 2000.0 if match_epoch is None else match_epoch
    if not given:
        return replace(known, canary=canary)
    source_columns = replace(known.source_columns, **given)
    if source_columns.pmra and source_columns.position_epoch_jyear is None:
        raise BadCatalog(f"{spec.name} has proper motions but no epoch; say when its positions hold: epoch=2016.0")
    # Other columns than those of our list: the service will declare them.
    return replace(known, source_columns=source_columns, columns={}, canary=canary)


def _message(body: bytes) -> str:
    """What an error page says: the Message of CDS's VOTable, or the beginning of the text."""
    text = body[:65536].decode("utf-8", "replace")
    said = re.search(r"Message:\s*(.*?)\s*(?:Trace:|</INFO>)", text, re.DOTALL)
    plain = said.group(1) if said else re.sub(r"<[^>]*>", " ", text)
    return " ".join(plain.split())[:300] or "no reason given"


def _seconds(header: str | None) -> float | None:
    return float(header) if header and re.fullmatch(r"\s*[0-9]{1,6}\s*", header) else None
