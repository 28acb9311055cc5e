"""A model class of one's own generates what the library generates, from every format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import nn

from llama_course import checks, mine
from llama_course.checkpoints import load, save
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.generation import generate, generate_ids
from llama_course.model import Llama
from llama_course.workbook import my_llama

TOLERANCE = 1e-5  # of the logits' scale: float32 rounding of the same formula, written otherwise


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A my_llama with the published solution of every part that a model computes with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_COURSE_HOME", str(tmp_path_factory.mktemp("kept")))
        my_llama.folder().mkdir()
        for name in mine.NAMES:
            exercise = checks.find(name)
            text = exercise.setup + "\n" + exercise.solution
            if name == "MyLlama":
                text = "from llama_course.mine import Block\n" + text
            (my_llama.folder() / f"{name}.py").write_text(text, encoding="utf-8")
        found = mine.MyLlama
        assert my_llama.used_by("MyLlama").yours == mine.NAMES, "nothing of it is the library's"
    yield found


def cache_class(own: Any) -> Any:
    """The class that `new_cache` of a kept MyLlama makes."""
    return vars(own)["new_cache"].__globals__["Cache"]


def random_model(**fields: Any) -> Llama:
    """Weights with which scores are far apart; 12 heads of 8 on 2 key heads, 6 heads to each."""
    config = ModelConfig(
        **{
            "dim": 64, "n_layers": 2, "n_heads": 12, "n_kv_heads": 2, "head_dim": 8,
            "hidden_dim": 80, "vocab_size": 150, "norm_eps": 1e-3, "rope_theta": 700.0,
            "max_seq_len": 256, **fields,
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


FOLDERS: dict[str, dict[str, Any]] = {
    "meta": {"head_dim": 0, "dim": 96},
    "huggingface": {},
    "huggingface, tied": {"tie_embeddings": True},
    "llama2c": {"head_dim": 0, "dim": 96},
    "llama2c, tied": {"head_dim": 0, "dim": 96, "tie_embeddings": True},
}
# What a format cannot say is said to `load`.
SAID = {"max_seq_len": 256, "norm_eps": 1e-3, "rope_theta": 700.0}
SILENT = {"meta": ("max_seq_len",), "llama2c": ("norm_eps", "rope_theta"), "huggingface": ()}


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Without the shape checks, which take longer here than the hundreds of steps themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("kind", FOLDERS)
def test_it_gives_the_librarys_logits_and_200_greedy_tokens(kind, own, tmp_path) -> None:
    format = kind.split(",")[0]
    save(random_model(**FOLDERS[kind]), tmp_path / "it", format=format, drop=SILENT[format])
    kept, _ = load(tmp_path / "it", build=own, **SAID)
    theirs, _ = load(tmp_path / "it", **SAID)
    assert type(kept) is own and type(theirs) is Llama
    c = kept.config
    assert c == theirs.config and (c.norm_eps, c.rope_theta) == (1e-3, 700.0)
    assert c.n_kv_heads != c.n_heads and c.n_heads // c.n_kv_heads != c.n_kv_heads
    head, embedding = kept.output.weight, kept.tok_embeddings.weight
    assert (head.data_ptr() == embedding.data_ptr()) == c.tie_embeddings == ("tied" in kind)

    tokens = torch.randint(c.vocab_size, (2, 40))
    with torch.no_grad():
        a, b = theirs(tokens), kept(tokens)
    assert a.dtype is b.dtype is head.dtype is torch.float32
    assert (a - b).abs().max() <= TOLERANCE * a.abs().max()

    prompts, caches = [[1, 5, 9], [2, 7, 3]], []
    make = kept.new_cache
    kept.new_cache = lambda *sizes: caches.append(make(*sizes)) or caches[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one that is without a cache is told
        ours = list(generate_ids(kept, prompts, 200, temperature=0))
    assert ours == list(generate_ids(theirs, prompts, 200, temperature=0))
    assert len(ours) == 200
    # Its own cache has been filled, layer by layer: the prompt, and all new tokens but the last.
    assert len(caches) == 1 and len(caches[0]) == c.n_layers
    assert cache_class(own) is not mine.library("Cache")
    for cache in caches[0]:
        assert type(cache) is cache_class(own) and cache.length.tolist() == [202, 202]


def test_what_tells_the_two_apart_would_be_seen(own, tmp_path) -> None:
    """The tolerance is narrow and the texts are long enough to show a small mistake."""
    save(random_model(), tmp_path / "it")
    theirs, _ = load(tmp_path / "it")
    tokens, scores = torch.randint(150, (2, 40)), []
    for fields in ({}, {"norm_eps": 1.1e-3}, {"rope_theta": 710.0}):
        model, _ = load(tmp_path / "it", build=own, **fields)
        with torch.no_grad():
            scores.append(model(tokens))
    with torch.no_grad():
        right = theirs(tokens)
    off = [((right - s).abs().max() / right.abs().max()).item() for s in scores]
    assert off[0] <= TOLERANCE and min(off[1:]) > 10 * TOLERANCE, off


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
