"""Where a GPU begins to win: batch × width, on both array libraries."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

import minigrad as mg
from attacks import fgsm, input_gradient
from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.floor import CLASSES, FEATURES
from benchmarks.speed.frameworks import captured_step
from benchmarks.speed.options import THREADS, add_common_arguments
from benchmarks.speed.plots import BEHIND_TEXT, panels
from benchmarks.speed.sizes import PIECES, Size, add_size_arguments, check_sizes, usable_memory
from benchmarks.speed.timing import time_in_turn
from minigrad import backend
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError, BackendError
from minigrad.optim import SGD
from models import MaxoutNetwork

WIDTHS = (16, 64, 256, 1_024, 4_096, 8_192)
MOST_SHARE = 1.1  # of the best rate of a few square products
OPERATIONS = ("forward", "input gradient", "training step", "FGSM")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_size_arguments(parser, WIDTHS)
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="rounds of each (default: %(default)s)"
    )
    parser.add_argument("--most-gflop", type=float, default=30.0, metavar="X",
                        help="leave out what has more, on a CPU (default: %(default)s)")  # fmt: skip
    add_common_arguments(parser, "cpu_vs_gpu", f"Two minutes on two cores, on NumPy alone. {THREADS}")


def run(options: argparse.Namespace) -> None:
    """Time each operation at each size on each library that there is; print, plot and write."""
    check_sizes(options.batches, options.widths)
    check_count("--rounds", options.rounds)
    check_number("--most-gflop", options.most_gflop, low=0.0)
    directory = check_writable_directory("--out", options.out)
    console = terminal(120)
    libraries, absent = available()
    if absent:
        console.print(f"No rows of a GPU: {absent}")
    conditions = Conditions()
    sizes = [Size(batch, width) for batch in options.batches for width in options.widths]
    found: dict[str, Any] = {}
    crossover: dict[str, Any] = {}
    with Steps(console, (1 + len(OPERATIONS)) * len(libraries), options.quiet) as steps:
        for library in libraries:
            steps.begin(f"{library.name}, its best rate of products")
            rate = product_rate(library)
            found[library.name] = {"product_gflops": rate / 1e9, "entries": [], **device(library)}
        for operation in OPERATIONS:
            for library in libraries:
                steps.begin(f"{library.name}, {operation}")
                limit = 1e9 * options.most_gflop if library.name == "numpy" else float("inf")
                memory = device_memory(library)
                fitting = [size for size in sizes if size.flop(operation) <= limit and size.bytes() <= memory]
                if not fitting:
                    raise ArgumentError(
                        f"--batches and --widths must have a size that fits into memory and --most-gflop, "
                        f"which is {options.most_gflop}, on {library.name}: got none"
                    )
                rate = 1e9 * found[library.name]["product_gflops"]
                for number, size in enumerate(fitting, 1):
                    entry = timed(library, size, operation, options.rounds, rate, conditions)
                    found[library.name]["entries"].append(entry)
                    steps.share(number / len(fitting))
            crossover[operation] = crossovers(found, operation)
            console.print(table(found, operation, crossover[operation]))
    entries = [entry for name in found for entry in found[name]["entries"]]
    for message in {entry["not_captured"] for entry in entries if "not_captured" in entry}:
        console.print(f"No captured step: {message}")
    content = {"most_gflop": options.most_gflop, "libraries": found, "crossover": crossover}
    publish(directory, "cpu_vs_gpu", content, plot, [], conditions, console)


def available() -> tuple[list[backend.Backend], str]:
    """The libraries that can be used here, and why CuPy is not among them."""
    try:
        return [backend.NUMPY, backend.get("cupy")], ""
    except BackendError as error:
        return [backend.NUMPY], str(error)


def timed(
    library: backend.Backend,
    size: Size,
    operation: str,
    rounds: int,
    rate: float,
    conditions: Conditions | None = None,
) -> dict[str, Any]:
    """Median seconds of one operation with its data on the device, of bringing the batch there, and of the
    training step captured, if it can be."""
    random = np.random.default_rng(0)
    x_host = random.random((size.batch, FEATURES), dtype=np.float32)
    y_host = random.integers(0, CLASSES, size.batch)
    with backend.use(library.name):
        work = workload(operation, library.asarray(x_host), library.asarray(y_host), size)
        contenders: dict[str, Callable[[], Any]] = {"work": work}
        said = {}
        if library.name != "numpy":
            contenders["transfer"] = lambda: (library.asarray(x_host), library.asarray(y_host))
        if operation == "training step":
            replayed, said = captured(library.asarray(x_host), library.asarray(y_host), size)
            contenders |= replayed
        seconds = {
            name: float(np.median(values))
            for name, values in time_in_turn(
                contenders, rounds, warm_up=2, library=library, conditions=conditions
            ).items()
        }
    flop = size.flop(operation)
    share = flop / seconds["work"] / rate
    if conditions and share > MOST_SHARE:
        where = f"{operation}, batch {size.batch}, width {size.width}"
        conditions.add_impossible(f"{where}, reached {share:.0%} of the best rate of products")
    return {
        "batch": size.batch,
        "width": size.width,
        "operation": operation,
        "seconds": seconds["work"],
        "transfer_seconds": seconds.get("transfer"),
        "captured_seconds": seconds.get("captured"),
        "gflops": flop / seconds["work"] / 1e9,
        "share_of_product_rate": share,
        **said,
        **(launches(library, work) or {}),
    }


def captured(x: Any, y: Any, size: Size) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """(the training step captured, as a contender; or why there is none)."""
    model, optimiser = network(size)
    try:
        step = captured_step(partial(train, model, optimiser), x, y, of=[model, optimiser])
    except ArgumentError as error:
        return {}, {"not_captured": str(error)}
    return {"captured": lambda: step(x, y)}, {}


def train(model: Any, optimiser: Any, x: Any, y: Any) -> None:
    optimiser.zero_grad()
    model.cost(x, y).backward()
    optimiser.step()


def launches(library: backend.Backend, work: Callable[[], Any]) -> dict[str, int] | None:
    """Kernels and copies of one call, as PyTorch's profiler sees them on the GPU: it counts those of every
    library in the process. None if there is no GPU or no PyTorch that finds it (extra: peers)."""
    if library.name != "cupy":
        return None
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile
    except ModuleNotFoundError:
        return None
    if not torch.cuda.is_available():
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        library.xp.cuda.Device().synchronize()
    names = [e.name for e in profiler.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return kernels_and_copies(names)


def kernels_and_copies(names: list[str]) -> dict[str, int]:
    """How many of the device's activities are kernels, and how many copies."""
    copies = sum(name.startswith("Memcpy") for name in names)
    fills = sum(name.startswith("Memset") for name in names)
    return {"kernels": len(names) - copies - fills, "copies": copies}


def network(size: Size) -> tuple[MaxoutNetwork, SGD]:
    model = MaxoutNetwork(FEATURES, CLASSES, units=(size.width // PIECES,) * 2, pieces=PIECES)
    return model, SGD(model.parameters(), lr=0.01, momentum=0.5)


def workload(operation: str, x: Any, y: Any, size: Size) -> Callable[[], Any]:
    model, optimiser = network(size)
    if operation == "training step":
        return partial(train, model, optimiser, x, y)
    if operation == "forward":

        def forward() -> None:
            with mg.no_grad():
                model(x)

        return forward
    if operation == "input gradient":
        return lambda: input_gradient(model, x, y)
    return lambda: fgsm(model, x, y, epsilon=0.25)


def product_rate(library: backend.Backend) -> float:
    """Floating-point operations a second of the fastest float32 matrix product found."""
    rates = []
    for n in (512, 1024, 2048) if library.name == "numpy" else (2048, 4096, 8192):
        a = library.xp.ones((n, n), dtype=np.float32)
        out = library.xp.empty_like(a)
        seconds = time_in_turn(
            {"product": lambda a=a, out=out: library.xp.matmul(a, a, out=out)}, 20, library=library
        )
        rates.append(2 * n**3 / min(seconds["product"]))
    return max(rates)


def device_memory(library: backend.Backend) -> float:
    """Bytes that a size may take there."""
    return 0.8 * library.xp.cuda.runtime.memGetInfo()[0] if library.name == "cupy" else usable_memory()


def device(library: backend.Backend) -> dict[str, Any]:
    """The GPU, and whether its products may round to TF32 (CuPy leaves that off unless asked)."""
    if library.name != "cupy":
        return {}
    properties = library.xp.cuda.runtime.getDeviceProperties(0)
    return {
        "device": properties["name"].decode(),
        "cupy": library.xp.__version__,
        "tf32": os.environ.get("CUPY_TF32", "0") != "0",
    }


def crossovers(found: dict[str, Any], operation: str) -> dict[int, int | None] | None:
    """For each width the least batch from which the GPU is faster, there and at all that are greater; None
    if it is not at the greatest."""
    if "cupy" not in found:
        return None
    times = {
        (name, entry["width"], entry["batch"]): entry["seconds"]
        for name in found
        for entry in found[name]["entries"]
        if entry["operation"] == operation
    }
    first: dict[int, int | None] = {}
    for _, width, batch in sorted(key for key in times if key[0] == "numpy" and ("cupy", *key[1:]) in times):
        if times["cupy", width, batch] >= times["numpy", width, batch]:
            first[width] = None
        elif first.get(width) is None:
            first[width] = batch
    return {width: first.get(width) for width in sorted({width for _, width, _ in times})}


def table(found: dict[str, Any], operation: str, crossover: Any) -> Table:
    """Milliseconds and share of the product rate, batch down, width across."""
    note = "" if crossover is None else f"; the GPU wins from batch {crossover} (by width)"
    counts = {e["kernels"] for e in found.get("cupy", {"entries": []})["entries"]
              if e["operation"] == operation and "kernels" in e}  # fmt: skip
    if counts:
        note += f"; kernels a call: {min(counts)} to {max(counts)}"
    result = Table(title=operation, caption=f"ms (share of the library's own best product rate){note}")
    result.add_column("library")
    result.add_column("batch", justify="right")
    entries = {
        (name, entry["batch"], entry["width"]): entry
        for name in found
        for entry in found[name]["entries"]
        if entry["operation"] == operation
    }
    widths = sorted({width for _, _, width in entries})
    for width in widths:
        result.add_column(f"width {width}", justify="right")
    for name in found:
        for batch in sorted({batch for library, batch, _ in entries if library == name}):
            cells = [entries.get((name, batch, width)) for width in widths]
            result.add_row(name, str(batch), *(
                "–" if e is None else f"{significant(1e3 * e['seconds'])} ({e['share_of_product_rate']:.0%})"
                for e in cells
            ))  # fmt: skip
    return result


def plot(content: Mapping[str, Any]) -> Figure:
    """Time against batch, a panel an operation, a line a width, the darker the wider; dashed on the GPU."""
    found = content["libraries"]
    every = [entry for library in found.values() for entry in library["entries"]]
    batches, widths = (sorted({entry[size] for entry in every}) for size in ("batch", "width"))
    shades = dict(
        zip(widths, matplotlib.colormaps["viridis_r"](np.linspace(0.25, 1.0, len(widths))), strict=True)
    )
    figure, axes = panels(len(OPERATIONS), 2.7)
    for ax, operation in zip(axes, OPERATIONS, strict=True):
        for name, style in (("numpy", "-"), ("cupy", "--")):
            entries = [e for e in found.get(name, {"entries": []})["entries"] if e["operation"] == operation]
            ends: dict[float, list[tuple[float, str]]] = {}
            for width in sorted({e["width"] for e in entries}):
                line = sorted((e["batch"], 1e3 * e["seconds"]) for e in entries if e["width"] == width)
                ax.plot(*zip(*line, strict=True), style, marker=".", markersize=5, linewidth=1.2,
                        color=shades[width])  # fmt: skip
                ends.setdefault(line[-1][0], []).append((line[-1][1], f"{width:,}"))
            _label_ends(ax, ends)
        ax.set_xscale("log")
        ax.set_xticks(batches, [f"{batch:,}" for batch in batches])
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_title(operation, fontsize=8.5, loc="left")
        ax.set_xlabel("batch [examples]; at each line's end its width [columns]", fontsize=7)
        ax.set_ylabel("time [ms]", fontsize=7.5)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    lows, highs = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(lows), max(highs))
    on = "NumPy alone: there was no GPU" if "cupy" not in found else "solid: NumPy; dashed: CuPy on " + str(
        found["cupy"]["device"])  # fmt: skip
    axes[2].text(0.98, 0.02, f"{on}.\nLines of NumPy end before\n{content['most_gflop']:g} GFLOP a call.",
                 transform=axes[2].transAxes, fontsize=6.5, ha="right")  # fmt: skip
    return figure


def _label_ends(ax: Axes, ends: Mapping[float, list[tuple[float, str]]]) -> None:
    """The labels of lines that end at one batch, moved apart."""
    for batch, lines in ends.items():
        for place, (height, label) in enumerate(sorted(lines)):
            shift = 4 * (place - (len(lines) - 1) / 2)  # points
            ax.annotate(label, (batch, height), (4, shift), textcoords="offset points", va="center",
                        fontsize=6.5, bbox=BEHIND_TEXT)  # fmt: skip
