"""The pages of docs/: their examples run, what they print is so, and the operations are all there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attacks
import minigrad as mg
from minigrad.errors import GraphError

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "checking-gradients.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "own_gradients" / "test_own_gradients.py"


PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_page(name: str) -> dict[str, Any]:
    """Every block whose library is installed."""
    names: dict[str, Any] = {}
    for block in PYTHON.findall((ROOT / "docs" / name).read_text(encoding="utf-8")):
        imported = re.match(r"import (torch|jax|sklearn)\b", block)
        if imported is None or importlib.util.find_spec(imported[1]) is not None:
            exec(compile(block, name, "exec"), names)
    return names


def test_the_operations() -> None:
    """The examples run, and every operation stands in a table."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = {
        name
        for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)", row)
    }
    unlisted = set(mg.operations.__all__) - listed
    assert not unlisted, f"give {unlisted} a row in docs/operations.md"
    names = run_page("operations.md")
    p = mg.Parameter(np.array([1.0, -2.0]))
    p.grad = np.array([3.0, -4.0])
    optimiser = names["AdaGrad"]({"p": p}, lr=0.5)
    optimiser.step()
    np.testing.assert_allclose(p.numpy(), [0.5, -1.5])
    optimiser.step()
    np.testing.assert_allclose(p.numpy(), [0.5 - 0.5 / 2**0.5, -1.5 + 0.5 / 2**0.5])
    assert optimiser.state_dict()["squares.p"].tolist() == [18, 32]


def test_attacking_other_models(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_page("attacking-other-models.md")
    for line in capsys.readouterr().out.splitlines():
        what, before, after = line.split()
        assert float(after) < float(before) if what == "right" else float(after) > float(before)
    x = np.array([[1.0, 2.0], [3.0, -4.0]])
    W = np.array([[2.0, -1.0], [0.5, 3.0]])
    model = names["Foreign"](lambda x, y: ((x * W[y]).sum(1), W[y]))
    y = np.array([1, 0])
    np.testing.assert_array_equal(attacks.input_gradient(model, x, y), W[y])
    adversarial = attacks.pgd(model, x, y, epsilon=0.5, restarts=2)
    np.testing.assert_allclose(adversarial, x + 0.5 * np.sign(W[y]))
    leaf = mg.Tensor(x, requires_grad=True)
    with pytest.raises(GraphError):
        mg.grad(model.cost(leaf, y), leaf, create_graph=True)


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
        "settings.register_profile('p', deadline=None, derandomize=True,\n"
        "                          suppress_health_check=[HealthCheck.too_slow])\n"
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
