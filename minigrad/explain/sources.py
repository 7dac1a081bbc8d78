"""The source text of a primitive's forward and of its derivatives' rules."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigrad.checks import shown
from minigrad.errors import ArgumentTypeError
from minigrad.primitives import EachPosition, Primitive


@dataclass(frozen=True)
class Source:
    """The text of a function, and where it stands; line is 0 where that is not known."""

    text: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """file:line, from the package's directory on."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Rules:
    """A primitive's forward, and for each array argument the rule of its derivative; None if it has none."""

    name: str
    forward: Source
    derivatives: tuple[tuple[str, Source | None], ...]

    def __str__(self) -> str:
        parts = [f"{self.name}, {self.forward.place}", textwrap.indent(self.forward.text, "    ")]
        for argument, source in self.derivatives:
            if source is None:
                parts.append(f"share of {argument}: it has no derivative")
            else:
                parts += [f"share of {argument}, {source.place}", textwrap.indent(source.text, "    ")]
        return "\n".join(parts)

    def __repr__(self) -> str:
        return str(self)


def rules(operation: Any) -> Rules:
    """The source of a primitive, such as `mg.tanh`: its plain forward, and its rules.

    A function that is made of primitives, such as `mg.softmax_cross_entropy`, has no rules of its own: its
    source is shown, and there are no derivatives. ArgumentTypeError for anything else.
    """
    if isinstance(operation, Primitive):
        return Rules(operation.__name__, source_of(operation.plain), _derivatives(operation))
    if inspect.isfunction(operation):
        return Rules(operation.__name__, source_of(operation), ())
    raise ArgumentTypeError(f"operation must be a primitive or a function, got {shown(operation)}")


def _derivatives(primitive: Primitive[Any]) -> tuple[tuple[str, Source | None], ...]:
    if isinstance(primitive.vjps, EachPosition):
        return (("the argument at `position`", source_of(primitive.vjps.rule_at)),)
    names = primitive.names[: len(primitive.vjps)]
    return tuple(
        (name, None if rule is None else source_of(rule))
        for name, rule in zip(names, primitive.vjps, strict=True)
    )


def source_of(function: Any) -> Source:
    """The text of a function, or of a lambda alone, which `inspect` shows with all that stands around it."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return Source(repr(function), "source not known", 0)
    file = _short(code.co_filename)
    begins_here = _definitions(code.co_filename).get(code.co_firstlineno, [])
    for node in begins_here:
        if len(begins_here) == 1 or _has_code(node, code):
            text = ast.get_source_segment(_text(code.co_filename), node, padded=True) or ""
            return Source(textwrap.dedent(text).strip(), file, node.lineno)
    # Typed at a prompt, or changed since.
    return Source(f"{function.__name__}{inspect.signature(function)}", file, code.co_firstlineno)


def _text(file: str) -> str:
    return "".join(linecache.getlines(file))


@functools.cache
def _definitions(file: str) -> dict[int, list[Any]]:
    """The functions and lambdas of a file, by the line on which each begins, with its decorators."""
    found: dict[int, list[Any]] = {}
    for node in ast.walk(ast.parse(_text(file))):
        if isinstance(node, (ast.Lambda, ast.FunctionDef)):
            decorators = getattr(node, "decorator_list", [])
            found.setdefault(min([node.lineno, *(d.lineno for d in decorators)]), []).append(node)
    return found


def _has_code(node: Any, code: Any) -> bool:
    """Whether the function that a node defines is the one with this code: several may begin on one line."""
    if not isinstance(node, ast.Lambda):
        return bool(node.name == code.co_name)
    if code.co_name != "<lambda>":
        return False
    compiled = compile(ast.Expression(node), "", "eval").co_consts
    own = next(constant for constant in compiled if hasattr(constant, "co_code"))
    return bool((own.co_varnames, own.co_names) == (code.co_varnames, code.co_names)
                and own.co_code == code.co_code)  # fmt: skip


def _short(file: str) -> str:
    """The file's path from the directory that its package is in; all of it for other files."""
    path, root = Path(file), Path(__file__).parents[2]
    return str(path.relative_to(root)) if path.is_relative_to(root) else file
