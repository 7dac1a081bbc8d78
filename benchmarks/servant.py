"""Works for a run on a worker of a cluster: reads pieces of work from its standard input, and writes what
comes of them to its standard output."""

from __future__ import annotations

import os
import pickle
import sys

from benchmarks.checkout import receive, send
from benchmarks.signals import end_with


def main() -> None:
    end_with(os.getppid())
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed is no answer
    while True:
        try:
            piece = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found = pickle.loads(piece)  # a Call: this imports what it needs, and does the work
        except Exception as error:  # whatever it is, it is the run's to tell
            found = error
        send(answers, pickle.dumps(found))


if __name__ == "__main__":
    main()
