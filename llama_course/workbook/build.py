"""`llama-course build`: lessons/ -> notebooks/, exercises/, solutions/ and the quizzes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.workbook.authoring import sources
from llama_course.workbook.authoring.execute import execute
from llama_course.workbook.authoring.lesson import Lesson, SourceFile, chosen, lessons
from llama_course.workbook.authoring.starters import Tasks, task
from llama_course.workbook.authoring.uses import uses_hash
from llama_course.workbook.cells import (
    Notebook,
    course_metadata,
    outputs_hash,
    read_notebook,
    source_hash,
    words,
    write_notebook,
)
from llama_course.workbook.home import repository

SECONDS = {"notebooks": 60, "solutions": 10}  # budget for one notebook
LARGEST_NOTEBOOK = 1_000_000  # bytes


@dataclass(frozen=True)
class Target:
    """One file that is made: where, what of, and whether it is executed."""

    path: Path
    made: Notebook | str  # a notebook that has not run, or the text of a file
    runs: bool = False
    uses: tuple[str, ...] = ()  # files beside the package that its code reads

    @property
    def notebook(self) -> Notebook:
        """The notebook, where it is one."""
        assert not isinstance(self.made, str)
        return self.made


@dataclass(frozen=True)
class Built:
    """What happened to one target: `unchanged`, `written`, `executed`, `stale` or `failed`."""

    path: Path
    state: str
    why: str = ""
    seconds: float = 0.0


def build(
    names: Sequence[str] | None = None,
    root: Path | None = None,
    *,
    check: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
    tasks: Tasks = task,
) -> list[Built]:
    """Bring what is made of the lessons `names` (all for None) up to date, and return each result.

    Only what changed is written, and executed only where the source, or a file that it uses, did;
    `force` executes all. With `check` nothing is written or executed: what is not up to date has
    the state `stale`. `say` gets a line for each target that is not unchanged.

    Raises `CourseError` after all else is built, with one line for each lesson that failed.
    """
    root = Path(root or repository()).resolve()
    found = chosen(root, names)
    results: list[Built] = []
    failures: list[str] = []
    for number, lesson in enumerate(found, 1):
        try:
            made = targets(lesson, root, tasks)
        except CourseError as error:
            failures.append(str(error))
            say(f"[{number}/{len(found)}] {lesson.stem}: failed: {error}")
            continue
        for target in made:
            try:
                result = bring(target, root, check, force)
            except CourseError as error:
                failures.append(str(error))
                result = Built(target.path, "failed", str(error))
            results.append(result)
            if result.state != "unchanged":
                say(f"[{number}/{len(found)}] {line(result, root)}")
    if found:
        extra = Target(
            root / "notebooks" / "notation.ipynb", sources.notation_notebook(lessons(root), root)
        )
        results.append(bring(extra, root, check, force))
    results += orphans(root)
    if failures:
        raise CourseError("\n".join(failures))
    return results


def targets(lesson: Lesson, root: Path, tasks: Tasks = task) -> list[Target]:
    """All that one lesson is made into, in the order in which it is made."""
    name = f"{lesson.stem}.ipynb"
    uses, uses_too = used(lesson.lesson), used(lesson.exercise)
    quizzes = root / "llama_course" / "workbook" / "quizzes"
    exercise = sources.exercise_notebook(lesson, tasks, solved=False)
    solution = sources.exercise_notebook(lesson, tasks, solved=True)
    return [
        Target(quizzes / f"{lesson.number}.json", sources.quiz_data(lesson)),
        Target(root / "exercises" / name, exercise),
        Target(root / "solutions" / name, solution, runs=True, uses=uses_too),
        Target(root / "notebooks" / name, sources.lesson_notebook(lesson), runs=True, uses=uses),
    ]


def used(source: SourceFile) -> tuple[str, ...]:
    """The files beside the package that the front matter names."""
    return tuple(map(str, source.front.get("uses") or []))


def bring(target: Target, root: Path, check: bool, force: bool) -> Built:
    """Make one target where it is not up to date."""
    why = reason(target, root)
    if not why and not (force and target.runs):
        return Built(target.path, "unchanged")
    if check:
        return Built(target.path, "stale", why)
    if isinstance(target.made, str):
        write_text(target.path, target.made)
        return Built(target.path, "written", why)
    if not target.runs:
        write_notebook(target.path, target.made)
        return Built(target.path, "written", why)
    begin = time.monotonic()
    done = execute(target.made, root, target.path.relative_to(root).as_posix())
    course = course_metadata(done)
    course["outputs"] = outputs_hash(done)
    course["uses"] = uses_hash(target.made, root, target.uses)
    if len(words(done).encode()) > LARGEST_NOTEBOOK:
        raise CourseError(
            f"{target.path.relative_to(root).as_posix()} would have more than 1 MB; print and draw "
            "less."
        )
    write_notebook(target.path, done)
    return Built(target.path, "executed", why, time.monotonic() - begin)


def reason(target: Target, root: Path) -> str:
    """Why a target is not up to date, in words; "" if it is."""
    if not target.path.is_file():
        return "it is not there yet"
    if isinstance(target.made, str):
        same = target.path.read_bytes() == target.made.encode("utf-8")
        return "" if same else "its source changed"
    try:
        stored = read_notebook(target.path)
    except CourseError as error:
        return str(error)
    if not same_source(stored, target.made):
        return "its source changed, or the notebook was edited by hand"
    if not target.runs:
        same = target.path.read_bytes() == words(target.made).encode("utf-8")
        return "" if same else "the notebook was edited by hand"
    course = course_metadata(stored)
    if course.get("uses") != uses_hash(target.made, root, target.uses):
        return "a module or a file that it uses changed"
    if course.get("outputs") != outputs_hash(stored):
        return "its outputs are not those that were made"
    if target.path.read_bytes() != words(stored).encode("utf-8"):
        return "the file is not in the form that is written"
    return ""


def same_source(stored: Notebook, made: Notebook) -> bool:
    """Whether two notebooks agree in all but what running them adds."""
    for key in ("nbformat", "nbformat_minor"):
        if stored.get(key) != made[key]:
            return False
    metadata = {**stored["metadata"], "course": dict(course_metadata(stored))}
    for key in ("uses", "outputs"):
        metadata["course"].pop(key, None)
    try:
        return metadata == made["metadata"] and source_hash(stored) == source_hash(made)
    except KeyError:  # a cell without an id or metadata
        return False


def orphans(root: Path) -> list[Built]:
    """Generated files whose lesson is gone; they are named, and left for a person to delete."""
    found = lessons(root)
    stems = {lesson.stem for lesson in found}
    numbers = {lesson.number for lesson in found}
    left = [
        path
        for folder in ("notebooks", "exercises", "solutions")
        for path in sorted((root / folder).glob("*.ipynb"))
        if path.stem not in stems and path.stem != sources.NOTATION
    ]
    quizzes = root / "llama_course" / "workbook" / "quizzes"
    left += [path for path in sorted(quizzes.glob("*.json")) if path.stem not in numbers]
    return [Built(path, "stale", "no lesson makes it any more: delete it") for path in left]


def line(result: Built, root: Path) -> str:
    """One line on a result."""
    name = result.path.relative_to(root).as_posix()
    words = f"{name}: {result.state}"
    if result.state == "executed":
        words += f" in {result.seconds:.1f} s"
        limit = SECONDS.get(result.path.parent.name, 60)
        if result.seconds > limit:
            words += f" (the budget is {limit} s)"
    return f"{words} ({result.why})" if result.why else words


def report(
    names: Sequence[str] | None = None,
    root: Path | None = None,
    *,
    check: bool = False,
    force: bool = False,
) -> int:
    """The command: build, print what was done, and return the exit code."""
    if not check and platform.machine() not in ("x86_64", "AMD64"):
        print("note: outputs are compared on Linux x86-64, and this is another processor.")
    root = Path(root or repository()).resolve()
    if not (root / "lessons").is_dir():
        raise CourseError(f"There is no folder lessons/ in {root}: build in a clone of the course.")
    results = build(names, root, check=check, force=force)
    stale = [result for result in results if result.state == "stale"]
    for result in stale:
        if not check:
            print(line(result, root))
    same = sum(result.state == "unchanged" for result in results)
    print(
        f"{len(results) - same - len(stale)} made, {same} already up to date, {len(stale)} stale."
    )
    return 1 if stale and check else 0


__all__ = ["Built", "build", "report", "targets"]
