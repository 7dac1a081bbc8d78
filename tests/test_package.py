"""The package as its users have it: what completes, what it says of itself, a script beside it."""

from __future__ import annotations

import importlib.metadata
import runpy
from pathlib import Path

import pytest

import attacks
import minigrad as mg
import models

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "own_network" / "train.py"


def test_completion_shows_what_users_use() -> None:
    assert set(dir(mg)) == {*mg.__all__, "__version__"}
    for internal in ("checks", "engine", "lanes", "modes", "modules", "numpy_calls", "operators", "writes"):
        assert internal not in dir(mg)
    for name in mg.__all__:
        assert getattr(mg, name) is not None


def test_types_are_announced() -> None:
    for package in (mg, models, attacks):
        assert (Path(package.__file__).parent / "py.typed").is_file()


def test_what_it_says_of_itself() -> None:
    about = importlib.metadata.metadata("minigrad-adversarial")
    (owner,) = [line for line in (ROOT / "LICENSE").read_text().splitlines() if line.startswith("Copyright")]
    assert about["Author"] in owner
    assert "autodiff" in about["Keywords"]
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {mg.__version__}" in citation
    assert about["Author"] in citation


def test_a_network_a_loop_a_penalty_and_a_curvature_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    """.ci/run checks its types, against the wheel."""
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert "first.W   (2, 32) float32" in printed
    assert "195 numbers" in printed
