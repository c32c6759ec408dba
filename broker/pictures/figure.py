"""The figure that pictures are drawn on, and how it becomes a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from broker.pictures.packets import NoPicture

NOTEBOOK_DPI = 110


class Picture(Figure):
    """A matplotlib figure that a notebook shows as the last value of a cell, once.

    It is made without pyplot, so nobody has to close it, and threads and servers can draw. Where a notebook has set up
    matplotlib's own display, that shows it; elsewhere the notebook asks for ``_repr_png_``.
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=NOTEBOOK_DPI)
        return file.getvalue()


def canvas(fig: Figure | SubFigure | None, ax: Axes | None, size_inches: tuple[float, float], **axes: Any) -> tuple[Any, Axes]:
    """The figure to return and the axes to draw on: those given, or new ones."""
    if ax is not None:
        return ax.figure, ax
    figure: Any = Picture(figsize=size_inches, layout="constrained") if fig is None else fig
    return figure, figure.subplots(subplot_kw=axes)


def save(figure: Figure, out: str, dpi: int) -> None:
    """Write a picture; the file's ending says what it is. Raises ``NoPicture`` for an ending that is none, ``OSError``."""
    known = figure.canvas.get_supported_filetypes()
    ending = Path(out).suffix.lower().lstrip(".")
    if ending not in known:
        raise NoPicture(f"--out {out}: {ending or 'no ending'} is no kind of picture; known are {', '.join(sorted(known))}")
    picture = io.BytesIO()
    figure.savefig(picture, format=ending, dpi=dpi)
    # Only a picture that is done becomes a file.
    Path(out).write_bytes(picture.getvalue())
