"""Loading costs no memory that it need not, and fills any class with Meta's names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import quiet_load, random_model, same
from torch import nn

from llama_course.checkpoints import load, save
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Llama

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def anonymous() -> int:
    """Bytes of this process's memory that no file stands behind."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024


@linux
@pytest.mark.parametrize(
    ("format", "options"),
    [("huggingface", {}), ("meta", {}), ("llama2c", {}), ("llama2c", {"version": 1})],
)
def test_mapped_weights_take_no_memory(
    tmp_path: Path, format: str, options: dict[str, Any]
) -> None:
    model = random_model(vocab_size=80_000, n_layers=1)  # 61 MB, nearly all of it embeddings
    save(model, tmp_path, format, **options)
    quiet_load(tmp_path)  # what is imported and cached on the first use
    before = anonymous()
    loaded, _ = quiet_load(tmp_path)
    assert anonymous() - before < 4e6
    assert same(loaded, model)  # reads every page
    assert anonymous() - before < 8e6


@linux
def test_a_conversion_holds_one_copy(tmp_path: Path) -> None:
    """float32 to bfloat16: half the file's size, and not the file's pages besides."""
    model = random_model(vocab_size=80_000, n_layers=1)
    save(model, tmp_path, "meta")
    quiet_load(tmp_path)
    before = anonymous()
    loaded, _ = quiet_load(tmp_path, dtype=torch.bfloat16)
    weights = sum(p.nbytes for p in loaded.parameters())
    # The largest tensor here is half of all; a mapped source adds nothing to it.
    assert anonymous() - before < 1.05 * weights + 4e6
    assert loaded.norm.weight.dtype == torch.bfloat16


def test_dtype_and_device(tmp_path: Path) -> None:
    model = random_model()
    for format in ("huggingface", "meta", "llama2c"):
        save(model, tmp_path / format, format)
        loaded, _ = quiet_load(tmp_path / format, dtype=torch.float16)
        for mine, theirs in zip(model.parameters(), loaded.parameters(), strict=True):
            assert torch.equal(mine.half(), theirs)
        assert all(p.requires_grad for p in loaded.parameters())
        skeleton, _ = quiet_load(tmp_path / format, device="meta")
        assert all(p.is_meta for p in skeleton.parameters())
        saved = tmp_path / f"{format}-bf16"
        save(model, saved, format, dtype=torch.bfloat16)
        again, _ = quiet_load(saved, dtype=torch.bfloat16)
        assert torch.equal(again.norm.weight, model.norm.weight.bfloat16())


class MyLlama(nn.Module):
    """A learner's model: Meta's names, an output of its own, a table computed when it is made."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        inner = Llama(config)
        self.layers = inner.layers
        self.norm = inner.norm
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.register_buffer("positions", torch.arange(10.0), persistent=False)
        self.angles = torch.arange(4) / 4


@pytest.mark.parametrize("tied", [True, False])
def test_any_class_with_metas_names_is_filled(tmp_path: Path, tied: bool) -> None:
    model = random_model(tie_embeddings=tied)
    save(model, tmp_path)
    mine, _ = load(tmp_path, build=MyLlama)
    assert torch.equal(mine.tok_embeddings.weight, model.tok_embeddings.weight)
    assert (mine.output.weight is mine.tok_embeddings.weight) == tied
    assert mine.positions.tolist() == list(range(10))  # not left on meta, without numbers
    assert mine.angles.tolist() == [0, 0.25, 0.5, 0.75]
    assert not mine.training
    save(mine, tmp_path / "again")  # and is saved: a tied output once
    assert same(load(tmp_path / "again")[0], model)


def test_a_class_that_looks_at_its_numbers(tmp_path: Path) -> None:
    class Looks(Llama):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            self.top = torch.arange(5).max().item()

    save(random_model(), tmp_path)
    assert load(tmp_path, build=Looks)[0].top == 4


def test_the_parameters_on_meta_leave_torch_as_it_was(tmp_path: Path) -> None:
    register = nn.Module.register_parameter
    save(random_model(), tmp_path)
    load(tmp_path, build=MyLlama)
    assert nn.Module.register_parameter is register
    assert not nn.Linear(2, 2).weight.is_meta


def test_a_class_with_other_names_is_told_which(tmp_path: Path) -> None:
    class Other(Llama):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            self.final_norm = self.norm
            del self.norm

    class Turned(Llama):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            self.layers[0].feed_forward.w2 = nn.Linear(config.dim, config.hidden_dim, bias=False)

    save(random_model(), tmp_path)
    with pytest.raises(CourseError, match=r"lacks norm.weight, and it has final_norm.weight"):
        load(tmp_path, build=Other)
    with pytest.raises(CourseError, match=r"w2.weight with shape \(131, 96\)"):
        load(tmp_path, build=Turned)


def test_what_is_no_plain_llama_is_not_saved(tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(96, 96, bias=False)
            self.register_buffer("scale", torch.ones(96))

    replaced, adapted, quantized, bare = (random_model() for _ in range(4))
    replaced.layers[0].attention.wq = Scaled()
    adapted.layers[1].attention.wq.lora_a = nn.Parameter(torch.ones(2, 96))
    quantized.layers[0].feed_forward.w1 = nn.Identity()
    del bare.config
    with torch.device("meta"):
        empty = Llama(adapted.config)
    different = random_model(tie_embeddings=True)
    different.output = nn.Linear(96, 301, bias=False)
    for model, pattern in [
        (replaced, "keeps more than its weight"),
        (adapted, r"1 unknown \(layers.1.attention.wq.lora_a\)"),
        (quantized, r"1 missing \(layers.0.feed_forward.w1"),
        (bare, "no .config"),
        (empty, "on the device meta"),
        (different, "differs from its embedding"),
    ]:
        with pytest.raises(CourseError, match=pattern):
            save(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_one_file_stands_for_its_folder(tmp_path: Path) -> None:
    model = random_model()
    save(model, tmp_path / "hf")
    save(model, tmp_path / "meta", "meta")
    save(model, tmp_path / "c" / "tiny.bin", "llama2c")
    for path in (
        "hf/config.json",
        "hf/model.safetensors",
        "meta/consolidated.00.pth",
        "c/tiny.bin",
    ):
        assert same(quiet_load(tmp_path / path)[0], model)
    assert same(quiet_load(tmp_path / "c")[0], model)


def test_a_bar_is_shown_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(random_model(), tmp_path, progress=True)
    load(tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "saving" in shown and "loading" in shown and "100%" in shown
    save(random_model(), tmp_path)
    load(tmp_path)
    assert capsys.readouterr().err == ""
