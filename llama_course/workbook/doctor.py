"""What this machine is, and which models it can hold: the answer to "will it run here?"."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from llama_course import hardware
from llama_course.checkpoints.names import n_parameters
from llama_course.config import PRESETS, ModelConfig

DTYPES = {"float32": 4, "bfloat16": 2}
CACHE_TOKENS = 2048


@dataclass(frozen=True)
class Fit:
    """One size in one dtype: the bytes it needs to run, and the devices that have them free."""

    size: str
    dtype: str
    need: int
    devices: tuple[str, ...]


def bytes_to_run(config: ModelConfig, itemsize: int, tokens: int = CACHE_TOKENS) -> int:
    """Bytes of the weights and of one sequence's cache; activations are small beside them."""
    tokens = min(tokens, config.max_seq_len)
    cache = 2 * config.n_layers * config.n_kv_heads * config.head_dim * tokens
    return (n_parameters(config) + cache) * itemsize


def fits() -> list[Fit]:
    """Every named size and dtype, with the devices on which it fits now."""
    found = hardware.devices()
    table = []
    for size, config in PRESETS.items():
        for dtype, itemsize in DTYPES.items():
            need = bytes_to_run(config, itemsize)
            names = tuple(name for name, _, free in found if free is None or need <= free)
            table.append(Fit(size, dtype, need, names))
    return table


def versions() -> dict[str, str]:
    """The versions of what the course runs on, `missing` where a package is not installed."""
    names = ("torch", "numpy", "sentencepiece", "safetensors", "jupyterlab", "matplotlib")
    found = {"Python": f"{platform.python_version()} ({sys.executable})"}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def machine(home: Path) -> dict[str, str]:
    """System, memory, disk and compute devices, in words."""
    facts = {"System": f"{platform.system()} {platform.release()}, {platform.machine()}"}
    for name, words, free in hardware.devices():
        room = (
            "free memory unknown" if free is None else f"{hardware.readable(free)} of memory free"
        )
        facts[f"Device {name}"] = f"{words}, {room}"
    if not torch.cuda.is_available():
        facts["CUDA"] = "none: models run on the processor, large ones slowly"
    if not torch.backends.mps.is_available():
        facts["MPS"] = "none (only on Macs with Apple's own chips)"
    facts["Disk"] = f"{hardware.readable(hardware.free_disk(home))} free at {home}"
    facts["Threads"] = f"torch uses {torch.get_num_threads()} of {os.cpu_count()} processors"
    for name in ("LLAMA_COURSE_HOME", "LLAMA_COURSE_DATA", "LLAMA_TOKENIZER_MODEL"):
        facts[name] = os.environ.get(name, "not set")
    return facts
