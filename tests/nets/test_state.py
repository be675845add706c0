"""State dicts in files: whole or not there, refused where they are damaged."""

import numpy as np
import pytest

from nets.nn.layers import BatchNorm2d, Conv2d, Linear, Module, Sequential
from nets.nn.state import load_state, save_state
from vj.errors import NetError, SinkError

STATE = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "count": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


def test_round_trip(tmp_path):
    path = tmp_path / "a b.safetensors"
    save_state(path, STATE, {"epoch": "3"})
    found, notes = load_state(path)
    assert notes == {"epoch": "3"}
    assert found.keys() == STATE.keys()
    for name, array in STATE.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_torch_reads_and_writes_the_same_files(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    theirs[1].running_mean.uniform_()
    files.save_file(theirs.state_dict(), tmp_path / "theirs")
    ours = Sequential(Conv2d(3, 4, 3), BatchNorm2d(4)).load(tmp_path / "theirs")
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, theirs.state_dict()[name])
    ours.save(tmp_path / "ours", {"made": "here"})
    theirs.load_state_dict(files.load_file(tmp_path / "ours"))


def test_half_and_double_precision_are_converted(tmp_path):
    save_state(tmp_path / "f", {"weight": np.ones((1, 2), np.float16), "bias": np.ones(1)})
    layer = Linear(2, 1).load(tmp_path / "f")
    assert layer.weight.data.dtype == layer.bias.data.dtype == np.float32
    assert layer.weight.data.tolist() == [[1, 1]]


@pytest.mark.parametrize("keep", [0, 4, 40, -1], ids=["empty", "no size", "half a header", "short"])
def test_truncated(tmp_path, keep):
    save_state(tmp_path / "f", STATE)
    data = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(data[:keep])
    with pytest.raises(NetError, match=r"f: is truncated, damaged or not a safetensors file: "):
        load_state(tmp_path / "f")


def test_no_state(tmp_path):
    (tmp_path / "text").write_text("this is no state dict, but it is long enough to be one" * 9)
    with pytest.raises(NetError, match="text: is truncated, damaged or not a safetensors file"):
        load_state(tmp_path / "text")
    with pytest.raises(NetError, match="none: no such file"):
        load_state(tmp_path / "none")
    with pytest.raises(NetError, match="no such file"):
        load_state(tmp_path)


def test_bfloat16_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    files.save_file({"w": torch.zeros(3, dtype=torch.bfloat16)}, tmp_path / "f")
    with pytest.raises(NetError, match="w is bfloat16: save it as float32"):
        load_state(tmp_path / "f")


def test_metadata_is_text(tmp_path):
    with pytest.raises(NetError, match="metadata must be text, got 'epoch': 3"):
        save_state(tmp_path / "f", STATE, {"epoch": 3})
    assert not list(tmp_path.iterdir())


def test_an_old_file_survives_a_full_disk(tmp_path, full_disk):
    save_state(tmp_path / "f", STATE)
    before = (tmp_path / "f").read_bytes()
    with pytest.raises(SinkError, match="f: cannot write: "):
        save_state(tmp_path / "f", {"large": np.zeros(100_000, np.float32)})
    assert (tmp_path / "f").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_takes_no_files(read_only):
    with pytest.raises(SinkError, match="f: cannot write: "):
        save_state(read_only / "f", STATE)


class Two(Module):
    def __init__(self):
        self.conv, self.norm = Conv2d(1, 2, 3), BatchNorm2d(2)


def test_every_name_that_does_not_fit_is_listed():
    model = Two()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["conv.bias"], state["norm.running_var"]
    state |= {"fc.weight": np.zeros(3), "conv.weight": np.zeros((2, 3, 3, 3))}
    message = (
        r"the state does not fit Two: missing: conv\.bias, norm\.running_var; unexpected: "
        r"fc\.weight; wrong: conv\.weight \(2, 3, 3, 3\) of float64 where \(2, 1, 3, 3\) is wanted$"
    )
    with pytest.raises(NetError, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_names_may_be_left_out_but_shapes_must_fit():
    model = Two()
    own = model.state_dict()["norm.weight"]
    missing, unexpected = model.load_state_dict({"norm.weight": [3, 4], "x": 1}, strict=False)
    assert own.tolist() == [3, 4]  # written into, so that whoever holds the array sees it
    assert "conv.weight" in missing
    assert unexpected == ["x"]
    with pytest.raises(NetError, match=r"wrong: norm\.weight \(3,\) of float64 where \(2,\)"):
        model.load_state_dict({"norm.weight": np.zeros(3)}, strict=False)
    with pytest.raises(NetError, match=r"wrong: norm\.weight \(2,\) of complex128"):
        model.load_state_dict({"norm.weight": np.zeros(2, complex)}, strict=False)


def test_old_state_dicts_without_counts_of_batches_fit():
    state = Two().state_dict()
    del state["norm.num_batches_tracked"]
    Two().load_state_dict(state)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    Two().save(tmp_path / "two")
    with pytest.raises(NetError, match=r"two: the state does not fit Linear: missing: weight, b"):
        Linear(2, 2).load(tmp_path / "two")


def test_the_same_state_is_the_same_file(tmp_path):
    notes = {f"note {k}": "x" * k for k in range(9)}
    files = []
    for k in range(4):  # the library has another order each time
        save_state(tmp_path / str(k), {"b": np.zeros(3, np.float32)}, notes)
        files.append((tmp_path / str(k)).read_bytes())
    assert len(set(files)) == 1
    assert load_state(tmp_path / "0")[1] == notes
