"""Two implementations of one function, on the reference's own numbers."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_course.model import Components
from llama_course.parity.guesses import guesses, ratio
from llama_course.parity.report import Difference
from llama_course.parity.roundings import ROUNDED
from llama_course.parity.rules import ANGLES, TRUTH, Against, Gap, Rule, gap, near
from llama_course.parity.trace import Call, Trace

_PACKAGE = Path(__file__).resolve().parents[1]
_OUTSIDE = ("torch", "jaxtyping", "beartype", "llama_course")


def compare_functions(trace: Trace, other: Components) -> list[Difference]:
    """The calls of a forward in which other functions differ, in their order.

    Each component is told once. The trace's own forward goes on with the reference's numbers.
    """
    found: dict[str, Difference] = {}
    own = trace.a.functions
    differ = {f.name for f in dataclasses.fields(own) if _of(own, f.name) is not _of(other, f.name)}
    for call in trace.calls():
        if call.function not in differ or call.component in found:
            continue
        difference = compare_call(call, _of(own, call.function), _of(other, call.function))
        if difference is not None:
            found[call.component] = difference
    return sorted(found.values(), key=lambda d: d.order)


def _of(functions: Components, name: str) -> Callable[..., Any]:
    return getattr(functions, name)


def compare_call(
    call: Call, ours: Callable[..., Any], theirs: Callable[..., Any]
) -> Difference | None:
    """One call, computed by both."""
    component = f"{call.component} ({call.function})"
    if call.component == call.function:
        component = call.component

    def differs(apart: Gap, meanings: tuple[str, ...] = ()) -> Difference:
        words = f"{apart.words}, {call.note}" if call.note else apart.words
        return Difference(component, call.order, words, apart.max_abs, apart.relative, meanings)

    right = ours(*call.args)
    given = tuple(a.clone() if _small(a) else a for a in call.args)
    before = [a._version for a in given if isinstance(a, Tensor)]
    try:
        found = theirs(*given)
    except Exception as error:
        return differs(Gap(raised(error)))
    after = [a._version for a in given if isinstance(a, Tensor)]
    changed = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if b != a]
    if [i for i in changed if i != _OWN.get(call.function)]:
        words = f"it changes its argument {changed[0] + 1}, which is read again"
        return differs(Gap(words))
    truth = _truth(call, ours)
    apart = _gap(call, right, found, truth)
    if apart is not None:
        return differs(apart, _meanings(call, right, found, truth))
    return None


# The argument that is nobody else's, in a model: to change it moves nothing.
_OWN = {"apply_rope": 0, "attention": 0}


def _small(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() < 2**22


def _truth(call: Call, ours: Callable[..., Any]) -> Against | None:
    """What a low-precision result is measured by; angles by their positions."""
    if call.rule is ANGLES:
        return Against(call.args[0])
    if call.rule is not TRUTH:
        return None
    wide = (a.float() if _floating(a) else a for a in call.args)
    other = ROUNDED.get(call.function)
    return Against(ours(*wide), None if other is None else other(*call.args))


def _floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _gap(call: Call, right: Any, found: Any, truth: Against | None) -> Gap | None:
    if not isinstance(right, tuple):
        return gap(call.rule, right, found, truth)
    if not isinstance(found, tuple) or len(found) != len(right):
        words = f"{len(right)} tensors were expected, and {type(found).__name__} was found"
        return Gap(words)
    for name, one, other in zip(("cosine", "sine"), right, found, strict=True):
        apart = gap(call.rule, one, other, truth)
        if apart is not None:
            return dataclasses.replace(apart, words=f"{name}: {apart.words}")
    return None


def _meanings(call: Call, right: Any, found: Any, truth: Against | None) -> tuple[str, ...]:
    fit: dict[bool, list[str]] = {False: [], True: []}
    for guess in guesses(call.function, call.args, found):
        try:
            made = guess.compute(*call.args)
        except RuntimeError:  # shapes that this guess does not go with
            continue
        if fits(call.rule, made, right, found, truth):
            fit[guess.last].append(f"What fits: {guess.meaning}")
    if fit[False] or fit[True]:
        return tuple(fit[False] or fit[True])
    factor = None if isinstance(right, tuple) else ratio(right, found)
    if factor is not None:
        return (f"What fits: every number is {factor:.6g} times what it should be.",)
    return ("None of the usual mistakes that were tried fits.",)


def fits(rule: Rule, made: Any, right: Any, found: Any, truth: Against | None) -> bool:
    """Whether what a guess makes is what was found."""
    if not isinstance(right, tuple):
        return isinstance(made, Tensor) and near(rule, made, found, right, truth)
    if not isinstance(found, tuple) or len(found) != len(right):
        return False
    if not all(
        isinstance(t, Tensor) and t.shape == r.shape for t, r in zip(found, right, strict=True)
    ):
        return False
    return near(rule, _joined(made), _joined(found), _joined(right), _twice(truth))


def _joined(tables: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([table.float() for table in tables])


def _twice(truth: Against | None) -> Against | None:
    return None if truth is None else Against(torch.stack([truth.exact, truth.exact]))


def raised(error: BaseException) -> str:
    """What an implementation raised, and where in its own file."""
    told = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not _is_outside(f.filename)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"it raised {told}{where}"


def _is_outside(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_PACKAGE) or any(part in _OUTSIDE for part in path.parts)
