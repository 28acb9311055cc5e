"""The commands `train` and `demo`, from the text to the saved model, in small."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch

from llama_course.checkpoints import load
from llama_course.cli import run
from llama_course.workbook import demo as demo_module
from llama_course.workbook import train as train_module

WORDS = ["the", "a", "miller", "river", "mule", "crow", "sack", "grain", "counts", "waits", "falls"]


@pytest.fixture
def text(tmp_path) -> Path:
    chance = random.Random(0)
    lines = [" ".join(chance.choices(WORDS, k=9)).capitalize() + "." for _ in range(3000)]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


SHAPE = ["--vocab-size", "300", "--batch-size", "4", "--seq-len", "32", "--peak-lr", "5e-3"]
SHAPE += ["--warmup-steps", "2", "--eval-every", "20", "--save-every", "10", "--device", "cpu"]


def test_train_writes_a_model_that_learned_and_its_curve(text, tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    line = ["train", "--text", str(text), "--preset", "toy", "--folder", str(folder), *SHAPE]
    assert run([*line, "--steps", "40"]) == 0
    out = capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    # Words drawn evenly: frequencies know the words' pieces apart, and 40 steps find it out.
    assert result["validation_loss_nats_per_token"] < math.log(300) - 1
    assert f"Validation loss {result['validation_loss_nats_per_token']:.3f}" in out
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    model, tokenizer = load(folder / "model")
    assert tokenizer is not None and tokenizer.vocab_size == model.config.vocab_size == 300
    # And a finished run is not written over.
    assert run([*line, "--steps", "40"]) == 2
    assert "holds a training run already" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(text, tmp_path, capsys, monkeypatch) -> None:
    line = ["train", "--text", str(text), "--preset", "toy", *SHAPE, "--steps", "20"]
    assert run([*line, "--folder", str(tmp_path / "whole")]) == 0

    real = train_module.Trainer.train
    # The clock has run out after the first step: a stop like that of Ctrl-C.
    monkeypatch.setattr(
        train_module.Trainer, "train", lambda self, **how: real(self, **{**how, "max_seconds": 0.0})
    )
    assert run([*line, "--folder", str(tmp_path / "stopped")]) == 0
    assert not (tmp_path / "stopped" / "model").exists()
    assert "--resume" in capsys.readouterr().out
    monkeypatch.undo()
    assert run([*line, "--folder", str(tmp_path / "stopped"), "--resume"]) == 0
    weights = [load(tmp_path / f / "model")[0].state_dict() for f in ("whole", "stopped")]
    assert all(torch.equal(a, weights[1][name]) for name, a in weights[0].items())


@pytest.fixture
def small_corpus(text, monkeypatch) -> None:
    """The demo on the little text above, whatever corpus is named."""
    whole = text.read_text(encoding="utf-8")
    cut = len(whole) * 9 // 10
    monkeypatch.setattr(train_module, "load_split", lambda name: (whole[:cut], whole[cut:]))
    monkeypatch.setattr(demo_module, "VOCAB_SIZE", 300)


@pytest.mark.slow
def test_the_demo_shows_each_step_and_keeps_what_it_made(small_corpus, tmp_path, capsys) -> None:
    line = ["demo", "--seconds", "2", "--folder", str(tmp_path)]
    assert run(line) == 0
    out = capsys.readouterr().out
    for words in (
        "1. Text and tokenizer: python-docs",
        "2. Model: 776,832 parameters",
        "3. Training: ",
        "a sample: 'Return the ",
        "the same logits, bit for bit",
        "5. It writes:\nReturn the ",
        "Validation loss ",
        "loss.png",
    ):
        assert words in out, words
    first = tmp_path / "python-docs"
    assert (first / "model" / "model.safetensors").is_file()
    kept = (first / "result.json").read_bytes()
    assert run(line) == 0  # a second run has a folder of its own
    assert (first / "result.json").read_bytes() == kept
    assert (tmp_path / "python-docs-2" / "result.json").is_file()


@pytest.mark.slow
def test_a_demo_that_was_stopped_goes_on(small_corpus, tmp_path, capsys, monkeypatch) -> None:
    real = train_module.Trainer.train

    def interrupted(self, **how):
        def press_ctrl_c(trainer):
            if trainer.step:
                raise KeyboardInterrupt

        self.on_eval = press_ctrl_c
        return real(self, **how)

    line = ["demo", "--seconds", "2", "--folder", str(tmp_path)]
    monkeypatch.setattr(train_module.Trainer, "train", interrupted)
    assert run(line) == 130
    monkeypatch.undo()
    monkeypatch.setattr(demo_module, "VOCAB_SIZE", 300)
    assert not (tmp_path / "python-docs" / "result.json").exists()
    whole = (tmp_path / "text.txt").read_text(encoding="utf-8")
    cut = len(whole) * 9 // 10
    monkeypatch.setattr(train_module, "load_split", lambda name: (whole[:cut], whole[cut:]))
    assert run(line) == 0
    out = capsys.readouterr().out
    assert "going on with the run in" in out
    assert (tmp_path / "python-docs" / "result.json").is_file()
    assert not (tmp_path / "python-docs-2").exists()


@pytest.mark.slow
def test_a_slow_machine_ends_the_demo_in_time_with_what_it_has(
    small_corpus, tmp_path, capsys, monkeypatch
) -> None:
    # The measurement before the run said 1 ms a step; the run then finds it takes far longer.
    monkeypatch.setattr(demo_module, "seconds_per_step", lambda *_: 1e-3)
    monkeypatch.setattr(demo_module, "GRACE", 0.5)
    assert run(["demo", "--seconds", "2", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "slower than it measured" in out
    assert "the same logits, bit for bit" in out and "Validation loss " in out
