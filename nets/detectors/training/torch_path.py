"""Training on a GPU: PyTorch computes the network, the loss and the gradient.

Frames, optimiser, schedule, averages and checkpoints are those of a training on our own engine, and
the state has the same names: a training may begin on one and end on the other. PyTorch is none of
the package's dependencies: its build must suit the GPU, so it is installed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Grads, Needs, Tensor, Vjp, mode, op
from nets.detectors.facenet import SCALE
from nets.detectors.training.objective import Objective
from nets.detectors.training.torch_objective import TorchObjective
from nets.models.face import ANSWERS, Block, FaceNet
from nets.models.yunet import Unit
from nets.nn.layers import BatchNorm2d, Conv2d, MaxPool2d, Module, ReLU, Sequential
from nets.runtime.threads import thread_count
from vj.errors import TrainingError


class Pending(NamedTuple):
    """Answers to pixels that are computed together with their loss, on the device."""

    learner: Cells
    images: Array


class Cells(Module):
    """A net that PyTorch computes, called with pixels (N, H, W, 3) uint8.

    The name is that of `nets.detectors.facenet.Cells`, as a checkpoint of either belongs to both.

    Parameters
    ----------
    net : FaceNet
        Keeps the weights; they are copied to the device for each step.
    device : str
        As PyTorch has it: "cpu", "cuda", "cuda:1" ...; "auto" is a GPU where there is one.

    Raises
    ------
    TrainingError
        PyTorch is not installed, or has no such device.

    Notes
    -----
    PyTorch is told to use as many threads as `nets.threads` says. On a CPU its results differ from
    our engine's in the order of sums only. GPUs may in addition round the factors of convolutions
    to 10 bits (TF32), which trainings do not mind.
    """

    def __init__(self, net: FaceNet, device: str = "auto") -> None:
        self.net = net
        self.learned = tuple(net.parameters())
        self.norms = tuple(layer for layer in net.modules() if isinstance(layer, BatchNorm2d))
        torch = _torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        torch.set_num_threads(thread_count())
        torch.backends.cudnn.benchmark = True  # all batches have one shape
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as exc:
            reason = str(exc).splitlines()[0]
            raise TrainingError(f"PyTorch cannot use the device {device!r}: {reason}") from exc

    def forward(self, images: Array) -> Pending:
        """What `Loss` computes."""
        return Pending(self, images)

    def answers(self, images: Array) -> Tensor:
        """Raw answers (N, P, 16); in training mode the running moments learn of them."""
        return _computed(*self.learned, images=images, learner=self, of=lambda raw: raw)


class Loss:
    """As `Objective`, of what `Cells` has pending."""

    def __init__(self, how: Objective) -> None:
        self.how = how

    def __call__(self, pending: Pending, *targets: Any) -> Tensor:
        """A tensor of one number."""
        learner = pending.learner
        objective = TorchObjective(_torch(), self.how, learner.device)
        return _computed(
            *learner.learned, images=pending.images, learner=learner,
            of=lambda raw: objective.loss(raw, *targets),
        )  # fmt: skip


@op
def _computed(
    *weights: Array, images: Array, learner: Cells, of: Callable[[Any], Any]
) -> tuple[Array, Vjp]:
    """A function of the raw answers, and its gradient with respect to the weights."""
    torch = _torch()
    leaf = _upload(torch, weights, learner.device)
    leaf.requires_grad_(mode.grad)
    run = _Pass(torch, learner, _parts(leaf, weights))
    with torch.set_grad_enabled(mode.grad):
        # Pixels lie channel last, and stay so; but on CPUs PyTorch's batch norm of such maps is off
        # by some 2e-5, a hundred times as much as of the others.
        pixels = torch.from_numpy(images).to(learner.device).permute(0, 3, 1, 2).float() * SCALE
        result = of(run.cells(pixels.contiguous() if learner.device == "cpu" else pixels))
    run.keep_moments()

    def vjp(g: Array, needs: Needs) -> Grads:
        seed = torch.from_numpy(np.asarray(g, np.float32)).to(learner.device)
        (found,) = torch.autograd.grad(result, leaf, seed)
        return tuple(part.numpy() for part in _parts(found.cpu(), weights))

    return result.detach().cpu().numpy(), vjp


def _upload(torch: ModuleType, arrays: Sequence[Array], device: str) -> Any:
    """All numbers in one copy: each copy waits for the device."""
    return torch.from_numpy(np.concatenate([a.ravel() for a in arrays])).to(device)


def _parts(flat: Any, arrays: Sequence[Array]) -> list[Any]:
    """Tensors of the shapes of the arrays, out of one that `_upload` has made."""
    parts = flat.split([a.size for a in arrays])
    return [part.view(a.shape) for part, a in zip(parts, arrays, strict=True)]


class _Pass:
    """A forward pass of a net whose parameters have counterparts on a device."""

    def __init__(self, torch: ModuleType, learner: Cells, parameters: Sequence[Any]) -> None:
        self.torch, self.fn, self.net = torch, torch.nn.functional, learner.net
        moments = (m for n in learner.norms for m in (n.running_mean, n.running_var))
        self.moments = [m for m in moments if m is not None]
        self.flat = _upload(torch, self.moments, parameters[0].device)
        ours = [*learner.learned, *self.moments]
        theirs = [*parameters, *_parts(self.flat, self.moments)]
        self.there = {id(a): b for a, b in zip(ours, theirs, strict=True)}

    def cells(self, x: Any) -> Any:
        """As `FaceNet.cells`."""
        net = self.net
        x, maps = self(net.stage4, self(net.stem, x)), []
        for stage in net.stages:
            x = self(stage, x)
            maps.append(x)
        for level in (1, 0):
            above = self(net.lateral[level], maps[level + 1])
            size = tuple(maps[level].shape[2:])
            maps[level] = maps[level] + self.fn.interpolate(above, size=size, mode="nearest")
        seen = [
            self.fn.relu(self(norm, self(net.head, m)))
            for norm, m in zip(net.norms, maps, strict=True)
        ]
        found = [self(net.answer, m).permute(0, 2, 3, 1) for m in seen]
        return self.torch.cat([a.reshape(a.shape[0], -1, ANSWERS) for a in found], 1)

    def __call__(self, module: Module, x: Any) -> Any:
        fn = self.fn
        match module:
            case Sequential():
                for part in module:
                    x = self(part, x)
                return x
            case Block():
                return fn.relu(self(module.conv2, self(module.conv1, x)) + x)
            case Unit():
                y = self(module.conv2, self(module.conv1, x))
                return y if module.bn is None else fn.relu(self(module.bn, y))
            case Conv2d():
                bias = None if module.bias is None else self.there[id(module.bias)]
                how = module.stride, module.padding, module.dilation, module.groups
                return fn.conv2d(x, self.there[id(module.weight)], bias, *how)
            case MaxPool2d():
                return fn.max_pool2d(x, module.kernel_size, module.stride, module.padding)
            case BatchNorm2d():
                return self._normalised(module, x)
            case ReLU():
                return fn.relu(x)
        raise TrainingError(f"{type(module).__name__} layers have no counterpart in PyTorch here")

    def _normalised(self, layer: BatchNorm2d, x: Any) -> Any:
        there = self.there
        if layer.training:
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked += 1
        return self.fn.batch_norm(
            x, there[id(layer.running_mean)], there[id(layer.running_var)],
            there[id(layer.weight)], there[id(layer.bias)],
            layer.training, layer.momentum, layer.eps,
        )  # fmt: skip

    def keep_moments(self) -> None:
        """Write the running moments back."""
        for ours, new in zip(self.moments, _parts(self.flat.cpu(), self.moments), strict=True):
            np.copyto(ours, new.numpy())


def _torch() -> Any:
    try:
        import torch
    except ImportError as exc:
        raise TrainingError(
            f"--torch needs PyTorch: install the build for your GPU, see pytorch.org ({exc})"
        ) from exc
    return torch
