"""What a checkpoint is, without reading its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llama_course.checkpoints.opening import open_checkpoint
from llama_course.checkpoints.tokenizer_files import find_tokenizer
from llama_course.config import ModelConfig

# Bytes for each parameter; the scales that integers need come on top (a few per cent).
BYTES_PER_PARAMETER = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5}


@dataclass(frozen=True)
class CheckpointInfo:
    """What `inspect_checkpoint` found.

    `variant` is what differs within a format: shards, files, version. `assumed` are the config's
    fields that the files do not say. `stored` gives the bytes of each kind of number in the files
    (`bfloat16`, `q8_0`). `tokenizer` is its class's name, or None. `memory` gives the bytes that
    the weights need at each dtype.
    """

    path: Path
    format: str
    variant: str
    config: ModelConfig
    assumed: Mapping[str, Any]
    n_parameters: int
    stored: Mapping[str, int]
    tokenizer: str | None
    memory: Mapping[str, int]

    @property
    def stored_bytes(self) -> int:
        """The bytes of all weights as they are stored."""
        return sum(self.stored.values())


def inspect_checkpoint(path: str | Path, **fields: Any) -> CheckpointInfo:
    """What the checkpoint at `path` is: format, config, parameters, memory at each dtype.

    Reads headers only. `fields` are those of `load`. Raises `CourseError` as `load` does.
    """
    checkpoint, files = open_checkpoint(path, fields)
    tokenizer = find_tokenizer(files, checkpoint.format, checkpoint.config.vocab_size)
    tensors = checkpoint.tensors.values()
    n_parameters = sum(torch.Size(stored.shape).numel() for stored in tensors)
    kinds: dict[str, int] = {}
    for stored in tensors:
        kinds[stored.kind] = kinds.get(stored.kind, 0) + stored.nbytes
    return CheckpointInfo(
        path=Path(path),
        format=checkpoint.format,
        variant=checkpoint.variant,
        config=checkpoint.config,
        assumed=dict(checkpoint.assumed),
        n_parameters=n_parameters,
        stored=kinds,
        tokenizer=None if tokenizer is None else type(tokenizer).__name__,
        memory={name: int(n_parameters * size) for name, size in BYTES_PER_PARAMETER.items()},
    )
