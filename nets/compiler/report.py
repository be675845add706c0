"""What a plan consists of, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nets.compiler.plan import Plan


def table(plan: Plan, feeds: Mapping[str, Any] | None = None) -> str:
    """One line for each layer; with ``feeds`` the network is run and timed."""
    times = plan.profile(feeds) if feeds is not None else {}
    lines = [
        f"{'layer':32} {'algorithm':30} {'output':>20} {'MMACs':>9} {'kB':>8} {'us':>8} {'GF/s':>7}"
    ]
    total = 0.0
    for at, layer in enumerate(plan.layers):
        shapes = [plan.special.specs[n].shape for n in layer.outputs if n in plan.special.specs]
        form = plan.lowering.forms.get(layer.output)
        shape: Any = shapes[0] if shapes else tuple(form or ())
        size = 4 * int(np.prod(shape)) / 1e3 if shape is not None else 0
        seconds = times.get(at, 0.0)
        total += seconds
        rate = 2 * layer.macs() / seconds / 1e9 if seconds and layer.macs() else 0
        lines.append(
            f"{layer.name[-32:]:32} {layer.description[:30]:30} {str(shape)[:20]:>20} "
            f"{layer.macs() / 1e6:9.2f} {size:8.1f} {seconds * 1e6:8.1f} {rate:7.1f}"
        )
    macs = sum(layer.macs() for layer in plan.layers) / 1e6
    memory = 4 * plan.arena.size / 1e3
    lines.append(f"{'total':32} {'':30} {'':>20} {macs:9.2f} {memory:8.1f} {total * 1e6:8.1f}")
    return "\n".join(lines)
