"""A model class of one's own generates what the library generates, from every format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from llama_course import checks, mine
from llama_course.checkpoints import load, save
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.generation import generate, generate_ids
from llama_course.model import Llama

TOLERANCE = 1e-5  # of the logits' scale: float32 rounding of the same formula, written otherwise


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def own() -> Any:
    """The published solutions of lesson 09, from the plain parts of the library."""
    namespace: dict[str, Any] = {}
    for name in ("Block", "MyLlama"):
        exercise = checks.find(name)
        for text in (exercise.setup, exercise.solution):
            exec(compile(text, f"<{name}>", "exec", dont_inherit=True), namespace)
    return namespace["MyLlama"]


def random_model(**fields: Any) -> Llama:
    """Weights with which scores are far apart; 12 heads of 8 on 2 key heads, 6 heads to each."""
    config = ModelConfig(
        **{
            "dim": 64, "n_layers": 2, "n_heads": 12, "n_kv_heads": 2, "head_dim": 8,
            "hidden_dim": 80, "vocab_size": 150, "norm_eps": 1e-5, "max_seq_len": 256, **fields,
        }
    )  # fmt: skip
    model = Llama(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=generator)
            if weight.ndim == 1:
                weight.add_(1.0)
    return model.eval()


FOLDERS = {
    "meta": {"head_dim": 0, "dim": 96, "max_seq_len": 256},
    "huggingface": {},
    "huggingface, tied": {"tie_embeddings": True},
    "llama2c": {"head_dim": 0, "dim": 96},
    "llama2c, tied": {"head_dim": 0, "dim": 96, "tie_embeddings": True},
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_it_gives_the_librarys_logits_and_200_greedy_tokens(kind, own, tmp_path) -> None:
    model = random_model(**FOLDERS[kind])
    format = kind.split(",")[0]
    save(model, tmp_path / "it", format=format, drop=("max_seq_len",) if format == "meta" else ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a format does not say is assumed
        mine_, _ = load(tmp_path / "it", build=own, max_seq_len=256)
        theirs, _ = load(tmp_path / "it", max_seq_len=256)
    assert type(mine_) is own
    c = mine_.config
    assert c.n_kv_heads != c.n_heads and c.n_heads // c.n_kv_heads != c.n_kv_heads
    assert mine_.output.weight.data_ptr() == mine_.tok_embeddings.weight.data_ptr() or (
        "tied" not in kind
    )
    tokens = torch.randint(c.vocab_size, (2, 40))
    with torch.no_grad():
        a, b = theirs(tokens), mine_(tokens)
    assert (a - b).abs().max() <= TOLERANCE * a.abs().max()
    prompts = [[1, 5, 9], [2, 7, 3]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has a cache, and it is used
        ours = list(generate_ids(mine_, prompts, 200, temperature=0))
    assert ours == list(generate_ids(theirs, prompts, 200, temperature=0))
    assert len(ours) == 200


def test_in_bfloat16_too(own, tmp_path) -> None:
    save(random_model().to(torch.bfloat16), tmp_path / "it")
    model, _ = load(tmp_path / "it", build=own)
    cache = model.new_cache(1, 8)
    assert cache[0].keys.dtype is torch.bfloat16
    assert len(list(generate_ids(model, [[1, 2]], 5, temperature=0))) == 5


def test_weights_that_are_tied_are_saved_once(own, tmp_path) -> None:
    from safetensors.torch import load_file

    save(random_model(tie_embeddings=True), tmp_path / "a")
    model, _ = load(tmp_path / "a", build=own)
    save(model, tmp_path / "b")
    assert "lm_head.weight" not in load_file(tmp_path / "b" / "model.safetensors")


# ---- classes that know less ----------------------------------------------------------------------


class Bare(nn.Module):
    """A library model inside, and of its abilities only those that a test gives it."""

    def __init__(self, model: Llama) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, tokens):
        return self.model(tokens)


class WithCache(Bare):
    def new_cache(self, batch_size, max_seq_len):
        return self.model.new_cache(batch_size, max_seq_len)

    def forward(self, tokens, *, cache=None):
        return self.model(tokens, cache=cache)


class WithLengths(Bare):
    def forward(self, tokens, lengths=None):
        return self.model(tokens, lengths=lengths)


class WithAll(WithCache):
    def forward(self, tokens, **keywords):
        return self.model(tokens, **keywords)


EVEN, UNEVEN = [[1, 5, 9], [2, 7, 3]], [[1, 5, 9, 4], [2]]


@pytest.mark.parametrize("kind", [Bare, WithCache, WithLengths, WithAll])
@pytest.mark.filterwarnings("ignore:.*whole text is read again")
def test_every_class_generates_what_the_library_does(kind) -> None:
    model = random_model()
    for prompts in (EVEN, UNEVEN) if kind in (WithLengths, WithAll) else (EVEN,):
        wanted = list(generate_ids(model, prompts, 30, temperature=0))
        assert list(generate_ids(kind(model), prompts, 30, temperature=0)) == wanted
        stop = wanted[4][0]
        ended = list(generate_ids(model, prompts, 30, temperature=0, stop_ids=[stop]))
        assert list(generate_ids(kind(model), prompts, 30, temperature=0, stop_ids=[stop])) == ended


@pytest.mark.parametrize("kind", [Bare, WithCache])
def test_rows_of_unequal_length_need_lengths(kind) -> None:
    with pytest.raises(CourseError, match=r"1 to 4 tokens, and \w+.forward takes no `lengths`"):
        generate_ids(kind(random_model()), UNEVEN, 5)


def test_without_a_cache_it_is_said_once() -> None:
    with pytest.warns(UserWarning, match="Bare has no new_cache.*read again") as told:
        list(generate_ids(Bare(random_model()), EVEN, 6))
    assert len(told) == 1


def test_a_cache_that_does_not_fit_is_refused_for_ones_own_class(monkeypatch) -> None:
    import importlib

    module = importlib.import_module("llama_course.generation.generate")
    monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    with pytest.raises(CourseError, match="GB are free on cpu"):
        generate_ids(WithCache(random_model()), EVEN, 10)


class Gives(WithCache):
    """Returns what a test wants of the right logits."""

    change: Any = None

    def forward(self, tokens, *, cache=None):
        return type(self).change(self.model(tokens, cache=cache))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, -1], r"shape \(2, 3, 150\) .* found shape \(2, 150\)"),
        (lambda x: x[..., :10], r"found shape \(2, 3, 10\)"),
        (lambda x: x.bfloat16(), r"in torch.float32; found torch.bfloat16"),
        (lambda x: (x, None), "found a tuple"),
    ],
)
def test_logits_that_are_not_what_they_must_be(change, words) -> None:
    kind = type("Gives", (Gives,), {"change": staticmethod(change)})
    with pytest.raises(CourseError, match=f"Gives .*{words}") as told:
        next(generate_ids(kind(random_model()), EVEN, 3))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_scores_that_are_no_numbers(value) -> None:
    kind = type("Gives", (Gives,), {"change": staticmethod(lambda x: x.fill_(value))})
    with pytest.raises(CourseError, match="scores are not all finite numbers"):
        next(generate_ids(kind(random_model()), EVEN, 3, temperature=0))


def test_a_class_that_forgot_its_config_or_has_no_weights() -> None:
    model = Bare(random_model())
    del model.config
    with pytest.raises(CourseError, match="Bare has no `config`"):
        generate_ids(model, EVEN)
    empty = Bare(random_model())
    empty.model = nn.Identity()
    with pytest.raises(CourseError, match="no parameters"):
        generate_ids(empty, EVEN)


def test_the_librarys_cache_has_the_models_dtype() -> None:
    cache = random_model().to(torch.bfloat16).new_cache(3, 17)
    assert cache.keys[0].dtype is torch.bfloat16 and cache.keys[0].shape[0] == 3
    assert cache.max_seq_len == 17 and random_model().new_cache().max_seq_len == 256


def test_generate_streams_text_from_ones_own_class(own) -> None:
    from llama_course.toy import load_toy

    theirs, tokenizer = load_toy()
    model, _ = load_toy(build=own)
    text = "".join(generate(model, tokenizer, "ROMEO:", 40, temperature=0))
    assert text == "".join(generate(theirs, tokenizer, "ROMEO:", 40, temperature=0))
    assert mine.whose().yours == ()
