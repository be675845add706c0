"""Training on a GPU: PyTorch computes the network and its gradient, all else stays as it is.

Scenes, assignment, loss, optimiser, averages and checkpoints are those of a training on our own
engine, and the state has the same names: a training may begin on one and end on the other. PyTorch
is none of the package's dependencies: its build must suit the GPU, so it is installed beside it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from nets.detectors import facenet
from nets.graph.ir import Array
from nets.layers import BatchNorm2d, Conv2d, MaxPool2d, Module, ReLU, Sequential
from nets.models.face import ANSWERS, Block, FaceNet
from nets.models.yunet import Unit
from nets.ops.threads import thread_count
from nets.tensor import Grads, Needs, Tensor, Vjp, mode, op
from vj.errors import TrainingError


class Cells(facenet.Cells):
    """As `nets.detectors.facenet.Cells`, computed by PyTorch.

    The name is the same, as a checkpoint of either belongs to both.

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
    our engine's in the order of sums only. GPUs may in addition round
    the factors of convolutions to 10 bits (TF32), which trainings do not mind.
    """

    def __init__(self, net: FaceNet, device: str = "auto") -> None:
        super().__init__(net)
        torch = _torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        torch.set_num_threads(thread_count())
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as exc:
            reason = str(exc).splitlines()[0]
            raise TrainingError(f"PyTorch cannot use the device {device!r}: {reason}") from exc

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, P, 16)."""
        return _cells(x, *self.net.parameters(), learner=self)


@op
def _cells(x: Array, *weights: Array, learner: Cells) -> tuple[Array, Vjp]:
    torch, net = _torch(), learner.net
    leaves = [torch.tensor(w, device=learner.device, requires_grad=mode.grad) for w in weights]
    run = _Pass(torch, dict(zip(map(id, net.parameters()), leaves, strict=True)))
    with torch.set_grad_enabled(mode.grad):
        raw = run.cells(net, torch.tensor(x, device=learner.device))
    run.keep_moments()

    def vjp(g: Array, needs: Needs) -> Grads:
        found = torch.autograd.grad(raw, leaves, torch.tensor(g, device=learner.device))
        return None, *(grad.cpu().numpy() for grad in found)

    return raw.detach().cpu().numpy(), vjp


class _Pass:
    """A forward pass of our modules; ``leaves`` has their parameters by identity."""

    def __init__(self, torch: ModuleType, leaves: dict[int, Any]) -> None:
        self.torch, self.fn, self.leaves = torch, torch.nn.functional, leaves
        self.moments: list[tuple[Array, Any]] = []

    def cells(self, net: FaceNet, x: Any) -> Any:
        """As `FaceNet.cells`."""
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
                bias = None if module.bias is None else self.leaves[id(module.bias)]
                how = module.stride, module.padding, module.dilation, module.groups
                return fn.conv2d(x, self.leaves[id(module.weight)], bias, *how)
            case MaxPool2d():
                return fn.max_pool2d(x, module.kernel_size, module.stride, module.padding)
            case BatchNorm2d():
                return self._normalised(module, x)
            case ReLU():
                return fn.relu(x)
        raise TrainingError(f"{type(module).__name__} layers have no counterpart in PyTorch here")

    def _normalised(self, layer: BatchNorm2d, x: Any) -> Any:
        """Batch normalisation; what it makes of the running moments is noted."""
        ours = [a for a in (layer.running_mean, layer.running_var) if a is not None]
        running = [self.torch.tensor(moment, device=x.device) for moment in ours]
        weight, bias = self.leaves[id(layer.weight)], self.leaves[id(layer.bias)]
        if layer.training:
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked += 1
            self.moments += zip(ours, running, strict=True)
        return self.fn.batch_norm(
            x, *running, weight, bias, layer.training, layer.momentum, layer.eps
        )

    def keep_moments(self) -> None:
        """Write the running moments back, all at once: each copy waits for the device."""
        for ours, new in self.moments:
            np.copyto(ours, new.cpu().numpy())


def _torch() -> Any:
    try:
        import torch
    except ImportError as exc:
        raise TrainingError(
            f"--torch needs PyTorch: install the build for your GPU, see pytorch.org ({exc})"
        ) from exc
    return torch
