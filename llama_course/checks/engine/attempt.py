"""Whether there is an attempt at all, and whether it can be called as the contract says."""

from __future__ import annotations

import ast
import inspect
import types
from typing import Any

from llama_course.checks.engine.plain import kind
from llama_course.checks.exercise import Exercise, definitions


def is_starter(exercise: Exercise, part: str, source: str | None) -> bool:
    """Whether a source has the starter's syntax tree: docstrings and annotations do not count."""
    if source is None:
        return False
    try:
        written = definitions(source).get(part)
    except SyntaxError:
        return False
    return written is not None and _bare(written) == _bare(exercise.parts[part])


class _Strip(ast.NodeTransformer):
    """Takes away what does nothing: docstrings, annotations, `pass`, `...`."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(arg=node.arg)

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node


def _bare(node: ast.AST) -> str:
    return ast.dump(_Strip().visit(ast.parse(ast.unparse(node))))


def misfit(exercise: Exercise, part: str, answer: Any) -> tuple[str, str] | None:
    """A symptom and a sentence where the answer is not the kind of thing that is asked for."""
    wants_class = isinstance(exercise.parts[part], ast.ClassDef)
    if wants_class and not isinstance(answer, type):
        return "type", f"`{part}` should be a class, and is {kind(answer)}."
    if not wants_class and isinstance(answer, type):
        return "type", f"`{part}` should be a function, and is a class."
    if not callable(answer):
        return "type", f"`{part}` should be a function, and is {kind(answer)}: it cannot be called."
    if not wants_class and _returns_coroutine(answer):
        return "type", f"`{part}` should be a plain function: take the word `async` away."
    problem = _unbindable(answer, exercise.arguments(part), part)
    if problem is None and wants_class:
        problem = _methods(exercise, part, answer)
    return None if problem is None else ("arguments", problem)


def _returns_coroutine(answer: Any) -> bool:
    return inspect.iscoroutinefunction(answer) or inspect.isasyncgenfunction(answer)


def _unbindable(answer: Any, names: tuple[str, ...], called: str) -> str | None:
    """Why a call with these arguments, in this order, cannot work."""
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        return None  # a function made in C keeps its signature to itself
    except Exception:
        return None
    try:
        signature.bind(*names)
    except TypeError:
        shown = [p for p in signature.parameters.values()]
        has = ", ".join(f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in shown)
        wanted = ", ".join(names)
        return f"`{called}` is called as `{called}({wanted})`, but takes `({has})`."
    return None


def _methods(exercise: Exercise, part: str, answer: type) -> str | None:
    node = exercise.parts[part]
    for wanted in node.body:
        if not isinstance(wanted, ast.FunctionDef) or wanted.name == "__init__":
            continue
        found = inspect.getattr_static(answer, wanted.name, None)
        if found is None:
            return f"The class `{part}` has no `{wanted.name}`."
        if isinstance(found, types.FunctionType) and not wanted.decorator_list:
            names = exercise.arguments(f"{part}().{wanted.name}")
            problem = _unbindable(found, ("self", *names), wanted.name)
            if problem is not None:
                return problem.replace("(self, ", "(").replace("(self)", "()")
    return None
