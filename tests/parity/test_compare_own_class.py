"""A model class of one's own: right ones are equal to the reference, wrong ones are told why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from parity_samples import CONFIG, random_model, right_answers
from torch import nn

from llama_course import checks, mine
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Llama
from llama_course.parity import first_divergence
from llama_course.parity.caches import compare_caches

# As in lesson 09's exercise: epsilon and theta unlike every default.
ODD = dataclasses.replace(CONFIG, norm_eps=1e-4, rope_theta=500.0)


@pytest.fixture(scope="module")
def model() -> Llama:
    return random_model(ODD)


def source(name: str, *edits: str) -> str:
    """The published solution, with some of its text changed."""
    exercise = checks.find(name)
    text = exercise.solution
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    return exercise.setup + "\n" + text


def built(model: Llama, block: str = "", whole: str = "", **names: Any) -> nn.Module:
    """MyLlama with the reference's weights; `names` stand in for its functions."""
    namespace: dict[str, Any] = {}
    exec(compile(block or source("Block"), "<block>", "exec", dont_inherit=True), namespace)
    exec(compile(whole or source("MyLlama"), "<model>", "exec", dont_inherit=True), namespace)
    namespace.update(names)
    made = namespace["MyLlama"](model.config)
    state = dict(model.state_dict())
    state.setdefault("output.weight", model.tok_embeddings.weight)
    made.load_state_dict(state)
    return made.to(next(model.parameters()).dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "config",
    [
        ODD,
        dataclasses.replace(ODD, tie_embeddings=True, n_layers=1),
        ModelConfig(dim=24, n_layers=2, n_heads=3, hidden_dim=30, vocab_size=40, max_seq_len=7),
    ],
)
def test_the_published_solution_is_equal(config, dtype) -> None:
    model = random_model(config).to(dtype)
    parts = {name: getattr(mine, name) for name in ("rms_norm", "Cache", "decode_positions")}
    found = first_divergence(model, built(model), parts=parts)
    assert found.equal, found
    assert "MyLlama and its blocks" in " ".join(found.compared)


class Plain(nn.Module):
    """Written in another way: its own functions, keyword arguments, modules for norms, no cache."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)

    def forward(self, tokens):
        c, steps = self.config, torch.arange(tokens.shape[1])
        angles = steps[:, None] * c.rope_theta ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)
        see = torch.ones(len(steps), len(steps), dtype=torch.bool).tril()[None, None]
        x = self.tok_embeddings(tokens)
        for layer in self.layers:
            x = layer.forward(x, mask=see, cos=angles.cos()[None], sin=angles.sin()[None])
        return self.output(self.norm(x)).float()


class PlainBlock(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        linear = lambda a, b: nn.Linear(a, b, bias=False)  # noqa: E731
        q, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
        self.attention = nn.ModuleDict(
            {"wq": linear(c.dim, q), "wk": linear(c.dim, kv), "wv": linear(c.dim, kv),
             "wo": linear(q, c.dim)}
        )  # fmt: skip
        self.feed_forward = nn.ModuleDict(
            {"w1": linear(c.dim, c.hidden_dim), "w3": linear(c.dim, c.hidden_dim),
             "w2": linear(c.hidden_dim, c.dim)}
        )  # fmt: skip
        self.attention_norm = nn.RMSNorm(c.dim, c.norm_eps)
        self.ffn_norm = nn.RMSNorm(c.dim, c.norm_eps)

    def forward(self, x, cos, sin, mask):
        a, f, c = self.attention, self.feed_forward, self.c
        y = self.attention_norm(x)
        q, k, v = (a[n](y).unflatten(-1, (-1, c.head_dim)) for n in ("wq", "wk", "wv"))
        turn = torch.complex(cos, sin)[:, :, None]
        q, k = (
            torch.view_as_real(torch.view_as_complex(t.float().unflatten(-1, (-1, 2))) * turn)
            .flatten(-2)
            .to(x.dtype)
            for t in (q, k)
        )
        k, v = (t.repeat_interleave(c.n_heads // c.n_kv_heads, 2) for t in (k, v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / c.head_dim**0.5
        scores = scores.float().masked_fill(~mask, -1e30).softmax(-1).to(x.dtype)
        x = x + a["wo"](torch.einsum("bhqk,bkhd->bqhd", scores, v).flatten(-2))
        y = self.ffn_norm(x)
        return x + f["w2"](nn.functional.silu(f["w1"](y)) * f["w3"](y))


def test_a_class_written_otherwise_is_equal_too(model) -> None:
    made = Plain(model.config)
    made.load_state_dict(model.state_dict())
    assert first_divergence(model, made).equal
    made.layers[1].c = dataclasses.replace(model.config, head_dim=10, n_kv_heads=2)
    made.norm.eps = 1e-2
    assert first_divergence(model, made).first.component == "norm"


# Differences in a block, in the model, with a cache: (block's edits, model's edits, where, what).
PLANTED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {
    "tiled": (
        ("repeat_kv(k, n), repeat_kv(v, n)", "k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1)"), (),
        "layers.0", "tiled (0, 1, 0, 1)",
    ),
    "no final norm": (
        (), ("x = rms_norm(x, self.norm.weight, c.norm_eps)", "pass"), "norm", "last norm is left",
    ),
    "epsilon in the last norm": (
        (), ("self.norm.weight, c.norm_eps", "self.norm.weight, 1e-6"), "norm", "epsilon is 1e-06",
    ),
    "theta": (
        (), ("c.head_dim, c.rope_theta", "c.head_dim, 10000.0"), "the angles given to the blocks",
        "base theta is 10000 in place of 500",
    ),
    "scaled embedding": (
        (), ("self.tok_embeddings(tokens)", "self.tok_embeddings(tokens) * c.dim**0.5"),
        "tok_embeddings output", "6.9282 times",
    ),
    "one layer for all": (
        (), ("x = layer(x, cos", "x = self.layers[0](x, cos"), "layers.1", "weights are used again",
    ),
    "half of the layers": (
        (), ("in enumerate(self.layers)", "in enumerate(self.layers[:2])"), "layers.2", "left out",
    ),
    "backwards": (
        (), ("in enumerate(self.layers)", "in enumerate(reversed(self.layers))"), "layers.0",
        "reverse order",
    ),
    "tied": (
        (), ("return self.output(x).float()", "return (x @ self.tok_embeddings.weight.T).float()"),
        "output", "the head is tied",
    ),
    "positions begin at 0 again": (
        (), ("decode_positions(past, seq)[0]", "torch.arange(seq)"),
        "with a cache, at tokens 7 to 11, the angles given to the blocks", "begin at 0 again",
    ),
    "everything is seen": (
        (), ("mask = causal_mask(positions, keys)", "mask = causal_mask(positions + 99, keys)"),
        "the mask given to the blocks", "everything is shown",
    ),
    "one cache": (
        (), ("None if cache is None else cache[i]", "None if cache is None else cache[0]"),
        "with a cache, at tokens 1 to 6, layers.1", "same cache as layers.0",
    ),
    "no cache": (
        (), ("None if cache is None else cache[i]", "None"),
        "with a cache, at tokens 1 to 6, layers.0", "no cache",
    ),
    "keys cached unturned": (
        ("k = apply_rope(k, cos, sin).transpose(1, 2)", "k = k.transpose(1, 2)",
         "if cache is not None:", "if cache is None:\n"
         "            k = apply_rope(k.transpose(1, 2), cos, sin).transpose(1, 2)\n"
         "        else:"), (),
        "with a cache, at tokens 1 to 6, layers.0", "stored before they are turned",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_mistake_is_named_with_what_it_means(model, kind) -> None:
    block, whole, where, words = PLANTED[kind]
    made = built(model, source("Block", *block), source("MyLlama", *whole))
    found = first_divergence(model, made)
    assert found.first is not None and found.first.component == where, found
    assert words in str(found.first), found


def test_functions_are_compared_before_the_blocks_that_they_are_in(model) -> None:
    def wrong(x, w1, w2, w3):
        return mine.swiglu(x, w3, w2, w1)

    made = built(model, swiglu=wrong)
    assert first_divergence(model, made).first.component == "layers.0"
    found = first_divergence(model, made, parts={"swiglu": wrong, "rms_norm": mine.rms_norm})
    assert found.first.component == "layers.0.feed_forward (swiglu)"
    assert "gate and up" in found.first.meanings[0]


def test_a_cache_is_compared_by_itself(model) -> None:
    class Forgetful(mine.Cache):
        def append(self, k, v, lengths=None):
            super().append(k, v, lengths)
            self.keys[:, :, 0] = 0

    made = built(model, Cache=Forgetful)
    found = first_divergence(model, made, parts={"Cache": Forgetful})
    assert found.first.component == "Cache" and "after append 1, the keys" in found.first.words
    found = first_divergence(model, made)
    assert found.first.component == "with a cache, at tokens 1 to 6, layers.0"


def test_what_a_cache_promises_beyond_one_text() -> None:
    """MyLlama's rows are equally long; the cache's contract has more, and is compared by itself."""

    class Padded(mine.Cache):
        def append(self, k, v, lengths=None):
            super().append(k, v)

    class Shared(mine.Cache):
        kept = torch.zeros(2, 2, 7, 4)

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.keys = Shared.kept

    class Counting(mine.Cache):
        def append(self, k, v, lengths=None):
            before = self.length
            super().append(k, v, lengths)
            self.length = before.copy_(self.length)

    class Full(mine.Cache):
        def append(self, k, v, lengths=None):
            try:
                super().append(k, v, lengths)
            except ValueError as error:
                raise RuntimeError("full") from error

    for cache, words in (
        (Padded, "after append 3, the length"),
        (Shared, "after an append to another cache, the keys"),
        (Counting, "append 1, of 2 tokens of lengths (2, 2): stored, and a length"),
        (Full, "an append that is one too many for a row: it raised RuntimeError"),
    ):
        (found,) = compare_caches({"Cache": cache}, torch.float32)
        assert words in found.words, found
    assert compare_caches({"Cache": mine.Cache}, torch.bfloat16) == []

    def moved(length, n):
        length += n
        return mine.decode_positions(length - n, n)

    (found,) = compare_caches({"decode_positions": moved}, torch.float32)
    assert "the lengths that it was given, (0, 0), afterwards" in found.words


def right_parts() -> list[Any]:
    """Every right answer that the exercises' own tests have, for the cache and its positions."""
    return [
        pytest.param(exercise, form, id=f"{exercise.name}-{i}")
        for exercise in map(checks.load, ("cache", "decode_positions"))
        for i, form in enumerate(right_answers(exercise))
    ]


@pytest.mark.parametrize(("exercise", "form"), right_parts())
def test_right_parts_are_never_a_difference(exercise, form) -> None:
    text = form if isinstance(form, str) else exercise.text_of(form)
    loaded = exercise.load(exercise.solution + "\n\n" + text, module="answer")
    for dtype in (torch.float32, torch.bfloat16):
        assert compare_caches({n: loaded[n] for n in exercise.parts}, dtype) == []


def test_a_weight_of_another_shape_is_told(model) -> None:
    made = built(model)
    made.layers[0].attention.wk.weight = nn.Parameter(model.layers[0].attention.wk.weight.mT)
    found = first_divergence(model, made).first
    assert found.component == "layers.0.attention.wk weight" and "shape" in found.words
    assert found.meanings == ("What fits: it is transposed; a weight is stored as (out, in).",)


def test_what_is_raised_is_told_with_its_place(model) -> None:
    text = source("Block").replace("part = self.feed_forward", "part = self.feed_backward")
    found = first_divergence(model, built(model, text)).first
    assert found.component == "layers.0" and "AttributeError" in found.words
    text = source("MyLlama").replace("c.head_dim", "c.head_dimension")
    found = first_divergence(model, built(model, whole=text)).first
    assert found.component == "MyLlama.forward" and "AttributeError" in found.words


def test_weights_that_were_filled_wrongly_are_told_first(model) -> None:
    made = built(model)
    with torch.no_grad():
        made.layers[1].attention.wk.weight.zero_()
    found = first_divergence(model, made)
    assert found.first.component == "layers.1.attention.wk weight"


def test_low_precision_positions_show_in_a_long_text() -> None:
    model = random_model(ODD).to(torch.bfloat16)
    edits = ("rope_angles(positions, c", "rope_angles(positions.to(x.dtype).long(), c")
    text = source("MyLlama", *edits).replace(
        "cos, sin = rope", "x = self.output.weight\n        cos, sin = rope"
    )
    found = first_divergence(model, built(model, whole=text)).first
    assert found.component == "in a text of 1100 tokens, the angles given to the blocks"
    assert "rounded to bfloat16" in found.meanings[0]


def test_the_class_is_left_as_it_was(model) -> None:
    made = built(model)
    first_divergence(model, made)
    assert all("forward" not in vars(layer) for layer in made.layers)
    state = made.state_dict()
    assert all(torch.equal(state[n], w) for n, w in model.state_dict().items())


def test_a_class_of_ones_own_is_no_reference(model) -> None:
    with pytest.raises(CourseError, match="reference A must be"):
        first_divergence(built(model), model)
    with pytest.raises(CourseError, match="no parameter tok_embeddings"):
        first_divergence(model, _WithConfig(model.config))


class _WithConfig(nn.Linear):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(2, 2)
        self.config = config
