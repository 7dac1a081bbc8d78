"""What a Module finds in itself, and what travels to another process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections import OrderedDict, deque, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attacks.gradients
import minigrad as mg
import minigrad.errors
import minigrad.testing.failures
from attacks.evaluation import Evaluation
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.generators import mask_generator, random_generator
from minigrad.lanes import Replaceable
from minigrad.modes import Setting
from minigrad.optim import SGD, exponential_decay, linear_ramp
from models import LogisticRegression, MaxoutNetwork, RBFNetwork, SoftmaxRegression
from tests.strict import StrictBackend


class Holder(mg.Module):
    """A Module of the attributes that are given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def parameter(number: float = 0.0) -> mg.Parameter:
    return mg.Parameter([number])


# ---- a structure, and the names of its Parameters by a plain recursion

structures = st.recursive(
    st.sampled_from(["parameter", "constant", "number"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", 3, 4]), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["p", "q", "r"]), inner, max_size=3).map(lambda d: ("module", d))
    ),
    max_leaves=12,
)


def built(structure: Any, path: str, own: list[tuple[str, Any]], inner: list[tuple[str, Any]]) -> Any:
    """The object, its Parameters by name in `own`, those of Modules within in `inner`."""
    if structure == "parameter":
        own.append((path, parameter()))
        return own[-1][1]
    if isinstance(structure, str):
        return mg.Tensor([1.0]) if structure == "constant" else 5
    if isinstance(structure, tuple) and len(structure) == 2 and structure[0] == "module":
        first: list[tuple[str, Any]] = []
        later: list[tuple[str, Any]] = []
        start = f"{path}." if path else ""
        module = Holder(**{k: built(v, f"{start}{k}", first, later) for k, v in structure[1].items()})
        inner += first + later
        return module
    if isinstance(structure, dict):
        return {key: built(value, f"{path}.{key}", own, inner) for key, value in structure.items()}
    return type(structure)(built(value, f"{path}.{i}", own, inner) for i, value in enumerate(structure))


@given(st.dictionaries(st.sampled_from(["u", "v", "w"]), structures))
def test_every_parameter_is_found_under_its_name(attributes: Any) -> None:
    expected: list[tuple[str, Any]] = []
    module = built(("module", attributes), "", [], expected)
    assert list(module.named_parameters().items()) == expected
    names = [name for name, _ in module.named_modules()]
    assert names[0] == ""
    assert len(set(names)) == len(names)
    module.zero_grad()
    state = {name: array + 1 for name, array in module.state_dict().items()}
    module.load_state_dict(state)
    assert all(p.item() == 1.0 for _, p in expected)


def test_a_parameter_that_was_replaced_is_missed() -> None:
    model = Holder(layer=mg.Linear(2, 3))
    layer, W = model.layer, model.layer.W
    for value in (W * 0.5, np.ones((2, 3)), 1.0, mg.Tensor(np.ones((2, 3)))):
        layer.W = value  # a function of weights that are given, to be checked, does so
        for ask in (model.parameters, model.state_dict, model.zero_grad, layer.named_parameters):
            with pytest.raises(
                ArgumentError, match="W of Linear must be a Parameter, as it was.*changed_in_p"
            ):
                ask()
        assert "cannot be listed" in repr(model)
    layer.W = {"low": mg.Parameter(np.ones((2, 1))), "rank": mg.Parameter(np.ones((1, 3)))}
    assert [*layer.named_parameters()] == ["W.low", "W.rank", "b"]
    layer.W = W
    assert model.parameters()[0] is W
    layer.W = None
    layer.W = np.ones((2, 3))
    with pytest.raises(ArgumentError, match="got ndarray"):
        model.parameters()
    layer.W = None
    assert [*model.named_parameters()] == ["layer.b"]
    del layer.W
    assert [*copy.deepcopy(model).named_parameters()] == ["layer.b"]


def test_a_parameter_in_a_slot_that_was_replaced_is_missed() -> None:
    class Slotted(mg.Module):
        __slots__ = ("W",)

        def __init__(self) -> None:
            self.W: Any = mg.Parameter(np.ones(2))

    model = Slotted()
    model.W = model.W - 0.1
    with pytest.raises(ArgumentError, match="W of Slotted must be a Parameter, as it was"):
        model.parameters()


def test_what_holds_parameters() -> None:
    class Slotted(mg.Module):
        __slots__ = ("W", "__hidden", "unset")

        def __init__(self) -> None:
            self.W = parameter()
            self.__hidden = [Holder(b=parameter())]

    class Both(mg.Module, list):  # type: ignore[type-arg]
        pass

    Pair = namedtuple("Pair", ["left", "right"])
    both = Both([parameter(), Holder(b=parameter())])
    module = Holder(
        d={"a": parameter(), "more": [(parameter(), {"x": parameter()})]},
        pair=Pair(1, parameter()),
        ordered=OrderedDict(one=parameter()),
        layers=[[Holder(W=parameter())]],
        slotted=Slotted(),
        both=both,
        names={"a", "b"},
        cache=[mg.exp(mg.Tensor([1.0], requires_grad=True)), mg.Tensor([1.0])],
    )
    assert list(module.named_parameters()) == [
        "d.a", "d.more.0.0", "d.more.0.1.x", "pair.1", "ordered.one", "layers.0.0.W",
        "slotted.W", "slotted._Slotted__hidden.0.b", "both.0", "both.1.b",
    ]  # fmt: skip
    assert list(both.named_parameters()) == ["0", "1.b"]
    assert [name for name, _ in module.named_modules("m")] == [
        "m", "m.layers.0.0", "m.slotted", "m.slotted._Slotted__hidden.0", "m.both", "m.both.1"
    ]  # fmt: skip
    assert Holder(d=deque([parameter()])).parameters() == []  # as the docstring says


class Shared(mg.Module):
    W = parameter()


class SharedModules(mg.Module):
    layers = ({"first": Holder(W=parameter())},)


class Derived(Shared):
    W = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Holder(W=mg.Tensor([1.0], requires_grad=True)), "^W must be a Parameter.*make it a Parameter"),
        (Holder(d={"a": [mg.Tensor([1.0], requires_grad=True)]}), r"^d\.a\.0 must be a Parameter"),
        (Holder(s={parameter()}), r"^s\.0 must stand .*a set has no order"),
        (Holder(m=Holder(s=frozenset([(1, Holder())]))), r"^m\.s\.0\.1 must stand .*a set has no order"),
        (Holder(s={mg.Tensor([1.0], requires_grad=True)}), r"^s\.0 must be a Parameter"),
        (Shared(), "^W must stand .* the class Shared share it, so set it in __init__"),
        (Holder(m=SharedModules()), r"^m\.layers\.0\.first must stand .* the class SharedModules"),
        (Holder(d={1: parameter(), "1": parameter()}), r"^d\.1 must be the name of one thing"),
        (Holder(d={"a.b": parameter(), "a": {"b": parameter()}}), r"^d\.a\.b must be the name of one"),
        (Holder(**{"a.0": parameter(), "a": [parameter()]}), r"^a\.0 must be the name of one"),
        (Holder(**{"a": Holder(W=parameter()), "a.W": parameter()}), r"^a\.W must be the name of one"),
        (Holder(d={1: Holder(), "1": Holder()}), r"^d\.1 must be the name of one"),
        (Holder(d={None: parameter()}), r"^d\.None must .* its key None is neither a string nor an integer"),
        (Holder(d={(1, 2): [Holder()]}), r"^d\.\(1, 2\)\.0 must .* its key \(1, 2\) is neither"),
    ],
)
def test_what_cannot_be_found_or_named(module: mg.Module, message: str) -> None:
    for ask in (module.parameters, module.state_dict, module.zero_grad, lambda: module.to(dtype=np.float64)):
        with pytest.raises(ArgumentError, match=message):
            ask()


def test_what_is_shadowed_is_not_shared() -> None:
    assert Derived().parameters() == []
    module = Shared()
    module.W = parameter()
    assert list(module.named_parameters()) == ["W"]


@pytest.mark.parametrize("attributes", [{"s": {Holder()}}, {"d": {1: Holder(), "1": Holder()}}])
def test_modules_without_a_name_are_not_switched_unseen(attributes: Any) -> None:
    with pytest.raises(ArgumentError, match="must"):
        Holder(**attributes).eval()


def test_what_is_reached_again_is_found_once() -> None:
    W = parameter()
    shared = Holder(W=W)
    module = Holder(first=[shared], second={"x": shared, "W": W})
    module.itself = module  # type: ignore[attr-defined]
    shared.up = module  # type: ignore[attr-defined]
    module.first.append(module.first)  # type: ignore[attr-defined]
    module.second["again"] = module.second  # type: ignore[attr-defined]
    assert module.named_parameters() == {"second.W": W}
    assert [name for name, _ in module.named_modules()] == ["", "first.0"]
    module.eval()
    assert not shared.training


def nested_modules(depth: int) -> Any:
    module = Holder(W=parameter())
    for _ in range(depth):
        module = Holder(W=parameter(), m=module)
    return module


def nested_lists(depth: int) -> Any:
    inner: Any = parameter()
    for _ in range(depth):
        inner = [inner, {}]
    return Holder(inner=inner)


def in_a_row(count: int) -> Any:
    return Holder(row=[parameter() for _ in range(count)], **{f"p{i}": parameter() for i in range(count)})


def one_list_in_all(count: int) -> Any:
    shared = [parameter() for _ in range(count)]
    return Holder(all=[Holder(shared=shared, next=i) for i in range(count)])


@pytest.mark.parametrize("build", [nested_modules, nested_lists, in_a_row, one_list_in_all])
def test_the_work_grows_as_the_structure(build: Any) -> None:
    def calls(size: int) -> int:
        module, count = build(size), 0

        def count_one(frame: Any, event: str, argument: Any) -> None:
            nonlocal count
            count += 1

        sys.setprofile(count_one)
        try:
            module.parameters()
        finally:
            sys.setprofile(None)
        return count

    assert calls(2000) < 2.1 * calls(1000)


# ---- copies, pickles, and a second process


def trained(library: str, steps: int = 3) -> tuple[Any, SGD]:
    with backend.use(library):
        model = MaxoutNetwork(4, 3, units=(3,), pieces=2, dropout=(0.8, 0.5), seed=1)
        parameters = model.named_parameters() if library == "numpy" else model.parameters()
        settings = {"momentum": linear_ramp(0.5, 0.7, 5), "max_norm": 0.02}
        optimiser = SGD(parameters, lr=exponential_decay(0.1, 1.5), **settings)  # type: ignore[arg-type]
    train(model, optimiser, steps)
    return model, optimiser


def train(model: Any, optimiser: SGD, steps: int = 3) -> None:
    library = backend.of(model.parameters()[0].data)
    x = library.asarray(np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4))
    for _ in range(steps):
        optimiser.zero_grad()
        model.cost(x, library.asarray(np.array([0, 1, 2, 1, 0]))).backward()
        optimiser.step()


def public_objects() -> dict[str, Any]:
    """One of every public class, in each of its states."""
    found: dict[str, Any] = {
        "decay": exponential_decay(0.1, 1.5, 1e-3),
        "ramp": linear_ramp(0.5, 0.7, 3),
        "module": Holder(d={"a": [parameter(3.0)]}),
        "fresh optimiser": SGD([parameter(1.0)], lr=0.1),
        "logistic": LogisticRegression(3),
        "softmax": SoftmaxRegression(3, 2).eval(),
        "rbf": RBFNetwork(3, 2),
        "evaluation": Evaluation(4, 0.5, 0.25, 2, 0.5, None, 0.75, 0.0),
        "random generator": random_generator(3),
        "mask generator": mask_generator(3),
        "no_grad": mg.no_grad(),
        "enable_grad": mg.enable_grad(),
        "detect_nonfinite": mg.detect_nonfinite(),
        "numpy": backend.NUMPY,
        "strict": backend.get("strict"),
    }
    for library in ("numpy", "strict"):
        found[f"{library} model"], found[f"{library} optimiser"] = trained(library)
    for name in ("random generator", "mask generator"):
        found[f"used {name}"] = copy.deepcopy(found[name])
        found[f"used {name}"].integers(0, 9, 3, dtype=np.uint16)
    for module in (minigrad.errors, minigrad.testing.failures, attacks.gradients):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, Exception):
                found[name] = kind(f"x must be a {name}")
                found[name].at = ("x", 3)
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] in ("minigrad", "models", "attacks"):
            functions = [f for f in vars(module).values() if isinstance(f, Replaceable)]
            found.update({f"{f.__module__}.{f.__qualname__}": f for f in functions})
    return found


def observed(thing: Any) -> Any:
    """What a user sees of it, to be compared by ==."""
    if isinstance(thing, (mg.Module, SGD)):
        state = {name: (str(array.dtype), array.tolist()) for name, array in thing.state_dict().items()}
        if isinstance(thing, SGD):
            return state, thing.max_norm, thing.lr if not callable(thing.lr) else thing.lr(7)
        parameters = thing.parameters()
        where = [backend.of(p.data).name for p in parameters]
        return (
            state,
            where,
            [m.training for _, m in thing.named_modules()],
            [p.requires_grad for p in parameters],
        )
    if isinstance(thing, np.random.Generator):
        return copy.deepcopy(thing).integers(0, 1 << 16, 9, dtype=np.uint16).tolist()
    if isinstance(thing, BaseException):
        return type(thing).__name__, thing.args, str(thing), vars(thing)
    if callable(thing) and type(thing).__module__ == "minigrad.optim.schedules":
        return [thing(t) for t in range(5)]
    if isinstance(thing, Setting):
        return thing.values
    if isinstance(thing, (Replaceable, backend.Backend)):
        return repr(thing).split(" at 0x")[0]
    return thing


class TestLinear:
    @pytest.mark.parametrize(
        ("weights", "deviation"), [("he", (2 / 400) ** 0.5), ("glorot", (2 / 700) ** 0.5)]
    )
    def test_its_weights_keep_the_size_of_a_signal(self, weights: str, deviation: float) -> None:
        layer = mg.Linear(400, 300, weights, seed=0)
        assert layer.W.dtype == layer.b.dtype == np.float32
        assert layer.W.numpy().std() == pytest.approx(deviation, rel=0.01)
        assert abs(layer.W.numpy().mean()) < 0.01 * deviation * 3
        assert not layer.b.numpy().any()
        if weights == "glorot":
            assert np.abs(layer.W.numpy()).max() <= np.sqrt(6 / 700)

    def test_seeds(self) -> None:
        def drawn(seed: Any) -> np.ndarray:
            return mg.Linear(3, 2, seed=seed).W.numpy()

        np.testing.assert_array_equal(drawn(5), drawn(5))
        np.testing.assert_array_equal(drawn(5), drawn(np.random.default_rng(5)))
        assert (drawn(None) != drawn(None)).all()
        generator = np.random.default_rng(0)
        assert (drawn(generator) != drawn(generator)).all()

    def test_weights_of_ones_own(self) -> None:
        layer = mg.Linear(3, 2, lambda shape, generator: np.ones(shape))
        assert layer([[1.0, 2.0, 3.0]]).numpy().tolist() == [[6, 6]]
        assert set(layer.named_parameters()) == {"W", "b"}
        for bad in (np.nan, 1e300):
            with pytest.raises(ArgumentError, match="^weights must be finite"):
                mg.Linear(3, 2, lambda shape, generator, bad=bad: np.full(shape, bad))
        with pytest.raises(TypeError, match="^weights must be a plain array, got a masked array"):
            mg.Linear(3, 2, lambda shape, generator: np.ma.masked_all(shape))


class TestConv2d:
    def test_it_is_conv2d_of_its_parameters(self) -> None:
        layer = mg.Conv2d(3, 5, (2, 4), stride=2, padding="same", seed=0)
        layer.b.data[...] = np.arange(5)
        assert {name: p.shape for name, p in layer.named_parameters().items()} == {
            "W": (2, 4, 3, 5),
            "b": (5,),
        }
        x = np.random.default_rng(0).random((2, 7, 6, 3), np.float32)
        np.testing.assert_array_equal(
            layer(x).numpy(), mg.conv2d(x, layer.W, layer.b, stride=2, padding="same").numpy()
        )

    def test_a_copy_computes_the_same(self) -> None:
        layer = mg.Conv2d(np.int8(1), np.int8(2), 3, stride=np.int8(2), padding=np.int8(100), seed=0)
        x = np.ones((1, 5, 4, 1), np.float32)
        other = mg.Conv2d(1, 2, 3, stride=2, padding=100, seed=1)
        other.load_state_dict(layer.state_dict())
        for copied in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            np.testing.assert_array_equal(copied(x).numpy(), layer(x).numpy())

    @pytest.mark.parametrize(
        ("weights", "deviation"), [("he", np.sqrt(2 / 150)), ("glorot", np.sqrt(2 / (150 + 500)))]
    )
    def test_its_weights_keep_the_size_of_a_signal(self, weights: Any, deviation: float) -> None:
        """Of the filters' own inputs and outputs, 5 · 5 · 6 and 5 · 5 · 20."""
        W = mg.Conv2d(6, 20, 5, weights=weights, seed=0).W.numpy()
        assert W.dtype == np.float32
        assert W.std() == pytest.approx(deviation, rel=0.03)

    def test_seeds(self) -> None:
        def drawn(seed: Any) -> np.ndarray:
            return mg.Conv2d(1, 2, 3, seed=seed).W.numpy()

        np.testing.assert_array_equal(drawn(5), drawn(np.random.default_rng(5)))
        assert (drawn(None) != drawn(None)).all()


class TestWhatAModuleShows:
    def test_names_shapes_and_counts(self) -> None:
        assert repr(mg.Linear(3, 20, seed=0)) == (
            "Linear(\n    W  (3, 20) float32,\n    b  (20,) float32,\n)  # 80 numbers"
        )
        assert repr(mg.Module()) == "Module()"

    def test_settings(self) -> None:
        assert repr(mg.Conv2d(3, 4, 2, stride=2)) == (
            "Conv2d(\n    stride=2, padding=0,\n    W  (2, 2, 3, 4) float32,\n    b  (4,) float32,\n)"
            "  # 52 numbers"
        )
        assert "pieces=2, units=(4,)," in repr(MaxoutNetwork(3, 2, units=(4,), pieces=2))

    def test_what_cannot_be_listed(self) -> None:
        module = mg.Module()
        module.found = {mg.Parameter(np.ones(2))}  # type: ignore[attr-defined]
        assert "Module(whose Parameters cannot be listed: found" in repr(module)

    def test_any_arguments_go_to_forward(self) -> None:
        class Sum(mg.Module):
            def forward(self, x: Any, y: Any, *, scale: float = 1.0) -> Any:
                return (x + y) * scale

        assert Sum()(mg.Tensor(1.0), 2.0, scale=3.0).item() == 9.0
        with pytest.raises(TypeError, match=r"Module does not define forward\(self, x\)"):
            mg.Module()(1.0)


class TestCopiesAndPickles:
    def test_what_comes_back_is_what_went(self) -> None:
        for name, thing in public_objects().items():
            before = observed(thing)
            for way in (copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))):
                again = way(thing)
                assert type(again) is type(thing), name
                assert observed(again) == before, name
                if isinstance(thing, (Replaceable, backend.Backend)):
                    assert again is thing
            assert observed(thing) == before, name
            assert thing == thing
            assert isinstance(hash(thing), int)
            assert type(thing).__name__.lower() in repr(thing).lower() or name in repr(thing), name

    def test_a_copy_is_trained_alone(self) -> None:
        for way in (copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))):
            model, optimiser = trained("numpy")
            twin, its = way((model, optimiser))
            assert [id(p) for p in its.parameters] == [id(p) for p in twin.parameters()]
            before = observed(model)
            train(twin, its)
            assert observed(model) == before
            train(model, optimiser)
            assert observed(model) == observed(twin)
            assert observed(optimiser) == observed(its)

    def test_a_block_of_evaluation_stays_here(self) -> None:
        model = SoftmaxRegression(3, 2)
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(ArgumentTypeError, match="cannot be copied or pickled"):
                way(model.evaluating())

    def test_a_second_process(self, tmp_path: Path) -> None:
        things = public_objects()
        runs = {library: trained(library) for library in ("numpy", "strict")}
        (tmp_path / "things").write_bytes(pickle.dumps((things, runs)))
        command = "import sys; from tests.test_modules import second_process; second_process(sys.argv[1])"
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-c", command, str(tmp_path)], cwd=root, check=True, timeout=100)
        there, trained_there = pickle.loads((tmp_path / "answer").read_bytes())
        for name, thing in things.items():
            assert there[name] == observed(thing), name
        for library, run in runs.items():
            train(*run)
            assert trained_there[library] == [observed(thing) for thing in run]


def second_process(folder: str) -> None:
    backend.register(StrictBackend())
    things, runs = pickle.loads((Path(folder) / "things").read_bytes())
    for run in runs.values():
        train(*run)
    answer = (
        {name: observed(thing) for name, thing in things.items()},
        {library: [observed(thing) for thing in run] for library, run in runs.items()},
    )
    (Path(folder) / "answer").write_bytes(pickle.dumps(answer))
