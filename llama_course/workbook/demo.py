"""The main job in small: text, tokenizer, model, training, checkpoint, reload, generation."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch

from llama_course.checkpoints import load
from llama_course.config import ModelConfig
from llama_course.errors import CourseError, nearest
from llama_course.generation import generate
from llama_course.model import Llama
from llama_course.tokenizers import Tokenizer
from llama_course.training import TrainConfig, Trainer, read_run, seconds_per_step
from llama_course.workbook.train import new_model, read_text, report, train_and_save

VOCAB_SIZE = 1024
GRACE = 40.0  # seconds beyond the time asked for, after which the run ends as it is
# What each sample goes on from. The python-docs are help texts and docstrings.
PROMPTS = {"python-docs": "Return the ", "tiny-shakespeare": "ROMEO:\n"}


def run_demo(corpus: str, *, seconds: float, folder: Path, device: str, seed: int) -> None:
    """Train for about `seconds` seconds and show what was learned; the loss is the evidence.

    A run that was stopped half-way goes on; one that is finished is kept, and a new one gets a
    folder of its own beside it.
    """
    if corpus not in PROMPTS:
        raise CourseError(f"The demo has no corpus {corpus!r}; {nearest(corpus, PROMPTS)}")
    if not seconds > 0:
        raise CourseError(f"The demo needs some seconds to train, found {seconds}.")
    began = time.perf_counter()
    folder = _free_folder(folder / corpus)
    resume = (folder / "run.json").is_file()

    print(f"1. Text and tokenizer: {corpus}")
    parts = read_text(corpus, None, folder, VOCAB_SIZE)
    per_token = parts.train_bytes / len(parts.train)
    print(
        f"   {parts.train_bytes / 1e6:.2f} MB to train on, {parts.validation_bytes / 1e6:.2f} MB "
        f"held back; {VOCAB_SIZE} pieces, {per_token:.2f} bytes a token"
    )

    if resume:
        sizes, config = read_run(folder)
    else:
        sizes = dataclasses.replace(
            ModelConfig.preset("toy-1M"), vocab_size=parts.tokenizer.vocab_size
        )
        config = TrainConfig(steps=1, warmup_steps=0, seed=seed)
    model = new_model(sizes, seed, device)
    if not resume:
        config = _schedule(model, seconds, seed)
    count = sum(p.numel() for p in model.parameters())
    print(
        f"2. Model: {count:,} parameters, {sizes.n_layers} layers, {sizes.n_heads} heads on "
        f"{sizes.n_kv_heads} key/value heads, width {sizes.dim}"
    )
    print(
        f"3. Training: {config.steps} steps of {config.tokens_per_step} tokens, about "
        f"{seconds:.0f} seconds; Ctrl-C stops, the same command goes on"
        + (f"\n   going on with the run in {folder}" if resume else "")
    )

    def sample(trainer: Trainer) -> None:
        if trainer.step < config.steps:
            print(f"   a sample: {_sample(model, parts.tokenizer, PROMPTS[corpus], 30, seed)!r}")

    result = train_and_save(
        model,
        parts,
        config,
        folder,
        resume=resume,
        max_seconds=seconds + GRACE,
        on_eval=sample,
        how_to_resume="run the same command again",
    )
    if result.stopped == "interrupted":
        return
    if result.stopped:
        print(
            f"   This machine became slower than it measured: {result.steps} of {config.steps} "
            "steps were done in the time."
        )
    print(f"4. Saved {folder / 'model'}; loading it again")
    again, tokenizer = load(folder / "model", device=device)
    probe = torch.from_numpy(parts.validation[:64].astype("int64"))[None].to(device)
    with torch.no_grad():
        same = torch.equal(again(probe), model(probe))
    if not same or tokenizer is None:
        raise CourseError(f"The model read back from {folder / 'model'} is not the one saved.")
    print("   the same logits, bit for bit")
    print("5. It writes:")
    print(_sample(again, tokenizer, PROMPTS[corpus], 120, seed))
    print("6. The evidence is the loss on text it has not seen, not the sample:")
    print("   ", end="")
    report(result, parts)
    print(f"   Loss curve: {folder / 'loss.png'}; all in {time.perf_counter() - began:.0f} seconds")


def _schedule(model: torch.nn.Module, seconds: float, seed: int) -> TrainConfig:
    """As many steps as fit into the time, measured here first, so that the schedule is fixed.

    Evaluation and samples take about a tenth of the time; that is left out of the steps.
    """
    shape = TrainConfig(steps=1, batch_size=8, seq_len=128, warmup_steps=0, seed=seed)
    steps = max(20, int(0.85 * seconds / seconds_per_step(model, shape)))
    return dataclasses.replace(
        shape,
        steps=steps,
        peak_lr=4e-3,
        warmup_steps=max(1, min(50, steps // 10)),
        eval_every=max(1, steps // 5),
        save_every=max(1, steps // 5),
    )


def _sample(model: Llama, tokenizer: Tokenizer, prompt: str, tokens: int, seed: int) -> str:
    pieces = generate(model, tokenizer, prompt, tokens, temperature=0.8, top_p=0.9, seed=seed)
    return prompt + "".join(pieces)


def _free_folder(folder: Path) -> Path:
    """`folder`, or the next of `folder-2`, `folder-3`, ... that holds no finished run."""
    number, free = 1, folder
    while (free / "result.json").exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
