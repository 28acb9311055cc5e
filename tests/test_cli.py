"""The command line: what it prints, and that bad input is one sentence and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_course.checkpoints import load, save
from llama_course.cli import run
from llama_course.config import ModelConfig
from llama_course.model import Llama
from llama_course.tokenizers import SentencePieceTokenizer, train_sentencepiece

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    words = " ".join(f"{a}{b}" for a in ("ba", "lo", "ri", "tu") for b in ("mo", "ne", "sa", "vi"))
    return train_sentencepiece([words * 30], vocab_size=300)


@pytest.fixture(scope="module")
def model(tokenizer) -> Llama:
    torch.manual_seed(0)
    config = ModelConfig(
        dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=tokenizer.vocab_size, max_seq_len=64
    )
    return Llama(config)


@pytest.fixture
def hugging(tmp_path, model, tokenizer) -> Path:
    save(model, tmp_path / "hf", tokenizer=tokenizer)
    return tmp_path / "hf"


def told(capsys, *arguments: str) -> str:
    """The one sentence that a failing command prints."""
    code = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert code == 2, err
    assert len(lines) == 1 and lines[0].startswith("llama-course: "), err
    assert "Traceback" not in out + err
    return lines[0]


# ---- what works -------------------------------------------------------------------------------


def test_generate_streams_text_and_repeats_with_a_seed(hugging, capsys) -> None:
    line = ["generate", str(hugging), "-p", "bamo", "-n", "20", "--seed", "3"]
    assert run(line) == 0
    first = capsys.readouterr().out
    assert run(line) == 0
    assert capsys.readouterr().out == first
    assert first.startswith("bamo") and len(first) > 6


def test_compare_says_where_two_checkpoints_differ(hugging, tmp_path, model, capsys) -> None:
    save(model, tmp_path / "meta", format="meta", drop=("max_seq_len",))
    assert run(["compare", str(hugging), str(tmp_path / "meta"), "--max-seq-len", "64"]) == 0
    assert "No difference." in capsys.readouterr().out
    weights = load_file(hugging / "model.safetensors")
    name = "model.layers.1.self_attn.k_proj.weight"
    weights[name] = weights[name].unflatten(0, (2, -1, 2)).transpose(1, 2).flatten(0, 2)
    shutil.copytree(hugging, tmp_path / "wrong")
    save_file(weights, tmp_path / "wrong" / "model.safetensors")
    assert run(["compare", str(tmp_path / "meta"), str(tmp_path / "wrong"), "-p", "bamo",
                "--max-seq-len", "64"]) == 2  # fmt: skip
    assert "tokenizer" in capsys.readouterr().err  # of A, which has none
    assert run(["compare", str(hugging), str(tmp_path / "wrong"), "-p", "bamo"]) == 1
    out = capsys.readouterr().out
    assert "layers.1.attention.wk weight" in out and "Hugging Face's order" in out
    assert "Its output moves by up to" in out and "tolerance: weights" in out


def test_compare_with_what_cannot_be(hugging, tmp_path, capsys) -> None:
    assert "nothing at" in told(capsys, "compare", hugging, tmp_path / "nowhere")
    assert "dtype cannot be" in told(capsys, "compare", hugging, hugging, "--dtype", "float8")
    assert "name that first" in told(capsys, "compare", "mine", hugging)


def test_convert_there_and_back_keeps_every_bit(hugging, tmp_path, model, capsys) -> None:
    steps = [
        ("meta", ["--shards", "2", "--drop", "max_seq_len"]),
        ("llama2c", []),
        ("huggingface", []),
    ]
    source = hugging
    for i, (name, more) in enumerate(steps):
        target = tmp_path / f"{i}-{name}"
        length = ["--max-seq-len", "64"] if source.name.endswith("meta") else []
        assert run(["convert", str(source), str(target), "--to", name, *more, *length]) == 0
        source = target
    again, tokenizer = load(source)
    assert again.config == model.config
    assert tokenizer is not None
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def test_inspect_a_checkpoint_and_a_named_size(hugging, capsys) -> None:
    assert run(["inspect", str(hugging)]) == 0
    out = capsys.readouterr().out
    for words in ("huggingface", "n_kv_heads        2", "SentencePieceTokenizer"):
        assert words in out
    assert run(["inspect", "7B"]) == 0
    out = capsys.readouterr().out
    assert "6,738,415,616" in out and "12.551 GiB" in out and "512 KiB" in out


def test_doctor_names_the_machine_and_what_fits(capsys) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for words in (
        "Python",
        torch.__version__,
        "Device cpu",
        "Disk",
        "MPS",
        "7B",
        "65B",
        "bfloat16",
    ):
        assert words in out


def test_help_answers_without_torch() -> None:
    code = (
        "import sys; from llama_course.cli import run; run(['--help']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("False"), done.stderr
    for command in ("lab", "demo", "doctor", "train", "generate", "convert", "inspect", "test"):
        assert f"  {command} " in done.stdout


# ---- bad input --------------------------------------------------------------------------------


def test_missing_path(tmp_path, capsys) -> None:
    assert "nowhere" in told(capsys, "generate", tmp_path / "nowhere")
    assert "nowhere" in told(capsys, "inspect", tmp_path / "nowhere")
    assert "nowhere" in told(
        capsys, "convert", tmp_path / "nowhere", tmp_path / "x", "--to", "meta"
    )


def test_empty_folder(tmp_path, capsys) -> None:
    assert str(tmp_path) in told(capsys, "generate", tmp_path)


@pytest.mark.parametrize("format", ["huggingface", "meta", "llama2c"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6, 0.999])
def test_truncated_file(format, share, tmp_path, model, tokenizer, capsys) -> None:
    save(model, tmp_path / "x", format=format, tokenizer=tokenizer, drop=("max_seq_len",))
    weights = max((tmp_path / "x").iterdir(), key=lambda p: p.stat().st_size)
    os.truncate(weights, int(weights.stat().st_size * share))
    assert weights.name in told(capsys, "generate", tmp_path / "x")


def edit(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = {name: t.clone() for name, t in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_wrong_shape(hugging, capsys) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    edit(hugging, lambda t: t.update({name: torch.zeros(32, 7)}))
    words = told(capsys, "generate", hugging)
    assert "w2" in words or "down_proj" in words
    assert "7" in words


def test_missing_and_unknown_tensors(hugging, capsys) -> None:
    edit(hugging, lambda t: t.update({"model.extra.weight": torch.zeros(1)}))
    assert "model.extra.weight" in told(capsys, "generate", hugging)
    edit(
        hugging,
        lambda t: (t.pop("model.extra.weight"), t.pop("model.layers.0.self_attn.v_proj.weight")),
    )
    words = told(capsys, "generate", hugging)
    assert "v_proj" in words or "wv" in words


def test_a_pickle_that_would_run_code(tmp_path, model, capsys) -> None:
    save(model, tmp_path / "x", format="meta", drop=("max_seq_len",))
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    torch.save({"tok_embeddings.weight": Evil()}, tmp_path / "x" / "consolidated.00.pth")
    assert "consolidated.00.pth" in told(capsys, "generate", tmp_path / "x")
    assert not ran.exists()


def test_heads_that_do_not_divide(hugging, capsys) -> None:
    path = hugging / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "num_key_value_heads": 3}))
    assert "n_heads is 4" in told(capsys, "generate", hugging)


def test_a_tokenizer_of_another_size(hugging, capsys) -> None:
    other = train_sentencepiece(["lomo rine tusa bavi lone risa " * 50], vocab_size=310)
    other.save(hugging / "tokenizer.model")
    words = told(capsys, "generate", hugging)
    assert "310" in words and "300" in words


def test_a_prompt_longer_than_the_context(hugging, capsys) -> None:
    assert "context of 64" in told(capsys, "generate", hugging, "-p", "bamo " * 80)


def test_an_unknown_preset(capsys, tmp_path) -> None:
    assert "did you mean 7B" in told(capsys, "inspect", "7b")
    words = told(capsys, "train", "--preset", "storys15M", "--folder", tmp_path / "run")
    assert "stories15M" in words


def test_no_memory_for_the_size_asked(capsys, tmp_path, hugging, monkeypatch) -> None:
    words = told(capsys, "train", "--preset", "65B", "--folder", tmp_path / "run")
    assert "64,778,149,888 parameters" in words  # 65B with a vocabulary of 1,024
    assert "at least 1036.45 GB" in words and "are free on cpu" in words
    assert not (tmp_path / "run").exists()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("llama_course.checkpoints") and hasattr(
            module, "free_memory"
        ):
            monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    assert "free" in told(capsys, "generate", hugging, "--dtype", "bfloat16")


def test_a_checkpoint_without_a_tokenizer(tmp_path, model, capsys) -> None:
    save(model, tmp_path / "x")
    assert "tokenizer.model" in told(capsys, "generate", tmp_path / "x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "{hf}", "--device", "cuda:7"], "no device 'cuda:7'"),
        (["generate", "{hf}", "--device", "gpu"], "no device 'gpu'"),
        (["generate", "{hf}", "--dtype", "bf16"], "bfloat16"),
        (["generate", "{hf}", "--temperature", "-1"], "temperature must be"),
        (["convert", "{hf}", "{new}", "--to", "ggml"], "--to cannot be 'ggml'"),
        (
            ["convert", "{hf}", "{new}", "--to", "meta", "--drop", "max_seq_len", "--shards", "3"],
            "shards",
        ),
        (["convert", "{hf}", "{hf}", "--to", "meta", "--drop", "max_seq_len"], "huggingface"),
        (["convert", "{hf}", "{new}", "--to", "meta"], "max_seq_len"),
        (["demo", "--corpus", "tiny-shakespear"], "did you mean tiny-shakespeare"),
        (["demo", "--seconds", "0"], "some seconds"),
        (["train", "--corpus", "wikitext"], "no corpus named 'wikitext'"),
        (["train", "--text", "{new}"], "no text file"),
        (["train", "--text", "{hf}/model.safetensors"], "not UTF-8"),
        (["train", "--text", "{hf}/config.json", "--corpus", "python-docs"], "not both"),
        (["train", "--steps", "0"], "steps must be"),
        (["train", "--tokenizer", "{hf}/config.json", "--corpus", "python-docs"], "config.json"),
    ],
)
def test_other_arguments_that_cannot_be(arguments, words, hugging, tmp_path, capsys) -> None:
    filled = [a.format(hf=hugging, new=tmp_path / "new") for a in arguments]
    if filled[0] in ("demo", "train"):
        filled += ["--folder", str(tmp_path / "run")]
    assert words in told(capsys, *filled)


@pytest.mark.parametrize("arguments", [["doctr"], ["generate"], ["generate", "x", "-n", "many"]])
def test_usage_errors_end_with_2(arguments, capsys) -> None:
    assert run(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_what_was_not_foreseen_is_one_sentence_and_code_1(monkeypatch, capsys) -> None:
    import llama_course.workbook.doctor as doctor

    monkeypatch.setattr(doctor, "versions", lambda: 1 / 0)
    assert run(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "LLAMA_COURSE_DEBUG=1" in err and "Traceback" not in err
    monkeypatch.setenv("LLAMA_COURSE_DEBUG", "1")
    assert run(["doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_become_notes(tmp_path, model, tokenizer, capsys) -> None:
    save(model, tmp_path / "x", format="meta", tokenizer=tokenizer, drop=("max_seq_len",))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(["generate", str(tmp_path / "x"), "-p", "bamo", "-n", "3"]) == 0
    err = capsys.readouterr().err
    assert "note: " in err and "max_seq_len" in err
