"""MNIST from its four IDX files (format: yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.examples import Examples
from minigrad.checkpoint import check_regular
from minigrad.errors import DataError

DIRECTORY = Path(__file__).parent / "data" / "mnist"

# By fingerprint; of any other data nothing is known.
KNOWN = {"55c41ac0f5a8c456": "MNIST", "a64cc0dca83e19f4": "Fashion-MNIST"}


class Digits(Examples):
    """Images x (examples, 784), float32 in [0, 1], and labels y (examples,), integers."""

    def sevens_against_threes(self) -> Digits:
        """The threes, labelled −1, and the sevens, labelled +1 (paper, figure 2)."""
        chosen = (self.y == 3) | (self.y == 7)
        return Digits(self.x[chosen], 2 * (self.y[chosen] == 7) - 1)


def load(directory: str | os.PathLike[str] = DIRECTORY) -> tuple[Digits, Digits]:
    """(training set, test set) from the directory that holds the four files, compressed or not, under their
    own names or those that unpackers give them, there or in MNIST/raw.

    FileNotFoundError if one is missing, DataError if one is not what its name says.
    """
    return _digits(Path(directory), "train"), _digits(Path(directory), "t10k")


def files(directory: str | os.PathLike[str]) -> list[Path]:
    """The four files that `load` reads."""
    kinds = (("images", "idx3-ubyte"), ("labels", "idx1-ubyte"))
    return [
        _find(Path(directory), f"{part}-{what}", kind) for part in ("train", "t10k") for what, kind in kinds
    ]


def name_of(found: str) -> str:
    """What the data of a fingerprint is called."""
    return KNOWN.get(found, f"other data (fingerprint {found})")


def _digits(directory: Path, part: str) -> Digits:
    images_file = _find(directory, f"{part}-images", "idx3-ubyte")
    labels_file = _find(directory, f"{part}-labels", "idx1-ubyte")
    images, labels = read_idx(images_file, item=(28, 28)), read_idx(labels_file, item=())
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_file} must hold as many labels as {images_file} holds images, got {len(labels)} and "
            f"{len(images)}"
        )
    if labels.max() > 9:
        raise DataError(f"{labels_file} must hold labels 0 to 9, got {labels.max()}")
    pixels = images.reshape(len(images), 784).astype(np.float32)
    pixels /= 255.0
    return Digits(pixels, labels.astype(np.int64))


def _find(directory: Path, name: str, kind: str) -> Path:
    for folder in (directory, directory / "MNIST" / "raw"):
        for separator in "-.":
            for ending in ("", ".gz"):
                path = folder / f"{name}{separator}{kind}{ending}"
                if path.is_file():
                    return path
    if not directory.is_dir():
        raise FileNotFoundError(f"the data directory must be a directory, got {directory} (--data)")
    raise FileNotFoundError(
        f"the data directory must hold {name}-{kind} or {name}-{kind}.gz, not found in {directory} (--data)"
    )


def read_idx(path: str | os.PathLike[str], item: tuple[int, ...] | None = None) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, gzip-compressed or not, told by its content.

    item    the shape of one of the things that the file must hold, such as (28, 28); None for any

    Raises DataError if the magic number, the sizes or the length do not fit. Nothing beyond the header is
    read before the header was compared with `item` and with the length of the file.
    """
    check_regular(path)
    with open(path, "rb") as file:
        compressed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            return _read_array(file, compressed, item, path)
        except DataError:
            raise
        except Exception as error:  # what gzip raises on damage is no closed list
            raise DataError(f"{path} must be a whole {'gzip ' * compressed}file: {error}") from error


def _read_array(file: Any, compressed: bool, item: tuple[int, ...] | None, path: Any) -> np.ndarray:
    length = os.fstat(file.fileno()).st_size
    content = gzip.GzipFile(fileobj=file) if compressed else file
    magic = content.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
        raise DataError(
            f"{path} must begin with the IDX magic number of unsigned bytes, 00 00 08, "
            f"got {magic[:3].hex(' ') or 'an empty file'}"
        )
    n_axes = magic[3]
    if n_axes > 3:
        raise DataError(f"{path} must have at most 3 axes, as MNIST has, got {n_axes}")
    sizes = content.read(4 * n_axes)
    if len(sizes) < 4 * n_axes:
        raise DataError(f"{path} must hold {n_axes} sizes after its magic number, but ends before")
    shape = struct.unpack(f">{n_axes}I", sizes)
    if item is not None and (not shape or shape[1:] != item):
        items = f"images of {' × '.join(map(str, item))}" if item else "labels"
        raise DataError(f"{path} must hold {items}, got shape {shape}")
    expected = math.prod(shape)
    if expected == 0:  # one length is 0; the others may be too great for an array
        raise DataError(f"{path} must hold at least one element, got shape {shape}")
    most = length * 1032 if compressed else length  # Deflate makes of one byte 1,032 at most
    fits = f"{path} must have {expected} bytes of data for shape {shape}"
    if most < expected:
        raise DataError(f"{fits}, got {length} bytes in all")
    data = content.read(expected + 1)
    if len(data) != expected:
        raise DataError(f"{fits}, got {'more' if len(data) > expected else len(data)}")
    return np.frombuffer(data, np.uint8).reshape(shape)
