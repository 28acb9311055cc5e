"""Making a file of an answer: its source, with everything that it reads."""

from __future__ import annotations

import ast
import builtins
import functools
import types
from collections.abc import Mapping
from typing import Any

import torch

from llama_course.checks.engine.plain import kind
from llama_course.workbook.source import Statement, executed, free_names, statement

LONGEST = 20_000  # characters of one literal: a table longer than that is data, not a constant

_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    functools.partial,
    type(functools.cache(len)),
)


class CannotKeep(Exception):
    """Why an answer cannot be kept, as the end of the sentence "Not kept: ..."."""


def as_file(name: str, value: Any, namespace: Mapping[str, Any], header: str) -> str:
    """The text of a file that defines `name` as this value, and needs nothing else."""
    gathering = _Gathering(namespace)
    gathering.need(name, value)
    future = ["from __future__ import annotations"] if gathering.future(value) else []
    blocks = [
        header,
        "\n".join(future),
        "\n".join(gathering.imports),
        "\n".join(gathering.constants),
        *gathering.definitions,
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


class _Gathering:
    """Follows the names that a definition reads, each once, the needed before the needing."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.cells = executed(namespace)
        self.imports: dict[str, None] = {}
        self.constants: list[str] = []
        self.definitions: list[str] = []
        self.done: set[str] = set()

    def need(self, name: str, value: Any) -> None:
        if name in self.done:
            return
        self.done.add(name)
        line = self._import(name, value)
        if line is not None:
            self.imports[line] = None
        elif isinstance(value, (type, *_FUNCTIONS)):
            self._define(name, value)
        else:
            self._constant(name, value)

    def future(self, value: Any) -> bool:
        code = getattr(value, "__code__", None)
        flag = __import__("__future__").annotations.compiler_flag
        return code is not None and bool(code.co_flags & flag)

    def _define(self, name: str, value: Any) -> None:
        found = statement(name, value, self.cells)
        own = getattr(value, "__name__", None)
        if found is None and own in (None, name):
            raise CannotKeep(f"the source of `{name}` is in no cell that was run.")
        other = str(own) if found is None else _alias_of(found, name)
        if found is None or other is not None:
            # `rms_norm = my_norm`: the function was written under another name.
            self._read(str(other), value)
            self.definitions.append(f"{name} = {other}")
            return
        # Names that only annotations read are never looked up where they stay text.
        future = "from __future__ import annotations\n" if self.future(value) else ""
        for needed in free_names(future + found.source):
            if needed in self.namespace:
                self.need(needed, self.namespace[needed])
            elif not hasattr(builtins, needed) and needed != name:
                raise CannotKeep(f"it reads `{needed}`, which is not there any more.")
        self.definitions.append(found.source)

    def _read(self, name: str, default: Any) -> None:
        self.need(name, self.namespace.get(name, default))

    def _constant(self, name: str, value: Any) -> None:
        text = None
        if isinstance(value, list | dict | set):
            text = self._assignment(name)  # what it was before anything filled it
        if text is None:
            text = _literal(value)
            text = None if text is None else f"{name} = {text}"
        if text is None or len(text) > LONGEST:
            raise CannotKeep(
                f"it reads `{name}`, {kind(value)} from another cell: "
                "make it inside, or take it as an argument."
            )
        if "torch." in text:
            self.imports["import torch"] = None
        self.constants.append(text)

    def _assignment(self, name: str) -> str | None:
        found = statement(name, None, self.cells)
        if found is None or not isinstance(found.node, ast.Assign | ast.AnnAssign):
            return None
        try:
            value = found.node.value
            return f"{name} = {ast.literal_eval(value)!r}" if value is not None else None
        except ValueError:
            return None

    def _import(self, name: str, value: Any) -> str | None:
        """The import that gives this very value, as it was written or as it can be written."""
        if isinstance(value, types.ModuleType):
            full = value.__name__
            lines = [f"import {name}" if full == name else f"import {full} as {name}"]
        else:
            lines = self._written_imports(name)
            module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
            if isinstance(value, (type, *_FUNCTIONS)) and module and own.isidentifier():
                lines.append(f"from {module} import {_as(own, name)}")
        for line in lines:
            if _gives(line, name, value):
                return line
        # A part of yours that has been kept anew since it was imported: the newer one passed too.
        mine = "from llama_course.mine import "
        if getattr(value, "__module__", None) == "llama_course.mine":
            return next((line for line in lines if line.startswith(mine)), None)
        return None

    def _written_imports(self, name: str) -> list[str]:
        lines = []
        for cell in reversed(self.cells):
            try:
                tree = ast.parse(cell)
            except SyntaxError:
                continue
            for node in ast.walk(tree):
                if not isinstance(node, ast.Import | ast.ImportFrom):
                    continue
                for alias in node.names:
                    if (alias.asname or alias.name) == name and isinstance(node, ast.ImportFrom):
                        source = "." * node.level + (node.module or "")
                        lines.append(f"from {source} import {_as(alias.name, name)}")
        return lines


def _as(own: str, name: str) -> str:
    return own if own == name else f"{own} as {name}"


def _gives(line: str, name: str, value: Any) -> bool:
    """Whether an import line, run in an empty namespace, binds the name to this very object."""
    if line.startswith("from __main__ "):
        return False
    namespace: dict[str, Any] = {}
    try:
        exec(compile(line, "<import>", "exec", dont_inherit=True), namespace)
    except Exception:
        return False
    return namespace.get(name) is value


def _alias_of(found: Statement, name: str) -> str | None:
    """The other name, where a statement is `name = other`."""
    node = found.node
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Name):
        return None
    alone = len(node.targets) == 1 and getattr(node.targets[0], "id", None) == name
    return node.value.id if alone else None


def _literal(value: Any) -> str | None:
    """Source text for a constant: numbers, text, dtypes, and nests of them."""
    if isinstance(value, float):
        return repr(value) if value - value == 0 else f"float({str(value)!r})"
    if isinstance(value, bool | int | str | bytes | complex | type(None) | range | torch.dtype):
        return repr(value)
    if isinstance(value, torch.device):
        return f"torch.{value!r}"
    if type(value) in (list, tuple, set, frozenset):
        items = [_literal(v) for v in value]
        if None in items:
            return None
        inside = ", ".join(str(i) for i in items)
        if isinstance(value, list):
            return f"[{inside}]"
        if isinstance(value, tuple):
            return f"({inside},)" if items else "()"
        return f"{type(value).__name__}([{inside}])"
    if type(value) is dict:
        pairs = [(_literal(k), _literal(v)) for k, v in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
    return None
