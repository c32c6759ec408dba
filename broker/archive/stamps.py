"""``broker.pictures.plot_stamps`` by the archive's name: who only downloads and reads packets need not have matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from warehouses.warehouse import Warehouse


def plot_stamps(
    alert: Any,
    warehouse: Warehouse | str | Figure | SubFigure | None = None,
    *,
    survey: str | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """Science, template and difference stamp of an alert, on a new figure or on ``fig``: see ``broker.pictures.plot_stamps``.

    Raises ``MissingExtra`` where matplotlib is not installed.
    """
    from broker.pictures import plot_stamps as plot  # noqa: PLC0415 - brings matplotlib

    return plot(alert, warehouse, survey=survey, fig=fig)
