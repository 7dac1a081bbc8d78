"""What was measured, gathered and judged: as a table for the terminal, as JSON, and as one HTML page."""

from __future__ import annotations

import base64
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.experiments import DATA, EXPERIMENTS, RECIPES
from benchmarks.figures import draw_all
from benchmarks.mnist import name_of
from benchmarks.output import write_json
from benchmarks.speed.conditions import code_and_machine
from benchmarks.task import Measurement, Row
from benchmarks.training import History
from benchmarks.workspace import Change, Found, Workspace
from minigrad import backend
from minigrad.checkpoint import atomic_writer

TITLE = "Explaining and Harnessing Adversarial Examples (Goodfellow et al., 2015)"
CAPTION = (
    "error % / mean confidence % on the mistakes; ± standard deviation over seeds. Clipped: adversarial "
    "images clipped to [0, 1]. Rounded: made from a softmax gradient whose p − 1 rounds to 0 in float32. "
)
VERDICTS = (
    "Direction: whether what the paper says with the figure holds; not judged if it speaks of a row that was "
    "not measured, or on other data. Size: measured − paper, and whether the error lies in the spread of the "
    "paper's and of independent short runs (another implementation's, three seeds of about twelve epochs), "
    "widened by two standard deviations of chance. OFF if it does not; rounded in spread: it does with a "
    "gradient that rounds. Confidence is not judged, nor is a size where there is no spread."
)
NARROW = (
    "Section, confidence, what is clipped or rounded, and numbers of examples and seeds are in the report, "
    "and in a terminal of {} columns."
)
WIDE = 150  # columns of a terminal, for all that there is
PART = "The images (--cifar, fingerprint {}) are not the whole of CIFAR-10: claims are not judged on them."
CUT = "This run was cut (--epochs {}): its figures say little of the claims."
OTHER_DATA = "The data is {}, not MNIST: the paper's claims and spreads are not judged on it."


@dataclass(frozen=True)
class Judged:
    """A row of the paper, what was measured over the seeds, and how the two compare."""

    row: Row
    experiment: str
    by_seed: list[Measurement]
    mean: Measurement
    deviation: Measurement | None  # of what is measured more than once
    holds: bool | None  # the claim; None if there is none, or it speaks of a row not measured
    in_spread: bool | None  # None if the row has no spread
    rounded_in_spread: bool | None
    chance: float | None  # by how many percent the spread is widened

    @property
    def difference(self) -> float | None:
        if self.row.error is None or not self.mean.examples:
            return None
        return self.mean.error - self.row.error

    def figures(self, variant: str | None = None, short: bool = False) -> str:
        """Error and confidence; if short, without the latter's deviation."""
        mean, deviation = self.mean, self.deviation
        if variant is not None:
            mean = getattr(mean, variant)
            deviation = None if deviation is None else getattr(deviation, variant)
        if mean is None:
            return ""
        if not mean.examples:
            return "none to count"
        error = _figure(mean.error, deviation and deviation.error, 2)
        sure = mean.confidence
        spread = None if short else deviation and deviation.confidence
        return error if sure is None else f"{error} / {_figure(sure, spread, 1)}"

    def off_by(self) -> str:
        return "" if self.difference is None else f"{self.difference:+.2f}".replace("-", "−")

    def size(self) -> str:
        """Whether the error is as large as the paper's and that of short runs."""
        if self.in_spread is False and self.rounded_in_spread:
            return "OFF, rounded in spread"
        return {True: "in spread", False: "OFF", None: ""}[self.in_spread]

    def spread(self) -> str:
        if self.row.spread is None or self.chance is None:
            return ""
        low, high = self.row.spread
        return f"{low:g} to {high:g}, ± {self.chance:.2g}"

    def direction(self) -> str:
        """Whether the claim holds."""
        if not self.row.claim:
            return ""
        return {True: "holds", False: "FAILS", None: "not judged"}[self.holds]

    def examples(self) -> str:
        least, most = (f"{f([m.examples for m in self.by_seed]):,}" for f in (min, max))
        return f"{least if least == most else f'{least}–{most}'} × {len(self.by_seed)}"


def _moments(change: Change) -> str:
    at = []
    for epochs in sorted(set(change.epochs.values())):
        names = [name for name, own in change.epochs.items() if own == epochs]
        at.append(f"epoch {epochs} of {_listed(names, 'models')}")
    if change.measured:
        at.append(f"the end of {_listed(change.measured, 'measurements')}")
    return "; ".join(at) or "its first epoch"


def _listed(names: Sequence[str], what: str) -> str:
    """A few names, or how many there are: all of them are in paper.json."""
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} {what}"


def _figure(mean: float, deviation: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


class Report:
    """The state of a run: `collect` reads it from the workspace, `write` leaves it there as files."""

    def __init__(
        self,
        workspace: Workspace,
        names: list[str],
        left_out: list[str],
        seeds: Sequence[int],
        command: Callable[[Iterable[str], int], str],
    ) -> None:
        self.workspace = workspace
        self.names = names
        self.left_out = left_out
        self.seeds = seeds
        self.command = command
        self.started = time.time()
        self.rows: list[Judged] = []
        self.complete = False
        self.seconds = 0.0

    def collect(self, seconds: float) -> None:
        """Read what has been measured by now, `seconds` after the run began."""
        self.seconds = seconds
        self.found: dict[str, dict[int, Found]] = {}
        for name in EXPERIMENTS:  # what an earlier command measured here belongs to the report too
            for seed in self.workspace.seeds_found(name):
                found = self.workspace.found(name, seed)
                if found is not None:
                    self.found.setdefault(name, {})[seed] = found
        self.complete = all(self.found.get(name, {}).keys() >= set(self.seeds) for name in self.names)
        by_row: dict[str, list[Measurement]] = {}
        for runs in self.found.values():
            for run in runs.values():
                for key, measurement in run.measured.items():
                    by_row.setdefault(key, []).append(measurement)
        means = {key: over_seeds(statistics.fmean, values) for key, values in by_row.items()}
        self.rows = [
            judge(
                row if self.is_judged(name) else replace(row, spread=None, holds=None),
                name,
                by_row[row.key],
                means,
            )
            for name in self.found
            for row in EXPERIMENTS[name].ROWS
        ]

    @property
    def dataset(self) -> str:
        """What the data is called."""
        return name_of(self.workspace.settings.dataset)

    def data(self) -> str:
        """What all of the data are called that were looked at; photos go without saying beside others."""
        looked_at = {DATA[name] for name in self.found}
        names = {"digits": self.dataset, "cifar": "CIFAR-10"}
        return " and ".join(name for data, name in names.items() if data in looked_at) or "photos"

    def cifar(self) -> str | None:
        """The fingerprint of the images of --cifar, if there are rows of them."""
        runs = (run for name, found in self.found.items() if DATA[name] == "cifar" for run in found.values())
        return next((run.origin.get("cifar") for run in runs), None)

    @property
    def is_mnist(self) -> bool:
        return self.dataset == "MNIST"

    def is_judged(self, name: str) -> bool:
        """Whether the paper's claims are about the data that an experiment saw."""
        if DATA[name] == "cifar":
            return all(run.data["whole"] for run in self.found[name].values())
        return self.is_mnist or DATA[name] == "photos"

    def remarks(self) -> list[str]:
        """What a reader of the figures must know of this run."""
        epochs = self.workspace.settings.epochs
        other = [] if epochs is None else [CUT.format(epochs)]
        if not self.is_mnist and any(DATA[name] == "digits" for name in self.found):
            other.append(OTHER_DATA.format(self.dataset))
        other += [PART.format(self.cifar()) for name in self.found
                  if DATA[name] == "cifar" and not self.is_judged(name)]  # fmt: skip
        notes = [note for name in self.found if (note := getattr(EXPERIMENTS[name], "NOTE", None))]
        return (
            other
            + notes
            + [
                f"The code was changed during this run; it was {change.source} until {_moments(change)}."
                for change in self.workspace.changes
            ]
        )

    def verdict(self) -> str:
        """How many claims hold, and how many figures lie in their spread: two questions."""
        held = [judged.holds for judged in self.rows if judged.holds is not None]
        inside = [judged.in_spread for judged in self.rows if judged.in_spread is not None]
        others = sum(judged.row.error is not None and judged.row.spread is None for judged in self.rows)
        parts = [f"{sum(held)} of {len(held)} claims hold"] if held else []
        if inside:
            parts.append(f"{sum(inside)} of {len(inside)} figures lie in their spread")
        if inside and others:
            parts.append(f"{others} more of the paper's have no spread to lie in")
        return ", ".join(parts) + "." if parts else ""

    def extent(self) -> str:
        """The scale, whether it was cut, and how many seeds there are of each experiment."""
        counts = {len(runs) for runs in self.found.values()}
        seeds = (
            f"{min(counts, default=0)} to {max(counts)}" if len(counts) > 1 else f"{max(counts, default=0)}"
        )
        scale, epochs = self.workspace.settings.scale, self.workspace.settings.epochs
        cut = "" if epochs is None else f" cut to {epochs} epoch{'s' * (epochs > 1)}"
        return f"Scale {scale}{cut}, {seeds} seed{'s' * (seeds != '1')}"

    def moment(self) -> str:
        """When the last command began."""
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.started))

    def histories(self) -> dict[str, dict[int, History]]:
        """The history of every model that was measured, by name and seed."""
        names = dict.fromkeys(model for name in self.found for model in EXPERIMENTS[name].USES)
        seeds = sorted({seed for runs in self.found.values() for seed in runs})
        found = {name: {seed: self.workspace.history(name, seed) for seed in seeds} for name in names}
        return {
            name: {seed: history for seed, history in by_seed.items() if history is not None}
            for name, by_seed in found.items()
        }

    # ---- the terminal

    def table(self, width: int) -> Table:
        """The paper's figure and the measured one, row by row; in a narrow terminal the errors alone."""
        wide = width >= WIDE
        lines = [CAPTION + VERDICTS] if wide else [f"Error %. {VERDICTS}", NARROW.format(WIDE)]
        lines += self.remarks() + [f"Rows {name}: {why}." for name, why in self.reasons().items()]
        table = Table(title=f"{TITLE}, on {self.data()}", caption="\n".join(lines), caption_justify="left",
                      box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))  # fmt: skip
        if wide:
            table.add_column("§")
        table.add_column("what", overflow="fold", ratio=1)
        for heading in ("paper", "measured", *(["clipped", "rounded"] if wide else [])):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("direction")
        table.add_column("off by", justify="right", no_wrap=True)
        table.add_column("size", max_width=12)
        if wide:
            table.add_column("n × seeds", no_wrap=True)
        last = ""
        for judged in self.rows:
            if judged.experiment != last:
                table.add_section()
            last, row = judged.experiment, judged.row
            direction = Text(judged.direction(), "bold red" if judged.holds is False else "")
            size = Text(judged.size(), "bold red" if judged.in_spread is False else "")
            if wide:
                figures = (judged.figures(variant, short=True) for variant in (None, "clipped", "rounded"))
                table.add_row(row.section, row.what, row.paper(), *figures, direction, judged.off_by(), size,
                              judged.examples())  # fmt: skip
            else:
                own, of_paper = (text.partition(" / ")[0] for text in (judged.figures(), row.paper()))
                table.add_row(row.what, of_paper, own, direction, judged.off_by(), size)
        return table

    # ---- files

    def write(self) -> None:
        """paper.json, the figures, and report.html, in the run's directory."""
        content = self.content()
        write_json(self.workspace.directory / "paper.json", content)
        figures = draw_all(self.workspace, self.found, self.histories())
        template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
            (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
        )
        page = template.render(
            report=self,
            title=TITLE,
            caption=CAPTION + VERDICTS,
            figures=[(title, caption, _embedded(path)) for title, caption, path in figures],
            experiments=[
                (name, EXPERIMENTS[name], self.command([name], self.n_seeds(name))) for name in self.found
            ],
            models=self.models(),
            not_run=self.not_run(),
            environment=content["environment"],
            settings=asdict(self.workspace.settings),
        )
        with atomic_writer(self.workspace.directory / "report.html") as file:
            file.write(page.encode(errors="replace"))

    def content(self) -> dict[str, Any]:
        """All of it for other programs; times are apart, for they differ between two runs."""
        return {
            "command": " && ".join(self.commands()),
            "complete": self.complete,
            "dataset": self.dataset,
            "cifar": self.cifar(),
            "changes": [asdict(change) for change in self.workspace.changes],
            "settings": asdict(self.workspace.settings),
            "rows": [
                {
                    "key": judged.row.key,
                    "section": judged.row.section,
                    "what": judged.row.what,
                    "paper": {"error": judged.row.error, "confidence": judged.row.confidence},
                    "measured": asdict(judged.mean),
                    "deviation": None if judged.deviation is None else asdict(judged.deviation),
                    "by_seed": [asdict(measurement) for measurement in judged.by_seed],
                    "spread": judged.row.spread,
                    "in_spread": judged.in_spread,
                    "claim": judged.row.claim or None,
                    "claim_holds": judged.holds,
                    "remark": judged.row.remark or None,
                }
                for judged in self.rows
            ],
            "not_run": [{"what": row.what, "why": why} for row, why in self.not_run()],
            "choices": {name: EXPERIMENTS[name].CHOICES for name in self.found},
            "data": {
                name: {str(seed): run.data for seed, run in runs.items() if run.data}
                for name, runs in self.found.items()
            },
            "histories": {
                name: {str(seed): history for seed, history in runs.items()}
                for name, runs in self.histories().items()
            },
            "environment": environment(self.workspace.settings.backend),
            "timing": {
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
                "seconds": self.seconds,
                "measuring": {
                    name: [run.seconds for run in runs.values()] for name, runs in self.found.items()
                },
            },
        }

    def n_seeds(self, name: str) -> int:
        """How many seeds an experiment has here, or is to have."""
        planned = len(self.seeds) if name in self.names else 0
        return max([planned, *(seed + 1 for seed in self.found.get(name, {}))])

    def commands(self) -> list[str]:
        """What to type for all of these figures: a line for each number of seeds."""
        by_count: dict[int, list[str]] = {}
        for name in EXPERIMENTS:
            if name in self.left_out and name not in self.found:
                by_count.setdefault(len(self.seeds), []).append(name)
            elif name in self.names or name in self.found:
                by_count.setdefault(self.n_seeds(name), []).append(name)
        return [self.command(names, count) for count, names in by_count.items()]

    def models(self) -> list[tuple[str, str, int, float]]:
        """(name, what, epochs, training cost at the end) of every model, with the first seed."""
        first = {name: next(iter(runs.values())) for name, runs in self.histories().items() if runs}
        return [(name, RECIPES[name].what, len(history["stage"]), history["training_cost"][-1])
                for name, history in first.items()]  # fmt: skip

    def reasons(self) -> dict[str, str]:
        """The experiments that this run leaves out, and why."""
        scale = self.workspace.settings.scale

        def why(name: str) -> str:
            if DATA[name] == "cifar":
                return "needs the data: --cifar DIR, a directory with the binary version of CIFAR-10"
            return f"not run at the scale {scale}: --rows {name} --scale {EXPERIMENTS[name].SCALES[0]}"

        return {name: why(name) for name in self.left_out if name not in self.found}

    def not_run(self) -> list[tuple[Row, str]]:
        """The rows of the paper that this run does not have, and why."""
        return [(row, why) for name, why in self.reasons().items() for row in EXPERIMENTS[name].ROWS]


def judge(row: Row, name: str, by_seed: list[Measurement], means: dict[str, Measurement]) -> Judged:
    mean = means[row.key]
    counted = {key: each for key, each in means.items() if each.examples}
    try:
        holds = None if row.holds is None else bool(row.holds(counted))
    except KeyError:  # a row that it speaks of was not measured, or had nothing to count
        holds = None

    def chance(measured: Measurement) -> float:
        """Two standard deviations of the number of mistakes, in percent."""
        p = min(max(measured.error / 100, 1 / measured.examples), 1.0)
        return 200 * (max(p * (1 - p), 0.0) / measured.examples) ** 0.5

    def within(measured: Measurement | None) -> bool | None:
        if row.spread is None or measured is None or not measured.examples:
            return None
        slack = chance(measured)
        return row.spread[0] - slack <= measured.error <= row.spread[1] + slack

    deviation = over_seeds(statistics.stdev, by_seed) if len(by_seed) > 1 else None
    inside = within(mean)
    slack = None if inside is None else chance(mean)
    return Judged(row, name, by_seed, mean, deviation, holds, inside, within(mean.rounded), slack)


def over_seeds(statistic: Any, measurements: Iterable[Measurement]) -> Measurement | None:
    """A statistic of each figure over the seeds; None, of a figure or of all, if too few have it. A seed that
    found no example to count is left out, unless all did."""
    measurements = list(measurements)
    measurements = [m for m in measurements if m.examples] or measurements

    def of(values: Iterable[float | None]) -> float | None:
        given = [value for value in values if value is not None]
        enough = len(given) >= (2 if statistic is statistics.stdev else 1)
        return float(statistic(given)) if enough else None

    def variant(name: str) -> Measurement | None:
        given = [getattr(m, name) for m in measurements if getattr(m, name) is not None]
        return over_seeds(statistic, given) if given else None

    error = of([m.error for m in measurements])
    return None if error is None else Measurement(
        error, of([m.confidence for m in measurements]), measurements[0].examples,
        variant("clipped"), variant("rounded"),
    )  # fmt: skip


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def environment(name: str) -> dict[str, Any]:
    """What the figures may depend on beside the settings: versions and machine."""
    library = backend.get(name)
    device = None
    if name == "cupy":
        device = library.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {
        **code_and_machine(),
        "backend": name,
        "backend_version": library.xp.__version__,
        "device": device,
    }
