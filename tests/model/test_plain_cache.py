"""Lesson 07's cache in its plain form: the same numbers as without it, and as the library's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llama_course.config import ModelConfig
from llama_course.model import KVCache, apply_rope, attention, causal_mask, rope_angles
from llama_course.model.cached_attention import cached_attention
from llama_course.model.plain_cache import Cache, decode_positions

BATCH, HEADS, KV_HEADS, HEAD_DIM, SEQ = 2, 6, 2, 4, 7
# Another number of keys at once is another order of summation: a few roundings of numbers near 1.
RTOL, ATOL = 1e-5, 1e-6


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projections(seq: int = SEQ) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of a few tokens."""
    return (
        normal(BATCH, seq, HEADS, HEAD_DIM, seed=1),
        normal(BATCH, seq, KV_HEADS, HEAD_DIM, seed=2),
        normal(BATCH, seq, KV_HEADS, HEAD_DIM, seed=3),
    )


def in_one_piece(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Without a cache: every query to all keys up to its own."""
    cos, sin = rope_angles(torch.arange(q.shape[1]), HEAD_DIM, 10_000.0)
    places = torch.arange(q.shape[1])
    q, k = (apply_rope(x, cos, sin).transpose(1, 2) for x in (q, k))
    return attention(q, k, v.transpose(1, 2), causal_mask(places, places)).transpose(1, 2)


@pytest.mark.parametrize("chunks", [(7,), (3, 4), (1,) * 7, (4, 1, 2)])
def test_chunks_of_any_size_agree_with_one_piece(chunks: tuple[int, ...]) -> None:
    q, k, v = projections()
    cache, start, pieces = Cache(BATCH, KV_HEADS, SEQ, HEAD_DIM), 0, []
    for size in chunks:
        now = slice(start, start + size)
        positions = decode_positions(cache.length, size)
        assert positions.tolist() == [list(range(start, start + size))] * BATCH
        angles = rope_angles(positions, HEAD_DIM, 10_000.0)
        pieces.append(cached_attention(q[:, now], k[:, now], v[:, now], *angles, cache))
        start += size
    torch.testing.assert_close(
        torch.cat(pieces, dim=1), in_one_piece(q, k, v), rtol=RTOL, atol=ATOL
    )
    assert cache.length.tolist() == [SEQ] * BATCH


def test_rows_of_unequal_length_agree_with_each_row_alone() -> None:
    q, k, v = projections()
    cache, starts = Cache(BATCH, KV_HEADS, SEQ, HEAD_DIM), [0, 0]
    found: list[list[Tensor]] = [[], []]
    for new in ([3, 1], [1, 4], [2, 0], [1, 1]):
        widest = max(new)
        padded = [torch.full((BATCH, widest, *x.shape[2:]), 1e4) for x in (q, k, v)]
        for whole, part in zip((q, k, v), padded, strict=True):
            for row, n in enumerate(new):
                part[row, :n] = whole[row, starts[row] : starts[row] + n]
        cos, sin = rope_angles(decode_positions(cache.length, widest), HEAD_DIM, 10_000.0)
        one, two, three = padded
        out = cached_attention(one, two, three, cos, sin, cache, torch.tensor(new))
        for row, n in enumerate(new):
            found[row].append(out[row, :n])
            starts[row] += n
    assert cache.length.tolist() == starts == [7, 6]
    expected = in_one_piece(q, k, v)
    for row in range(BATCH):
        alone = expected[row, : starts[row]]
        torch.testing.assert_close(torch.cat(found[row]), alone, rtol=RTOL, atol=ATOL)


def test_it_holds_what_the_library_s_cache_holds() -> None:
    config = ModelConfig(
        dim=24, n_layers=1, n_heads=HEADS, n_kv_heads=KV_HEADS, vocab_size=8, max_seq_len=9
    )
    theirs = KVCache(config, BATCH)
    plain = Cache(BATCH, KV_HEADS, 9, HEAD_DIM)
    for step, new in enumerate(([2, 3], [3, 0], [1, 2])):
        k, v = (normal(BATCH, KV_HEADS, 3, HEAD_DIM, seed=10 * step + i) for i in (0, 1))
        assert torch.equal(
            decode_positions(plain.length, 3), theirs.next_positions(3).expand(BATCH, 3)
        )
        theirs.reserve(theirs.next_positions(3), new)
        keys, values = theirs.append(0, k, v)
        theirs.advance()
        plain.append(k, v, torch.tensor(new))
        assert all(map(torch.equal, plain.read(), (keys, values)))
        assert plain.length.tolist() == theirs.lengths


def test_a_row_that_is_full_raises_and_nothing_is_stored() -> None:
    cache = Cache(BATCH, KV_HEADS, 4, HEAD_DIM)
    k = normal(BATCH, KV_HEADS, 3, HEAD_DIM)
    cache.append(k, k, torch.tensor([1, 3]))
    before = [x.clone() for x in (*cache.read(), cache.length)]
    with pytest.raises(ValueError, match="holds 4 tokens a row, and 5 are needed"):
        cache.append(k, k, torch.tensor([1, 2]))
    assert all(map(torch.equal, before, (*cache.read(), cache.length)))
    cache.append(k, k, torch.tensor([3, 1]))  # up to the last slot it goes
    assert cache.length.tolist() == [4, 4]


def test_the_dtype_is_the_cache_s_and_no_gradient_is_kept() -> None:
    cache = Cache(1, 1, 4, HEAD_DIM, dtype=torch.bfloat16)
    assert [x.shape for x in cache.read()] == [(1, 1, 0, HEAD_DIM)] * 2
    k = normal(1, 1, 2, HEAD_DIM).requires_grad_()
    earlier = cache.length
    cache.append(k, 2 * k)
    keys, values = cache.read()
    assert keys.dtype == values.dtype == torch.bfloat16
    assert not keys.requires_grad and not values.requires_grad
    assert torch.equal(keys, k.detach().bfloat16())
    assert earlier.tolist() == [0] and cache.length.tolist() == [2]


def test_other_shapes_are_refused_in_a_sentence() -> None:
    cache = Cache(BATCH, KV_HEADS, 4, HEAD_DIM)
    good = normal(BATCH, KV_HEADS, 2, HEAD_DIM)
    for bad in (good[:, :1], good[:1], good[..., :2]):
        with pytest.raises(ValueError, match="must be"):
            cache.append(bad, bad)
