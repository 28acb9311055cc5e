"""Which guesses give what was found.

A guess is told only where what was found is much nearer to it than to what is right, and where no
other guess is nearer still: a name that is nearly true would send someone the wrong way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from llama_course.parity.guesses import NOTHING, Guess
from llama_course.parity.rules import (
    ANGLES,
    CLOSE,
    EXACT,
    LOW,
    TRUTH,
    Against,
    Rule,
    gap,
    roundings,
)

MUCH = 4.0  # what was found must be this many times nearer to a guess than to what is right


def what_fits(
    tries: Iterable[Guess],
    args: tuple[Any, ...],
    right: Any,
    found: Any,
    rule: Rule,
    truth: Against | None = None,
) -> list[Guess]:
    """The guesses that give what was found, for these arguments of theirs: the nearest ones."""
    fit: list[tuple[float, Guess]] = []
    for guess in tries:
        made = _made(guess, args)
        off = None if made is None else _off(guess, made, right, found, rule, truth)
        if off is not None:
            fit.append((off, guess))
    lowest = min((guess.rank for _, guess in fit), default=0)
    fit = [(off, guess) for off, guess in fit if guess.rank == lowest]
    if not fit:
        return []
    room = max(2 * min(off for off, _ in fit), _noise(rule, right, truth))
    return [guess for off, guess in fit if off <= room]


def still_fits(
    guess: Guess,
    args: tuple[Any, ...],
    right: Any,
    found: Any,
    rule: Rule,
    truth: Against | None = None,
) -> bool:
    """Whether a guess gives what was found for other arguments too, right or wrong."""
    made = _made(guess, args)
    if made is None:
        return True  # it cannot be tried here
    pair = _pair(made, found, right)
    if pair is None:
        return False
    made, found, right = pair
    if found.shape == right.shape and made.is_floating_point():
        # Zeros for padding may come with any other mistake.
        made = made.masked_fill((found == 0) & (right == 0), 0)
    return _agree(rule, made, found, right, _stretched(truth, guess))


def told(fit: Iterable[Guess]) -> tuple[str, ...]:
    """The sentences of the guesses that fit, each once; one that says so where none does."""
    said = dict.fromkeys(f"What fits: {guess.meaning}" for guess in fit)
    return tuple(said) or (NOTHING,)


def scaled(compute: Any, right: Any, found: Any) -> Iterable[Guess]:
    """The guess that every number is one multiple of what it should be, if one number does."""
    factor = None if isinstance(right, tuple) else ratio(right, found)
    if factor is not None:
        digits = 3 if right.dtype in LOW else 6
        yield Guess(
            f"every number is {factor:.{digits}g} times what it should be.",
            lambda *args: (compute(*args).double() * factor).to(right.dtype),
            rank=2,
        )


def ratio(right: Tensor, found: Any) -> float | None:
    """The number that `found` is `right` times, where one number does for all."""
    if not isinstance(found, Tensor) or found.shape != right.shape or not right.is_floating_point():
        return None
    a, b = right.double().flatten(), found.double().flatten()
    norm = float(a @ a)
    if norm == 0 or not bool(b.isfinite().all()):
        return None
    factor = float(a @ b) / norm
    off = float((b - factor * a).abs().max())
    room = max(1e-5, 2 * torch.finfo(right.dtype).eps)
    stands_out = factor != 0 and abs(factor - 1) > MUCH * room
    return factor if stands_out and off <= room * float(b.abs().max()) else None


# ---- one guess -----------------------------------------------------------------------------------


def _made(guess: Guess, args: tuple[Any, ...]) -> Any:
    try:
        return guess.compute(*args)
    except (RuntimeError, ValueError, IndexError):  # shapes that this guess does not go with
        return None


def _off(
    guess: Guess, made: Any, right: Any, found: Any, rule: Rule, truth: Against | None
) -> float | None:
    """How far `found` is from what a guess made; None where it does not fit."""
    pair = _pair(made, found, right)
    if pair is None or (isinstance(made, Tensor) and made.isnan().all()):
        return None
    new = _dtypes(found) != _dtypes(right) or _is_nan(found) != _is_nan(right)
    made, found, right = pair
    truth = _stretched(truth, guess)
    if not _agree(rule, made, found, right, truth):
        return None
    off = _rms(found, made)
    if made.shape == right.shape and not new:
        if rule is not TRUTH and gap(rule, right, made, truth) is None:
            return None  # it is simply right
        if rule is not ANGLES and MUCH * off > _rms(found, right):
            return None
    return off


def _agree(rule: Rule, made: Tensor, found: Tensor, right: Tensor, truth: Against | None) -> bool:
    """Whether what was found is as near to what a guess made as two ways to one result are."""
    if rule is TRUTH and truth is not None:
        size = _rms(made) / max(_rms(right), 1e-30)
        return _rms(found, made) <= MUCH * roundings(right, truth) * size
    if made.is_floating_point() and (rule is EXACT or made.dtype not in LOW):
        rule = ANGLES if rule is ANGLES else CLOSE
    if rule is CLOSE and made.dtype in LOW:
        return _rms(found, made) <= torch.finfo(made.dtype).eps * _rms(made)
    return gap(rule, made, found, truth) is None


def _pair(made: Any, found: Any, right: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    """A guess's result, what was found and what is right as tensors that can be compared."""
    if isinstance(right, tuple):
        tables = (made, found, right)
        if not all(isinstance(t, tuple) and len(t) == len(right) for t in tables):
            return None
        if not all(_like(t, r) for t, r in zip(found, right, strict=True)):
            return None
        made, found, right = (torch.stack([t.float() for t in table]) for table in tables)
    if not (_like(found, made) and found.dtype == made.dtype):
        return None
    holes = made.isnan()  # no number in a guess: zeros, which some put there, fit as well
    if holes.any():
        if not bool(((found == 0) | found.isnan())[holes].all()):
            return None
        made, found = (t.masked_fill(holes, 0.0) for t in (made, found))
        right = right.masked_fill(holes, 0.0) if right.shape == holes.shape else right
    return made, found, right


def _like(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape


def _is_nan(result: Any) -> bool:
    return isinstance(result, Tensor) and bool(result.isnan().any())


def _dtypes(result: Any) -> list[torch.dtype]:
    return [t.dtype for t in (result if isinstance(result, tuple) else (result,))]


def _stretched(truth: Against | None, guess: Guess) -> Against | None:
    """For angles: the positions, times how much faster than right ones the guess's may grow."""
    if truth is None or guess.fastest == 1.0:
        return truth
    return Against(truth.exact * guess.fastest, truth.other)


def _noise(rule: Rule, right: Any, truth: Against | None) -> float:
    """How far apart two ways to one result may be; a guess as near as that is not ruled out."""
    if isinstance(right, tuple) or rule is ANGLES or not right.is_floating_point():
        return float("inf") if rule is ANGLES else 0.0
    if rule is TRUTH and truth is not None:
        return roundings(right, truth)
    return 1e-6 * float(right.double().abs().max())


def _rms(one: Tensor, other: Tensor | None = None) -> float:
    """The root of the mean square, of numbers or of how far they are apart."""
    apart = one.double()
    if other is not None:
        apart = (apart - other.double()).masked_fill(one == other, 0.0)  # also of two infinities
    return float(apart.square().mean().sqrt())
