"""Run by `python -m benchmarks ladder` in a process of its own, with the forms of some modules of the fast
lane, which are its arguments. It reads the name of a work from each line, does the work, and prints a line;
"bytes NAME" asks for the most memory that the work holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from attacks import input_gradient
from benchmarks.photos import network, photos, read_photo
from benchmarks.speed.against_worker import attack, repeated, step
from benchmarks.speed.memory import forget_gradients, peak_bytes
from minigrad import lanes


def four_photos() -> Callable[[], Any]:
    model = network()
    x = np.concatenate([read_photo(path).x for path in list(photos().values())[:4]])
    y = model.predict(x)
    return lambda: input_gradient(model, x, y)


if __name__ == "__main__":
    makers = {"step": lambda: step(784, 240, 100), "small": lambda: repeated(20, step(8, 4, 2)),
              "fgsm": attack, "photos": four_photos}  # fmt: skip
    works: dict[str, Callable[[], Any]] = {}
    kept = [name for name in sys.argv[1:] if name != "memory"]  # a setting of the process, and no form
    with lanes.plain_forms(but=kept):
        for line in sys.stdin:
            what, _, name = line.strip().rpartition(" ")
            if name not in works:
                works[name] = makers[name]()
            works[name]()
            if what == "bytes":
                forget_gradients()
                print(peak_bytes(works[name]), flush=True)
            else:
                print("done", flush=True)
