"""What is said of a batch run when it has ended: to a person, and to who reads logs."""

from __future__ import annotations

import logging
from typing import NamedTuple

from pipelines.summary import Summary

_LOG = logging.getLogger(__name__)
_MOST_FILTERS = 20


def text(summary: Summary) -> str:
    """The summary for a person to read."""
    seconds = (summary.ended_at - summary.started_at).total_seconds()
    lines = [
        f"run {summary.run_id}",
        f"  records read     {summary.records_read:>10,}" + _aside(summary.inputs_skipped, "inputs that are no alerts skipped"),
        f"  alerts written   {summary.alerts:>10,}",
    ]
    for name, counts in summary.surveys.items():
        lines.append(
            f"    {name:<14} {counts.alerts:>10,}, of them {counts.copies:,} copies and {counts.conflicts:,} conflicts;"
            f" observed to ingested {_duration(counts.latency_median_secs)} (median), {_duration(counts.latency_p95_secs)} (p95)"
        )
    lines.append(f"  dead letters     {summary.letters:>10,}")
    lines += [f"    {stage:<14} {number:>10,}" for stage, number in summary.dead_letters.items()]
    lines += filter_lines(summary)
    lines += crossmatch_lines(summary)
    lines.append(f"  seconds          {seconds:>10.1f}")
    return "\n".join(lines + [f"  warning: {warning.text}" for warning in warnings(summary)])


def log(summary: Summary) -> None:
    """The summary for who reads logs: each warning, and the counts."""
    for warning in warnings(summary):
        _LOG.warning("%s", warning.text, extra={**warning.about, "in_account": True})
    account = {
        "records_read": summary.records_read,
        "inputs_skipped": summary.inputs_skipped,
        "alerts_written": summary.alerts,
        "seconds": round((summary.ended_at - summary.started_at).total_seconds(), 1),
        **summary.details,
    }
    _LOG.info("the run has ended", extra={"account": account})


def crossmatch_lines(summary: Summary) -> list[str]:
    """What became of the cross-matches, a line per catalog."""
    lines = ["  cross-matches"] if summary.catalogs else []
    for name, counts in summary.catalogs.items():
        line = f"    {name:<24} {counts.matched:,} matched, {counts.no_match:,} no match, {counts.failed:,} failed"
        if counts.calls or counts.cache_hits:
            seconds = counts.call_milliseconds / 1000
            line += f"; {counts.calls:,} calls in {seconds:.1f} s with {counts.positions:,} positions"
            line += f", {counts.cache_hits:,} alerts from the cache"
        lines.append(line)
    return lines


def filter_lines(summary: Summary) -> list[str]:
    """What the filters said, a line for each of those that passed most."""
    if not summary.filters:
        return []
    lines = [f"  filters          {len(summary.filters):>10,}"]
    by_passed = sorted(summary.filters.items(), key=lambda item: (-item[1].passed, item[0]))
    for key, counts in by_passed[:_MOST_FILTERS]:
        lines.append(
            f"    {key.filter:<24} {counts.passed:,} of {counts.seen:,} {key.survey} alerts passed, {counts.rejected:,} rejected "
            f"({counts.rejected_by_null:,} by NULL), {counts.failed:,} failed"
        )
    if len(by_passed) > _MOST_FILTERS:
        lines.append(f"    and {len(by_passed) - _MOST_FILTERS:,} more, in the table filter_counts")
    return lines


class Warned(NamedTuple):
    """A sentence, and what it is about: survey, catalog, stage."""

    text: str
    about: dict[str, str]


def warnings(summary: Summary) -> list[Warned]:
    """What an operator should know, one sentence each."""
    found = [
        Warned(
            f"{number:,} {survey} alerts have a position that is no place on the sky; their healpix29 is NULL",
            {"stage": "decode", "survey": survey},
        )
        for survey, number in summary.off_the_sky.items()
    ]
    found += [
        Warned(
            f"{number:,} {survey} alerts have no features, which could not be computed (the log says why): they are NULL",
            {"stage": "features", "survey": survey},
        )
        for survey, number in summary.features_failed.items()
    ]
    found += [
        Warned(
            f"filter {key.filter} was put aside, since it took too long: {number:,} {key.survey} alerts were not asked about",
            {"stage": "filters", "survey": key.survey},
        )
        for key, number in summary.not_asked.items()
        if number
    ]
    found += [
        Warned(
            f"{number:,} hits were not sent to {topic}, which is public: not all of what they tell is (?private sends them)",
            {"stage": "publish"},
        )
        for topic, number in summary.withheld.items()
    ]
    found += [
        Warned(
            f"{number:,} hits cannot be sent to {topic}: the warehouse does not have their packets "
            "(dead letters of stage publish say why)",
            {"stage": "publish"},
        )
        for topic, number in summary.without_packet.items()
    ]
    found += [
        Warned(
            f"filter {key.filter} has no verdict of {counts.failed:,} {key.survey} alerts, on which it failed "
            f"(verdicts.error says why)",
            {"stage": "filters", "survey": key.survey},
        )
        for key, counts in summary.filters.items()
        if counts.failed
    ]
    found += [
        Warned(
            f"{counts.conflicts:,} {name} packets came under an alert id that another packet of the run has, with other contents",
            {"stage": "write", "survey": name},
        )
        for name, counts in summary.surveys.items()
        if counts.conflicts
    ]
    found += [
        Warned(
            f"{counts.failed:,} alerts have no answer from {name} (crossmatches.error says why); ask again with: broker rematch",
            {"stage": "crossmatch", "catalog": name},
        )
        for name, counts in summary.catalogs.items()
        if counts.failed
    ]
    found += [
        Warned(
            f"{name} has no canary: that nothing is at {counts.unproven:,} alerts is only the service's word; "
            f"say where it has a source: {name}?canary=RA,DEC",
            {"stage": "crossmatch", "catalog": name},
        )
        for name, counts in summary.catalogs.items()
        if counts.unproven
    ]
    if summary.records_read != summary.alerts + summary.letters and summary.again:
        text = f"{summary.again:,} rows are in the tables twice, as BigQuery took them twice; the _unique views show one"
        found.append(Warned(text, {"stage": "write"}))
    for run, tables in summary.earlier.items():
        text = (
            f"run {run} had written the same rows of these inputs to {', '.join(tables)}: they stand, and are not written again"
        )
        found.append(Warned(text, {"stage": "write"}))
    if summary.unknown_fields:
        shown = [f"{name} ({number:,})" for name, number in summary.unknown_fields.items()]
        more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
        text = f"fields that no known schema version has went into extra: {', '.join(shown[:12])}{more}"
        found.append(Warned(text, {"stage": "decode"}))
    return found


def _aside(number: int, what: str) -> str:
    return f"   ({number:,} {what})" if number else ""


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
