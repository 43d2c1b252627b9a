"""`map_in_order`: the results of a stream, in order, however they are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from geoseg.blocks import map_in_order
from geoseg.errors import OptionError


class Counted:
    """Items that know how many were taken, and a function that is slow for some."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for item in range(self.n):
            self.taken += 1
            yield item


def slowly_squared(item: int) -> int:
    time.sleep(0.003 * (item % 3 == 0))
    return item * item


def fails_at_five(item: int) -> int:
    if item == 5:
        raise ArithmeticError("five")
    return item


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_come_in_order_and_few_are_made_ahead(threads):
    items = Counted(40)
    ahead = 0
    results = []
    for result in map_in_order(slowly_squared, items, threads=threads):
        results.append(result)
        ahead = max(ahead, items.taken - len(results))
    assert results == [item * item for item in range(40)]
    assert ahead == (0 if threads == 1 else threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_is_raised_in_its_place_and_ends_the_rest(threads):
    items, results = Counted(1000), []
    with pytest.raises(ArithmeticError, match="five"):
        results.extend(map_in_order(fails_at_five, items, threads=threads))  # what came before it is kept
    assert results == [0, 1, 2, 3, 4]
    assert items.taken <= 6 + threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("geoseg_")]


@pytest.mark.parametrize("threads", [1, 2])
def test_it_can_be_closed_early(threads):
    items = Counted(1000)
    results = map_in_order(slowly_squared, items, threads=threads)
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert items.taken <= 2 + threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("geoseg_")]


def test_work_runs_beside_other_work():
    together = threading.Barrier(3, timeout=20)  # breaks unless three items are worked on at once
    assert len(list(map_in_order(lambda item: together.wait(), range(9), threads=3))) == 9


def test_wrong_use_is_told():
    with pytest.raises(OptionError, match="threads=0"):
        list(map_in_order(abs, [1], threads=0))


def test_a_cluster_gives_the_same(tmp_path):
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        items = Counted(20)
        results = map_in_order(abs, items, cluster=cluster.scheduler_address)
        assert next(results) == 0
        assert items.taken == 3
        assert list(results) == list(range(1, 20))
        with Client(cluster), pytest.raises(ZeroDivisionError):  # an active client is used without being named
            list(map_in_order((1).__floordiv__, [1, 0]))
