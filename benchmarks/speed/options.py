"""Options that the scripts share, and what --help says after them."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping

THREADS = ("NumPy's BLAS has a thread a processor, unless OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) "
           "is set.")  # fmt: skip
WIDTH = 78  # of --help


def add_common_arguments(
    parser: argparse.ArgumentParser, name: str, takes: str, works: Mapping[str, str] | None = None
) -> None:
    """--out, --quiet, and --works if there is a choice of them; then in words how long it takes, with how
    many threads."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _filled(parser.description or "")
    parser.epilog = _filled(takes)
    if works is not None:
        parser.add_argument("--works", nargs="+", choices=[*works], metavar="NAME", default=[*works],
                            help="what to time, of what is listed below (default: all)")  # fmt: skip
        widest = max(map(len, works))
        lines = [f"  {work:{widest}}  {what}" for work, what in works.items()]
        parser.epilog = "\n".join(["works:", *lines, "", parser.epilog])
    parser.add_argument("--out", default=f"results/{name}", metavar="DIR",
                        help=f"where {name}.json and {name}.png go (default: %(default)s)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true",
                        help="no progress bar, or, off a terminal, lines: the tables alone")  # fmt: skip


def _filled(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), WIDTH) for paragraph in paragraphs)
