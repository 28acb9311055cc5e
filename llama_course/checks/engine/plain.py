"""Plain values: what a transcript holds, and what may cross to an answer in another process."""

from __future__ import annotations

import copy
import re
from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor

SCALARS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.Size)


@no_type_check
def twin(tensor: Tensor) -> Tensor:
    """A copy with the same values, dtype, shape, strides and need of a gradient."""
    data = tensor.detach()
    storage = data.untyped_storage().clone()
    same = torch.empty(0, dtype=data.dtype, device=data.device)
    same.set_(storage, data.storage_offset(), data.size(), data.stride())
    return same.requires_grad_(tensor.requires_grad)


@no_type_check
def copied(value: Any) -> Any:
    """A copy that shares nothing with the original; tensors keep their strides."""
    if isinstance(value, Tensor):
        return twin(value)
    if type(value) in (list, tuple):
        return type(value)(copied(v) for v in value)
    if type(value) is dict:
        return {k: copied(v) for k, v in value.items()}
    return copy.deepcopy(value)


@no_type_check
def is_plain(value: Any) -> bool:
    """Whether a value can stand in a transcript: a tensor, a number, text, or a nest of those."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(is_plain(k) and is_plain(v) for k, v in value.items())
    return isinstance(value, (*SCALARS, Tensor, np.ndarray, np.generic))


@no_type_check
def frozen(value: Any) -> Any:
    """A plain value as it is now: a copy, without the graph that made it."""
    if isinstance(value, Tensor):
        # A tensor on another device is compared here, and a Parameter as the tensor it is.
        return value.detach().to("cpu").clone()
    if isinstance(value, list | tuple):
        items = [frozen(v) for v in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {k: frozen(v) for k, v in value.items()}
    return copy.deepcopy(value)


def kind(value: Any) -> str:
    """What a value is, in a learner's words."""
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    if isinstance(value, np.generic):
        return "a NumPy number"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if type(value).__name__ in ("function", "method", "builtin_function_or_method"):
        return "a function"
    if type(value).__name__ == "generator":
        return "a generator (it has `yield` where it should have `return`)"
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return words.get(type(value), f"{article} {name}")


@no_type_check
def number(value: Any) -> str:
    """A number, alike on every machine: four significant digits."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, complex):
        return f"{number(value.real)}{'+' if value.imag >= 0 else '-'}{number(abs(value.imag))}j"
    return "nan" if value != value else f"{value:.4g}"


def short(value: Any, limit: int = 60) -> str:
    """A value on one line, cut where it gets long, without addresses."""
    if isinstance(value, Tensor):
        if value.numel() == 1 and value.dim() == 0:
            return number(value.item())
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, float):
        return number(value)
    text = without_addresses(repr(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def without_addresses(text: str) -> str:
    """Text without memory addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", text)
