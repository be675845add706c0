"""Receptive fields and gridding of stacked dilated convolutions, and rates that avoid it.

A convolution of dilation rate r samples every r-th pixel. With badly chosen rates the samples of a
stack fall on a grid, and whole rows and columns of the input are never used ("gridding"). The rule
of hybrid dilated convolution prevents it.

References: Yu & Koltun, Multi-scale context aggregation by dilated convolutions, ICLR 2016;
Wang et al., Understanding convolution for semantic segmentation, WACV 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError

TOOTH = 4  # layers in a tooth of `propose_rates`


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of `check_rates`; true if the stack covers every pixel.

    Attributes
    ----------
    complete : bool
        Every pixel of the receptive field is used (the purpose of the rule), by counting.
    rule : bool
        The rule holds: in each tooth there is no common divisor, and M_2 is at most the kernel
        size.
    distances : tuple of int
        M_i of each layer: the largest distance between two used pixels, from the last layer of
        its tooth up.
    reasons : tuple of str
        Findings, as text.
    """

    complete: bool
    rule: bool
    distances: tuple[int, ...]
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.complete

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def receptive_field(
    rates: Sequence[int], kernel: int | Sequence[int] = 3, strides: Sequence[int] | None = None
) -> int:
    """Return the receptive field of a stack along one axis, in input pixels.

    Parameters
    ----------
    rates : sequence of int
        Dilation of each layer, first layer first.
    kernel : int or sequence of int
        Kernel size of all layers, or of each.
    strides : sequence of int, optional
        Stride of each layer; 1 by default.

    Examples
    --------
    >>> receptive_field([1, 2, 5])
    17
    """
    sizes = _each(kernel, len(rates), "kernel")
    steps = [1] * len(rates) if strides is None else list(strides)
    _check(rates, sizes)
    if len(steps) != len(rates) or min(steps, default=1) < 1:
        raise ParameterError(f"`strides` must be {len(rates)} integers of at least 1, got {steps}")
    size, jump = 1, 1
    for rate, k, step in zip(rates, sizes, steps, strict=True):
        size += (k - 1) * rate * jump
        jump *= step
    return size


def coverage(rates: Sequence[int], kernel: int | Sequence[int] = 3) -> NDArray[np.int64]:
    """Count how often a stack of stride 1 uses each pixel of its receptive field.

    Parameters
    ----------
    rates, kernel
        As for `receptive_field`.

    Returns
    -------
    (n, n) int64
        Number of paths from each input pixel to the output pixel; 0 marks holes.

    Examples
    --------
    >>> coverage([2, 2])[0]
    array([1, 0, 2, 0, 3, 0, 2, 0, 1])
    """
    line = _paths(rates, _each(kernel, len(rates), "kernel"))
    return np.outer(line, line)


def check_rates(rates: Sequence[int], kernel: int = 3) -> Verdict:
    """Check the rates of a stack by the rule of hybrid dilated convolution.

    From the last layer up, the largest distance between two used pixels is
    ``M_i = max(M_{i+1} - 2 r_i, M_{i+1} - 2 (M_{i+1} - r_i), r_i)`` with ``M_n = r_n``; the rule
    is ``M_2 <= kernel``. Rates with a common divisor always leave a grid. Rates that rise
    repeatedly (a sawtooth, for deep stacks) are checked tooth by tooth.

    Parameters
    ----------
    rates : sequence of int
        Dilation of each layer, first layer first.
    kernel : int
        Size of all kernels, at least 2.

    Returns
    -------
    Verdict
        True if every pixel is used; ``str`` explains why.

    Examples
    --------
    >>> print(check_rates([1, 2, 5]))
    M_2 = 2 is within the kernel of 3; all 289 pixels are used
    >>> print(check_rates([2, 2, 2]))
    common divisor 2: only every 2nd row and column is looked at; 49 of 169 pixels are used
    """
    _check(rates, [kernel] * len(rates))
    if kernel < 2:
        raise ParameterError(f"`kernel` must be at least 2, got {kernel}")
    found = [(tooth, _distances(tooth)) for tooth in teeth(rates)]
    seconds = [m[min(1, len(m) - 1)] for _, m in found]
    divisor, second = reduce(gcd, rates), max(seconds)
    counts = coverage(rates, kernel)
    used = int(np.count_nonzero(counts))
    reasons = []
    if divisor > 1:
        suffix = {2: "nd", 3: "rd"}.get(divisor, "th")
        reasons.append(
            f"common divisor {divisor}: only every {divisor}{suffix} row and column is looked at"
        )
    elif second > kernel:
        where = found[seconds.index(second)][0]
        reasons.append(f"M_2 = {second} of the rates {where} exceeds the kernel of {kernel}")
    else:
        reasons.append(f"M_2 = {second} is within the kernel of {kernel}")
    if len(found) > 1:
        same = all(tooth[0] == rates[0] for tooth, _ in found)
        reasons.append("sawtooth" if same else "the rates fall without beginning anew")
    if used == counts.size:
        reasons.append(f"all {used} pixels are used")
    else:
        reasons.append(f"{used} of {counts.size} pixels are used")
        if divisor == 1 and rates[0] > 1:
            reasons.append(f"begin with rate 1, not {rates[0]}: the edges have holes")
    return Verdict(
        complete=used == counts.size,
        rule=divisor == 1 and second <= kernel,
        distances=tuple(m for _, tooth in found for m in tooth),
        reasons=tuple(reasons),
    )


def teeth(rates: Sequence[int]) -> list[list[int]]:
    """Split rates into the teeth of a sawtooth, where they fall."""
    found: list[list[int]] = [[]]
    for rate in rates:
        if found[-1] and rate < found[-1][-1]:
            found.append([])
        found[-1].append(rate)
    return found


def propose_rates(layers: int, field: int, kernel: int = 3) -> list[int]:
    """Propose rates whose receptive field has at least ``field`` pixels, all of them used.

    Among rising rates that pass `check_rates`, choose the smallest sufficient receptive field, then
    the most even use of pixels. More than `TOOTH` layers repeat a tooth.

    Raises
    ------
    ParameterError
        No such stack exists; the message names the largest field that these layers can have.

    Examples
    --------
    >>> propose_rates(3, 17)
    [1, 2, 5]
    """
    if layers < 1 or kernel < 2:
        raise ParameterError(
            f"`layers` ({layers}) must be 1 or more, `kernel` ({kernel}) 2 or more"
        )
    best: tuple[tuple[int, int], list[int]] | None = None
    widest = 1
    for tooth in _good_stacks(min(layers, TOOTH), kernel):
        rates = (tooth * -(-layers // len(tooth)))[:layers]
        size = receptive_field(rates, kernel)
        widest = max(widest, size)
        if size >= field and check_rates(rates, kernel):
            merit = (size, int(coverage(rates, kernel).max()))
            if best is None or merit < best[0]:
                best = (merit, rates)
    if best is None:
        raise ParameterError(
            f"{layers} layers of kernel {kernel} can see {widest} pixels without holes, "
            f"not {field}: add a layer"
        )
    return best[1]


def draw_coverage(rates: Sequence[int], kernel: int | Sequence[int] = 3, *, zoom: int = 8) -> Any:
    """Draw the coverage as an (n zoom, n zoom, 3) uint8 image: brighter is more, holes are red.

    Save it with `vj.write_image`.
    """
    if zoom < 1:
        raise ParameterError(f"`zoom` must be at least 1, got {zoom}")
    counts = coverage(rates, kernel)
    light = np.sqrt(counts / counts.max())
    picture = np.repeat((55 + 200 * light)[:, :, None], 3, axis=2)
    picture[counts == 0] = (160, 0, 0)
    return np.kron(picture, np.ones((zoom, zoom, 1))).astype(np.uint8)


def _each(value: int | Sequence[int], count: int, name: str) -> list[int]:
    values = [value] * count if isinstance(value, int) else list(value)
    if len(values) != count:
        raise ParameterError(f"`{name}` must hold {count} values, got {len(values)}")
    return values


def _check(rates: Sequence[int], sizes: Sequence[int]) -> None:
    if not rates or min(rates) < 1:
        raise ParameterError(f"`rates` must be integers of at least 1, got {list(rates)}")
    if min(sizes) < 1:
        raise ParameterError(f"`kernel` must be at least 1, got {list(sizes)}")


def _paths(rates: Sequence[int], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Count the paths from each pixel of a line to the output, by convolving combs."""
    _check(rates, sizes)
    line = np.ones(1, np.int64)
    for rate, k in zip(rates, sizes, strict=True):
        comb = np.zeros((k - 1) * rate + 1, np.int64)
        comb[::rate] = 1
        line = np.convolve(line, comb)
    return line


def _distances(rates: Sequence[int]) -> list[int]:
    """Return M_1 to M_n."""
    m = [rates[-1]]
    for rate in reversed(rates[:-1]):
        m.append(max(m[-1] - 2 * rate, m[-1] - 2 * (m[-1] - rate), rate))
    return m[::-1]


def _good_stacks(layers: int, kernel: int) -> Iterator[list[int]]:
    """Iterate over rising rates, each small enough for the layers before it to fill the holes."""
    if layers == 1:
        yield [1]
        return
    for stack in _good_stacks(layers - 1, kernel):
        for rate in range(stack[-1], receptive_field(stack, kernel) + 1):
            if check_rates([*stack, rate], kernel):
                yield [*stack, rate]
