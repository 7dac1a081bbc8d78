"""What the README shows runs, and says what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments import CORE

README = Path(__file__).parent.parent / "README.md"


def test_its_python_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["[ 0.         -0.13533528 -0.09957414]", "[ 6. 12. 18.]", "12.0"]
    assert 0.0 <= float(printed[3]) < 1.0
    assert (tmp_path / "model.npz").is_file()


def test_its_table_is_the_reference_run() -> None:
    report = json.loads((README.parent / "benchmarks" / "results" / "paper-quick.json").read_text())
    core = [row for row in report["rows"] if row["key"].split(".")[0] in CORE]
    assert core
    for row in core:
        (line,) = (line for line in README.read_text().splitlines() if f"| {row['what']} |" in line)
        for figures, deviation in (
            (row["measured"], row["deviation"]),
            (row["measured"]["clipped"], row["deviation"]["clipped"]),
            (row["measured"]["rounded"], row["deviation"]["rounded"]),
        ):
            if figures is not None:
                assert f"{figures['error']:.2f} ± {deviation['error']:.2f}" in line
        assert f"{row['measured']['examples']} × {len(row['by_seed'])}" in line


def test_its_pictures_are_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text())
    assert len(pictures) >= 2
    for picture in pictures:
        assert (README.parent / picture).read_bytes().startswith(b"\x89PNG")
