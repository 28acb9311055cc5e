"""The rules for lesson.md: DESIGN section 4, as far as a tool can tell."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterable, Iterator

from llama_course.workbook.authoring.lesson import PARTS, Lesson, SourceCell, SourceFile, order
from llama_course.workbook.authoring.problem import Problem, at
from llama_course.workbook.authoring.prose import check_columns, check_prose, minutes
from llama_course.workbook.authoring.symbols import check_symbols
from llama_course.workbook.authoring.uses import without_magics

FRONT = ("lesson", "title", "kind", "needs", "minutes", "hardware", "objectives", "uses")
FRONT_TOO = ("paper", "notation")  # a paper is asked of a lesson only
OPTIONS = {"name", "tags", "ignore", "slide", "part", "role"}
EXERCISE_OPTIONS = OPTIONS | {"answer", "check", "points"}
TAGS = {"failure", "live", "raises-exception"}
SLIDES = {"slide", "subslide", "fragment", "skip", "notes", "-"}
LONGEST_CELL, MEDIAN_CELL = 15, 6  # lines
READING, EXERCISE = 60, 45  # minutes
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b|\b(color|c|facecolor|edgecolor|cmap)\s*=\s*[\"']")
TOO_EXACT = re.compile(r"\{[^{}]*:[^{}]*\.(\d+)([efg%])\}")
TIMED = re.compile(r"\b(perf_counter|process_time|monotonic|timeit)\b|\btime\.time\(")


def check_lesson(lesson: Lesson, everyone: Iterable[Lesson]) -> Iterator[Problem]:
    """All rules for one lesson.md."""
    source = lesson.lesson
    everyone = list(everyone)
    yield from check_front(lesson, everyone)
    yield from check_parts(lesson)
    yield from check_cells(source, OPTIONS)
    yield from check_contents(lesson)
    yield from check_predictions(lesson)
    yield from check_symbols(lesson, everyone)
    yield from check_prose(source)
    yield from check_columns(source)


def check_front(lesson: Lesson, everyone: list[Lesson]) -> Iterator[Problem]:
    """The front matter: nothing missing, nothing misspelt, times within the budget."""
    front, path = lesson.lesson.front, lesson.lesson.path

    def problem(text: str) -> Problem:
        return Problem(path, 1, f"front matter: {text}")

    needed = (*FRONT, "paper") if lesson.kind == "lesson" else FRONT
    for key in needed:
        if key not in front:
            yield problem(f"'{key}' is missing; lessons/README.md shows it.")
    for key in sorted(set(front) - set(FRONT) - set(FRONT_TOO)):
        yield problem(f"'{key}' is not a known key; lessons/README.md lists them.")
    if str(front.get("lesson")) != lesson.number:
        yield problem(f"'lesson' is {front.get('lesson')!r} and the folder says {lesson.number!r}.")
    if lesson.kind not in PARTS:
        yield problem(f"'kind' is {lesson.kind!r}; known are {', '.join(PARTS)}.")
    if len(front.get("objectives") or []) != 3:
        yield problem(f"write three objectives, not {len(front.get('objectives') or [])}.")
    earlier = {one.number for one in everyone if order(one.number) < order(lesson.number)}
    for need in front.get("needs") or []:
        if str(need) not in earlier:
            yield problem(f"'needs' names {need!r}, which is no earlier lesson.")
    paper = front.get("paper") or {}
    if paper and not (paper.get("quote") and paper.get("where")):
        yield problem("'paper' needs a 'quote' and a 'where'.")
    yield from _minutes(lesson)
    for pattern in front.get("uses") or []:
        if not any(lesson.folder.parents[1].glob(str(pattern))):
            yield problem(f"'uses' names {pattern!r}, which does not exist.")


def _minutes(lesson: Lesson) -> Iterator[Problem]:
    path = lesson.lesson.path
    stated = lesson.lesson.front.get("minutes") or {}
    for key, limit in (("reading", READING), ("exercise", EXERCISE)):
        value = stated.get(key) if isinstance(stated, dict) else None
        if not isinstance(value, int):
            yield Problem(path, 1, f"front matter: 'minutes' needs '{key}', a whole number.")
        elif value > limit:
            yield Problem(path, 1, f"front matter: {key} takes {value} minutes, at most {limit}.")
    estimate = minutes(lesson.lesson)
    reading = stated.get("reading") if isinstance(stated, dict) else None
    if isinstance(reading, int) and estimate > reading:
        yield Problem(
            path,
            1,
            f"front matter: reading is stated as {reading} minutes, and words, cells and figures "
            f"come to about {estimate}: shorten the lesson or state more.",
        )


def check_parts(lesson: Lesson) -> Iterator[Problem]:
    """All parts present, once, in order, each with a heading."""
    source = lesson.lesson
    needed = PARTS.get(lesson.kind, PARTS["lesson"])
    begun = [cell for cell in source.cells if "part" in cell.options]
    names = [str(cell.options["part"]) for cell in begun]
    for name in needed:
        if name not in names:
            yield Problem(
                source.path,
                0,
                f'the part "{name}" is missing: begin it with +++ {{"part": "{name}"}}.',
            )
    rank = {name: number for number, name in enumerate(PARTS["lesson"])}
    last = -1
    for cell, name in zip(begun, names, strict=True):
        if name not in rank:
            yield at(source.path, cell, f'"{name}" is no part; known are {", ".join(rank)}.')
            continue
        if names.count(name) > 1:
            yield at(source.path, cell, f'the part "{name}" begins more than once.')
        if rank[name] < last:
            yield at(source.path, cell, f'the part "{name}" is out of order.')
        last = max(last, rank[name])
        if not cell.source.startswith("## "):
            yield at(source.path, cell, f'the part "{name}" begins with a heading, "## ...".')


def check_cells(source: SourceFile, options: set[str]) -> Iterator[Problem]:
    """What holds for every cell, in lessons and in exercises."""
    for cell in source.cells:
        for key in sorted(set(cell.options) - options):
            yield at(source.path, cell, f"':{key}:' is no option here; see lessons/README.md.")
        if cell.options.get("slide", "-") not in SLIDES:
            yield at(source.path, cell, f"slide is one of {', '.join(sorted(SLIDES))}.")
        for tag in cell.tags:
            if tag.startswith("nbval"):
                yield at(
                    source.path, cell, "write ':ignore: \"reason\"' in place of a tag for nbval."
                )
            elif tag not in TAGS:
                yield at(source.path, cell, f"the tag {tag!r} is unknown.")
        if "ignore" in cell.options and len(str(cell.options["ignore"] or "").split()) < 3:
            yield at(source.path, cell, "':ignore:' needs a reason, in a few words.")
        if "live" in cell.tags and not cell.options.get("ignore"):
            yield at(source.path, cell, "a live measurement needs an ':ignore:' with its reason.")
    sizes = []
    for cell in source.code():
        lines = len(cell.source.strip().split("\n"))
        sizes.append(lines)
        if lines > LONGEST_CELL:
            yield at(
                source.path, cell, f"the cell has {lines} lines, at most {LONGEST_CELL}: split it."
            )
        yield from _check_code(source, cell)
    if sizes and statistics.median(sizes) > MEDIAN_CELL:
        yield Problem(
            source.path,
            0,
            f"code cells have {statistics.median(sizes):g} lines in the median, at most "
            f"{MEDIAN_CELL}: split some, or move code into the package.",
        )


def _check_code(source: SourceFile, cell: SourceCell) -> Iterator[Problem]:
    try:
        tree = ast.parse(without_magics(cell.source))
    except SyntaxError as error:
        if "raises-exception" not in cell.tags:
            yield at(source.path, cell, f"the code is no Python: {error.msg}, line {error.lineno}.")
        return
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if any(name.split(".")[0] == "matplotlib" for name in names):
            yield at(
                source.path, cell, "draw with a function of llama_course.plots, not matplotlib."
            )
    if COLOUR.search(cell.source):
        yield at(source.path, cell, "colours are chosen in llama_course/plots, from its palette.")
    for digits, kind in TOO_EXACT.findall(cell.source):
        if int(digits) > (2 if kind == "e" else 3):
            yield at(source.path, cell, "print at most three significant digits, such as {x:.3g}.")
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    if TIMED.search(cell.source) and not cell.options.get("ignore") and not asserts:
        yield at(
            source.path,
            cell,
            "a time differs in each run: assert an inequality, or add ':ignore: \"reason\"'.",
        )
    yield from _check_figures(source, cell, tree)


def _check_figures(source: SourceFile, cell: SourceCell, tree: ast.AST) -> Iterator[Problem]:
    for call in calls(tree, "show"):
        alt = next((key.value for key in call.keywords if key.arg == "alt"), None)
        if alt is None:
            yield at(source.path, cell, "show() needs alt=, words computed from the plotted data.")
        elif not any(
            isinstance(node, ast.FormattedValue | ast.Call | ast.Name) for node in ast.walk(alt)
        ):
            yield at(
                source.path,
                cell,
                'the alt text is a fixed string: compute it from the plotted data, alt=f"...".',
            )


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a plain function name, or of an attribute of that name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            called = getattr(function, "id", getattr(function, "attr", ""))
            if called == name:
                found.append(node)
    return found


def has_call(cell: SourceCell, name: str) -> bool:
    """Whether a code cell calls `name`."""
    try:
        return bool(calls(ast.parse(without_magics(cell.source)), name))
    except SyntaxError:
        return False


def asserts_something(cell: SourceCell) -> bool:
    """Whether a code cell asserts anything that is not a constant."""
    try:
        tree = ast.parse(without_magics(cell.source))
    except SyntaxError:
        return False
    tests = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return any(isinstance(node, ast.Name | ast.Call) for test in tests for node in ast.walk(test))


def check_contents(lesson: Lesson) -> Iterator[Problem]:
    """What each part must hold."""
    source = lesson.lesson
    parts: dict[str, list[SourceCell]] = {}
    for cell in source.cells:
        parts.setdefault(cell.part, []).append(cell)

    def code(part: str) -> list[SourceCell]:
        return [cell for cell in parts[part] if cell.kind == "code"]

    def text(part: str) -> str:
        return "\n\n".join(cell.source for cell in parts[part] if cell.kind == "markdown")

    def problem(part: str, words: str) -> Problem:
        return Problem(source.path, parts[part][0].line, f'part "{part}": {words}')

    figures = ["picture"] if lesson.kind == "start" else ["where", "picture"]
    for part in figures:
        if part in parts and not any(has_call(cell, "show") for cell in code(part)):
            yield problem(part, 'a figure is missing: show(plots.name(...), alt=f"...").')
    for cell in source.code():
        if "failure" in cell.tags and not asserts_something(cell):
            yield at(source.path, cell, "a failure is asserted: add an assert of what fails.")
    if "without" in parts and not any("failure" in cell.tags for cell in code("without")):
        yield problem("without", "no cell is tagged 'failure', with an assert of what fails.")
    if "equation" in parts and "$$" not in text("equation"):
        yield problem("equation", "the equation is missing, between two lines of $$.")
    if "code" in parts and not any(has_call(cell, "compare") for cell in code("code")):
        yield problem("code", "the compare line is missing: compare(loop=..., vectorised=...).")
    if "break" in parts and not any(asserts_something(cell) for cell in code("break")):
        yield problem("break", "assert what breaks.")
    if "7b" in parts and not any("live" not in cell.tags for cell in code("7b")):
        yield problem("7b", "the recorded or computed numbers are missing: a code cell, not live.")
    link = f"(exercises/{lesson.stem}.ipynb)"
    if "exercise" in parts and link not in text("exercise"):
        yield problem("exercise", f"the link is missing: [your exercise]{link}.")
    if "recap" in parts:
        found = [s for s in re.split(r"(?<=[.!?])\s+", _body(text("recap"))) if s.strip()]
        if len(found) != 3:
            yield problem("recap", f"write three sentences, not {len(found)}.")
    if "quiz" in parts:
        wanted = f'quiz("{lesson.number}")'
        if not any(cell.source.strip() == wanted for cell in code("quiz")):
            yield problem("quiz", f"a code cell with {wanted} is missing.")
    for part in ("pitfalls", "reading"):
        if part in parts and not re.search(r"^\s*([-*]|\d+\.) ", text(part), re.MULTILINE):
            yield problem(part, "write a list.")


def _body(text: str) -> str:
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    return " ".join(" ".join(lines).split())


def check_predictions(lesson: Lesson) -> Iterator[Problem]:
    """Two predictions or more, each a question with its answer in the next cell."""
    source = lesson.lesson
    asked = 0
    for number, cell in enumerate(source.cells):
        role = cell.options.get("role")
        if role is None:
            continue
        if role != "predict" or cell.kind != "markdown":
            yield at(
                source.path, cell, f'the role {role!r} is unknown; "predict" is for a text cell.'
            )
            continue
        asked += 1
        if "?" not in cell.source:
            yield at(source.path, cell, "a prediction asks a question.")
        after = source.cells[number + 1] if number + 1 < len(source.cells) else None
        if after is None or after.kind != "code":
            yield at(
                source.path, cell, "the code cell that answers a prediction comes right after it."
            )
    if asked < 2 and lesson.kind != "start":
        yield Problem(
            source.path, 0, f'{asked} predictions: ask two or more, +++ {{"role": "predict"}}.'
        )
