"""What workers say of their work, with the run's id: on Dataflow through Beam's own handler, here through ours."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence

from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler

from alerts.errors import DeadLetter, shortened
from alerts.features.table import Failure
from alerts.secrets import redact
from transforms import metrics

_LOG = logging.getLogger(__name__)
_LETTER_EVERY_SECS = 10.0
_said_at: dict[str, float] = {}


def note(letter: DeadLetter) -> None:
    """Count a dead letter, and log it, but not more than one of a stage every ten seconds: a night may have thousands."""
    metrics.LETTERS.inc(1, letter.stage)
    if _is_time_to_say(letter.stage):
        about = {"stage": letter.stage, "survey": letter.survey, "source": shortened(letter.source)}
        _LOG.info("dead letter of stage %s: %s (%s)", letter.stage, letter.message, about["source"], extra=about)


def note_no_features(survey: str, failures: Sequence[Failure]) -> None:
    """Log alerts whose features cannot be computed, as seldom."""
    if failures and _is_time_to_say(f"features of {survey}"):
        first, about = failures[0], {"stage": "features", "survey": survey}
        text = "%d alerts of %s have no features, alert_id %d since %s"
        _LOG.warning(text, len(failures), survey, first.alert_id, first.problem, extra=about)


def note_put_aside(survey: str, put_aside: Mapping[str, str]) -> None:
    """Log which filters are not asked any more, and why."""
    for name, why in put_aside.items():
        if _is_time_to_say(f"filter {name} of {survey}"):
            about = {"stage": "filters", "survey": survey}
            _LOG.warning("filter %s is put aside in this run: %s", name, why, extra=about)


def note_withheld(survey: str, whys: Sequence[str]) -> None:
    """Log why public places do not have alerts that are public themselves, as seldom."""
    if whys and _is_time_to_say(f"withheld of {survey}"):
        about = {"stage": "publish", "survey": survey}
        _LOG.warning("%d hits of %s go to no public place, the first since %s", len(whys), survey, whys[0], extra=about)


def _is_time_to_say(what: str) -> bool:
    now = time.monotonic()
    if now - _said_at.get(what, -math.inf) < _LETTER_EVERY_SECS:
        return False
    _said_at[what] = now
    return True


def name_run(run_id: str) -> None:
    """Let every line that this process logs through Beam begin with the run's id, and hold no credential."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, FnApiLogRecordHandler):
            for other in [kept for kept in handler.filters if isinstance(kept, _OfRun)]:
                handler.removeFilter(other)
            handler.addFilter(_OfRun(run_id))


class _OfRun(logging.Filter):
    """Beam's entries have no fields of ours: what belongs to a line must stand in its message."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id
        self._plain = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        # With the traceback: Beam would copy it as it is.
        record.msg = f"run {self._run_id}: {redact(self._plain.format(record))}"
        record.args, record.exc_info, record.exc_text, record.stack_info = (), None, None, None
        return True
