"""The training loop in one process: what it computes, what it writes, how it stops."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llama_course.config import ModelConfig
from llama_course.data import TokenBatches
from llama_course.errors import CourseError
from llama_course.model import Llama
from llama_course.training import (
    TrainConfig,
    Trainer,
    cross_entropy,
    evaluate,
    learning_rate,
    make_optimizer,
    read_log,
    read_run,
    seconds_per_step,
)

SIZES = ModelConfig(dim=32, n_layers=1, n_heads=2, vocab_size=16, multiple_of=16, max_seq_len=64)
CONFIG = TrainConfig(
    steps=12, batch_size=4, seq_len=8, peak_lr=1e-2, warmup_steps=3, eval_every=4, save_every=4
)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Sums in one order, so that equal runs are equal bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def text() -> tuple[Tensor, Tensor]:
    """A text with something to learn: each token is mostly one more than the one before."""
    generator = torch.Generator().manual_seed(3)
    steps = torch.where(torch.rand(500, generator=generator) < 0.9, 1, 5)
    tokens = steps.cumsum(0) % 16
    return tokens[:420], tokens[420:]


def trainer(folder: Path, config: TrainConfig = CONFIG, **options: Any) -> Trainer:
    torch.manual_seed(0)
    return Trainer(Llama(SIZES), *text(), config, folder, **{"progress": "none", **options})


def numbers(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_log(folder)]


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    made = trainer(tmp_path, dataclasses.replace(CONFIG, steps=120, eval_every=0, save_every=0))
    result = made.train()
    first, *_, last = read_log(tmp_path)
    assert (result.steps, result.stopped) == (120, "")
    # Before training the guess is blind, ln 16; small random weights differ from it a little.
    assert abs(first["validation_loss"] - math.log(16)) < 0.1
    # The text's entropy is 0.33 nats a token; a model that learned nothing stays at 2.77.
    assert last["validation_loss"] == result.validation_loss < 1.2
    assert result.tokens_per_second > 0 and result.seconds > 0
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000120.pt"]


def test_the_loop_is_the_one_written_out_by_hand(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    made.train()
    torch.manual_seed(0)
    model = Llama(SIZES)
    optimizer = make_optimizer(model, CONFIG.peak_lr)
    batches = TokenBatches(text()[0], 4, 8, seed=0)
    rows = [r for r in read_log(tmp_path) if "loss" in r]
    for step in range(12):
        inputs, targets = batches.at(step)
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        lr = learning_rate(step, peak=1e-2, warmup_steps=3, total_steps=12)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()
        # One process, one thread, the same operations in the same order: exactly equal.
        assert (rows[step]["loss"], rows[step]["lr"]) == (loss.item(), lr)
        # The norm's squares are added weight by weight, in another order: its rounding.
        assert rows[step]["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
        assert rows[step]["tokens"] == (step + 1) * 4 * 8
    for a, b in zip(model.parameters(), made.model.parameters(), strict=True):
        # Twelve steps of at most 0.01 with a gradient rounded otherwise.
        assert (a - b).abs().max() < 1e-5


def test_accumulation_changes_the_result_by_rounding_only(tmp_path: Path) -> None:
    once, pieces = (
        trainer(tmp_path / "a"),
        trainer(tmp_path / "b", dataclasses.replace(CONFIG, accumulation=4)),
    )
    once.train()
    pieces.train()
    losses = [[r["loss"] for r in read_log(m.folder) if "loss" in r] for m in (once, pieces)]
    # A loss not divided by the pieces would be four times as large, gradients not added a quarter.
    # Sums in another order differ by 1e-7; twelve steps of Adam let that grow.
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_evaluation_predicts_every_token_once() -> None:
    torch.manual_seed(0)
    model, (_, held) = Llama(SIZES), text()
    model.eval()
    found = evaluate(model, held, seq_len=8, batch_size=3)
    nats = 0.0
    for start in range(0, len(held) - 1, 8):
        window = held[start : start + 9][None]
        nats += cross_entropy(model(window[:, :-1]), window[:, 1:]).item() * (window.shape[1] - 1)
    assert found.tokens == len(held) - 1 == 79
    assert found.loss == pytest.approx(nats / 79, rel=1e-6)  # batched products round otherwise
    some = evaluate(model, held, seq_len=8, batch_size=3, count=4)
    assert some.tokens == 31 and not model.training  # 3 whole windows and the short last one


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    made = trainer(tmp_path / "b", dataclasses.replace(CONFIG, dtype="bfloat16"))
    made.train()
    assert {w.dtype for w in made.model.parameters()} == {torch.float32}
    assert {v.dtype for s in made.optimizer.state.values() for v in s.values()} == {torch.float32}
    plain = trainer(tmp_path / "a")
    plain.train()
    low, high = ([r["loss"] for r in read_log(t.folder) if "loss" in r] for t in (made, plain))
    assert low != high
    assert low == pytest.approx(high, rel=0.02)  # bfloat16 keeps 8 bits, 0.4 %, at each product


# ---- stopping and going on --------------------------------------------------------------------


def test_ctrl_c_stops_between_two_steps_and_goes_on_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trainer(tmp_path / "whole")
    whole.train()

    def interrupt(made: Trainer) -> None:
        if made.step == 4:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    made = trainer(tmp_path / "cut", progress="lines", on_eval=interrupt)
    result = made.train()
    assert signal.getsignal(signal.SIGINT) is before
    assert (result.stopped, result.steps) == ("interrupted", 5)
    said = capsys.readouterr().out.splitlines()[-1]
    assert "Stopped after step 5 of 12" in said and "resume=True" in said
    again = trainer(tmp_path / "cut")
    assert again.train(resume=True).stopped == ""
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    assert_same_weights(again.model, whole.model)
    made.train(resume=True)  # a finished run has nothing left to do
    assert_same_weights(made.model, whole.model)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


def test_a_second_ctrl_c_is_raised_at_once(tmp_path: Path) -> None:
    def twice(made: Trainer) -> None:
        if made.step == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, on_eval=twice).train()
    assert read_log(tmp_path)[-1]["step"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_time_limit_stops_like_ctrl_c(tmp_path: Path) -> None:
    whole, made = trainer(tmp_path / "whole"), trainer(tmp_path / "cut")
    whole.train()
    for steps in range(1, 12):
        result = made.train(resume=steps > 1, max_seconds=0.0)
        assert (result.stopped, result.steps) == ("time", steps)
    assert made.train(resume=True, max_seconds=0.0).stopped == ""
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    assert_same_weights(made.model, whole.model)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    whole, made = trainer(tmp_path / "whole"), trainer(tmp_path / "cut")
    whole.train()
    made.train()
    newest = tmp_path / "cut" / "checkpoints" / "step-000012.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    again = trainer(tmp_path / "cut")
    with pytest.warns(UserWarning, match=r"step-000012\.pt cannot be read"):
        again.train(resume=True)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    assert_same_weights(again.model, whole.model)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    def poison(made: Trainer) -> None:
        if made.step == 8:
            made.model.norm.weight.data.fill_(torch.nan)

    with pytest.raises(CourseError) as error:
        trainer(tmp_path, on_eval=poison).train()
    said = str(error.value)
    assert "step 9" in said and "nan" in said and "step-000008.pt" in said and "peak_lr" in said
    assert read_log(tmp_path)[-1]["step"] == 8
    assert trainer(tmp_path).train(resume=True).steps == 12  # the checkpoint is a good one


def test_samples_do_not_change_the_training(tmp_path: Path) -> None:
    plain, sampled = trainer(tmp_path / "a"), trainer(tmp_path / "b", on_eval=_draws)
    plain.train()
    sampled.train()
    assert_same_weights(plain.model, sampled.model)
    assert numbers(plain.folder) == numbers(sampled.folder)
    assert sampled.model.training


def _draws(made: Trainer) -> None:
    torch.manual_seed(made.step)
    torch.rand(3)
    made.model.eval()


# ---- refusals ---------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_left_as_it_is(tmp_path: Path) -> None:
    trainer(tmp_path).train()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(CourseError, match=r"holds a training run already.*resume=True"):
        trainer(tmp_path).train()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "name"), [({"peak_lr": 2e-2}, "training.peak_lr"), ({"seed": 1}, "training.seed")]
)
def test_another_training_config_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    trainer(tmp_path).train()
    with pytest.raises(CourseError) as error:
        trainer(tmp_path, dataclasses.replace(CONFIG, **changes)).train(resume=True)
    old = getattr(CONFIG, name.split(".")[1])
    assert f"{name} differs: it was {old!r}" in str(error.value)


def test_another_model_or_text_is_refused_by_name(tmp_path: Path) -> None:
    trainer(tmp_path).train()
    train, held = text()
    wider = Llama(dataclasses.replace(SIZES, dim=48, head_dim=0))
    with pytest.raises(CourseError, match=r"model\.dim differs: it was 32 and is now 48"):
        Trainer(wider, train, held, CONFIG, tmp_path).train(resume=True)
    train = train.clone()
    train[7] = (train[7] + 1) % 16
    with pytest.raises(CourseError, match=r"data\.train differs"):
        Trainer(Llama(SIZES), train, held, CONFIG, tmp_path).train(resume=True)


def test_how_often_to_save_may_change(tmp_path: Path) -> None:
    trainer(tmp_path).train(max_seconds=0.0)
    changed = dataclasses.replace(CONFIG, save_every=1, keep=3)
    assert trainer(tmp_path, changed).train(resume=True).steps == 12
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_tokens_and_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train, held = text()
    with pytest.raises(CourseError, match=r"ids from 0 to 31, and the model's vocab_size is 16"):
        Trainer(Llama(SIZES), train + 16 * (train == 15), held, CONFIG, tmp_path)
    with pytest.raises(CourseError, match=r"is bfloat16.*load the model in float32"):
        Trainer(Llama(SIZES).bfloat16(), train, held, CONFIG, tmp_path)
    with pytest.raises(CourseError, match=r"8 tokens.*needs 9"):
        Trainer(Llama(SIZES), train[:8], held, CONFIG, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    (tmp_path / "checkpoints").write_text("in the way", encoding="utf-8")
    with pytest.raises(CourseError, match="step 4 could not be written"):
        made.train()


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(CourseError, match="Nothing can be written to"):
        trainer(tmp_path / "file" / "run").train()


def test_other_means_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(tmp_path).train(max_seconds=0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    trainer(tmp_path, progress="lines").train(resume=True)
    assert "threads 1 then, 2 now" in capsys.readouterr().out.splitlines()[0]


# ---- what is written and shown ----------------------------------------------------------------


def test_run_json_gives_the_configs_back(tmp_path: Path) -> None:
    trainer(tmp_path).train(max_seconds=0.0)
    assert read_run(tmp_path) == (SIZES, CONFIG)
    with pytest.raises(CourseError, match="holds no training run"):
        read_run(tmp_path / "elsewhere")
    (tmp_path / "run.json").write_text(json.dumps({"model": {}}), encoding="utf-8")
    with pytest.raises(CourseError, match="does not describe a training run"):
        read_run(tmp_path)


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    trainer(tmp_path, progress="auto").train()
    said = capsys.readouterr()
    assert said.err == "" and "\r" not in said.out
    assert "step 12 of 12  loss" in said.out and "tokens/s" in said.out
    assert said.out.count("validation loss") == 4


def test_a_live_bar_shows_loss_and_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, progress="bar").train()
    said = capsys.readouterr()
    assert "12/12" in said.err and "loss " in said.err and "tok/s" in said.err
    assert said.out.count("validation loss") == 4


def test_measuring_a_step_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model, same = Llama(SIZES), Llama(SIZES)
    same.load_state_dict(model.state_dict())
    assert seconds_per_step(model, CONFIG, repeats=2) > 0
    assert_same_weights(model, same)
    assert all(w.grad is None for w in model.parameters())
