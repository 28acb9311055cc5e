"""Every check of the repository in one run: style, types, tests, notebooks."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.workbook.home import repository

TOOLS = ("ruff", "mypy", "pytest", "xdist", "nbval", "hypothesis", "beartype", "transformers")
# What the quick run executes: an appendix, a lesson, and the one in which all comes together.
QUICK_NOTEBOOKS = ("A1_tensors", "04_rmsnorm", "09_whole_model")
NO_TESTS = 5  # pytest's exit code where nothing was collected

# Sums of floats depend on the order that the processor's widest instructions suggest. These fix
# it, so that stored outputs can be compared to the letter on any x86-64 processor with AVX2.
PINNED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


@dataclass(frozen=True)
class Stage:
    """One tool's run: its name in the summary, and the arguments after `python -m`."""

    name: str
    arguments: tuple[str, ...]
    # Values that the tool's process gets on top of the environment variables.
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Result:
    stage: Stage
    code: int
    seconds: float

    def __str__(self) -> str:
        words = "ok" if self.code == 0 else f"FAILED (exit code {self.code})"
        return f"{self.stage.name:28} {self.seconds:6.1f} s  {words}"


def run_tests(quick: bool = False, arguments: Sequence[str] = ()) -> int:
    """Run all stages and print one line for each; 0 if all passed, else 1.

    `quick` leaves out slow tests and all notebooks but a few. With `arguments` (paths,
    `-k name`, ...) only pytest runs, with these. The learner's folder is never touched:
    `LLAMA_COURSE_HOME` is a temporary one.
    """
    missing = [tool for tool in TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        raise CourseError(
            f"The tests need {', '.join(missing)}, not installed here: "
            "run 'python course.py test', which installs it."
        )
    repo = repository()
    if not (repo / "tests").is_dir():
        raise CourseError(f"There are no tests beside {repo}; run this in a clone of the course.")
    chosen = chosen_stage(quick, arguments) if arguments else stages(repo, quick)
    with tempfile.TemporaryDirectory(
        prefix="llama-course-test-", ignore_cleanup_errors=True
    ) as folder:
        results = [run(stage, repo, Path(folder) / "my_work") for stage in chosen]
    if len(results) > 1:
        print(summary(results, repo), flush=True)
        if quick:
            print(f"left out: slow tests, solutions, notebooks but {', '.join(QUICK_NOTEBOOKS)}")
    return int(any(result.code for result in results))


def stages(repo: Path, quick: bool) -> list[Stage]:
    """All stages of a whole run, in order: the fast and general ones first."""
    found = [
        Stage("ruff check", ("ruff", "check", ".")),
        Stage("ruff format", ("ruff", "format", "--check", ".")),
        Stage("mypy", ("mypy",)),
        Stage("pytest (quick)" if quick else "pytest", pytest_arguments(quick), one_thread()),
    ]
    notebooks = [
        path.relative_to(repo).as_posix()
        for folder in (("notebooks",) if quick else ("notebooks", "solutions"))
        for path in sorted((repo / folder).glob("*.ipynb"))
        if not quick or path.stem in QUICK_NOTEBOOKS
    ]
    if notebooks:
        found.append(notebook_stage(notebooks))
    return found


def chosen_stage(quick: bool, arguments: Sequence[str]) -> list[Stage]:
    """pytest alone, on what the user named, in one process so that its output comes at once."""
    marks = ("-m", "not slow") if quick else ()
    return [Stage("pytest", ("pytest", *marks, *arguments), one_thread())]


def pytest_arguments(quick: bool) -> tuple[str, ...]:
    """Two processes or more of one thread each, one process per file at a time."""
    processes = str(max(2, min(os.cpu_count() or 2, 8)))
    marks = ("-m", "not slow") if quick else ()
    # "worksteal" keeps neighbours together and lets an idle process take from a busy one.
    return ("pytest", "-q", "-n", processes, "--dist", "worksteal", *marks, "tests")


def notebook_stage(notebooks: Sequence[str]) -> Stage:
    """Run the notebooks again, and compare with their stored outputs where that can be strict."""
    how = "--nbval" if strict() else "--nbval-lax"
    arguments: tuple[str, ...] = (
        "pytest",
        "-q",
        how,
        "--nbval-current-env",
        "--nbval-cell-timeout=300",
    )
    arguments += ("-p", "no:cacheprovider", "-p", "llama_course.workbook.own_home")
    if len(notebooks) > 3:  # fewer take less time than starting the processes does
        # A notebook's cells need one kernel, so a file goes to one process as a whole.
        arguments += ("-n", "2", "--dist", "loadfile")
    arguments += (*notebooks,)
    variables = PINNED if strict() else dict(one_thread())
    return Stage(f"notebooks ({'strict' if strict() else 'lax'})", arguments, (*variables.items(),))


def strict() -> bool:
    """Whether stored outputs must come back to the letter: only where they were made."""
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def one_thread() -> tuple[tuple[str, str], ...]:
    """Each process computes with one thread: several with several would slow each other down."""
    return (("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1"))


def run(stage: Stage, repo: Path, home: Path) -> Result:
    """Run one stage in the repository's folder; its output goes to the terminal as it comes."""
    print(f"\n== {stage.name}", flush=True)
    variables = {**os.environ, **dict(stage.variables), "LLAMA_COURSE_HOME": str(home)}
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *stage.arguments], cwd=repo, env=variables)
    return Result(stage, done.returncode, time.monotonic() - begin)


def summary(results: Sequence[Result], repo: Path) -> str:
    """One line a stage, and what was not looked at."""
    lines = ["", "== summary", *map(str, results)]
    if not any(result.stage.name.startswith("notebooks") for result in results):
        lines.append("notebooks: there are none")
    elif strict():
        lines.append("notebooks: each stored output was compared (nbval, strict)")
    else:
        lines.append("notebooks: run without error; outputs are compared on Linux x86-64 only")
    bad = [result.stage.name for result in results if result.code]
    lines.append(f"failed: {', '.join(bad)}" if bad else "all passed")
    return "\n".join(lines)
