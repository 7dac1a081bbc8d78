"""Reproduce the paper on MNIST, and measure."""

from __future__ import annotations

import argparse
import sys

from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError


def main(arguments: list[str] | None = None) -> None:
    try:
        from benchmarks import paper
        from benchmarks.speed import against, cpu_vs_gpu, floor, memory, overhead, peers
    except ModuleNotFoundError as error:
        sys.exit(f"error: the benchmarks need {error.name}: pip install -e '.[benchmarks]'")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± still gets the figures
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, text in (
        ("paper", paper, "the paper's experiments, with a report"),
        ("floor", floor, "steps and attacks beside their bare matrix products"),
        ("overhead", overhead, "what one small operation costs"),
        ("memory", memory, "what one step asks of the memory"),
        ("cpu_vs_gpu", cpu_vs_gpu, "batch by width on both array libraries"),
        ("peers", peers, "the same work in other frameworks"),
        ("against", against, "this checkout beside another one"),
    ):
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped\n")


if __name__ == "__main__":
    main(sys.argv[1:])
