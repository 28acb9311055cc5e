"""The training loop: batch, loss, clip, schedule, step; and everything that keeps it safe."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from llama_course.data.batches import TokenBatches, Tokens, as_row
from llama_course.errors import CourseError
from llama_course.training.checkpoint import (
    checkpoints,
    newest_state,
    random_state,
    restore,
    save_state,
    set_random_state,
)
from llama_course.training.config import TrainConfig
from llama_course.training.evaluate import Validation, autocast, evaluate
from llama_course.training.interrupt import held_interrupt
from llama_course.training.log import TrainingLog, read_log
from llama_course.training.loss import next_token_loss
from llama_course.training.optimizer import make_optimizer
from llama_course.training.progress import Kind, Progress
from llama_course.training.run import describe, differing_machine, refuse_differences, write_run
from llama_course.training.schedule import learning_rate


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    `stopped` is "" where all steps are done, else "interrupted" (Ctrl-C) or "time". The losses are
    the last ones taken, in nats per token; `seconds` is training time over all of the run.
    """

    steps: int
    stopped: str
    loss: float | None
    validation_loss: float | None
    seconds: float
    tokens_per_second: float


class Trainer:
    """Trains `model` on a row of tokens, and writes what it does to `folder`.

    `folder` gets `run.json` (what is trained, and how), `log.jsonl` (see `TrainingLog`) and
    `checkpoints/`. A run that was stopped, by Ctrl-C, `kill -9` or a power cut, goes on with
    `train(resume=True)`: on the same processor with the same number of threads, to the same losses
    and weights bit for bit; on a GPU as exactly as its kernels repeat themselves (see
    `torch.use_deterministic_algorithms`). The finished weights are the model's, and
    `checkpoints.save` keeps them.

    `on_eval(trainer)` is called after every validation: the place for samples and plots. It may
    use random numbers freely, training does not notice. `device` moves the model there first.

    Raises `CourseError` for tokens outside the vocabulary, a text shorter than one window, or
    weights that are not float32.
    """

    def __init__(
        self,
        model: nn.Module,
        train_tokens: Tokens,
        validation_tokens: Tokens,
        config: TrainConfig,
        folder: Path | str,
        *,
        device: torch.device | str | None = None,
        on_eval: Callable[[Trainer], object] | None = None,
        progress: Kind = "auto",
        how_to_resume: str = "go on with train(resume=True)",
    ) -> None:
        self.model = model if device is None else model.to(device)
        self.device = next(model.parameters()).device
        self.config = config
        self.folder = Path(folder)
        self.on_eval = on_eval
        self.step = 0  # how many are done
        self.validation: Validation | None = None
        self.log = TrainingLog(self.folder / "log.jsonl")
        self._validation_tokens = as_row(validation_tokens, 1)
        self._progress_kind: Kind = progress
        self._how_to_resume = how_to_resume
        self._check(model, train_tokens, validation_tokens)
        self.batches = TokenBatches(train_tokens, config.batch_size, config.seq_len, config.seed)
        self.optimizer = make_optimizer(
            model,
            config.peak_lr,
            weight_decay=config.weight_decay,
            betas=config.betas,
            eps=config.eps,
        )
        self._weights = [w for group in self.optimizer.param_groups for w in group["params"]]
        self._described = describe(model, config, train_tokens, validation_tokens)

    def train(self, *, resume: bool = False, max_seconds: float | None = None) -> TrainResult:
        """Do all the steps of the config that are not done yet.

        `resume` goes on from the newest complete checkpoint, or from the start where there is
        none; without it, a folder that holds a run already is refused and left as it is.
        `max_seconds` of this call (evaluation included) ends it like Ctrl-C does: the step is
        finished, a checkpoint written, and `train(resume=True)` goes on.

        Raises `CourseError` if the loss is no longer finite, keeping the last good checkpoint,
        and for a resumed run whose model, config or text is not the same.
        """
        note = self._begin(resume)
        began, first, stopped = time.perf_counter(), self.step, ""
        seconds = 0.0  # of the steps of this call
        progress = Progress(self._progress_kind, self.config.steps, self.step)
        if note:
            progress.say(note)
        self.model.train()
        try:
            with held_interrupt() as interrupted:
                if self.step == 0 and not read_log(self.log.path):
                    self._evaluate(progress)
                    self._sample()
                while self.step < self.config.steps and not stopped:
                    start = time.perf_counter()
                    loss, lr, norm = self._one_step()
                    took = time.perf_counter() - start
                    seconds += took
                    record = {
                        "step": self.step,
                        "loss": loss,
                        "lr": lr,
                        "grad_norm": norm,
                        "tokens": self.step * self.config.tokens_per_step,
                        "seconds": self.log.seconds + took,
                    }
                    self.log.append(record)
                    progress.step(record, self._speed(first, seconds))
                    if interrupted():
                        stopped = "interrupted"
                    elif max_seconds is not None and time.perf_counter() - began >= max_seconds:
                        stopped = "time" if self.step < self.config.steps else ""
                    evaluates = self._due(self.config.eval_every)
                    if evaluates:
                        self._evaluate(progress)
                    if stopped or self._due(self.config.save_every):
                        self._save()
                    if evaluates:
                        self._sample()
        finally:
            progress.close()
        if stopped:
            progress.say(
                f"Stopped after step {self.step} of {self.config.steps}; everything is kept in "
                f"{self.folder}: {self._how_to_resume}."
            )
        return self._result(stopped, self._speed(first, seconds))

    def _one_step(self) -> tuple[float, float, float]:
        """One step of the optimizer: (loss in nats per token, learning rate, gradient norm)."""
        config = self.config
        inputs, targets = self.batches.at(self.step)  # each (batch, seq)
        total = torch.zeros((), device=self.device)
        for x, y in zip(
            inputs.chunk(config.accumulation), targets.chunk(config.accumulation), strict=True
        ):
            with autocast(self.device, config.dtype):
                loss = next_token_loss(self.model, x.to(self.device), y.to(self.device))
            # The pieces are equally long, so the mean over all is the mean of their means.
            loss = loss / config.accumulation
            loss.backward()
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self._weights, config.clip_norm).item()
        if not (math.isfinite(total.item()) and math.isfinite(norm)):
            self._refuse_infinite(total.item(), norm)
        lr = learning_rate(
            self.step,
            peak=config.peak_lr,
            warmup_steps=config.warmup_steps,
            total_steps=config.steps,
            final_ratio=config.final_ratio,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total.item(), lr, norm

    def _begin(self, resume: bool) -> str:
        """Start anew, or put everything back as it was after the newest checkpoint.

        What it returns is to be said to the user, unless it is empty.
        """
        note = ""
        found = newest_state(self.folder) if resume else None
        if found is not None:
            path, state = found
            before = json.loads(state["described"])
            refuse_differences(path, before, self._described)
            note = differing_machine(before, self._described)
            self.step = restore(state, self.model, self.optimizer)
        elif not resume and (checkpoints(self.folder) or self.log.path.exists()):
            raise CourseError(
                f"{self.folder} holds a training run already; {self._how_to_resume}, "
                "or train in another folder."
            )
        elif self.step:
            raise CourseError(
                f"This trainer's model has {self.step} steps behind it and {self.folder} has no "
                "checkpoint to go back to; make a new model and Trainer."
            )
        else:
            torch.manual_seed(self.config.seed)
        try:
            write_run(self.folder, self._described)
            self.log.cut_back(self.step)
        except OSError as error:
            raise CourseError(
                f"Nothing can be written to {self.folder} ({error.strerror or error}); "
                "name a folder that you may write to."
            ) from None
        return note

    def _evaluate(self, progress: Progress) -> None:
        config = self.config
        self.validation = evaluate(
            self.model,
            self._validation_tokens,
            seq_len=config.seq_len,
            batch_size=config.batch_size // config.accumulation,
            dtype=config.dtype,
            count=config.eval_windows,
        )
        loss, tokens = self.validation
        self.log.append(
            {
                "step": self.step,
                "validation_loss": loss,
                "validation_tokens": tokens,
                "seconds": self.log.seconds,
            }
        )
        progress.say(f"step {self.step}: validation loss {loss:.3f} nats per token")

    def _sample(self) -> None:
        """Call `on_eval`, and put back the random state that it may have used."""
        if self.on_eval is None:
            return
        state = random_state(self.device)
        try:
            self.on_eval(self)
        finally:
            self.model.train()
            set_random_state(self.device, state)

    def _save(self) -> None:
        self.log.flush()
        try:
            save_state(
                self.folder,
                step=self.step,
                model=self.model,
                optimizer=self.optimizer,
                described=self._described,
                keep=self.config.keep,
            )
        except (OSError, RuntimeError) as error:
            raise CourseError(
                f"The checkpoint of step {self.step} could not be written to {self.folder} "
                f"({str(error).splitlines()[0]}); older ones are kept, so free some disk space "
                f"and {self._how_to_resume}."
            ) from None

    def _due(self, every: int) -> bool:
        """Whether something is to be done after this step; after the last one always."""
        return self.step == self.config.steps or (every > 0 and self.step % every == 0)

    def _speed(self, first: int, seconds: float) -> float:
        tokens = (self.step - first) * self.config.tokens_per_step
        return tokens / seconds if seconds > 0 else 0.0

    def _result(self, stopped: str, speed: float) -> TrainResult:
        records = read_log(self.log.path)
        losses = [r["loss"] for r in records if "loss" in r]
        validation = [r["validation_loss"] for r in records if "validation_loss" in r]
        return TrainResult(
            steps=self.step,
            stopped=stopped,
            loss=losses[-1] if losses else None,
            validation_loss=validation[-1] if validation else None,
            seconds=self.log.seconds,
            tokens_per_second=speed,
        )

    def _refuse_infinite(self, loss: float, norm: float) -> None:
        kept = checkpoints(self.folder)
        raise CourseError(
            f"Training stopped in step {self.step + 1}: the loss is {loss} and the norm of the "
            f"gradients {norm}, and no step can be made from numbers that are not finite; "
            + (f"the last good weights are in {kept[0]}" if kept else "no checkpoint was due yet")
            + f", so try again in another folder with a peak_lr below {self.config.peak_lr:g} or a "
            "longer warm-up."
        )

    def _check(self, model: nn.Module, *rows: Tokens) -> None:
        for name, weight in model.named_parameters():
            if weight.requires_grad and weight.dtype not in (torch.float32, torch.float64):
                raise CourseError(
                    f"The weight {name} is {str(weight.dtype).removeprefix('torch.')}, in which "
                    "small steps are lost; load the model in float32 and give "
                    'TrainConfig(dtype="bfloat16") to compute in bfloat16.'
                )
        vocabulary = getattr(getattr(model, "config", None), "vocab_size", None)
        for tokens in rows:
            row = as_row(tokens, 1)
            if vocabulary is not None and (row.max() >= vocabulary or row.min() < 0):
                raise CourseError(
                    f"The text has token ids from {row.min()} to {row.max()}, and the model's "
                    f"vocab_size is {vocabulary}; encode it with the tokenizer of this model."
                )
