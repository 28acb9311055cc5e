"""Each function alone, against worked examples, properties and torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from llama_course.config import ModelConfig, RopeScaling
from llama_course.model import (
    KVCache,
    RMSNorm,
    apply_rope,
    attention,
    causal_mask,
    repeat_kv,
    rms_norm,
    rope_angles,
    rope_frequencies,
    swiglu,
)

# ---- rms_norm ---------------------------------------------------------------------------------


def test_rms_norm_by_hand() -> None:
    x, weight = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])
    # mean square 12.5, and epsilon 3.5 makes it 16: divide by 4.
    assert torch.equal(rms_norm(x, weight, 3.5), torch.tensor([0.75, 2.0]))


def test_rms_norm_equals_torchs_in_float32() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(7, 5, 96) * 30, torch.rand(96)
    for eps in (1e-5, 1e-6):
        theirs = F.rms_norm(x, (96,), weight, eps)
        # Two roundings of float32 in another order.
        torch.testing.assert_close(rms_norm(x, weight, eps), theirs, rtol=5e-7, atol=0)


def test_rms_norm_in_bfloat16_casts_before_the_weight() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 128, dtype=torch.bfloat16)
    weight = torch.rand(128).to(torch.bfloat16)
    exact = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
    assert torch.equal(rms_norm(x, weight, 1e-6), exact.to(torch.bfloat16) * weight)
    weight_first = (exact * weight.float()).to(torch.bfloat16)
    assert not torch.equal(rms_norm(x, weight, 1e-6), weight_first)  # the order shows


def test_rms_norm_takes_statistics_in_float32() -> None:
    big = torch.full((4,), 3e4, dtype=torch.float16)  # its square is beyond float16
    assert torch.allclose(
        rms_norm(big, torch.ones(4, dtype=torch.float16), 1e-6).float(), torch.ones(4)
    )
    assert (rms_norm(torch.zeros(3, 8), torch.ones(8), 1e-6) == 0).all()
    tiny = torch.full((8,), 1e-4)
    assert rms_norm(tiny, torch.ones(8), 1e-6).mean() == pytest.approx(1e-4 / math.sqrt(1.01e-6))


def test_rms_norm_keeps_float64_and_its_gradient_is_right() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert rms_norm(x, weight, 1e-6).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, 1e-6), (x, weight))


def test_the_norm_module_follows_the_dtype_of_its_input() -> None:
    norm = RMSNorm(8, 1e-5)  # a float32 weight
    assert norm(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


# ---- RoPE -------------------------------------------------------------------------------------


def test_rope_turns_neighbours_by_hand() -> None:
    # head_dim 4, base 100: the pairs turn by 1 and by 100^(-1/2) = 0.1 radians a position.
    cos, sin = rope_angles(torch.tensor([0, 2]), 4, 100.0)
    assert torch.allclose(cos, torch.tensor([[1, 1], [math.cos(2), math.cos(0.2)]]))
    assert torch.allclose(sin, torch.tensor([[0, 0], [math.sin(2), math.sin(0.2)]]))
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(1, 2, 1, 4)
    turned = apply_rope(x, cos, sin)
    assert torch.equal(turned[0, 0, 0], x[0, 0, 0])  # position 0 turns nothing
    by_hand = torch.tensor([math.cos(2), math.sin(2), -math.sin(0.2), math.cos(0.2)])
    assert torch.allclose(turned[0, 1, 0], by_hand)


@pytest.mark.parametrize("start", [0, 1, 1000, 30_000])
def test_scores_depend_on_the_distance_only(start) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 64), torch.randn(1, 1, 1, 64)

    def score(q_position: int, k_position: int) -> float:
        at = lambda p: rope_angles(torch.tensor([p]), 64, 1e4)  # noqa: E731
        return (apply_rope(q, *at(q_position)) * apply_rope(k, *at(k_position))).sum().item()

    # An angle of 30,000 radians is known to 30,000 * 2^-24 = 0.002: the tolerance follows it.
    assert score(start + 17, start) == pytest.approx(score(17, 0), abs=1e-5 + start * 2**-20)


def test_rope_keeps_lengths_and_turns_in_float32() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 16, dtype=torch.bfloat16)
    cos, sin = rope_angles(torch.tensor([1999, 2000, 2001]), 16, 1e4)
    assert cos.dtype == torch.float32
    assert apply_rope(x, cos, sin).dtype == torch.bfloat16
    wide = apply_rope(x.float(), cos, sin)
    assert torch.allclose(wide.norm(dim=-1), x.float().norm(dim=-1), rtol=1e-5)
    assert torch.equal(wide.to(torch.bfloat16), apply_rope(x, cos, sin))


def test_rows_at_other_positions_have_their_own_angles() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 8)
    positions = torch.tensor([[5, 6, 7, 8], [1200, 1201, 9, 10]])
    both = apply_rope(x, *rope_angles(positions, 8, 1e4))
    for i in range(2):
        alone = apply_rope(x[i : i + 1], *rope_angles(positions[i], 8, 1e4))
        assert torch.equal(both[i : i + 1], alone)


def test_linear_scaling_is_a_slower_position() -> None:
    scaled = rope_angles(torch.tensor([10, 500]), 16, 1e4, RopeScaling("linear", 10.0, 2048))
    plain = rope_angles(torch.tensor([1, 50]), 16, 1e4)
    torch.testing.assert_close(scaled[0], plain[0], rtol=0, atol=1e-5)


def test_dynamic_scaling_starts_beyond_the_trained_length() -> None:
    scaling = RopeScaling("dynamic", 2.0, 64)
    plain = rope_angles(torch.arange(64), 16, 1e4)
    assert torch.equal(rope_angles(torch.arange(64), 16, 1e4, scaling)[0], plain[0])
    longer = rope_angles(torch.arange(65), 16, 1e4, scaling)[0][:64]
    assert not torch.equal(longer, plain[0])


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_a_short_table_is_a_prefix_of_a_long_one(kind) -> None:
    scaling = RopeScaling(kind, 4.0, 128)
    short, long = (rope_angles(torch.arange(n), 32, 1e4, scaling)[0] for n in (50, 700))
    assert torch.equal(short, long[:50])
    assert not torch.equal(short, rope_angles(torch.arange(50), 32, 1e4)[0])


def test_llama3_keeps_short_waves_and_slows_long_ones() -> None:
    scaling = RopeScaling("llama3", 8.0, 8192)
    plain, _ = rope_frequencies(128, 500_000.0)
    scaled, factor = rope_frequencies(128, 500_000.0, scaling)
    waves = 2 * math.pi / plain
    assert factor == 1.0
    assert torch.equal(scaled[waves < 8192 / 4], plain[waves < 8192 / 4])
    assert torch.allclose(scaled[waves > 8192], plain[waves > 8192] / 8)
    between = (waves > 8192 / 4) & (waves < 8192)
    assert between.any() and (scaled[between] < plain[between]).all()


# ---- attention --------------------------------------------------------------------------------


def by_hand(q, k, v, mask):
    scores = q.double() @ k.double().transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v.double()).float()


@pytest.mark.parametrize(("q_len", "k_len"), [(6, 6), (1, 6), (3, 9), (1, 1)])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_attention_without_a_mask_is_causal_and_aligned_to_the_end(q_len, k_len, kv_heads) -> None:
    torch.manual_seed(0)
    q = torch.randn(2, 4, q_len, 8)
    k, v = torch.randn(2, kv_heads, k_len, 8), torch.randn(2, kv_heads, k_len, 8)
    mask = torch.ones(q_len, k_len, dtype=torch.bool).tril(k_len - q_len)
    full_k, full_v = repeat_kv(k, 4 // kv_heads), repeat_kv(v, 4 // kv_heads)
    expected = by_hand(q, full_k, full_v, mask)
    for out in (attention(q, k, v), attention(q, k, v, mask), attention(q, full_k, full_v, mask)):
        torch.testing.assert_close(out, expected, rtol=0, atol=2e-6)


def test_attention_with_more_queries_than_keys_gives_the_early_ones_zeros() -> None:
    q, k = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 3, 8)
    out = attention(q, k, k)
    assert (out[:, :, :2] == 0).all()
    torch.testing.assert_close(out[:, :, 2], k[:, :, 0])


def test_attention_takes_a_mask_of_each_row() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, 4, 8) for _ in range(3))
    mask = torch.rand(3, 4, 4) > 0.4
    mask[:, :, 0] = True
    expected = by_hand(q, k, v, mask[:, None])
    torch.testing.assert_close(attention(q, k, v, mask), expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(attention(q, k, v, mask[:, None]), expected, rtol=0, atol=2e-6)


def test_repeat_kv_gives_each_head_to_its_neighbours() -> None:
    x = torch.arange(3.0)[None, :, None, None]
    assert repeat_kv(x, 2).flatten().tolist() == [0, 0, 1, 1, 2, 2]


def test_causal_mask_by_hand() -> None:
    mask = causal_mask(torch.tensor([1, 3]), torch.tensor([0, 1, 2, 3]))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    rows = causal_mask(torch.tensor([[0], [2]]), torch.tensor([[0, 1], [1, 2]]))
    assert rows.int().tolist() == [[[1, 0]], [[1, 1]]]


# ---- the rest ---------------------------------------------------------------------------------


def test_swiglu_by_hand() -> None:
    # x = 1, gate 2, up 3, down 10: silu(2) * 3 * 10.
    one = torch.ones(1, 1)
    out = swiglu(one, one * 2, one * 10, one * 3)
    assert out.item() == pytest.approx(60 / (1 + math.exp(-2)))


def test_the_cache_counts_its_bytes() -> None:
    config = ModelConfig(dim=64, n_layers=3, n_heads=8, n_kv_heads=2, vocab_size=9)
    cache = KVCache(config, batch_size=5, max_seq_len=7, dtype=torch.bfloat16)
    assert cache.nbytes == 2 * 3 * 5 * 2 * 7 * 8 * 2


def test_published_cache_sizes() -> None:
    # 2 * layers * dim * 2 bytes for one token, in KiB.
    for name, kib in {"7B": 512, "13B": 800, "33B": 1560, "65B": 2560}.items():
        config = ModelConfig.preset(name)
        cache = KVCache(config, max_seq_len=2, dtype=torch.bfloat16, device="meta")
        assert cache.nbytes == 2 * kib * 1024
