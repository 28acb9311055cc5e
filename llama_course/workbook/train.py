"""From a text to a trained checkpoint: the steps that `train` and `demo` share."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from llama_course.checkpoints import save
from llama_course.checkpoints.names import n_parameters
from llama_course.config import ModelConfig
from llama_course.data import encode_corpus, load_split, split
from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.hardware import free_memory, readable
from llama_course.model import Llama
from llama_course.plots import save_loss_curve
from llama_course.tokenizers import SentencePieceTokenizer, train_sentencepiece
from llama_course.training import TrainConfig, Trainer, TrainResult, bits_per_byte

# Weights, gradients and AdamW's two moments, all float32.
BYTES_PER_PARAMETER = 16


@dataclass(frozen=True)
class Text:
    """A text as training sees it: the tokenizer, and both parts as ids."""

    tokenizer: SentencePieceTokenizer
    train: np.ndarray
    validation: np.ndarray
    validation_bytes: int
    train_bytes: int

    def bits_per_byte(self, nats: float) -> float:
        """A mean loss per token on the validation part, in bits per byte of text."""
        return bits_per_byte(nats, len(self.validation) - 1, self.validation_bytes)

    @property
    def frequency_loss(self) -> float:
        """Nats per token of the best guess that looks at nothing: each token's frequency.

        Counted in the training part (every count plus one), charged on the validation part.
        """
        counts = np.bincount(self.train, minlength=self.tokenizer.vocab_size) + 1.0
        return float(-np.log(counts / counts.sum())[self.validation[1:]].mean())


def read_text(
    corpus: str | None,
    text: Path | None,
    folder: Path,
    vocab_size: int,
    tokenizer_path: Path | None = None,
) -> Text:
    """Split a corpus, train a tokenizer on its training part alone, and encode both parts.

    The tokenizer is kept in the run's folder, and read from there when the run goes on.
    """
    if corpus and text:
        raise CourseError("Give either a named corpus or a text file, not both.")
    if text is not None:
        training, validation = split(_read(text))
    else:
        training, validation = load_split(corpus or "python-docs")
    kept = folder / "tokenizer.model"
    if tokenizer_path is not None:
        tokenizer = SentencePieceTokenizer(tokenizer_path)
    elif kept.is_file():
        tokenizer = SentencePieceTokenizer(kept)
    else:
        tokenizer = train_sentencepiece([training], vocab_size)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(kept)
    return Text(
        tokenizer,
        encode_corpus(tokenizer, training),
        encode_corpus(tokenizer, validation),
        len(validation.encode()),
        len(training.encode()),
    )


def new_model(config: ModelConfig, seed: int, device: str) -> Llama:
    """A model with fresh weights, the same for the same seed on every device."""
    check_memory(config, device)
    torch.manual_seed(seed)
    return Llama(config).to(device)


def check_memory(config: ModelConfig, device: str) -> None:
    """Raise `CourseError` where training a model of this size cannot fit into memory."""
    count = n_parameters(config)
    need, free = count * BYTES_PER_PARAMETER, free_memory(device)
    if free is not None and need > free:
        raise CourseError(
            f"Training {count:,} parameters takes at least {readable(need)} (weights, gradients "
            f"and AdamW's moments in float32), and {readable(free)} are free on {device}; "
            "choose a smaller size (`llama-course doctor` lists them)."
        )


def run_training(
    *,
    preset: str,
    corpus: str | None,
    text: Path | None,
    folder: Path,
    vocab_size: int,
    tokenizer_path: Path | None,
    config: TrainConfig,
    device: str,
    resume: bool,
) -> TrainResult:
    """The command `train`: everything from the text to the saved model."""
    sizes = ModelConfig.preset(preset)
    check_memory(dataclasses.replace(sizes, vocab_size=vocab_size), device)
    parts = read_text(corpus, text, folder, vocab_size, tokenizer_path)
    sizes = dataclasses.replace(
        sizes,
        vocab_size=parts.tokenizer.vocab_size,
        max_seq_len=max(sizes.max_seq_len, config.seq_len),
    )
    model = new_model(sizes, config.seed, device)
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(parts.train):,} training "
        f"tokens, {config.steps} steps of {config.tokens_per_step} tokens on {device}"
    )
    result = train_and_save(model, parts, config, folder, resume=resume)
    if not result.stopped:
        report(result, parts)
        print(f"Model: {folder / 'model'}\nCurve: {folder / 'loss.png'}")
    return result


def train_and_save(
    model: Llama,
    parts: Text,
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    max_seconds: float | None = None,
    on_eval: Callable[[Trainer], object] | None = None,
    how_to_resume: str = "run the same command again with --resume",
) -> TrainResult:
    """Train; once all steps are done, save the model as `folder/model` and the loss curve.

    A run that `max_seconds` ended is saved as well, as it is by then, and can go on later.
    """
    trainer = Trainer(
        model,
        parts.train,
        parts.validation,
        config,
        folder,
        on_eval=on_eval,
        how_to_resume=how_to_resume,
    )
    result = trainer.train(resume=resume, max_seconds=max_seconds)
    save_loss_curve(folder)
    if not result.stopped or (result.stopped == "time" and max_seconds is not None):
        model.eval()
        save(model, folder / "model", tokenizer=parts.tokenizer)
    if not result.stopped:
        facts = {
            "validation_loss_nats_per_token": result.validation_loss,
            "validation_bits_per_byte": parts.bits_per_byte(result.validation_loss or math.nan),
            "frequency_loss_nats_per_token": parts.frequency_loss,
            "steps": result.steps,
            "seconds": result.seconds,
        }
        write_text(folder / "result.json", json.dumps(facts, indent=2) + "\n")
    return result


def report(result: TrainResult, parts: Text) -> None:
    """Print the evidence: the validation loss, between two that anyone can reach."""
    loss = result.validation_loss or math.nan
    blind = math.log(parts.tokenizer.vocab_size)
    print(
        f"Validation loss {loss:.3f} nats per token, {parts.bits_per_byte(loss):.3f} bits per byte "
        f"(all tokens alike: {blind:.3f} nats; by frequency alone: {parts.frequency_loss:.3f})."
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CourseError(f"There is no text file {path}; check the path.") from None
    except UnicodeDecodeError as error:
        raise CourseError(
            f"{path} is not UTF-8 text (byte {error.start} does not fit); save it as UTF-8."
        ) from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}.") from None
