"""`llama_course.mine`: the learner's part where it is kept, the library's plain one where not."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest
import torch

from llama_course import mine
from llama_course.errors import CourseError
from llama_course.model import Components, attention, rms_norm
from llama_course.workbook import my_llama

NORM = "def rms_norm(x, weight, eps):\n    return x * {factor}\n"
BLOCK = (
    "from llama_course.mine import rms_norm\n\nclass Block:\n    norm = staticmethod(rms_norm)\n"
)
MODEL = "from llama_course.mine import Block\n\nclass MyLlama:\n    block = Block\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def keep(name: str, text: str) -> None:
    my_llama.folder().mkdir(parents=True, exist_ok=True)
    (my_llama.folder() / f"{name}.py").write_text(text, encoding="utf-8")


def test_without_a_file_it_is_the_librarys_and_always_the_same() -> None:
    from llama_course.mine import rms_norm as one
    from llama_course.mine import rms_norm as two

    assert one is two
    x, weight = torch.randn(3, 8), torch.randn(8)
    assert torch.equal(one(x, weight, 1e-5), rms_norm(x, weight, 1e-5))
    assert mine.whose().yours == ()
    assert mine.whose().library == (*mine.FUNCTIONS, *mine.CACHE)


def test_plain_versions_have_a_learners_arguments() -> None:
    wanted = {
        "rms_norm": ["x", "weight", "eps"],
        "rope_angles": ["positions", "head_dim", "theta"],
        "apply_rope": ["x", "cos", "sin"],
        "causal_mask": ["q_positions", "k_positions"],
        "attention": ["q", "k", "v", "mask"],
        "repeat_kv": ["x", "n"],
        "swiglu": ["x", "w1", "w2", "w3"],
        "Cache": ["batch", "kv_heads", "max_len", "head_dim", "dtype", "device"],
        "decode_positions": ["length", "n_new"],
    }
    assert set(wanted) == {*mine.FUNCTIONS, *mine.CACHE}
    for name, arguments in wanted.items():
        found = getattr(mine, name)
        assert list(inspect.signature(found).parameters) == arguments
        assert found.__name__ == name
    assert Components(**{name: getattr(mine, name) for name in mine.FUNCTIONS}).foreign()


def test_plain_attention_wants_repeated_heads_and_a_mask() -> None:
    q, k = torch.randn(1, 4, 3, 8), torch.randn(1, 4, 3, 8)
    mask = torch.ones(3, 3).tril().bool()
    assert torch.equal(mine.attention(q, k, k, mask), attention(q, k, k, mask))
    with pytest.raises((ValueError, TypeError)):  # TypeError is the shape checker's of these tests
        mine.attention(q, k[:, :2], k[:, :2], mask)
    unchecked = inspect.unwrap(mine.attention)
    with pytest.raises(ValueError, match="as many key and value heads as query heads"):
        unchecked(q, k[:, :2], k[:, :2], mask)
    with pytest.raises(ValueError, match="wants a mask"):
        unchecked(q, k, k, None)


def test_a_kept_part_is_given_as_the_same_object_until_its_file_changes() -> None:
    keep("rms_norm", NORM.format(factor=2))
    first = mine.rms_norm
    assert first is mine.rms_norm is my_llama.load_mine("rms_norm")
    assert first(torch.ones(2), None, 0).tolist() == [2, 2]
    keep("rms_norm", NORM.format(factor=3))
    assert mine.rms_norm is not first
    assert mine.rms_norm(torch.ones(2), None, 0).tolist() == [3, 3]
    assert mine.whose().yours == ("rms_norm",)


def test_what_uses_a_part_is_new_when_that_part_is() -> None:
    for name, text in (("rms_norm", NORM.format(factor=2)), ("Block", BLOCK), ("MyLlama", MODEL)):
        keep(name, text)
    keep("swiglu", "def swiglu(x, w1, w2, w3):\n    return x\n")
    model, swiglu = mine.MyLlama, mine.swiglu
    assert model is mine.MyLlama and model.block is mine.Block
    assert mine.Block.norm is mine.rms_norm
    keep("rms_norm", NORM.format(factor=5))
    assert mine.MyLlama is not model and mine.swiglu is swiglu
    assert mine.MyLlama.block is mine.Block and mine.Block.norm is mine.rms_norm
    (my_llama.folder() / "rms_norm.py").unlink()
    assert mine.Block.norm is mine.library("rms_norm")


def test_a_broken_file_is_one_sentence_and_the_librarys_part() -> None:
    keep("rms_norm", "def rms_norm(:\n")
    keep("swiglu", "def swiglu(x, w1, w2, w3):\n    return x\n")
    with pytest.warns(UserWarning, match=r"rms_norm.py does not load \(SyntaxError.*library's"):
        assert mine.rms_norm is mine.library("rms_norm")
    whose = mine.whose()
    assert whose.yours == ("swiglu",) and "rms_norm" in whose.library
    assert len(whose.notes) == 1 and "\n" not in whose.notes[0]
    assert str(whose).splitlines()[0] == "yours: swiglu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mine.swiglu is my_llama.load_mine("swiglu")


def test_a_file_that_imports_itself_is_a_sentence() -> None:
    keep("rms_norm", "from llama_course.mine import rms_norm as old\nrms_norm = old\n")
    with pytest.warns(UserWarning, match="needs itself"):
        assert mine.rms_norm is mine.library("rms_norm")
    assert mine.whose().yours == ()


def test_what_is_nobodys_is_a_sentence() -> None:
    with pytest.raises(CourseError, match=r"no Block of yours yet: pass check\('Block'\)"):
        from llama_course.mine import Block  # noqa: F401
    with pytest.raises(CourseError, match="did you mean rms_norm"):
        from llama_course.mine import rms_nrom  # noqa: F401
    assert not hasattr(mine, "__wrapped__") and "MyLlama" in dir(mine)


def test_any_kept_part_is_there_also_one_that_no_model_is_made_of() -> None:
    keep("split_heads", "def split_heads(x, n):\n    return x\n")
    assert mine.split_heads is my_llama.load_mine("split_heads")


def test_the_home_decides_the_folder(tmp_path, monkeypatch) -> None:
    keep("rms_norm", NORM.format(factor=2))
    first = mine.rms_norm
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "other"))
    assert mine.rms_norm is mine.library("rms_norm")
    keep("rms_norm", NORM.format(factor=2))
    assert mine.rms_norm is not first and mine.rms_norm is not mine.library("rms_norm")
