import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vj.detect import pyramid
from vj.errors import ParameterError

SIDES = st.tuples(st.integers(3, 300), st.integers(3, 300))
WINDOWS = st.tuples(st.integers(3, 30), st.integers(3, 30))


@given(SIDES, WINDOWS, st.sampled_from([1.05, 1.1, 1.31, 2.0]))
def test_every_window_lies_in_its_level(shape, window, factor):
    for level in pyramid.levels(shape, window, factor, None, None):
        assert level.step == (1 if level.factor >= 2 else 2)
        assert level.window_rows >= 1
        assert (level.window_rows - 1) * level.step + window[0] <= level.rows
        assert level.window_cols >= 1
        assert (level.window_cols - 1) * level.step + window[1] <= level.cols


@given(SIDES, WINDOWS, st.integers(1, 300), st.integers(1, 300))
def test_limits(shape, window, low, high):
    free = pyramid.levels(shape, window, 1.1, None, None)
    limits = (low, low), (high, high)
    strict = pyramid.levels(shape, window, 1.1, *limits)
    sizes = {level.window for level in strict}
    assert sizes == {s for s in (v.window for v in free) if low <= min(s) and max(s) <= high}
    loose = pyramid.levels(shape, window, 1.1, *limits, strict=False)
    assert len(loose) == (len(strict) or bool(free))


@given(SIDES, WINDOWS)
def test_bands_hold_every_row_of_windows_once(shape, window):
    levels = pyramid.levels(shape, window, 1.2, None, None)
    table = pyramid.bands(levels, window)
    for k, level in enumerate(levels):
        rows = [
            first + level.step * i for _, _, _, first, _, _, n, *_ in table[table[:, 0] == k]
            for i in range(n)
        ]  # fmt: skip
        assert rows == list(range(0, level.window_rows * level.step, level.step))
    assert table[:, 4].max(initial=0) <= max(192, 6 * window[0])


def test_an_odd_last_row_is_forgotten_as_in_opencv():
    # 24 rows of windows: even, all scanned; 25: the last is lost unless the stripes round up
    window = (20, 20)
    scanned = {
        (rows, cols): pyramid.levels((rows, cols), window, 3.0, None, None)[0].window_rows
        for rows in (43, 44)
        for cols in (52, 150)
    }
    assert scanned == {(43, 52): 12, (43, 150): 12, (44, 52): 12, (44, 150): 13}


@pytest.mark.parametrize("factor", [1, 0, np.nan, np.inf, -2])
def test_refuses_a_factor(factor):
    with pytest.raises(ParameterError, match="above 1"):
        pyramid.all_factors((50, 50), (20, 20), factor)
