"""When two results count as equal, and why; and how far apart they are where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Rule:
    """One way to decide, and the sentence that says why it is so."""

    name: str
    why: str


EXACT = Rule("exact", "exact: nothing is computed, numbers are only moved or compared")
CLOSE = Rule(
    "close",
    "float32: 1e-5 of the largest value, since sums in another order differ by a few roundings",
)
ANGLES = Rule(
    "angles",
    "cosine and sine: 1e-6 a position and 2e-6, since an angle of 1,000 radians in float32 is "
    "known to some 1e-4",
)
BITS = Rule(
    "bits",
    "computed in float32 and rounded once: 1 number in 100 may be rounded to its neighbour",
)
TRUTH = Rule(
    "truth",
    "low precision: at most twice as far from the float32 result as A and other right ways are",
)
BITS_SHARE = 0.01


@dataclass(frozen=True)
class Gap:
    """How far two results are apart."""

    words: str
    max_abs: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class Against:
    """What a result is measured by: the same in float32, and another right way to compute it.

    For ANGLES, `exact` are the positions of the angles, (..., positions) for (..., positions,
    pairs).
    """

    exact: Tensor
    other: Tensor | None = None


def gap(rule: Rule, right: Tensor, found: Any, truth: Against | None = None) -> Gap | None:
    """None where `found` counts as equal to `right`, else how far it is from it.

    TRUTH and ANGLES ask for what to measure by.
    """
    if not isinstance(found, Tensor):
        return Gap(f"a tensor was expected, and a {type(found).__name__} was found")
    if found.shape != right.shape:
        return Gap(f"shape {_shape(right)} was expected, and {_shape(found)} was found")
    if found.dtype != right.dtype:
        return Gap(f"{right.dtype} was expected, and {found.dtype} was found")
    if found.numel() == 0 or torch.equal(found, right):
        return None
    odd = found.isnan() & ~right.isnan()
    if odd.any():
        where = tuple(odd.nonzero()[0].tolist())
        return Gap(f"not a number at {list(where)}, where {_number(right[where])} was expected")
    difference = (found.double() - right.double()).abs()
    difference[(found == right) | found.isnan()] = 0  # inf - inf is no number
    difference.nan_to_num_(float("inf"), posinf=float("inf"))
    if not difference.any():
        return None
    if _equal(rule, right, found, difference, truth):
        return None
    where = _place(int(difference.argmax()), right.shape)
    worst = float(difference[where])
    scale = _scale(right) or 1.0
    words = f"expected {_number(right[where])}, found {_number(found[where])} at {list(where)}"
    if rule is BITS:
        share = float((difference > 0).double().mean())
        words += f"; {share:.0%} of the numbers differ"
    return Gap(words, worst, worst / scale)


def _equal(
    rule: Rule, right: Tensor, found: Tensor, difference: Tensor, truth: Against | None
) -> bool:
    if rule is EXACT:
        return False
    if rule is ANGLES:
        assert truth is not None
        room = 2e-6 + 1e-6 * truth.exact.double().abs()[..., None]
        return bool((difference <= room).all())
    scale = _scale(right)
    if rule is BITS:
        unit = float(torch.finfo(right.dtype).eps) * scale
        share = float((difference > 0).double().mean())
        return share <= BITS_SHARE and float(difference.max()) <= 2 * unit
    if rule is TRUTH:
        assert truth is not None
        off = (found.double() - truth.exact).abs()
        own = _roundings(right, truth)
        return bool(_rms(off) <= 2 * max(map(_rms, own)) and off.max() <= 4 * max(map(_most, own)))
    return bool(difference.max() <= 1e-5 * scale)


def roundings(right: Tensor, truth: Against) -> float:
    """The mean distance (root of mean square) of right results from the float32 one."""
    return float(max(map(_rms, _roundings(right, truth))))


def _roundings(right: Tensor, truth: Against) -> list[Tensor]:
    """How far right results are from the float32 one."""
    rights = [right] if truth.other is None else [right, truth.other]
    return [(one.double() - truth.exact).abs() for one in rights]


def _scale(x: Tensor) -> float:
    """The largest of the finite numbers."""
    return float(x.double().nan_to_num(0.0, 0.0, 0.0).abs().max())


def _most(x: Tensor) -> Tensor:
    return x.max()


def _place(at: int, shape: torch.Size) -> tuple[int, ...]:
    """The indices of the number at a flat place."""
    where: list[int] = []
    for size in reversed(shape):
        at, index = divmod(at, size)
        where.insert(0, index)
    return tuple(where)


def _rms(x: Tensor) -> Tensor:
    return x.double().square().mean().sqrt()


def _number(value: Tensor) -> str:
    number = value.item()
    return str(number) if isinstance(number, bool | int) else f"{number:.6g}"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
