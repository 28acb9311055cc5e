"""A training run in a process of its own, which kills itself at a chosen moment.

Not a test: `test_kill_and_resume.py` runs `train` in child processes, without the type-checking
import hook, as users run the package.
"""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import torch
import torch._dynamo  # the optimizer imports it; here, it is done once for all children

from llama_course import files
from llama_course.config import ModelConfig
from llama_course.model import Llama
from llama_course.training import TrainConfig, Trainer, checkpoint

STEPS = 24


def die() -> None:
    """As `kill -9` does: nothing is flushed, no `finally` runs (on Windows: TerminateProcess)."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    time.sleep(60)


def train(folder: Path, dtype: str, moment: str = "none", step: int = 0) -> None:
    """Resume, or begin, the run in `folder`; die at `moment` of `step`, unless it is "none"."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = ModelConfig(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=64, multiple_of=16)
    model = Llama(sizes)
    tokens = torch.randint(0, 64, (700,), generator=torch.Generator().manual_seed(1))
    config = TrainConfig(
        steps=STEPS,
        batch_size=6,
        accumulation=3,
        seq_len=16,
        peak_lr=1e-2,
        warmup_steps=4,
        eval_every=6,
        save_every=4,
        dtype=dtype,
    )
    trainer = Trainer(
        *(model, tokens[:600], tokens[600:], config, folder),
        on_eval=lambda _: torch.rand(7),  # samples draw random numbers; training must not notice
        progress="none",
    )
    arm(trainer, moment, step)
    trainer.train(resume=True)


def arm(trainer: Trainer, moment: str, step: int) -> None:
    save, replace, append = torch.save, os.replace, trainer.log.append
    backward, optimize = torch.Tensor.backward, trainer.optimizer.step
    name = f"step-{step:06d}.pt"

    def dying_save(state: object, path: Path) -> None:
        if state["step"] == step:  # type: ignore[index]
            whole = io.BytesIO()
            save(state, whole)
            path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
            die()
        save(state, path)

    def dying_replace(source: Path, target: Path) -> None:
        if moment == "before rename" and Path(target).name == name:
            die()
        replace(source, target)
        if moment == "after rename" and Path(target).name == name:
            die()

    def dying_append(record: dict[str, float]) -> None:
        append(record)
        if moment == "slow":
            time.sleep(0.2)  # for the parent to strike in
        elif moment == "torn line" and record["step"] == step:
            with trainer.log.path.open("a", encoding="utf-8") as file:
                file.write('{"step": 1')
            die()

    def dying_backward(loss: torch.Tensor) -> None:
        backward(loss)
        if trainer.step == step:
            die()

    def dying_optimize() -> None:
        optimize()
        if trainer.step == step:
            die()

    if moment == "half written":
        checkpoint.torch.save = dying_save  # type: ignore[assignment]
    elif moment in ("before rename", "after rename"):
        files.os.replace = dying_replace  # type: ignore[assignment]
    elif moment in ("slow", "torn line"):
        trainer.log.append = dying_append  # type: ignore[method-assign, assignment]
    elif moment == "backward":
        torch.Tensor.backward = dying_backward  # type: ignore[method-assign, assignment]
    elif moment == "optimizer":
        trainer.optimizer.step = dying_optimize  # type: ignore[method-assign, assignment]
