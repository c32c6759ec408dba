"""Units of other runs that hold some of our inputs, alone, in other company, or replayed; or our letters: without them.

Their rows of these inputs are taken out, by writing their files anew under other names.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from warehouses.files import delete
from warehouses.folder import unit_inputs
from warehouses.folder.beside import Beside
from warehouses.folder.manifest import Manifest
from warehouses.folder.manifest_rows import as_text, may_hold
from warehouses.folder.parquet_files import TEMPORARY, read_rows, write_rows
from warehouses.units import Unit, WrittenFile, printable, unit_key


class Overlaps:
    """What becomes of other runs' files when some units are written, new or again."""

    def __init__(self, warehouse: str, run_id: str, units: Mapping[str, Unit], current: Manifest) -> None:
        self._warehouse, self._run_id = warehouse, run_id
        ours = {uri for unit in units.values() if not unit.letters for uri in unit.inputs}
        our_letters = {letter for unit in units.values() for letter in unit.letters}
        alone = {unit_key((uri,)) for uri in ours} - units.keys()
        self.replaced: list[str] = current.of_units(alone).column("path").to_pylist()
        """Paths of files that go."""
        self.rewritten: list[WrittenFile] = []
        """What comes in their place."""
        self.left: dict[str, Unit] = {}
        """By key, units that stand for fewer inputs from now on; for none, where nothing is left."""
        for key in sorted(_near(current, ours, bool(our_letters)) - units.keys() - alone):
            theirs = unit_inputs.read_inputs(warehouse, key)
            if without := {uri for uri in theirs.inputs if uri in ours} | _replayed_again(theirs, our_letters):
                self._take_out(theirs, without, sorted(current.of_units([key]).column("path").to_pylist()), key)

    def _take_out(self, theirs: Unit, without: Collection[str], paths: list[str], key: str) -> None:
        left = _without(theirs, without)
        if left.inputs and (left.letters or not theirs.letters):
            self.left[key] = left
            self._rewrite(paths, theirs.inputs, without)
        else:
            self.left[key] = Unit(())
            self.replaced += paths

    def _rewrite(self, paths: list[str], inputs: Collection[str], without: Collection[str]) -> None:
        """Write files anew without the rows whose source is one of the inputs ``without``, of all that the unit has.

        Files of stamps and features have no such column; their rows stand as those of the alerts that they go with.
        """
        beside = Beside(paths)
        known, gone = ({printable(uri) for uri in uris} for uris in (inputs, without))
        for path in paths:
            rows = read_rows(f"{self._warehouse}/{path}")
            if "source" not in rows.schema.names:
                continue
            keep = pa.array([_input_of(source, known) not in gone for source in rows.column("source").to_pylist()], pa.bool_())
            if pc.all(keep).as_py():
                continue
            suffix = f"{uuid.uuid4().hex[:12]}-000.parquet"
            self._replace(path, suffix, rows.filter(keep))
            for other in beside.of(path):
                own = read_rows(f"{self._warehouse}/{other}")
                if own.num_rows == rows.num_rows:
                    self._replace(other, suffix, own.filter(keep))

    def _replace(self, path: str, suffix: str, rows: pa.Table) -> None:
        self.replaced.append(path)
        if rows.num_rows:
            key = unit_inputs.unit_of(path)
            place = f"{path.rpartition('/')[0]}/{key}-{suffix}"
            temporary = f"{self._warehouse}/{TEMPORARY}/{self._run_id}/{place}"
            self.rewritten.append(write_rows(WrittenFile(key, temporary, f"{self._warehouse}/{place}", 0), rows))

    def keep_inputs(self) -> None:
        """Write down what the units stand for now.

        After the manifest: a unit that is said to hold more than it does is looked into once too often, one that is said to hold
        less would keep rows twice.
        """
        for key, unit in self.left.items():
            if unit.inputs:
                unit_inputs.write_inputs(self._warehouse, self._run_id, unit, key)
            else:
                delete([unit_inputs.uri_of(self._warehouse, key)])


def _near(current: Manifest, ours: Collection[str], has_letters: bool) -> set[str]:
    """Keys of the units of several inputs that may hold some of ours, and of replays where we replay."""
    live = current.live
    several = live.filter(pc.or_(pc.greater(live.column("inputs"), 1), live.column("is_replay")))
    replays = several.filter(several.column("is_replay")) if has_letters else several.slice(0, 0)
    # What once had several, and has one now, has the key of the several.
    single = live.filter(pc.equal(live.column("inputs"), 1))
    reduced = single.filter(pc.is_in(single.column("first_input"), pa.array([as_text(uri) for uri in ours], pa.string())))
    return may_hold(several, ours) | set(replays.column("unit").to_pylist()) | set(reduced.column("unit").to_pylist())


def _replayed_again(theirs: Unit, our_letters: Collection[str]) -> set[str]:
    """Sources whose rows another replay wrote, and we write anew: it died before it marked them, and more letters came.

    Rows name their source and not their letter: of a source that also has letters that are not ours all rows stay.
    """
    others = {source for letter, source in zip(theirs.letters, theirs.sources, strict=True) if letter not in our_letters}
    return set(theirs.sources) - others


def _without(unit: Unit, inputs: Collection[str]) -> Unit:
    """What a unit stands for when these inputs, and letters that came from them, are taken from it."""
    known = set(unit.inputs)
    left = [pair for pair in zip(unit.letters, unit.sources, strict=True) if _input_of(pair[1], known) not in inputs]
    letters, sources = zip(*left, strict=True) if left else ((), ())
    return Unit(tuple(uri for uri in unit.inputs if uri not in inputs), letters, sources)


def _input_of(source: str, inputs: Collection[str]) -> str | None:
    """The input that a source is, or is a member of (``input#member``): the longest, a file's name may hold a ``#``."""
    parts = source.split("#")
    names = ("#".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in inputs), None)
