"""CIFAR-10 from its binary version (cs.toronto.edu/~kriz/cifar.html), prepared as the maxout paper does it.

The maxout paper (Goodfellow et al., 2013, section 4.2) normalises the contrast of each image, then whitens
by ZCA. The settings are those of the script published with it, make_cifar10_gcn_whitened.py of pylearn2: the
scale 55, the bias 0.1, and all training images to learn the whitening from. pylearn2 has the channels first
and sums in float32; here they are last, which changes no number but its place, and sums are in float64.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.examples import Examples
from minigrad.checkpoint import check_regular
from minigrad.checks import check_finite, check_number, host_array
from minigrad.errors import ArgumentError, DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FOLDER = "cifar-10-batches-bin"  # what the archive unpacks to
TRAINING_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "test_batch.bin"
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, the green and the blue plane

ADVICE = {
    "cifar-10-binary.tar.gz": "unpack the archive cifar-10-binary.tar.gz there",
    "cifar-10-python.tar.gz": "cifar-10-python.tar.gz is the Python version, the binary one is read",
    "cifar-10-batches-py": "cifar-10-batches-py is the Python version, the binary one is read",
    "data_batch_1": "data_batch_1 is of the Python version, the binary one is read",
    "cifar-100-binary": "cifar-100-binary is CIFAR-100",
    "train.bin": "train.bin is of CIFAR-100",
}


def load_pixels(directory: str | os.PathLike[str]) -> tuple[Examples, Examples]:
    """(training set, test set) from the directory that holds the six files, or their folder
    cifar-10-batches-bin: x (images, 3072), uint8 and not yet float32, as `read_batch` orders them.

    Each file may hold any number of records; those of the real set hold 10,000.

    FileNotFoundError if one is missing, DataError if one is not what its name says.
    """
    *training, test = files(directory)
    pixels, labels = zip(*map(read_batch, training), strict=True)
    return Examples(np.concatenate(pixels), np.concatenate(labels)), Examples(*read_batch(test))


def files(directory: str | os.PathLike[str]) -> list[Path]:
    """The six files that `load_pixels` reads, that of the test set last."""
    return [_find(Path(directory), name) for name in (*TRAINING_FILES, TEST_FILE)]


def _find(directory: Path, name: str) -> Path:
    for folder in (directory, directory / FOLDER):
        if (folder / name).exists():
            return folder / name
    if not directory.is_dir():
        raise FileNotFoundError(f"the CIFAR-10 directory must be a directory, got {directory} (--cifar)")
    advice = next((f": {text}" for found, text in ADVICE.items() if (directory / found).exists()), "")
    raise FileNotFoundError(
        f"the CIFAR-10 directory must hold {name} or {FOLDER}/{name}, not found in {directory} "
        f"(--cifar){advice}"
    )


def read_batch(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, labels) of one file: uint8 (images, 3072), by row, then column, then channel (red, green,
    blue), and int64 (images,), 0 to 9.

    A record of the file is the label, one byte, and three planes of 1,024 bytes, each row by row.

    DataError if it is no regular file, is empty, is of no whole number of records, or has another label.
    """
    check_regular(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if found := _misfit(file.peek(512), size):
            raise DataError(
                f"{path} must hold records of {RECORD_BYTES:,} bytes, as the binary version of CIFAR-10 "
                f"does, got {found}"
            )
        content = file.read(size)
    labels = content[::RECORD_BYTES]
    for i, label in enumerate(labels):
        if label >= len(CLASSES):
            raise DataError(f"{path} must hold labels 0 to 9, got {label} in record {i + 1} of {len(labels)}")
    planes = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)[:, 1:].reshape(-1, 3, 32 * 32)
    pixels = planes.transpose(0, 2, 1).reshape(-1, 32 * 32 * 3)
    return pixels, np.frombuffer(labels, np.uint8).astype(np.int64)


def _misfit(start: bytes, size: int) -> str:
    """What a file of so many bytes that begins so seems to be; "" if it may be a batch."""
    if size == 0:
        return "an empty file"
    if start.startswith(b"\x1f\x8b"):
        return "a gzip file: unpack it"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if start.startswith(b"\x80"):
        return "a pickle, as in the Python version"
    if size % RECORD_BYTES == 0:
        return ""
    return f"{size:,} bytes{', as of whole records of CIFAR-100' if size % (RECORD_BYTES + 1) == 0 else ''}"


def prepare(train: Examples, test: Examples) -> tuple[Examples, Examples]:
    """(training set, test set) contrast-normalised, then whitened by what the training images alone teach.

    The labels stay. The errors are those of `contrast_normalised` and `Whitening.fit`.
    """
    x = contrast_normalised(train.x)
    whitening = Whitening.fit(x)
    whitening(x, out=x)  # of the real set x has 614 MB
    return Examples(x, train.y), Examples(whitening(contrast_normalised(test.x)), test.y)


def contrast_normalised(x: Any, scale: float = 55.0) -> np.ndarray:
    """Global contrast normalisation: of each image c / (‖c‖ / scale), with c = x − mean(x).

    x        (images, features), any real dtype; the mean and the norm ‖c‖ are over an image's features
    scale    > 0, the norm that images get

    Where ‖c‖ / scale < 10⁻⁸, as where all pixels are equal, the result is c itself: it is the quotient, not
    the norm, that pylearn2 compares with its min_divisor. Otherwise the result is the same for the pixels
    a·x + b, with a > 0. The sums are in float64, the result is float32.

    ArgumentError or ArgumentTypeError for another shape or dtype, and for NaN or infinite values.
    """
    x, scale = _matrix(x), check_number("scale", scale, low=0.0, low_open=True)
    result = np.empty(x.shape, np.float32)
    for part in _parts(x):
        centred = x[part] - x[part].mean(axis=1, dtype=np.float64, keepdims=True)
        divisors = np.linalg.norm(centred, axis=1, keepdims=True) / scale
        divisors[divisors < 1e-8] = 1.0
        result[part] = centred / divisors
    return result


@dataclass(frozen=True)
class Whitening:
    """ZCA whitening: (x − mean) P, with P = (C + bias·I)^(−1/2), symmetric, for the covariance C.

    mean      (features,), float64
    matrix    P, (features, features), float64

    Called with x (examples, features) it gives float32 of x's shape, computed in float64.
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, x: Any, bias: float = 0.1) -> Whitening:
        """Learnt from x (examples, features), any real dtype; all sums are in float64.

        bias    ≥ 0, added to each variance (pylearn2's filter_bias): directions in which the examples
                hardly differ are not blown up to variance 1

        C = Σ (x − mean)ᵀ(x − mean) / examples, and P = V diag(λ^(−1/2)) Vᵀ for the eigenvalues λ and the
        eigenvectors V of C + bias·I, as pylearn2 defines them.

        ArgumentError or ArgumentTypeError for another shape or dtype, for no examples, for NaN or infinite
        values, and for a bias so small that an eigenvalue is not positive.
        """
        x, bias = _matrix(x), check_number("bias", bias, low=0.0)
        if len(x) == 0:
            raise ArgumentError("x must hold at least one example, got none")
        mean = x.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((len(mean), len(mean)))
        for part in _parts(x):
            centred = x[part] - mean
            covariance += centred.T @ centred
        covariance /= len(x)
        covariance[np.diag_indices_from(covariance)] += bias
        eigenvalues, vectors = np.linalg.eigh(covariance)
        if eigenvalues[0] <= 0.0:
            raise ArgumentError(
                f"bias must make the eigenvalues of the covariance positive, got {bias} and an eigenvalue of "
                f"{eigenvalues[0]:.2g}"
            )
        # A product with the own transpose is symmetric to the last bit.
        root = vectors * eigenvalues**-0.25
        return cls(mean, root @ root.T)

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """The whitened x; in `out`, which may be x itself, if given."""
        x = _matrix(x)
        if x.shape[1] != len(self.mean):
            raise ArgumentError(
                f"x must have {len(self.mean)} features, as the data fitted, got {x.shape[1]}"
            )
        result = np.empty(x.shape, np.float32) if out is None else out
        for part in _parts(x):
            result[part] = (x[part] - self.mean) @ self.matrix
        return result


def is_whole(train_labels: Any, test_labels: Any) -> bool:
    """Whether there are 50,000 training and 10,000 test images with each class equally often.

    That is all that can be told of the real set without a checksum.
    """
    classes = np.arange(len(CLASSES))
    return all(
        np.array_equal(np.sort(labels), classes.repeat(each))
        for labels, each in ((train_labels, 5_000), (test_labels, 1_000))
    )


def _matrix(x: Any) -> np.ndarray:
    """x, if it is a matrix of finite real numbers."""
    x = host_array("x", x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ArgumentError(f"x must have shape (examples, features), got {x.shape}")
    check_finite("x", x)
    return x


def _parts(x: np.ndarray) -> Iterator[slice]:
    """The rows, 2,000 at a time: what is computed in float64 stays small beside x."""
    for start in range(0, len(x), 2000):
        yield slice(start, start + 2000)
