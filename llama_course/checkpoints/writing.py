"""What every format's writer is handed: the weights, one at a time, as the file wants them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from llama_course.checkpoints.reading import SAFETENSORS_DTYPES
from llama_course.config import ModelConfig


def _ignore(nbytes: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Weights:
    """A model's tensors by Meta's names, given out one at a time on the processor.

    `dtype` is the one to store them in; None keeps each tensor's own.
    """

    config: ModelConfig
    tensors: Mapping[str, Tensor]
    dtype: torch.dtype | None = None
    wrote: Callable[[int], None] = field(default=_ignore)

    def read(self, name: str) -> Tensor:
        return self.tensors[name].detach().to(device="cpu", dtype=self.dtype_of(name))

    def dtype_of(self, name: str) -> torch.dtype:
        return self.dtype or self.tensors[name].dtype

    def shape_of(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def nbytes_of(self, name: str) -> int:
        return self.tensors[name].numel() * self.dtype_of(name).itemsize

    @property
    def nbytes(self) -> int:
        return sum(self.nbytes_of(name) for name in self.tensors)


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a tensor on the processor, in order; copied only where they are not."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def write_bytes(file: BinaryIO, tensor: Tensor, wrote: Callable[[int], None] = _ignore) -> None:
    """Append a tensor's bytes to an open file, in pieces, so that progress is seen."""
    data = raw(tensor)
    step = 1 << 26
    for start in range(0, len(data), step):
        wrote(file.write(data[start : start + step]))


def write_safetensors(
    path: Path,
    names: Iterable[tuple[str, str]],
    weights: Weights,
    read: Callable[[str], Tensor],
) -> None:
    """Write a `.safetensors` file tensor by tensor, so that no second copy is held.

    `names` are (name in the file, Meta's name) pairs; `read` gives the tensor of a Meta name.
    The format: the length of the header (8 bytes, little-endian), a JSON header with each
    tensor's dtype, shape and first and last byte, then the bytes.
    """
    codes = {dtype: code for code, dtype in SAFETENSORS_DTYPES.items()}
    # Wide numbers first: every tensor then starts at a multiple of its item size.
    order = sorted(names, key=lambda pair: -weights.dtype_of(pair[1]).itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for theirs, ours in order:
        end = offset + weights.nbytes_of(ours)
        header[theirs] = {
            "dtype": codes[weights.dtype_of(ours)],
            "shape": list(weights.shape_of(ours)),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, ours in order:
            write_bytes(file, read(ours), weights.wrote)


def write_json(path: Path, data: object) -> None:
    """Write a small JSON file, to be read by people too."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
