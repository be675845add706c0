"""Random graphs against onnxruntime and plain NumPy, and random models against their own forward.

By the thousand they run by hand: ``python -m tests.nets.random_graphs``, ``random_models``.
"""

import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from nets.operators import OPERATORS
from tests.nets.graph_builder import MAKERS
from tests.nets.random_graphs import verdict
from tests.nets.random_models import check


def test_every_operator_is_used():
    assert set(OPERATORS) <= set(MAKERS)


def for_seconds(seconds, function):
    """Call a function with seeds, as many as the time allows; one that fails is named."""
    end = time.monotonic() + seconds

    @settings(max_examples=2000, database=None, phases=[Phase.generate])
    @given(st.integers(0, 1 << 40))
    def seeds(seed):
        if time.monotonic() < end:
            function(seed)

    seeds()


def test_random_graphs():
    def right(seed):
        found = verdict(seed)
        assert not found, found

    for_seconds(20, right)


def test_random_models():
    for_seconds(8, check)
