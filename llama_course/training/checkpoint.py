"""A run's own checkpoints: everything that the next step depends on, in one file."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from llama_course.data.batches import Tokens, as_row
from llama_course.files import written_beside

State = dict[str, Any]


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:06d}.pt"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first. A file has its name only once it is complete."""
    found = Path(folder).joinpath("checkpoints").glob("step-*.pt")
    numbered = [(path.stem.removeprefix("step-"), path) for path in found]
    steps = [(int(number), path) for number, path in numbered if number.isdigit()]
    return [path for _, path in sorted(steps, reverse=True)]


def save_state(
    folder: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    described: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write `checkpoints/step-000200.pt`, all or nothing; then remove all but the newest `keep`."""
    path = checkpoint_path(folder, step)
    state = {
        "step": step,
        "described": json.dumps(described),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": random_state(_device(model)),
    }
    with written_beside(path) as beside:
        torch.save(state, beside)
    for old in checkpoints(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def newest_state(folder: Path) -> tuple[Path, State] | None:
    """The newest checkpoint that can be read, and its content, on the CPU; None without one.

    Only tensors and plain values are read (`weights_only`): no code in a file is ever run. What a
    killed process was writing has no final name and is removed; a damaged file is passed over
    with a warning.
    """
    for half in Path(folder).joinpath("checkpoints").glob(".step-*.part"):
        half.unlink(missing_ok=True)
    for path in checkpoints(folder):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            json.loads(state["described"])
        except (
            *(OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError),
            *(pickle.UnpicklingError, zipfile.BadZipFile),
        ):
            warnings.warn(f"The checkpoint {path} cannot be read and is passed over.", stacklevel=2)
            continue
        return path, state
    return None


def restore(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put a checkpoint's content in its place, and say how many steps are done."""
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    set_random_state(_device(model), state["random"])
    return int(state["step"])


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Torch's random state. The order of the data needs none, being a function of the step."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(device: torch.device, state: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def fingerprint(tokens: Tokens) -> str:
    """The SHA-256 of a row of tokens, whatever whole-number type it is kept in."""
    row = as_row(tokens, 1)
    digest = hashlib.sha256()
    for start in range(0, len(row), 2**22):
        digest.update(np.ascontiguousarray(row[start : start + 2**22], dtype="<u4").tobytes())
    return f"{len(row)} tokens, sha256 {digest.hexdigest()}"


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
