"""The exact cache against asking every time, and against the naive reuse that it replaces."""

import gc
import time

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial import cKDTree

from alerts.catalogs.cache import AnchorCache
from alerts.catalogs.catalog import Candidates, SourceColumns, Unavailable
from alerts.catalogs.matching import within

LAYOUT = SourceColumns("ra", "dec", "id")
RADIUS, DELTA = 1.5, 1.0


def xyz(ra, dec):
    ra, dec = np.radians(ra), np.radians(dec)
    return np.c_[np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]


class Field:
    """A field of sources, 1.6 million per square degree; tells how many positions it was asked about."""

    def __init__(self, count=160_000, side_deg=0.316):
        rng = np.random.default_rng(7)
        self.ra, self.dec = 150 + rng.uniform(0, side_deg, count), rng.uniform(0, side_deg, count)
        self.tree = cKDTree(xyz(self.ra, self.dec))
        self.sources = pa.RecordBatch.from_pydict({"id": np.arange(count), "ra": self.ra, "dec": self.dec})
        self.asked = 0
        self.down = False

    def search(self, ra, dec, radius_arcsec):
        if self.down:
            raise Unavailable("down")
        self.asked += len(ra)
        chord = 2 * np.sin(np.radians((radius_arcsec + 0.01) / 3600) / 2)
        lists = self.tree.query_ball_point(xyz(ra, dec), chord)
        position = np.repeat(np.arange(len(ra)), [len(one) for one in lists])
        rows = np.array([row for one in lists for row in one], dtype=np.int64)
        return Candidates(position, self.sources.take(pa.array(rows)))


@pytest.fixture(scope="module")
def field():
    return Field()


def alerts(objects=2000, each=10, scatter_arcsec=0.15):
    """Each object's alerts lie around its place."""
    rng = np.random.default_rng(3)
    ra, dec = 150 + rng.uniform(0.01, 0.3, objects), rng.uniform(0.01, 0.3, objects)
    number = rng.permutation(np.repeat(np.arange(objects), each))
    scatter = rng.normal(0, scatter_arcsec / 3600, (2, len(number)))
    return [f"ZTF{one}" for one in number], ra[number] + scatter[0], dec[number] + scatter[1]


def answers(field, cache, batch, objects, ra, dec):
    rows = []
    for begin in range(0, len(objects), batch):
        part = slice(begin, begin + batch)

        def ask(ra, dec):
            return field.search(ra, dec, RADIUS + (cache.delta_arcsec if cache else 0))

        found = cache.candidates(objects[part], ra[part], dec[part], ask)[0] if cache else ask(ra[part], dec[part])
        answer = within(found, LAYOUT, ra[part], dec[part], radius_arcsec=RADIUS, epoch_jyear=None)
        rows += [
            (begin + p, i, s)
            for p, i, s in zip(answer.position, answer.source_id.to_pylist(), answer.separation_arcsec, strict=True)
        ]
    return rows


@pytest.mark.parametrize("batch", [256, 20_000])
def test_same_rows_with_a_tenth_of_the_positions(field, batch):
    asked = alerts()
    field.asked = 0
    without = answers(field, None, batch, *asked)
    assert field.asked == 20_000
    field.asked = 0
    cache = AnchorCache(DELTA, keep_secs=1000)
    assert answers(field, cache, batch, *asked) == without
    assert len(without) > 15_000
    assert 2000 <= field.asked <= 2010


def test_using_the_first_answer_again_would_be_wrong(field):
    """What the cache is for: the mistake is real in this field."""
    objects, ra, dec = alerts()
    right = answers(field, None, 20_000, objects, ra, dec)
    first = {}
    for number, name in enumerate(objects):
        first.setdefault(name, number)
    anchors = np.array([first[name] for name in objects])
    sources_of = {}
    for number, source, _ in right:
        sources_of.setdefault(number, set()).add(source)
    wrong = sum(sources_of.get(number, set()) != sources_of.get(first[name], set()) for number, name in enumerate(objects))
    assert len(anchors) == 20_000
    assert wrong > 1000


def test_hits_are_counted_and_a_far_alert_asks_anew(field):
    cache = AnchorCache(DELTA, keep_secs=1000)
    field.asked = 0

    def ask(ra, dec):
        return field.search(ra, dec, RADIUS + DELTA)

    place = np.array([150.1]), np.array([0.1])
    assert cache.candidates(["a"], *place, ask)[1:] == (0, 1)
    assert cache.candidates(["a"], *place, ask)[1:] == (1, 0)
    near = np.array([150.1]), np.array([0.1 + 0.99 / 3600])
    assert cache.candidates(["a"], *near, ask)[1:] == (1, 0)
    far = np.array([150.1]), np.array([0.1 + 1.01 / 3600])
    assert cache.candidates(["a"], *far, ask)[1:] == (0, 1)
    assert cache.candidates(["b"], *place, ask)[1:] == (0, 1)
    assert field.asked == 3


def test_one_position_once_per_batch(field):
    cache = AnchorCache(0.0, keep_secs=1000)
    field.asked = 0
    place = np.full(4, 150.2), np.full(4, 0.2)
    found, hits, asked = cache.candidates([None, None, "a", "b"], *place, lambda ra, dec: field.search(ra, dec, 60))
    assert (hits, asked, field.asked) == (3, 1, 1)
    counts = np.bincount(found.position, minlength=4)
    assert counts[0] > 0
    assert (counts == counts[0]).all()


def test_an_empty_answer_is_kept_a_failure_is_not(field):
    cache = AnchorCache(DELTA, keep_secs=1000)
    nowhere = np.array([10.0]), np.array([10.0])
    field.down = True
    with pytest.raises(Unavailable):
        cache.candidates(["x"], *nowhere, lambda ra, dec: field.search(ra, dec, 2.5))
    field.down = False
    found, hits, asked = cache.candidates(["x"], *nowhere, lambda ra, dec: field.search(ra, dec, 2.5))
    assert (len(found.position), hits, asked) == (0, 0, 1)
    field.down = True
    found, hits, asked = cache.candidates(["x"], *nowhere, lambda ra, dec: field.search(ra, dec, 2.5))
    assert (len(found.position), hits, asked) == (0, 1, 0)
    field.down = False


def test_what_is_old_is_asked_again(field):
    cache = AnchorCache(DELTA, keep_secs=0.05)
    place = np.array([150.1]), np.array([0.1])
    cache.candidates(["a"], *place, lambda ra, dec: field.search(ra, dec, 2.5))
    time.sleep(0.06)
    assert cache.candidates(["a"], *place, lambda ra, dec: field.search(ra, dec, 2.5))[1:] == (0, 1)


def test_it_stays_within_its_bounds(field):
    cache = AnchorCache(DELTA, keep_secs=1000, max_objects=10, max_sources=1000)

    def ask(ra, dec):
        return field.search(ra, dec, 30)

    for number in range(50):
        cache.candidates([f"o{number}"], np.array([150.05 + number / 300]), np.array([0.15]), ask)
        assert len(cache._kept) <= 10
        assert cache._sources == sum(rows for rows, _ in cache._blocks.values()) <= 1000
    assert cache._kept


def test_memory_is_let_go_of_whole_answers_at_a_time(field):
    """One hot object in each batch must not keep all batches alive."""
    cache = AnchorCache(DELTA, keep_secs=1000, max_objects=10_000, max_sources=20_000)
    rng = np.random.default_rng(1)
    gc.collect()  # what tests before this one have left would be let go of meanwhile
    before = pa.total_allocated_bytes()
    sizes = []
    for batch in range(20):
        ra, dec = 150 + rng.uniform(0.01, 0.3, 2000), rng.uniform(0.01, 0.3, 2000)
        names = [f"hot{number}" if number < 5 else f"{batch}-{number}" for number in range(2000)]
        cache.candidates(names, ra, dec, lambda ra, dec: field.search(ra, dec, RADIUS + DELTA))
        sizes.append(pa.total_allocated_bytes() - before)
    assert max(sizes[10:]) < 2 * max(sizes[:8])
    assert cache._kept
