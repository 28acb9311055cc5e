"""Functions that differ are found where they are called, with what fits; right ones never are."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from parity_samples import CONFIG, random_model, right_answers, twin

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


def overwritten(x, cos, sin):
    x, cos, sin = x.clone(), cos.unsqueeze(-2), sin.unsqueeze(-2)
    x[..., ::2] = x[..., ::2] * cos - x[..., 1::2] * sin
    x[..., 1::2] = x[..., ::2] * sin + x[..., 1::2] * cos
    return x


def with_nan(q, k, v, mask):
    mask = mask[:, None] if mask.ndim == 3 else mask
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


PLANTED: dict[str, tuple[str, Any, str, str]] = {
    "another epsilon": (
        "rms_norm", norm(lambda e: 1e-6), "layers.0.attention_norm", "epsilon is 1e-06",
    ),
    "an odd epsilon": (
        "rms_norm", norm(lambda e: 3e-4), "layers.0.attention_norm", "epsilon is 0.0003",
    ),
    "nn.RMSNorm's epsilon": (
        "rms_norm", lambda x, w, e: F.rms_norm(x, w.shape, w), "layers.0.attention_norm",
        "epsilon is 1.19e-07 (nn.RMSNorm's own)",
    ),
    "LayerNorm": (
        "rms_norm", lambda x, w, e: F.layer_norm(x, w.shape, w, eps=e), "layers.0.attention_norm",
        "it is LayerNorm",
    ),
    "a lower limit": (
        "rms_norm",
        lambda x, w, e: x / x.square().mean(-1, keepdim=True).clamp(min=e).sqrt() * w,
        "layers.0.attention_norm", "the least value allowed",
    ),
    "no minus": (
        "rope_angles", lambda p, d, t: rope_angles(p, d, 1 / t), "rope_angles", "lacks its minus",
    ),
    "the first row's positions": (
        "rope_angles",
        lambda p, d, t: rope_angles(p[:1].expand(p.shape) if p.ndim > 1 else p, d, t),
        "rope_angles", "every row gets the positions of the first",
    ),
    "counted anew": (
        "rope_angles",
        lambda p, d, t: rope_angles(torch.arange(p.shape[-1]).expand(p.shape), d, t),
        "rope_angles", "counted anew",
    ),
    "overwritten": (
        "apply_rope", overwritten, "layers.0.attention.q", "overwritten before the second",
    ),
    "an additive mask": (
        "causal_mask",
        lambda q, k: torch.where(causal_mask(q, k), 0.0, float("-inf")), "causal_mask",
        "to be added to the scores",
    ),
    "a mask of numbers": (
        "causal_mask", lambda q, k: causal_mask(q, k).float(), "causal_mask",
        "only the dtype is wrong: cast the result to bool",
    ),
    "no mask, and zeros for padding": (
        "attention",
        lambda q, k, v, m: attention(q, k, v, m | m.any(-1, keepdim=True)), "layers.0.attention",
        "the mask is not used",
    ),
    "NaN for padding": (
        "attention", with_nan, "layers.0.attention", "may look at nothing gets NaN",
    ),
    "hidden scores are 0": (
        "attention",
        lambda q, k, v, m: (
            (q @ k.mT / q.shape[-1] ** 0.5 * (m[:, None] if m.ndim == 3 else m)).softmax(-1) @ v
        ),
        "layers.0.attention", "hidden scores become 0",
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
        "causal_mask", lambda q, k: k[..., None, :] < q[..., None], "causal_mask",
        "does not see itself",
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
    assert len(found.first.meanings) == 1, found  # and nothing else is said to fit
    assert kind in WITHOUT_NUMBERS or found.first.max_abs > 0


WITHOUT_NUMBERS = ("an additive mask", "a mask of numbers", "NaN for padding")


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
        (lambda *a: sys.exit(3), "it raised SystemExit: 3"),
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


def noisy(function, size):
    """A right function whose results are off by chance, by a share of their size."""

    def wrong(*args):
        right = function(*args)
        noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(0))
        return right + size * right.float().square().mean().sqrt() * noise.to(right.dtype)

    return wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3e-5, 1e-3, 3e-2])
@pytest.mark.parametrize("name", ["rms_norm", "apply_rope", "attention", "swiglu"])
def test_noise_is_given_no_name(model, name, size, dtype) -> None:
    """Small differences lie near many guesses, and near the right result times 1.00001."""
    other = twin(model, Components(**{name: noisy(getattr(mine, name), size)}))
    found = first_divergence(model, other, dtype=dtype)
    assert found.first.meanings == ("None of the usual mistakes that were tried fits.",), found


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        (
            "rms_norm",
            lambda x, w, e: norm(lambda e: e, x.dtype)(x, w, e),
            "without the upcast to float32",
        ),
        (
            "rms_norm",
            lambda x, w, e: F.rms_norm(x.float(), w.shape, w.float(), e).to(x.dtype),
            "multiplied before the cast down",
        ),
        ("swiglu", lambda *a: mine.swiglu(*(t.float() for t in a)), "cast the result to bfloat16"),
        (
            "apply_rope",
            lambda x, c, s: apply_rope(x.float(), c, s),
            "cast the result to bfloat16",
        ),
        ("apply_rope", lambda x, c, s: apply_rope(x, c, s) / 3, "every number is 0.333333 times"),
    ],
)
def test_what_differs_in_low_precision_is_named_there(model, name, function, words) -> None:
    low = twin(model).to(torch.bfloat16)
    found = first_divergence(low, twin(low, Components(**{name: function}))).first
    assert words in " ".join(found.meanings) and len(found.meanings) == 1, found


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
    names = {field.name for field in dataclasses.fields(Components)}
    return [
        pytest.param(exercise, form, id=f"{exercise.name}-{i}")
        for exercise in checks.everything()
        if names & set(exercise.parts)
        for i, form in enumerate(right_answers(exercise))
    ]


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
