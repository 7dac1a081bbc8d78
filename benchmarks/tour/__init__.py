"""One page, in one file, on which a person breaks a network and follows the gradient that did it."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import minigrad as mg
from benchmarks import mnist
from benchmarks.mnist import Digits
from benchmarks.output import check_writable_directory, terminal
from benchmarks.tour.networks import EPSILON, EXAMINED, PIECES, UNITS, Network, rounded, trained
from minigrad.checks import check_count

HERE = Path(__file__).parent
FILE = "tour.html"
EPOCHS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N",
                        help="that the two networks are trained for (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", default="results/tour", metavar="DIR",
                        help=f"where {FILE} goes (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Train, and write the page."""
    check_count("--epochs", options.epochs)
    check_count("--seed", options.seed, low=0)
    directory = check_writable_directory("--out", options.out)
    networks, page = made(options.epochs, options.seed)
    path = Path(directory) / FILE
    path.write_text(page, encoding="utf-8")
    console = terminal(120)
    for net in networks:
        console.print(f"{net.name}: {errors_of(net)}")
    console.print(f"{path}, {path.stat().st_size / 1000:.0f} kB: open it in a browser")


def made(epochs: int = EPOCHS, seed: int = 0) -> tuple[list[Network], str]:
    """The two networks, and the page."""
    train, test = mnist.load()
    networks = [
        trained("plain", False, train, test, epochs, seed),
        trained("trained on adversarial examples", True, train, test, epochs, seed),
    ]
    return networks, page_of(networks, chosen(networks, test))


def chosen(networks: list[Network], test: Digits) -> Digits:
    """Two digits of each class that all of the networks know: the one that the plain network is surest of,
    and one of the tenth that it is least sure of, whose cost rises from the start."""
    x, y = test.x[:EXAMINED].astype(np.float64), test.y[:EXAMINED]
    known = np.all([net.model.predict(x) == y for net in networks], axis=0)
    sure = networks[0].model.predict_proba(x)[np.arange(len(y)), y]
    places = []
    for label in range(10):
        own = np.flatnonzero(known & (y == label))
        by_sureness = own[np.argsort(sure[own], kind="stable")]
        places += [by_sureness[-1], by_sureness[len(own) // 10]]
    return test[np.array(places)]


def page_of(networks: list[Network], digits: Digits) -> str:
    """The page, with all that it needs."""
    data = {
        "networks": [weights_of(net) for net in networks],
        "digits": [{"label": int(y), "pixels": coded(np.rint(255 * x).astype(np.uint8))}
                   for x, y in zip(digits.x, digits.y, strict=True)],
        "rules": rules_of(networks[0], digits),
    }  # fmt: skip
    about = (
        f"Two networks of {UNITS} maxout units with {PIECES} pieces, trained when this page was made, with "
        f"weights of 8 bits. Errors on {EXAMINED:,} test digits, clean, after one step of ε = {EPSILON}, "
        "and after ten smaller ones within ε, in valid pixels: "
        + "; ".join(f"{net.name}, {errors_of(net)}" for net in networks)
        + ". The digits are MNIST’s."
    )
    parts = {name: (HERE / file).read_text(encoding="utf-8")
             for name, file in (("style", "page.css"), ("walk", "walk.js"), ("page", "page.js"))}  # fmt: skip
    template = jinja2.Template(
        (HERE / "page.html").read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined
    )
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return template.render(parts, networks=networks, about=about, data=text)


def errors_of(net: Network) -> str:
    return f"{net.clean_error:.1%} clean, {net.one_step_error:.1%} and {net.ten_steps_error:.1%}"


def weights_of(net: Network) -> dict[str, Any]:
    (hidden,) = net.model.hidden
    return {"name": net.name, "pieces": PIECES, "W1": matrix_of(hidden.W), "b1": hidden.b.numpy().tolist(),
            "W2": matrix_of(net.model.output.W), "b2": net.model.output.b.numpy().tolist()}  # fmt: skip


def matrix_of(W: mg.Tensor) -> dict[str, Any]:
    """The whole numbers as signed bytes, row by row, and each column's step. W was rounded before, so this is
    all of it."""
    whole, scales = rounded(W.numpy())
    return {"rows": len(whole), "columns": whole.shape[1], "values": coded(whole), "scales": scales.tolist()}


def coded(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def cost_of(model: Any, x: mg.Tensor, label: int) -> tuple[mg.Tensor, dict[mg.Tensor, str]]:
    """J = ln Σ eᶻ − z[label] of one digit (1, 784), and what the page calls the results."""
    a = model.hidden[0](x)
    h = mg.maxout(a, PIECES)
    z = model.output(h)
    over_all, own = mg.logsumexp(z, axis=1), z[:, label]
    J = over_all - own
    return J, {x: "x", a: "a", h: "h", z: "z", over_all: "logsumexp", own: "z[label]", J: "J"}


def rules_of(net: Network, digits: Digits) -> dict[str, dict[str, str]]:
    """The text of the engine's rule for each edge of the page's graph, and where it stands."""
    x = mg.Tensor(digits.x[:1].astype(np.float64), requires_grad=True)
    J, names = cost_of(net.model, x, int(digits.y[0]))
    found = {}
    for visit in mg.walkthrough(J).visits:
        for share in visit.shares:
            if share.argument in names:
                edge = f"{names[visit.result]}>{names[share.argument]}"
                stands_for = [f"{name} for {names[value]}" for name, value in share.given.items()
                              if isinstance(value, mg.Tensor) and names.get(value, name) != name]  # fmt: skip
                where = f"in it, {', '.join(['g stands for the cotangent', *stands_for])}"
                found[edge] = {"text": share.rule.text, "place": f"{share.rule.place}; {where}"}
    return found
