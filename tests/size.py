"""How long the readable core is: `python -m tests.size` prints it.

Lines of code are lines that hold a token of a statement: no docstrings, comments or blank lines. An
operation's file may be as long as its formulas; these numbers are of what has to be read before them.
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import Path

from minigrad import engine, lanes

ROOT = Path(engine.__file__).parent
CORE = ("engine", "tensor", "primitives", "backend")
CAPTURE = ("fast/recording", "fast/replay")  # the recording library, its tape, and capture
MOST_OF_PATH, MOST_OF_CORE, MOST_OF_CAPTURE = 130, 500, 400


def path_lines() -> int:
    """Lines of the backward pass, with docstrings: the walk, the sums and the order."""
    with lanes.plain_forms():
        parts = (engine.walk, engine.Sums, engine.order, engine.computed_from)
        return sum(len(inspect.getsourcelines(part)[0]) for part in parts)


def lines_of(names: tuple[str, ...]) -> int:
    """Lines of code of these modules of minigrad."""
    return sum(code_lines((ROOT / f"{name}.py").read_text(encoding="utf-8")) for name in names)


def all_lines() -> int:
    """All lines of minigrad but those of the fast lane and of minigrad.testing."""
    files = [p for p in ROOT.rglob("*.py") if not {"fast", "testing"} & set(p.relative_to(ROOT).parts)]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def code_lines(source: str) -> int:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            docstrings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
               tokenize.ENDMARKER}  # fmt: skip
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


if __name__ == "__main__":
    print(f"walk, sums and order, with docstrings: {path_lines()} lines (at most {MOST_OF_PATH})")
    print(f"{', '.join(CORE)}: {lines_of(CORE)} lines of code (at most {MOST_OF_CORE})")
    print(f"{', '.join(CAPTURE)}: {lines_of(CAPTURE)} lines of code (at most {MOST_OF_CAPTURE})")
    print(f"all of minigrad but fast and testing: {all_lines()} lines")
