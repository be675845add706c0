"""Small ONNX files with many operators."""

import numpy as np

from tests.fuzz.seeds import Seed


def graphs():
    import onnx

    from tests.nets import onnx_graphs as og

    rng = np.random.default_rng(1)
    value, node = og.value, og.node
    message = og.proto(*og.conv_net(rng, 4))
    yield Seed("conv.onnx", "onnx", message.SerializeToString())
    constants = {
        "s": np.array([1, -1], np.int64),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "r": np.array([1, 1, 2, 2], np.float32),
        "i": np.array([0, 1], np.int64),
        "e": np.array([2, 1, 4], np.int64),
    }
    nodes = [
        node("Pad", ["x", "p"], ["a"]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("Resize", ["b", "", "r"], ["c"], mode="nearest"),
        node("Gather", ["c", "i"], ["d"], axis=1),
        node("Split", ["d"], ["f", "g"], axis=1),
        node("Concat", ["f", "g", "f"], ["h"], axis=1),
        node("Softmax", ["h"], ["k"], axis=1),
        node("Reshape", ["k", "s"], ["l"]),
        node("ReduceMean", ["l"], ["m"], axes=[1], keepdims=1),
        node("Transpose", ["m"], ["n"], perm=[1, 0]),
        node("Expand", ["n", "e"], ["y"]),
    ]
    ends = [value("x", [1, 3, 6, 6])], [value("y", None)]
    message = og.proto(nodes, *ends, constants)
    yield Seed("layout.onnx", "onnx", message.SerializeToString())
    nodes = [
        node("Flatten", ["x"], ["a"], axis=1),
        node("Gemm", ["a", "w"], ["b"], transB=0, alpha=0.5),
        node("Unsqueeze", ["b", "i0"], ["c"]),
        node("Squeeze", ["c", "i0"], ["d"]),
        node("Tile", ["d", "t"], ["e"]),
        node("ConstantOfShape", ["t"], ["z"]),
        node("Range", ["r0", "r1", "r2"], ["q"]),
        node("Clip", ["e", "lo", "hi"], ["y"]),
        node("Cast", ["q"], ["v"], to=1),
    ]
    constants = {
        "w": rng.standard_normal((8, 3)).astype("f4"), "i0": np.array([0], np.int64),
        "t": np.array([1, 2], np.int64),
        "lo": np.array(0, np.float32), "hi": np.array(6, np.float32),
        "r0": np.array(0, np.int64), "r1": np.array(9, np.int64), "r2": np.array(2, np.int64),
    }  # fmt: skip
    message = og.proto(
        nodes,
        [value("x", [1, 8])],
        [value("y", None), value("v", None), value("z", None)],
        constants,
    )
    yield Seed("dense.onnx", "onnx", message.SerializeToString())
    outside = og.proto(*og.conv_net(rng, 4))
    held = {}
    for k, tensor in enumerate(outside.graph.initializer):
        held[f"w{k}.bin"] = tensor.raw_data
        onnx.external_data_helper.set_external_data(tensor, f"w{k}.bin", 0, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    yield Seed("outside.onnx", "onnx", outside.SerializeToString(), held)
