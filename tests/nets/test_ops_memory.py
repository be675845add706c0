"""Memory that is used again."""

import gc
import threading

import numpy as np

from nets.runtime import memory


def test_memory_of_a_forgotten_array_is_used_again():
    first = memory.empty(100, 300)
    where = memory.address(first)
    view = first.reshape(300, 100)[1:].T
    del first
    assert memory.address(memory.empty(100, 300)) != where  # a view still needs it
    del view
    again = memory.empty(299, 100)  # about the same size
    assert memory.address(again) == where
    assert again.shape == (299, 100)
    assert where % 64 == 0


def test_idle_memory_is_bounded_by_what_was_in_use(monkeypatch):
    monkeypatch.setattr(memory, "_store", memory._Store())
    store = memory._store
    for size in range(20_000, 400_000, 20_000):
        array = memory.empty(size)
        del array
    gc.collect()
    assert store.used == 0
    assert store.idle <= store.most <= 1.2 * 400_000
    kept = [memory.empty(50_000) for _ in range(8)]
    assert store.used + store.idle <= store.most
    assert len({memory.address(a) for a in kept}) == 8


def test_small_arrays_are_plain_ones():
    assert memory.empty(3, 4).base is None
    assert memory.empty(0, 5).shape == (0, 5)


def test_scratch_is_a_thread_s_own():
    found = {}

    def look(name):
        place = memory.scratch("test", 100)
        place[:] = len(name)
        found[name] = memory.address(place)

    look("here")
    other = threading.Thread(target=look, args=("there",))
    other.start()
    other.join()
    assert found["here"] != found["there"]
    assert memory.address(memory.scratch("test", 50)) == found["here"]
    assert np.all(memory.scratch("test", 50) == 4)
