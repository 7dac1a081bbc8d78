"""What is being done, and how far it is: a bar on a terminal, a line a step where there is none."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

LEAST_SECONDS = 0.5  # from one drawing of the bar to the next


class Steps:
    """So many steps, for a `with` block; nothing is shown if `quiet`.

    It draws only when it is told something, from no thread of its own: so it takes no time from what is
    timed in between.
    """

    def __init__(self, console: Console, total: int, quiet: bool = False) -> None:
        self._console, self._total, self._quiet = console, total, quiet
        words = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what is too long is cut, and no figure
        columns = (TextColumn("{task.description}", markup=False, table_column=words), BarColumn(20),
                   TaskProgressColumn(), TimeElapsedColumn())  # fmt: skip
        self._bar = Progress(*columns, console=console, transient=True, auto_refresh=False, expand=True,
                             disable=quiet or not console.is_terminal)  # fmt: skip
        self._task = self._bar.add_task("", total=total)
        self._begun = 0
        self._start = self._drawn = time.monotonic()

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str) -> None:
        """The next step begins."""
        self._begun += 1
        words = f"{self._begun} of {self._total}: {what}"
        self._draw(self._begun - 1, words)
        if self._bar.disable and not self._quiet:
            self._console.print(f"{time.monotonic() - self._start:.0f} s: {words}", soft_wrap=True)

    def share(self, done: float) -> None:
        """This much of the step is done, of 1."""
        if time.monotonic() - self._drawn >= LEAST_SECONDS:
            self._draw(self._begun - 1 + done)

    def _draw(self, completed: float, words: str | None = None) -> None:
        self._bar.update(self._task, completed=completed, description=words, refresh=True)
        self._drawn = time.monotonic()
