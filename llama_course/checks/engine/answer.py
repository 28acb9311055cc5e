"""The answer, as a script sees it: operations, one at a time, on what the learner made.

A script never touches the learner's objects. It names a part, calls it, and gets a plain value
back, or a `Handle` to an object that stays on the answer's side. Arguments are copied at each
call, so an answer that changes them shows, and harms nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor

from llama_course.checks.engine.borrowed import Watch
from llama_course.checks.engine.plain import copied, frozen, is_plain


class Failed(BaseException):
    """An operation on the answer raised: its own exception is `__cause__`.

    Not an Exception, so that a script's own `except` does not take it for something else.
    """


@no_type_check
@contextmanager
def operating(watch: Watch | None) -> Iterator[None]:
    """Marks what is raised inside as the answer's doing, not the script's, and watches it."""
    try:
        if watch is None:
            yield
        else:
            with watch.watching():
                yield
    except Exception as error:
        raise Failed from error
    except SystemExit as error:  # exit() in an answer ends nothing but the answer
        raise Failed from error


@no_type_check
class Answer:
    """Parts by name, which are called like functions: `answer.rms_norm(x, weight, eps)`."""

    def __init__(
        self,
        parts: Mapping[str, Any],
        arguments: Callable[[str], tuple[str, ...]],
        watch: Watch | None = None,
    ) -> None:
        self._parts = parts
        self._watch = watch
        self._arguments = arguments
        self._changed: dict[str, None] = {}  # "x of rms_norm", in order
        self._returned: dict[str, None] = {}

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("__") or name not in self._parts:
            raise AttributeError(name)
        return Handle(self, self._parts[name], name)

    def hold(self, value: Any) -> Handle:
        """Put a value on the answer's side, to be handed over itself and not as a copy."""
        return Handle(self, copied(value), "value")

    def gradients(self, part: str, *args: Any) -> dict[str, Any]:
        """Call a function, and ask for the gradient of a weighted sum of what it returns.

        One entry for each float tensor among the arguments: its gradient, or None where none flows.
        """
        leaves = [copied(a) for a in args]
        with operating(self._watch):
            return self._gradients(part, leaves)

    def _gradients(self, part: str, leaves: list[Any]) -> dict[str, Any]:
        names = [*self._arguments(part), *(f"argument {i}" for i in range(len(leaves)))]
        wanted = {
            name: leaf.requires_grad_()
            for name, leaf in zip(names, leaves, strict=False)
            if isinstance(leaf, Tensor) and leaf.is_floating_point()
        }
        result = self._parts[part](*leaves)
        outputs = [r for r in _flat(result) if isinstance(r, Tensor) and r.requires_grad]
        if not outputs:
            return dict.fromkeys(wanted)
        # Unequal weights: with equal ones many a wrong gradient sums to the right number.
        total = sum((_weights(out) * out).sum() for out in outputs)
        assert isinstance(total, Tensor)
        found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
        return {name: frozen(g) for name, g in zip(wanted, found, strict=True)}

    def _call(self, function: Any, path: str, args: tuple[Any, ...], kwargs: dict) -> Any:
        given = [_opened(a) for a in args]
        named = {k: _opened(v) for k, v in kwargs.items()}
        with operating(self._watch):
            result = function(*given, **named)
        words = [*self._arguments(path)[: len(args)], *(f"argument {i + 1}" for i in range(9))]
        both = [*zip(words, args, given, strict=False)]
        both += [(name, kwargs[name], named[name]) for name in kwargs]
        for word, original, now in both:
            if isinstance(original, Handle):
                continue
            if not unchanged(original, now):
                self._changed[f"{word} of {path}"] = None
            if isinstance(now, Tensor) and any(_same_memory(r, now) for r in _flat(result)):
                self._returned[f"{word} of {path}"] = None
        return self._give(result, f"{path}()")

    def _give(self, value: Any, path: str) -> Any:
        return frozen(value) if is_plain(value) else Handle(self, value, path)


@no_type_check
class Handle:
    """An object on the answer's side: its attributes and calls are operations."""

    def __init__(self, answer: Answer, target: Any, path: str) -> None:
        self.__dict__.update(_answer=answer, _target=target, _path=path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with operating(self._answer._watch):
            value = getattr(self._target, name)
        return self._answer._give(value, f"{self._path}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        with operating(self._answer._watch):
            setattr(self._target, name, _opened(value))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer._call(self._target, self._path, args, kwargs)

    def __len__(self) -> int:
        with operating(self._answer._watch):
            return len(self._target)

    def __getitem__(self, index: Any) -> Any:
        with operating(self._answer._watch):
            value = self._target[_opened(index)]
        return self._answer._give(value, f"{self._path}[...]")

    def read(self) -> Any:
        """The plain value of what was put there with `hold`."""
        return frozen(self._target)


@no_type_check
def _opened(value: Any) -> Any:
    if isinstance(value, Handle):
        return value._target
    if isinstance(value, list | tuple) and any(isinstance(v, Handle) for v in value):
        return type(value)(_opened(v) for v in value)
    return copied(value)


@no_type_check
def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flat(item)]
    return [value]


@no_type_check
def _weights(like: Tensor) -> Tensor:
    return torch.cos(torch.arange(like.numel()) * 0.7).reshape(like.shape).to(like.dtype)


@no_type_check
def _same_memory(result: Any, given: Tensor) -> bool:
    if not isinstance(result, Tensor) or result.numel() == 0 or given.numel() == 0:
        return False
    return result.data_ptr() == given.data_ptr()


@no_type_check
def unchanged(before: Any, after: Any) -> bool:
    """Whether an argument is what it was, to the last bit (NaN equals NaN)."""
    if isinstance(before, Tensor):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        if before.requires_grad != after.requires_grad:
            return False
        return bool(torch.equal(_bits(before), _bits(after)))
    if isinstance(before, np.ndarray):
        return before.dtype == after.dtype and np.array_equal(before, after)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(unchanged, before, after))
    if isinstance(before, dict):
        same = list(before) == list(after)
        return same and all(unchanged(before[k], after[k]) for k in before)
    if isinstance(before, int | float | str | bytes | set | frozenset):
        return bool(before == after) or before != before
    return True


@no_type_check
def _bits(tensor: Tensor) -> Tensor:
    data = tensor.detach().contiguous()
    if data.is_complex() or data.dim() == 0:
        data = data.reshape(*data.shape, 1) if data.dim() == 0 else torch.view_as_real(data)
    return data.view(torch.uint8)
