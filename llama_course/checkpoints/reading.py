"""What every format's reader offers: a config, a list of tensors, and one tensor at a time."""

from __future__ import annotations

import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llama_course.config import ModelConfig
from llama_course.errors import CourseError

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Stored:
    """One tensor as a file holds it; `read` gives it with this shape and dtype.

    `mapped` says that what `read` gives is the file's own pages on a processor; otherwise it is
    a copy. `packed` names a storage that is not simply the dtype's numbers, such as Q8_0.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    nbytes: int
    mapped: bool = True
    packed: str | None = None

    @property
    def numel(self) -> int:
        return int(torch.Size(self.shape).numel())

    @property
    def kind(self) -> str:
        """The storage in words: `float32`, `bfloat16`, `q8_0`."""
        return self.packed or dtype_name(self.dtype)


class Checkpoint(ABC):
    """An open checkpoint. Making one reads headers only; nothing of a model's size is allocated.

    `config` is what the file says with the caller's fields in place, `assumed` are the fields
    that the file does not say and the caller did not give, `tensors` lists all by Meta's names,
    `notes` are sentences on where the files contradict each other, and what was done.
    """

    format: ClassVar[str]
    folder: Path
    variant: str
    config: ModelConfig
    assumed: dict[str, Any]
    tensors: dict[str, Stored]
    notes: list[str]

    @abstractmethod
    def read(self, name: str) -> Tensor:
        """One tensor in Meta's layout, mapped from the file where its bytes are as they must be.

        A mapped tensor is private: what is written to it never reaches the file.
        """

    def confirm(self) -> None:  # noqa: B027 - most formats have nothing to do here
        """The decisions that only the weights can make; `load` asks for them, `inspect` not."""


def dtype_name(dtype: torch.dtype) -> str:
    """`bfloat16` for `torch.bfloat16`."""
    return str(dtype).removeprefix("torch.")


def gigabytes(nbytes: int | float) -> str:
    """Bytes for a sentence: `27.0 GB`, `3.2 MB`."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes:.0f} bytes"


def check_dtype(dtype: object, name: str, path: Path) -> None:
    """Refuse numbers that are not plain floats: float8, packed integers and the like."""
    if dtype not in FLOATS:
        kind = dtype_name(dtype) if isinstance(dtype, torch.dtype) else str(dtype)
        known = ", ".join(dtype_name(d) for d in FLOATS)
        raise CourseError(
            f"{path.name}: the tensor {name} is stored as {kind}, and only {known} can be read; "
            "choose a checkpoint that is not quantized."
        )


# ---- torch.save's files -------------------------------------------------------------------------


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` or `.bin` file. Only tensors: code in the file is never run.

    The zip files that torch writes since version 1.6 are mapped and cost no memory; older ones
    are read whole.
    """
    try:
        with path.open("rb") as file:
            mapped = file.read(4) == b"PK\x03\x04"
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CourseError(_refused(path, str(error))) from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (EOFError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise CourseError(_damaged(path)) from None
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CourseError(
            f"{path} should hold named tensors, found {type(state).__name__}; "
            "it is no checkpoint of a model."
        )
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CourseError(
                f"{path} should hold tensors only, and {name!r} is a {type(tensor).__name__}; "
                "it is no checkpoint of a model alone (a training state?)."
            )
    return {name: tensor.detach() for name, tensor in state.items()}


def _refused(path: Path, message: str) -> str:
    wanted = re.search(r"GLOBAL\s+(\S+)", message) or re.search(
        r"(\S+) was not an allowed", message
    )
    if wanted is None:
        return _damaged(path)
    return (
        f"{path} asks to run {wanted[1]}, which a file of weights has no need of, so it was "
        "refused and nothing of it was run; get the checkpoint as safetensors, or from someone "
        "you trust."
    )


def _damaged(path: Path) -> str:
    return (
        f"{path} ({gigabytes(path.stat().st_size)}) is cut short or damaged: it is not a complete "
        "file of tensors written by torch.save; fetch it again."
    )


# ---- safetensors --------------------------------------------------------------------------------

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}


class SafetensorsFile:
    """A `.safetensors` file: a header that lists the tensors, then their bytes, mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # The library checks that names, shapes and offsets cover the file exactly.
            self._file = safe_open(str(path), framework="pt", device="cpu")
            self.names = list(self._file.keys())
        except (SafetensorError, OSError) as error:
            raise CourseError(
                f"{path} is cut short or damaged ({error}); fetch it again."
            ) from None

    def describe(self, name: str) -> Stored:
        """Shape and dtype of one tensor, without reading it."""
        part = self._file.get_slice(name)
        dtype = SAFETENSORS_DTYPES.get(part.get_dtype())
        check_dtype(dtype or part.get_dtype(), name, self.path)
        assert dtype is not None
        shape = tuple(part.get_shape())
        return Stored(shape, dtype, torch.Size(shape).numel() * dtype.itemsize)

    def read(self, name: str) -> Tensor:
        return self._file.get_tensor(name)
