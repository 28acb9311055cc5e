"""Planted differences between two checkpoints: the right one is named, with what it means."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch
from parity_samples import CONFIG, changed, random_model, twin

from llama_course.checkpoints import load, save
from llama_course.checkpoints.huggingface import huggingface_to_meta_rows, meta_to_huggingface_rows
from llama_course.config import ModelConfig, RopeScaling
from llama_course.errors import CourseError
from llama_course.model import Llama
from llama_course.parity import first_divergence, side

Q, K, V = (f"layers.1.attention.w{letter}" for letter in "qkv")
UP, DOWN, GATE = (f"layers.1.feed_forward.w{i}" for i in (3, 2, 1))


@pytest.fixture(scope="module")
def model() -> Llama:
    return random_model()


@pytest.fixture(scope="module")
def square() -> Llama:
    """As in 7B: heads share dim, with a key head for each; matrices are square."""
    config = ModelConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=40, vocab_size=50)
    return random_model(config)


def test_equal_models_are_equal_and_nothing_is_computed(model, monkeypatch) -> None:
    from llama_course.parity.trace import Trace

    monkeypatch.setattr(Trace, "calls", None)
    found = first_divergence(model, twin(model))
    assert found.equal and found.first is None
    assert "No difference" in str(found) and "last bit" in str(found)


def noise(w: torch.Tensor) -> torch.Tensor:
    return torch.randn(w.shape, generator=torch.Generator().manual_seed(1))


PLANTED = {
    "permutation left out": (Q, lambda w: meta_to_huggingface_rows(w, 6), "Hugging Face's order"),
    "permuted once too often": (Q, lambda w: huggingface_to_meta_rows(w, 6), "Meta's already"),
    "k left out": (K, lambda w: meta_to_huggingface_rows(w, 2), "Hugging Face's order"),
    "k read with n_heads": (
        # 20 rows: as 2 heads of 10 and, wrongly, as 10 heads of 2 they can be cut; 6 do not fit
        K,
        lambda w: w.flip(0),
        "the same rows as A's, in another order",
    ),
    "v permuted too": (V, lambda w: meta_to_huggingface_rows(w, 2), "Hugging Face's order"),
    "gate is up": (GATE, lambda w: w * 0 + 1, "all ones"),
    "zeros": (DOWN, lambda w: w * 0, "all zeros"),
    "rounded to bfloat16": (UP, lambda w: w.bfloat16().float(), "rounded to bfloat16"),
    "rounded to float16": (UP, lambda w: w.half().float(), "rounded to float16"),
    "scaled": (V, lambda w: w * 0.5, "every number is 0.5 times A's"),
    "columns in another order": (UP, lambda w: w.roll(1, 1), "the same columns as A's"),
    "signs": (Q, lambda w: w.flip(0) * torch.tensor([1.0, -1.0]).repeat(30)[:, None], "sign turn"),
    "shards joined in another order": (
        UP,
        lambda w: torch.cat(w.chunk(4)[::-1]),
        "4 shards were joined in another order of rows",
    ),
    "column shards": (
        DOWN,
        lambda w: torch.cat(w.chunk(2, 1)[::-1], 1),
        "2 shards were joined in another order of columns",
    ),
    "norm as Gemma's": ("layers.1.ffn_norm", lambda w: w - 1, "weight - 1"),
    "norms exchanged": ("layers.2.ffn_norm", None, "A's attention_norm"),
    "noise": (DOWN, lambda w: w + 1e-4 * noise(w), "None of the usual mistakes"),
    "more noise": (DOWN, lambda w: w + 1e-3 * noise(w), "None of the usual mistakes"),
    "scaled in part": (
        DOWN,
        lambda w: w * torch.linspace(1, 1.001, 64),
        "None of the usual mistakes",
    ),
    "scaled by a little": (V, lambda w: w * 1.0001, "every number is 1.0001 times A's"),
    "permuted the wrong way round": (
        Q,
        lambda w: huggingface_to_meta_rows(huggingface_to_meta_rows(w, 6), 6),
        "the wrong way round when it was written",
    ),
    "something else": (DOWN, lambda w: w + torch.linspace(0, 1, 64), "None of the usual mistakes"),
    "a small number": (
        DOWN,
        lambda w: w.index_put((torch.tensor(5), torch.tensor(7)), w[5, 7] + 1e-3),
        "None of the usual mistakes",
    ),
    "one number": (
        "tok_embeddings",
        lambda w: w.index_put((torch.tensor(5), torch.tensor(7)), torch.tensor(9.0)),
        "None of the usual mistakes",
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_weight_is_named_with_what_it_means(model, kind) -> None:
    name, change, words = PLANTED[kind]
    if change is None:
        change = lambda w: model.get_parameter("layers.2.attention_norm.weight").detach()  # noqa: E731
    found = first_divergence(model, changed(model, name, change))
    assert found.first is not None and len(found.differences) == 1
    assert found.first.component == f"{name} weight"
    assert words in " ".join(found.first.meanings)
    assert found.first.max_abs > 0 and found.first.relative > 0
    one, two = model.get_parameter(f"{name}.weight"), change(model.get_parameter(f"{name}.weight"))
    assert found.first.max_abs == pytest.approx(float((one - two).detach().abs().max()), rel=1e-5)


def test_k_permuted_as_if_it_had_n_heads(tmp_path) -> None:
    config = dataclasses.replace(CONFIG, n_heads=6, n_kv_heads=2, head_dim=12)  # 24 rows of k
    model = random_model(config)
    for there, back in ((2, 6), (6, 2)):

        def mixed(w: torch.Tensor, there: int = there, back: int = back) -> torch.Tensor:
            return huggingface_to_meta_rows(meta_to_huggingface_rows(w, there), back)

        found = first_divergence(model, changed(model, K, mixed)).first
        assert found is not None and found.component == f"{K} weight"
        assert "as if it had 6 heads (n_heads); it has 2" in found.meanings[0]


def test_gate_and_up_swapped_in_one_layer(model) -> None:
    other = twin(model)
    gate, up = (other.get_parameter(f"{name}.weight") for name in (GATE, UP))
    with torch.no_grad():
        gate.data, up.data = up.data, gate.data
    found = first_divergence(model, other)
    assert [d.component for d in found.differences] == [f"{GATE} weight", f"{UP} weight"]
    assert "gate and up (w1 and w3) are swapped" in found.first.meanings[0]
    assert "output moves by up to" in found.first.meanings[-1]


def test_one_weight_in_two_places_is_not_swapped(model) -> None:
    up = model.get_parameter(f"{UP}.weight").detach()
    found = first_divergence(model, changed(model, GATE, lambda w: up)).first
    assert found.meanings[0].endswith("it is A's w3: one weight serves in both places.")


def test_the_effect_of_every_projection_is_told(model) -> None:
    for name in (Q, K, V, UP, DOWN, GATE, "layers.1.attention.wo", "output"):
        found = first_divergence(model, changed(model, name, lambda w: w * 1.5)).first
        assert found.meanings == (
            "What fits: every number is 1.5 times A's.",
            "Its output moves by up to 0.5 of its largest value.",
        )


def test_a_cause_shows_through_rounding(model) -> None:
    other = changed(model, DOWN, lambda w: w * 1.01)
    found = first_divergence(model, other, dtype=torch.bfloat16)
    assert "1.01 times" in found.first.meanings[0] and found.first.component == f"{DOWN} weight"
    assert "rounded to bfloat16" in found.compared[1]


def test_numbers_that_are_none(model) -> None:
    """What is NaN or infinite in both is equal; in one alone it is a difference."""
    nan, inf = (
        lambda w, n=n: w.index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(n))
        for n in (float("nan"), float("inf"))
    )
    for change in (nan, inf):
        other = changed(model, UP, change)
        assert first_divergence(other, twin(other)).equal
        assert first_divergence(model, other).first.component == f"{UP} weight"
        assert first_divergence(other, model).first.component == f"{UP} weight"
    found = first_divergence(model, changed(model, UP, nan)).first
    assert found.meanings[-1] == "Its output is no number any more."
    assert "largest difference inf" in str(first_divergence(model, changed(model, UP, inf)))


def test_transposed_weights(square) -> None:
    found = first_divergence(square, changed(square, Q, torch.t)).first
    assert found.component == f"{Q} weight" and "transposed" in found.meanings[0]


def test_one_layers_weights_in_place_of_anothers(model) -> None:
    other = twin(model)
    other.layers[2].load_state_dict(other.layers[1].state_dict())
    found = first_divergence(model, other)
    assert found.first.component == "layers.2.attention_norm weight"
    assert "layer 1's" in found.first.meanings[0]
    assert len(found.differences) == 9


def test_a_head_that_is_tied_by_mistake(model) -> None:
    embedding = model.tok_embeddings.weight.detach()
    found = first_divergence(model, changed(model, "output", lambda w: embedding))
    assert found.first.component == "output weight"
    assert "the head is tied" in found.first.meanings[0]
    tied = Llama(dataclasses.replace(model.config, tie_embeddings=True))
    tied.load_state_dict({k: v for k, v in model.state_dict().items() if k != "output.weight"})
    found = first_divergence(model, tied)
    assert found.first.component == "output weight" and "tied" in found.first.meanings[0]
    assert any("tie_embeddings" in note for note in found.notes)


def test_a_head_stored_twice_is_no_difference(model) -> None:
    tied = random_model(dataclasses.replace(CONFIG, tie_embeddings=True))
    apart = Llama(CONFIG)
    state = {**tied.state_dict(), "output.weight": tied.tok_embeddings.weight}
    apart.load_state_dict(state)
    for one, two in ((tied, apart), (apart, tied)):
        found = first_divergence(one, two)
        assert found.equal and any("changes no formula" in note for note in found.notes)


def test_the_first_in_the_order_of_a_forward_comes_first(model) -> None:
    other = changed(
        changed(model, "norm", lambda w: w * 2), "layers.0.feed_forward.w3", torch.zeros_like
    )
    found = first_divergence(model, changed(other, "layers.0.attention.wo", torch.zeros_like))
    assert [d.component for d in found.differences] == [
        "layers.0.attention.wo weight",
        "layers.0.feed_forward.w3 weight",
        "norm weight",
    ]
    assert "Also different: layers.0.feed_forward.w3 weight, norm weight" in str(found)


# ---- configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("norm_eps", 1e-6, "which moves layer 0's attention_norm"),
        ("rope_theta", 500_000.0, "which moves a cosine within"),
        ("rope_scaling", RopeScaling("linear", 2.0, 512), "which moves a cosine within"),
    ],
)
def test_a_config_that_says_something_else(model, field, value, words) -> None:
    found = first_divergence(model, twin(model, **{field: value}))
    assert [d.component for d in found.differences] == [f"config {field}"]
    assert words in found.first.words and found.first.meanings
    assert found.first.max_abs > 0


def test_an_epsilon_that_went_through_float32_is_no_difference(model) -> None:
    """Some exporters write float32's 1e-5 with all digits of a double."""
    found = first_divergence(model, twin(model, norm_eps=9.999999747378752e-06))
    assert found.equal and any("one number in float32" in note for note in found.notes)
    found = first_divergence(model, twin(model, norm_eps=1.001e-05))
    assert "A has 1e-05, B has 1.001e-05" in found.first.words


def test_other_sizes_end_the_comparison(model) -> None:
    other = random_model(dataclasses.replace(CONFIG, n_layers=2))
    found = first_divergence(model, other)
    assert found.first.component == "config n_layers" and "A has 3, B has 2" in found.first.words
    assert any("not compared" in note for note in found.notes)


def test_a_longer_context_is_no_difference(model) -> None:
    found = first_divergence(model, twin(model, max_seq_len=99))
    assert found.equal and any("max_seq_len" in note for note in found.notes)


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    model = random_model(dataclasses.replace(CONFIG, head_dim=8, max_seq_len=2048))
    paths = {}
    for format in ("meta", "huggingface", "llama2c"):
        paths[format] = tmp_path / format
        save(model, paths[format], format=format)
    return paths


def test_one_model_in_three_formats_is_equal(folders) -> None:
    for path in folders.values():
        found = first_divergence(folders["meta"], path)
        assert found.equal, found
    told = " ".join(first_divergence(folders["meta"], folders["llama2c"]).notes)
    assert "does not say norm_eps" in told


def test_other_dtypes_are_equal_after_rounding(folders, tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = load(folders["huggingface"])
    for dtype in (torch.bfloat16, torch.float16):
        path = tmp_path / str(dtype)
        save(model, path, dtype=dtype)
        for one, two in ((folders["huggingface"], path), (path, folders["huggingface"])):
            found = first_divergence(one, two)
            assert found.equal and any("compared after rounding" in n for n in found.notes)
    both = [tmp_path / str(d) for d in (torch.bfloat16, torch.float16)]
    mixed = first_divergence(*both)
    assert any("within 2^-8" in note for note in mixed.notes)
    assert mixed.equal
    assert not first_divergence(folders["huggingface"], both[0], dtype=torch.float32).equal


def test_eight_bit_storage_is_told(folders, tmp_path) -> None:
    model = random_model(ModelConfig(dim=64, n_layers=1, n_heads=2, hidden_dim=64, vocab_size=96,
                                     max_seq_len=2048))  # fmt: skip
    save(model, tmp_path / "a")
    save(model, tmp_path / "b.bin", format="llama2c", version=2)
    found = first_divergence(tmp_path / "a", tmp_path / "b.bin")
    assert "8-bit integers" in " ".join(found.first.meanings)


def test_only_one_tensor_of_each_side_is_held(folders, tmp_path) -> None:
    """Two large checkpoints need no more than both mapped, and one tensor of each."""
    import weakref

    held: list[weakref.ref] = []
    most = 0

    def counting(read):
        def reading(name):
            nonlocal most
            tensor = read(name)
            held.append(weakref.ref(tensor))
            most = max(most, sum(ref() is not None for ref in held))
            return tensor

        return reading

    save(random_model(dataclasses.replace(CONFIG, head_dim=8, max_seq_len=2048)), tmp_path / "b")
    sides = [side(folders["huggingface"]), side(tmp_path / "b")]
    sides = [dataclasses.replace(s, read=counting(s.read)) for s in sides]
    assert first_divergence(*sides).equal
    assert len(held) == 60 and most <= 4  # one of each, and their like of a step before


# ---- what cannot be ------------------------------------------------------------------------------


def test_what_is_no_model_is_refused(model, tmp_path) -> None:
    with pytest.raises(CourseError, match="nothing at"):
        first_divergence(tmp_path / "nowhere", model)
    with pytest.raises(CourseError, match="found Linear"):
        first_divergence(model, torch.nn.Linear(2, 2))
    with pytest.raises(CourseError, match="ids from 0 to 96"):
        first_divergence(model, twin(model), [1, 97])
