"""CIFAR-10's files, contrast normalisation and whitening; and the rows that are measured on them."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks import cifar
from benchmarks.__main__ import main
from benchmarks.cifar import Whitening, contrast_normalised
from benchmarks.examples import Examples
from benchmarks.experiments import convolutional_maxout_on_cifar as rows
from benchmarks.experiments import rubbish_classified
from benchmarks.training import Training
from minigrad.errors import ArgumentError, ArgumentTypeError, DataError
from models import ConvolutionalMaxout, MaxoutConvolution

SIZES = {"data_batch_1.bin": 4, "data_batch_2.bin": 7, "data_batch_3.bin": 2, "data_batch_4.bin": 5,
         "data_batch_5.bin": 3, "test_batch.bin": 6}  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Six small files of noise."""
    return write_noise(tmp_path / "data", SIZES)


def write_noise(folder: Path, sizes: dict[str, int]) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    for name, n in sizes.items():
        records = random.integers(0, 256, (n, 3073)).astype(np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())
    return folder


def tar(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def python_version(content: bytes) -> bytes:
    return pickle.dumps({b"data": content, b"labels": [0] * (len(content) // 3073)}, protocol=2)


def cifar_100(content: bytes) -> bytes:
    return b"".join(b"\0" + content[i : i + 3073] for i in range(0, len(content), 3073))


class TestFiles:
    def test_sizes_and_labels(self, directory: Path) -> None:
        train, test = cifar.load_pixels(directory)
        assert (train.x.shape, test.x.shape) == ((21, 3072), (6, 3072))
        contents = [(directory / name).read_bytes() for name in SIZES]
        assert train.y.tolist() == [
            content[i] for content in contents[:5] for i in range(0, len(content), 3073)
        ]
        assert test.y.tolist() == list(contents[5][::3073])
        for examples in (train, test):
            assert (examples.x.dtype, examples.y.dtype) == (np.uint8, np.int64)
            assert examples.x.flags.c_contiguous
            assert examples.x.flags.writeable

    def test_channels_come_last(self, directory: Path) -> None:
        path = directory / "data_batch_4.bin"
        record = path.read_bytes()[2 * 3073 : 3 * 3073]
        expected = np.zeros((32, 32, 3), np.uint8)
        for row in range(32):
            for column in range(32):
                for channel in range(3):
                    expected[row, column, channel] = record[1 + 1024 * channel + 32 * row + column]
        assert np.array_equal(cifar.read_batch(path)[0][2], expected.ravel())

    def test_the_training_files_in_their_order(self, directory: Path) -> None:
        train, test = cifar.load_pixels(directory)
        parts = [cifar.read_batch(directory / name)[0] for name in SIZES]
        assert np.array_equal(train.x, np.concatenate(parts[:5]))
        assert np.array_equal(test.x, parts[5])

    def test_the_folder_of_the_archive(self, directory: Path, tmp_path: Path) -> None:
        directory.rename(tmp_path / "cifar-10-batches-bin")
        train, test = cifar.load_pixels(tmp_path)
        assert (len(train), len(test)) == (21, 6)

    @pytest.mark.parametrize("name", SIZES)
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: b"", "got an empty file"),
            (lambda content: content[:-1], r"records of 3,073 bytes, .* got [\d,]+ bytes$"),
            (lambda content: content + b"\0", r"records of 3,073 bytes, .* got [\d,]+ bytes$"),
            (lambda content: b"\0\0\x08\x03" + bytes([0, 0, 0, 1, 0, 0, 0, 28] * 99), "got 796 bytes$"),
            (cifar_100, "got .* bytes, as of whole records of CIFAR-100$"),
            (python_version, "got a pickle, as in the Python version"),
            (lambda content: gzip.compress(tar(content)), "got a gzip file: unpack it"),
            (lambda content: gzip.compress(content)[:10].ljust(3073), "got a gzip file: unpack it"),
            (tar, "got a tar archive: unpack it"),
            (lambda content: b"\x0a" + content[1:], r"must hold labels 0 to 9, got 10 in record 1 of \d$"),
            (lambda content: content + b"\xff" * 3073, r"got 255 in record (\d) of \1$"),
        ],
    )
    def test_damage_is_named(
        self, directory: Path, name: str, damage: Callable[[bytes], bytes], message: str
    ) -> None:
        path = directory / name
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=message) as error:
            cifar.load_pixels(directory)
        assert str(path) in str(error.value)

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo] if hasattr(os, "mkfifo") else [Path.mkdir])
    def test_what_is_no_file(self, directory: Path, make: Callable[[Path], None]) -> None:
        path = directory / "data_batch_3.bin"
        path.unlink()
        make(path)
        with pytest.raises(DataError, match=r"data_batch_3.bin must be a file"):
            cifar.load_pixels(directory)

    @pytest.mark.parametrize("name", SIZES)
    def test_a_missing_file(self, directory: Path, name: str) -> None:
        (directory / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"must hold {name} .*\(--cifar\)$") as error:
            cifar.load_pixels(directory)
        assert str(directory) in str(error.value)

    @pytest.mark.parametrize(
        ("found", "advice"),
        [
            ("cifar-10-binary.tar.gz", "unpack the archive"),
            ("cifar-10-python.tar.gz", "the Python version"),
            ("cifar-10-batches-py/data_batch_1", "the Python version"),
            ("data_batch_1", "the Python version"),
            ("cifar-100-binary/train.bin", "CIFAR-100"),
            ("train.bin", "CIFAR-100"),
        ],
    )
    def test_what_is_there_instead(self, tmp_path: Path, found: str, advice: str) -> None:
        path = tmp_path / found
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        with pytest.raises(FileNotFoundError, match=rf"data_batch_1\.bin.*\(--cifar\): .*{advice}"):
            cifar.load_pixels(tmp_path)

    def test_no_directory(self, directory: Path) -> None:
        for path in (directory / "elsewhere", directory / "test_batch.bin"):
            with pytest.raises(FileNotFoundError, match=r"must be a directory, got .*\(--cifar\)$"):
                cifar.load_pixels(path)


def test_what_is_whole() -> None:
    random = np.random.default_rng(0)
    train, test = random.permutation(np.arange(50_000) % 10), random.permutation(np.arange(10_000) % 10)
    assert cifar.is_whole(train, test)
    assert not cifar.is_whole(test, train)
    assert not cifar.is_whole(train, test[:-1])
    assert not cifar.is_whole(train + 1, test)
    changed = train.copy()
    changed[0] = (changed[0] + 1) % 10
    assert not cifar.is_whole(changed, test)


def normalised_alone(image: np.ndarray, scale: float) -> list[float]:
    """Of one image, with Python's numbers."""
    pixels = [float(pixel) for pixel in image]
    mean = sum(pixels) / len(pixels)
    centred = [pixel - mean for pixel in pixels]
    divisor = sum(pixel * pixel for pixel in centred) ** 0.5 / scale
    return centred if divisor < 1e-8 else [pixel / divisor for pixel in centred]


# Of 2 to 20 features, so that sums of bytes are exact.
images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=20))


class TestContrast:
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    @pytest.mark.parametrize("scale", [55.0, 1.0])
    def test_each_image_by_itself(self, dtype: Any, scale: float) -> None:
        x = np.random.default_rng(0).integers(0, 256, (4_100, 12)).astype(dtype)  # more than two blocks
        x[7] = 3
        before = x.copy()
        result = contrast_normalised(x, scale)
        expected = [normalised_alone(image, scale) for image in x]
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6 * scale)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert np.array_equal(x, before)

    def test_the_published_scale(self) -> None:
        x = np.random.default_rng(0).integers(0, 256, (3, 3072))
        np.testing.assert_allclose(np.linalg.norm(contrast_normalised(x), axis=1), 55.0, rtol=1e-6)

    @given(images, st.floats(1e-2, 1e3))
    def test_mean_and_norm(self, x: np.ndarray, scale: float) -> None:
        result = contrast_normalised(x, scale).astype(np.float64)
        np.testing.assert_allclose(result.mean(axis=1), 0.0, atol=1e-6 * scale)
        constant = x.min(axis=1) == x.max(axis=1)
        np.testing.assert_allclose(np.linalg.norm(result, axis=1), np.where(constant, 0.0, scale), rtol=1e-6)
        assert not result[constant].any()

    @given(images, st.floats(1e-2, 1e2), st.floats(-1e3, 1e3))
    def test_brightness_and_contrast_do_not_matter(self, x: np.ndarray, a: float, b: float) -> None:
        np.testing.assert_allclose(contrast_normalised(a * x + b), contrast_normalised(x), atol=1e-5)

    @pytest.mark.parametrize("value", [0, 255, 0.1, -3e38])
    def test_a_constant_image_becomes_zero(self, value: float) -> None:
        assert not contrast_normalised(np.full((2, 3072), value, np.float32)).any()

    def test_the_least_divisor_is_of_the_norm_over_the_scale(self) -> None:
        for factor, norm in ((0.99, 0.99e-8 * 55.0), (1.01, 55.0)):
            half = factor * 1e-8 * 55.0 / 2**0.5
            assert np.linalg.norm(contrast_normalised([[half, -half]])) == pytest.approx(norm, rel=1e-6)

    def test_no_images(self) -> None:
        assert contrast_normalised(np.zeros((0, 5))).shape == (0, 5)

    @pytest.mark.parametrize("scale", [0.0, -1.0, np.inf])
    def test_what_is_no_scale(self, scale: float) -> None:
        with pytest.raises(ArgumentError, match="scale must be"):
            contrast_normalised([[1.0, 2.0]], scale)


@pytest.mark.parametrize("function", [contrast_normalised, Whitening.fit, Whitening(np.zeros(3), np.eye(3))])
class TestRefusals:
    @pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (3, 0), ()])
    def test_shapes(self, function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
        with pytest.raises(ArgumentError, match=r"x must have shape \(examples, features\), got \("):
            function(np.zeros(shape))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values(self, function: Callable[[Any], Any], value: float) -> None:
        x = np.zeros((5, 3), np.float32)
        x[4, 1] = value
        with pytest.raises(ArgumentError, match="x must be finite, got 1 NaN or infinite"):
            function(x)

    def test_dtypes(self, function: Callable[[Any], Any]) -> None:
        with pytest.raises(ArgumentTypeError, match="x must be real numbers"):
            function(np.zeros((2, 3), complex))


def correlated(n: int, features: int = 12) -> np.ndarray:
    random = np.random.default_rng(n)
    return random.normal(3.0, 1.0, (n, features)) @ random.normal(0.0, 1.0, (features, features))


class TestWhitening:
    def test_a_covariance_that_is_known(self) -> None:
        x = np.array([[2.0, 5.0], [0.0, 5.0], [1.0, 7.0], [1.0, 3.0]])  # variances 1/2 and 2, not correlated
        whitening = Whitening.fit(x)
        np.testing.assert_allclose(whitening.mean, [1.0, 5.0])
        np.testing.assert_allclose(whitening.matrix, np.diag([0.6**-0.5, 2.1**-0.5]), rtol=1e-14)

    @pytest.mark.parametrize("n", [3, 12, 4_100])  # fewer examples than features; more than two blocks
    @pytest.mark.parametrize("bias", [0.1, 2.0])
    def test_the_inverse_root_of_the_covariance(self, n: int, bias: float) -> None:
        x = correlated(n)
        whitening = Whitening.fit(x, bias)
        p = whitening.matrix
        c = np.cov(x, rowvar=False, bias=True) + bias * np.eye(12)
        np.testing.assert_allclose(whitening.mean, x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(p @ c @ p, np.eye(12), atol=1e-11)
        assert np.array_equal(p, p.T)
        assert np.linalg.eigvalsh(p)[0] > 0.0
        assert (p.dtype, whitening.mean.dtype) == (np.float64, np.float64)

    @pytest.mark.parametrize("n", [3, 12, 4_100])
    def test_by_singular_values(self, n: int) -> None:
        x = correlated(n)
        before = x.copy()
        centred = x - x.mean(axis=0)
        _, values, rows = np.linalg.svd(centred, full_matrices=n < 12)
        variances = np.zeros(12)
        variances[: len(values)] = values**2 / n
        p = rows.T @ np.diag((variances + 0.1) ** -0.5) @ rows
        whitening = Whitening.fit(x)
        np.testing.assert_allclose(whitening.matrix, p, rtol=1e-10, atol=1e-12)
        result = whitening(x)
        np.testing.assert_allclose(result, centred @ p, rtol=1e-6, atol=1e-7)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert np.array_equal(x, before)

    def test_without_a_bias_the_covariance_becomes_one(self) -> None:
        x = correlated(500)
        white = Whitening.fit(x, bias=0.0)(x).astype(np.float64)
        np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(12), atol=1e-5)

    def test_the_order_of_the_features_does_not_matter(self) -> None:
        x = correlated(50)
        order = np.random.default_rng(0).permutation(12)
        np.testing.assert_allclose(
            Whitening.fit(x[:, order])(x[:, order]), Whitening.fit(x)(x)[:, order], rtol=1e-5, atol=1e-6
        )

    def test_what_cannot_be_whitened(self) -> None:
        with pytest.raises(ArgumentError, match="at least one example"):
            Whitening.fit(np.zeros((0, 3)))
        with pytest.raises(ArgumentError, match="bias must make the eigenvalues of the covariance positive"):
            Whitening.fit(np.ones((4, 3)), bias=0.0)
        with pytest.raises(ArgumentError, match="bias must be"):
            Whitening.fit(np.ones((4, 3)), bias=-1.0)
        with pytest.raises(ArgumentError, match="x must have 12 features, as the data fitted, got 11"):
            Whitening.fit(correlated(20))(np.ones((4, 11)))


class TestPreparing:
    def sets(self) -> tuple[Examples, Examples]:
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (70, 12)).astype(np.uint8)
        y = random.integers(0, 10, 70)
        return Examples(x[:50], y[:50]), Examples(x[50:], y[50:])

    def test_both_by_what_the_training_images_teach(self) -> None:
        train, test = self.sets()
        normalised = [np.array([normalised_alone(image, 55.0) for image in part.x]) for part in (train, test)]
        mean = normalised[0].mean(axis=0)
        # Of rank 11 but for the bias, because each image has mean 0.
        values, vectors = np.linalg.eigh(np.cov(normalised[0], rowvar=False, bias=True) + 0.1 * np.eye(12))
        p = vectors @ np.diag(values**-0.5) @ vectors.T
        prepared = cifar.prepare(train, test)
        for result, expected, labels in zip(prepared, normalised, (train.y, test.y), strict=True):
            np.testing.assert_allclose(result.x, (expected - mean) @ p, rtol=1e-4, atol=1e-4)
            assert result.x.dtype == np.float32
            assert result.x.flags.c_contiguous
            assert np.array_equal(result.y, labels)

    def test_the_test_images_teach_nothing(self) -> None:
        train, test = self.sets()
        prepared, both = cifar.prepare(train, test)
        again, one = cifar.prepare(train, test[3:4])
        assert np.array_equal(prepared.x, again.x)
        np.testing.assert_allclose(one.x, both.x[3:4], rtol=1e-5, atol=1e-5)

    def test_the_pixels_stay(self) -> None:
        sets = self.sets()
        before = [part.x.copy() for part in sets]
        cifar.prepare(*sets)
        for part, pixels in zip(sets, before, strict=True):
            assert np.array_equal(part.x, pixels)

    def test_memory(self) -> None:
        """Beside the result, a few blocks: no copy of all images."""
        x = np.random.default_rng(0).random((40_000, 20), dtype=np.float32)
        for function in (contrast_normalised, Whitening.fit, Whitening(np.zeros(20), np.eye(20))):
            tracemalloc.start()
            result = function(x)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < getattr(result, "nbytes", 0) + x.nbytes / 2


COMMAND = ["paper", "--rows", "cifar", "--epochs", "1", "--jobs", "1", "--quiet"]


class TestRows:
    """The rows of CIFAR-10, in this process, with a tiny network and without the whitening, which takes as
    long for few images as for many."""

    @pytest.fixture
    def images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        def scaled(train: Examples, test: Examples) -> tuple[Examples, Examples]:
            return tuple(Examples((part.x / np.float32(255)) - np.float32(0.5), part.y)
                         for part in (train, test))  # type: ignore[return-value]  # fmt: skip

        monkeypatch.setattr(cifar, "prepare", scaled)
        monkeypatch.setattr(
            rows, "QUICK_LAYERS", (MaxoutConvolution(2, 2, window=8, pool=12, pool_stride=12),)
        )
        monkeypatch.setattr(rows, "PGD_EXAMPLES", 10)
        monkeypatch.setattr(rubbish_classified, "DRAWS", 40)
        monkeypatch.setattr("benchmarks.training.WATCHED_BY_FGSM", 10)
        monkeypatch.setattr("benchmarks.training.WATCHED_BY_PGD", 10)
        monkeypatch.setattr("benchmarks.report.draw_all", lambda *_: [])
        return write_noise(
            tmp_path / "images", dict.fromkeys(cifar.TRAINING_FILES, 240) | {cifar.TEST_FILE: 30}
        )

    def content(self, out: Path) -> Any:
        return json.loads((out / "paper.json").read_text(encoding="utf-8"))

    def test_all_rows_are_measured_and_kept(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = [*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")]
        main(command)
        report = self.content(tmp_path / "out")
        assert report["complete"]
        assert [row["key"] for row in report["rows"]] == [row.key for row in rows.ROWS]
        assert {row["claim_holds"] for row in report["rows"]} == {None}  # they are not CIFAR-10
        examples = {row["key"]: row["measured"]["examples"] for row in report["rows"]}
        assert examples["cifar.clean"] == examples["cifar.fgsm"] == 30
        assert f"--cifar {images}" in report["command"]
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "reproduced on CIFAR-10</h1>" in page
        assert f"fingerprint {report['cifar']}) are not the whole of CIFAR-10" in page
        assert all(row["measured"]["clipped"] is None for row in report["rows"])

        with monkeypatch.context() as patch:  # neither trained nor measured again
            patch.setattr(Training, "epoch", None)
            patch.setattr(rows, "run", None)
            main(command)
        # Other rows join it, and need no images.
        main([*COMMAND[:2], "logistic", *COMMAND[3:], "--out", str(tmp_path / "out")])
        joined = self.content(tmp_path / "out")
        own = [row for row in joined["rows"] if row["key"].startswith("cifar")]
        assert own == report["rows"]
        assert len(joined["rows"]) > len(own)
        assert joined["cifar"] == report["cifar"]
        assert "--rows logistic cifar" in joined["command"]
        assert "--cifar DIR" in joined["command"]

    def test_what_was_measured_is_not_said_to_lack_its_data(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        main([*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")])
        monkeypatch.setattr("benchmarks.paper.EXPERIMENTS", {"cifar": rows})
        main(["paper", "--rows", "all", *COMMAND[3:], "--out", str(tmp_path / "out")])
        report = self.content(tmp_path / "out")
        assert len(report["rows"]) == len(rows.ROWS)
        assert report["not_run"] == []

    def test_images_that_no_row_asks_for_are_not_read(self, images: Path, tmp_path: Path) -> None:
        main([*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")])
        (images / "test_batch.bin").write_bytes(b"no image")
        others = [*COMMAND[:2], "logistic", *COMMAND[3:], "--cifar", str(images)]
        main([*others, "--out", str(tmp_path / "out")])
        found = {row["key"].split(".")[0] for row in self.content(tmp_path / "out")["rows"]}
        assert found == {"logistic", "cifar"}

    def test_claims_are_judged_on_the_whole_set(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "is_whole", lambda *_: True)
        main([*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")])
        judged = {row["key"]: row["claim_holds"] for row in self.content(tmp_path / "out")["rows"]}
        assert judged["cifar.fgsm"] is not None
        assert judged["cifar.clean"] is None

    def test_other_images_are_another_run(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = [*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")]
        main(command)
        path = images / "test_batch.bin"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(SystemExit):
            main(command)
        assert "must be made with cifar" in capsys.readouterr().err

    def test_too_few_images(self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (images / "data_batch_1.bin").write_bytes((images / "test_batch.bin").read_bytes())
        (images / "data_batch_2.bin").write_bytes((images / "test_batch.bin").read_bytes())
        with pytest.raises(SystemExit):
            main([*COMMAND, "--cifar", str(images), "--out", str(tmp_path / "out")])
        assert "the training set (--cifar) must have 1100 images or more" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "--rows cifar needs --cifar, the directory of CIFAR-10's files, got none"),
            (["--cifar", ""], "--cifar must be a directory, got"),
            (["--cifar", "nowhere"], "the CIFAR-10 directory must be a directory, got nowhere (--cifar)"),
        ],
    )
    def test_without_images(
        self, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            main([*COMMAND, *arguments, "--out", str(tmp_path / "out")])
        assert end.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_the_published_network(self) -> None:
        """Its sides, 32 → 15 → 6 → 4, and an update of all of its optimisers."""
        model = rows.build("paper", 0, None)
        assert isinstance(model, ConvolutionalMaxout)
        assert [p.shape for p in model.parameters() if p.ndim > 1] == [
            (8, 8, 3, 192), (8, 8, 96, 384), (5, 5, 192, 384), (4 * 4 * 192, 2500), (500, 10)]  # fmt: skip
        optimiser = rows.published(model.parameters(), updates=500, epochs=785)
        assert [own.settings() for own in optimiser.optimisers] == [
            (0.17 / 20, 0.5, 0.9), (0.17 / 20, 0.5, 1.9365), (0.17 / 20, 0.5, 1.9365),
            (0.17, 0.5, 1.9), (0.17, 0.5, 1.9365)]  # fmt: skip
        owned = [p for own in optimiser.optimisers for p in own.parameters]
        assert all(p is q for p, q in zip(owned, model.parameters(), strict=True))
