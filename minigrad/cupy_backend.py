"""CuPy as the array library: loaded when it is first asked for, and not before."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Backend
from minigrad.errors import BackendError


class CupyBackend(Backend):
    """CuPy, found and checked when it is first asked for."""

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise BackendError(
                "the cupy backend needs CuPy, which is not installed: "
                "pip install 'minigrad-adversarial[cuda12]' (or [cuda13] for CUDA 13)"
            ) from error
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise BackendError(
                f"CuPy is installed, but CUDA does not answer ({error}): install an NVIDIA driver "
                "that fits the extra in use, cuda12 or cuda13"
            ) from error
        if devices == 0:
            raise BackendError("CuPy is installed, but CUDA finds no GPU on this machine")
        super().__init__("cupy", cupy, cupy.ndarray)

    def to_numpy(self, array: Any) -> np.ndarray:
        return self.xp.asnumpy(array)
