"""Files that go together: row n of one with alerts is row n of those with their stamps and their features.

They have one name in their tables' folders, but for what stands behind its first dot: features may be computed again.
"""

from __future__ import annotations

from collections.abc import Iterable

from alerts.surveys import SURVEYS
from alerts.tables import own_tables

_OWN = {tables[0].name: [table.name for table in tables[1:]] for tables in map(own_tables, SURVEYS.values())}
_ALERTS_OF = {name: alerts for alerts, names in _OWN.items() for name in names}


def goes_beside(table: str) -> bool:
    """Whether rows of a table stand as those of alerts do, and go where these go."""
    return table in _ALERTS_OF


class Beside:
    """Which of some files (paths in the warehouse) go together."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = {_place(path): path for path in paths}

    def of(self, path: str) -> list[str]:
        """The files that go with one of alerts; none with others."""
        table, name = _place(path)
        return [self._paths[other, name] for other in _OWN.get(table, ()) if (other, name) in self._paths]

    def of_table(self, path: str, table: str) -> str | None:
        """Of these the one of a table; None where it has none."""
        return self._paths.get((table, _place(path)[1]))

    def goes_with(self, path: str) -> str | None:
        """The file of alerts that one with stamps or features goes with; None where it is not among these."""
        table, name = _place(path)
        return self._paths.get((_ALERTS_OF.get(table, ""), name))


def _place(path: str) -> tuple[str, str]:
    """The table, and the rest of the path as it is the same in all."""
    table, _, rest = path.partition("/")
    folder, _, name = rest.rpartition("/")
    return table, f"{folder}/{name.partition('.')[0]}"
