"""A small trained model that comes with the course, so that lessons have one from the start.

`card.json` beside this file says how it was made: the command, the seed, the steps, the loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from llama_course.checkpoints import load
from llama_course.config import read_json
from llama_course.model import Llama
from llama_course.tokenizers import Tokenizer

FOLDER = Path(__file__).parent


def load_toy(build: type = Llama, dtype: torch.dtype = torch.float32) -> tuple[Any, Tokenizer]:
    """The trained toy and its tokenizer: 869,504 parameters, trained on Tiny Shakespeare.

    `build` is the class to fill, as in `load`. The weights are yours: changing them changes no
    file.
    """
    model, tokenizer = load(FOLDER / "model", dtype=dtype, build=build)
    assert tokenizer is not None, f"{FOLDER} has lost its tokenizer.model"
    return model, tokenizer


def toy_text() -> str:
    """About 20 kB of the text that was held back when the toy was trained."""
    return (FOLDER / "held-back.txt").read_text(encoding="utf-8")


def toy_card() -> dict[str, Any]:
    """How the toy was made, and the loss it reached."""
    return read_json(FOLDER / "card.json")
