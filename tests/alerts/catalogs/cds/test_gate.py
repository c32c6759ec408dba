"""Who may call, and when."""

import threading
import time

import pytest

from alerts.catalogs.catalog import Banned, Rejected, Unavailable
from alerts.catalogs.cds.gate import FAILURES_TO_OPEN, Gate, LeftAlone, pause_secs


def fail(gate, catalog="c", error=Unavailable):
    with pytest.raises(error), gate.call(catalog):
        raise error("no")


def test_never_more_calls_at_once_than_allowed():
    gate, now, most, lock = Gate(2), [0], [0], threading.Lock()

    def work():
        for _ in range(5):
            with gate.call("c"):
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                time.sleep(0.002)
                with lock:
                    now[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


@pytest.mark.parametrize("error", [Unavailable, Rejected, KeyError])
def test_a_failing_catalog_is_left_alone_and_others_are_not(error):
    gate = Gate(1, rest_secs=60)
    for _ in range(FAILURES_TO_OPEN):
        fail(gate, error=error)
    with pytest.raises(LeftAlone, match=r"failed 3 times in a row, last: .*no"), gate.call("c"):
        raise AssertionError
    with gate.call("other"):
        pass


def test_a_success_between_starts_the_count_anew():
    gate = Gate(1, rest_secs=60)
    for _ in range(FAILURES_TO_OPEN * 3):
        fail(gate)
        with gate.call("c"):
            pass


def test_after_its_rest_one_call_probes():
    gate = Gate(2, rest_secs=0.05)
    for _ in range(FAILURES_TO_OPEN):
        fail(gate)
    time.sleep(0.06)
    with gate.call("c"):
        # While it is not known how the probe ends, nobody else calls.
        assert gate._breakers["c"].probing
        with pytest.raises(LeftAlone), gate.call("c"):
            raise AssertionError
    with gate.call("c"):
        pass


def test_a_probe_that_fails_makes_the_rest_longer():
    gate = Gate(1, rest_secs=0.05)
    for _ in range(FAILURES_TO_OPEN):
        fail(gate)
    time.sleep(0.06)
    fail(gate)
    time.sleep(0.06)
    with gate.call("c"):
        pass
    for _ in range(FAILURES_TO_OPEN):
        fail(gate)
    time.sleep(0.06)
    fail(gate)
    time.sleep(0.06)
    fail(gate)
    with pytest.raises(LeftAlone), gate.call("c"):
        raise AssertionError
    assert gate._breakers["c"].rest_secs == pytest.approx(0.2)


def test_a_ban_stops_all_catalogs_and_is_told_to_others():
    told = []
    gate = Gate(1, tell_others=lambda: told.append(1))
    fail(gate, error=Banned)
    for catalog in ("c", "other"):
        with pytest.raises(Banned, match="was not asked"), gate.call(catalog):
            raise AssertionError
    assert told == [1]


def test_a_ban_elsewhere_stops_us_too():
    stopped = []
    gate = Gate(1, stopped_elsewhere=lambda: bool(stopped))
    with gate.call("c"):
        pass
    stopped.append(1)
    with pytest.raises(Banned, match="another worker"), gate.call("c"):
        raise AssertionError


def test_pauses_are_scattered_and_bounded():
    pauses = [pause_secs(1, 5.0, None) for _ in range(200)]
    assert 0 <= min(pauses) < 0.2
    assert 1.8 < max(pauses) <= 2.0
    assert pause_secs(1, 5.0, 3.0) == 3.0
    assert pause_secs(1, 5.0, 3600.0) == 5.0
