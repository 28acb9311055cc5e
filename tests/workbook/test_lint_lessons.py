"""Lint: the sample lesson has nothing to mend, and each planted fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_repo import SAMPLE, make, tasks

from llama_course.workbook import lint as linting
from llama_course.workbook.authoring import prose, symbols
from llama_course.workbook.authoring.rules_instructor import speaker_notes
from llama_course.workbook.home import repository
from llama_course.workbook.lint import lint


def words(root: Path) -> list[str]:
    return [problem.words(root) for problem in lint(None, root, tasks=tasks)]


def test_the_sample_is_clean() -> None:
    assert words(SAMPLE) == []


LESSON = [
    ('lesson: "01"', 'lesson: "02"', "the folder says '01'"),
    ("hardware: CPU, no GPU needed\n", "", "'hardware' is missing"),
    ("hardware: CPU", "hardwear: CPU", "'hardwear' is not a known key"),
    ("  - Say what an odd number loses.\n", "", "three objectives, not 2"),
    ('needs: ["00"]', 'needs: ["05"]', "'needs' names '05'"),
    ("  where: a sample, section 1\n", "", "'paper' needs"),
    ("reading: 10", "reading: 70", "at most 60"),
    ("reading: 10", "reading: 1", "come to about"),
    ("uses: [benchmarks/sample.json]", "uses: [benchmarks/none.json]", "does not exist"),
    ('+++ {"part": "break"}', "+++", 'the part "break" is missing'),
    ('{"part": "break"}', '{"part": "brake"}', '"brake" is no part'),
    ('+++ {"part": "recap"}', '+++ {"part": "where"}', "begins more than once"),
    ('{"part": "recap"}', '{"part": "code"}', "is out of order"),
    ("## Break it", "Break it", "begins with a heading"),
    ("show(loss_curve(records[:2]), alt", "(loss_curve(records[:2]), alt", "a figure is missing"),
    (', alt=f"Two points, {losses[0]} and {losses[1]}: one halving."', "", "show() needs alt="),
    ('alt=f"Two points, {losses[0]} and {losses[1]}: one', 'alt=f"Two points: one', "fixed string"),
    (":tags: [failure]\n", "", "tagged 'failure'"),
    ("assert max(numbers) == 8", "assert True", "a failure is asserted"),
    ("$$h = \\frac{x}{2}$$", "Half of it.", "the equation is missing"),
    ("$$h = \\frac{x}{2}$$", "$$h = \\frac{\\theta}{2}$$", "the symbol \\theta is in no notation"),
    ("shape: scalar, meta: x", "meta: x", "lacks shape"),
    ("compare(loop=looped, vectorised=vectorised)", "print(looped)", "compare line is missing"),
    ("assert broken[1] != looped[1]", "", "assert what breaks"),
    (":name: at-7b", ":name: at-7b\n:tags: [live]\n:ignore: it is a time", "computed numbers are"),
    ('+++ {"role": "predict"}\n\nWhat is left', "+++\n\nWhat is left", "1 predictions"),
    ('"role": "predict"', '"role": "guess"', "is unknown"),
    ("What is left of 7 if you divide whole numbers?", "Guess it.", "asks a question"),
    (
        "```{code-cell}\n:name: loop",
        "Yes.\n\n+++\n\nNo.\n\n```{code-cell}\n:name: loop",
        "right after it",
    ),
    ("(exercises/01_halves.ipynb)", "(exercises/01.ipynb)", "the link is missing"),
    ("A list is halved at once. ", "", "three sentences, not 2"),
    ('quiz("01")', 'quiz("02")', 'quiz("01") is missing'),
    ("- Any book on fractions.", "Any book on fractions.", "write a list"),
    (
        "print(6_738_415_616 // 2)",
        "\n".join(f"a{n} = 1" for n in range(16)),
        "16 lines, at most 15",
    ),
    ("print(6_738_415_616 // 2)", "import matplotlib.pyplot as plt", "not matplotlib"),
    ("print(6_738_415_616 // 2)", "draw(color='red')", "colours are chosen"),
    ("print(6_738_415_616 // 2)", "print(f'{x:.6f}')", "three significant digits"),
    ("print(6_738_415_616 // 2)", "print(", "the code is no Python"),
    (':ignore: "the time differs from machine to machine"', ':ignore: "time"', "needs a reason"),
    (':ignore: "the time differs from machine to machine"\n', "", "a live measurement needs"),
    (':tags: [live]\n:ignore: "the time differs from machine to machine"\n', "", "a time differs"),
    (":tags: [live]", ":tags: [nbval-skip]", "in place of a tag for nbval"),
    (":tags: [live]", ":tags: [fast]", "the tag 'fast' is unknown"),
    (":name: timed", ":name: timed\n:colour: red", "':colour:' is no option"),
    (":name: timed", ":name: timed\n:slide: maybe", "slide is one of"),
    ("You see the losses", "We see the losses", "'We': speak to the reader"),
    ("You see the losses", "The reader sees the losses", "speak to the reader"),
    ("You see the losses", "You will see the losses", "present tense"),
    ("Without it the numbers", "Without it " + "and so on " * 20 + "the numbers", "at most 45"),
    ("Without it the numbers", "Without it the numbers" + " x" * 60, "columns, at most 100"),
    (":name: loop\n", "", "give this code cell a name"),
]
EXERCISE = [
    (":answer: halve", ":answer: quarter", "There is no exercise 'quarter'"),
    (":answer: halve\n", ":answer: halve\nreturn 1\n", "leave the body empty"),
    (":check: halve\n:points: 3", ":check: quarter\n:points: 3", "a check of it is missing"),
    (":points: 3", ":points: none", "give the check its ':points:'"),
    (":points: 3", ":points: 3\n:tags: [raises-exception]", "a check cell has no tags"),
    ("You write one function.", "Use `return number / 2`.", "take it out"),
    ('lesson: "01"', 'lesson: "02"', "'lesson' must be"),
]
QUIZ = [
    ("### twice (01)", "### twice (00)\n\nx\n\n### twice (01)", "write 6 questions, not 7"),
    ("- [x] float", "- [ ] float", "mark exactly one choice"),
    ("  8, 4, 2.\n", "", "lacks its indented explanation"),
    ("halve/rounded", "halve/squared", "has no mistake 'squared'"),
    ("  mistake: halve/rounded\n", "", "are taken from the exercise's mistakes"),
    ("### what-is-a-check (00)", "### what-is-a-check (01)", "about earlier lessons"),
    ("### what-is-a-check (00)", "### what-is-a-check (07)", "does not exist"),
    ("- [ ] 14", "- [ ] 3.5", "two choices are the same"),
    ("### twice", "### Twice!", "a question begins with"),
]
INSTRUCTOR = [
    ("## Ask the class", "## Ask", 'the section "## Ask the class" is missing'),
    ("| total | 25 |", "| total | 24 |", "add up to 25"),
    ("| where | 1 |\n", "", "a row for 'where' is missing"),
    ("3. When is losing it right? Listen for counting.\n", "", "three questions or more"),
    ("| half of 0 fails | a guard for zero | draw an empty plate |\n", "", "three rows or more"),
    ("### 7b\n\nThe number is that of the parameters.", "### 7b", '"### 7b" is missing or empty'),
]
FAULTS = [
    (name, *fault)
    for name, faults in (
        ("lesson.md", LESSON),
        ("exercise.md", EXERCISE),
        ("quiz.md", QUIZ),
        ("instructor.md", INSTRUCTOR),
    )
    for fault in faults
]


@pytest.mark.parametrize(("file", "old", "new", "says"), FAULTS)
def test_each_fault_is_named(tmp_path: Path, file: str, old: str, new: str, says: str) -> None:
    root = make(tmp_path, package=False)
    path = root / "lessons/01_halves" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    said = [line for line in words(root) if says in line]
    assert said, words(root)
    assert said[0].startswith("lessons/01_halves/")


def test_a_cell_is_found_by_line_and_name(tmp_path: Path) -> None:
    root = make(tmp_path, package=False)
    path = root / "lessons/01_halves/lesson.md"
    text = path.read_text(encoding="utf-8").replace(":tags: [live]", ":tags: [fast]")
    path.write_text(text, encoding="utf-8")
    line = text[: text.index(":name: timed")].count("\n")  # the fence is one line above the name
    assert words(root) == [
        f"lessons/01_halves/lesson.md:{line} (cell timed): the tag 'fast' is unknown."
    ]


def test_a_missing_file_and_broken_front_matter_are_problems(tmp_path: Path) -> None:
    root = make(tmp_path, package=False)
    (root / "lessons/01_halves/quiz.md").unlink()
    (root / "lessons/00_start/lesson.md").write_text("no front matter", encoding="utf-8")
    said = "\n".join(words(root))
    assert "01_halves has no quiz.md" in said and "begin the file with front matter" in said


def test_the_same_symbol_has_the_same_row(tmp_path: Path) -> None:
    root = make(tmp_path, package=False)
    path = root / "lessons/00_start/lesson.md"
    row = "notation:\n  - {symbol: x, meaning: something else, shape: scalar}\nuses: []"
    text = path.read_text(encoding="utf-8").replace("uses: []", row, 1)
    path.write_text(text, encoding="utf-8")
    assert any("differs from that of lesson 00" in line for line in words(root))


def test_the_command_prints_and_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linting, "lint", lambda *args: [])
    assert linting.report(["01"], SAMPLE) == 0
    assert capsys.readouterr().out == "1 lesson: nothing to mend.\n"


def test_figures_take_their_colours_from_the_palette(tmp_path: Path) -> None:
    assert list(linting.palette(repository())) == []
    plots = tmp_path / "llama_course" / "plots"
    plots.mkdir(parents=True)
    (plots / "new.py").write_text('axes.plot(x, color="red")\n', encoding="utf-8")
    assert [problem.line for problem in linting.palette(tmp_path)] == [1]


def test_symbols_of_formulas() -> None:
    assert symbols.symbols(r"\frac{\mathrm{d}x}{\theta_i} e^{y} \text{words} \in \mathbb{R}") == {
        *("x", "\\theta", "i", "y")
    }
    text = "costs $5 and $6, `$a$`, $b$, $$c\n+d$$"
    assert list(symbols.formulas(text)) == ["b", "c\n+d"]


def test_sentences_are_counted_without_code_tables_and_formulas() -> None:
    text = (
        "# Head\n\nOne two. See [a b](http://x.y), e.g. `c d e`.\n\n| a | b |\n\n- item one\n- two"
    )
    assert [prose.count(s) for s in prose.sentences(text)] == [2, 5, 2, 1]


def test_speaker_notes_by_part() -> None:
    text = (SAMPLE / "lessons/01_halves/instructor.md").read_text(encoding="utf-8")
    assert speaker_notes(text)["equation"] == "Write it on the board."
