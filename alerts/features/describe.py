"""The definitions of features as Markdown.

python -m alerts.features.describe ztf
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from alerts.errors import UnknownSurvey
from alerts.features.definitions import POINTS, Definition, of_alerts, of_bands
from alerts.light_curve import NoPhotometry, facts_of
from alerts.surveys import Survey, survey


def markdown(known: Survey) -> str:
    """Features of each band, those of the alert as a whole, and the kinds of points. Raises ``NoPhotometry``."""
    bands = ", ".join(f"`{name}`" for name in facts_of(known).band_names)
    parts = [
        f"## Features of {known.name}",
        "",
        f"Of each band, in a struct of its name: {bands}.",
        "",
        *_table(of_bands(known)),
        "",
        "Of the alert as a whole.",
        "",
        *_table(of_alerts(known)),
        "",
        "Made of:",
        "",
        *(f"- {name}: {what}" for name, what in POINTS.items()),
    ]
    return "\n".join(parts)


def _table(definitions: Iterable[Definition]) -> list[str]:
    lines = ["| feature | unit | what | sign | of | NULL | formula of |", "|---|---|---|---|---|---|---|"]
    for entry in definitions:
        told = (entry.unit, entry.formula, entry.sign, entry.points, entry.means_null, entry.source)
        lines.append(f"| `{entry.name}` | {' | '.join(told)} |")
    return lines


def main(names: list[str]) -> int:
    """Print them of the surveys; gives the exit status."""
    try:
        pages = [markdown(survey(name)) for name in names]
    except (UnknownSurvey, NoPhotometry) as error:
        sys.stderr.write(f"alerts.features.describe: {error}\n")
        return 2
    sys.stdout.write("\n\n".join(pages) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
