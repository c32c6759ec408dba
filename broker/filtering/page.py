"""A sample of the alerts that pass a filter, with stamps and light curves, as one HTML file that needs no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from alerts.errors import AlertError
from alerts.filters.shown import as_text
from broker.filtering.sampled import SampledAlert
from broker.pictures import plot_light_curve, plot_stamps
from broker.pictures.packets import NoPicture
from warehouses.errors import QueryError
from warehouses.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 90
# Nothing is loaded from anywhere, and nothing runs: what packets hold is shown as text.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1000px; padding: 0 1em; color: #222 }}
pre {{ background: #f4f4f4; padding: .8em; overflow-x: auto }}
table {{ border-collapse: collapse }}
td, th {{ padding: .15em .9em .15em 0; text-align: right; font-variant-numeric: tabular-nums }}
th {{ border-bottom: 1px solid #999; font-weight: 600 }}
td.name, th.name {{ text-align: left }}
section {{ border-top: 1px solid #ccc; margin-top: 2em }}
img {{ display: block; max-width: 100%; height: auto }}
h2 {{ font-size: 1.1em }}
</style>
</head>
<body>
"""


def page(
    title: str, text: str, counts: Sequence[Sequence[str]], samples: Sequence[tuple[str, SampledAlert]], opened: Warehouse
) -> Iterator[str]:
    """The page, piece by piece: the filter, its counts (names in the first row), and each sampled alert with its survey."""
    yield _HEAD.format(title=html.escape(title))
    yield f"<h1>{html.escape(title)}</h1>\n<pre>{html.escape(text)}</pre>\n{_table(counts)}\n"
    if not samples:
        yield "<p>No alert has passed.</p>\n"
    for survey_name, alert in samples:
        yield _alert(survey_name, alert, opened)
    yield "</body>\n</html>\n"


def _table(counts: Sequence[Sequence[str]]) -> str:
    head, *rows = counts
    lines = [_row(head, "th"), *(_row(row, "td") for row in rows)]
    return f"<table>\n{''.join(lines)}</table>"


def _row(cells: Sequence[str], kind: str) -> str:
    first, *others = (html.escape(cell) for cell in cells)
    told = "".join(f"<{kind}>{cell}</{kind}>" for cell in others)
    return f'<tr><{kind} class="name">{first}</{kind}>{told}</tr>\n'


def _alert(survey_name: str, alert: SampledAlert, opened: Warehouse) -> str:
    head = f"{survey_name} alert {alert.alert_id}, object {alert.object_id}, night {alert.night}"
    values = ", ".join(f"{name} = {as_text(value)}" for name, value in alert.columns.items())
    lines = [f"<section>\n<h2>{html.escape(head)}</h2>\n<p>{html.escape(values)}</p>\n"]
    try:
        packet, _ = opened.packet(alert.alert_id, survey_name)
    except QueryError as error:
        return f"{lines[0]}<p>{html.escape(str(error))}</p>\n</section>\n"
    lines += [
        _picture("stamps", lambda: plot_stamps(packet, survey=survey_name)),
        _picture("light curve", lambda: plot_light_curve(packet, survey=survey_name)),
    ]
    return f"{''.join(lines)}</section>\n"


def _picture(what: str, draw: Callable[[], Figure]) -> str:
    """A picture within the page; a sentence where there is none."""
    try:
        figure, file = draw(), io.BytesIO()
    except (NoPicture, AlertError) as error:
        return f"<p>{html.escape(str(error))}</p>\n"
    figure.savefig(file, format="png", dpi=_DPI)
    return f'<img alt="{what}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">\n'
