"""MNIST's files, and the command `python -m benchmarks paper`."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import mnist
from benchmarks.__main__ import main
from benchmarks.experiments import EXPERIMENTS
from benchmarks.task import measure
from minigrad.errors import DataError

FILES = {"train-images-idx3-ubyte": (60, 28, 28), "train-labels-idx1-ubyte": (60,),
         "t10k-images-idx3-ubyte": (20, 28, 28), "t10k-labels-idx1-ubyte": (20,)}  # fmt: skip


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four small files of noise, half of them compressed."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for i, (name, shape) in enumerate(FILES.items()):
        content = idx(rng.integers(0, 10 if len(shape) == 1 else 256, shape).astype(np.uint8))
        if i % 2:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


class TestFiles:
    def test_the_copy_that_comes_with_the_repository_is_mnist(self) -> None:
        expected = {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        }
        for name, digest in expected.items():
            content = gzip.decompress((mnist.DIRECTORY / f"{name}.gz").read_bytes())
            assert hashlib.sha256(content).hexdigest() == digest

    def test_pixels_and_labels(self) -> None:
        train, test = mnist.load()
        assert (len(train), len(test)) == (60_000, 10_000)
        for digits in (train, test):
            assert digits.x.dtype == np.float32
            assert (digits.x.min(), digits.x.max()) == (0.0, 1.0)
            assert np.unique(digits.y).tolist() == list(range(10))
        pair = test.sevens_against_threes()
        assert len(pair) == (test.y == 3).sum() + (test.y == 7).sum() == 2038
        assert (pair.y == 1).sum() == (test.y == 7).sum()

    def test_compressed_or_not(self, directory: Path) -> None:
        train, test = mnist.load(directory)
        assert train.x.shape == (60, 784)
        assert test.y.shape == (20,)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: content[:-1], "must have .* bytes"),
            (lambda content: content + b"\0", "must have .* bytes"),
            (lambda content: b"\0\0\x0d" + content[3:], "magic number"),
            (lambda content: b"<html>", "magic number"),
            (lambda content: b"", "empty file"),
            (lambda content: content[:6], "ends before"),
            (lambda content: gzip.compress(content)[:-9], "whole gzip file"),
            (lambda content: gzip.compress(content)[:30] + b"\xff" * 30, "whole gzip file"),
            (lambda content: idx(np.zeros((3, 5), np.uint8)), "must hold"),
            (lambda content: idx(np.full(60, 10, np.uint8)), "must hold"),
        ],
    )
    def test_damage_is_named(self, directory: Path, name: str, damage: Any, message: str) -> None:
        path = next(directory.glob(f"{name}*"))
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        path.write_bytes(damage(content))
        with pytest.raises(DataError, match=message) as error:
            mnist.load(directory)
        assert name in str(error.value)

    @pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (0,)])
    def test_sizes_of_zero(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape))
        with pytest.raises(DataError, match="at least one element"):
            mnist.read_idx(path)

    def test_too_many_axes(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"\0\0\x08\xff" + b"\xff" * 2000)
        with pytest.raises(DataError, match="at most 3 axes"):
            mnist.read_idx(path)

    def test_a_missing_file(self, directory: Path) -> None:
        (directory / "train-images-idx3-ubyte").unlink()
        with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
            mnist.load(directory)


class Fixed:
    """Predicts what it is told."""

    def __init__(self, probabilities: Any, labels: Any) -> None:
        self.probabilities, self.labels = np.array(probabilities), np.array(labels)

    def predict_proba(self, x: Any) -> Any:
        return self.probabilities[x]

    def predict(self, x: Any) -> Any:
        return self.labels[x]


def test_error_and_confidence_on_the_mistakes() -> None:
    model = Fixed([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [0, 1, 0, 1])
    result = measure(model, np.arange(4), np.array([1, 1, 1, 1]), batch=3)
    assert result.error == 50.0
    assert result.confidence == pytest.approx(75.0)
    assert measure(model, np.arange(4), np.array([0, 1, 0, 1])).confidence is None
    signs = Fixed([0.9, 0.2], [1, -1])
    assert measure(signs, np.arange(2), np.array([1, 1])).confidence == pytest.approx(80.0)


class TestPaperCommand:
    def run(self, *arguments: str) -> None:
        main(["paper", *arguments])

    def test_table_and_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.run("--rows", "softmax", "logistic", "--epochs", "1", "--seeds", "2", "--out", str(tmp_path))
        printed = capsys.readouterr().out
        assert "99.9 / 79.3" in printed
        assert "2038 × 2" in printed
        report = json.loads((tmp_path / "paper.json").read_text())
        assert report["complete"]
        rows = {row["key"]: row for row in report["rows"]}
        assert set(rows) == {"softmax.fgsm", "logistic.clean", "logistic.fgsm"}
        assert 95 < rows["softmax.fgsm"]["measured"]["error"]["mean"] <= 100
        assert rows["logistic.clean"]["measured"]["error"]["mean"] < 4
        assert rows["logistic.clean"]["measured"]["error"]["deviation"] is not None
        assert [m["examples"] for m in rows["softmax.fgsm"]["by_seed"]] == [10_000, 10_000]
        history = report["experiments"]["softmax"]["runs"][1]["history"]
        assert set(history[0]) >= {"training_cost", "clean_error", "fgsm_error", "pgd_error"}
        assert report["environment"]["numpy"] == np.__version__

    def test_a_seed_gives_the_same_numbers_again(self, tmp_path: Path) -> None:
        measured = []
        for name in ("a", "b"):
            self.run("--rows", "logistic", "--epochs", "1", "--quiet", "--out", str(tmp_path / name))
            report = json.loads((tmp_path / name / "paper.json").read_text())
            measured.append([row["by_seed"] for row in report["rows"]])
        assert measured[0] == measured[1]

    def test_every_row_is_measured_by_its_experiment(self) -> None:
        keys = [row.key for experiment in EXPERIMENTS.values() for row in experiment.ROWS]
        assert len(keys) == len(set(keys))
        for name, experiment in EXPERIMENTS.items():
            assert all(row.key.startswith(f"{name}.") for row in experiment.ROWS)
            assert experiment.CHOICES
            assert experiment.__doc__

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--epochs", "0"], "--epochs must be at least 1, got 0"),
            (["--seeds", "0"], "--seeds must be at least 1"),
            (["--data", "nowhere"], "must be a directory, got nowhere"),
            (["--backend", "torch"], "invalid choice: 'torch'"),
            (["--rows", "cifar"], "invalid choice: 'cifar'"),
            (["--scale", "huge"], "invalid choice: 'huge'"),
        ],
    )
    def test_bad_options_end_in_one_clear_error(
        self, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            self.run("--out", str(tmp_path), *arguments)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_what_was_finished_is_shown_and_kept_after_an_interruption(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(task: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(EXPERIMENTS["maxout"], "run", interrupted)
        with pytest.raises(SystemExit) as end:
            self.run("--rows", "logistic", "maxout", "--epochs", "1", "--out", str(tmp_path))
        assert end.value.code == 130
        assert "not complete" in capsys.readouterr().out
        report = json.loads((tmp_path / "paper.json").read_text())
        assert not report["complete"]
        assert [row["key"] for row in report["rows"]] == ["logistic.clean", "logistic.fgsm"]

    def test_no_directory_is_made_for_a_run_that_cannot_start(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            self.run("--data", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
        assert list(tmp_path.iterdir()) == []

    def test_a_training_set_that_is_too_small(
        self, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            self.run("--data", str(directory), "--out", str(tmp_path / "out"))
        assert end.value.code == 2
        assert "1100 digits or more, got 60" in capsys.readouterr().err

    def test_an_unwritable_output_directory(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(SystemExit) as end:
            self.run("--out", str(tmp_path / "file" / "results"))
        assert end.value.code == 2
        assert "--out must be a writable directory" in capsys.readouterr().err
