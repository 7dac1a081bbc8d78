"""Saving and loading named arrays: .npz files, never pickles."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, DataError
from minigrad.tensor import raw


class HasState(Protocol):
    """A Module, an optimiser, or anything else with these two."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def save(path: str | os.PathLike[str], state: HasState | Mapping[str, Any]) -> None:
    """Write `state` (a Module, an optimiser, or a mapping of names to arrays) to `path`, as .npz.

    The file is written beside its place and then renamed, so that `path` holds either what it held
    before or all of the new state. Names are strings; ArgumentError for one that a zip file cannot hold.
    """
    import zipfile

    _check_path(path)
    if not isinstance(state, Mapping) and not hasattr(state, "state_dict"):
        raise ArgumentTypeError(
            f"state must be a Module, an optimiser or a mapping of arrays, got {type(state).__name__}"
        )
    arrays = {}
    for name, value in (state if isinstance(state, Mapping) else state.state_dict()).items():
        if not isinstance(name, str):
            raise ArgumentTypeError(f"state must have strings for names, got {name!r}")
        # A zip file cuts a name at its first zero, may change a backslash, and has 65,535 bytes for a name.
        encoded = name.encode(errors="replace")
        if "\0" in name or "\\" in name or encoded.decode() != name or len(encoded) > 60_000:
            raise ArgumentError(f"state must have names that a zip file can hold, got {name[:100]!r}")
        array, library = raw(value), backend.find(raw(value))
        arrays[name] = np.asarray(array) if library is None else library.to_numpy(array)
        if arrays[name].dtype.hasobject:
            raise ArgumentTypeError(
                f"state[{name!r}] must be an array of numbers, got {type(value).__name__}"
            )
    with atomic_writer(path) as handle, zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load(path: str | os.PathLike[str], into: HasState | None = None) -> dict[str, np.ndarray]:
    """The arrays in the file at `path`, by name; with `into`, also loaded into it.

    Raises DataError if the file is no intact .npz of plain arrays, and ArgumentError, before
    anything is changed, if its names, shapes or dtypes are not those of `into`.
    """
    import zipfile

    _check_path(path)
    if into is not None and not hasattr(into, "load_state_dict"):
        raise ArgumentTypeError(f"into must be a Module or an optimiser, got {type(into).__name__}")
    state = {}
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{os.fspath(path)} must be an .npz file, as minigrad.save writes it")
        file.seek(0)
        try:
            # Not by numpy.load, which takes "a.npy" for "a".
            with zipfile.ZipFile(file) as archive:
                for entry in archive.namelist():
                    name = entry.removesuffix(".npy")
                    if name == entry or name in state:
                        raise DataError(f"the entry {entry!r} is no array, or there twice")
                    with archive.open(entry) as content:
                        state[name] = np.lib.format.read_array(content, allow_pickle=False)
        except Exception as error:  # what zipfile and NumPy raise on damage is no closed list
            raise DataError(f"{os.fspath(path)} must be an .npz file of plain arrays: {error}") from error
    if into is not None:
        into.load_state_dict(state)
    return state


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"path must come first, a string or a path, got {type(path).__name__}")


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A binary file for a `with` block that takes its place at `path` only if the block succeeds."""
    directory, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"path must lie in a directory that exists, got {os.fspath(path)!r}")
    beside = os.path.join(directory, f".{name}.{os.urandom(8).hex()}")
    file = open(beside, "xb")  # noqa: SIM115 (with the mode that this process gives new files)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
