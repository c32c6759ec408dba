"""The figure that pictures are drawn on."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

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
