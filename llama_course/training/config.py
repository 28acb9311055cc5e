"""Everything that fixes what a training run computes, apart from the model and the text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_course.errors import CourseError, nearest

DTYPES = ("float32", "bfloat16")
FREE_TO_CHANGE = ("save_every", "keep")  # these change no number that is computed


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults are LLaMA's where size does not matter (section 2.3).

    `batch_size` is the sequences of one step, each of `seq_len` tokens. They are worked off in
    `accumulation` equal pieces, which saves memory and changes the result by rounding only.
    `dtype` is what the model computes in (autocast); weights and optimizer are always float32.
    bfloat16 pays where the processor multiplies it in hardware: GPUs, and CPUs with AMX or
    AVX512-BF16. On others it is many times slower than float32.

    Every `eval_every` steps the validation loss is taken, over the whole validation text or over
    `eval_windows` evenly spread windows of it. Every `save_every` steps a checkpoint is written,
    and the newest `keep` remain. 0 for either means at the end only.
    """

    steps: int
    batch_size: int = 16
    seq_len: int = 128
    accumulation: int = 1
    peak_lr: float = 1e-3
    warmup_steps: int = 20
    final_ratio: float = 0.1
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    dtype: str = "float32"
    seed: int = 0
    eval_every: int = 100
    eval_windows: int | None = None
    save_every: int = 200
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "seq_len", "accumulation", "keep"):
            _whole(name, getattr(self, name), least=1)
        for name in ("warmup_steps", "eval_every", "save_every", "seed"):
            _whole(name, getattr(self, name), least=0)
        if self.eval_windows is not None:
            _whole("eval_windows", self.eval_windows, least=1)
        for name in ("peak_lr", "clip_norm", "eps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise CourseError(f"The training config's {name} must be above 0, found {value}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise CourseError(
                f"The training config's weight_decay must be 0 or more, found {self.weight_decay}."
            )
        if not 0 <= self.final_ratio <= 1:
            raise CourseError(
                f"The training config's final_ratio must be from 0 to 1, found {self.final_ratio}."
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise CourseError(
                "The training config's betas must be two numbers from 0 to below 1, "
                f"found {self.betas}."
            )
        if self.batch_size % self.accumulation:
            raise CourseError(
                f"The training config's batch_size of {self.batch_size} sequences cannot be "
                f"worked off in {self.accumulation} equal pieces; choose an accumulation that "
                "divides it."
            )
        if self.warmup_steps > self.steps:
            raise CourseError(
                f"The training config's warmup_steps ({self.warmup_steps}) must not be more than "
                f"its steps ({self.steps})."
            )
        if self.dtype not in DTYPES:
            raise CourseError(
                f"The training config's dtype {self.dtype!r} is not known; "
                f"{nearest(self.dtype, DTYPES)}"
            )

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.seq_len

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**dataclasses.asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The config that `to_dict` wrote; an unknown or missing field is a `CourseError`."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise CourseError(
                    f"A training config has no field {name!r}; {nearest(name, known)}"
                )
        if "steps" not in values:
            raise CourseError("A training config needs the field 'steps', which is missing.")
        lists = {"betas": tuple(values["betas"])} if "betas" in values else {}
        return cls(**{**values, **lists})


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CourseError(
            f"The training config's {name} must be a whole number from {least} on, found {value!r}."
        )
