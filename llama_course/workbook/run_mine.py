"""Checkpoints run by what is kept in my_llama: generating with it, and comparing it.

Your MyLlama class is used where it is kept; else the library's model with your functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llama_course import mine
from llama_course.checkpoints import load
from llama_course.checkpoints.filling import Build
from llama_course.checkpoints.opening import open_checkpoint
from llama_course.checkpoints.tokenizer_files import find_tokenizer
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Components, Llama
from llama_course.parity import Comparison, first_divergence, raised, side, with_functions
from llama_course.tokenizers import Tokenizer, no_tokenizer_reason
from llama_course.workbook.my_llama import (
    Whose,
    folder,
    is_kept,
    load_mine,
    my_components,
    used_by,
)

THE_REST = "the model and its cache"
WITHOUT_IT = "Your functions are compared without it."
INSTEAD = "Until then the library's model is used."
EAGER = "Your parts run eager: they are neither compiled nor fused."


def load_with_mine(
    path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    **fields: Any,
) -> tuple[nn.Module, Tokenizer | None, Whose]:
    """The model at `path` made of your parts, its tokenizer, and whose each part is.

    Your MyLlama class where it is kept; else the library's model with those of your functions
    that are kept. A file of yours that does not load, or cannot do what the checkpoint asks for,
    is told in a note, and the library's part takes its place. The arguments are those of `load`;
    so is what is raised for a checkpoint that cannot be read.
    """
    config = open_checkpoint(path, fields)[0].config
    build, notes = _my_class(config)
    if build is not None:
        try:
            model, tokenizer = load(path, dtype, device, build=build, **fields)
            return model, tokenizer, _of_class()
        except Exception as error:
            notes = (f"{_cannot(error)} The library's model is used.",)
    functions, whose = _my_functions(config, notes)

    def build_with_mine(config: ModelConfig) -> Llama:
        return Llama(config, components=functions)

    model, tokenizer = load(path, dtype, device, build=build_with_mine, **fields)
    return model, tokenizer, whose


def compare_with_mine(
    path: str | Path,
    tokens: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    **fields: Any,
) -> tuple[Comparison, Whose]:
    """The checkpoint at `path` run by your parts, component by component beside the library's.

    Raises CourseError where nothing of yours is kept.
    """
    a = side(path, fields)
    build, notes = _my_class(a.config)
    if build is not None:
        try:
            model, _ = load(path, dtype or a.dtype, build=build, **fields)
        except Exception as error:
            notes = (f"{_cannot(error)} {WITHOUT_IT}",)
        else:
            whose = _of_class()
            parts = {name: load_mine(name) for name in whose.yours if name not in mine.OWN}
            return first_divergence(a, model, tokens, dtype=dtype, parts=parts), whose
    functions, whose = _my_functions(a.config, notes)
    if not whose.yours:
        if is_kept("MyLlama"):
            bare = (n.removesuffix(WITHOUT_IT).removesuffix(INSTEAD) for n in whose.notes)
            raise CourseError(f"There is nothing of yours to compare. {' '.join(bare)}".strip())
        told = " ".join(whose.notes)
        raise CourseError(
            f"Nothing of yours is kept in {folder()} that a model computes with, so there is "
            f"nothing to compare; pass check('rms_norm') first. {told}".strip()
        )
    b = with_functions(a, functions, f"{a.name}, run by your {', '.join(whose.yours)}")
    return first_divergence(a, b, tokens, dtype=dtype), whose


def prompt_ids(path: str | Path, prompt: str, **fields: Any) -> list[int]:
    """A prompt in the ids of a checkpoint's own tokenizer, begun as `generate` begins it."""
    checkpoint, files = open_checkpoint(path, fields)
    tokenizer = find_tokenizer(files, checkpoint.format, checkpoint.config.vocab_size)
    if tokenizer is None:
        raise CourseError(no_tokenizer_reason(path))
    return tokenizer.encode(prompt, bos=True)


def _my_class(config: ModelConfig) -> tuple[Build | None, tuple[str, ...]]:
    """The kept MyLlama, if it can run such a config; else a sentence on why not."""
    if not is_kept("MyLlama"):
        return None, ()
    if config.rope_scaling is not None:
        return None, (
            f"Your MyLlama knows nothing of this checkpoint's RoPE scaling "
            f"({config.rope_scaling.type}): the library's model runs, with your other functions.",
        )
    try:
        return load_mine("MyLlama"), ()
    except CourseError as error:
        return None, (f"{mine.told(error, 'MyLlama')} {INSTEAD}",)


def _cannot(error: Exception) -> str:
    if isinstance(error, CourseError):
        return f"Your MyLlama cannot be filled: {error}"
    return f"Your MyLlama cannot be made: {raised(error)}."


def _my_functions(config: ModelConfig, notes: Iterable[str]) -> tuple[Components, Whose]:
    """The kept functions in their places, as far as the config lets them be used."""
    found = my_components()
    functions, names, notes = found.components, found.names, list(notes)
    if config.rope_scaling is not None and "rope_angles" in names:
        functions = dataclasses.replace(functions, rope_angles=Components().rope_angles)
        names = tuple(name for name in names if name != "rope_angles")
        notes.append(
            f"The checkpoint's RoPE scaling ({config.rope_scaling.type}) is more than a function "
            "rope_angles(positions, head_dim, theta) can say: the library's is used."
        )
    rest = tuple(f.name for f in dataclasses.fields(Components) if f.name not in names)
    waiting = [name for name in (*mine.CACHE, "Block") if is_kept(name)]
    if waiting and not is_kept("MyLlama"):
        notes.append(f"Kept too, and used only by a MyLlama of yours: {', '.join(waiting)}.")
    problems = [f"{problem} Until then the library's is used." for problem in found.problems]
    said = (*problems, *notes, *([EAGER] if names else []))
    return functions, Whose(names, (*rest, THE_REST), said)


def _of_class() -> Whose:
    whose = used_by("MyLlama")
    return dataclasses.replace(whose, notes=(*whose.notes, EAGER))
