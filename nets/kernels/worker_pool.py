"""How threads share out calls of kernels among them, without Python's lock.

A job is a list of calls that notes describe (`vj.kernels.simd.call_descriptors`), cut into units.
Who has nothing to do takes the next unit. One thread leads: it posts the job on a board, works on
it, and waits for those that are still at a unit. Helpers that find no job look again for a while,
so that a job that follows soon needs nobody to wake them.
"""

from numba import int64, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    address,
    array_i64,
    atomic_add,
    atomic_load,
    atomic_store,
    call_noted,
    call_plain,
    pause,
    write_note,
)

# Fields of a board; what threads write to is a cache line apart.
OPEN, OVER, NEXT, BUSY, JOB = 0, 1, 8, 16, 24  # a job is posted, there will be no more; its next
# unit, helpers at work, its fields
# Fields of a job: how many units and helpers; address of its table; place of the first unit's first
# line, or -1 where all units are bands of the only call; its numbers, and the steps bands grow by.
UNITS, HELPERS, TABLE, SPANS, TOTAL, STEP, BOARD = range(JOB, JOB + 7)
# A line of the table: address of the caller, place of the note in bytes, and the band.
CALLER, NOTE, FIRST, LAST, LINE = range(5)
LOOKS = 4000  # at helpers that are late before others get a chance to run


@kernel(int64(ro(int64, 1)))
def place(x):
    """Address of an array."""
    return address(x)


@device
def note(table, at, *args):
    """Write a call down: the address of the kernel's code and its arguments."""
    write_note(table, at, args)


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
            call_noted(table[CALLER], board[TABLE] + table[NOTE], first, min(last, total))
        else:
            for line in range(table[spans + unit], table[spans + unit + 1], LINE):
                call_noted(
                    table[line + CALLER], board[TABLE] + table[line + NOTE],
                    table[line + FIRST], table[line + LAST],
                )  # fmt: skip


@kernel(void(rw(int64, 1), int64, int64, int64))
def serve(board, looks, naps, nap):
    """Help with the jobs on the board, until ``looks`` in a row and then naps found none.

    A nap is a call of the C function ``nap`` with the argument 1.
    """
    idle = int64(0)
    while idle < looks + naps and atomic_load(board, OVER) == 0:
        idle += 1
        if atomic_load(board, OPEN) == 0 or atomic_load(board, NEXT) >= board[UNITS]:
            if idle > looks:
                call_plain(nap, 1)
            else:
                pause()
            continue
        # The leader does not touch a job while someone is busy with it: join, then look again.
        others = atomic_add(board, BUSY, 1)
        if atomic_add(board, OPEN, 0) != 0 and others < board[HELPERS]:
            work(board)
            idle = int64(0)
        atomic_add(board, BUSY, -1)


@kernel(void(rw(int64, 1), int64))
def lead(board, give_way):
    """Post the job that the fields of the board describe, and see it done.

    A leader that has waited for a while for helpers calls the C function at `give_way` (0: none).
    """
    atomic_store(board, NEXT, 0)
    atomic_store(board, OPEN, 1)
    work(board)
    atomic_store(board, OPEN, 0)
    looks = int64(0)
    while atomic_add(board, BUSY, 0) != 0:
        looks += 1
        if looks > LOOKS and give_way != 0:
            call_plain(give_way, 0)
        pause()
