"""Functions that differ are found where they are called, with what fits; right ones never are."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from parity_samples import CONFIG, random_model, twin

from llama_course import checks, mine
from llama_course.config import RopeScaling
from llama_course.model import Components, Llama, apply_rope, attention, causal_mask, rope_angles
from llama_course.parity import first_divergence

DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(scope="module")
def model() -> Llama:
    return random_model()


def norm(eps_of, dtype=torch.float32):
    def rms_norm(x, weight, eps):
        wide = x.to(dtype)
        root = torch.sqrt(wide.square().mean(-1, keepdim=True) + eps_of(eps))
        return (wide / root).to(x.dtype) * weight

    return rms_norm


def scaled(scale):
    def wrong(q, k, v, mask):
        return attention(q * scale * q.shape[-1] ** 0.5, k, v, mask)

    return wrong


def half_split(x, cos, sin):
    a, b = x.float().chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


PLANTED: dict[str, tuple[str, Any, str, str]] = {
    "another epsilon": (
        "rms_norm", norm(lambda e: 1e-6), "layers.0.attention_norm", "epsilon is 1e-06",
    ),
    "an odd epsilon": (
        "rms_norm", norm(lambda e: 3e-4), "layers.0.attention_norm", "epsilon is 0.0003",
    ),
    "no epsilon": ("rms_norm", norm(lambda e: 0.0), "layers.0.attention_norm", "is left out"),
    "another theta": (
        "rope_angles", lambda p, d, t: rope_angles(p, d, 500_000.0), "rope_angles", "is 500000 in",
    ),
    "an odd theta": (
        "rope_angles", lambda p, d, t: rope_angles(p, d, 31_415.0), "rope_angles", "theta is 31",
    ),
    "shifted": (
        "rope_angles", lambda p, d, t: rope_angles(p + 1, d, t), "rope_angles", "shifted by +1",
    ),
    "low-precision frequencies": (
        "rope_angles",
        lambda p, d, t: (lambda a: (a.cos(), a.sin()))(
            p[..., None].float() * (t ** (-torch.arange(0, d, 2).double() / d)).bfloat16().float()
        ),
        "rope_angles", "frequencies are rounded to bfloat16",
    ),
    "the other layout": (
        "apply_rope", half_split, "layers.0.attention.q", "Hugging Face's layout",
    ),
    "backwards": (
        "apply_rope", lambda x, c, s: apply_rope(x, c, -s), "layers.0.attention.q", "backwards",
    ),
    "off by one": (
        "causal_mask", lambda q, k: causal_mask(q, k + 1), "causal_mask", "does not see itself",
    ),
    "tiled heads": (
        "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1), "layers.0.attention.k", "tiled (0, 1, 0",
    ),
    "scale by d": ("attention", scaled(1 / 10), "layers.0.attention", "divided by d and not"),
    "no scale": ("attention", scaled(1.0), "layers.0.attention", "not divided by sqrt(d)"),
    "gate and up swapped": (
        "swiglu", lambda x, w1, w2, w3: mine.swiglu(x, w3, w2, w1), "layers.0.feed_forward",
        "gate and up (w1 and w3) are swapped",
    ),
    "GELU": (
        "swiglu",
        lambda x, w1, w2, w3: F.linear(F.gelu(F.linear(x, w1)) * F.linear(x, w3), w2),
        "layers.0.feed_forward", "GELU and not SiLU",
    ),
    "twice too large": (
        "swiglu", lambda x, *w: 2 * mine.swiglu(x, *w), "layers.0.feed_forward", "2 times what it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_function_is_named_with_what_it_means(model, kind) -> None:
    name, function, component, words = PLANTED[kind]
    found = first_divergence(model, twin(model, Components(**{name: function})))
    assert found.first.component in (component, f"{component} ({name})")
    assert words in " ".join(found.first.meanings), found
    assert found.first.max_abs > 0


def test_only_what_differs_differs(model) -> None:
    """Each component gets the reference's own input: what comes behind is not blamed."""
    wrong = Components(apply_rope=half_split)
    found = first_divergence(model, twin(model, wrong))
    assert {d.component.split("(")[1] for d in found.differences} == {"apply_rope)"}
    assert len(found.differences) == 2 * CONFIG.n_layers
    both = dataclasses.replace(wrong, rms_norm=norm(lambda e: 1e-2))
    found = first_divergence(model, twin(model, both))
    assert found.first.component == "layers.0.attention_norm (rms_norm)"


def test_where_it_is_that_it_differs(model) -> None:
    def wrong(q, k, v, mask):
        out = attention(q, k, v, mask)
        out[1, 3, -1, 7] += 2.5
        return out

    found = first_divergence(model, twin(model, Components(attention=wrong))).first
    assert found.max_abs == pytest.approx(2.5, rel=1e-4)
    assert found.words.endswith(f"at [1, 3, {11}, 7]") and "expected" in found.words


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *a: (_ for _ in ()).throw(KeyError("rows")), r"it raised KeyError: 'rows'"),
        (lambda x, w, e: x.half(), "torch.float32 was expected, and torch.float16 was found"),
        (lambda x, w, e: x[..., :3], "shape"),
        (lambda x, w, e: None, "a NoneType was found"),
        (lambda x, w, e: x * float("nan"), "not a number"),
        (lambda x, w, e: x.mul_(2), "it changes its argument 1"),
    ],
)
def test_what_no_number_says_is_said_in_words(model, function, words) -> None:
    found = first_divergence(model, twin(model, Components(rms_norm=function))).first
    assert found.component == "layers.0.attention_norm (rms_norm)" and words in str(found)


def test_the_reference_goes_on_with_its_own_numbers(model) -> None:
    """A function that writes to its arguments changes no later comparison."""

    def wrong(x, weight, eps):
        return x.zero_()

    found = first_divergence(model, twin(model, Components(rms_norm=wrong)))
    assert all("rms_norm" in d.component for d in found.differences)
    assert first_divergence(model, twin(model)).equal


def test_a_difference_only_in_low_precision_is_found_there(model) -> None:
    wrong = Components(rms_norm=lambda x, w, e: norm(lambda e: e, x.dtype)(x, w, e))
    assert first_divergence(model, twin(model, wrong)).equal
    found = first_divergence(model, twin(model, wrong), dtype=torch.bfloat16)
    assert found.first.component == "layers.0.attention_norm (rms_norm)"
    low = model.__class__(model.config).to(torch.bfloat16)
    low.load_state_dict(model.state_dict())
    assert not first_divergence(low, twin(low, wrong)).equal  # the stored dtype is enough


def test_a_scaled_rope_is_left_to_the_library(model) -> None:
    scaling = RopeScaling("linear", 2.0, 512)
    one = twin(model, rope_scaling=scaling)
    with pytest.warns(UserWarning, match="more than a function"):
        other = twin(one, Components(rope_angles=lambda p, d, t: 1 / 0))
    assert first_divergence(one, other).equal


def test_a_model_of_many_layers_is_compared_at_both_ends() -> None:
    many = random_model(dataclasses.replace(CONFIG, n_layers=10)).to(torch.bfloat16)
    wrong = Components(swiglu=lambda x, w1, w2, w3: mine.swiglu(x, w3, w2, w1))
    found = first_divergence(many, twin(many, wrong), dtype=torch.float32)
    layers = [0, 1, 8, 9]
    assert [d.component for d in found.differences] == [
        f"layers.{i}.feed_forward (swiglu)" for i in layers
    ]
    assert found.compared[-1] == "swiglu in float32 (layers 0, 1, 8, 9)"
    calls = []

    def counting(x, w1, w2, w3):
        calls.append(x.dtype)
        return mine.swiglu(x, w1, w2, w3)

    found = first_divergence(many, twin(many, Components(swiglu=counting)))
    assert found.equal and calls == [torch.float32] * 2 + [torch.bfloat16] * 4


def test_one_row_or_a_text_of_ones_own(model) -> None:
    other = twin(model, Components(apply_rope=half_split))
    for tokens in ([5], [1, 2, 3], torch.arange(40)[None], list(range(20))):
        found = first_divergence(model, other, tokens)
        assert found.first.component == "layers.0.attention.q (apply_rope)"


# ---- right answers, however they are written -----------------------------------------------------


def right_styles() -> list[Any]:
    """Every right answer that the exercises' own tests have, for the functions of a model."""
    folder = Path(__file__).parents[1] / "checks"
    names = {field.name for field in dataclasses.fields(Components)}
    cases = []
    for exercise in checks.everything():
        parts = [part for part in exercise.parts if part in names]
        path = folder / f"test_check_{exercise.name}.py"
        if not parts or not path.is_file():
            continue
        spec = importlib.util.spec_from_file_location(f"styles_{exercise.name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tests = [t for t in vars(module).values() if getattr(t, "exercise", None) is exercise]
        forms = [exercise.solution, *(f for t in tests for f in t.right)]
        cases += [
            pytest.param(exercise, form, id=f"{exercise.name}-{i}") for i, form in enumerate(forms)
        ]
    return cases


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "form"), right_styles())
def test_right_answers_are_never_a_difference(model, exercise, form) -> None:
    text = form if isinstance(form, str) else exercise.text_of(form)
    loaded = exercise.load(exercise.solution + "\n\n" + text, module="answer")
    names = {field.name for field in dataclasses.fields(Components)}
    plain = {name: mine.library(name) for name in names}
    other = Components(**{**plain, **{n: f for n, f in loaded.items() if n in names}})
    for dtype in DTYPES:
        found = first_divergence(model, twin(model, other), dtype=dtype)
        assert found.equal, found
