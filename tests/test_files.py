"""Files from elsewhere, and saves that are interrupted: nothing is believed, nothing stays behind."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from benchmarks import mnist
from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError, ArgumentTypeError, DataError
from tests import fuzz
from tests.test_benchmarks import idx

MiB = 2**20


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode("latin1").ljust(118) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def header_of(shape: Any, dtype: str = "<f4", order: bool = False) -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}"


def archive(**entries: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(f"{name}.npy", content)
    return memory.getvalue()


def refused(call: Callable[[], Any], expected: Any, message: str) -> None:
    """It raises what it must, and the memory that it took on the way is small."""
    tracemalloc.start()
    try:
        with pytest.raises(expected, match=message):
            call()
        assert tracemalloc.get_traced_memory()[1] < 8 * MiB
    finally:
        tracemalloc.stop()


class Weights(mg.Module):
    def __init__(self) -> None:
        self.W = mg.Parameter(np.zeros((2, 3), np.float32))


ZEROS = bytes(64 * MiB)


class TestArraysFromElsewhere:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (npy(header_of((3,)), ZEROS), "'W' must have 12 bytes for shape"),
            (npy(header_of((10**9,)), bytes(40)), "'W' must have 4000000000 bytes"),
            (npy(header_of((-1,)), b""), "'W' must have -4 bytes"),
            (npy(header_of((-1, -1)), bytes(4)), "'W' must have 4 bytes"),
            (npy(header_of((2**40, 2**40)), b""), "'W' must have"),
            (npy(header_of((3,)), bytes(12), version=b"\3\0"), "version"),
            (npy(header_of((3,)), bytes(12))[:50], "plain arrays"),
            (npy("{" * 100, b""), "plain arrays"),
            (npy(header_of((3,), "|O"), bytes(24)), "array of numbers"),
            (b"", "plain arrays"),
            (b"\x93NUMPY\2\0" + struct.pack("<I", 2**30) + b" " * 2**20, "header of more than 10000 bytes"),
        ],
    )
    def test_a_header_that_the_entry_does_not_keep(
        self, content: bytes, message: str, tmp_path: Path
    ) -> None:
        (tmp_path / "a.npz").write_bytes(archive(W=content))
        refused(lambda: mg.load(tmp_path / "a.npz"), DataError, message)
        refused(lambda: mg.load(tmp_path / "a.npz", Weights()), (DataError, ArgumentError), "W|plain arrays")

    def test_compression_that_has_no_bound(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as made:
            made.writestr("W.npy", npy(header_of((2, 3)), bytes(24)) + ZEROS)
        refused(lambda: mg.load(tmp_path / "a.npz", Weights()), DataError, "compressed as numpy.savez never")

    def test_many_names_that_belong_nowhere(self, tmp_path: Path) -> None:
        mg.save(tmp_path / "a.npz", {f"other{n:05}": np.zeros(1) for n in range(500)})
        refused(
            lambda: mg.load(tmp_path / "a.npz", Weights()),
            ArgumentError,
            "other00009 and 490 more, for which",
        )

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        paths = [tmp_path]
        if os.name == "posix":
            os.mkfifo(tmp_path / "pipe")
            paths += [tmp_path / "pipe", Path("/dev/zero")]
        for path in paths:
            with pytest.raises(
                DataError, match=f"{path} must be a file, not a directory, a device or a pipe"
            ):
                mg.load(path)
            with pytest.raises(DataError, match="must be a file"):
                mnist.read_idx(path)
            with pytest.raises(FileExistsError, match="path must be a file, no directory, device or pipe"):
                mg.save(path, {})
        assert os.listdir(tmp_path) in ([], ["pipe"])

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.ma.masked_array([1.0, 2.0], [True, False]), "must be a plain array"),
            (np.zeros(2, [("a", float)]), "must be an array of numbers"),
            (np.full(2, None), "must be an array of numbers"),
            ([[1], [1, 2]], "must be an array of numbers"),
            (np.zeros(2, "datetime64[s]"), "must be an array of numbers"),
        ],
    )
    def test_what_is_not_saved(self, value: Any, message: str, tmp_path: Path) -> None:
        with pytest.raises(ArgumentTypeError, match=rf"state\['a'\] {message}"):
            mg.save(tmp_path / "a.npz", {"a": value})
        assert os.listdir(tmp_path) == []

    def test_entries_that_the_model_has_no_place_for(self, tmp_path: Path) -> None:
        large = npy(header_of((len(ZEROS) // 4,)), ZEROS)
        for entries, message in (
            ({"W": large}, r"state\['W'\] must have shape \(2, 3\)"),
            ({"W": npy(header_of((2, 3)), bytes(24)), "other": large}, "state has other"),
        ):
            (tmp_path / "a.npz").write_bytes(archive(**entries))
            model = Weights()
            refused(lambda model=model: mg.load(tmp_path / "a.npz", model), ArgumentError, message)
            assert not model.W.numpy().any()

    @pytest.mark.parametrize(
        "form", [lambda leaf: leaf, lambda leaf: leaf.numpy(), lambda leaf: leaf.numpy().tolist()]
    )
    def test_what_a_state_dict_of_the_users_own_may_hold(self, form: Any, tmp_path: Path) -> None:
        class Own:
            def __init__(self, value: float) -> None:
                self.t = mg.Tensor([value, value], requires_grad=True)

            def state_dict(self) -> Any:
                return {"t": form(self.t)}

            def load_state_dict(self, state: Any) -> None:
                self.t = mg.Tensor(state["t"], requires_grad=True)

        mg.save(tmp_path / "a.npz", Own(1.0))
        mg.load(tmp_path / "a.npz", own := Own(0.0))
        assert own.t.numpy().tolist() == [1.0, 1.0]

    def test_sizes_that_lie_in_both_places(self, tmp_path: Path) -> None:
        """The zip's own directory says what the array's header says, and the bytes are not there."""
        content = bytearray(archive(W=npy(header_of((2**20,)), bytes(40))))
        whole, promised = len(npy(header_of((2**20,)), bytes(40))), len(npy(header_of((2**20,)))) + 2**22
        (at,) = (i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2")
        assert struct.unpack_from("<I", content, at + 24) == (whole,)
        struct.pack_into("<I", content, at + 24, promised)
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match="ends after 40|plain arrays"):
            mg.load(tmp_path / "a.npz")

    def test_fortran_order_and_other_byte_orders_are_read(self, tmp_path: Path) -> None:
        array = np.arange(6.0).reshape(2, 3)
        np.savez(tmp_path / "a.npz", F=np.asfortranarray(array), big=array.astype(">f8"), c=array)
        for name, read in mg.load(tmp_path / "a.npz").items():
            np.testing.assert_array_equal(read, array, err_msg=name)

    @pytest.mark.parametrize("name", [b"W.npy\0.npy", b"W\0x.npy"])
    def test_a_name_with_a_zero_in_it(self, name: bytes, tmp_path: Path) -> None:
        content = archive(**{"W" + "x" * (len(name) - 5): npy(header_of((3,)), bytes(12))})
        placeholder = b"W" + b"x" * (len(name) - 5) + b".npy"
        (tmp_path / "a.npz").write_bytes(content.replace(placeholder, name))
        with pytest.raises(DataError, match="is no array"):
            mg.load(tmp_path / "a.npz")


class TestDigitsFromElsewhere:
    def test_a_file_that_holds_more_or_less_than_its_header_says(self, tmp_path: Path) -> None:
        header = idx(np.zeros((2, 28, 28), np.uint8))[:16]
        path = tmp_path / "images"
        for content, message in (
            (gzip.compress(header + ZEROS), "must have 1568 bytes of data .* got more"),
            (header + ZEROS, "must have 1568 bytes of data .* got more"),
            (idx(np.zeros((1, 1, 1), np.uint8))[:4] + b"\xff" * 12, "must hold images of 28 × 28"),
            (header[:4] + b"\xff" * 4 + header[8:] + bytes(99), "must have 3367254359280 bytes"),
            (
                gzip.compress(header[:4] + b"\xff" * 4 + header[8:] + bytes(99)),
                "must have 3367254359280 bytes",
            ),
            (gzip.compress(idx(np.zeros((1, 1), np.uint8))[:4] + b"\xff" * 8), "must hold images"),
        ):
            path.write_bytes(content)
            refused(lambda: mnist.read_idx(path, item=(28, 28)), DataError, message)

    @pytest.mark.parametrize("where", [".", "MNIST/raw"])
    @pytest.mark.parametrize("separator", ["-", "."])
    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_the_names_that_unpackers_give(
        self, where: str, separator: str, ending: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / where
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("train", "t10k"):
            for what, shape in (("images-idx3", (4, 28, 28)), ("labels-idx1", (4,))):
                content = idx(np.ones(shape, np.uint8))
                name = f"{part}-{what}-ubyte{ending}".replace("-idx", f"{separator}idx")
                (folder / name).write_bytes(gzip.compress(content) if ending else content)
        assert [len(digits) for digits in mnist.load(tmp_path)] == [4, 4]


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile's, of names that are there twice
@pytest.mark.parametrize("name", ["npz", "npy", "idx", "gz"])
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name: str, tmp_path: Path, data: Any) -> None:
    """`python -m tests.fuzz` in small."""
    content = bytearray(data.draw(st.sampled_from(fuzz.seeds()[name])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(content), 300)))
        cut = data.draw(st.integers(0, 8))
        content[at : at + cut] = data.draw(st.binary(max_size=8) | st.sampled_from([b"\xff" * 8, bytes(8)]))
    fuzz.targets()[name](str(tmp_path / "file"), bytes(content))


class TestInterruptedWriting:
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "model.npz"
        mg.save(path, {"a": np.ones(3)})

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for function in ("fsync", "replace", "chmod"):
            with monkeypatch.context() as patch:
                patch.setattr(os, function, full)
                with pytest.raises(OSError, match=r"No space left on device: '.*model\.npz'"):
                    mg.save(path, {"a": np.zeros(3)})
            assert os.listdir(tmp_path) == ["model.npz"]
            assert mg.load(path)["a"].all()

    def test_a_path_is_named_that_no_file_can_be_made_beside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Any, *_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        monkeypatch.setattr("builtins.open", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*model\.npz'"):
            mg.save(tmp_path / "model.npz", {"a": np.ones(3)})

    def test_a_long_name(self, tmp_path: Path) -> None:
        path = tmp_path / ("a" * 240 + ".npz")
        for _ in range(2):
            mg.save(path, {"a": np.ones(3)})
        assert os.listdir(tmp_path) == [path.name]

    def test_the_first_error_is_told_if_cleaning_up_fails_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> None:
            raise PermissionError(errno.EPERM, "not this either")

        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(os, "unlink", fails)
            with atomic_writer(tmp_path / "a"):
                raise ZeroDivisionError
        assert len(os.listdir(tmp_path)) == 1
        with atomic_writer(tmp_path / "a") as file:  # the next one cleans up
            file.write(b"new")
        assert os.listdir(tmp_path) == ["a"]

    def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
        self, tmp_path: Path
    ) -> None:
        program = (
            "import sys, os; from minigrad.checkpoint import atomic_writer\n"
            "with atomic_writer(sys.argv[1]) as file:\n"
            "    file.write(b'begun'); file.flush(); print('begun', flush=True); sys.stdin.read()"
        )
        path = tmp_path / "a [1].npz"
        killed, living = (
            subprocess.Popen([sys.executable, "-c", program, str(path)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        )  # fmt: skip
        for process in (killed, living):
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
        assert len(os.listdir(tmp_path)) == 2
        killed.kill()
        killed.wait()
        (tmp_path / ".a 1.npz.0123456789abcdef.writing").write_text("another's")
        mg.save(path, {"a": np.ones(1)})
        assert len(os.listdir(tmp_path)) == 3
        living.communicate()
        assert path.read_bytes() == b"begun"
        assert sorted(os.listdir(tmp_path)) == [".a 1.npz.0123456789abcdef.writing", "a [1].npz"]
        killed.communicate()

    def test_writers_of_one_path_do_not_take_each_others_files_for_leftovers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"

        def save(number: int) -> None:
            for _ in range(50):
                mg.save(path, {"a": np.full(3, float(number))})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(save, range(4)))
        assert len(set(mg.load(path)["a"].tolist())) == 1
        assert os.listdir(tmp_path) == ["a.npz"]

    def test_a_late_cleaner_deletes_nothing_new(self, tmp_path: Path, monkeypatch: Any) -> None:
        """Two others take a file that was opened and not yet locked for a leftover. One deletes it, so that
        its writer opens another. The second comes while that is written, finds the first free, and deletes
        its name."""
        fcntl = pytest.importorskip("fcntl", reason="locks are POSIX's")
        flock, fsync, late = fcntl.flock, os.fsync, []

        def lock(file: Any, how: int) -> None:
            if not late:
                late.append(open(file.name, "r+b"))  # noqa: SIM115
                os.unlink(file.name)
            flock(file, how)

        def write(number: int) -> None:
            with late[0], suppress(FileNotFoundError):
                flock(late[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(late[0].name)
            fsync(number)

        monkeypatch.setattr(fcntl, "flock", lock)
        monkeypatch.setattr(os, "fsync", write)
        mg.save(tmp_path / "a.npz", {"a": np.ones(1)})
        assert late[0].closed
        assert os.listdir(tmp_path) == ["a.npz"]

    @pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
    def test_a_mode_and_a_link_stay(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        real, link = tmp_path / "elsewhere" / "model.npz", tmp_path / "link.npz"
        real.write_bytes(b"old")
        real.chmod(0o600)
        link.symlink_to(real)
        mg.save(link, {"a": np.ones(1)})
        assert link.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o600
        assert mg.load(real)["a"] == 1.0
        assert os.listdir(real.parent) == ["model.npz"]
