"""One forward, many ways through it: all of them give the same logits.

Tolerance in float32: 1e-5 of the logits' scale, the rounding of sums taken in another order.
In bfloat16 each of the 8 roundings a block makes is up to 2^-9 relative; two paths that order
their sums differently may round to neighbours. Bound: 4 * 2^-8 of the scale for 2 layers; each
path is also held to the float32 forward as tightly as the one-piece path is (factor 1.25).
"""

from __future__ import annotations

import copy

import pytest
import torch
from peers import random_model
from test_parity import SCALINGS, small, tokens

from llama_course.config import ModelConfig, RopeScaling
from llama_course.model import KVCache, Llama

TOLERANCE = 1e-5
BF16_TOLERANCE = 4 * 2**-8

PATHS = ["chunks", "token by token", "unequal batch", "unequal chunks", "packed"]


def through(path: str, model: Llama, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The logits of one row of ids (1, seq), computed along `path`."""
    config, seq = model.config, ids.shape[1]

    def cache(rows: int = 1) -> KVCache:
        return KVCache(config, batch_size=rows, max_seq_len=seq + 5, dtype=dtype)

    if path == "chunks":
        kept, pieces, sizes = cache(), [], [1, 7, 2, 16, 1, 1]
        start = 0
        while start < seq:
            size = sizes.pop(0) if sizes else seq - start
            pieces.append(model(ids[:, start : start + size], cache=kept))
            start += size
        return torch.cat(pieces, dim=1)
    if path == "token by token":
        kept = cache()
        return torch.cat([model(ids[:, i : i + 1], cache=kept) for i in range(seq)], dim=1)
    if path == "unequal batch":  # the row between a shorter and an empty one, right-padded
        rows = torch.zeros(3, seq, dtype=torch.long)
        rows[0, :4], rows[1] = ids[0, :4], ids[0]
        return model(rows, cache=cache(3), lengths=[4, seq, 0])[1:2]
    if path == "unequal chunks":  # rows advance by other lengths at every call
        kept, pieces, done = cache(2), [], 0
        other = 0
        for mine, theirs in [(5, 2), (1, 6), (0, 3), (11, 1), (seq - 17, 4)]:
            rows = torch.full((2, max(mine, theirs)), 3)
            rows[0, :mine] = ids[0, done : done + mine]
            rows[1, :theirs] = ids[0, other : other + theirs]
            out = model(rows, cache=kept, lengths=torch.tensor([mine, theirs]))
            pieces.append(out[:1, :mine])
            done, other = done + mine, other + theirs
        assert kept.lengths == [seq, 16]
        return torch.cat(pieces, dim=1)
    if path == "packed":  # behind another document, before a third, with padding at the end
        row = torch.cat([ids[:, 3:10], ids, ids[:, :5], ids[:, :2]], dim=1)
        numbers = torch.tensor([[4] * 7 + [0] * seq + [9] * 5 + [-1] * 2])
        return model(row, documents=numbers)[:, 7 : 7 + seq]
    raise AssertionError(path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SCALINGS)
@torch.no_grad()
def test_every_path_gives_the_same_logits(path, name) -> None:
    config = small(rope_scaling=SCALINGS[name], n_heads=12, n_kv_heads=3)
    model = random_model(config)
    ids = tokens(config, 61, 1)
    one_piece = model(ids)
    error = (through(path, model, ids, torch.float32) - one_piece).abs().max()
    assert error <= TOLERANCE * one_piece.abs().max()


@pytest.mark.parametrize("path", ["chunks", "unequal chunks", "packed"])
@pytest.mark.parametrize("name", [n for n in SCALINGS if n != "dynamic"])
@torch.no_grad()
def test_and_beyond_the_trained_length(path, name) -> None:
    scaling = SCALINGS[name]
    if scaling is not None:  # shrink the trained length so that 61 tokens go beyond it
        scaling = RopeScaling(**{**vars(scaling), "original_max_seq_len": 32})
    config = small(rope_scaling=scaling)
    model = random_model(config)
    ids = tokens(config, 61, 1)
    one_piece = model(ids)
    error = (through(path, model, ids, torch.float32) - one_piece).abs().max()
    assert error <= TOLERANCE * one_piece.abs().max()


@torch.no_grad()
def test_dynamic_scaling_beyond_its_length_depends_on_the_call() -> None:
    """The documented exception: the base follows the longest position of each call."""
    config = small(rope_scaling=RopeScaling("dynamic", 3.0, 32))
    model = random_model(config)
    ids = tokens(config, 61, 1)
    one_piece = model(ids)
    error = (through("chunks", model, ids, torch.float32) - one_piece).abs().max()
    assert error > 100 * TOLERANCE * one_piece.abs().max()


@pytest.mark.parametrize("path", PATHS)
@torch.no_grad()
def test_every_path_in_bfloat16(path) -> None:
    config = small()
    model = random_model(config).to(torch.bfloat16)
    ids = tokens(config, 61, 1)
    exact = copy.deepcopy(model).float()(ids)
    one_piece, other = model(ids), through(path, model, ids, torch.bfloat16)
    scale = exact.abs().max()
    assert (other - one_piece).abs().max() <= BF16_TOLERANCE * scale
    assert (other - exact).pow(2).mean().sqrt() <= 1.25 * (one_piece - exact).pow(2).mean().sqrt()


@torch.no_grad()
def test_decode_after_a_long_prefill_at_positions_beyond_1000() -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 1203, 1)
    cache = KVCache(config, max_seq_len=1203)
    model(ids[:, :1200], cache=cache)
    last = torch.cat([model(ids[:, i : i + 1], cache=cache) for i in range(1200, 1203)], dim=1)
    whole = model(ids)[:, 1200:]
    assert (last - whole).abs().max() <= TOLERANCE * whole.abs().max()


@torch.no_grad()
def test_last_logits_are_each_rows_last_real_token() -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 9, 3)
    every = model(ids)
    # Three rows against one go through matrix products of other shapes: rounding, not equality.
    near = lambda a, b: (a - b).abs().max() <= TOLERANCE * b.abs().max()  # noqa: E731
    assert near(model(ids, logits="last"), every[:, -1:])
    lengths = [4, 9, 1]
    last = model(ids, lengths=lengths, logits="last")
    assert near(last, torch.stack([every[i, n - 1 : n] for i, n in enumerate(lengths)]))
    documents = torch.tensor([[0] * 9, [0] * 4 + [1] * 3 + [-1] * 2, [-1] * 9])
    packed = model(ids, documents=documents, logits="last")
    assert near(packed[1], model(ids, documents=documents)[1, 6:7])
    assert packed.isfinite().all()


@torch.no_grad()
def test_a_document_in_two_pieces_goes_on_where_it_stopped() -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 10, 1)
    documents = torch.tensor([[0, 0, 1, 1, 1, 0, 0, 1, 0, 1]])
    out = model(ids, documents=documents)
    for number in (0, 1):
        at = documents[0] == number
        alone = model(ids[:, at])
        assert (out[:, at] - alone).abs().max() <= TOLERANCE * alone.abs().max()


@torch.no_grad()
def test_padding_changes_nothing_and_is_finite() -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 8, 2)
    other = ids.clone()
    other[0, 5:] = 0
    a, b = (model(x, lengths=[5, 8]) for x in (ids, other))
    assert torch.equal(a[0, :5], b[0, :5])
    assert torch.equal(a[1], b[1])
    assert a.isfinite().all()


@torch.no_grad()
def test_a_forward_that_fails_leaves_the_cache_usable(monkeypatch) -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 12, 2)
    cache = KVCache(config, batch_size=2, max_seq_len=12)
    model(ids[:, :4], cache=cache, lengths=[4, 2])
    monkeypatch.setattr(model.layers[1].feed_forward, "function", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(ids[:, 4:12], cache=cache, lengths=[8, 8])
    monkeypatch.undo()
    assert cache.lengths == [4, 2]
    row = torch.cat([ids[1:, :2], ids[1:, 4:6]], dim=1)
    rest = model(ids[:, 4:6], cache=cache, lengths=[1, 2])
    assert (rest[1:] - model(row)[:, 2:]).abs().max() <= TOLERANCE * rest.abs().max()


def test_a_full_cache_says_so() -> None:
    config = small()
    model, cache = random_model(config), KVCache(small(), max_seq_len=6)
    model(tokens(config, 5, 1), cache=cache)
    with pytest.raises(ValueError, match="holds 6 tokens, and 7 are needed"):
        model(tokens(config, 2, 1), cache=cache)
    with pytest.raises(ValueError, match="1 rows and the tokens have 2"):
        model(tokens(config, 1, 2), cache=cache)
    cache.reset()
    assert model(tokens(config, 6, 1), cache=cache).shape[1] == 6


def test_arguments_that_do_not_go_together() -> None:
    config = small()
    model, ids = random_model(config), tokens(config, 4, 2)
    with pytest.raises(ValueError, match="documents cannot be given together"):
        model(ids, documents=torch.zeros_like(ids), lengths=[1, 2])
    with pytest.raises(ValueError, match="from 0 to 4"):
        model(ids, lengths=[1, 5])
    with pytest.raises(ValueError, match='must be "all" or "last"'):
        model(ids, logits="first")


def test_gradient_flows_and_never_through_the_cache() -> None:
    config = small()
    model = random_model(config)
    ids = tokens(config, 6, 2)
    documents = torch.tensor([[0, 0, 1, 1, -1, -1], [2] * 6])
    model(ids, documents=documents).square().mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name
    cache = KVCache(config, batch_size=2, max_seq_len=6)
    model(ids, cache=cache)
    assert not cache.keys[0].requires_grad


def test_a_query_that_may_look_at_nothing_gives_zeros_with_a_finite_gradient() -> None:
    from llama_course.model import attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    mask[2] = False
    out = attention(q, k, v, mask)
    assert (out[:, :, 2] == 0).all() and (out[:, :, 3] != 0).any()
    out.sum().backward()
    assert q.grad.isfinite().all() and (q.grad[:, :, 2] == 0).all()


def test_parameter_counts_to_the_integer() -> None:
    published = {
        "7B": 6_738_415_616,
        "13B": 13_015_864_320,
        "33B": 32_528_943_616,
        "30B": 32_528_943_616,
        "65B": 65_285_660_672,
        "llama2-70B": 68_976_648_192,
        "llama3-8B": 8_030_261_248,
        "llama3.2-1B": 1_235_814_400,
        "tinyllama-1.1B": 1_100_048_384,
    }
    for name, count in published.items():
        with torch.device("meta"):
            model = Llama(ModelConfig.preset(name))
        assert sum(p.numel() for p in model.parameters()) == count, name


def test_the_meta_model_has_metas_tensor_count_and_names() -> None:
    with torch.device("meta"):
        model = Llama(ModelConfig.preset("7B"))
    names = set(model.state_dict())
    assert len(names) == 291  # 9 a layer and 3
    assert {"tok_embeddings.weight", "norm.weight", "output.weight"} < names
    assert {n for n in names if n.startswith("layers.31.")} == {
        f"layers.31.{part}.weight"
        for part in (
            "attention.wq",
            "attention.wk",
            "attention.wv",
            "attention.wo",
            "feed_forward.w1",
            "feed_forward.w2",
            "feed_forward.w3",
            "attention_norm",
            "ffn_norm",
        )
    }
