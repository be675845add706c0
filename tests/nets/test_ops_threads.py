"""Threads that share out calls of kernels."""

import math
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import nets
from nets.autograd.tensor import Tensor
from nets.kernels import optimizer_step, piecewise_linear
from nets.kernels.weights import sum_rows
from nets.models import LeNet5
from nets.nn import init
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD
from nets.runtime import threads
from nets.runtime.worker_pool import WorkerPool

COUNTS = [1, 2, 3]


def doubled(x, out):
    """Arguments of a kernel that doubles numbers, all below zero; the band is left out."""
    return x, x, 2.0, math.nan, 0.0, out


def below_zero(size):
    return -1 - np.random.default_rng(size).random(size, np.float32)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 4001])
@pytest.mark.parametrize("step", [1, 8, 64])
def test_a_kernel_does_all_of_its_bands(count, size, step):
    x, out = below_zero(size), np.zeros(size, np.float32)
    with nets.threads(count):
        threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x, out), size, step=step)
    np.testing.assert_array_equal(out, 2 * x)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [0, 1, 5, 97])
def test_a_task_makes_its_calls_in_order_and_in_places_of_its_own(count, size):
    x, out = below_zero(64 * size), np.zeros(64 * size, np.float32)

    def task(call, first, last):
        for block in range(first, last):
            place, some = call.scratch("test", 64), slice(64 * block, 64 * block + 64)
            call(piecewise_linear.piecewise_linear, *doubled(x[some], place), 0, 64)
            call(piecewise_linear.piecewise_linear, *doubled(place, out[some]), 0, 64)

    with nets.threads(count):
        threads.share(size, task)  # the notes of 97 blocks do not fit into the first table
    np.testing.assert_array_equal(out, 4 * x)


@pytest.mark.parametrize("count", COUNTS)
def test_kernels_of_other_signatures(count):
    x, parts = below_zero(6400).reshape(-1, 8), np.zeros((16, 8), np.float32)
    w, g, how = below_zero(5000), below_zero(5000), np.array([1, 0, 0, 1, 0, 1], np.float32)
    moved = w - g
    with nets.threads(count):
        threads.share_kernel(sum_rows, (x, parts), 16)
        threads.share_kernel(optimizer_step.sgd, (w, g, w[:0], how), w.size, step=64)
    np.testing.assert_allclose(parts.sum(0), x.sum(0), rtol=1e-5)
    np.testing.assert_array_equal(w, moved)


def test_errors_come_through_and_leave_the_threads_usable():
    x, out = below_zero(1000), np.zeros(1000, np.float32)

    def fail(call, first, last):
        if first:
            raise ZeroDivisionError(f"band {first}")

    with nets.threads(2):
        with pytest.raises(ZeroDivisionError, match="band"):
            threads.share(10, fail)
        with pytest.raises(TypeError):
            threads.share_kernel(
                piecewise_linear.piecewise_linear, doubled(x.astype("f8"), out), 1000
            )
        with pytest.raises(TypeError):
            threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x[::2], out), 500)
        threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x, out), 1000)
    np.testing.assert_array_equal(out, 2 * x)


def test_arrays_that_a_kernel_writes_must_be_writeable():
    x, out = below_zero(1000), np.zeros(1000, np.float32)
    out.flags.writeable = False
    with nets.threads(2), pytest.raises(TypeError):
        threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x, out), 1000)


def test_a_task_must_not_share_out_work():
    def task(call, first, last):
        threads.share(2, task)

    with nets.threads(2), pytest.raises(RuntimeError, match="share"):
        threads.share(2, task)


def test_helpers_sleep_when_there_is_nothing_to_do_and_come_back():
    x, out = below_zero(20_000), np.zeros(20_000, np.float32)
    with nets.threads(2):
        for _ in range(3):
            threads.share_kernel(
                piecewise_linear.piecewise_linear, doubled(x, out), x.size, step=64
            )
            np.testing.assert_array_equal(out, 2 * x)
            helper = threads._State.pool.workers[0]
            end = time.monotonic() + 10
            while not helper.asleep and time.monotonic() < end:
                time.sleep(0.01)
            assert helper.asleep
            out[:] = 0


def steps(count, seed=0):
    """Losses of a few steps."""
    init.seed(seed)
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((16, 1, 32, 32), dtype=np.float32), rng.integers(0, 10, 16)
    model = LeNet5(activation="relu", pooling="max")
    optimiser, losses = SGD(model.named_parameters(), 0.01, momentum=0.9), []
    with nets.threads(count):
        for _ in range(3):
            loss = cross_entropy(model(Tensor(x)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return losses, {name: p.data.copy() for name, p in model.named_parameters()}


def assert_same(found, wanted):
    assert found[0] == wanted[0]
    for name, weights in wanted[1].items():
        np.testing.assert_array_equal(found[1][name], weights)


@pytest.mark.parametrize("count", [2, 3])
def test_training_does_not_depend_on_the_number_of_threads(count):
    assert_same(steps(count), steps(1))


def test_several_threads_of_python_compute_at_once():
    x = [below_zero(30_000) for _ in range(4)]
    wrong = []

    def work(k):
        out = np.zeros_like(x[k])
        for _ in range(200):
            out[:] = 0
            threads.share_kernel(
                piecewise_linear.piecewise_linear, doubled(x[k], out), out.size, step=64
            )
            if not np.array_equal(out, 2 * x[k]):
                wrong.append(k)

    with nets.threads(2):
        others = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for other in others:
            other.start()
        for other in others:
            other.join(60)
    assert not wrong
    assert not any(other.is_alive() for other in others)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_has_helpers_of_its_own():
    wanted = steps(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of threads in the parent
        child = os.fork()
    if child == 0:
        try:
            assert_same(steps(2), wanted)
            os._exit(0)
        except BaseException:
            os._exit(1)
    end, done = time.monotonic() + 60, (0, 0)
    while done[0] == 0 and time.monotonic() < end:
        done = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    assert done == (child, 0)


def test_a_process_ends_while_helpers_are_awake():
    code = """
import numpy as np, nets
from nets.autograd.tensor import Tensor
from nets.autograd.ops.activation import relu
nets.threads(3)
print(relu(Tensor(np.ones(1 << 16))).sum().item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "65536.0\n", "")


def test_dismissed_helpers_are_not_needed():
    pool, x, out = WorkerPool(), below_zero(1000), np.zeros(1000, np.float32)
    args = (*doubled(x, out), 0, 1000)
    for count in (2, 0):
        pool.call(count)
        pool.table.one(piecewise_linear.piecewise_linear, args)
        pool.run(2, 8, -1, 1000)
        np.testing.assert_array_equal(out, 2 * x)
        pool.shut_down()
        pool.table.clear()
        out[:] = 0
    assert not any(helper.thread.is_alive() for helper in pool.workers)


def test_an_interrupt_does_not_shut_a_thread_out():
    x, out = below_zero(1000), np.zeros(1000, np.float32)
    with nets.threads(2):
        threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x, out), 1000)
        pool = threads._enter()  # and nobody leaves
        for _ in range(2):
            out[:] = 0
            threads.share_kernel(piecewise_linear.piecewise_linear, doubled(x, out), 1000)
            np.testing.assert_array_equal(out, 2 * x)
        threads._leave(pool)
