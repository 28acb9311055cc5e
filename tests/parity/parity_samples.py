"""Small random models for comparisons: two that are equal, and ways to change one."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import Exercise
from llama_course.config import ModelConfig
from llama_course.model import Components, Llama

# dim is not heads * head_dim, heads / key heads is not key heads, w1 is not square.
CONFIG = ModelConfig(
    dim=48,
    n_layers=3,
    n_heads=6,
    n_kv_heads=2,
    head_dim=10,
    hidden_dim=64,
    vocab_size=97,
    norm_eps=1e-5,
)


def random_model(config: ModelConfig = CONFIG, seed: int = 0) -> Llama:
    """Weights with which every part counts, norms included."""
    model = Llama(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=generator)
            if weight.ndim == 1:
                weight.add_(1.0)
    return model.eval()


def twin(model: Llama, functions: Components | None = None, **fields: Any) -> Llama:
    """The same weights, with other functions or other fields of the config."""
    other = Llama(dataclasses.replace(model.config, **fields), functions)
    other.load_state_dict({name: w.clone() for name, w in model.state_dict().items()})
    return other.to(next(model.parameters()).dtype).eval()


def changed(model: Llama, name: str, change: Callable[[Tensor], Tensor]) -> Llama:
    """A twin with one weight changed."""
    other = twin(model)
    with torch.no_grad():
        weight = other.get_parameter(f"{name}.weight")
        weight.copy_(change(weight.clone()))
    return other


def right_answers(exercise: Exercise) -> list[Any]:
    """The solution, and the right answers in other styles that the exercise's own tests have."""
    path = Path(__file__).parents[1] / "checks" / f"test_check_{exercise.name}.py"
    if not path.is_file():
        return [exercise.solution]
    spec = importlib.util.spec_from_file_location(f"styles_{exercise.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [t for t in vars(module).values() if getattr(t, "exercise", None) is exercise]
    return [exercise.solution, *(form for t in tests for form in t.right)]
