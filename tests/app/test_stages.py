import os
import signal
import threading
import time

import pytest

from vj.app.stages import Ahead, Clock, mapped, stopping
from vj.app.status import Terminated


def counted(n, fed, error=None):
    try:
        for i in range(n):
            fed.append(i)
            yield i
        if error:
            raise error
    finally:
        fed.append("closed")


def test_things_come_in_order_from_another_thread():
    fed = []
    assert list(Ahead(counted(100, fed), 3)) == list(range(100))
    assert fed[-1] == "closed"


def test_no_more_than_the_depth_is_ahead():
    fed = []
    things = Ahead(counted(100, fed), 3)
    assert next(things) == 0
    time.sleep(0.1)
    assert len(fed) <= 6
    things.close()
    assert fed[-1] == "closed"
    assert list(things) == []


def test_an_exception_comes_in_its_place():
    things = Ahead(counted(2, [], ZeroDivisionError("x")), 5)
    assert [next(things), next(things)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="x"):
        next(things)
    assert list(things) == []


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_mapped_keeps_the_order_and_the_number_under_way(jobs):
    now, most, lock = [], [], threading.Lock()

    def work(i):
        with lock:
            now.append(i)
            most.append(len(now))
        time.sleep(0.002 * (i % 3))
        with lock:
            now.remove(i)
        return -i

    assert list(mapped(work, range(30), jobs)) == [(i, -i) for i in range(30)]
    assert max(most) <= jobs


def test_threads_meet_where_few_things_are_work():
    together = threading.Barrier(2)

    def work(i):
        return i if i % 5 else together.wait(20)  # nobody comes through alone

    done = list(mapped(work, range(40), 2, every=5))
    assert [i for i, _ in done] == list(range(40))


def test_the_clock_counts_each_stage():
    clock = Clock()
    with clock.at("one"):
        time.sleep(0.02)
    assert list(clock.each("two", iter("ab"))) == ["a", "b"]
    assert clock.seconds["one"] >= 0.02 > clock.seconds["two"]
    lines = list(clock.lines(2, 1.0))
    assert lines[0].startswith("one ")
    assert lines[-1].endswith("2.0 frames/s")


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_asks_and_is_raised_in_the_end(number, kind):
    before = signal.getsignal(number)
    seen = []

    def film():
        with stopping() as stop:
            for i in stop.until(range(10)):
                seen.append(i)
                if i == 3:
                    os.kill(os.getpid(), number)
        stop.raise_()

    with pytest.raises(kind):
        film()
    assert seen == [0, 1, 2, 3]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    def film():
        with stopping():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        film()


def test_signals_are_left_alone_in_other_threads():
    seen = []

    def work():
        with stopping() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
