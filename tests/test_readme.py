"""What the READMEs show runs, says what it prints, and leads where it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments import CORE
from benchmarks.speed.overhead import OPERATIONS
from benchmarks.speed.squeezenet import WORKS as PHOTOS
from docs import pictures

ROOT = Path(__file__).parent.parent
README, BENCHMARKS = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    BENCHMARKS,
    ROOT / "tests" / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference"),
]
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_example_runs_alone(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[number], "<README.md>", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    # What a comment at the end of a print says.
    said = re.findall(r"^print\(.*\)  # .*?(\[[^\]]*\]|\d+\.\d+)$", BLOCKS[number], re.MULTILINE)
    assert printed[: len(said)] == said
    assert number > 1 or len(said) == (2, 1)[number]
    if "mg.save" in BLOCKS[number]:
        assert (tmp_path / "model.npz").is_file()
        assert 0.0 <= float(printed[0]) < 1.0


def test_the_table_is_the_reference_run() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "paper-quick.json").read_text())
    core = [row for row in report["rows"] if row["key"].split(".")[0] in CORE]
    assert {row["key"].split(".")[0] for row in core} == set(CORE)
    for row in core:
        (line,) = (line for line in BENCHMARKS.read_text().splitlines() if f"| {row['what']} |" in line)
        for figures, deviation in (
            (row["measured"], row["deviation"]),
            (row["measured"]["clipped"], row["deviation"]["clipped"]),
            (row["measured"]["rounded"], row["deviation"]["rounded"]),
        ):
            if figures is not None:
                assert f"{figures['error']:.2f} ± {deviation['error']:.2f}" in line
        assert f"{row['measured']['examples']} × {len(row['by_seed'])}" in line


def test_the_last_rows_are_the_reference_run_s() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "paper-quick.json").read_text())
    lines = BENCHMARKS.read_text().splitlines()
    last = [row for row in report["rows"] if row["key"].split(".")[0] in ("convolutional", "boltzmann")]
    assert len(last) == 7
    for row in last:
        (line,) = (line for line in lines if f"| {row['what']} |" in line)
        for figures in (row["measured"], row["measured"]["clipped"], row["measured"]["rounded"]):
            if figures is not None:
                assert f"| {figures['error']:.2f} / {figures['confidence']:.1f} |" in line
        assert f"| {row['measured']['examples']} × {len(row['by_seed'])} |" in line
    assert any("CIFAR-10" in line and "needs the data: `--cifar`" in line for line in lines)


def test_the_counts_of_claims_are_the_reference_run_s() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "paper-quick.json").read_text())
    judged = [row["claim_holds"] for row in report["rows"] if row["claim_holds"] is not None]
    assert (
        f"of {len(judged)} claims, three of which are not the paper's, {sum(judged)} hold"
        in README.read_text()
    )
    assert f"Of the {len(judged)} claims judged in all rows {sum(judged)} hold" in BENCHMARKS.read_text()


def speed_table() -> list[str]:
    """The rows of the table of times: what floor.json and peers.json hold, and whether an aim is missed."""
    speed = ROOT / "benchmarks" / "results" / "speed"
    floor, peers = (json.loads((speed / f"{name}.json").read_text())["works"] for name in ("floor", "peers"))
    floor = {work["what"]: work for work in floor.values()}

    def digits(number: float) -> str:
        return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}"

    def own(what: str) -> list[str]:
        if what not in floor:
            return ["–", "–"]
        work = floor[what]
        ratio, milliseconds = work["ratio"]["median"], 1000 * work["median_seconds"]["minigrad"]
        missed = ", **missed**" if round(ratio, 2) > work["target"] else ""
        return [f"{digits(ratio)} ({digits(milliseconds)} ms)", f"{work['target']:.2f}{missed}"]

    def beside(what: str) -> list[str]:
        times = peers.get(what, {})
        names = ("minigrad", "minigrad, captured", "torch", "jax", "mygrad", "autograd")
        return [digits(times[name]["to_products"]["median"]) if name in times else "–" for name in names]

    works = [what for what in {**floor, **peers} if what in floor or "products" in peers[what]]
    return ["| " + " | ".join([what, *own(what), *beside(what)]) + " |" for what in works]


def speed_sentences() -> list[str]:
    """What is said of times beside the table, of the same results."""
    speed = ROOT / "benchmarks" / "results" / "speed"
    names = ("overhead", "peers", "one_thread/peers", "squeezenet", "growth")
    overhead, peers, alone, photos, growth = (
        json.loads((speed / f"{name}.json").read_text()) for name in names
    )
    one = "one operation on 8 elements"

    def microseconds(results: Any, name: str) -> str:
        return f"{1e6 / OPERATIONS * results['works'][one][name]['median_seconds']:.1f}"

    def multiples(units: int) -> list[str]:
        (times,) = (work for what, work in alone["works"].items() if f"step, {units} units" in what)
        names = ("minigrad", "minigrad, captured", "torch", "jax")
        return [f"{times[name]['to_products']['median']:.{2 if units == 240 else 1}f}" for name in names]

    def photo(what: str, contender: str) -> str:
        ratio = photos["works"][what][contender]["to_torch"]
        return "{median:.2f} [{lower_quartile:.2f}, {upper_quartile:.2f}]".format(**ratio)

    whole = overhead["operations"]["minigrad, forward and backward"]["microseconds"]["median"]
    others = ("minigrad", "torch", "mygrad", "autograd")
    beside_jax = [cell["captured_to_jax"]["median"] for cell in growth["cells"]]
    to_torch = 1 / peers["works"][one]["torch"]["to_minigrad"]["median"]
    return [
        "in microseconds: {} in `overhead`; in `peers` {}, PyTorch {}, MyGrad {}, autograd {}.".format(
            f"{whole:.1f}", *(microseconds(peers, name) for name in others)
        ),
        f"the median of their ratios is {to_torch:.2f}",
        "the step of 240 units takes {}, captured {}, in PyTorch {}, in JAX {}; ".format(*multiples(240))
        + "of 32 units {}, captured {}, {} and {}; ".format(*multiples(32))
        + "of 4 units {}, captured {}, {} and {}; ".format(*multiples(4))
        + f"one operation {microseconds(alone, 'minigrad')} µs and PyTorch's {microseconds(alone, 'torch')}.",
        *(
            f"| {what} | {photo(what, 'minigrad forward')} | {photo(what, 'minigrad gradient')} "
            f"| {PHOTOS[what][2] or '–'} | {photo(what, 'channels_last gradient')} |"
            for what in photos["works"]
        ),
        f"a captured step takes {min(beside_jax):.1f} to {max(beside_jax):.2f} times JAX's compiled time",
    ]


def test_what_is_said_of_times_is_that_of_the_results() -> None:
    text = BENCHMARKS.read_text(encoding="utf-8")
    for said in (*speed_table(), *speed_sentences()):
        assert said in text


def test_the_pictures_of_the_readmes() -> None:
    text = README.read_text(encoding="utf-8") + BENCHMARKS.read_text(encoding="utf-8")
    assert len(re.findall(r"!\[.*?\]\((.*?)\)", text)) >= 3


def test_every_chapter_has_a_picture() -> None:
    shown = set()
    for page in pictures.TOUR.glob("[0-9]*.md"):
        found = re.findall(r"!\[[^\]]*\]\((\S+)\)", page.read_text(encoding="utf-8"))
        assert found, page.name
        shown |= {name.removeprefix("pictures/").removesuffix(".svg") for name in found}
    assert pictures.PICTURES.keys() <= shown


def test_commands_name_tests_that_are_there() -> None:
    for page in PAGES:
        for names in re.findall(r"tests/test_(\{[\w,]+\}|\w+)\.py", page.read_text(encoding="utf-8")):
            for name in names.strip("{}").split(","):
                assert (ROOT / "tests" / f"test_{name}.py").exists(), (page.name, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for picture, target in re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        if target.startswith("pictures/"):  # of the tour, which the site draws
            assert page.parent == pictures.TOUR
            assert target.removeprefix("pictures/").removesuffix(".svg") in pictures.PICTURES
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if picture:
            assert there.read_bytes().startswith(b"\x89PNG")
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target
