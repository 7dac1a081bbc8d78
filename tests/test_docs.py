"""docs/checking-gradients.md: its examples run, and the failure that it shows is what pytest shows."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "checking-gradients.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "own_gradients" / "test_own_gradients.py"


def test_its_examples() -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        imported = re.match(r"import (torch|jax)\n", block)
        if imported is None or importlib.util.find_spec(imported[1]) is not None:
            exec(compile(block, "checking-gradients.md", "exec"), names)
    with pytest.raises(AssertionError, match="the gradient of hard_swish in x is wrong"):
        names["test_hard_swish"]()


def test_the_failure_that_it_shows(tmp_path: Path) -> None:
    """In a directory of its own, where only this package is installed, or found."""
    shutil.copy(EXAMPLE, tmp_path)
    # A slow machine is no failure of the test that it shows.
    quiet = (
        "from hypothesis import HealthCheck, settings\n"
        "settings.register_profile('p', deadline=None, suppress_health_check=[HealthCheck.too_slow])\n"
    )
    (tmp_path / "conftest.py").write_text(quiet + "settings.load_profile('p')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=."],
        cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed" in done.stdout
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown in re.sub(r" +$", "", done.stdout, flags=re.MULTILINE)
    traceback = done.stdout.partition("Failing test case")[0]
    assert "minigrad/testing" not in traceback


def test_its_example_is_the_page_s() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    for part in ("def hard_swish(x)", "def hard_swish_vjp", "def test_hard_swish"):
        (body,) = re.findall(rf"^{re.escape(part)}.*?(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL)
        assert body.strip() in PAGE
