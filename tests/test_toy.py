"""The trained toy that comes with the package is the one that its card describes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from llama_course.data import encode_corpus, load_split
from llama_course.model import Llama
from llama_course.toy import FOLDER, load_toy, toy_card, toy_text
from llama_course.training import evaluate


def test_it_is_small_and_as_large_as_its_card_says() -> None:
    model, tokenizer = load_toy()
    assert sum(p.numel() for p in model.parameters()) == toy_card()["parameters"] == 869_504
    assert tokenizer.vocab_size == model.config.vocab_size == 1024
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) < 4_000_000


@torch.no_grad()
def test_it_has_learned_what_an_untrained_model_has_not() -> None:
    model, tokenizer = load_toy()
    ids = encode_corpus(tokenizer, toy_text())
    loss = evaluate(model, ids, seq_len=128, batch_size=16).loss
    torch.manual_seed(0)
    untrained = evaluate(Llama(model.config), ids, seq_len=128, batch_size=16).loss
    frequency = toy_card()["frequency_loss_nats_per_token"]
    assert loss < frequency - 1.5  # 20 kB of text: another stretch, within some tenths of a nat
    assert untrained > frequency


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(os.environ.get("LLAMA_COURSE_DATA", "")) / "tinyshakespeare.txt").is_file(),
    reason="needs tinyshakespeare.txt in the folder LLAMA_COURSE_DATA",
)
def test_its_validation_loss_is_the_one_on_the_card() -> None:
    model, tokenizer = load_toy()
    _, validation = load_split("tiny-shakespeare")
    loss = evaluate(model, encode_corpus(tokenizer, validation), seq_len=128, batch_size=16).loss
    # The same weights and text: only the order of sums differs between machines.
    assert loss == pytest.approx(toy_card()["validation_loss_nats_per_token"], abs=2e-4)
