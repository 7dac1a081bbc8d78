"""Train, attack, and show what was measured beside the paper's figures: a table, figures, a report."""

from __future__ import annotations

import argparse
import os
import shlex
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from joblib import cpu_count
from rich.console import Console

from benchmarks import cifar, cluster, mnist
from benchmarks.examples import fingerprint
from benchmarks.experiments import CORE, DATA, EXPERIMENTS, RECIPES
from benchmarks.output import check_writable_directory, terminal
from benchmarks.processes import LOCAL, on_ray, parallel
from benchmarks.report import Report
from benchmarks.watching import Work, watching
from benchmarks.workspace import Piece, Settings, Source, Workspace, source_fingerprint
from minigrad import backend
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

SEEDS = {"quick": 1, "paper": 5}
REPORT = "report.html"
CLUSTERS = {"dask": "distributed", "ray": "ray"}  # options, and the libraries that they need
MOST = {"epochs": 1_000_000, "seeds": 1000, "jobs": 10_000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "rows:\n" + "\n".join(map(described, EXPERIMENTS))
    parser.add_argument("--rows", nargs="+", choices=[*EXPERIMENTS, "all"], metavar="NAME", default=[*CORE],
                        help="the experiments to run: all, or some of those that are listed below "
                        f"(default: {' '.join(CORE)})")  # fmt: skip
    parser.add_argument("--scale", choices=[*SEEDS], default="quick",
                        help="quick: minutes, one seed; paper: the published settings, five seeds: half "
                        "a day on two cores, with --rows all weeks (default: quick)")  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="epochs of every training; at the paper scale N at most"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N − 1, instead of the scale's")
    parser.add_argument("--backend", choices=["numpy", "cupy"], default=None,
                        help="array library (default: MINIGRAD_BACKEND, else numpy)")  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N",
                        help="processes that train and measure at the same time, each with its share of "
                        "the threads, whatever OMP_NUM_THREADS says (default: one a processor, and "
                        "one in all on a GPU)")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dask", metavar="ADDRESS",
                       help="let a Dask cluster do the work: the address of its scheduler, such as "
                       "tcp://10.0.0.1:8786, or local: processes of this machine (extra: dask)")  # fmt: skip
    where.add_argument("--ray", metavar="ADDRESS",
                       help="the same with a Ray cluster, whose machines see this clone, the data and --out "
                       "under the same paths (extra: ray)")  # fmt: skip
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=None,
                        help="go on from the run in --out (default: if there is one with the same "
                        "settings); --no-resume begins anew")  # fmt: skip
    parser.add_argument("--data", default=str(mnist.DIRECTORY), metavar="DIR",
                        help="directory with MNIST's four IDX files (default: the copy that comes "
                        "with this repository)")  # fmt: skip
    parser.add_argument("--cifar", default=None, metavar="DIR",
                        help="directory with the six files of CIFAR-10's binary version, or with the folder "
                        "that its archive unpacks to; without it the rows of cifar are left out")  # fmt: skip
    parser.add_argument("--out", default=None, metavar="DIR",
                        help="where report.html, paper.json, figures and checkpoints go "
                        "(default: results/SCALE)")  # fmt: skip
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="no progress bar, or, off a terminal, lines: the table alone",
    )


def described(name: str) -> str:
    """What an experiment shows, for --help."""
    shows = " ".join((EXPERIMENTS[name].__doc__ or "").split())
    return textwrap.fill(shows, 100, initial_indent=f"  {name:<16}", subsequent_indent=" " * 18)


@dataclass(frozen=True)
class Plan:
    """The options of a run, checked."""

    names: tuple[str, ...]  # of the experiments to run
    left_out: tuple[str, ...]  # those that `all` leaves out, at this scale or without their data
    seeds: range
    jobs: int
    dask: str | None  # the address of a cluster, or local
    ray: str | None
    settings: Settings
    data: str
    cifar: Source | None
    out: str
    resume: bool | None
    quiet: bool
    command: Callable[[int, Iterable[str], int], str]  # of threads, rows and seeds: what to type for them

    def where(self) -> str:
        """The cluster, as it is typed."""
        given = {name: getattr(self, name) for name in CLUSTERS}
        return "".join(f" {_option(f'--{name}', address)}" for name, address in given.items() if address)

    def carrier(self) -> str:
        """What does the work, in words."""
        cluster = self.dask or self.ray
        return f"the cluster {cluster}" if cluster not in (None, LOCAL) else f"up to {self.jobs} processes"

    def typed(self, threads: int) -> str:
        """This very command, with every setting that the figures depend on."""
        return self.command(threads, [*self.names, *self.left_out], len(self.seeds))


def checked(options: argparse.Namespace) -> Plan:
    """What the command line asks for; an error if it cannot be done."""
    n_seeds = SEEDS[options.scale] if options.seeds is None else options.seeds
    for name, count in (("epochs", options.epochs), ("seeds", n_seeds), ("jobs", options.jobs)):
        if count is not None and check_count(f"--{name}", count) > MOST[name]:
            raise ArgumentError(f"--{name} must be at most {MOST[name]}, got {count}")
    for name in ("out", "cifar", "dask", "ray"):
        if getattr(options, name) == "":
            raise ArgumentError(
                f"--{name} must be {'an address' if name in CLUSTERS else 'a directory'}, got ''"
            )
    elsewhere = is_elsewhere(options)
    names, left_out = chosen(options.rows, options.scale, options.cifar is not None)
    library = backend.current() if options.backend is None else backend.get(options.backend)
    data = os.path.expanduser(options.data)
    train, test = mnist.load(data)
    sets: dict[str, Any] = {"digits": (train, test)}
    source = None
    if options.cifar is not None:
        directory = os.path.expanduser(options.cifar)
        cifar.files(directory)  # that they are there, whether or not these rows need them
        if "cifar" in map(DATA.get, names):
            sets["cifar"] = cifar.load_pixels(directory)
            source = Source("cifar", directory, fingerprint(*sets["cifar"]))
    for model in dict.fromkeys(model for name in names for model in EXPERIMENTS[name].USES):
        RECIPES[model].check_large_enough(*sets[RECIPES[model].data], options.scale)
    jobs = options.jobs or usual_jobs(library.name)
    settings = Settings(options.scale, options.epochs, library.name, fingerprint(train, test),
                        1 if elsewhere else threads_of_each(jobs), source_fingerprint())  # fmt: skip
    return Plan(
        names=tuple(names),
        left_out=tuple(left_out),
        seeds=range(n_seeds),
        jobs=jobs,
        dask=options.dask,
        ray=options.ray,
        settings=settings,
        data=data,
        cifar=source,
        out=os.path.join("results", options.scale)
        if options.out is None
        else os.path.expanduser(options.out),
        resume=options.resume,
        quiet=options.quiet,
        command=partial(command, options, library.name),
    )


def is_elsewhere(options: argparse.Namespace) -> bool:
    """Whether the machines of a cluster do the work; an error if they cannot be asked."""
    addresses = {name: given for name in CLUSTERS if (given := getattr(options, name)) is not None}
    for name in addresses:
        if find_spec(CLUSTERS[name]) is None:
            raise ArgumentError(f"--{name} needs {CLUSTERS[name]}: pip install -e '.[benchmarks,{name}]'")
    elsewhere = any(address != LOCAL for address in addresses.values())
    if elsewhere and options.jobs is not None:
        raise ArgumentError("--jobs must be left out with a cluster's address: the cluster has its workers")
    return elsewhere


def run(options: argparse.Namespace) -> None:
    """Check everything, then train, measure and report what is not yet done."""
    plan = checked(options)
    workspace = Workspace(plan.out, plan.settings, plan.data, plan.cifar)
    workspace.check(plan.resume)  # so that nothing is left in a directory that is refused
    check_writable_directory("--out", plan.out)
    with workspace.owned():
        workspace.begin(plan.resume)
        go_on(plan, workspace)


def go_on(plan: Plan, workspace: Workspace) -> None:
    """Do what is missing in the workspace, and report. What is done is shown after an interruption too."""
    console = terminal(170)
    asked = [(name, seed) for name in plan.names for seed in plan.seeds]
    of_before = [(name, seed) for name in EXPERIMENTS for seed in workspace.seeds_found(name)]
    # All measurements and histories of the report are read now: what is damaged is told before any work.
    pieces = list(dict.fromkeys([*asked, *of_before]))
    there = {piece for piece in pieces if workspace.found(*piece) is not None}
    measurements = [piece for piece in asked if piece not in there]
    measurements.sort(key=lambda piece: -len(EXPERIMENTS[piece[0]].USES))  # many models take long
    used = dict.fromkeys((model, seed) for name, seed in pieces for model in EXPERIMENTS[name].USES
                         if DATA[model] != "cifar" or workspace.cifar)  # fmt: skip
    for piece in used:
        workspace.history(*piece)
    trainings = [piece for piece in used if not workspace.epochs_done(*piece)[1]]
    work = Work(workspace, [*used], asked)
    trainings.sort(key=lambda piece: -work.effort(piece[0]))  # long ones first fill the processors
    began = time.time()
    threads = workspace.settings.threads
    report = Report(workspace, [*plan.names], [*plan.left_out], plan.seeds, partial(plan.command, threads))
    interrupted = False
    try:
        with (
            carried(plan, workspace, len(trainings), len(measurements)) as (at_once, train, measure),
            watching(console, plan.quiet, work, at_once) as progress,
        ):
            for _ in train(trainings):
                pass
            for piece in measure(measurements):
                progress(piece)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        report.collect(time.time() - began)
        written = False
        try:
            if report.rows:
                report.write()
                written = True
        finally:  # the table is shown even if the disk is full
            show(console, plan, report, written)
            if interrupted and not report.complete:
                goes_on = f"The same command goes on from here: {plan.typed(threads)}{plan.where()}"
                console.print(f"{work.state()}. {goes_on}", soft_wrap=True)


Carrier = Callable[[Sequence[Piece]], Iterator[Piece]]


@contextmanager
def carried(plan: Plan, workspace: Workspace, *pieces: int) -> Iterator[tuple[int, Carrier, Carrier]]:
    """(how much is done at the same time, what trains models, what measures): processes of this machine, or a
    cluster, for so many pieces of each. Without any a cluster is not asked."""
    jobs = max(1, min(plan.jobs, max(pieces)))
    with ExitStack() as stack:
        if plan.dask is not None and any(pieces):
            workers = stack.enter_context(cluster.connected(plan.dask, jobs, workspace))
            yield workers.places(), workers.train, workers.measure
        else:
            if plan.ray is not None and any(pieces):
                jobs = stack.enter_context(on_ray(plan.ray, jobs))
            yield jobs, *(partial(parallel, jobs, work) for work in (workspace.train, workspace.measure))


def show(console: Console, plan: Plan, report: Report, written: bool) -> None:
    """The table, what it took, and where the report is, if there is something to show."""
    settings = report.workspace.settings
    if not report.rows:
        return
    console.print(report.table(console.width))
    console.print(f"{report.extent()}. {report.verdict()}", soft_wrap=True)
    threads = f"{settings.threads} thread{'s' * (settings.threads > 1)} each"
    console.print(
        f"{report.seconds:.0f} s for this command: {settings.backend}, {plan.carrier()}, {threads}"
        f"{'' if report.complete else '; NOT COMPLETE'}."
        f"{f' {report.workspace.directory / REPORT}' if written else ''}",
        soft_wrap=True,
    )


def chosen(rows: list[str], scale: str, with_cifar: bool) -> tuple[list[str], list[str]]:
    """(the experiments to run, those that `all` leaves out, at this scale or without their data)."""
    everything = "all" in rows
    names = [*EXPERIMENTS] if everything else list(dict.fromkeys(rows))
    elsewhere = [name for name in names if scale not in getattr(EXPERIMENTS[name], "SCALES", SEEDS)]
    lacking = [name for name in names if DATA[name] == "cifar" and not with_cifar]
    if elsewhere and not everything:
        (needed,) = EXPERIMENTS[elsewhere[0]].SCALES
        raise ArgumentError(f"--rows {elsewhere[0]} needs --scale {needed}, got {scale}")
    if lacking and not everything:
        raise ArgumentError(f"--rows {lacking[0]} needs --cifar, the directory of CIFAR-10's files, got none")
    left_out = [*elsewhere, *lacking]
    return [name for name in names if name not in left_out], left_out


def usual_jobs(library: str) -> int:
    """How many processes there are unless told: one a processor; one for a GPU."""
    return 1 if library == "cupy" else cpu_count()


def threads_of_each(jobs: int) -> int:
    return max(1, cpu_count() // jobs)


def command(options: argparse.Namespace, library: str, threads: int, names: Iterable[str], seeds: int) -> str:
    """What to type for the figures of these experiments, with every setting that they depend on."""
    names = list(names)
    rows = "all" if set(names) == set(EXPERIMENTS) else " ".join(names)
    epochs = "" if options.epochs is None else f" --epochs {options.epochs}"
    data = "" if options.data == str(mnist.DIRECTORY) else f" {_option('--data', options.data)}"
    # Rows that an earlier command measured may need what this one was not given.
    needed = rows != "all" and "cifar" in map(DATA.get, names)
    directory = options.cifar or ("DIR" if needed else None)
    images = "" if directory is None else f" {_option('--cifar', directory)}"
    out = "" if options.out is None else f" {_option('--out', options.out)}"
    # What shares out the threads that the run began with, whatever --jobs is now.
    usual = threads == threads_of_each(usual_jobs(library))
    jobs = "" if usual else f" --jobs {max(1, cpu_count() // threads)}"
    return (
        f"python -m benchmarks paper --rows {rows} --scale {options.scale}{epochs} "
        f"--seeds {seeds} --backend {library}{jobs}{data}{images}{out}"
    )


def _option(name: str, value: str) -> str:
    return shlex.quote(f"{name}={value}") if value.startswith("-") else f"{name} {shlex.quote(value)}"
