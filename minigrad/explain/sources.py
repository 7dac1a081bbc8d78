"""The source text of a primitive's forward and of its derivatives' rules."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigrad.checks import shown
from minigrad.errors import ArgumentTypeError
from minigrad.lanes import Replaceable
from minigrad.primitives import EachPosition, Primitive
from minigrad.tensor import Tensor


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
    """A primitive's forward, and for each array argument the rule of its derivative; None if it has none.
    `helpers` are the private functions and primitives that these call, each with its own rules."""

    name: str
    forward: Source
    derivatives: tuple[tuple[str, Source | None], ...]
    helpers: tuple[Rules, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.name}, {self.forward.place}", textwrap.indent(self.forward.text, "    ")]
        for argument, source in self.derivatives:
            if source is None:
                parts.append(f"share of {argument}: it has no derivative")
            else:
                parts += [f"share of {argument}, {source.place}", textwrap.indent(source.text, "    ")]
        return "\n".join([*parts, *map(str, self.helpers)])

    def __repr__(self) -> str:
        return str(self)


def rules(operation: Any) -> Rules:
    """The source of a primitive, such as `mg.tanh`: its plain forward, its rules, and the private functions
    and primitives that they call.

    A function that is made of primitives, such as `mg.softmax_cross_entropy`, has no rules of its own: its
    source is shown, and its private primitives have them. ArgumentTypeError for anything else.
    """
    if isinstance(operation, Tensor):
        raise ArgumentTypeError(
            "operation must be a primitive or a function, got a Tensor: the primitive that made it is its "
            "made_by"
        )
    if isinstance(operation, Primitive) or inspect.isfunction(_plain(operation)):
        return _rules(operation, set())
    raise ArgumentTypeError(f"operation must be a primitive or a function, got {shown(operation)}")


def _plain(operation: Any) -> Any:
    """The plain form of what may have a fast one."""
    if isinstance(operation, (Replaceable, Primitive)):
        return operation.plain
    return operation


def _rules(operation: Any, shown_before: set[int]) -> Rules:
    """With the helpers that were not shown before."""
    shown_before.add(id(operation))
    functions = [_plain(operation)]
    if isinstance(operation, Primitive):
        vjps = operation.vjps
        functions += [vjps.rule_at] if isinstance(vjps, EachPosition) else [v for v in vjps if v is not None]
    helpers = []
    for function in functions:
        for helper in _private_calls(function):
            if id(helper) not in shown_before:
                helpers.append(_rules(helper, shown_before))
    derivatives = _derivatives(operation) if isinstance(operation, Primitive) else ()
    return Rules(operation.__name__, source_of(functions[0]), derivatives, tuple(helpers))


def _private_calls(function: Any) -> list[Any]:
    """What a function calls of its own file by a name that begins with _: what is public is found by its own
    name, and what comes from elsewhere is another theme."""
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    found = [names[name] for name in _globals_in(code) if name.startswith("_") and name in names]
    return [
        value
        for value in dict.fromkeys(found)
        if (isinstance(value, (Primitive, Replaceable)) or inspect.isfunction(value))
        and value.__module__ == function.__module__
    ]


def _globals_in(code: Any) -> list[str]:
    """The global names that a code reads, and the functions within it."""
    if code is None:
        return []
    found = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            found += _globals_in(constant)
    return found


def _derivatives(primitive: Primitive[Any]) -> tuple[tuple[str, Source | None], ...]:
    if isinstance(primitive.vjps, EachPosition):
        return (("the argument at `position`", source_of(primitive.vjps.rule_at)),)
    names = primitive.names[: len(primitive.vjps)]
    return tuple(
        (name, None if rule is None else source_of(rule))
        for name, rule in zip(names, primitive.vjps, strict=True)
    )


def source_of(function: Any) -> Source:
    """The text of a function, or of a lambda alone, which `inspect` shows with all that stands around it. Of
    a partial function it is that of the whole one, of an object that of its `__call__`."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if code is None:
        return Source(shown(function) or type(function).__name__, "source not known", 0)
    signature = f"{code.co_name}({', '.join(code.co_varnames[: code.co_argcount])})"
    return _source(code, code.co_filename, signature)


@functools.cache
def _source(code: Any, file: str, signature: str) -> Source:
    named = [node for node in _definitions(file).get(code.co_firstlineno, []) if _is_named(node, code)]
    exact = [node for node in named if _has_code(node, code)] if len(named) > 1 else named
    if len(exact) != 1:  # typed at a prompt, changed since, or not to be told apart from its neighbours
        return Source(signature, _short(file), code.co_firstlineno)
    text = ast.get_source_segment(_text(file), exact[0], padded=True) or signature
    return Source(textwrap.dedent(text).strip(), _short(file), exact[0].lineno)


def _text(file: str) -> str:
    return "".join(linecache.getlines(file))


@functools.cache
def _definitions(file: str) -> dict[int, list[Any]]:
    """The functions and lambdas of a file, by the line on which each begins, with its decorators."""
    found: dict[int, list[Any]] = {}
    try:
        tree = ast.parse(_text(file))
    except (SyntaxError, ValueError):  # no Python, or not any more
        return found
    for node in ast.walk(tree):
        if isinstance(node, (ast.Lambda, ast.FunctionDef)):
            decorators = getattr(node, "decorator_list", [])
            found.setdefault(min([node.lineno, *(d.lineno for d in decorators)]), []).append(node)
    return found


def _is_named(node: Any, code: Any) -> bool:
    """Whether a node defines a function of this code's name and arguments."""
    own = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    return own == code.co_name and tuple(arguments) == code.co_varnames[: code.co_argcount]


def _has_code(node: Any, code: Any) -> bool:
    """Whether a lambda is the one with this code: several may begin on one line."""
    if hasattr(code, "co_positions"):  # from Python 3.11 on
        body = node.body
        start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
        places = {(line, column) for line, _, column, _ in code.co_positions() if column is not None}
        places.discard((code.co_firstlineno, 0))  # of what begins every function
        return bool(places) and all(start <= place <= end for place in places)
    constants = compile(ast.Expression(node), "", "eval").co_consts
    return any(_same(constant, code) for constant in constants if hasattr(constant, "co_code"))


def _same(a: Any, b: Any) -> bool:
    """Whether two codes do the same: those of functions within them too."""
    if not hasattr(a, "co_code") or not hasattr(b, "co_code"):
        return bool(type(a) is type(b) and a == b)
    alike = (a.co_code, a.co_names, a.co_varnames) == (b.co_code, b.co_names, b.co_varnames)
    pairs = zip(a.co_consts, b.co_consts, strict=False)
    return bool(alike and len(a.co_consts) == len(b.co_consts) and all(_same(x, y) for x, y in pairs))


def _short(file: str) -> str:
    """The file's path from the directory that its package is in; all of it for other files."""
    path, root = Path(file), Path(__file__).parents[2]
    return str(path.relative_to(root)) if path.is_relative_to(root) else file
