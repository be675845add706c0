"""Every node test of the onnx package whose operators are claimed, through the whole engine."""

import warnings
from collections import Counter

import numpy as np
import pytest

from nets.compiler import Model
from nets.onnx.reader import parse_graph
from nets.operators import OPERATORS
from vj.errors import NetError

onnx = pytest.importorskip("onnx")

# What face detectors and the usual backbones need; the others are a bonus.
CLAIMED = set(
    """
Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose DepthToSpace Div
Dropout Elu Exp Flatten GRU Gather Gemm GlobalAveragePool GlobalMaxPool GroupNormalization
HardSigmoid HardSwish InstanceNormalization LRN LSTM LayerNormalization LeakyRelu MatMul
MaxPool MaxUnpool Mul NonMaxSuppression PRelu Pad RNN ReduceMax ReduceMean ReduceSum Relu
Reshape Resize Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Upsample
    """.split()  # noqa: SIM905
)

# Why some cases of these operators are not taken, and how many that are.
REFUSED = {
    "element type": 164,  # bfloat16, float8, float4, int4, int2, strings
    "opset 1 ": 3,  # three cases of Not
    "sequences or maps": 2,  # Identity of a sequence and of an optional
}


def load_cases():
    with warnings.catch_warnings():  # the generators divide by zero on purpose
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        cases = load_model_tests(kind="node")
    found = []
    for case in cases:
        used = {node.op_type for node in case.model.graph.node}
        domains = {node.domain for node in case.model.graph.node}
        if used <= set(OPERATORS) and domains <= {"", "ai.onnx"}:
            found.append(case)
    return found


CASES = load_cases()


def engine(case):
    return Model(parse_graph(case.model.SerializeToString(), case.name))


def array(value):
    if hasattr(value, "data_type"):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value)


def run(case, model):
    for inputs, expected in case.data_sets:
        feeds = {port.name: array(x) for port, x in zip(model.inputs, inputs, strict=True)}
        outputs = model.run(feeds)
        for port, want in zip(model.outputs, expected, strict=True):
            got, want = outputs[port.name], array(want)
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol)


def reason(case):
    """Why a case is refused, None if it is not."""
    try:
        engine(case)
    except NetError as exc:
        return next((key for key in REFUSED if key in str(exc)), str(exc))
    return None


REASONS = {case.name: reason(case) for case in CASES}


@pytest.mark.parametrize(
    "case", [c for c in CASES if REASONS[c.name] is None], ids=lambda case: case.name
)
def test_node(case):
    run(case, engine(case))


def test_nothing_else_is_refused():
    assert Counter(r for r in REASONS.values() if r) == REFUSED


def test_all_claimed_operators_have_cases():
    names = Counter()
    for case in CASES:
        if REASONS[case.name] is None:
            names.update({node.op_type for node in case.model.graph.node})
    assert not [op for op in CLAIMED if not names[op]]
    whole = [
        c.name for c in CASES
        if REASONS[c.name] is None and {n.op_type for n in c.model.graph.node} <= CLAIMED
    ]  # fmt: skip
    assert len(whole) >= 437  # of these onnxruntime 1.32 passes 426
