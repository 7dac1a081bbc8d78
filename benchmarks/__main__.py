"""Reproduce the paper on MNIST, and measure."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError

OWN = ("attacks", "benchmarks", "minigrad", "models")


def taken(error: ImportError) -> str:
    """What to say if a name of this project's leads elsewhere: to the user's own models.py, perhaps."""
    name = (error.name or "").partition(".")[0]
    where = getattr(sys.modules.get(name), "__file__", None)
    return f"error: {name} must be this project's package, got {where} ({error}): rename it, or run elsewhere"


class Terminated(KeyboardInterrupt):
    """SIGTERM: a run ends as it does by Ctrl-C, with another exit code."""


def terminate(*_: Any) -> None:
    raise Terminated


def prepare_streams() -> None:
    """Closed ones swallow what is written to them; a terminal without ± still gets the figures."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process lives)
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


def main(arguments: list[str] | None = None) -> None:
    prepare_streams()
    try:
        from benchmarks import paper
        from benchmarks.speed import against, cpu_vs_gpu, floor, memory, overhead, peers
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OWN:
            sys.exit(f"error: the benchmarks need {error.name}: pip install -e '.[benchmarks]'")
        sys.exit(taken(error))
    except ImportError as error:
        sys.exit(taken(error))
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
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        options.run(options)
    except (ArgumentError, ArgumentTypeError, BackendError, DataError, NonFiniteError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    except Terminated:
        parser.exit(128 + signal.SIGTERM, "terminated\n")
    except KeyboardInterrupt:
        parser.exit(128 + signal.SIGINT, "stopped\n")
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main(sys.argv[1:])
