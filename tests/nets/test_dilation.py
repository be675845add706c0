"""Receptive fields, gridding, and the rule that avoids it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nets import reference
from nets.dilation import (
    check_rates,
    coverage,
    draw_coverage,
    propose_rates,
    receptive_field,
    teeth,
)
from vj.errors import ParameterError

stacks = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(stacks, st.integers(2, 3))
def test_coverage_is_the_response_to_ones(rates, kernel):
    """Convolutions with ones, transposed, paint the coverage of a single output pixel."""
    x = np.ones((1, 1, 1, 1))
    for rate in reversed(rates):
        ones = np.ones((1, 1, kernel, kernel))
        x = reference.conv_transpose2d(x, ones, dilation=(rate, rate))
    np.testing.assert_array_equal(coverage(rates, kernel), x[0, 0])
    assert coverage(rates, kernel).shape == (receptive_field(rates, kernel),) * 2


def test_receptive_field_of_known_nets():
    assert receptive_field([1] * 13, 3) == 27
    vgg16 = [3, 3, 2] * 2 + [3, 3, 3, 2] * 3
    assert receptive_field([1] * 18, vgg16, [1, 1, 2] * 2 + [1, 1, 1, 2] * 3) == 212
    alexnet = [11, 3, 5, 3, 3, 3, 3, 3]
    assert receptive_field([1] * 8, alexnet, [4, 2, 1, 2, 1, 1, 1, 2]) == 195


@pytest.mark.parametrize(
    ("rates", "complete", "rule", "says"),
    [
        ([1, 2, 5], True, True, "M_2 = 2 is within the kernel of 3; all 289 pixels are used"),
        ([1, 2, 9], False, False, "M_2 = 5 of the rates [1, 2, 9] exceeds the kernel of 3"),
        ([2, 2, 2], False, False, "common divisor 2: only every 2nd row and column is looked at"),
        ([3, 6], False, False, "only every 3rd row"),
        ([2, 4, 8], False, False, "225 of 841 pixels are used"),
        ([2, 3, 5], False, True, "begin with rate 1, not 2: the edges have holes"),
        ([1, 2, 5, 1, 2, 5], True, True, "sawtooth; all 1089"),
        ([1, 3, 2], True, True, "fall without beginning anew"),
    ],
)
def test_verdicts(rates, complete, rule, says):
    verdict = check_rates(rates)
    assert (bool(verdict), verdict.rule) == (complete, rule)
    assert says in str(verdict)


def test_distances_of_the_paper():
    """Wang et al. 2018, section 3.2: r = [1, 2, 5] has M_2 = 2, r = [1, 2, 9] has M_2 = 5."""
    assert check_rates([1, 2, 5]).distances == (1, 2, 5)
    assert check_rates([1, 2, 9]).distances[1] == 5


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(sorted))
def test_the_rule_is_right_for_rising_rates(rates):
    """Without holes the rule holds; the rule and a first rate of 1 leave no holes."""
    verdict = check_rates(rates)
    holes = int((coverage(rates) == 0).sum())
    assert verdict.complete == (holes == 0)
    if verdict.complete:
        assert verdict.rule
    if verdict.rule and rates[0] == 1:
        assert verdict.complete


@given(st.integers(1, 9), st.integers(3, 60), st.integers(2, 4))
def test_proposals_are_good(layers, field, kernel):
    try:
        rates = propose_rates(layers, field, kernel)
    except ParameterError:
        assume(False)
    assert len(rates) == layers
    assert receptive_field(rates, kernel) >= field
    assert check_rates(rates, kernel).complete


def test_proposals_that_people_know():
    assert propose_rates(1, 3) == [1]
    assert propose_rates(3, 17) == [1, 2, 5]
    with pytest.raises(ParameterError, match="3 layers of kernel 3 can see 27 pixels"):
        propose_rates(3, 100)
    assert teeth([1, 2, 5, 1, 2]) == [[1, 2, 5], [1, 2]]


def test_picture():
    picture = draw_coverage([2, 2], zoom=3)
    assert picture.shape == (27, 27, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[3, 3], [160, 0, 0])  # a hole
    assert picture[13, 13].tolist() == [255, 255, 255]  # the centre is used most


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: receptive_field([]), "`rates`"), (lambda: receptive_field([0, 1]), "`rates`"),
        (lambda: receptive_field([1], [3, 3]), "`kernel` must hold 1"),
        (lambda: receptive_field([1], strides=[0]), "`strides`"),
        (lambda: check_rates([1], 1), "`kernel` must be at least 2"),
        (lambda: coverage([1], 0), "`kernel`"),
        (lambda: propose_rates(0, 3), "`layers`"), (lambda: draw_coverage([1], zoom=0), "`zoom`"),
    ],
)  # fmt: skip
def test_refuses(call, says):
    with pytest.raises(ParameterError, match=says):
        call()
