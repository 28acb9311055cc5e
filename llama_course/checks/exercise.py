"""What an exercise file is made of: Exercise, Case, Mistake. Everything an author writes is here.

An exercise file (`checks/NAME.py`) sets `EXERCISE = Exercise(...)`. Its starter is source text: the
builder puts it into the learner's notebook, and its docstring is the contract. A check tests only
what the docstring promises, so each case cites the sentence that it tests.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

# The order in which cases climb. The first failing case is the one that is shown.
LEVELS = (
    "shape",
    "example",
    "property",
    "float32",
    "low precision",
    "edge",
    "inputs",
    "gradient",
)

# A script gets the answer (see engine/answer.py), does a few operations on it, and yields
# (name, value) pairs: the transcript. It is a generator function of one argument.
Script = Callable[..., Iterator[tuple[str, Any]]]


@dataclass(frozen=True)
class Tolerance:
    """How far a right answer may be from the reference: `atol + rtol * |expected|`, elementwise."""

    rtol: float
    atol: float
    why: str


EXACT = Tolerance(0.0, 0.0, "every right way of writing it gives the same bits here")
CLOSE = Tolerance(1e-5, 1e-6, "float32: different orders of summation differ by a few roundings")
RELATIVE = Tolerance(1e-5, 0.0, "as CLOSE, for numbers far from one: only the ratio counts")
LOOSE = Tolerance(1e-4, 1e-5, "float32 through a longer computation, such as a gradient")


@dataclass(frozen=True, eq=False)
class Case:
    """One scenario: a short script on the answer, and what its transcript is there to catch."""

    title: str  # what is tested, in words that a learner reads
    level: str  # one of LEVELS
    says: str  # the sentence of the starter's docstring that this case tests, word for word
    catches: str  # what it is there to catch, for authors
    script: Script
    dtype: torch.dtype | None = torch.float32  # of the tensors in the transcript; None: no tensors
    tolerance: Tolerance = CLOSE
    expect: Mapping[str, Any] | None = None  # values worked by hand, which the reference must give
    part: str = ""  # the part that it tests; may be left out where there is only one
    may_change: tuple[str, ...] = ()  # arguments ("cache of append") that the contract lets change


def edit(*replacements: str) -> tuple[str, ...]:
    """A mistake as old, new, old, new ... pieces of the solution's text; each old occurs once."""
    if not replacements or len(replacements) % 2:
        raise ValueError("edit() takes pairs: the old text, then the new text")
    return replacements


@dataclass(frozen=True, eq=False)
class Mistake:
    """A wrong answer that people really give.

    `forms` are ways of writing it that can differ in rounding: each an `edit(...)` of the solution,
    or the source text of a whole part. `story` says how a person comes to it; `help` is the hint.
    """

    name: str
    story: str
    forms: tuple[str | tuple[str, ...], ...]
    help: str = ""


@dataclass(frozen=True)
class Hints:
    """The two hints that come before help with a particular mistake."""

    nudge: str
    outline: str


@dataclass(frozen=True, eq=False)
class Exercise:
    """Functions and classes for a learner to write, and all that is needed to check them."""

    name: str
    lesson: str  # the number of the lesson: "04", "A1"
    title: str
    starter: str  # source text: signatures, docstrings, `raise NotImplementedError`
    solution: str  # source text
    cases: tuple[Case, ...]
    mistakes: tuple[Mistake, ...]
    hints: Hints
    difficulty: str  # "easy", "medium", "hard"
    importance: str  # one sentence: what it is needed for later
    minutes: int
    core: bool = True
    setup: str = "import torch"  # imports that the notebook has run before the starter's cell
    # What may not be called. Without a dot: a torch operation's name in any spelling ("*softmax*");
    # with a dot: a Python function's full name. All of llama_course is forbidden besides,
    # apart from the modules in `may_use`.
    forbidden: tuple[str, ...] = ()
    may_use: tuple[str, ...] = ("llama_course.config", "llama_course.errors")
    reference: Mapping[str, Any] = field(default_factory=dict)  # parts; the solution's by default
    slowest: float = 200.0  # times the reference's own time, before an answer is too slow

    @cached_property
    def parts(self) -> dict[str, ast.FunctionDef | ast.ClassDef]:
        """The functions and classes to write, by name, in the starter's order."""
        return definitions(self.starter)

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The reference of every part."""
        return {**self.load(self.solution), **self.reference}

    def load(self, text: str, module: str = "llama_course.checks.text") -> dict[str, Any]:
        """The parts that a source text defines, run after the setup in a namespace of its own.

        `module` tells the watch over borrowed answers whose code this is: the course's.
        """
        namespace: dict[str, Any] = {"__name__": module}
        for words, source in (("setup of", self.setup), ("exercise", text)):
            # Not with this file's own __future__ imports.
            code = compile(source, f"<{words} {self.name}>", "exec", dont_inherit=True)
            exec(code, namespace)
        return {part: namespace[part] for part in self.parts if part in namespace}

    def text_of(self, form: str | tuple[str, ...]) -> str:
        """The source text of one form of a mistake, all parts included."""
        return (
            self.solution + "\n\n" + form if isinstance(form, str) else apply(form, self.solution)
        )

    def cases_of(self, part: str) -> list[Case]:
        """The cases of one part, in the order in which they climb."""
        only = next(iter(self.parts)) if len(self.parts) == 1 else ""
        mine = [case for case in self.cases if (case.part or only) == part]
        return sorted(mine, key=lambda case: LEVELS.index(case.level))

    def arguments(self, path: str) -> tuple[str, ...]:
        """The contract's names for the arguments of a function, a class or a `Class().method`."""
        name, _, method = path.partition("().")
        node = self.parts.get(name)
        if isinstance(node, ast.ClassDef):
            wanted = method or "__init__"
            found = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == wanted]
            return tuple(a.arg for a in found[0].args.args[1:]) if found else ()
        if isinstance(node, ast.FunctionDef) and not method:
            return tuple(a.arg for a in node.args.args)
        return ()


def definitions(text: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The functions and classes at the top level of a source text, by name; the last one wins."""
    return {
        node.name: node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def apply(replacements: tuple[str, ...], text: str) -> str:
    """`text` with each old piece replaced by its new one; an old piece must occur exactly once."""
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        if text.count(old) != 1:
            raise ValueError(f"{old!r} occurs {text.count(old)} times in the text, not once")
        text = text.replace(old, new)
    return text
