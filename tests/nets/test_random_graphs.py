"""Random graphs against onnxruntime and plain NumPy; by the thousand: `random_graphs` by hand."""

import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from nets.operators import OPERATORS
from tests.nets.graph_builder import MAKERS
from tests.nets.random_graphs import verdict

BUDGET = 20  # seconds


def test_every_operator_is_used():
    assert set(OPERATORS) <= set(MAKERS)


def test_random_graphs():
    """As many as the time allows: some hundreds. A seed that fails is named."""
    end = time.monotonic() + BUDGET

    @settings(max_examples=2000, database=None, phases=[Phase.generate])
    @given(st.integers(0, 1 << 40))
    def graphs(seed):
        found = verdict(seed) if time.monotonic() < end else ""
        assert not found, found

    graphs()
