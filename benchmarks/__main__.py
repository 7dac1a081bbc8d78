"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys

from benchmarks import paper
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, DataError


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("paper", help="reproduce the paper on MNIST", description=paper.__doc__)
    paper.add_arguments(command)
    command.set_defaults(run=paper.run)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ArgumentError, ArgumentTypeError, BackendError, DataError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped\n")


if __name__ == "__main__":
    main(sys.argv[1:])
