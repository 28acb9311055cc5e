"""Two implementations of one function, on the reference's own numbers."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from llama_course.checkpoints.reading import dtype_name
from llama_course.model import Components
from llama_course.parity.fitting import scaled, still_fits, told, what_fits
from llama_course.parity.guesses import Guess, guesses
from llama_course.parity.report import Difference
from llama_course.parity.roundings import ROUNDED
from llama_course.parity.rules import ANGLES, LOW, TRUTH, Against, Gap, gap
from llama_course.parity.trace import Call, Trace

STOPS = (Exception, SystemExit)  # what ends somebody's code; exit() too must not end ours

_PACKAGE = Path(__file__).resolve().parents[1]
_OUTSIDE = ("torch", "jaxtyping", "beartype", "llama_course")


@dataclass(frozen=True)
class Outcome:
    """One call, computed by both; `apart` is None where they agree."""

    apart: Gap | None
    right: Any = None
    found: Any = None
    truth: Against | None = None

    @property
    def compared(self) -> bool:
        """Whether there is a result, right or wrong, and not an exception."""
        return self.right is not None


def compare_functions(trace: Trace, other: Components) -> list[Difference]:
    """The calls of a forward in which other functions differ, in their order.

    Each component is told once; what it means must fit all calls of its function from the first
    that differs. The trace's own forward goes on with the reference's numbers.
    """
    found: dict[str, Difference] = {}
    fit: dict[str, list[Guess]] = {}
    unnamed: dict[str, str] = {}  # components whose numbers differ, and their functions
    own = trace.a.functions
    differ = {f.name for f in dataclasses.fields(own) if _of(own, f.name) is not _of(other, f.name)}
    for call in trace.calls():
        name = call.function
        if name not in differ or (call.component in found and not fit.get(name)):
            continue
        ours, theirs = _of(own, name), _of(other, name)
        outcome = _outcome(call, ours, theirs)
        if outcome.compared and name in fit:
            args = (call.args, outcome.right, outcome.found, call.rule, outcome.truth)
            fit[name] = [guess for guess in fit[name] if still_fits(guess, *args)]
        if outcome.apart is None or call.component in found:
            continue
        found[call.component] = _difference(call, outcome.apart)
        if outcome.compared:
            unnamed[call.component] = name
            if name not in fit:
                fit[name] = _guessed(call, ours, outcome)
    for component, name in unnamed.items():
        found[component] = dataclasses.replace(found[component], meanings=told(fit[name]))
    return sorted(found.values(), key=lambda d: d.order)


def _of(functions: Components, name: str) -> Callable[..., Any]:
    return getattr(functions, name)


def _difference(call: Call, apart: Gap) -> Difference:
    component = f"{call.component} ({call.function})"
    if call.component == call.function:
        component = call.component
    words = f"{apart.words}, {call.note}" if call.note else apart.words
    return Difference(component, call.order, words, apart.max_abs, apart.relative)


def _outcome(call: Call, ours: Callable[..., Any], theirs: Callable[..., Any]) -> Outcome:
    """One call, computed by both."""
    right = ours(*call.args)
    given = tuple(a.clone() if _small(a) else a for a in call.args)
    before = [a._version for a in given if isinstance(a, Tensor)]
    try:
        found = theirs(*given)
    except STOPS as error:
        return Outcome(Gap(raised(error)))
    after = [a._version for a in given if isinstance(a, Tensor)]
    changed = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if b != a]
    read_again = [i for i in changed if i != _OWN.get(call.function)]
    if read_again:
        return Outcome(Gap(f"it changes its argument {read_again[0] + 1}, which is read again"))
    truth = _truth(call, ours)
    return Outcome(_gap(call, right, found, truth), right, found, truth)


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


def _guessed(call: Call, ours: Callable[..., Any], outcome: Outcome) -> list[Guess]:
    """What the function may be computing, by this one call."""
    right, found = outcome.right, outcome.found
    rest = [*guesses(call.function, call.args, found), *scaled(ours, right, found)]
    for tries in (_cast(ours, right, found), rest):
        fit = what_fits(tries, call.args, right, found, call.rule, outcome.truth)
        if fit:
            return fit
    return []


def _cast(ours: Callable[..., Any], right: Any, found: Any) -> Iterator[Guess]:
    """The guess that the numbers are right, and their dtype is not."""
    one = found[0] if isinstance(found, tuple) and found else found
    like = right[0] if isinstance(right, tuple) else right
    if not isinstance(one, Tensor) or one.dtype == like.dtype:
        return
    dtype = one.dtype

    def cast(*args: Any) -> Any:
        made = ours(*(a.float() if _floating(a) and like.dtype in LOW else a for a in args))
        return tuple(t.to(dtype) for t in made) if isinstance(made, tuple) else made.to(dtype)

    yield Guess(f"only the dtype is wrong: cast the result to {dtype_name(like.dtype)}.", cast)


def raised(error: BaseException) -> str:
    """What an implementation raised, and where in its own file."""
    words = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0][:200]
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not _is_outside(f.filename)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"it raised {words}{where}"


def _is_outside(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_PACKAGE) or any(part in _OUTSIDE for part in path.parts)
