"""Training: data, batches, the loop, what it survives and what it refuses."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nets.autograd.ops.arithmetic import log
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers.activation import Dropout, ReLU
from nets.nn.layers.container import Sequential
from nets.nn.layers.linear import Linear
from nets.nn.layers.module import Module
from nets.nn.layers.normalisation import BatchNorm1d
from nets.nn.losses import cross_entropy, mse_loss
from nets.nn.optim import SGD, AdamW, Average, Cosine
from nets.training import (
    Arrays,
    Averaging,
    Callback,
    Chain,
    Crop,
    Dataset,
    EarlyStop,
    Erase,
    Flip,
    JsonLog,
    Light,
    Loader,
    Pictures,
    accuracy,
    evaluate,
    fit,
    from_folder,
    from_zip,
    predict,
    read_card,
    save_weights,
)
from nets.training.checkpoint import load_checkpoint, save_checkpoint
from vj.errors import ImageError, NetError, ParameterError, SinkError, SourceError, TrainingError

CHECKPOINT = "checkpoint.safetensors"


def problem(n=200, seed=0, **options):
    """Points of two classes, on either side of a circle."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    y = (np.square(x).sum(1) > 1.4).astype(np.int64)
    return Loader(Arrays(x, y, classes=2), 16, **{"shuffle": True, "seed": 3, **options})


def classifier(seed=1):
    init.seed(seed)
    return Sequential(Linear(2, 16), BatchNorm1d(16), ReLU(), Dropout(0.2), Linear(16, 2))


def trained(epochs=2, data=None, model=None, **options):
    model = classifier() if model is None else model
    data = problem() if data is None else data
    optimiser = SGD(model.named_parameters(), 0.1, momentum=0.9)
    schedule = Cosine(optimiser, 39, floor=0.1, warm_up=5)
    return fit(model, cross_entropy, data, optimiser, epochs, schedule=schedule, **options)


def weights(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


class StopAt(Callback):
    """Acts at the end of one step."""

    def __init__(self, step, act=None):
        self.at, self.act = step, act

    def step(self, run):
        if run.step == self.at:
            self.act(run)


# ---------------------------------------------------------------------------- datasets


def jpeg(value, size=(12, 10), mode="RGB", kind="PNG"):
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, kind)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name, colour in {
        "cat/1.png": (255, 0, 0),
        "cat/2.png": (9, 9, 9),
        "dog/1.png": (0, 0, 255),
    }.items():
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(colour))
    (tmp_path / "pets" / "readme.txt").write_text("no picture")
    return tmp_path / "pets"


def test_sub_folders_are_classes(folder):
    data = from_folder(folder, size=(5, 4))
    assert (len(data), data.classes) == (3, ["cat", "dog"])
    pixels, labels = data.batch(range(3))
    assert pixels.shape == (3, 5, 4, 3)
    assert pixels[:, 2, 2].tolist() == [[255, 0, 0], [9, 9, 9], [0, 0, 255]]
    assert labels.tolist() == [0, 0, 1]


def test_a_zip_archive_is_read_as_a_folder_is(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    ours, theirs = from_zip(tmp_path / "pets.zip", gray=True), from_folder(folder, gray=True)
    assert ours.classes == theirs.classes
    for a, b in zip(ours.load().parts, theirs.load().parts, strict=True):
        np.testing.assert_array_equal(a, b)
    some = from_zip(tmp_path / "pets.zip", {"dog/1.png": 5, "cat/1.png": 2}, crop=(2, 3, 6, 8))
    pixels, labels = some.batch([0, 1])
    assert (pixels.shape, labels.tolist()) == ((2, 5, 4, 3), [5, 2])


def test_pictures_without_classes_have_no_labels(folder):
    (pixels,) = from_folder(folder / "cat")[0]
    assert pixels.shape == (10, 12, 3)


def test_what_is_wrong_with_pictures_is_said(folder, tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        from_folder(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(TrainingError, match="bare: the dataset is empty: no images"):
        from_folder(tmp_path / "bare")
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    with pytest.raises(SourceError, match=r"broken.zip: cannot read as a zip archive"):
        from_zip(tmp_path / "broken.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", b"\x89PNG broken")
        archive.writestr("y.png", jpeg(3, (5, 5), "L"))
        archive.writestr("z.png", jpeg(3, (6, 5), "L"))
    with pytest.raises(ImageError, match=r"^x.png: "):
        from_zip(tmp_path / "a.zip")[0]
    with pytest.raises(TrainingError, match=r"several shapes \[\(5, 5, 3\), \(5, 6, 3\)\]"):
        from_zip(tmp_path / "a.zip").batch([1, 2])
    with pytest.raises(TrainingError, match=r"has no image 'q.png' \(1 are missing\)"):
        from_zip(tmp_path / "a.zip", {"q.png": 0})
    with pytest.raises(TrainingError, match="2 images have 1 labels"):
        Pictures(["a", "b"], [0])


def test_empty_datasets_and_labels_out_of_range_are_refused():
    with pytest.raises(TrainingError, match="the dataset is empty"):
        Arrays(np.zeros((0, 3)))
    with pytest.raises(TrainingError, match=r"equal lengths, got \[3, 2\]"):
        Arrays(np.zeros(3), np.zeros(2))
    with pytest.raises(TrainingError, match=r"0 to 1, got 2 at sample 3 \(2 are out of range\)"):
        Arrays(np.zeros((5, 3)), [0, 1, 0, 2, -1], classes=2)
    with pytest.raises(TrainingError, match="integers, got float64"):
        Arrays(np.zeros((2, 3)), [0.0, 1.0], classes=2)
    with pytest.raises(TrainingError, match="got 7 at sample 1"):
        Arrays(np.zeros((2, 3)), np.array([[0, 0], [0, 7]]), classes=2)
    with pytest.raises(TrainingError, match="3 samples do not fill a batch of 8"):
        Loader(np.zeros((3, 2)), 8, drop_last=True)
    with pytest.raises(ParameterError, match="`batch_size` must be at least 1"):
        Loader(np.zeros((3, 2)), 0)
    with pytest.raises(ParameterError, match="`workers` must be at least 0"):
        Loader(np.zeros((3, 2)), 1, workers=-1)


# ---------------------------------------------------------------------------- batches


@given(n=st.integers(1, 40), size=st.integers(1, 12), drop=st.booleans(), seed=st.integers(0, 99))
def test_an_epoch_shows_every_sample_once_in_another_order_each_time(n, size, drop, seed):
    if drop and n < size:
        return
    loader = Loader(np.arange(n), size, shuffle=True, seed=seed, drop_last=drop)
    epochs = [np.concatenate([b[0] for b in loader.epoch(e)]) for e in (0, 1, 0)]
    assert len(list(loader.epoch(0))) == len(loader)
    assert len(set(epochs[0].tolist())) == len(epochs[0]) == (n - n % size if drop else n)
    assert epochs[0].tolist() == epochs[2].tolist()
    if n > 12:
        assert epochs[0].tolist() != epochs[1].tolist()


@settings(max_examples=20)
@given(workers=st.integers(1, 4), ahead=st.integers(0, 5), start=st.integers(0, 6))
def test_batches_are_the_same_with_any_number_of_workers_and_from_any_start(workers, ahead, start):
    rng = np.random.default_rng(0)
    data = Arrays(rng.integers(0, 256, (50, 12, 12, 3), np.uint8), np.arange(50))
    change = Chain((Flip(), Crop((8, 8)), Light(), Erase()))
    options = dict(shuffle=True, augment=change, seed=5)
    alone = list(Loader(data, 8, **options).epoch(2))
    many = list(Loader(data, 8, workers=workers, ahead=ahead, **options).epoch(2, start))
    assert len(many) == len(alone) - start
    for a, b in zip(alone[start:], many, strict=True):
        assert a[0].tobytes() == b[0].tobytes()
        assert a[1].tolist() == b[1].tolist()


def test_images_reach_the_net_as_channels_last_memory():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    (x,) = next(Loader(pixels, 4, mean=[0.1, 0.2, 0.3], std=[0.5, 1, 2]).epoch())
    expected = (pixels / 255 - [0.1, 0.2, 0.3]) / [0.5, 1, 2]
    np.testing.assert_allclose(x.transpose(0, 2, 3, 1), expected, atol=1e-6)
    assert x.dtype == np.float32
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous
    (gray,) = next(Loader(pixels[..., 0], 4).epoch())
    assert gray.shape == (4, 1, 5, 6)
    with_masks = next(Loader(Arrays(pixels, pixels[..., 0]), 4).epoch())
    assert with_masks[1].dtype == np.uint8  # targets stay as they are


def test_masks_move_with_their_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 9, 9), np.uint8)
    batch = Chain((Flip(parts=(0, 1)), Crop((6, 5), parts=(0, 1))))(
        (pixels, pixels.copy(), np.arange(30)), np.random.default_rng(1)
    )
    np.testing.assert_array_equal(batch[0], batch[1])
    assert batch[0].shape == (30, 6, 5)
    places = set()
    for picture, whole in zip(batch[0], pixels, strict=True):
        found = [
            (y, x, flip)
            for y in range(4)
            for x in range(5)
            for flip in (False, True)
            if np.array_equal(picture, (whole[:, ::-1] if flip else whole)[y : y + 6, x : x + 5])
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15
    with pytest.raises(ParameterError, match=r"crop of \(9, 10\) does not fit images of \(9, 9\)"):
        Crop((9, 10))((pixels,), np.random.default_rng(0))


def test_light_and_erase_leave_what_they_were_given():
    pixels = np.full((40, 8, 8), 100, np.uint8)
    for change in (Light(), Erase(p=1.0)):
        (changed,) = change((pixels,), np.random.default_rng(0))
        assert (pixels == 100).all()
        assert (changed != 100).any(axis=(1, 2)).sum() > 30
        assert changed.dtype == np.uint8


def test_an_error_in_a_worker_arrives_and_threads_end_with_the_epoch():
    class Broken(Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, index):
            if index == 37:
                raise ImageError("picture 37: broken")
            return (np.zeros(2, np.float32),)

    before = threading.active_count()
    with pytest.raises(ImageError, match="picture 37"):
        list(Loader(Broken(), 10, workers=2).epoch())
    batches = Loader(np.zeros((100, 2)), 10, workers=2).epoch()
    next(batches)
    batches.close()
    assert threading.active_count() == before


# ---------------------------------------------------------------------------- the loop


def test_it_learns_and_keeps_a_record(tmp_path, capfd):
    run = trained(30, validation=problem(seed=9, shuffle=False), metrics={"accuracy": accuracy})
    assert [row["epoch"] for row in run.rows] == list(range(1, 31))
    assert run.rows[-1]["step"] == run.step == 30 * 13
    assert run.rows[-1]["loss"] < 0.5 * run.rows[0]["loss"]
    assert run.rows[-1]["val_accuracy"] > 0.88
    assert run.stopped is None
    assert capfd.readouterr() == ("", "")


def test_the_bar_is_shown_when_asked_for(capfd):
    trained(1, bar=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1: 100%" in err


def test_evaluation_means_and_predictions_equal_a_single_pass():
    model, data = classifier(), problem(shuffle=False)
    model.train()
    x, y = data.dataset.parts
    found = evaluate(model, data, {"loss": cross_entropy, "accuracy": accuracy})
    outputs = predict(model, data)
    assert all(module.training for module in model.modules())
    model.eval()
    logits = model(Tensor(x))
    np.testing.assert_allclose(outputs, logits.data, atol=1e-6)
    assert found["loss"] == pytest.approx(cross_entropy(logits, y).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.data.argmax(1) == y).mean())
    np.testing.assert_array_equal(predict(model, x, batch_size=16), outputs)


def test_a_dataset_of_inputs_alone_is_its_own_target():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    init.seed(0)
    model = Linear(3, 3)
    optimiser = SGD(model.parameters(), 0.1, momentum=0.9)
    run = fit(model, mse_loss, Loader(x, 16), optimiser, 60)
    assert run.loss < 1e-3
    np.testing.assert_allclose(model.weight.data, np.eye(3), atol=0.05)


def test_frozen_layers_stay_as_they_are_in_use():
    model = classifier()
    model[1].requires_grad_(False)
    before = weights(model)
    trained(1, model=model)
    after = weights(model)
    assert [n for n in before if before[n] == after[n]] == [n for n in before if n.startswith("1.")]


def test_early_stop_goes_back_to_the_best_weights():
    class Figures(Callback):
        values = iter([3.0, 2.0, 2.5, 2.6, 1.0])

        def epoch(self, run, row):
            row["val_loss"] = next(self.values)
            seen.append(weights(run.model))

    seen = []
    run = trained(9, callbacks=[Figures(), EarlyStop(patience=2)])
    assert run.epoch == 4
    assert run.stopped == "`val_loss` has not become better for 2 epochs"
    assert weights(run.model) == seen[1]
    with pytest.raises(
        ParameterError, match="no metric `val_iou` to monitor, there are epoch, step"
    ):
        trained(1, callbacks=[EarlyStop("val_iou")])


# ---------------------------------------------------------------------------- interruptions


class Power(Exception):
    """It went off."""


def off(run):
    raise Power


def noise(batch, rng):
    return batch[0] + rng.normal(0, 0.1, batch[0].shape).astype(np.float32), batch[1]


@settings(max_examples=10)
@given(at=st.integers(1, 38), every=st.integers(1, 15), workers=st.integers(0, 2))
def test_a_resumed_training_ends_bit_equal(tmp_path_factory, at, every, workers):
    whole = tmp_path_factory.mktemp("whole")
    part = tmp_path_factory.mktemp("part")
    data = problem(augment=noise)
    trained(3, data, folder=whole)
    options = dict(folder=part, save_every=every)
    with pytest.raises(Power):
        trained(3, data, callbacks=[StopAt(at, off)], **options)
    data.workers = data.ahead = workers
    model = classifier(seed=8 if at > every else 1)
    run = trained(3, data, model=model, resume=True, **options)
    assert run.step == 39
    ours, theirs = (load_checkpoint(f / CHECKPOINT) for f in (part, whole))
    assert repr(ours) == repr(theirs)
    assert ours["model"]["0.weight"].tobytes() == theirs["model"]["0.weight"].tobytes()


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_train import Callback, trained
class Say(Callback):
    def step(self, run):
        print(run.step, flush=True)
run = trained(3, folder={folder!r}, save_every=4, resume=True, callbacks=[Say()])
print(run.stopped)
"""


def in_a_process(folder):
    code = SCRIPT.format(path=[str(Path(__file__).parent), *sys.path], folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def until(process, step):
    for line in process.stdout:
        if line == f"{step}\n":
            return


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_killed_in_the_middle_and_resumed_the_checkpoint_has_the_same_bytes(tmp_path):
    whole, part = in_a_process(tmp_path / "whole"), in_a_process(tmp_path / "part")
    until(part, 18)
    part.kill()
    part.communicate()
    assert load_checkpoint(tmp_path / "part" / CHECKPOINT)["step"] in (16, 20, 24)
    with in_a_process(tmp_path / "part") as again:
        steps = again.communicate()[0].split()
    assert steps[0] in ("17", "21", "25")
    assert steps[-2:] == ["39", "None"]
    whole.communicate()
    ours, theirs = ((tmp_path / f / CHECKPOINT).read_bytes() for f in ("part", "whole"))
    assert ours == theirs


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_saves_and_stops_and_the_training_goes_on(tmp_path):
    press = StopAt(20, lambda run: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    run = trained(3, folder=tmp_path / "a", callbacks=[press])
    assert signal.getsignal(signal.SIGINT) is handler
    assert (run.stopped, run.step) == ("interrupted", 20)
    run = trained(3, folder=tmp_path / "a", resume=True)
    assert (run.stopped, run.step) == (None, 39)
    assert weights(run.model) == weights(trained(3).model)


def test_a_second_ctrl_c_does_not_wait():
    def twice(run):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100_000):  # a handler runs between two steps of the interpreter
            pass

    with pytest.raises(KeyboardInterrupt):
        trained(3, callbacks=[StopAt(20, twice)])


def test_trainings_in_other_threads_leave_signals_alone():
    runs = []
    thread = threading.Thread(target=lambda: runs.append(trained(1)))
    thread.start()
    thread.join()
    assert runs[0].step == 13


def test_the_average_of_the_weights_survives_an_interruption(tmp_path):
    def run(**options):
        model = classifier()
        average = Average(model.named_parameters(), decay=0.9)
        optimiser = AdamW(model.named_parameters(), 0.01, weight_decay=0.1)
        callbacks = [Averaging(average, start=4), options.pop("callback", StopAt(-1))]
        fit(model, cross_entropy, problem(), optimiser, 2, callbacks=callbacks, **options)
        return {name: array.tobytes() for name, array in average.values.items()}

    whole = run(clip=0.5)
    with pytest.raises(Power):
        run(folder=tmp_path, save_every=7, callback=StopAt(18, off), clip=0.5)
    assert run(folder=tmp_path, resume=True, clip=0.5) == whole
    assert run(clip=0.1) != whole


def test_a_finished_training_is_not_begun_again(tmp_path):
    first = trained(2, folder=tmp_path)
    again = trained(2, folder=tmp_path, resume=True, model=classifier(5))
    assert weights(again.model) == weights(first.model)
    assert again.rows == first.rows
    longer = trained(3, folder=tmp_path, resume=True)
    assert weights(longer.model) == weights(trained(3).model)


def test_early_stop_survives_an_interruption(tmp_path):
    class Figures(Callback):
        def epoch(self, run, row):
            row["val_loss"] = [3.0, 2.0, 2.5, 2.6, 1.0][row["epoch"] - 1]

    callbacks = [Figures(), EarlyStop(patience=2), StopAt(30, off)]
    with pytest.raises(Power):
        trained(9, folder=tmp_path, callbacks=callbacks)
    callbacks = [Figures(), EarlyStop(patience=2)]
    run = trained(9, folder=tmp_path, callbacks=callbacks, resume=True)
    assert (run.epoch, callbacks[1].best_epoch) == (4, 2)
    assert weights(run.model) == weights(trained(2).model)


def test_the_log_goes_on_where_the_training_does(tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(Power):
        trained(3, folder=tmp_path, callbacks=[JsonLog(log, every=5), StopAt(24, off)])
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 13, 15, 20]
    trained(3, folder=tmp_path, callbacks=[JsonLog(log, every=5)], resume=True)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 13, 15, 20, 25, 26, 30, 35, 39]
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_what_decides_the_batches_has_the_same_name_in_every_process():
    described = problem(augment=noise).describe()
    assert described["augment"] == "<function noise>"
    assert problem(augment=Chain((Flip(0.3), Crop((4, 5))))).describe()["augment"] == (
        "Chain(steps=(Flip(p=0.3, parts=(0,)), Crop(size=(4, 5), parts=(0,))))"
    )
    assert "workers" not in described


def test_a_label_that_no_output_is_for_stops_the_training():
    data = problem()
    data.dataset.parts[1][60] = 2
    with pytest.raises(NetError, match=r"cross_entropy: .* 2"):
        trained(1, data)


# ---------------------------------------------------------------------------- checkpoints


@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_to_a_checkpoint_is_seen(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / CHECKPOINT
    state = {"a": np.arange(20, dtype=np.float32), "b": {1: [np.zeros((0, 2)), 1e-3], "c": None}}
    save_checkpoint(path, state)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        changed = bytearray(whole)
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(changed)
    with pytest.raises(TrainingError, match=f"{CHECKPOINT}: "):
        load_checkpoint(path)


def test_a_checkpoint_holds_what_was_put_in(tmp_path):
    generator = np.random.default_rng(4)
    state = {
        "model": {"conv.weight": np.arange(6.0).reshape(2, 3), "n": np.array(3)},
        "model.conv": {"weight": np.zeros(2, np.float32)},  # another way to the same dotted name
        "state": {0: {"speed": np.ones(2)}, 1: {"step": np.float32(0.5)}},
        "generator": generator.bit_generator.state,
        "rows": [{"loss": float("nan"), "text": "ä"}],
        "nothing": None,
    }
    save_checkpoint(tmp_path / "c", state)
    found = load_checkpoint(tmp_path / "c")
    np.testing.assert_array_equal(found["model"]["conv.weight"], state["model"]["conv.weight"])
    np.testing.assert_array_equal(found["model.conv"]["weight"], np.zeros(2))
    assert found["model"]["n"].shape == ()
    assert found["state"][0]["speed"].tolist() == [1, 1]
    assert found["state"][1] == {"step": 0.5}
    assert found["generator"] == state["generator"]
    assert np.isnan(found["rows"][0]["loss"])
    assert found["nothing"] is None


def test_checkpoints_of_something_else_are_refused(tmp_path, read_only):
    trained(1, folder=tmp_path)
    with pytest.raises(TrainingError, match="other settings or data: samples: 200 then, 100 now"):
        trained(1, problem(100), folder=tmp_path, resume=True)
    state = load_checkpoint(tmp_path / CHECKPOINT)
    del state["optimiser"]
    (tmp_path / "old").mkdir()
    save_checkpoint(tmp_path / "old" / CHECKPOINT, state)
    with pytest.raises(TrainingError, match="is of another version, without optimiser"):
        trained(1, folder=tmp_path / "old", resume=True)
    with pytest.raises(TrainingError, match="other settings or data: checksum: "):
        trained(1, problem(seed=9), folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"generators: \['3.generator'\] then, \[\] now"):
        trained(1, model=Sequential(Linear(2, 2)), folder=tmp_path, resume=True)
    other = Sequential(Linear(2, 4), ReLU(), ReLU(), Dropout(), Linear(4, 2))
    with pytest.raises(NetError, match=r"does not fit Sequential: unexpected: 1\.weight"):
        trained(1, model=other, folder=tmp_path, resume=True)
    save_weights(tmp_path / CHECKPOINT, other)
    with pytest.raises(TrainingError, match="is not a training checkpoint"):
        trained(1, folder=tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"")
    with pytest.raises(TrainingError, match="truncated, damaged"):
        trained(1, folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="`resume` needs the `folder`"):
        trained(1, resume=True)
    with pytest.raises(SinkError, match="cannot"):
        trained(1, folder=read_only / "new")


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, full_disk):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"a": np.zeros(100)})
    with pytest.raises(SinkError, match="cannot write"):
        save_checkpoint(path, {"a": np.zeros(100_000)})
    assert load_checkpoint(path)["a"].shape == (100,)
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


# ---------------------------------------------------------------------------- not a number


class Root(Module):
    """Its logarithm is nan once the weight is negative."""

    def __init__(self):
        self.inner = Linear(2, 2)

    def forward(self, x):
        with np.errstate(invalid="ignore"):
            return log(self.inner(x))


def test_nan_in_the_forward_pass_names_step_and_layer(tmp_path):
    model = classifier()
    model.log = Root()
    model.log.inner.weight.data[:] = np.eye(2) * 50
    model.log.inner.bias.data[:] = 1000
    states = {}

    def sink(run):
        states["before"] = weights(run.model)
        run.model.log.inner.bias.data[:] = -1000

    with pytest.raises(TrainingError) as caught:
        trained(2, model=model, folder=tmp_path, save_every=5, callbacks=[StopAt(17, sink)])
    assert str(caught.value).startswith(
        "step 18 (epoch 2, batch 5): the loss is nan or infinite: the first appears in layer `log` "
        f"(Root); {tmp_path / CHECKPOINT} keeps step 15: lower the learning rate"
    )
    assert load_checkpoint(tmp_path / CHECKPOINT)["step"] == 15
    kept = {k: v for k, v in states["before"].items() if k != "log.inner.bias"}
    assert kept == {k: v for k, v in weights(model).items() if k != "log.inner.bias"}


def test_nan_in_the_backward_pass_names_the_parameter():
    class Root2(Module):
        def __init__(self):
            self.inner = Linear(2, 2)

        def forward(self, x):
            return (self.inner(x) * 0.0) ** 0.5

    init.seed(0)
    model = Sequential(Linear(2, 2), Root2(), Linear(2, 2))
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            TrainingError,
            match=r"gradients are nan.*going back, the gradient of `1.inner.weight` is",
        ),
    ):
        trained(1, model=model)


def test_nan_in_data_and_weights_is_told_apart():
    data = problem()
    data.dataset.parts[0][50, 1] = np.nan
    with pytest.raises(TrainingError, match="the input has them already, in sample"):
        trained(1, data)
    model = classifier()
    model[4].bias.data[0] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingError, match=r"step 1 .*the weights `4.bias` have"),
    ):
        trained(1, model=model)


# ---------------------------------------------------------------------------- the card


def test_a_card_tells_what_the_weights_are(tmp_path):
    run = trained(2, validation=problem(seed=9), metrics={"accuracy": accuracy})
    path = tmp_path / "net.safetensors"
    save_weights(path, run.model, run=run, data={"split": "by point"}, licence="Apache-2.0")
    card = read_card(path)
    assert card.architecture["name"] == "Sequential"
    assert card.architecture["parameters"] == run.model.n_parameters
    assert card.data["split"] == "by point"
    assert card.data["samples"] == 200
    assert card.recipe["loss"] == "cross_entropy"
    assert card.recipe["optimiser"]["name"] == "SGD"
    assert card.recipe["optimiser"]["momentum"] == 0.9
    assert card.recipe["schedule"]["warm_up"] == 5
    assert (card.recipe["epochs"], card.recipe["batch_size"]) == (2, 16)
    assert card.scores["val_accuracy"] == run.rows[-1]["val_accuracy"]
    assert card.notes == {"licence": "Apache-2.0"}
    assert weights(classifier(4).load(path)) == weights(run.model)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NetError, match=r"is not the file that net\.json describes"):
        read_card(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(SourceError, match="cannot read as a weight card"):
        read_card(path)


def test_a_log_that_was_cut_off_by_a_kill_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 9}\n[]\n{"st')
    JsonLog(path).start(SimpleNamespace(step=3))
    assert path.read_text() == '{"step": 1}\n'
