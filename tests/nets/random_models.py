"""Random models of `nets.nn.layers`, compiled and exported, against their own forward.

By hand::

    python -m tests.nets.random_models --count 5000 --seed 0
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import numpy as np

import nets
from nets.autograd.ops.arithmetic import concat
from nets.nn import layers
from nets.nn.layers import Module, ModuleList
from nets.tracing import to_graph
from tests.nets.random_graphs import compare
from vj.errors import NetError

MOST = 20_000  # numbers of an array
ACTIVATIONS = ("ReLU", "ReLU6", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "Hardswish", "Identity")


class Net(Module):
    """Steps drawn by chance; each reads what earlier ones have made, of late or long ago."""

    def __init__(self, r, x):
        self._r, self._steps = r, []
        self.parts = ModuleList()
        values = [nets.Tensor(x)]
        with nets.no_grad():
            for _ in range(r.randint(2, 16)):
                self._grow(values)
        last = len(values) - 1
        self._outputs = sorted({last, *(n for n in range(1, last) if r.random() < 0.15)} - {0})

    def forward(self, x):
        values = [x]
        for step, sources in self._steps:
            values.append(step(*(values[n] for n in sources)))
        return tuple(values[n] for n in self._outputs)

    def _grow(self, values):
        """Append a step, if the one that is drawn fits."""
        at = len(values) - 1 if self._r.random() < 0.6 else self._r.randrange(len(values))
        x = values[at]
        step, others = self._drawn(x, values)
        if step is None:
            return
        if isinstance(step, Module):
            lively(step, self._r)
        try:
            y = step(x, *(values[n] for n in others))
        except NetError:
            return
        if 0 < y.size <= MOST and np.abs(y.numpy()).max() < 1e3:
            if isinstance(step, Module):
                self.parts.append(step)
            self._steps.append((step, (at, *others)))
            values.append(y)

    def _drawn(self, x, values):
        if self._r.random() < 0.3:
            return self._pair(x, values)
        kinds = {4: self._map, 2: self._vector}.get(x.ndim, self._other)
        return kinds(x), ()

    def _pair(self, x, values):
        """A sum, a product or a join with another array."""
        r = self._r
        same = [n for n, v in enumerate(values) if v.shape == x.shape]
        kind = r.choice(("add", "multiply", "concat", "gate"))
        if kind == "concat" and x.ndim > 1:
            outside = x.shape[:1] + x.shape[2:]
            joined = [n for n, v in enumerate(values) if v.shape[:1] + v.shape[2:] == outside]
            return lambda *a: concat(*a, axis=1), (r.choice(joined),)
        if kind == "gate" and x.ndim == 4:
            gates = [n for n, v in enumerate(values) if v.shape == (*x.shape[:2], 1, 1)]
            return (lambda a, b: a * b, (r.choice(gates),)) if gates else (None, ())
        return (lambda a, b: a + b) if kind == "add" else (lambda a, b: a * b), (r.choice(same),)

    def _map(self, x):
        """A step for (N, C, H, W)."""
        r, (n, c, h, w) = self._r, x.shape
        k, size = r.choice((1, 3, 4, 8, 12, 16, 17)), r.choice((1, 2, 3, 3, 3, 5))
        options = {"stride": r.choice((1, 1, 2)), "padding": r.randint(0, size // 2)}
        group = r.choice([g for g in range(1, c + 1) if c % g == 0])
        first = r.randrange(c)
        last = r.randint(first + 1, c)
        steps = {
            "conv": lambda: layers.Conv2d(c, k, size, dilation=r.choice((1, 1, 2)), **options),
            "depthwise": lambda: layers.Conv2d(c, c, size, groups=c, **options),
            "grouped": lambda: layers.Conv2d(c, group * r.randint(1, 4), size, groups=group),
            "transposed": lambda: layers.ConvTranspose2d(c, k, size, **options),
            "norm": lambda: layers.BatchNorm2d(c),
            "group norm": lambda: layers.GroupNorm(group, c) if varied(x, n, group) else None,
            "response norm": lambda: layers.LocalResponseNorm(r.choice((1, 3, 5))),
            "prelu": lambda: layers.PReLU(r.choice((1, c))),
            "activation": lambda: getattr(layers, r.choice(ACTIVATIONS))(),
            "softmax": lambda: layers.Softmax(1),
            "maxout": lambda: layers.Maxout(group),
            "max": lambda: layers.MaxPool2d(size, ceil_mode=r.random() < 0.3, **options),
            "mean": lambda: layers.AvgPool2d(size, count_include_pad=r.random() < 0.5, **options),
            "global": lambda: layers.AdaptiveAvgPool2d(r.choice((1, 1, 2, 3))),
            "nearest": lambda: layers.Upsample(scale_factor=2),
            "bilinear": lambda: layers.Upsample(size=(h + 2, w + 1), mode="bilinear"),
            "slice": lambda: lambda v: v[:, first:last],
            "crop": lambda: lambda v: v[:, :, 1:, :-1],
            "shuffle": lambda: (
                lambda v: (
                    v.reshape(n, group, c // group, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
                )
            ),
            "rows": lambda: lambda v: v.permute(0, 2, 3, 1).reshape(n, h * w, c),
            "split": lambda: lambda v: v.reshape(n, group, c // group, h, w),
            "pixels": lambda: lambda v: v.mean((2, 3)),
            "flat": lambda: layers.Flatten(),
        }
        return steps[r.choice(list(steps))]()

    def _vector(self, x):
        """A step for (N, C)."""
        r, (n, c) = self._r, x.shape
        steps = {
            "linear": lambda: layers.Linear(c, r.choice((3, 8, 16))),
            "norm": lambda: layers.BatchNorm1d(c),
            "layer norm": lambda: layers.LayerNorm(c) if varied(x, n, 1) else None,
            "activation": lambda: getattr(layers, r.choice(ACTIVATIONS))(),
            "softmax": lambda: layers.Softmax(1),
            "map": lambda: lambda v: v.reshape(n, c, 1, 1),
        }
        return steps[r.choice(list(steps))]()

    def _other(self, x):
        r = self._r
        if r.random() < 0.5 or x.ndim < 3:
            return getattr(layers, r.choice(ACTIVATIONS))()
        return r.choice((layers.Softmax(-1), layers.Linear(x.shape[-1], 4), lambda v: v[:, 0]))


def varied(x, images, groups):
    """Whether a normalisation divides by more than rounding errors."""
    return x.numpy().reshape(images, groups, -1).std(-1).min() > 0.01


def lively(module, r):
    """Parameters and running moments as after some training."""
    rng = np.random.default_rng(r.getrandbits(32))
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer[...] = rng.uniform(0.5, 1.5, buffer.shape)
    for _, parameter in module.named_parameters():
        if not parameter.data.any():
            parameter.data = 0.1 * rng.standard_normal(parameter.shape, np.float32)
    module.eval()


def check(seed):
    """The compiled model says what the model says, for one thread and two."""
    r = random.Random(seed)
    shape = (r.choice((1, 1, 3)), r.choice((1, 3, 8, 16)), r.randint(3, 14), r.randint(3, 14))
    x = np.random.default_rng(r.getrandbits(32)).standard_normal(shape, np.float32)
    net = Net(r, x).eval()
    if not net._outputs:
        return
    with nets.no_grad():
        want = [y.numpy() for y in net(nets.Tensor(x))]
    graph = to_graph(net, example=x)
    names = [port.name for port in graph.outputs]
    want = dict(zip(names, want, strict=True))
    one = nets.compiler.Model(graph).run({"input": x})
    compare("compiled against forward", one, want)
    compare("two threads", nets.compiler.Model(graph, n_jobs=2).run({"input": x}), one, 0)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    wrong, start = 0, time.monotonic()
    for seed in range(options.seed, options.seed + options.count):
        try:
            check(seed)
        except Exception as exc:
            wrong += 1
            print(f"seed {seed}: {type(exc).__name__}: {str(exc)[:300]}", flush=True)
    print(f"{options.count} models, {wrong} wrong, {(time.monotonic() - start) / 60:.1f} min")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
