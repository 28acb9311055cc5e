"""What is kept in my_llama runs checkpoints and is compared, and whose each part is is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from notebook_shell import notebook

from llama_course import checks, mine
from llama_course.checkpoints import save
from llama_course.cli import run
from llama_course.config import ModelConfig, RopeScaling
from llama_course.errors import CourseError
from llama_course.generation import generate
from llama_course.model import Llama
from llama_course.toy import FOLDER, load_toy
from llama_course.workbook import my_llama
from llama_course.workbook.my_llama import load_mine
from llama_course.workbook.run_mine import compare_with_mine, load_with_mine, prompt_ids

TOY = FOLDER / "model"
NORM = """import torch

def rms_norm(x, weight, eps):
    wide = x.float()
    root = torch.sqrt(wide.square().mean(-1, keepdim=True) + EPS)
    return (wide / root).to(x.dtype) * weight
"""
ANGLES = """from llama_course.model import rope_angles as theirs

def rope_angles(positions, head_dim, theta):
    return theirs(positions, head_dim, theta)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def keep(name: str, text: str) -> None:
    my_llama.folder().mkdir(parents=True, exist_ok=True)
    (my_llama.folder() / f"{name}.py").write_text(text, encoding="utf-8")


def files() -> dict[str, bytes]:
    """What the learner has."""
    return {path.name: path.read_bytes() for path in my_llama.folder().rglob("*.py")}


def keep_norm(eps: str = "eps") -> None:
    keep("rms_norm", NORM.replace("EPS", eps))


def keep_class(old: str = "", new: str = "") -> None:
    """The published Block and MyLlama, as files, with a piece of one changed."""
    for name in ("Block", "MyLlama"):
        exercise = checks.find(name)
        text = exercise.setup + "\n" + exercise.solution
        if name == "MyLlama":
            text = "from llama_course.mine import Block\n" + text
        keep(name, text.replace(old, new) if old else text)


def text_of(model: torch.nn.Module, tokenizer) -> str:
    return "".join(generate(model, tokenizer, "KING", 30, temperature=0))


def test_a_learners_functions_run_the_toy() -> None:
    keep_norm()
    model, tokenizer, whose = load_with_mine(TOY)
    assert isinstance(model, Llama) and model.components.foreign() == ("rms_norm",)
    assert whose.yours == ("rms_norm",) and "attention" in whose.library
    assert "the model and its cache" in whose.library and "eager" in whose.notes[-1]
    assert text_of(model, tokenizer) == text_of(*load_toy())


def test_nothing_kept_is_the_library_alone() -> None:
    model, tokenizer, whose = load_with_mine(TOY)
    assert whose.yours == () and whose.notes == () and str(whose).startswith("yours: nothing yet")
    assert text_of(model, tokenizer) == text_of(*load_toy())
    with pytest.raises(CourseError, match="Nothing of yours is kept"):
        compare_with_mine(TOY)


def test_a_learners_class_runs_the_toy() -> None:
    keep_norm()
    keep_class()
    model, tokenizer, whose = load_with_mine(TOY)
    assert type(model) is mine.MyLlama and type(model.layers[0]) is mine.Block
    assert whose.yours == ("rms_norm", "Block", "MyLlama")
    assert set(whose.library) == {*mine.FUNCTIONS, *mine.CACHE} - {"rms_norm"}
    assert text_of(model, tokenizer) == text_of(*load_toy())
    found, again = compare_with_mine(TOY, [1, 5, 9, 200])
    assert found.equal and again == whose
    assert "rms_norm" in found.compared[-1] and "MyLlama" in found.compared[-1]


def test_a_class_with_functions_of_its_own_has_none_from_elsewhere() -> None:
    """What a file does not take from `mine` is in the file, and so is yours."""
    keep_class()
    for name in ("Block", "MyLlama"):
        text = (my_llama.folder() / f"{name}.py").read_text(encoding="utf-8")
        text = re.sub(r"(?m)^(from llama_course.mine import .*)\bapply_rope, ", r"\1", text)
        keep(name, "from llama_course.model import apply_rope\n" + text)
    _, _, whose = load_with_mine(TOY)
    assert "apply_rope" not in whose.yours + whose.library and "attention" in whose.library


def test_parts_that_are_read_while_it_runs_are_told_too() -> None:
    keep_norm()
    keep_class("rms_norm(", "mine.rms_norm(")
    for name in ("Block", "MyLlama"):
        text = (my_llama.folder() / f"{name}.py").read_text(encoding="utf-8")
        keep(name, "from llama_course import mine\n" + text.replace(", rms_norm", ""))
    _, _, whose = load_with_mine(TOY)
    assert whose.yours == ("rms_norm", "Block", "MyLlama")


def test_a_broken_file_is_told_and_the_library_stands_in() -> None:
    keep("rms_norm", "def rms_norm(:")
    keep("swiglu", "import nowhere_at_all")
    keep_class()
    keep("MyLlama", "class MyLlama(nn.Module): pass")
    model, tokenizer, whose = load_with_mine(TOY)
    assert isinstance(model, Llama) and whose.yours == ()
    assert len(whose.notes) == 3 and all("\n" not in note for note in whose.notes)
    told = " ".join(whose.notes)
    for words in ("rms_norm.py does not load", "swiglu.py does not load", "MyLlama.py does not"):
        assert words in told
    assert text_of(model, tokenizer) == text_of(*load_toy())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("self.config = config", "self.config = config.nothing", "AttributeError"),
        ("self.output = nn", "self.head = self.output = nn", "it has head.weight besides"),
        (
            "kv_width = config.n_kv_heads",
            "kv_width = config.n_heads",
            "layers.0.attention.wk.weight with shape (128, 128), and the checkpoint has (64, 128)",
        ),
        (
            "nn.ModuleList(Block(config) for _ in range(config.n_layers))",
            "nn.ModuleList([Block(config)] * config.n_layers)",
            "layers.0.attention.wq.weight and layers.1.attention.wq.weight",
        ),
        ("class MyLlama(nn.Module)", "class MyLlama(dict)", "derive the class from nn.Module"),
    ],
)
def test_a_class_that_cannot_be_filled_is_told(old, new, words) -> None:
    keep_norm()
    keep_class(old, new)
    before = files()
    model, _, whose = load_with_mine(TOY)
    assert isinstance(model, Llama) and whose.yours == ("rms_norm",)
    assert words in whose.notes[0] and "library's model is used" in whose.notes[0]
    assert "\n" not in whose.notes[0] and files() == before


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (None, "There is no Block of yours yet: pass check('Block')"),
        ("class Block(:", "Block.py does not load (SyntaxError: "),
    ],
)
def test_the_file_at_fault_is_named_and_not_the_one_that_needs_it(block, words) -> None:
    keep_class()
    if block is None:
        (my_llama.folder() / "Block.py").unlink()
    else:
        keep("Block", block)
    model, _, whose = load_with_mine(TOY)
    assert isinstance(model, Llama) and words in whose.notes[0]
    assert "Your MyLlama needs it." in whose.notes[0] and "CourseError" not in whose.notes[0]
    with pytest.raises(CourseError, match="Your MyLlama needs it"):
        _ = mine.MyLlama


def test_what_waits_for_a_model_of_ones_own_is_told() -> None:
    keep_class()
    keep("Cache", checks.find("Cache").setup + "\n" + checks.find("Cache").solution)
    (my_llama.folder() / "MyLlama.py").unlink()
    _, _, whose = load_with_mine(TOY)
    assert whose.yours == () and "used only by a MyLlama of yours: Cache, Block." in whose.notes[0]


def test_a_scaled_rope_is_the_librarys(tmp_path) -> None:
    config = ModelConfig(
        dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=60,
        rope_scaling=RopeScaling("linear", 2.0, 64),
    )  # fmt: skip
    save(Llama(config), tmp_path / "it")
    keep_norm()
    keep("rope_angles", ANGLES)
    model, _, whose = load_with_mine(tmp_path / "it")
    assert model.components.foreign() == ("rms_norm",) and whose.yours == ("rms_norm",)
    assert "rope_angles" in whose.library
    assert sum("RoPE scaling (linear) is more than" in note for note in whose.notes) == 1
    keep_class()
    model, _, whose = load_with_mine(tmp_path / "it")
    assert isinstance(model, Llama) and "MyLlama knows nothing" in " ".join(whose.notes)
    found, _ = compare_with_mine(tmp_path / "it")
    assert found.equal
    save(Llama(ModelConfig(**{**vars(config), "rope_scaling": None})), tmp_path / "plain")
    assert type(load_with_mine(tmp_path / "plain")[0]) is mine.MyLlama


def test_a_checkpoint_that_is_not_there_is_that_error() -> None:
    keep_class()
    for call in (load_with_mine, compare_with_mine):
        with pytest.raises(CourseError, match="nothing at"):
            call(TOY / "nowhere")


def test_fields_and_dtype_reach_the_class(tmp_path) -> None:
    keep_class()
    model, _, _ = load_with_mine(TOY, torch.bfloat16, max_seq_len=77)
    assert model.config.max_seq_len == 77 and model.output.weight.dtype is torch.bfloat16


# ---- the whole way, from notebook cells ----------------------------------------------------------


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Without the shape checks: a dozen exercises are checked."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unhooked")
def test_from_the_exercises_notebooks_to_a_checkpoint() -> None:
    """All parts pass, are kept, and the kept model is made of them and of nothing else."""
    names = dict.fromkeys(checks.find(name).name for name in mine.NAMES)
    with notebook() as book:
        for name in names:
            exercise = checks.load(name)
            book.run(exercise.setup)
            book.run(exercise.solution)
            result = book.check(exercise.name)
            assert result.state == "pass", result
            assert result.notes == tuple(f"Kept in my_llama/{p}.py." for p in exercise.parts)
        again = book.run("from llama_course.mine import Block\ncheck('block', Block)").result
        assert again.state == "pass" and again.notes == ("Kept in my_llama/Block.py.",)
    text = (my_llama.folder() / "MyLlama.py").read_text(encoding="utf-8")
    assert "from llama_course.mine import Block" in text and "class Block" not in text
    assert "class Block" in (my_llama.folder() / "Block.py").read_text(encoding="utf-8")
    assert not (my_llama.folder() / "older").exists()
    model, tokenizer, whose = load_with_mine(TOY)
    assert whose.yours == mine.NAMES and whose.library == ()
    assert type(model.layers[0]) is mine.Block and type(model.new_cache(1, 2)[0]) is mine.Cache
    assert text_of(model, tokenizer) == text_of(*load_toy())
    assert compare_with_mine(TOY)[0].equal


def test_a_block_that_is_not_the_kept_one_is_copied() -> None:
    block, whole = checks.find("Block"), checks.find("MyLlama")
    with notebook() as book:
        book.run(block.setup + "\n" + whole.setup)
        book.run(block.solution)
        assert book.check(block.name).state == "pass"
        book.run(
            block.solution.replace("read = rms_norm", "# another way\n        read = rms_norm")
        )
        book.run(whole.solution)
        assert book.check(whole.name).state == "pass"
    assert "class Block" in (my_llama.folder() / "MyLlama.py").read_text(encoding="utf-8")


def test_a_part_kept_anew_since_it_was_imported_is_still_an_import() -> None:
    """Lesson 04's notebook is open beside 09's, and its answer passes again in the meantime."""
    block = checks.find("Block")
    with notebook() as book:
        book.run(block.setup)  # imports rms_norm, which is the library's yet
        book.run(block.solution)
        keep_norm()
        result = book.check(block.name)
        assert result.state == "pass" and result.notes == ("Kept in my_llama/Block.py.",)
    text = (my_llama.folder() / "Block.py").read_text(encoding="utf-8")
    assert "import rms_norm" in text.replace("from llama_course.mine ", "")
    load_mine("Block")
    assert "rms_norm" in my_llama.used_by("Block").yours


def test_an_answer_that_imports_what_it_replaces_is_not_kept() -> None:
    keep_norm()
    before = (my_llama.folder() / "rms_norm.py").read_text(encoding="utf-8")
    with notebook() as book:
        book.run("from llama_course.mine import rms_norm as old")
        book.run("def rms_norm(x, weight, eps):\n    return old(x, weight, eps)")
        result = book.check("rms_norm")
        assert result.state == "pass" and "needs itself" in result.notes[0]
    assert (my_llama.folder() / "rms_norm.py").read_text(encoding="utf-8") == before


# ---- the command line ----------------------------------------------------------------------------

LINE = ["generate", str(TOY), "-p", "KING", "-n", "12", "--temperature", "0", "--device", "cpu"]


def test_generate_mine_says_whose_and_gives_the_same_text(capsys) -> None:
    assert run(LINE) == 0
    wanted = capsys.readouterr().out
    for keeping in (keep_norm, keep_class):
        keeping()
        assert run([*LINE, "--mine"]) == 0
        out, err = capsys.readouterr()
        assert out == wanted
        assert err.startswith("yours: rms_norm") and "the library's: " in err and "eager" in err


@pytest.mark.parametrize(
    ("body", "told"),
    [("return x / 'eps'", "TypeError: "), ("raise SystemExit", "SystemExit"), ("return y", "Name")],
)
def test_what_a_learners_code_raises_is_a_sentence_with_its_place(body, told, capsys) -> None:
    keep("rms_norm", f"def rms_norm(x, weight, eps):\n    {body}\n")
    before = files()
    assert run([*LINE, "--mine"]) == 2
    out, err = capsys.readouterr()
    pattern = rf"Your code stopped: it raised {told}.*\(rms_norm.py, line 2\)"
    assert re.search(pattern, err.splitlines()[-1]) and "Traceback" not in err
    assert out == "KING\n", "the sentence stands on a line of its own"
    assert files() == before


def test_an_exception_in_a_class_of_ones_own_is_a_sentence(capsys) -> None:
    keep_class("read = rms_norm(x, self.ffn_norm", "read = rms_norm(y, self.ffn_norm")
    assert run([*LINE, "--mine"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"it raised NameError: name 'y' .*\(Block.py, line \d+\)", last)


def test_compare_mine_ends_with_0_or_1(capsys) -> None:
    keep_norm()
    assert run(["compare", str(TOY), "mine", "-p", "KING"]) == 0
    assert "No difference." in capsys.readouterr().out
    keep_norm("1e-3")
    assert run(["compare", str(TOY), "mine"]) == 1
    out, err = capsys.readouterr()
    assert "layers.0.attention_norm (rms_norm)" in out and "epsilon is 0.001" in out
    assert err.startswith("yours: rms_norm")


def test_compare_mine_without_anything_kept_ends_with_2(capsys) -> None:
    assert run(["compare", str(TOY), "mine"]) == 2
    assert "Nothing of yours is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("self.config = config", "self.config = config.nothing", "AttributeError"),
        ("def forward(", "def forward((", "does not load (SyntaxError"),
    ],
)
def test_compare_mine_says_why_a_class_alone_cannot_be_compared(old, new, words, capsys) -> None:
    keep_class(old, new)
    assert run(["compare", str(TOY), "mine"]) == 2
    told = capsys.readouterr().err
    assert "There is nothing of yours to compare." in told and words in told
    assert "Nothing of yours is kept" not in told and "without it" not in told


def test_a_prompt_is_read_as_generate_reads_it(tmp_path) -> None:
    _, tokenizer = load_toy()
    assert prompt_ids(TOY, "KING") == tokenizer.encode("KING", bos=True)
    save(load_toy()[0], tmp_path / "it")
    with pytest.raises(CourseError, match="tokenizer"):
        prompt_ids(tmp_path / "it", "KING")
