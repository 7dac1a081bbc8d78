"""Reproduce the paper on MNIST, and measure."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.signals import heard, interruptible, leave

OWN = ("attacks", "minigrad", "models")


def check_own_packages() -> None:
    """Leave if a name of this project's leads elsewhere, to the user's own models.py, say. It is not run."""
    for name in OWN:
        spec, own = find_spec(name), Path(__file__).parents[1] / name / "__init__.py"
        found = spec.origin if spec else None
        if found is None or Path(found).resolve() != own.resolve():
            leave(
                1, f"error: {name} must be this project's package, got {found}: rename it, or run elsewhere"
            )


def prepare_streams() -> None:
    """Closed ones swallow what is written to them; a terminal without ± still gets the figures."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process lives)
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


def main(arguments: list[str] | None = None) -> None:
    prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # figures are files here, whatever windows are asked for
    with heard():
        check_own_packages()
        commands = imported()
    with interruptible():
        run(commands, arguments)


def imported() -> list[tuple[str, Any, str]]:
    """(name, module, what it does) of every command; leaves if something is missing that they need."""
    try:
        from benchmarks import paper, photo, tour
        from benchmarks.speed import (
            against,
            cpu_vs_gpu,
            floor,
            growth,
            ladder,
            memory,
            overhead,
            peers,
            squeezenet,
        )
    except ModuleNotFoundError as error:
        leave(1, f"error: the benchmarks need {error.name}: pip install -e '.[benchmarks]'")
    return [
        ("paper", paper, "the paper's experiments, with a report"),
        ("photo", photo, "a photo, one step of one grey level, and what a network makes of it"),
        ("tour", tour, "one page to break a network on, with the walk that made the gradient"),
        ("floor", floor, "steps and attacks beside their bare matrix products"),
        ("ladder", ladder, "what each module of the fast lane adds, in time and memory"),
        ("overhead", overhead, "what one small operation costs"),
        ("memory", memory, "what one step asks of the memory"),
        ("cpu_vs_gpu", cpu_vs_gpu, "batch by width on both array libraries"),
        ("peers", peers, "the same work in other frameworks"),
        ("growth", growth, "how the time of a step grows with batch and width, beside other frameworks"),
        ("squeezenet", squeezenet, "photos through SqueezeNet beside PyTorch"),
        ("against", against, "this checkout beside another one"),
    ]


def run(commands: list[tuple[str, Any, str]], arguments: list[str] | None) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, text in commands:
        command = parsers.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError) as error:
        leave(2, f"error: {error}")
    except OSError as error:
        nameless = error.errno is not None and error.filename is None
        leave(2, f"error: {error}{' (the terminal, or what output goes to)' if nameless else ''}")
    except (BrokenProcessPool, MemoryError) as error:
        killed = "a process was killed" if isinstance(error, BrokenProcessPool) else "there is no memory left"
        leave(2, f"error: {killed}: with fewer --jobs less is needed; what is finished stays")


if __name__ == "__main__":
    main(sys.argv[1:])
