"""CuPy's ElementwiseKernel and ReductionKernel on the host: the same C++ text, compiled by g++ into a
loop, on the strict library's arrays. So the text of minigrad's kernels runs, and is held to the plain
forms, where there is no GPU. What only a GPU has, CUDA's compiler and its rounding of exp, it cannot show.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.strict import Array, Library, StrictBackend, launch

compiler = shutil.which("g++")
TYPES = {"float32": "float", "float64": "double", "int64": "long long", "int32": "int", "bool": "bool",
         "uint64": "unsigned long long", "uint32": "unsigned int", "uint8": "unsigned char",
         "int8": "signed char", "int16": "short", "uint16": "unsigned short"}  # fmt: skip

PREAMBLE = """
#include <cmath>
using std::exp; using std::expm1; using std::log1p; using std::sqrt;
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
"""


def parameters(text: str) -> list[tuple[bool, str, str]]:
    """(whether raw, type, name) of each parameter in a kernel's declaration."""
    found = []
    for part in text.split(","):
        words = part.split()
        found.append((words[0] == "raw", words[-2], words[-1]))
    return found


@cache
def library_of(source: str) -> Any:
    folder = Path(tempfile.mkdtemp())
    (folder / "kernel.cpp").write_text(PREAMBLE + source)
    command = [
        compiler,
        "-O1",
        "-ffp-contract=off",
        "-Wall",
        "-Werror",
        "-Wno-unused-local-typedefs",
        "-shared",
        "-fPIC",
    ]
    subprocess.run([*command, "kernel.cpp", "-o", "kernel.so"], check=True, cwd=folder)
    loaded = ctypes.CDLL(str(folder / "kernel.so"))
    shutil.rmtree(folder)
    return loaded


class ElementwiseKernel:
    def __init__(self, in_params: str, out_params: str, operation: str, name: str) -> None:
        self.inputs, self.outputs = parameters(in_params), parameters(out_params)
        self.operation, self.name = operation, name

    def __call__(self, *arguments: Any) -> Any:
        launch(self.name, lambda: self._run(*arguments))
        return arguments[-1]

    def _run(self, *arguments: Any) -> None:
        """All outputs are given. Type letters stand for the dtypes of the arrays that they name."""
        declared = [*self.inputs, *self.outputs]
        assert len(arguments) == len(declared), "CuPy would make the outputs: minigrad gives them"
        shape = np.broadcast_shapes(*(a.shape for a, (raw, *_) in zip(arguments, declared, strict=True)
                                      if isinstance(a, Array) and not raw))  # fmt: skip
        letters: dict[str, str] = {}
        for argument, (_, kind, name) in zip(arguments, declared, strict=True):
            if len(kind) == 1 and isinstance(argument, Array):
                found = letters.setdefault(kind, str(argument.dtype))
                assert found == str(argument.dtype), f"{self.name}: {name} is not of type {kind} = {found}"
        signature, body, values = [], [], []
        for argument, (raw, kind, name) in zip(arguments, declared, strict=True):
            dtype = letters.get(kind, kind)
            c = TYPES[dtype]
            is_output = (raw, kind, name) in self.outputs
            if isinstance(argument, Array):
                host = argument._host
                if is_output:
                    assert host.shape == shape
                    assert host.flags.c_contiguous
                elif not raw:
                    host = np.ascontiguousarray(np.broadcast_to(host, shape))
                assert host.flags.c_contiguous, f"{self.name}: {name}"
                assert str(host.dtype) == dtype
                values.append(host)
            else:
                values.append(np.array([argument], dtype))
                raw = False
            is_scalar = not isinstance(argument, Array)
            constant = "" if is_output else "const "
            signature.append(f"{constant}{c}* {name}_")
            place = "0" if is_scalar else "i"
            body.append(f"const {c}* {name} = {name}_;" if raw else
                        f"{constant}{c}& {name} = {name}_[{place}]; (void){name};")  # fmt: skip
        source = (
            f'extern "C" void run({", ".join(signature)}, long long n) {{ using T = {TYPES[letters["T"]]};\n'
            f"for (long long i = 0; i < n; ++i) {{ {' '.join(body)} {self.operation} }} }}\n"
        )
        pointers = [ctypes.c_void_p(value.ctypes.data) for value in values]
        library_of(source).run(*pointers, ctypes.c_longlong(int(np.prod(shape))))


class ReductionKernel:
    """Σ over axes, the one reduction that minigrad asks for: its map is compiled, its sum is NumPy's."""

    def __init__(self, in_params: str, out_params: str, map_: str, reduce: str, post: str, identity: str,
                 name: str) -> None:  # fmt: skip
        assert (reduce, post, identity) == ("a + b", "s = a", "0")
        self.name, self.kind = name, out_params.split()[0]
        self.mapped = ElementwiseKernel(in_params, f"{self.kind} mapped", f"mapped = {map_};", name)

    def __call__(self, w: Array, axis: int | tuple[int, ...]) -> Array:
        mapped = Array(np.empty(w.shape, w.dtype if self.kind == "T" else self.kind))
        self.mapped(w, mapped)
        return Array(launch(self.name, lambda: mapped._host.sum(axis), counted=False))


class FusedLibrary(Library):
    """The strict library with kernels."""

    ElementwiseKernel = ElementwiseKernel
    ReductionKernel = ReductionKernel


class StrictWithKernels(StrictBackend):
    """The strict backend whose operations run minigrad's kernels, as CuPy's would."""

    def __init__(self) -> None:
        super().__init__()
        self.xp = FusedLibrary("strict")
