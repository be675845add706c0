"""Files that are broken, hostile or merely unusual."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_graphs import conv_net, model, node, proto, value  # noqa: E402

import nets  # noqa: E402
from nets.compiler import Model  # noqa: E402
from nets.compiler.specialise import specialise  # noqa: E402
from nets.onnx.reader import parse_graph  # noqa: E402
from vj.errors import NetError  # noqa: E402


@pytest.fixture
def good():
    return proto(*conv_net(np.random.default_rng(0)))


def refused(message, says, **shapes):
    with pytest.raises(NetError, match=says):
        Model(parse_graph(message.SerializeToString(), "file.onnx")).plan(shapes)


def test_missing_file(tmp_path):
    with pytest.raises(NetError, match=r"no\.onnx: cannot be read: No such file"):
        nets.load_onnx(tmp_path / "no.onnx")


def test_no_file_to_read(tmp_path):
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(1 << 32)  # takes no space
    for path in (tmp_path, tmp_path / "large.onnx"):
        with pytest.raises(NetError, match=r"is not a file of at most 2\.15 GB, as ONNX files are"):
            nets.load_onnx(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"not a model" * 9, b"\x89PNG\r\n\x1a\n" * 9])
def test_no_onnx_file(data):
    with pytest.raises(NetError, match=r"file\.onnx: .*not an ONNX file"):
        parse_graph(data, "file.onnx")


def test_truncated(good):
    data = good.SerializeToString()
    for end in range(0, len(data), 7):
        try:
            parse_graph(data[:end], "file.onnx")
        except NetError as exc:
            assert str(exc).startswith("file.onnx: ")  # noqa: PT017


def test_unknown_operator(good):
    good.graph.node[2].op_type = "Frobnicate"
    refused(
        good, r"file\.onnx: node 'Relu->y' \(Frobnicate\): operator Frobnicate is not supported"
    )
    good.graph.node[2].op_type, good.graph.node[2].domain = "Relu", "com.acme"
    refused(good, r"operator com\.acme\.Relu is not supported")


def test_control_flow(good):
    inner = helper.make_graph([], "inner", [], [value("z", [1])])
    good.graph.node[2].attribute.append(helper.make_attribute("then_branch", inner))
    refused(good, "is a graph: control flow is not supported")


def test_opset(good):
    good.opset_import[0].version = 3
    refused(good, r"file\.onnx: opset 3 is not supported; 7 to")


@pytest.mark.parametrize(
    ("shape", "says"),
    [((1, 4, 9, 9), "weights of shape .* need 3 input channels, got 4"),
     ((1, 3, 9), "must have 3 dimensions"), ((1, 3), "at least 3 dimensions")],
)  # fmt: skip
def test_wrong_shape(good, shape, says):
    refused(good, rf"file\.onnx: node 'Conv->c' \(Conv\): .*{says}", x=shape)


def test_wrong_arrays(good):
    net = Model(parse_graph(good.SerializeToString(), "file.onnx"))
    x = np.zeros((1, 3, 9, 9), np.float32)
    with pytest.raises(NetError, match="input 'x' must be float32, got float64"):
        net.run({"x": x.astype(float)})
    with pytest.raises(NetError, match="input 'x' must have 4 dimensions"):
        net.run({"x": x[0]})
    with pytest.raises(NetError, match=r"inputs are \['x'\], got \['y'\]"):
        net.run({"y": x})
    with pytest.raises(NetError, match="`n_jobs` must be at least 1, got 0"):
        Model(net.graph, n_jobs=0)


def test_wrong_dtype():
    message = proto(
        [node("Conv", ["x", "w"], ["y"])], [value("x", [1, 3, 5, 5], TensorProto.INT64)],
        [value("y", None)], {"w": np.zeros((2, 3, 3, 3), np.float32)},
    )  # fmt: skip
    refused(message, r"node 'Conv->y' \(Conv\): does not take int64 arrays", x=(1, 3, 5, 5))


def test_nan_weights(good):
    w = numpy_helper.to_array(good.graph.initializer[0]).copy()
    w.flat[5] = np.nan
    good.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w"))
    refused(good, r"file\.onnx: constant 'w': 1 of its 216 values are NaN")


def test_cycle(good):
    good.graph.node[0].input[0] = "y"
    refused(good, "is part of a cycle")


def test_dangling_names(good):
    good.graph.node[1].input[0] = "nowhere"
    refused(good, "reads 'nowhere', which nothing writes")
    good.graph.node[1].input[0] = "c"
    good.graph.node[1].output[0] = "c"
    refused(good, "writes 'c', which exists already")


def test_size_does_not_fit_data(good):
    good.graph.initializer[0].dims[0] = 1 << 40
    refused(good, "constant 'w': shape .* needs .* bytes, got 864")
    good.graph.initializer[0].dims[0] = -8
    refused(good, "constant 'w': the shape .* is impossible")


def test_element_type(good):
    good.graph.initializer[0].data_type = TensorProto.BFLOAT16
    refused(good, "constant 'w': element type 16 is not supported")


def test_absurd_sizes(good):
    refused(good, r"input 'x': an array of shape .* brings the network to 1.*e\+03 GB, the limit",
            x=(1, 3, 300_000, 300_000))  # fmt: skip
    message = proto(
        [node("ConstantOfShape", ["n"], ["y"])], [], [value("y", None)],
        {"n": np.array([1 << 20, 1 << 20], np.int64)},
    )  # fmt: skip
    refused(message, r"node 'ConstantOfShape->y' .*4\.4e\+03 GB")
    tile = proto(
        [node("Tile", ["x", "n"], ["y"])], [value("x", [4, 4])], [value("y", None)],
        {"n": np.array([1 << 30, 1 << 30], np.int64)},
    )  # fmt: skip
    refused(tile, "brings the network to", x=(4, 4))
    pool = proto(
        [node("MaxPool", ["x"], ["y"], kernel_shape=[1 << 40], pads=[(1 << 40) - 1] * 2,
              strides=[1 << 39])],
        [value("x", [1, 1, 1])], [value("y", None)],
    )  # fmt: skip
    with pytest.raises(NetError, match="GB of workspace"):
        Model(parse_graph(pool.SerializeToString(), "f")).run({"x": np.zeros((1, 1, 1), "f4")})


def test_absurd_size_that_hangs_on_data():
    net = model(
        [node("ConstantOfShape", ["n"], ["y"])], [value("n", [2], TensorProto.INT64)],
        [value("y", None)],
    )  # fmt: skip
    assert net.run({"n": np.array([2, 3])})["y"].shape == (2, 3)
    with pytest.raises(NetError, match=r"asks for 4\.4e\+03 GB"):
        net.run({"n": np.array([1 << 20, 1 << 20])})


class TestExternalData:
    @pytest.fixture
    def folder(self, good, tmp_path):
        copy = onnx.ModelProto.FromString(good.SerializeToString())  # saving empties it
        onnx.save(copy, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin",
                  size_threshold=0)  # fmt: skip
        return tmp_path

    def change(self, folder, **keys):
        message = onnx.load(folder / "m.onnx", load_external_data=False)
        for entry in message.graph.initializer[0].external_data:
            if entry.key in keys:
                entry.value = keys[entry.key]
        (folder / "m.onnx").write_bytes(message.SerializeToString())

    def test_read(self, folder, good):
        x = np.ones((1, 3, 9, 9), np.float32)
        direct = Model(parse_graph(good.SerializeToString(), "m")).run({"x": x})["y"]
        np.testing.assert_array_equal(nets.load_onnx(folder / "m.onnx").run({"x": x})["y"], direct)

    def test_missing(self, folder):
        (folder / "m.bin").unlink()
        with pytest.raises(NetError, match=r"constant 'w': its data file 'm\.bin' is missing"):
            nets.load_onnx(folder / "m.onnx")

    @pytest.mark.parametrize("where", ["../secret", "/etc/passwd", "a/../../secret"])
    def test_outside(self, folder, where):
        (folder.parent / "secret").write_bytes(bytes(4096))
        self.change(folder, location=where)
        with pytest.raises(NetError, match="lies outside the folder of the model"):
            nets.load_onnx(folder / "m.onnx")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_link_to_outside(self, folder):
        (folder.parent / "secret").write_bytes(bytes(4096))
        (folder / "link").symlink_to(folder.parent / "secret")
        self.change(folder, location="link")
        with pytest.raises(NetError, match="lies outside the folder of the model"):
            nets.load_onnx(folder / "m.onnx")

    def test_names_that_are_no_text(self, folder):
        data = (folder / "m.onnx").read_bytes()
        assert b"m.bin" in data
        (folder / "m.onnx").write_bytes(data.replace(b"m.bin", b"m.\xffin"))
        with pytest.raises(NetError, match=r"m\.onnx: `value` is not UTF-8: b'm\.\\xffin'"):
            nets.load_onnx(folder / "m.onnx")

    def test_location_of_300_characters(self, folder):
        self.change(folder, location="a" * 300)
        with pytest.raises(
            NetError, match=r"^\S+m\.onnx: constant 'w': its data file 'a+\.\.\.a+' "
        ) as got:
            nets.load_onnx(folder / "m.onnx")
        assert "File name too long" in str(got.value)
        assert len(str(got.value)) < 300

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_loop_of_links(self, folder):
        (folder / "one").symlink_to(folder / "two")
        (folder / "two").symlink_to(folder / "one")
        self.change(folder, location="one")
        with pytest.raises(NetError, match=r"its data file 'one' (cannot be read|is missing)"):
            nets.load_onnx(folder / "m.onnx")

    @pytest.mark.parametrize("keys", [{"offset": "99999"}, {"length": "12"}, {"offset": "-4"}])
    def test_too_short(self, folder, keys):
        self.change(folder, **keys)
        with pytest.raises(NetError, match=r"needs 864 bytes, 'm\.bin' has"):
            nets.load_onnx(folder / "m.onnx")

    def test_no_number(self, folder):
        self.change(folder, offset="many")
        with pytest.raises(NetError, match="is not a number"):
            nets.load_onnx(folder / "m.onnx")


def attempt(data):
    """Read, plan and run: whatever the bytes are, the answer is arrays or a NetError."""
    try:
        net = Model(parse_graph(data, "fuzz.onnx"), max_bytes=1 << 24)
        feeds = {
            port.name: np.ones([min(n, 6) if n > 0 else 6 for n in port.shape or ()], port.dtype)
            for port in net.inputs
        }
        net.run(feeds)
    except NetError as exc:
        assert "fuzz.onnx" in str(exc)  # noqa: PT017


BASE = proto(*conv_net(np.random.default_rng(0))).SerializeToString()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=4))
def test_fuzz_bytes(edits):
    data = bytearray(BASE)
    for where, what in edits:
        data[where] = what
    attempt(bytes(data))


NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from([1 << 20, 1 << 40, -(1 << 40), 1 << 62]))
NAMES = """
axis axes kernel_shape pads strides dilations group perm to mode size blocksize split starts ends
alpha num_groups keepdims output_padding output_shape auto_pad ceil_mode hidden_size direction
epsilon p
"""
ATTRIBUTES = st.dictionaries(
    st.sampled_from(NAMES.split()),
    st.one_of(
        NUMBERS, st.lists(NUMBERS, min_size=1, max_size=5), st.floats(allow_nan=False, width=32),
        st.sampled_from(["SAME_UPPER", "linear", "cubic", "reflect", "reverse", "x"]),
    ),
    max_size=4,
)  # fmt: skip
OPS = sorted(__import__("nets.operators").operators.OPERATORS)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(OPS), ATTRIBUTES, st.integers(0, 5), st.integers(0, 2),
    st.lists(NUMBERS, max_size=4), st.lists(st.integers(0, 4), max_size=5),
)  # fmt: skip
def test_fuzz_operators(op, attributes, inputs, outputs, numbers, shape):
    constants = {"k": np.array(numbers, np.int64), "f": np.ones((2, 2, 3, 3), np.float32)}
    names = ["x", "k", "f", "", "x"][:inputs]
    made = helper.make_node(op, names, ["y", "z", "w"][: outputs + 1], name="n", **attributes)
    attempt(proto([made], [value("x", shape)], [value("y", None)], constants).SerializeToString())


def test_a_complaint_about_a_long_list_is_a_short_line():
    scales = {"s": np.linspace(0.1, 0.9, 3000, dtype=np.float32)}
    nodes = [node("Resize", ["x", "", "s"], ["y"], mode="nearest")]
    message = proto(nodes, [value("x", [1, 3, 6, 6])], [value("y", None)], scales)
    with pytest.raises(NetError, match=r"Resize->y.*do not fit the shape") as got:
        specialise(parse_graph(message.SerializeToString(), "m"), {"x": (1, 3, 6, 6)})
    assert len(str(got.value)) < 500
