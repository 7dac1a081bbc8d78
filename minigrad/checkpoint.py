"""Saving and loading named arrays: .npz files, never pickles."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np

from minigrad import backend
from minigrad.checks import check_fits, check_names_known, check_unmasked
from minigrad.errors import ArgumentError, ArgumentTypeError, DataError
from minigrad.tensor import raw

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None  # type: ignore[assignment]


MOST_HEADER = 10_000  # bytes, NumPy's own limit


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
        arrays[name] = _plain_array(f"state[{name!r}]", raw(value))
    with atomic_writer(path) as handle, zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _plain_array(name: str, value: Any) -> np.ndarray:
    """`value` as an array that `load` reads: of numbers, or of text."""
    check_unmasked(name, value)
    library = backend.find(value)
    try:
        array = np.asarray(value) if library is None else library.to_numpy(value)
    except ValueError as error:  # lists of several lengths
        raise ArgumentTypeError(f"{name} must be an array of numbers: {error}") from error
    if array.dtype.kind not in "fiubcSU":
        advice = ": give each of its arrays a name of its own" if isinstance(value, Mapping) else ""
        raise ArgumentTypeError(f"{name} must be an array of numbers, got {type(value).__name__}{advice}")
    return array


def load(path: str | os.PathLike[str], into: HasState | None = None) -> dict[str, np.ndarray]:
    """The arrays in the file at `path`, by name; with `into`, also loaded into it.

        mg.save("model.npz", model)
        mg.load("model.npz", model)              # model has its Parameters back
        mg.load("model.npz")["output.W"].shape   # the dict alone: nothing is changed

    What is returned is what was read, NumPy arrays that share nothing with `into`; the names are those of
    its state_dict(), "output.W" say.

    Raises DataError if the file is no intact .npz of plain arrays, and ArgumentError, before
    anything is changed, if its names, shapes or dtypes are not those of `into`. No array is made before its
    header was compared with what the file has for it and, with `into`, with what is to take it: then it is no
    larger than that. Without `into`, a compressed file may unpack to 1,032 times its size.
    """
    _check_path(path)
    if into is not None and not hasattr(into, "load_state_dict"):
        raise ArgumentTypeError(f"into must be a Module or an optimiser, got {type(into).__name__}")
    state = load_some(path, lambda name: True, None if into is None else into.state_dict())
    if into is not None:
        into.load_state_dict(state)
    return state


def load_some(
    path: str | os.PathLike[str], wanted: Callable[[str], bool], replaced: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """The arrays whose names are wanted; the others are not read.

    replaced    the arrays whose places they take, by name: ArgumentError for one that does not fit
    """
    import zipfile

    check_regular(path)
    arrays = {name: raw(value) for name, value in (replaced or {}).items()}
    places = {name: a if hasattr(a, "dtype") else np.asarray(a) for name, a in arrays.items()}
    state = {}
    with open(path, "rb") as file:
        try:
            # Not by numpy.load, which takes "a.npy" for "a".
            with zipfile.ZipFile(file) as archive:
                entries = {}
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    if name == entry.filename or name in entries or "\0" in entry.orig_filename:
                        raise DataError(f"the entry {entry.orig_filename!r} is no array, or there twice")
                    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise DataError(f"the entry {name!r} is compressed as numpy.savez never does")
                    entries[name] = entry
                if replaced is not None:
                    check_names_known(entries, places)
                for name in filter(wanted, entries):
                    with archive.open(entries[name]) as content:
                        state[name] = _read_array(content, entries[name].file_size, name, places.get(name))
        except ArgumentError:
            raise
        except zipfile.BadZipFile as error:
            raise DataError(
                f"{os.fspath(path)} must be an .npz file, as minigrad.save writes it: {error}"
            ) from error
        except Exception as error:  # what zipfile and NumPy raise on damage is no closed list
            raise DataError(f"{os.fspath(path)} must be an .npz file of plain arrays: {error}") from error
    return state


def _read_array(content: Any, size: int, name: str, place: Any) -> np.ndarray:
    """The array in an entry of `size` bytes; `place` is the array whose place it takes, or None."""
    version = np.lib.format.read_magic(content)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise DataError(f"the entry {name!r} has the version {version} of the format, which is not read")
    # The header's length by itself first: NumPy looks at it when it has read the header.
    length = content.read(2 if version == (1, 0) else 4)
    n_header = int.from_bytes(length, "little")
    if n_header > MOST_HEADER:
        raise DataError(f"the entry {name!r} has a header of more than {MOST_HEADER} bytes")
    shape, fortran_order, dtype = read_header[version](io.BytesIO(length + content.read(n_header)))
    if place is not None:
        check_fits(f"state[{name!r}]", shape, dtype, place)
    if dtype.hasobject:
        raise DataError(f"the entry {name!r} must be an array of numbers, got {dtype}")
    n_bytes = math.prod(shape) * dtype.itemsize
    if size - content.tell() != n_bytes or min(shape, default=0) < 0:
        raise DataError(f"the entry {name!r} must have {n_bytes} bytes for shape {shape} and dtype {dtype}")
    # Filled as the bytes come: memory that is never written to costs nothing, whatever a header says.
    data = np.empty(n_bytes, np.uint8)
    filled = 0
    while part := content.read(2**20):  # to the end, where the checksum is compared
        data[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    if filled != n_bytes:
        raise DataError(f"the entry {name!r} must have {n_bytes} bytes, but ends after {filled}")
    return data.view(dtype).reshape(shape, order="F" if fortran_order else "C")


def check_regular(path: str | os.PathLike[str]) -> None:
    """DataError unless it is a file: a device may have no end, and a pipe may wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise DataError(f"{os.fspath(path)} must be a file, not a directory, a device or a pipe")


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"path must come first, a string or a path, got {type(path).__name__}")


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A binary file for a `with` block that takes its place at `path` only if the block succeeds.

    A symbolic link stays, and so does the mode of a file that is replaced. What a writer of this path left
    behind when it was killed is removed, where files can be locked. OSError names the path.
    """
    directory, name = os.path.split(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"path must lie in a directory that exists, got {os.fspath(path)!r}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(
            errno.EEXIST, "path must be a file, no directory, device or pipe", os.fspath(path)
        )
    remove_leftovers(directory, name)
    start = os.path.join(directory, _start_of_leftovers(name))
    beside = None
    try:
        with _open_and_lock(start) as file:
            beside = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                os.chmod(beside, stat.S_IMODE(os.stat(path).st_mode))
            if fcntl is not None:  # still locked: another writer would take it for a leftover
                os.replace(beside, os.path.join(directory, name))
        if fcntl is None:  # closed: Windows renames no open file
            os.replace(beside, os.path.join(directory, name))
    except BaseException as error:
        if beside is not None:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(beside)
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and (error.filename is None or str(error.filename).startswith(start))
        ):
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from error
        raise


END_OF_LEFTOVERS = ".writing"


def _start_of_leftovers(name: str) -> str:
    return f".{name[:200]}."  # a file system may allow 255 bytes


def _open_and_lock(start: str) -> Any:
    """A new file whose name begins so, locked as long as it is open, with the mode that this process gives
    new files."""
    while True:
        # A new name each time: another cleaner may still have the file that was deleted, and delete its name.
        path = f"{start}{os.urandom(8).hex()}{END_OF_LEFTOVERS}"
        file = open(path, "xb")  # noqa: SIM115
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: then nobody takes it for a leftover
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(path):
            return file
        file.close()  # between its opening and its locking it was taken for a leftover


def remove_leftovers(directory: str | os.PathLike[str], name: str | None = None) -> None:
    """Delete what writers of the file `name`, or of any, left when they were killed: what nobody holds a
    lock on. Where there are no such locks nothing is deleted."""
    if fcntl is None:
        return
    start = r"\..+\." if name is None else re.escape(_start_of_leftovers(name))
    for found in os.listdir(directory):
        if re.fullmatch(rf"{start}[0-9a-f]{{16}}{re.escape(END_OF_LEFTOVERS)}", found):
            beside = os.path.join(directory, found)
            with suppress(OSError), open(beside, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(beside)
