"""Generation: the same tokens as a forward over everything, in one row or many, as a stream."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from llama_course.config import ModelConfig, RopeScaling
from llama_course.errors import CourseError
from llama_course.generation import generate, generate_ids
from llama_course.generation.stopping import StopFilter
from llama_course.model import Llama
from llama_course.tokenizers import SentencePieceTokenizer, train_sentencepiece

TEXT = """The miller's daughter counted 12 sacks, and the grey mule waited by the river.
  Naïve crows — “three of them” — watched; 345 grains fell. 水は川へ、川は海へ。
"""


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return train_sentencepiece([TEXT * 20], vocab_size=360)


@pytest.fixture(scope="module")
def model(tokenizer: SentencePieceTokenizer) -> Llama:
    torch.manual_seed(0)
    config = ModelConfig(
        dim=48,
        n_layers=2,
        n_heads=6,
        n_kv_heads=2,
        vocab_size=tokenizer.vocab_size,
        max_seq_len=96,
    )
    model = Llama(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.25)  # scores far apart: no near ties between paths
    return model.eval()


@torch.no_grad()
def greedy_by_hand(model: Llama, ids: list[int], n: int) -> list[int]:
    """The slow way: a whole forward for every token, no cache."""
    ids = list(ids)
    for _ in range(n):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[-n:]


def test_greedy_equals_a_forward_over_everything(model, tokenizer) -> None:
    ids = tokenizer.encode("The grey mule", bos=True)
    steps = [row[0] for row in generate_ids(model, [ids], 40, temperature=0)]
    assert steps == greedy_by_hand(model, ids, 40)


def test_greedy_equals_transformers(model, tokenizer) -> None:
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
    from peers import transformers_twin

    ids = tokenizer.encode("The crows", bos=True)
    ours = [row[0] for row in generate_ids(model, [ids], 40, temperature=0)]
    theirs = transformers_twin(model).generate(
        torch.tensor([ids]), max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert ours == theirs[0, len(ids) :].tolist()


def test_rows_of_unequal_length_give_what_each_gives_alone(model, tokenizer) -> None:
    prompts = ["The", "Naïve crows watched the river", "", "345 grains"]
    alone = ["".join(generate(model, tokenizer, p, 30, temperature=0)) for p in prompts]
    steps = list(generate(model, tokenizer, prompts, 30, temperature=0))
    assert all(len(step) == 4 for step in steps)
    assert ["".join(step[i] for step in steps) for i in range(4)] == alone


def test_the_stream_is_the_decoded_text(model, tokenizer) -> None:
    ids = tokenizer.encode("水", bos=True)
    for seed in range(5):
        tokens = [
            r[0] for r in generate_ids(model, [ids], 60, temperature=1.5, top_p=None, seed=seed)
        ]
        pieces = list(generate(model, tokenizer, ids, 60, temperature=1.5, top_p=None, seed=seed))
        end = tokens.index(tokenizer.eos_id) if tokenizer.eos_id in tokens else len(tokens)
        whole = tokenizer.decode(ids + tokens[:end])
        assert "水" + "".join(pieces) == whole
        assert all(pieces)  # a single prompt yields no empty pieces


def test_a_string_gets_bos_and_a_list_is_used_as_it_is(model, tokenizer) -> None:
    text = lambda prompt: "".join(generate(model, tokenizer, prompt, 20, temperature=0))  # noqa: E731
    with_bos = tokenizer.encode("The river", bos=True)
    assert text("The river") == text(with_bos)
    assert text("The river") != text(tokenizer.encode("The river"))


def test_the_seed_fixes_the_text(model, tokenizer) -> None:
    text = lambda seed: "".join(generate(model, tokenizer, "The", 30, temperature=1.0, seed=seed))  # noqa: E731
    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_generation_ends_at_eos_and_does_not_show_it(model, tokenizer) -> None:
    ids = tokenizer.encode("The river", bos=True)
    tokens = greedy_by_hand(model, ids, 12)
    at = tokens[7]
    first = tokens.index(at)
    steps = list(generate_ids(model, [ids], 12, temperature=0, stop_ids=[at]))
    assert [row[0] for row in steps] == [*tokens[:first], None]

    class Ends(SentencePieceTokenizer):
        eos_id = at  # the same tokenizer, with another end token

    other = object.__new__(Ends)
    other.__dict__.update({k: v for k, v in vars(tokenizer).items() if k != "eos_id"})
    text = "".join(generate(model, other, ids, 12, temperature=0))
    prompt = tokenizer.decode(ids)
    assert prompt + text == tokenizer.decode(ids + tokens[:first])


def test_an_ended_row_changes_nothing_in_the_others(model, tokenizer) -> None:
    rows = [tokenizer.encode(t, bos=True) for t in ("The", "Naïve crows watched")]
    alone = greedy_by_hand(model, rows[1], 25)
    first = greedy_by_hand(model, rows[0], 25)
    stop = next(t for t in first if t not in alone)
    steps = list(generate_ids(model, rows, 25, temperature=0, stop_ids=[stop]))
    assert [row[1] for row in steps] == alone
    ended = first.index(stop)
    assert [row[0] for row in steps] == first[:ended] + [None] * (25 - ended)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_generation_ends_before_a_stop_string(model, tokenizer, length) -> None:
    whole = "".join(generate(model, tokenizer, "The", 40, temperature=0))
    stop = whole[10 : 10 + length]
    text = "".join(generate(model, tokenizer, "The", 40, temperature=0, stop=[stop, "never there"]))
    assert text == whole[: whole.index(stop)]
    as_string = "".join(generate(model, tokenizer, "The", 40, temperature=0, stop=stop))
    assert as_string == text


def test_stop_strings_end_only_their_own_row(model, tokenizer) -> None:
    prompts = ["The", "Naïve crows"]
    whole = ["".join(generate(model, tokenizer, p, 30, temperature=0)) for p in prompts]
    stop = next(w for w in (whole[0][i : i + 3] for i in range(5, 60)) if w not in whole[1])
    steps = list(generate(model, tokenizer, prompts, 30, temperature=0, stop=[stop]))
    text = ["".join(step[i] for step in steps) for i in range(2)]
    assert text == [whole[0][: whole[0].index(stop)], whole[1]]


def test_the_stop_filter_against_every_way_to_cut_a_text() -> None:
    text, stop = "aab aaab aaa-aab-end", ["aab-", "b aaaX"]
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            kept = StopFilter(stop)
            out = [kept.push(t) for t in (text[:first], text[first:second], text[second:])]
            assert "".join(out) + kept.finish() == "aab aaab aaa-"
            assert kept.stopped


def test_the_context_ends_generation_and_says_so(model, tokenizer) -> None:
    ids = [tokenizer.bos_id] + [5] * 89
    with pytest.warns(UserWarning, match=r"Only 6 new tokens fit behind the prompt's 90"):
        steps = list(generate_ids(model, [ids], 50, temperature=0))
    assert len(steps) == 6


def test_dynamic_scaling_beyond_its_length_is_announced(model, tokenizer) -> None:
    scaling = RopeScaling("dynamic", 2.0, 16)
    other = Llama(dataclasses.replace(model.config, rope_scaling=scaling))
    with pytest.warns(UserWarning, match="Dynamic NTK scaling beyond 16 tokens"):
        list(generate_ids(other, [[1, 2, 3]], 20))


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ([], {}, "prompt is empty"),
        ([[1, 2], []], {}, "prompt is empty"),
        ([1, 99_999], {}, "token id 99999, but this model knows 0 to 359"),
        ([5] * 96, {}, "96 tokens, and the model's context of 96"),
        ("The", {"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ("The", {"temperature": -0.1}, "temperature must be"),
        ("The", {"top_p": 2.0}, "top_p must be"),
    ],
)
def test_what_cannot_be_is_refused_at_once(model, tokenizer, prompt, settings, words) -> None:
    with pytest.raises(CourseError, match=words):
        generate(model, tokenizer, prompt, **settings)  # not at the first piece


def test_a_cache_that_does_not_fit_is_refused(model, tokenizer, monkeypatch) -> None:
    import importlib

    module = importlib.import_module("llama_course.generation.generate")
    monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    with pytest.raises(CourseError, match="GB are free on cpu"):
        generate(model, tokenizer, "The", 10)
