"""Our own face nets: what they learn, what the engine and other programs make of them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import detector_bundle as bundle
import numpy as np
import pytest

import nets
from nets.autograd.tensor import Tensor, no_grad
from nets.detectors.facenet import FaceNetDetector, model_of, read_net
from nets.detectors.training import recipe as recipe_module
from nets.detectors.training.assign import targets
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.encode import decode_boxes, grid
from nets.detectors.training.frames import as_input
from nets.detectors.training.objective import Objective
from nets.detectors.training.recipe import RECIPES, Recipe, save_net, train
from nets.models.face import FaceNet
from nets.nn.state import load_state, save_state
from nets.training.loop import CHECKPOINT
from vj.boxes import iou
from vj.errors import NetError, TrainingError

SMALL = {"stem": (8, 8), "width": 16}
KINDS = [SMALL, {**SMALL, "separable": True}]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    bundle.build(folder)
    first, second = read_data(folder)
    return Data(*([*getattr(first, n), *getattr(second, n)] for n in Data.__slots__))


@pytest.fixture
def net():
    nets.nn.init.seed(1)
    net = FaceNet(**SMALL)
    for _, buffer in net.named_buffers():
        if buffer.ndim:
            buffer += np.random.default_rng(2).uniform(0, 0.2, buffer.shape).astype(np.float32)
    net.answer.weight.data[:2] *= 20
    net.answer.bias.data[:2] = -0.5
    return net.eval()


def pictures(*shape):
    return np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", KINDS, ids=["plain", "separable"])
def test_all_cells_answer_whatever_the_size(how):
    net = FaceNet(**how)
    out = net.cells(Tensor(as_input(pictures(2, 64, 96))))
    assert out.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 16)
    score = 1 / (1 + np.exp(-out.data[..., :2]))
    assert np.abs(score - 0.01).max() < 0.02  # a new net believes that faces are rare


def test_sizes_of_the_nets_that_are_shipped():
    count = {name: FaceNet(**recipe.net).n_parameters for name, recipe in RECIPES.items()}
    assert count["face-tiny"] <= 30_000
    assert 2 * max(count.values()) <= 1.5e6  # bytes in half precision


def by_hand(net, image, threshold):
    """What a detector finds in an image whose sides are multiples of 32, before suppression."""
    with no_grad():
        raw = net.cells(Tensor(as_input(image[None]))).data[0].astype(np.float64)
    score = np.sqrt(1 / (1 + np.exp(-raw[:, 0])) / (1 + np.exp(-raw[:, 1])))
    keep = score >= threshold
    return decode_boxes(raw[keep, 2:6], grid(*image.shape[:2])[keep]), score[keep]


def test_the_engine_finds_what_the_tape_says(net):
    image = pictures(96, 128)
    found = FaceNetDetector(model_of(net), score_threshold=0.3, iou_threshold=1.0).detect(image)
    boxes, score = by_hand(net, image, 0.3)
    order = np.argsort(-score, kind="stable")
    assert len(found) > 20
    np.testing.assert_allclose(found.score, score[order], atol=1e-5)
    assert np.abs(found.xyxy - boxes[order]).max() < 0.1
    assert found.landmarks.shape == (len(found), 5, 2)


TRACED_TWICE = """
import gc, json, sys
import numpy as np
from nets.detectors.facenet import Cells, model_of
from nets.models.face import FaceNet
from nets.tracing import to_graph
from vj.kernels.jit import Kernel

def ready():
    return {k.__name__ for k in gc.get_objects() if type(k) is Kernel and k._ready}

net = FaceNet(**json.loads(sys.argv[1])).eval()
before = ready()
graph = model_of(net).graph
assert ready() == before, ready() - before
computed = to_graph(Cells(net), (64, 96), dynamic=("batch", "height", "width"))
assert ready() > before
assert [(n.op, n.inputs, n.attrs) for n in graph.nodes] == [
    (n.op, n.inputs, n.attrs) for n in computed.nodes
]
assert graph.constants.keys() == computed.constants.keys()
for name, array in computed.constants.items():
    np.testing.assert_array_equal(graph.constants[name], array)
"""


@pytest.mark.parametrize("how", KINDS, ids=["plain", "separable"])
def test_the_graph_is_the_same_whether_or_not_anything_is_computed(how):
    command = [sys.executable, "-c", TRACED_TWICE, json.dumps(how)]  # where no kernel is ready yet
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_threads_batches_and_odd_sizes_change_nothing(net):
    images = list(pictures(3, 50, 77))
    one = FaceNetDetector(model_of(net), score_threshold=0.3).detect_many(images)
    two = FaceNetDetector(model_of(net, n_jobs=2), score_threshold=0.3)
    for image, found in zip(images, one, strict=True):
        again = two.detect(image)
        assert len(found)
        assert np.array_equal(found.xyxy, again.xyxy)
        assert np.array_equal(found.score, again.score)


def test_other_programs_run_the_exported_file(net, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path, image = tmp_path / "face.onnx", pictures(64, 96)
    nets.export_onnx(net, path, (64, 96))
    x = np.ascontiguousarray(as_input(image[None]))
    session = runtime.InferenceSession(path)
    names = [o.name for o in session.get_outputs()]
    out = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))
    with no_grad():
        expected = net(Tensor(x))
    for (name, array), tensor in zip(out.items(), expected, strict=True):
        np.testing.assert_allclose(array, tensor.data, atol=1e-4, err_msg=name)


def test_weights_in_half_precision_say_how_their_net_is_built(net, tmp_path):
    path = save_net(tmp_path / "face.safetensors", net, Recipe(net=SMALL))
    again = read_net(path)
    for name, array in net.state_dict().items():
        np.testing.assert_allclose(again.state_dict()[name], array, rtol=1e-3, atol=1e-6)
    found = nets.load(path, score_threshold=0.3).detect(pictures(64, 64))
    assert len(found)


def test_files_that_hold_something_else(net, tmp_path):
    path = tmp_path / "other.safetensors"
    net.save(path)
    with pytest.raises(NetError, match=r"other\.safetensors: does not say that it holds"):
        nets.load(path)
    save_net(path, net, Recipe(net={**SMALL, "width": 24}))
    with pytest.raises(NetError, match=r"answer\.weight"):
        nets.load(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(NetError, match="truncated, damaged"):
        nets.load(path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"depths": [10**9, 1, 1, 1]}, "depths: wanted a whole number of 0 to 100, got 1000000000"),
        ({"depths": [100, 100, 100, 100]}, "asks for .*, the file has nothing"),
        ({"width": 10**8}, "width: wanted a whole number of 1 to 4096"),
        ({"width": 4096}, r"asks for answer\.weight of \(16, 4096, 1, 1\), the file has"),
        ({"stem": [8]}, r"stem: wanted 2 numbers, got \[8\]"),
        ({"stem": [4096, 4096]}, r"asks for stem\.0\.weight"),
        ({"stem": "88"}, "stem: wanted a list"),
        ({"separable": "no"}, "separable: wanted true or false"),
        ({"separable": True}, "the file has"),
        ({"depth": 1}, "there is no setting 'depth'"),
        ([1], "wanted an object"),
    ],
)
def test_a_header_that_asks_for_another_net_is_refused_before_it_is_built(
    net, tmp_path, monkeypatch, header, says
):
    def build(*args, **kwargs):
        pytest.fail("built")

    path = tmp_path / "face.safetensors"
    said = {**SMALL, **header} if isinstance(header, dict) else header
    net.save(path, {"facenet": json.dumps(said)})
    monkeypatch.setattr("nets.models.face.conv_norm", build)
    with pytest.raises(NetError, match=rf"face\.safetensors: .*{says}"):
        read_net(path)


def test_a_header_that_is_nested_without_end_is_one_line(net, tmp_path):
    path = tmp_path / "face.safetensors"
    net.save(path, {"facenet": "[" * 100_000})
    with pytest.raises(NetError, match=r"face\.safetensors: .*nested in more than 100 levels"):
        read_net(path)


def test_arrays_of_endless_names_are_a_short_line(net, tmp_path):
    path = tmp_path / "face.safetensors"
    state = {**net.state_dict(), "x" * 5000: np.zeros(1, np.float32)}
    save_state(path, state, {"facenet": json.dumps(SMALL)})
    with pytest.raises(NetError, match=r"face\.safetensors: the state does not fit") as got:
        read_net(path)
    assert len(str(got.value)) < 500


# --------------------------------------------------------------------------- what is minimised


def scene(seed=0):
    """Raw answers for two images of 64 x 64, and their annotations."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((2, len(grid(64, 64)), 16)).astype(np.float32)
    boxes = [np.float32([[8, 8, 30, 34], [30, 20, 60, 62]]), np.float32([[2, 4, 14, 15]])]
    points = [rng.uniform(5, 60, (2, 5, 2)).astype(np.float32), np.full((1, 5, 2), np.nan, "f")]
    ignore = [np.empty((0, 4), np.float32), np.float32([[40, 40, 64, 64]])]
    return raw, (boxes, points, ignore, 64)


@pytest.mark.parametrize("plain", [True, False])
def test_loss_and_gradient_against_pytorch(plain):
    torch = pytest.importorskip("torch")
    from torch_objective import objective as torch_objective

    raw, rest = scene()
    mine = Tensor(raw, requires_grad=True)
    loss = Objective()(mine, *rest, plain)
    loss.backward()
    # the assignment is tested elsewhere: it is taken over
    from nets.detectors.training import objective as module

    cells, (boxes, points, ignore, _) = grid(64, 64), rest
    chosen = [module._assign(cells, boxes[k], ignore[k], raw[k], plain) for k in range(2)]
    want = targets(cells, chosen, boxes, points)
    t = torch.tensor(raw, requires_grad=True)
    total = torch_objective(t, want, cells, plain)
    total.backward()
    assert len(want.cell) >= 3
    np.testing.assert_allclose(loss.item(), total.item(), rtol=1e-5)
    np.testing.assert_allclose(mine.grad, t.grad.numpy(), rtol=2e-4, atol=1e-6)


def test_pictures_without_a_face_teach_that_there_is_none():
    raw, _ = scene()
    none = [np.empty((0, 4), np.float32)] * 2
    mine = Tensor(raw, requires_grad=True)
    Objective()(mine, none, [np.empty((0, 5, 2), np.float32)] * 2, none, 64, False).backward()
    assert (mine.grad[..., 1] > 0).all()
    assert not mine.grad[..., 2:].any()


def test_a_small_net_learns_one_picture_by_heart():
    rng = np.random.default_rng(5)
    image = np.full((64, 64, 3), 90, np.uint8)
    box = np.float32([[20, 16, 44, 44]])
    image[16:44, 20:44] = 200
    image = (image + rng.integers(0, 20, image.shape)).astype(np.uint8)
    nets.nn.init.seed(0)
    net = FaceNet(**SMALL)
    optimiser = nets.nn.optim.Adam(net.named_parameters(), lr=3e-3)
    points = [np.full((1, 5, 2), np.nan, np.float32)] * 2
    x = as_input(np.stack([image, image[:, ::-1]]))
    boxes = [box, np.float32([[64 - 44, 16, 64 - 20, 44]])]
    for _ in range(200):
        optimiser.zero_grad()
        none = [np.empty((0, 4), np.float32)] * 2
        Objective()(net.cells(Tensor(x)), boxes, points, none, 64, True).backward()
        optimiser.step()
    net.eval()
    found = FaceNetDetector(model_of(net), score_threshold=0.5).detect(image)
    assert len(found) == 1
    assert iou(found.xyxy, box)[0, 0] > 0.7


# --------------------------------------------------------------------------- the recipe

QUICK = Recipe(
    net={"stem": (8, 8), "width": 8}, size=64, batch_size=2, batches=2, epochs=2, mining=(0.5,),
    backgrounds=2,
)  # fmt: skip


def logged(folder):
    """Records of the epochs."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_an_interrupted_training_becomes_the_same(data, tmp_path):
    whole = train(QUICK, tmp_path / "whole", data=data, workers=0)
    train(QUICK, tmp_path / "parts", data=data, workers=0, epochs=1)
    with nets.threads(2):
        parts = train(QUICK, tmp_path / "parts", data=data, workers=0, resume=True)
    assert whole.read_bytes() == parts.read_bytes()
    assert "alarms" in logged(tmp_path / "whole")[0]
    assert read_net(whole).n_parameters == FaceNet(**QUICK.net).n_parameters


LONG = replace(QUICK, epochs=6, cooling=2, mining=(), mine_every=2, zooms=(1.0, 2.0))


def test_a_training_that_is_finished_early_is_the_shorter_recipe(data, tmp_path, monkeypatch):
    """Bit for bit, wherever it was interrupted; and the long one goes on as if nothing was."""
    monkeypatch.setattr(recipe_module, "WARM_UP", 0)
    shorter = train(replace(LONG, epochs=3, cooling=1), tmp_path / "shorter", data=data, workers=0)
    train(LONG, tmp_path / "long", data=data, workers=0, epochs=2)
    kept = (tmp_path / "long" / CHECKPOINT).read_bytes()
    how = {"data": data, "workers": 0, "finish": (tmp_path / "long", 1)}
    early = train(LONG, tmp_path / "early", **how)
    assert early.read_bytes() == shorter.read_bytes()
    assert (tmp_path / "long" / CHECKPOINT).read_bytes() == kept
    assert train(LONG, tmp_path / "early", **how).read_bytes() == shorter.read_bytes()
    assert json.loads(load_state(early)[1]["recipe"])["epochs"] == 3
    whole = train(LONG, tmp_path / "whole", data=data, workers=0)
    on = train(LONG, tmp_path / "long", data=data, workers=0, resume=True)
    assert whole.read_bytes() == on.read_bytes()
    rates = [row["rate"] for row in logged(tmp_path / "whole")]
    assert rates == pytest.approx([0.01] * 4 + [0.00505, 0.0001])


def test_what_cannot_be_finished_early(data, tmp_path):
    how = {"data": data, "workers": 0}
    with pytest.raises(TrainingError, match=r"nothing.*: "):
        train(LONG, tmp_path / "early", finish=(tmp_path / "nothing", 1), **how)
    train(QUICK, tmp_path / "cosine", epochs=1, **how)
    with pytest.raises(TrainingError, match="epoch 1, batch 0, cannot be finished within 1 epochs"):
        train(QUICK, tmp_path / "early", finish=(tmp_path / "cosine", 1), **how)
    assert not (tmp_path / "early").exists()


def test_a_recipe_begins_with_the_weights_that_it_names(data, tmp_path):
    net = FaceNet(**QUICK.net)
    weights = save_net(tmp_path / "w.safetensors", net, QUICK)
    recipe = replace(QUICK, start=hashlib.sha256(weights.read_bytes()).hexdigest(), rate=1e-12)
    made = train(recipe, tmp_path / "run", data=data, workers=0, start=weights)
    ours, theirs = load_state(made)[0], load_state(weights)[0]
    same = [name for name in ours if name.endswith("weight")]
    assert all(np.array_equal(ours[name], theirs[name]) for name in same)
    with pytest.raises(TrainingError, match="name the weights to begin with: those of SHA-256"):
        train(recipe, tmp_path / "other", data=data, workers=0)
    with pytest.raises(TrainingError, match=r"x.safetensors: the recipe begins with other weights"):
        train(recipe, tmp_path / "other", data=data, workers=0,
              start=save_net(tmp_path / "x.safetensors", net, recipe))  # fmt: skip
    with pytest.raises(TrainingError, match=r"none.safetensors: No such file"):
        train(recipe, tmp_path / "other", data=data, workers=0, start=tmp_path / "none.safetensors")
    assert not (tmp_path / "other").exists()


class Looks:
    """Remembers which backgrounds are looked at, and at which size; all of them are alarms."""

    def __init__(self, monkeypatch):
        self.seen = []
        monkeypatch.setattr(recipe_module, "mine", self.mine)

    def mine(self, detector, entries, store, *, zoom):
        self.seen.append((frozenset(entries), zoom))
        for number, _ in enumerate(entries):
            yield number, (zoom, 0.0, 9.0, 9.0), 0.5


def test_all_backgrounds_are_mined_in_turn_and_old_alarms_stay(data, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_module, "WARM_UP", 0)
    looks = Looks(monkeypatch)
    entries = data.backgrounds
    recipe = replace(LONG, epochs=12, backgrounds=len(entries) // 3, mine_every=1,
                     zooms=(1.0, 2.0, 0.5))  # fmt: skip
    train(recipe, tmp_path, data=data, workers=0)
    parts = [part for part, _ in looks.seen]
    assert len(parts) == 11
    assert frozenset().union(*parts[:3]) == {*entries}
    assert len({*looks.seen[:9]}) == 9  # each at each size
    assert [row["alarms"] for row in logged(tmp_path)[2:11]] == [len(entries)] * 9


def test_other_recipes_do_not_go_on_from_a_checkpoint(data, tmp_path):
    train(QUICK, tmp_path, data=data, workers=0, epochs=1)
    with pytest.raises(TrainingError, match="batch_size: 2 then, 3 now"):
        train(replace(QUICK, batch_size=3), tmp_path, data=data, workers=0, resume=True)
