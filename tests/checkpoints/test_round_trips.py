"""Weights bit for bit and configs field by field through every format, or a refusal."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SHARDABLE, quiet_load, random_model, same

from llama_course.checkpoints import (
    AssumedField,
    huggingface_to_meta,
    inspect_checkpoint,
    load,
    merge_shards,
    meta_to_huggingface,
    save,
    split_shards,
)
from llama_course.checkpoints.huggingface import huggingface_name, meta_name
from llama_course.checkpoints.meta import embedding_split_of, shard_dim
from llama_course.checkpoints.names import n_parameters, weight_shapes
from llama_course.config import LLAMA_3_1_SCALING, PRESETS, ModelConfig, RopeScaling
from llama_course.errors import CourseError
from llama_course.model import Llama

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


# ---- Meta's shards ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("split", ["dim", "vocab"])
@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_shards_merge_back_bit_for_bit(
    tmp_path: Path, shards: int, split: str, dtype: torch.dtype
) -> None:
    model = random_model(dtype, **SHARDABLE)
    save(model, tmp_path, "meta", shards=shards, embedding_split=split)
    assert sorted(p.name for p in tmp_path.glob("*.pth")) == [
        f"consolidated.{i:02}.pth" for i in range(shards)
    ]
    loaded, _ = quiet_load(tmp_path)
    assert same(model, loaded)
    rows, columns = torch.load(tmp_path / "consolidated.00.pth")["tok_embeddings.weight"].shape
    whole = (304 // shards, 96) if split == "vocab" else (304, 96 // shards)
    assert (rows, columns) == whole


def test_a_shard_holds_what_meta_says() -> None:
    """Rows of the first shard of two, written out by hand rather than through `SHARD_DIM`."""
    model = random_model(**SHARDABLE)
    state = {k: v.detach() for k, v in model.named_parameters()}
    first, second = split_shards(state, 2, "dim")
    at = "layers.1."
    assert torch.equal(first[at + "attention.wq.weight"], state[at + "attention.wq.weight"][:48])
    assert torch.equal(
        second[at + "attention.wo.weight"], state[at + "attention.wo.weight"][:, 48:]
    )
    assert torch.equal(
        second[at + "feed_forward.w2.weight"], state[at + "feed_forward.w2.weight"][:, 68:]
    )
    assert torch.equal(
        second[at + "feed_forward.w3.weight"], state[at + "feed_forward.w3.weight"][68:]
    )
    assert torch.equal(second["output.weight"], state["output.weight"][152:])
    assert torch.equal(second["tok_embeddings.weight"], state["tok_embeddings.weight"][:, 48:])
    assert torch.equal(second["norm.weight"], state["norm.weight"])


def test_merge_shards_drops_the_tables_and_tells_the_split_from_the_shapes() -> None:
    state = {k: v.detach() for k, v in random_model(**SHARDABLE).named_parameters()}
    for split in ("dim", "vocab"):
        shards = split_shards(state, 4, split)
        for shard in shards:
            shard["rope.freqs"] = torch.ones(3)
            shard["layers.0.attention.inner_attention.rope.freqs"] = torch.ones(3)
        merged = merge_shards(shards)
        assert merged.keys() == state.keys()
        assert all(torch.equal(merged[name], state[name]) for name in state)


def test_old_files_with_tables_and_unknown_vocabulary_load(tmp_path: Path) -> None:
    """As LLaMA 1 was given out: rope.freqs among the weights, vocab_size -1."""
    model = random_model(torch.float16)
    state = {k: v.detach() for k, v in model.named_parameters()}
    state["rope.freqs"] = torch.ones(4)
    state["layers.0.attention.inner_attention.rope.freqs"] = torch.ones(4)
    torch.save(state, tmp_path / "consolidated.00.pth")
    params = model.config.to_meta() | {"vocab_size": -1}
    (tmp_path / "params.json").write_text(json.dumps(params))
    loaded, _ = quiet_load(tmp_path)
    assert same(model, loaded)
    # ... nested under "model", and in torch's older file format, which cannot be mapped.
    (tmp_path / "params.json").write_text(json.dumps({"model": params}))
    torch.save(state, tmp_path / "consolidated.00.pth", _use_new_zipfile_serialization=False)
    loaded, _ = quiet_load(tmp_path)
    assert same(model, loaded)


def test_a_number_of_shards_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="n_kv_heads is 3"):
        save(random_model(), tmp_path / "x", "meta", shards=2)
    assert not (tmp_path / "x").exists()


def test_a_shard_saves_its_slice_and_not_the_whole_storage(tmp_path: Path) -> None:
    save(random_model(**SHARDABLE), tmp_path / "1", "meta")
    save(random_model(**SHARDABLE), tmp_path / "8", "meta", shards=8)
    one = (tmp_path / "1" / "consolidated.00.pth").stat().st_size
    eighth = (tmp_path / "8" / "consolidated.00.pth").stat().st_size
    assert eighth < one / 4  # a file of torch's has some kilobytes besides


def test_the_embedding_split_is_told_by_shape() -> None:
    assert embedding_split_of((32_000, 2048), 2, 4096) == "dim"
    assert embedding_split_of((16_032, 8192), 8, 8192) == "vocab"
    with pytest.raises(CourseError, match="Are all shards there"):
        embedding_split_of((32_000, 1024), 2, 4096)
    assert shard_dim("tok_embeddings.weight", "vocab") == 0


# ---- round trips --------------------------------------------------------------------------------

WAYS: list[tuple[str, dict[str, Any]]] = [
    ("huggingface", {}),
    ("huggingface", {"max_shard_bytes": 100_000}),
    ("meta", {}),
    ("llama2c", {}),
    ("llama2c", {"version": 1}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("format", "options"), WAYS)
def test_each_format_gives_back_what_it_was_given(
    tmp_path: Path, format: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    model = random_model(dtype)
    save(model, tmp_path, format, **options)
    # llama2.c stores float32, in which the narrower numbers are exact.
    loaded, tokenizer = quiet_load(tmp_path, dtype=dtype)
    assert same(model, loaded)
    assert tokenizer is None
    assert not loaded.training


def test_a_tour_through_all_formats_changes_nothing(tmp_path: Path) -> None:
    model = here = random_model(torch.bfloat16)
    tour = [*WAYS, WAYS[2], WAYS[0], WAYS[3], WAYS[1]]
    for i, (format, options) in enumerate(tour):
        save(here, tmp_path / str(i), format, **options)
        here, _ = quiet_load(tmp_path / str(i), dtype=torch.bfloat16)
    assert same(model, here)


@pytest.mark.parametrize(("format", "options"), [w for w in WAYS if w[0] != "meta"])
def test_tied_weights_are_stored_once(tmp_path: Path, format: str, options: dict[str, Any]) -> None:
    tied, untied = random_model(tie_embeddings=True), random_model()
    save(tied, tmp_path / "tied", format, **options)
    save(untied, tmp_path / "untied", format, **options)
    loaded, _ = quiet_load(tmp_path / "tied")
    assert same(tied, loaded)
    assert loaded.output is None
    size = {
        name: sum(p.stat().st_size for p in (tmp_path / name).iterdir())
        for name in ("tied", "untied")
    }
    assert size["untied"] - size["tied"] > 0.9 * tied.tok_embeddings.weight.nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_q8_0_is_within_half_a_step_of_its_scale(tmp_path: Path, dtype: torch.dtype) -> None:
    model = random_model(dtype)
    with torch.no_grad():
        model.layers[0].attention.wq.weight[:8] = 0.0  # groups without a scale
    save(model, tmp_path, "llama2c", version=2)
    loaded, _ = quiet_load(tmp_path)
    mine = dict(model.named_parameters())
    for name, weight in loaded.named_parameters():
        assert weight.dtype == torch.float32
        if weight.ndim == 1:
            assert torch.equal(weight, mine[name].float())  # norms are stored as they are
            continue
        groups = mine[name].float().reshape(-1, 32)  # 64 halved until it divides 96
        step = groups.abs().amax(1, keepdim=True) / 127
        error = (weight.reshape(-1, 32) - groups).abs()
        # The rounding of float32 (2^-24 of the value, in three operations) comes on top.
        assert (error <= step / 2 + 4 * 2**-24 * groups.abs().amax(1, keepdim=True)).all()
    # Read and written once more, the integers stay what they are.
    save(loaded, tmp_path / "again", "llama2c", version=2)
    assert same(loaded, quiet_load(tmp_path / "again")[0])


def test_llama2c_by_hand(tmp_path: Path) -> None:
    """Version 0 written from the description of the format, without our writer."""
    import struct

    model = random_model()
    state = {k: v.detach() for k, v in model.named_parameters()}

    def block(name: str) -> bytes:
        return b"".join(state[f"layers.{i}.{name}.weight"].numpy().tobytes() for i in range(2))

    data = struct.pack("<7i", 96, 131, 2, 12, 3, -301, 50)
    data += state["tok_embeddings.weight"].numpy().tobytes() + block("attention_norm")
    data += b"".join(block(f"attention.{w}") for w in ("wq", "wk", "wv", "wo")) + block("ffn_norm")
    data += b"".join(block(f"feed_forward.{w}") for w in ("w1", "w2", "w3"))
    data += state["norm.weight"].numpy().tobytes() + bytes(2 * 50 * 4 * 4)
    data += state["output.weight"].numpy().tobytes()
    (tmp_path / "stories.bin").write_bytes(data)
    loaded, _ = quiet_load(tmp_path / "stories.bin", max_seq_len=2048)
    assert same(model, loaded)
    assert quiet_load(tmp_path)[0].config.max_seq_len == 50
    save(loaded, tmp_path / "ours.bin", "llama2c", drop=("max_seq_len",))
    # Ours differs only in the header's length and the two tables that nobody reads.
    ours = (tmp_path / "ours.bin").read_bytes()
    tables = 2 * 2048 * 4 * 4
    head = len(state["output.weight"].numpy().tobytes())
    assert ours[28 : -head - tables] == data[28 : -head - 1600]
    assert ours[-head:] == data[-head:]


def test_views_and_shared_storage_are_saved_as_what_they_show(tmp_path: Path) -> None:
    """Weights that are slices of one tensor, as after a fusion is undone."""
    model = random_model()
    attention = model.layers[0].attention
    both = torch.cat([attention.wk.weight.detach(), attention.wv.weight.detach()])
    attention.wk.weight = torch.nn.Parameter(both[:24])
    attention.wv.weight = torch.nn.Parameter(both[24:])
    attention.wo.weight = torch.nn.Parameter(attention.wo.weight.detach().t().contiguous().t())
    for format in ("huggingface", "meta", "llama2c"):
        save(model, tmp_path / format, format)
        assert same(quiet_load(tmp_path / format)[0], random_model())


# ---- fields that a format lacks -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "field", "value"),
    [
        ("llama2c", "norm_eps", 1e-6),
        ("llama2c", "rope_theta", 5e5),
        ("llama2c", "rope_scaling", RopeScaling("linear", 2.0, 2048)),
        ("llama2c", "head_dim", 16),
        ("meta", "max_seq_len", 256),
        ("meta", "tie_embeddings", True),
        ("meta", "head_dim", 16),
        ("meta", "rope_scaling", RopeScaling("yarn", 4.0, 2048)),
    ],
)
def test_save_refuses_and_names_the_field(
    tmp_path: Path, format: str, field: str, value: Any
) -> None:
    model = random_model(**{field: value})
    with pytest.raises(CourseError, match=f"cannot express {field}="):
        save(model, tmp_path / "x", format)
    assert not (tmp_path / "x").exists()
    if field == "head_dim":  # it fixes the shapes, so it cannot be given up
        with pytest.raises(CourseError, match="drop cannot name 'head_dim'"):
            save(model, tmp_path / "x", format, drop=["head_dim"])
        return
    save(model, tmp_path / "x", format, drop=[field])
    given = {} if field == "tie_embeddings" else {field: value}
    loaded, _ = quiet_load(tmp_path / "x", **given)
    if field == "tie_embeddings":
        assert torch.equal(loaded.output.weight, model.tok_embeddings.weight)
    else:
        assert same(model, loaded)


def test_what_is_assumed_is_told_once_and_can_be_given(tmp_path: Path) -> None:
    save(random_model(), tmp_path / "m", "meta")
    with pytest.warns(AssumedField, match="max_seq_len=2048.*load"):
        load(tmp_path / "m")
    save(random_model(), tmp_path / "c", "llama2c")
    with pytest.warns(AssumedField) as told:
        load(tmp_path / "c")
    assert len(told) == 1
    assert all(f in str(told[0].message) for f in ("norm_eps=1e-05", "rope_theta=10000.0"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = load(tmp_path / "m", max_seq_len=77)
        load(tmp_path / "c", norm_eps=1e-6, rope_theta=5e5)
    assert model.config.max_seq_len == 77


def test_presets_survive_each_format_or_name_the_field() -> None:
    """On headers alone, at the real sizes: nothing is allocated."""
    from llama_course.checkpoints.store import MAY_DROP, _expressible

    for name, config in PRESETS.items():
        for format in ("huggingface", "meta", "llama2c"):
            try:
                assert _expressible(config, format, 0, ()) == config
            except CourseError as error:
                assert format != "huggingface", f"{name}: {error}"
                assert any(f"{field}=" in str(error) for field in MAY_DROP)
    assert _expressible(PRESETS["7B"], "meta", 0, ()) == PRESETS["7B"]
    with pytest.raises(CourseError, match="norm_eps=1e-06"):
        _expressible(PRESETS["7B"], "llama2c", 0, ())


def test_llama_3_1_keeps_its_scaling_in_metas_format(tmp_path: Path) -> None:
    model = random_model(rope_scaling=LLAMA_3_1_SCALING, rope_theta=5e5, max_seq_len=131_072)
    save(model, tmp_path, "meta")
    assert json.loads((tmp_path / "params.json").read_text())["use_scaled_rope"] is True
    assert same(model, quiet_load(tmp_path)[0])


# ---- names and rows -----------------------------------------------------------------------------


def test_names_go_both_ways() -> None:
    names = list(weight_shapes(ModelConfig.preset("toy")))
    assert [meta_name(huggingface_name(name)) for name in names] == names
    assert len(names) == 9 * 2 + 3
    assert meta_name("model.layers.0.self_attn.q_proj.bias") is None
    assert meta_name("model.layers.0.self_attn.rotary_emb.inv_freq") is None


def test_rows_of_q_and_k_move_as_the_two_layouts_say() -> None:
    """One head of 6 rows: pairs (0 1)(2 3)(4 5) become halves 0 2 4, 1 3 5. Only q and k."""
    config = ModelConfig(dim=12, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=7)
    rows = torch.arange(12.0)[:, None].expand(12, 12).contiguous()
    state = {
        f"layers.0.attention.{w}.weight": rows[:n]
        for w, n in (("wq", 12), ("wk", 6), ("wv", 6), ("wo", 12))
    }
    moved = meta_to_huggingface(state, config)
    first = {name.split(".")[4]: moved[name][:, 0].tolist() for name in moved}
    assert first["q_proj"] == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    assert first["k_proj"] == [0, 2, 4, 1, 3, 5]
    assert first["v_proj"] == list(range(6))
    assert first["o_proj"] == list(range(12))
    back = huggingface_to_meta(moved, config)
    assert all(torch.equal(back[name], state[name]) for name in state)


# ---- inspection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "options"), WAYS)
def test_inspection_tells_what_loading_gives(
    tmp_path: Path, format: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model()
    save(model, tmp_path, format, **options)
    for module in ("huggingface.HuggingFaceCheckpoint", "meta.MetaCheckpoint"):
        monkeypatch.setattr(f"llama_course.checkpoints.{module}.read", None)
    monkeypatch.setattr("llama_course.checkpoints.llama2c.Llama2cCheckpoint.read", None)
    info = inspect_checkpoint(tmp_path)
    assert info.format == format
    assert info.config == model.config
    n = sum(p.numel() for p in model.parameters())
    assert info.n_parameters == n
    assert info.stored == {"float32": 4 * n}
    assert info.stored_bytes == 4 * n
    assert info.memory["int4"] == n // 2
    assert info.memory["bfloat16"] == 2 * n
    assert info.tokenizer is None
    assert dataclasses.is_dataclass(info)


def test_inspection_counts_a_tied_embedding_once(tmp_path: Path) -> None:
    model = random_model(torch.bfloat16, tie_embeddings=True)
    save(model, tmp_path, "llama2c", version=2)
    info = inspect_checkpoint(tmp_path)
    assert info.variant == "version 2"
    assert info.n_parameters == sum(p.numel() for p in model.parameters())
    assert set(info.stored) == {"q8_0", "float32"}
    assert isinstance(Llama(info.config), Llama)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("7B", 6_738_415_616),
        ("13B", 13_015_864_320),
        ("33B", 32_528_943_616),
        ("65B", 65_285_660_672),
    ],
)
def test_the_published_sizes_by_arithmetic(size: str, count: int) -> None:
    # LLaMA (arXiv 2302.13971), table 2 gives 6.7, 13.0, 32.5 and 65.2 billion.
    assert n_parameters(ModelConfig.preset(size)) == count
