"""A table of measurements, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = str | float | int | None


@dataclass
class MarkdownTable:
    """Rows under named columns; a missing cell is empty in Markdown and null in JSON."""

    title: str
    columns: Sequence[str]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences below it: what was not measured, and why."""

    def add_row(self, cells: dict[str, Cell]) -> None:
        """A row by column; raises ``KeyError`` for a column that the table does not have."""
        for name in cells:
            if name not in self.columns:
                raise KeyError(f"table {self.title!r} has no column {name!r}; it has {', '.join(self.columns)}")
        self.rows.append(cells)

    def cell(self, row: str, column: str) -> Cell:
        """The cell of the row that begins with ``row``; None where there is no such row."""
        return next((line.get(column) for line in self.rows if line.get(self.columns[0]) == row), None)

    def to_markdown(self) -> str:
        """Title, table, notes."""
        lines = [f"### {self.title}", ""]
        if self.rows:
            lines += [_line(self.columns), "|" + "---|" * len(self.columns)]
            lines += [_line([shown(row.get(name)) for name in self.columns]) for row in self.rows]
        lines += [text for note in self.notes for text in ("", note)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same with numbers as they are."""
        return {"title": self.title, "columns": list(self.columns), "rows": self.rows, "notes": self.notes}


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(value: Cell) -> str:
    """A number with as many digits as mean something."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
