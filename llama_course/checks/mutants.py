"""Small changes to a right answer, one at a time, in every place: most of them are mistakes.

A case that none of them fails tests nothing. A change that no case notices either shows that a case
is missing, or makes no difference to what the contract promises; then its reason is written down.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, no_type_check

_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


@dataclass(frozen=True)
class Mutant:
    """A changed source, and the change in words: the old piece and the new one."""

    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every single change to a source text, each with a name that no other has."""
    tree = _without_words(ast.parse(source))
    seen: dict[str, int] = {}
    for path, node in _nodes(tree, ()):
        for new in _changes(node):
            changed = copy.deepcopy(tree)
            _replace(changed, path, new)
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text == ast.unparse(tree):
                continue
            change = f"{_words(node)} -> {_words(new)}"
            seen[change] = seen.get(change, 0) + 1
            yield Mutant(change if seen[change] == 1 else f"{change} #{seen[change]}", text)


def _words(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split("\n")[0]


@no_type_check
def _nodes(node: ast.AST, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], ast.AST]]:
    """Every node with the way to it."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield (*path, field), value
            yield from _nodes(value, (*path, field))
        elif isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield (*path, field, i), item
                    yield from _nodes(item, (*path, field, i))


@no_type_check
def _replace(tree: ast.AST, path: tuple[Any, ...], new: ast.AST) -> None:
    here: Any = tree
    for step in path[:-1]:
        here = here[step] if isinstance(step, int) else getattr(here, step)
    if isinstance(path[-1], int):
        here[path[-1]] = new
    else:
        setattr(here, path[-1], new)


@no_type_check
def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may be changed to."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in _BINARY:
            yield ast.BinOp(node.left, _BINARY[type(node.op)](), node.right)
        yield node.left  # the other side is dropped
        yield node.right
    elif isinstance(node, ast.AugAssign) and type(node.op) in _BINARY:
        yield ast.AugAssign(node.target, _BINARY[type(node.op)](), node.value)
    elif isinstance(node, ast.Compare):
        for other in _COMPARE[type(node.ops[0])]:
            yield ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    yield from _constants(node)
    if isinstance(node, ast.Call):
        yield from _calls(node)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Raise):
        yield ast.Pass()


@no_type_check
def _constants(node: ast.AST) -> Iterator[ast.AST]:
    value, negative = getattr(node, "value", None), False
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value, negative = getattr(node.operand, "value", None), True
    elif not isinstance(node, ast.Constant):
        return
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        whole = -value if negative else value
        yield from (_number(n) for n in (whole - 1, whole + 1, -whole) if n != whole)
    elif isinstance(value, float):
        number = -value if negative else value
        others = (number * 2, number / 2, -number) if number else (1.0,)
        yield from (_number(n) for n in others)


def _number(value: float) -> ast.expr:
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if value < 0 else ast.Constant(value)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """A call left out, its arguments changed round, a keyword left out."""
    function, args, keywords = node.func, node.args, node.keywords
    if isinstance(function, ast.Attribute) and not _is_module(function.value):
        yield function.value  # x.float() -> x
    elif args:
        yield args[0]  # torch.sqrt(x) -> x
    for i in range(len(args) - 1):
        swapped = [*args[:i], args[i + 1], args[i], *args[i + 2 :]]
        yield ast.Call(function, swapped, keywords)
    for i in range(len(keywords)):
        yield ast.Call(function, args, [*keywords[:i], *keywords[i + 1 :]])


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "F", "nn", "np")


@no_type_check
class _Quiet(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for arg in ast.walk(node.args):
            if isinstance(arg, ast.arg):
                arg.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        value = node.value
        return ast.Pass() if value is None else ast.Assign([node.target], value, lineno=0)


def _without_words(tree: ast.Module) -> ast.Module:
    """The tree without docstrings and annotations: changes there mean nothing."""
    return ast.fix_missing_locations(_Quiet().visit(tree))
