"""A small model with one part made wrongly, and whether its logits are those of the right one.

The model: 2 layers, 6 heads of 10 on 2 key heads (so that heads, key heads, heads to a key head and
dim / heads are all different), epsilon and theta far from every default, a small stream, so that
epsilon counts. It reads two rows of unequal length, packed documents with padding, a text in pieces
with a cache, and a text that begins at position 1,500.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import sys
from typing import Any

import torch
from torch import Tensor, nn

from llama_course import checks, mine
from llama_course.checkpoints.huggingface import huggingface_to_meta_rows
from llama_course.checks.exercise import Exercise, Mistake
from llama_course.config import ModelConfig
from llama_course.model import Components, KVCache, Llama
from llama_course.parity import Comparison, first_divergence

CONFIG = ModelConfig(
    dim=48,
    n_layers=2,
    n_heads=6,
    n_kv_heads=2,
    head_dim=10,
    hidden_dim=70,
    vocab_size=97,
    norm_eps=3e-5,
    rope_theta=300.0,
)
FUNCTIONS = tuple(field.name for field in dataclasses.fields(Components))
PIECES = ("Cache", "decode_positions", "cached_attention", "Block", "MyLlama")
PLUGGABLE = (*FUNCTIONS, *PIECES, "permute_qk")
MOVES, SAME, RAISES = "M", "-", "R"


def pluggable() -> list[Exercise]:
    """The exercises with a part that a model computes with."""
    return [e for e in checks.everything() if set(e.parts) & set(PLUGGABLE)]


@functools.cache
def weights(dtype: torch.dtype) -> dict[str, Tensor]:
    """Random weights with which every part moves the logits."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, like in Llama(CONFIG).state_dict().items():
        weight = torch.randn(like.shape, generator=generator)
        if weight.ndim == 1:
            weight = 1 + 0.3 * weight
        else:
            small = name.startswith("tok") or name.split(".")[-2] in ("wo", "w2")
            weight *= 0.005 if small else 0.2
        made[name] = weight.to(dtype)
    return made


def library(dtype: torch.dtype, functions: Components | None = None) -> Llama:
    """The library's model, with other functions where some are given."""
    with torch.device("meta"):
        model = Llama(CONFIG, functions)
    return _filled(model, dtype)


def _filled(model: nn.Module, dtype: torch.dtype) -> Any:
    """A model on meta with copies of the weights: a wrong answer may write to them."""
    model.load_state_dict({n: w.clone() for n, w in weights(dtype).items()}, assign=True)
    return model.eval()


def right_parts() -> dict[str, Any]:
    """A namespace with everything that MyLlama is made of, as the solutions have it."""
    namespace: dict[str, Any] = {"__name__": "answer"}
    for name in (*FUNCTIONS, "Cache", "decode_positions"):
        namespace[name] = mine.library(name)
    return namespace


def own_class(dtype: torch.dtype, text: str, exercise: Exercise) -> nn.Module:
    """MyLlama of the solutions, with the parts of an exercise as `text` has them."""
    namespace = right_parts()
    for name in ("Block", "MyLlama"):
        each = checks.find(name)
        solution = each.solution
        if name == "Block" and "cached_attention" in exercise.parts:
            solution = _with_cached_attention(solution)
        _run(each, solution, namespace)
    kept = {name: value for name, value in namespace.items() if name not in exercise.parts}
    _run(exercise, text, namespace, kept)
    with torch.device("meta"):
        model = namespace["MyLlama"](CONFIG)
    return _filled(model, dtype)


PROJECTED = "v = part.wv(x).unflatten(-1, heads)\n"


def _with_cached_attention(block: str) -> str:
    """The solution's Block, whose attention with a cache is the learner's function."""
    assert block.count(PROJECTED) == 1, "the Block's solution has changed: mend PROJECTED"
    return block.replace(
        PROJECTED,
        PROJECTED + "        if cache is not None:\n"
        "            out = cached_attention(q, k, v, cos, sin, cache)\n"
        "            return part.wo(out.flatten(-2))\n",
    )


def _run(
    exercise: Exercise, text: str, namespace: dict[str, Any], keep: dict[str, Any] | None = None
) -> None:
    """Run an exercise's setup and a text in a namespace; what is in `keep` stays what it is."""
    before = dict(namespace) if keep is None else keep
    exec(compile(exercise.setup, "<setup>", "exec", dont_inherit=True), namespace)
    namespace.update(before)
    exec(compile(text, "<answer>", "exec", dont_inherit=True), namespace)


# ---- a wrong model -------------------------------------------------------------------------------


def model_of(exercise: Exercise, text: str, dtype: torch.dtype) -> nn.Module:
    """The model in which an exercise's parts are as `text` has them."""
    parts = set(exercise.parts)
    if "permute_qk" in parts:
        return _written(exercise, text, dtype)
    functions = parts & set(FUNCTIONS)
    if functions:
        loaded = exercise.load(text, module="answer")
        # The library's others, with a learner's arguments: its own take fewer heads as well.
        plain = {name: mine.library(name) for name in FUNCTIONS}
        return library(dtype, Components(**{**plain, **{name: loaded[name] for name in functions}}))
    return own_class(dtype, text, exercise)


def _written(exercise: Exercise, text: str, dtype: torch.dtype) -> Llama:
    """A checkpoint whose q and k an exporter has permuted so, read as Hugging Face's."""
    permute = exercise.load(text, module="answer")["permute_qk"]
    model = library(dtype)
    state = model.state_dict()
    for name, weight in state.items():
        heads = {"wq": CONFIG.n_heads, "wk": CONFIG.n_kv_heads}.get(name.split(".")[-2])
        if heads:
            written = permute(weight.clone(), heads)
            if written.shape != weight.shape:
                raise ValueError(f"{name} would be written with shape {tuple(written.shape)}")
            state[name] = huggingface_to_meta_rows(written, heads)
    model.load_state_dict(state)
    return model


# ---- its logits ----------------------------------------------------------------------------------


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Everything that the model says of real tokens, in one row."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(CONFIG.vocab_size, (2, 9), generator=generator)
    out = _of_library(model, tokens) if isinstance(model, Llama) else _of_own(model, tokens)
    return torch.cat([part.flatten() for part in out])


def _of_library(model: Llama, tokens: Tensor) -> list[Tensor]:
    documents = torch.tensor([[0] * 4 + [1] * 5, [5] * 7 + [-1] * 2])
    far = torch.arange(9) + 1500
    padded = model(tokens, lengths=[9, 5])
    out = [padded[0], padded[1, :5], model(tokens, documents=documents)[documents >= 0]]
    out += [model(tokens, positions=far), model(tokens[:1])]
    cache = model.new_cache(2, 12)
    assert isinstance(cache, KVCache)
    for start, stop, new in ((0, 5, [5, 3]), (5, 6, None), (6, 9, [3, 1]), (8, 9, [1, 1])):
        out.append(model(tokens[:, start:stop], cache=cache, lengths=new, logits="last"))
    return out


def _of_own(model: Any, tokens: Tensor) -> list[Tensor]:
    out = [model(tokens), model(tokens[:1]), model(tokens.repeat(1, 60)[:1, :520])[:, -20:]]
    for cuts in ((0, 5, 6, 9), (0, 1, 2, 3)):
        cache = model.new_cache(2, 12)
        for start, stop in itertools.pairwise(cuts):
            out.append(model(tokens[:, start:stop], cache=cache))
    return out


@functools.cache
def right_logits(name: str, dtype: torch.dtype) -> Tensor:
    """Those of the exercise's solution."""
    exercise = checks.load(name)
    return logits(model_of(exercise, exercise.solution, dtype))


def outcome(exercise: Exercise, mistake: Mistake, dtype: torch.dtype) -> str:
    """Whether a mistake, in its first form, moves the logits in this dtype, or raises.

    In float32 a move is more than 1e-5 of the logits' scale, which is what two right ways differ
    by; in bfloat16 it is any other bit, since the mistake is an edit of the very solution.
    """
    text = exercise.text_of(mistake.forms[0])
    try:
        one, other = right_logits(exercise.name, dtype), logits(model_of(exercise, text, dtype))
        if one.shape != other.shape or one.dtype != other.dtype:
            return RAISES  # it gives something else altogether
    except Exception:
        return RAISES
    if dtype is torch.bfloat16:
        return SAME if torch.equal(one, other) else MOVES
    off = (one - other).abs().nan_to_num(float("inf")).max()
    return MOVES if off > 1e-5 * one.abs().max() else SAME


def compared(exercise: Exercise, mistake: Mistake, dtype: torch.dtype) -> Comparison | None:
    """What `compare` says of it; None where there is not even a model to compare."""
    text = exercise.text_of(mistake.forms[0])
    try:
        wrong = model_of(exercise, text, dtype)
    except Exception:
        return None
    parts: dict[str, Any] | None = None
    if set(exercise.parts) & {"Cache", "decode_positions"}:
        made = exercise.load(text, module="answer")
        parts = {name: made[name] for name in exercise.parts}
    return first_divergence(library(dtype), wrong, dtype=dtype, parts=parts)


def names_the_part(exercise: Exercise, found: Comparison) -> bool:
    """Whether the first difference is the part that the exercise is about."""
    assert found.first is not None
    where = found.first.component
    if "permute_qk" in exercise.parts:
        return where.endswith(("wq weight", "wk weight"))
    if {"Block", "cached_attention"} & set(exercise.parts):
        return "layers." in where
    if "MyLlama" in exercise.parts:
        return not where.endswith("weight")
    return any(part in where for part in exercise.parts)


def results(exercise: Exercise) -> dict[str, dict[str, str]]:
    """For each mistake and dtype: M, - or R; and what compare names first where it is not -."""
    found = {}
    for mistake in exercise.mistakes:
        said = {}
        for name in ("float32", "bfloat16"):
            dtype = getattr(torch, name)
            said[name] = outcome(exercise, mistake, dtype)
            comparison = None if said[name] == SAME else compared(exercise, mistake, dtype)
            if comparison is None:
                said[f"{name} compare"] = ""
            elif comparison.first is None:
                said[f"{name} compare"] = "no difference"
            elif not names_the_part(exercise, comparison):
                said[f"{name} compare"] = f"names {comparison.first.component}"
        found[mistake.name] = said
    return found


if __name__ == "__main__":  # a child process, in which no shapes are checked
    torch.set_num_threads(1)
    print(json.dumps({name: results(checks.load(name)) for name in sys.argv[1:]}))
