"""Comparing two transcripts: the first difference, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor

from llama_course.checks.engine.plain import kind, number, short
from llama_course.checks.engine.play import Odd, Raised, Transcript
from llama_course.checks.exercise import Tolerance


@dataclass(frozen=True)
class Difference:
    """How an answer's transcript leaves the reference's.

    `symptom` is one word: raised, none, type, numpy, dtype, shape, nan, value, returns input,
    modifies input, gradient. `rows` are (what, expected, got).
    """

    symptom: str
    sentence: str
    rows: tuple[tuple[str, str, str], ...] = ()


@no_type_check
def compare(
    expected: Transcript, got: Transcript, tolerance: Tolerance, inputs: bool = True
) -> Difference | None:
    """The first difference between two transcripts, or None where they agree.

    `inputs` says whether it counts that arguments were changed; that is one case's task, so that
    the others can speak of what they are there for.
    """
    for (name, wanted), (_, found) in zip(expected.steps, got.steps, strict=False):
        difference = _values(name, wanted, found, tolerance)
        if difference is None:
            continue
        if difference.symptom == "value" and got.returned and not expected.returned:
            what = got.returned[0]
            words = f"What comes back is the memory of {what} itself, not a new tensor."
            return Difference("returns input", words, difference.rows)
        if difference.symptom == "value" and got.changed and not expected.changed:
            return _changed(got.changed, difference.rows)
        return difference
    ending = _endings(expected.raised, got.raised)
    if ending is not None:
        return ending
    if len(expected.steps) != len(got.steps):
        words = "It gave another number of values than it should."
        rows = (("values", str(len(expected.steps)), str(len(got.steps))),)
        return Difference("value", words, rows)
    if inputs and expected.changed != got.changed:
        return _changed(got.changed, ())
    return None


def _changed(changed: tuple[str, ...], rows: tuple[tuple[str, str, str], ...]) -> Difference:
    if not changed:
        return Difference("value", "It should change its argument in place, and does not.", rows)
    words = f"It changes its input: after the call, {' and '.join(changed)} is not what it was."
    return Difference("modifies input", words, rows)


@no_type_check
def _endings(expected: Raised | None, got: Raised | None) -> Difference | None:
    if got is None:
        if expected is None:
            return None
        words = f"It should raise {expected.name} here, and does not."
        return Difference("raised", words, (("ends with", expected.name, "no error"),))
    if expected is not None and expected.name in got.ancestors:
        return None
    if got.by_script:
        words = "What it gave could not be used further in this test."
        return Difference("type", f"{words} ({got.name}: {got.message})")
    if got.name == "RecursionError":
        words = f"It calls itself without an end {got.place}".rstrip() + " (RecursionError)."
        return Difference("raised", words)
    told = f": {got.message}" if got.message else ""
    words = f"It raised {got.name} {got.place}".rstrip() + told
    return Difference("raised", words if words.endswith((".", "!", "?")) else words + ".")


@no_type_check
def _values(name: str, wanted: Any, found: Any, tolerance: Tolerance) -> Difference | None:
    """The first difference inside one named value."""
    if isinstance(wanted, Tensor) and isinstance(found, Tensor):
        return _tensors(name, wanted, found, tolerance)
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        if len(wanted) != len(found):
            words = f"For {name}, it has {len(found)} items where {len(wanted)} are expected."
            counts = ("items", str(len(wanted)), str(len(found)))
            return Difference("shape", words, (counts, _row(wanted, found)))
        for i, (one, other) in enumerate(zip(wanted, found, strict=True)):
            difference = _values(f"{name}[{i}]", one, other, tolerance)
            if difference is not None:
                return difference
        return None
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            words = f"For {name}, the keys are not the expected ones."
            rows = (("keys", short(list(wanted)), short(list(found))),)
            return Difference("value", words, rows)
        for key in wanted:
            difference = _values(f"{name}[{key!r}]", wanted[key], found[key], tolerance)
            if difference is not None:
                return difference
        return None
    if _same_type(wanted, found):
        return _scalars(name, wanted, found, tolerance)
    return _types(name, wanted, found)


@no_type_check
def _same_type(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool):
        return type(wanted) is type(found)
    if isinstance(wanted, float):
        return isinstance(found, int | float)
    if isinstance(wanted, np.ndarray | Tensor | Odd | list | tuple | dict):
        return isinstance(wanted, Odd) and wanted == found
    return isinstance(found, type(wanted))


def _types(name: str, wanted: Any, found: Any) -> Difference:
    expected = kind(wanted)
    got = found.what if isinstance(found, Odd) else kind(found)
    rows = (("type", expected, got),)
    if found is None and name.startswith("the gradient"):
        words = (
            f"No gradient reaches {name.removeprefix('the gradient for ')}: something on the way "
            "cuts it off from the result, such as .detach(), .data, .item() or torch.no_grad()."
        )
        return Difference("gradient", words, rows)
    if found is None:
        words = f"For {name}, there is None where {expected} is expected: is a `return` missing?"
        return Difference("none", words, rows)
    if isinstance(found, np.ndarray | np.generic):
        words = f"For {name}, there is {got} where {expected} is expected: stay in PyTorch."
        return Difference("numpy", words, rows)
    return Difference("type", f"For {name}, there is {got} where {expected} is expected.", rows)


def _row(wanted: Any, found: Any) -> tuple[str, str, str]:
    return ("value", short(wanted), short(found))


@no_type_check
def _scalars(name: str, wanted: Any, found: Any, tolerance: Tolerance) -> Difference | None:
    if isinstance(wanted, float) and isinstance(found, int | float):
        one, other = (torch.tensor(float(v), dtype=torch.float64) for v in (wanted, found))
        difference = _tensors(name, one, other, tolerance)
        if difference is None:
            return None
        rows = (_row(wanted, found), *difference.rows[3:])
        return Difference(difference.symptom, difference.sentence, rows)
    if wanted == found:
        return None
    words = f"For {name}, the value is not the expected one."
    return Difference("value", words, (_row(wanted, found),))


@no_type_check
def _tensors(name: str, wanted: Tensor, found: Tensor, tolerance: Tolerance) -> Difference | None:
    facts = (
        ("shape", str(tuple(wanted.shape)), str(tuple(found.shape))),
        ("dtype", _dtype(wanted), _dtype(found)),
    )
    if wanted.shape != found.shape:
        words = f"For {name}, the shape is {facts[0][2]} where {facts[0][1]} is expected."
        return Difference("shape", words, facts)
    if wanted.dtype != found.dtype:
        words = f"For {name}, the dtype is {facts[1][2]} where {facts[1][1]} is expected."
        return Difference("dtype", words, facts)
    if torch.equal(wanted, found):
        return None
    wide = torch.complex128 if wanted.is_complex() else torch.float64
    one, other = wanted.to(wide), found.to(wide)
    same = (one == other) | (one.isnan() & other.isnan())
    error = torch.where(same, 0.0, (one - other).abs())
    error = torch.where(error.isnan(), torch.inf, error)  # NaN or infinity on one side only
    far = error > tolerance.atol + tolerance.rtol * one.abs().nan_to_num(posinf=0.0)
    if not bool(far.any()):
        return None
    worst = int(error.masked_fill(~far, -1.0).argmax())
    at = [int(i) for i in torch.unravel_index(torch.tensor(worst), wanted.shape)]
    place = f"value at {at}" if at else "value"
    one_wanted, one_found = wanted.flatten()[worst], found.flatten()[worst]
    rows = (
        *facts,
        (place, number(one_wanted.item()), number(one_found.item())),
        (
            "largest error",
            f"at most {_bound(tolerance, wanted.flatten()[worst])}",
            _of(error, worst),
        ),
        ("wrong values", "0", f"{int(far.sum())} of {far.numel()}"),
    )
    if bool((found.isnan() & ~wanted.isnan()).any()):
        return Difference("nan", f"For {name}, there is NaN where a number is expected.", rows)
    return Difference("value", f"For {name}, the values are not the expected ones.", rows)


@no_type_check
def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@no_type_check
def _bound(tolerance: Tolerance, wanted: Tensor) -> str:
    size = abs(wanted.item())
    return number(float(tolerance.atol + tolerance.rtol * (size if size < float("inf") else 0.0)))


@no_type_check
def _of(error: Tensor, worst: int) -> str:
    value = float(error.flatten()[worst])
    return number(value) if value < float("inf") else "not a finite number"
