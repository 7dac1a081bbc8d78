"""MNIST from its four IDX files (format: yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import DataError

DIRECTORY = Path(__file__).parent / "data" / "mnist"


@dataclass(frozen=True)
class Digits:
    """Images x (examples, 784), float32 in [0, 1], and labels y (examples,), integers."""

    x: Any
    y: Any

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> Digits:
        return Digits(self.x[index], self.y[index])

    def to(self, name: str) -> Digits:
        library = backend.get(name)
        return Digits(library.asarray(self.x), library.asarray(self.y))

    def sevens_against_threes(self) -> Digits:
        """The threes, labelled −1, and the sevens, labelled +1 (paper, figure 2)."""
        chosen = (self.y == 3) | (self.y == 7)
        return Digits(self.x[chosen], 2 * (self.y[chosen] == 7) - 1)


def load(directory: str | os.PathLike[str] = DIRECTORY) -> tuple[Digits, Digits]:
    """(training set, test set) from the directory that holds the four files, compressed or not.

    FileNotFoundError if one is missing, DataError if one is not what its name says.
    """
    return _digits(Path(directory), "train"), _digits(Path(directory), "t10k")


def fingerprint(*sets: Digits) -> str:
    """Tells one collection of digits from another: the first 16 hex digits of the SHA-256 of all bytes."""
    found = hashlib.sha256()
    for digits in sets:
        found.update(digits.x.tobytes())
        found.update(digits.y.tobytes())
    return found.hexdigest()[:16]


def _digits(directory: Path, part: str) -> Digits:
    images_file = _find(directory, f"{part}-images-idx3-ubyte")
    labels_file = _find(directory, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} must hold images of 28 × 28, got shape {images.shape}")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{labels_file} must hold {len(images)} labels, got shape {labels.shape}")
    if labels.size and labels.max() > 9:
        raise DataError(f"{labels_file} must hold labels 0 to 9, got {labels.max()}")
    pixels = images.reshape(len(images), 784).astype(np.float32)
    pixels /= 255.0
    return Digits(pixels, labels.astype(np.int64))


def _find(directory: Path, name: str) -> Path:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    if not directory.is_dir():
        raise FileNotFoundError(f"the data directory must be a directory, got {directory} (--data)")
    raise FileNotFoundError(
        f"the data directory must hold {name} or {name}.gz, not found in {directory} (--data)"
    )


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, gzip-compressed or not, told by its content.

    Raises DataError if the magic number, the sizes or the length do not fit.
    """
    with open(path, "rb") as file:
        content = file.read()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{path} must be a whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(
            f"{path} must begin with the IDX magic number of unsigned bytes, 00 00 08, "
            f"got {content[:3].hex(' ') or 'an empty file'}"
        )
    n_axes = content[3]
    if n_axes > 3:
        raise DataError(f"{path} must have at most 3 axes, as MNIST has, got {n_axes}")
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise DataError(f"{path} must hold {n_axes} sizes after its magic number, but ends before")
    shape = struct.unpack(f">{n_axes}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path} must have {expected} bytes for shape {shape}, got {len(content)}")
    if expected == start:  # one length is 0; the others may be too great for an array
        raise DataError(f"{path} must hold at least one element, got shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
