"""`inspect`: a checkpoint, or a named size, in words and numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from llama_course.checkpoints import CheckpointInfo, inspect_checkpoint
from llama_course.checkpoints.inspection import BYTES_PER_PARAMETER
from llama_course.checkpoints.names import n_parameters
from llama_course.config import ALIASES, PRESETS, ModelConfig
from llama_course.errors import CourseError, nearest
from llama_course.hardware import GIB, readable

CACHE_TOKENS = 2048


def describe(checkpoint: str) -> str:
    """A few lines on a checkpoint's path or a named size such as `7B`; no weights are read."""
    if not Path(checkpoint).exists():
        if checkpoint in PRESETS or checkpoint in ALIASES:
            return _describe_size(checkpoint)
        if "/" not in checkpoint and "\\" not in checkpoint:
            names = [*PRESETS, *ALIASES]
            raise CourseError(
                f"There is no checkpoint at {checkpoint!r} and no size of that name; "
                f"{nearest(checkpoint, names)}"
            )
    return _describe_checkpoint(inspect_checkpoint(checkpoint))


def _describe_size(name: str) -> str:
    config = ModelConfig.preset(name)
    count = n_parameters(config)
    memory = {dtype: int(count * size) for dtype, size in BYTES_PER_PARAMETER.items()}
    head = [("size", f"{name} (published; no weights read)")]
    return _table([*head, *_config_rows(config), *_memory_rows(config, count, memory)])


def _describe_checkpoint(info: CheckpointInfo) -> str:
    stored = ", ".join(f"{kind} {readable(size)}" for kind, size in info.stored.items())
    rows = [
        ("checkpoint", str(info.path)),
        ("format", f"{info.format}, {info.variant}" if info.variant else info.format),
        ("stored", stored),
        ("tokenizer", info.tokenizer or "none found"),
        *_config_rows(info.config),
    ]
    if info.assumed:
        told = ", ".join(f"{name} = {value}" for name, value in info.assumed.items())
        rows.append(("assumed", f"{told} (the files do not say)"))
    return _table([*rows, *_memory_rows(info.config, info.n_parameters, dict(info.memory))])


def _config_rows(config: ModelConfig) -> list[tuple[str, str]]:
    rows = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "rope_scaling" and value is not None:
            value = f"{value.type}, factor {value.factor:g}, from {value.original_max_seq_len}"
        rows.append((field.name, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows


def _memory_rows(config: ModelConfig, count: int, memory: dict[str, int]) -> list[tuple[str, str]]:
    rows = [("parameters", f"{count:,}")]
    for dtype, size in memory.items():
        note = " and scales" if dtype.startswith("int") else ""
        rows.append((f"weights {dtype}", f"{readable(size)} = {size / GIB:.3f} GiB{note}"))
    per_token = 4 * config.n_layers * config.n_kv_heads * config.head_dim
    tokens = min(CACHE_TOKENS, config.max_seq_len)
    rows.append(
        (
            "cache bfloat16",
            f"{per_token / 1024:g} KiB a token, {per_token * tokens / GIB:.3f} GiB at {tokens}",
        )
    )
    return rows


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
