"""The learner's functions take the library's place, and replaced modules are really called."""

from __future__ import annotations

import math

import pytest
import torch
from peers import random_model
from test_parity import small, tokens
from torch import nn

from llama_course.config import RopeScaling
from llama_course.model import Components, KVCache, Llama, dense_weight

TOLERANCE = 1e-5  # of the logits' scale: float32 rounding of the same formula, written otherwise


def my_rms_norm(x, weight, eps):
    mean_square = torch.einsum("...d,...d->...", x.float(), x.float()) / x.shape[-1]
    return (x.float() / (mean_square + eps).sqrt()[..., None]).type_as(x) * weight


def my_rope_angles(positions, head_dim, theta):
    pairs = [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    angles = positions.unsqueeze(-1) * torch.tensor(pairs, device=positions.device)
    return torch.cos(angles), torch.sin(angles)


def my_apply_rope(x, cos, sin):
    turn = torch.complex(cos, sin)[..., :, None, :]
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).reshape(x.shape).to(x.dtype)


def my_causal_mask(q_positions, k_positions):
    return q_positions.unsqueeze(-1) >= k_positions.unsqueeze(-2)


def my_attention(q, k, v, mask):
    assert q.shape[1] == k.shape[1] == v.shape[1], "a learner's function gets repeated heads"
    assert mask.dtype == torch.bool, "and an explicit mask"
    scores = q.float() @ k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1).nan_to_num(0.0).to(q.dtype) @ v


def my_repeat_kv(x, n):
    b, h, s, d = x.shape
    return x[:, :, None].expand(b, h, n, s, d).reshape(b, h * n, s, d)


def my_swiglu(x, w1, w2, w3):
    assert all(type(w) is torch.Tensor or isinstance(w, nn.Parameter) for w in (w1, w2, w3))
    gate = x @ w1.T
    return (gate * torch.sigmoid(gate) * (x @ w3.T)) @ w2.T


MINE = {
    "rms_norm": my_rms_norm,
    "rope_angles": my_rope_angles,
    "apply_rope": my_apply_rope,
    "causal_mask": my_causal_mask,
    "attention": my_attention,
    "repeat_kv": my_repeat_kv,
    "swiglu": my_swiglu,
}


def with_components(model: Llama, components: Components) -> Llama:
    other = Llama(model.config, components=components)
    other.load_state_dict(model.state_dict())
    return other.eval()


@pytest.mark.parametrize("names", [*((n,) for n in MINE), tuple(MINE)], ids="+".join)
@torch.no_grad()
def test_foreign_functions_give_the_same_logits_on_every_path(names) -> None:
    model = random_model(small())
    components = Components(**{name: MINE[name] for name in names})
    assert components.foreign() == names
    mine = with_components(model, components)
    ids = tokens(model.config, 11, 2)
    documents = torch.tensor([[0] * 4 + [1] * 7, [5] * 9 + [-1] * 2])
    for arguments in ({}, {"lengths": [11, 4]}, {"documents": documents}):
        a, b = model(ids, **arguments), mine(ids, **arguments)
        real = torch.ones_like(ids, dtype=torch.bool)
        if "lengths" in arguments:
            real[1, 4:] = False
        assert (a - b)[real].abs().max() <= TOLERANCE * a.abs().max()
    caches = [KVCache(model.config, 2, 11) for _ in range(2)]
    for start, stop, lengths in ((0, 6, [6, 3]), (6, 7, None), (7, 11, [4, 2]), (10, 11, [0, 1])):
        a = model(ids[:, start:stop], cache=caches[0], lengths=lengths, logits="last")
        b = mine(ids[:, start:stop], cache=caches[1], lengths=lengths, logits="last")
        assert (a - b).abs().max() <= TOLERANCE * a.abs().max()


@pytest.mark.parametrize("name", MINE)
def test_a_foreign_function_is_really_called(name) -> None:
    calls = []

    def counted(*arguments):
        calls.append(name)
        return MINE[name](*arguments)

    model = with_components(random_model(small()), Components(**{name: counted}))
    model(tokens(model.config, 3))
    assert calls


class Replaced(nn.Module):
    """A stand-in for LoRA or a packed weight: the dense weight plus a product of two factors."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.linear = linear
        self.a = nn.Parameter(torch.randn(3, linear.in_features) * 0.1)
        self.b = nn.Parameter(torch.randn(linear.out_features, 3) * 0.1)

    def forward(self, x):
        return self.linear(x) + (x @ self.a.T) @ self.b.T

    def dense_weight(self):
        return self.linear.weight + self.b @ self.a


@pytest.mark.parametrize(
    "place", ["attention.wq", "attention.wo", "feed_forward.w1", "feed_forward.w2"]
)
@pytest.mark.parametrize("foreign", [False, True])
@torch.no_grad()
def test_a_replaced_module_counts_as_its_dense_form(place, foreign) -> None:
    components = Components(**MINE) if foreign else Components()
    plain = random_model(small())
    replaced = with_components(plain, components)
    dense = with_components(plain, components)
    room, name = place.split(".")
    parent = getattr(replaced.layers[1], room)
    module = Replaced(getattr(parent, name))
    setattr(parent, name, module)
    getattr(getattr(dense.layers[1], room), name).weight.copy_(module.dense_weight())
    ids = tokens(plain.config, 9)
    a, b, before = replaced(ids), dense(ids), plain(ids)
    assert (a - b).abs().max() <= TOLERANCE * b.abs().max()
    assert (b - before).abs().max() > 1e-2 * b.abs().max()


def test_a_module_without_a_weight_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="must have a method dense_weight"):
        dense_weight(nn.Sequential())
    with pytest.raises(TypeError, match="dense_weight"):
        dense_weight(nn.Linear(3, 3, bias=True))


@torch.no_grad()
def test_scaled_models_use_the_librarys_angles() -> None:
    config = small(rope_scaling=RopeScaling("llama3", 8.0, 256))
    model = random_model(config)
    calls = []
    with pytest.warns(UserWarning, match=r"RoPE scaling \(llama3\).*the library's own is used"):
        mine = with_components(model, Components(rope_angles=lambda *a: calls.append(a)))
    ids = tokens(config, 9)
    assert torch.equal(model(ids), mine(ids))
    assert not calls


@torch.no_grad()
def test_foreign_functions_in_bfloat16_keep_its_dtype() -> None:
    model = random_model(small()).to(torch.bfloat16)
    mine = with_components(random_model(small()), Components(**MINE)).to(torch.bfloat16)
    ids = tokens(model.config, 9)
    a, b = model(ids), mine(ids)
    # The same formulas, rounded in another order: a few units of bfloat16's 2^-8.
    assert (a - b).abs().max() <= 4 * 2**-8 * a.abs().max()
