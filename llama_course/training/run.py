"""What a training run is: its model, its training config and its text, kept as `run.json`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llama_course.config import ModelConfig, RopeScaling, read_json
from llama_course.data.batches import Tokens
from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.model import Llama
from llama_course.training.checkpoint import fingerprint
from llama_course.training.config import FREE_TO_CHANGE, TrainConfig

Described = dict[str, dict[str, Any]]


def describe(
    model: nn.Module, config: TrainConfig, train_tokens: Tokens, validation_tokens: Tokens
) -> Described:
    """The parts "model", "training", "data" and "machine", each a flat dictionary of plain values.

    The first three must be the same to go on with a run; the machine only makes the last bits.
    """
    sizes = getattr(model, "config", None)
    about = dataclasses.asdict(sizes) if isinstance(sizes, ModelConfig) else {}
    about["parameters"] = sum(w.numel() for w in model.parameters())
    about["foreign"] = list(model.components.foreign()) if isinstance(model, Llama) else []
    data = {"train": fingerprint(train_tokens), "validation": fingerprint(validation_tokens)}
    machine = {
        "torch": str(torch.__version__),
        "device": next(model.parameters()).device.type,
        "threads": torch.get_num_threads(),
    }
    described = {"model": about, "training": config.to_dict(), "data": data, "machine": machine}
    return json.loads(json.dumps(described))  # as it reads back: lists for tuples


def write_run(folder: Path, described: Described) -> None:
    write_text(folder / "run.json", json.dumps(described, indent=2) + "\n")


def read_run(folder: Path) -> tuple[ModelConfig, TrainConfig]:
    """The model config and the training config of a run, for whoever resumes it by its folder.

    Raises `CourseError` where the folder holds no run.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise CourseError(
            f"{folder} holds no training run (there is no run.json in it); "
            "name the folder that train wrote to."
        )
    described = read_json(path)
    try:
        about = dict(described["model"])
        about.pop("parameters", None)
        about.pop("foreign", None)
        if about.get("rope_scaling") is not None:
            about["rope_scaling"] = RopeScaling(**about["rope_scaling"])
        return ModelConfig(**about), TrainConfig.from_dict(described["training"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CourseError(
            f"{path} does not describe a training run that this release can read ({error}); "
            "train in another folder."
        ) from None


def refuse_differences(path: Path, before: Described, now: Described) -> None:
    """`CourseError` naming the first field in which the run at `path` would go on differently."""
    for part in ("model", "training", "data"):
        old, new = before.get(part, {}), now.get(part, {})
        for name in [*new, *(n for n in old if n not in new)]:
            if name not in FREE_TO_CHANGE and old.get(name) != new.get(name):
                raise CourseError(
                    f"{path} cannot be resumed, because {part}.{name} differs: it was "
                    f"{old.get(name)!r} and is now {new.get(name)!r}; give the same again, or "
                    "train in another folder."
                )


def differing_machine(before: Described, now: Described) -> str:
    """A line for whoever resumes a run on something else, or "" where it is the same."""
    old, new = before.get("machine", {}), now.get("machine", {})
    changed = [
        f"{name} {old[name]} then, {new.get(name)} now"
        for name in old
        if old[name] != new.get(name)
    ]
    if not changed:
        return ""
    return f"Resumed with other means ({'; '.join(changed)}): the last digits may differ."
