"""The rules for quiz.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from llama_course.errors import CourseError
from llama_course.workbook.authoring.lesson import Lesson, order
from llama_course.workbook.authoring.problem import Problem
from llama_course.workbook.authoring.quiz_source import Question, questions
from llama_course.workbook.authoring.starters import Tasks

COUNT = {"start": 10}  # questions; six elsewhere
FROM_EARLIER = 2
FROM_MISTAKES = 3


def check_quiz(lesson: Lesson, everyone: Iterable[Lesson], tasks: Tasks) -> Iterator[Problem]:
    """Number of questions, their choices and explanations, where they come from."""
    path = lesson.folder / "quiz.md"
    found = questions(lesson.text("quiz.md"), f"{lesson.stem}/quiz.md")
    wanted = COUNT.get(lesson.kind, 6)
    if len(found) != wanted:
        yield Problem(path, 0, f"write {wanted} questions, not {len(found)}.")
    for question in found:
        yield from (Problem(path, question.line, text) for text in _faults(question))
    names = [question.name for question in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(path, 0, f"two questions are called {name!r}.")
    answers = Counter(question.answer for question in found)
    for letter, times in sorted(answers.items()):
        if letter and times > max(3, len(found) // 2 - 1):
            yield Problem(path, 0, f"{letter} is right {times} times: move some choices.")
    known = {one.number for one in everyone} | {lesson.number}
    about = Counter(question.lesson for question in found)
    for number in sorted(set(about) - known):
        yield Problem(path, 0, f"a question is about lesson {number}, which does not exist.")
    if lesson.kind != "start":
        earlier = sum(n for one, n in about.items() if order(one) < order(lesson.number))
        later = [one for one in about if order(one) > order(lesson.number)]
        if earlier < FROM_EARLIER:
            yield Problem(
                path, 0, f"{earlier} questions are about earlier lessons, not two or more."
            )
        for number in later:
            yield Problem(path, 0, f"a question is about lesson {number}, which comes later.")
    yield from _check_mistakes(lesson, found, tasks)


def _faults(question: Question) -> Iterator[str]:
    name = question.name
    if not question.text:
        yield f"{name}: the question itself is missing."
    if len(question.choices) != 4:
        yield f"{name}: write four choices, not {len(question.choices)}."
    if sum(choice.right for choice in question.choices) != 1:
        yield f"{name}: mark exactly one choice with [x]."
    for choice in question.choices:
        if not choice.why:
            yield f"{name}: the choice {choice.text!r} lacks its indented explanation."
    texts = [choice.text for choice in question.choices]
    if len(set(texts)) < len(texts):
        yield f"{name}: two choices are the same."


def _check_mistakes(lesson: Lesson, found: list[Question], tasks: Tasks) -> Iterator[Problem]:
    path = lesson.folder / "quiz.md"
    named = 0
    for question in found:
        for choice in question.choices:
            if not choice.mistake:
                continue
            named += 1
            exercise, _, mistake = choice.mistake.partition("/")
            if choice.right:
                yield Problem(path, choice.line, "the right choice is no mistake.")
            try:
                known = tasks(exercise).mistakes
            except CourseError as error:
                yield Problem(path, choice.line, str(error))
                continue
            if mistake not in known:
                words = ", ".join(known)
                yield Problem(
                    path,
                    choice.line,
                    f"{exercise!r} has no mistake {mistake!r} in its catalogue; it has {words}.",
                )
    if lesson.kind == "lesson" and named < FROM_MISTAKES:
        yield Problem(
            path,
            0,
            f"{named} wrong choices are taken from the exercise's mistakes, not {FROM_MISTAKES} or "
            "more: add 'mistake: EXERCISE/MISTAKE'.",
        )
