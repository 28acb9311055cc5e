"""How long a check takes to answer: for each exercise its solution, and its slowest mistake.

    python benchmarks/check_times.py [EXERCISE ...]

Each answer is judged as a learner's is, three times in this process, and the median counts. What a
mistake takes is more than what a solution takes, since a failure runs the diagnosis as well.
Exercises that are left out of the arguments keep their recorded numbers.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import record
import torch

from llama_course import checks
from llama_course.checks.exercise import Exercise
from llama_course.checks.testing import judged


def seconds(exercise: Exercise, text: str, times: int) -> float:
    """The median time of judging one answer."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        judged(exercise, text)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(name: str) -> dict[str, object]:
    """The times of one exercise."""
    exercise = checks.load(name)
    judged(exercise, exercise.solution)  # imports and caches are not the learner's wait
    right = seconds(exercise, exercise.solution, 3)
    wrong = {m.name: seconds(exercise, exercise.text_of(m.forms[0]), 1) for m in exercise.mistakes}
    worst = max(wrong, key=lambda mistake: wrong[mistake])
    again = seconds(exercise, exercise.text_of(_mistake(exercise, worst)), 3)
    return {
        "lesson": exercise.lesson,
        "mistakes": len(exercise.mistakes),
        "solution_s": round(right, 3),
        "median_mistake_s": round(statistics.median(wrong.values()), 3),
        "slowest_mistake": worst,
        "slowest_mistake_s": round(again, 3),
    }


def _mistake(exercise: Exercise, name: str) -> str | tuple[str, ...]:
    return next(m.forms[0] for m in exercise.mistakes if m.name == name)


def main() -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    path = record.RESULTS / "check_times.json"
    known = json.loads(path.read_text(encoding="utf-8"))["measured"] if path.exists() else {}
    wanted = sys.argv[1:] or checks.names()
    for name in wanted:
        known[name] = measure(name)
        print(f"{name:18}", known[name], flush=True)
    order = [e.name for e in checks.everything()]
    record.write("check_times", {name: known[name] for name in order if name in known})


if __name__ == "__main__":
    main()
