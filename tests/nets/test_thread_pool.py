"""The threads of plans, by themselves."""

import threading
import time

import pytest

from nets.runtime.thread_pool import ThreadPool


def test_calls_run_at_the_same_time():
    """Each in a thread of its own, the first in that of the caller."""
    pool, meet, seen = ThreadPool(2), threading.Barrier(3, timeout=10), []

    def call():
        meet.wait()
        seen.append(threading.get_ident())

    for _ in range(2):
        assert pool.run([call] * 3)
    assert len(set(seen)) == 3
    assert seen.count(threading.get_ident()) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("place", [0, 1])
def test_an_error_waits_for_the_other_calls(error, place):
    """They use the caller's memory: after an interrupt nobody may be at work in it."""
    pool, done = ThreadPool(2), []

    def fail():
        raise error

    def work():
        time.sleep(0.1)
        done.append(True)

    calls = [work, work, work]
    calls[place] = fail
    with pytest.raises(error):
        pool.run(calls)
    assert len(done) == 2
    assert pool.run([work] * 3)
    assert len(done) == 5


def test_who_finds_them_at_work_works_alone():
    pool, entered, leave = ThreadPool(1), threading.Event(), threading.Event()

    def hold():
        entered.set()
        leave.wait(10)

    other = threading.Thread(target=pool.run, args=([hold, int],))
    other.start()
    entered.wait(10)
    assert not pool.run([pytest.fail, pytest.fail])
    leave.set()
    other.join()
    assert pool.run([int, int])


def test_threads_end_with_the_pool():
    pool = ThreadPool(3)
    before = set(threading.enumerate())
    pool.run([int] * 4)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    del pool
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_a_system_without_threads(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not ThreadPool(1).run([pytest.fail, pytest.fail])
