"""The input gradient of photos through SqueezeNet, minigrad beside PyTorch: checked equal in float64, then
timed in turn. Needs PyTorch (extra `peers`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from threadpoolctl import threadpool_limits

import minigrad as mg
from attacks import input_gradient
from benchmarks.output import check_writable_directory, significant, terminal
from benchmarks.photos import network, photos, read_photo
from benchmarks.progress import Steps
from benchmarks.speed.conditions import Conditions, publish
from benchmarks.speed.memory import peak_bytes
from benchmarks.speed.options import add_common_arguments
from benchmarks.speed.plots import bars, panels, quartiles
from benchmarks.speed.timing import ratio, time_in_turn
from minigrad.checks import check_count
from minigrad.errors import ArgumentError
from models.squeezenet import FIRES, MEAN, POOLED

# What is timed: (photos, threads, the most that the gradient may take of PyTorch's time).
WORKS = {"one photo, one thread": (1, 1, 1.2), "eight photos, one thread": (8, 1, 1.5),
         "one photo, two threads": (1, 2, None)}  # fmt: skip
MOST_MEMORY = 50e6  # bytes, of the gradient of one photo
CONTENDERS = {"minigrad": "minigrad", "torch": "PyTorch", "channels_last": "PyTorch, channels_last"}
CLOSE = 1e-12  # in float64, of the greatest logit and of the greatest element of the gradient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, default=20, metavar="N", help="rounds of each (default: %(default)s)"
    )
    add_common_arguments(parser, "squeezenet", "Two minutes on two cores, with one thread, then with two.")


def run(options: argparse.Namespace) -> None:
    """Check that both compute the same, then time, measure the memory, print and write."""
    check_count("--rounds", options.rounds)
    directory = check_writable_directory("--out", options.out)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ArgumentError("squeezenet needs PyTorch: pip install -e '.[peers]'") from error
    console, conditions = terminal(110), Conditions()
    x = np.concatenate([read_photo(path).x for path in list(photos().values())[:8]])
    found: dict[str, Any] = {}
    with Steps(console, 2 + len(WORKS), options.quiet) as steps:
        steps.begin("do both compute the same?")
        equal = agreement(x[:1])
        for what, (count, threads, _) in WORKS.items():
            steps.begin(what)
            torch.set_num_threads(threads)
            with threadpool_limits(threads):
                contenders = contenders_for(x[:count])
                seconds = time_in_turn(
                    contenders, options.rounds, settle=0.1, conditions=conditions, progress=steps.share
                )
            found[what] = {
                name: {"median_seconds": float(np.median(values)),
                       "to_torch": ratio(seconds, name, f"torch {name.rpartition(' ')[2]}")}
                for name, values in seconds.items()
            }  # fmt: skip
        steps.begin("memory of the gradient of one photo")
        with threadpool_limits(1):
            memory = peak_bytes(contenders_for(x[:1])["minigrad gradient"])
    content = {"works": found, "equal_in_float64": equal, "peak_bytes": memory}
    publish(directory, "squeezenet", content, plot, [table(found, equal, memory)], conditions, console,
            ["torch"])  # fmt: skip


class TorchNetwork:
    """The same network in PyTorch's operations, with the weights of ours. Photos come as they come to ours,
    and are turned into PyTorch's axes: (example, channel, row, column)."""

    def __init__(self, model: Any, channels_last: bool = False) -> None:
        import torch

        self.torch = torch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {name: self.laid_out(p.numpy()) for name, p in model.named_parameters().items()}
        first = next(iter(self.weights.values()))
        self.mean = torch.tensor(MEAN).to(first.dtype).view(1, 3, 1, 1)

    def laid_out(self, array: np.ndarray) -> Any:
        """Weights (row, column, in, out) or biases, as PyTorch has them."""
        if array.ndim != 4:
            return self.torch.tensor(array)
        return self.torch.tensor(array.transpose(3, 2, 0, 1)).contiguous(memory_format=self.layout)

    def leaf(self, x: np.ndarray) -> Any:
        return self.torch.tensor(x.transpose(0, 3, 1, 2)).contiguous(memory_format=self.layout)

    def convolution(self, name: str, x: Any, **options: Any) -> Any:
        W, b = self.weights[f"{name}.W"], self.weights[f"{name}.b"]
        return self.torch.nn.functional.conv2d(x, W, b, **options)

    def logits(self, x: Any) -> Any:
        relu = self.torch.relu
        x = relu(self.convolution("conv1", x.flip(1) * 255.0 - self.mean, stride=2))
        for number in range(2, 2 + len(FIRES)):
            if number in POOLED:
                x = self.torch.nn.functional.max_pool2d(x, 3, 2)
            name = f"fire{number}"
            x = relu(self.convolution(f"{name}.squeeze1x1", x))
            wide = (self.convolution(f"{name}.expand1x1", x),
                    self.convolution(f"{name}.expand3x3", x, padding=1))  # fmt: skip
            x = relu(self.torch.cat(wide, 1))
        return self.convolution("conv10", x).mean((2, 3))

    def forward(self, x: np.ndarray) -> Any:
        with self.torch.no_grad():
            return self.logits(self.leaf(x))

    def gradient(self, x: np.ndarray, y: np.ndarray) -> Any:
        leaf = self.leaf(x).requires_grad_()
        labels = self.torch.from_numpy(y)
        cost = self.torch.nn.functional.cross_entropy(self.logits(leaf), labels, reduction="sum")
        return self.torch.autograd.grad(cost, leaf)[0]

    def gradient_of_logit(self, x: np.ndarray, y: int) -> np.ndarray:
        """The gradient of one logit: it has no softmax − 1 that could round."""
        leaf = self.leaf(x).requires_grad_()
        (gradient,) = self.torch.autograd.grad(self.logits(leaf)[:, y].sum(), leaf)
        return gradient.permute(0, 2, 3, 1).numpy()


def agreement(x: np.ndarray) -> dict[str, float]:
    """How far the two are apart in float64: the greatest differences of the logits, and of the gradient of
    the greatest logit, each divided by the greatest element; and the percent of that gradient's signs that
    differ. ArgumentError if it is more than rounding."""
    model, x = network(np.float64), x.astype(np.float64)
    other = TorchNetwork(model)
    leaf = mg.Tensor(x, requires_grad=True)
    z = model(leaf)
    label = int(z.numpy()[0].argmax())
    gradient = mg.grad(z[0, label], leaf)[0].numpy()
    theirs_z, theirs = other.forward(x).numpy(), other.gradient_of_logit(x, label)
    found = {
        "logits": float(np.abs(z.numpy() - theirs_z).max() / np.abs(theirs_z).max()),
        "gradient": float(np.abs(gradient - theirs).max() / np.abs(theirs).max()),
        "signs_percent": 100.0 * float((np.sign(gradient) != np.sign(theirs)).mean()),
    }
    if max(found["logits"], found["gradient"]) > CLOSE:
        raise ArgumentError(f"both must compute the same in float64, but they are apart by {found}")
    return found


def contenders_for(x: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The forward pass and the gradient of each."""
    model = network()
    y = model.predict(x)
    plain, last = TorchNetwork(model), TorchNetwork(model, channels_last=True)

    def forward() -> Any:
        with mg.no_grad():
            return model(x)

    return {
        "minigrad forward": forward,
        "torch forward": lambda: plain.forward(x),
        "channels_last forward": lambda: last.forward(x),
        "minigrad gradient": lambda: input_gradient(model, x, y),
        "torch gradient": lambda: plain.gradient(x, y),
        "channels_last gradient": lambda: last.gradient(x, y),
    }


def plot(content: Mapping[str, Any]) -> Figure:
    """A row a work: forward pass and gradient, as multiples of PyTorch's in its default layout."""
    works = content["works"]
    figure, axes = panels(2 * len(works), 0.7 + 0.17 * len(CONTENDERS))
    places = iter(axes)
    for what, entries in works.items():
        for part in ("forward", "gradient"):
            those = {label: entries[f"{name} {part}"] for name, label in CONTENDERS.items()}
            bars(
                next(places),
                {label: quartiles(entry["to_torch"]) for label, entry in those.items()},
                {label: f"{entry['to_torch']['median']:.2f}, {significant(1e3 * entry['median_seconds'])} ms"
                 for label, entry in those.items()},
                "time / time of PyTorch",
                f"{what}: {part}",
                target=WORKS[what][2] if part == "gradient" else None,
            )  # fmt: skip
    return figure


def table(found: dict[str, Any], equal: dict[str, float], memory: int) -> Table:
    table = Table(
        title="SqueezeNet beside PyTorch eager",
        caption="Time, and as a multiple of PyTorch's in its default layout; medians over the rounds, in "
        f"brackets the quartiles. In float64 the logits differ by {equal['logits']:.0e} of the greatest, "
        f"the gradient by {equal['gradient']:.0e}, and {equal['signs_percent']:g}% of its signs. Peak memory "
        f"of the gradient of one photo: {memory / 1e6:.1f} MB (at most {MOST_MEMORY / 1e6:.0f}).",
    )
    table.add_column("work")
    for heading in (*CONTENDERS.values(), "to reach"):
        table.add_column(heading, justify="right")
    cell = "{median:.2f} [{lower_quartile:.2f}, {upper_quartile:.2f}]"
    for what, entries in found.items():
        for part in ("forward", "gradient"):
            most = WORKS[what][2] if part == "gradient" else None
            table.add_row(
                f"{what}: {part}",
                *(f"{significant(1e3 * entry['median_seconds'])} ms\n{cell.format(**entry['to_torch'])}"
                  for entry in (entries[f"{name} {part}"] for name in CONTENDERS)),
                "" if most is None else f"≤ {most:g}",
            )  # fmt: skip
    return table
