"""Small random models, and ways to compare what was saved with what is loaded."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from llama_course.checkpoints import load
from llama_course.config import ModelConfig
from llama_course.model import Llama

# 12 heads and 3 key/value heads: where heads / kv_heads equals kv_heads, mistakes hide.
SMALL = {
    "dim": 96,
    "n_layers": 2,
    "n_heads": 12,
    "n_kv_heads": 3,
    "hidden_dim": 131,
    "vocab_size": 301,
}
# Everything divides by 8, as Meta's shards ask.
SHARDABLE = SMALL | {"n_heads": 16, "n_kv_heads": 8, "hidden_dim": 136, "vocab_size": 304}


def random_model(dtype: torch.dtype = torch.float32, seed: int = 0, **fields: Any) -> Llama:
    """A model whose every number is random, norms included."""
    model = Llama(ModelConfig(**{**SMALL, **fields}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            # Large enough that attention depends on position; else a wrong rotation is not seen.
            weight.normal_(std=0.2, generator=generator)
            if weight.ndim == 1:
                weight.add_(1.0)
    return model.to(dtype).eval()


def quiet_load(path: Path, **kwargs: Any) -> tuple[Any, Any]:
    """`load` without its remarks on what was assumed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(path, **kwargs)


def same(a: Any, b: Any) -> bool:
    """Whether two models have the same config, names, dtypes and bits."""
    left, right = dict(a.named_parameters()), dict(b.named_parameters())
    return (
        a.config == b.config
        and left.keys() == right.keys()
        and all(
            left[n].dtype == right[n].dtype
            and left[n].shape == right[n].shape
            and torch.equal(left[n].contiguous().view(torch.uint8), right[n].view(torch.uint8))
            for n in left
        )
    )


def fresh_copy(source: Path, target: Path) -> Path:
    """`target` as an exact copy of the folder `source`."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
