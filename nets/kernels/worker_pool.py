"""How threads share out calls of kernels among them, without Python's lock.

A job is a list of calls that descriptors hold (`vj.kernels.simd.call_descriptors`), cut into units.
A thread that is free takes the next unit. One thread leads: it posts the job on a board, works on
it, and waits for those that are still at a unit. Workers that find no job spin for a while, so that
a job that follows soon finds them awake.
"""

from numba import int64, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    address,
    array_i64,
    atomic_add,
    atomic_load,
    atomic_store,
    call_described,
    call_plain,
    pause,
    write_descriptor,
)

# Fields of a board; what threads write to is a cache line apart.
OPEN, OVER, NEXT, BUSY, JOB = 0, 1, 8, 16, 24  # a job is posted, there will be no more; its next
# unit, workers at work, its fields
# Fields of a job: how many units and workers; address of its table; place of the first unit's first
# line, or -1 where all units are bands of the only call; its numbers, and the steps bands grow by.
UNITS, WORKERS, TABLE, SPANS, TOTAL, STEP, BOARD = range(JOB, JOB + 7)
# A line of the table: address of the caller, place of the descriptor in bytes, and the band.
CALLER, DESCRIPTOR, FIRST, LAST, LINE = range(5)
SPINS = 4000  # of a leader that waits for workers, before it lets other threads run


@kernel(int64(ro(int64, 1)))
def place(x):
    """Address of an array."""
    return address(x)


@device
def describe(table, at, *args):
    """Write a call down: the address of the kernel's code and its arguments."""
    write_descriptor(table, at, args)


@device
def work(board):
    """Take units as long as there are any."""
    units, spans, total, step = board[UNITS], board[SPANS], board[TOTAL], board[STEP]
    table = array_i64(board[TABLE], LINE if spans < 0 else spans + units + 1)
    steps = (total + step - 1) // step
    while True:
        unit = atomic_add(board, NEXT, 1)
        if unit >= units:
            return
        if spans < 0:
            first, last = unit * steps // units * step, (unit + 1) * steps // units * step
            call_described(table[CALLER], board[TABLE] + table[DESCRIPTOR], first, min(last, total))
        else:
            for line in range(table[spans + unit], table[spans + unit + 1], LINE):
                call_described(
                    table[line + CALLER], board[TABLE] + table[line + DESCRIPTOR],
                    table[line + FIRST], table[line + LAST],
                )  # fmt: skip


@kernel(void(rw(int64, 1), int64, int64, int64))
def serve(board, spins, sleeps, sleep):
    """Work on the jobs of the board, until ``spins`` looks in a row and then ``sleeps`` find none.

    Between the latter the C function ``sleep`` is called with the argument 1.
    """
    idle = int64(0)
    while idle < spins + sleeps and atomic_load(board, OVER) == 0:
        idle += 1
        if atomic_load(board, OPEN) == 0 or atomic_load(board, NEXT) >= board[UNITS]:
            if idle > spins:
                call_plain(sleep, 1)
            else:
                pause()
            continue
        # The leader does not touch a job while someone is busy with it: join, then look again.
        others = atomic_add(board, BUSY, 1)
        if atomic_add(board, OPEN, 0) != 0 and others < board[WORKERS]:
            work(board)
            idle = int64(0)
        atomic_add(board, BUSY, -1)


@kernel(void(rw(int64, 1), int64))
def lead(board, yield_thread):
    """Post the job that the fields of the board describe, and see it done.

    A leader that has waited for workers for a while calls the C function at ``yield_thread``
    (0: none), which lets another thread run.
    """
    atomic_store(board, NEXT, 0)
    atomic_store(board, OPEN, 1)
    work(board)
    atomic_store(board, OPEN, 0)
    spins = int64(0)
    while atomic_add(board, BUSY, 0) != 0:
        spins += 1
        if spins > SPINS and yield_thread != 0:
            call_plain(yield_thread, 0)
        pause()
