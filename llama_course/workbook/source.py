"""Where a function or class was written: the text of the executed cell, not of the screen.

`inspect` cannot see a class that comes from a notebook, and asks the file that is there now. The
cells that were executed are in IPython's `In`, and each compiled cell's text is in `linecache`.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import symtable
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any


@dataclass(frozen=True)
class Statement:
    """A top-level statement that binds a name, and the whole text it stands in."""

    node: ast.stmt
    source: str
    text: str


def executed(namespace: Mapping[str, Any]) -> list[str]:
    """The texts that ran in a namespace, in order: a notebook's cells, or a script's one file."""
    cells = namespace.get("In")
    if isinstance(cells, list):
        return [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    file = namespace.get("__file__")
    if isinstance(file, str) and Path(file).is_file():
        return ["".join(linecache.getlines(file))]
    return []


def code_of(value: Any) -> CodeType | None:
    """The code of a function, through decorators that say what they wrap; of a class's method."""
    if isinstance(value, type):
        for item in vars(value).values():
            found = code_of(item.fget) if isinstance(item, property) else None
            found = found or (None if isinstance(item, type) else code_of(item))
            # A dataclass has methods that Python wrote; a subclass may borrow one as it is.
            if found is not None and found.co_qualname.startswith(f"{value.__qualname__}."):
                return found
        return None
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    try:
        value = inspect.unwrap(value)
    except ValueError:
        return None
    found = getattr(value, "__code__", None)
    return found if isinstance(found, CodeType) else None


def text_of(value: Any) -> str | None:
    """The whole text of the cell or file in which a function or class was compiled."""
    code = code_of(value)
    if code is None:
        return None
    return "".join(linecache.getlines(code.co_filename)) or None


def statement(name: str, value: Any, texts: Iterable[str]) -> Statement | None:
    """The statement that bound `name` to this value, as far as can be known."""
    code, own = code_of(value), text_of(value)
    if code is not None and own is not None:
        found = _binding(own, name)
        if found is not None and _holds(found.node, code):
            return found
    # A closure, or what a decorator made: the statement that called it is in some cell.
    for text in [*reversed(list(texts)), *([own] if own else [])]:
        found = _binding(text, name)
        if found is not None:
            return found
    return None


def defining(name: str, value: Any, texts: Iterable[str]) -> str | None:
    """The source of the function or class `name`, if it was written as such."""
    found = statement(name, value, texts)
    if found is None or not isinstance(found.node, ast.FunctionDef | ast.ClassDef):
        return None
    return found.source


def free_names(source: str) -> list[str]:
    """The names that a piece of source reads and does not bind itself, in order of the alphabet."""
    names: set[str] = set()

    def walk(table: symtable.SymbolTable, top: bool) -> None:
        for symbol in table.get_symbols():
            # `count += 1` under `global count` reads it, though the table does not say so.
            reads = symbol.is_referenced() or symbol.is_declared_global()
            if reads and (not symbol.is_assigned() if top else symbol.is_global()):
                names.add(symbol.get_name())
        for child in table.get_children():
            walk(child, False)

    walk(symtable.symtable(source, "<cell>", "exec"), True)
    return sorted(names)


def binds(node: ast.stmt, name: str) -> bool:
    """Whether a statement binds a name at its own level."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((a.asname or a.name.split(".")[0]) == name for a in node.names)
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    leaves = (leaf for target in targets for leaf in ast.walk(target))
    return any(isinstance(leaf, ast.Name) and leaf.id == name for leaf in leaves)


def _binding(text: str, name: str) -> Statement | None:
    """The last top-level statement of a text that binds a name."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in reversed(tree.body):
        if binds(node, name):
            return Statement(node, _source(text, node), text)
    return None


def _source(text: str, node: ast.stmt) -> str:
    """A statement's own lines, with its comments; rewritten where it shares a line."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    source = "\n".join(lines)
    try:
        if len(ast.parse(source).body) == 1:
            return source
    except SyntaxError:
        pass
    return ast.unparse(node)


def _holds(node: ast.stmt, code: CodeType) -> bool:
    """Whether a definition is the one that this code was compiled from."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    return first <= code.co_firstlineno <= (node.end_lineno or first)
