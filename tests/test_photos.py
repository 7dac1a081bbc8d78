"""Photos: SqueezeNet on a real one, files of every kind, and the command `python -m benchmarks photo`."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from attacks import evaluate, fast_gradient, fgsm, input_gradient, pgd
from benchmarks.__main__ import main
from benchmarks.photo import distinct
from benchmarks.photos import (
    LEVEL,
    Photo,
    class_names,
    class_number,
    most_probable,
    network,
    photos,
    read_photo,
)
from benchmarks.task import rounded_gradient
from minigrad import backend
from minigrad.errors import ArgumentError, DataError
from minigrad.testing import check_gradients
from models import SqueezeNet
from models.squeezenet import Fire

BEFORE_AND_AFTER = {"panda": ("giant panda", "red panda"), "koala": ("koala", "ring-tailed lemur")}


class TestOneGreyLevel:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("name", BEFORE_AND_AFTER)
    def test_gives_a_photo_another_name(self, name: str, dtype: Any, library: Any) -> None:
        model, x = network(dtype), library.asarray(read_photo(photos()[name]).x.astype(dtype))
        before, after = BEFORE_AND_AFTER[name]
        y = library.asarray(np.array([class_number("class", before)]))
        random = np.random.default_rng(0)
        signs = library.asarray(random.choice([-1.0, 1.0], x.shape).astype(dtype))
        for image, expected in (
            (x, before),
            (fgsm(model, x, y, epsilon=LEVEL), after),
            (x + LEVEL * signs, before),
        ):
            assert image.dtype == dtype
            (found, percent), *_ = most_probable(backend.to_numpy(model.predict_proba(image))[0])
            assert found == expected
            assert percent > 60

    def test_needs_a_gradient_that_does_not_round(self) -> None:
        x = read_photo(photos()["panda"]).x
        y = np.array([class_number("class", "giant panda")])
        true = np.sign(input_gradient(network(np.float64), x.astype(np.float64), y))
        model = network()
        ours, rounded = (np.sign(of(model, x, y)) for of in (input_gradient, rounded_gradient))
        assert (ours != true).mean() < 1e-3
        assert (rounded != true).mean() > 0.1


class TestSqueezeNet:
    def test_has_the_published_number_of_weights(self) -> None:
        assert sum(parameter.size for parameter in SqueezeNet().parameters()) == 1_235_496

    def test_starts_from_its_seed(self) -> None:
        first, same, other = (SqueezeNet(3, seed=seed).conv1.W.numpy() for seed in (0, 0, 1))
        assert (first == same).all()
        assert (first != other).any()

    def test_says_what_it_takes(self) -> None:
        model = SqueezeNet(3)
        for shape in ((224, 224, 3), (1, 3, 224, 224), (1, 223, 224, 3)):
            with pytest.raises(ArgumentError, match=r"x must have shape \(examples, 224, 224, 3\), got"):
                model(np.zeros(shape, np.float32))

    def test_gradients_of_its_parts(self) -> None:
        """In x and in every Parameter, to the second order."""
        generator = np.random.default_rng(0)
        fire = Fire(2, 2, 3, generator).to(dtype=np.float64)
        x = generator.normal(size=(2, 4, 5, 2))
        check_gradients(lambda x: mg.sum(fire(x) ** 2), x, order=2, exact=True)
        parts = [fire.squeeze1x1, fire.expand1x1, fire.expand3x3]
        owners = [(part, name) for part in parts for name in ("W", "b")]

        def cost(*arrays: Any) -> mg.Tensor:
            for (part, name), array in zip(owners, arrays, strict=True):
                vars(part)[name] = array
            return mg.sum(fire(x) ** 2)

        values = [generator.normal(size=getattr(part, name).shape) for part, name in owners]
        check_gradients(cost, *values, order=2, exact=True)

    @pytest.mark.parametrize("norm", [2, 1])
    def test_is_attacked_in_every_norm(self, norm: float) -> None:
        model, x = network(), np.concatenate([read_photo(photos()[name]).x for name in BEFORE_AND_AFTER])
        y = model.predict(x)
        found = fast_gradient(model, x, y, epsilon=1.0, norm=norm) - x
        lengths = np.abs(found).sum((1, 2, 3)) if norm == 1 else np.sqrt((found**2).sum((1, 2, 3)))
        np.testing.assert_allclose(lengths, 1.0, rtol=1e-3)
        result = evaluate(model, x, y, partial(pgd, epsilon=1.0, steps=2, norm=2), warn_above=None)
        assert result.clean_accuracy == 1.0

    def test_learns(self) -> None:
        """Every Parameter has a gradient, and a step that should lower the cost by a hundredth does."""
        model = SqueezeNet(2, seed=0)
        x = np.concatenate([read_photo(photos()[name]).x for name in BEFORE_AND_AFTER])
        y = np.array([0, 1])
        before = model.cost(x, y)
        before.backward()
        squares = {name: float((p.grad**2).sum()) for name, p in model.named_parameters().items()}
        assert all(squares.values()), squares
        for parameter in model.parameters():
            parameter.data -= np.float32(0.01 * before.item() / sum(squares.values())) * parameter.grad
            parameter.changed_in_place()
        assert model.cost(x, y).item() / before.item() == pytest.approx(0.99, abs=0.005)


class TestClasses:
    def test_have_one_name_each(self) -> None:
        assert len(set(class_names())) == 1000
        assert class_number("--target", "Gibbon") == 368
        assert class_names()[class_number("--target", "missile (657)")] == "missile (657)"

    @pytest.mark.parametrize(
        ("name", "like"), [("giban", "gibbon"), ("bear", "bear"), ("missile", "missile (657), missile (744)")]
    )
    def test_an_unknown_name_is_an_error_with_those_like_it(self, name: str, like: str) -> None:
        with pytest.raises(ArgumentError, match="must be a class of ImageNet") as error:
            class_number("--target", name)
        assert like in str(error.value)


# ---- files


def _solid(mode: str, colour: Any, size: tuple[int, int] = (30, 20)) -> Image.Image:
    return Image.new(mode, size, colour)


def _half_red() -> Image.Image:
    """Red above, blue below, after a quarter turn to the right."""
    image = _solid("RGB", "red", (40, 30))
    image.paste("blue", (20, 0, 40, 30))
    return image


def _turned() -> tuple[Image.Image, dict[str, Any]]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _half_red(), {"exif": exif, "quality": 95}


# file name: (image, options of save, the colour that it shows, or one above and one below)
KINDS: dict[str, Callable[[], tuple[Any, dict[str, Any], Any]]] = {
    "grey.png": lambda: (_solid("L", 128), {}, (128, 128, 128)),
    "grey and alpha.png": lambda: (_solid("LA", (0, 0)), {}, (255, 255, 255)),
    "black and white.png": lambda: (_solid("1", 1), {}, (255, 255, 255)),
    "16 bits, transparent.png": lambda: (
        Image.fromarray(np.full((20, 30), 7, np.uint16)), {"transparency": 7}, (255, 255, 255)
    ),
    "16 bits.png": lambda: (Image.fromarray(np.full((20, 30), 0x80FF, np.uint16)), {}, (128, 128, 128)),
    "16 bits.tiff": lambda: (Image.fromarray(np.full((20, 30), 0x80FF, np.uint16)), {}, (128, 128, 128)),
    "CMYK.jpg": lambda: (_solid("CMYK", (0, 255, 255, 0)), {"quality": 95}, (255, 0, 0)),
    "alpha.png": lambda: (_solid("RGBA", (255, 0, 0, 0)), {}, (255, 255, 255)),
    "half of alpha.png": lambda: (_solid("RGBA", (0, 0, 0, 127)), {}, (128, 128, 128)),
    "palette.gif": lambda: (_solid("P", 0), {"transparency": 0}, (255, 255, 255)),
    "animated.gif": lambda: (
        _solid("RGB", "red"), {"save_all": True, "append_images": [_solid("RGB", "blue")]}, (255, 0, 0)
    ),
    "turned.jpg": lambda: (*_turned(), ((255, 0, 0), (0, 0, 255))),
    "one pixel.png": lambda: (_solid("RGB", (9, 8, 7), (1, 1)), {}, (9, 8, 7)),
    "wide.png": lambda: (_solid("RGB", (9, 8, 7), (10_000, 3)), {}, (9, 8, 7)),
    "high.bmp": lambda: (_solid("RGB", (9, 8, 7), (2, 5_000)), {}, (9, 8, 7)),
    "[red] no ending": lambda: (_solid("RGB", "red"), {"format": "WEBP", "lossless": True}, (255, 0, 0)),
}  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], tuple[Path, Any]]:
    """(the file of a kind, the colours that it must show)."""

    def save(name: str) -> tuple[Path, Any]:
        image, options, colours = KINDS[name]()
        image.save(tmp_path / name, **options)
        return tmp_path / name, colours

    return save


class TestFilesOfEveryKind:
    @pytest.mark.parametrize("name", KINDS)
    def test_are_read_as_what_they_show(self, name: str, saved: Any) -> None:
        path, colours = saved(name)
        photo = read_photo(path)
        assert photo.name == path.stem
        assert (photo.x.shape, photo.x.dtype) == ((1, 224, 224, 3), np.float32)
        above, below = colours if isinstance(colours[0], tuple) else (colours, colours)
        for row, colour in ((20, above), (200, below)):
            np.testing.assert_allclose(255 * photo.x[0, row, 112], colour, atol=3)

    def test_of_the_networks_size_are_taken_as_they_are(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "exact.png")
        photo = read_photo(tmp_path / "exact.png")
        assert (np.rint(255 * photo.x[0]) == pixels).all()
        assert photo.preparation == "224 × 224 pixels"

    def test_of_other_sizes_say_what_was_cut_out(self, saved: Any) -> None:
        assert read_photo(saved("grey.png")[0]).preparation == (
            "the middle 18 × 18 of 30 × 20 pixels, scaled to 224 × 224"
        )

    def test_that_are_no_photos_are_named(self, tmp_path: Path) -> None:
        _half_red().save(tmp_path / "cut off.png")
        _half_red().save(tmp_path / "cut off.jpg")
        for name in ("cut off.png", "cut off.jpg"):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-60])
        Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "real.tiff")
        Image.fromarray(np.full((3, 3), 100, np.int32)).save(tmp_path / "32 bits.tiff")
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("a photo of a panda")
        (tmp_path / "program.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        (tmp_path / "huge.png").write_bytes(header + b"\0\0\0\0")
        for path in (*sorted(tmp_path.iterdir()), tmp_path):
            with pytest.raises(DataError) as error:
                read_photo(path)
            assert str(path) in str(error.value)
            assert "\n" not in str(error.value)

    def test_that_are_not_there_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="missing.png"):
            read_photo(tmp_path / "missing.png")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_that_would_wait_for_ever_are_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises((DataError, OSError), match="pipe.png"):
            read_photo(tmp_path / "pipe.png")

    # ---- the command

    def test_of_12_bits(self, tmp_path: Path) -> None:
        """A strip of 4 × 2 grey pixels of 12 bits, all 0x80F, which Pillow reads and does not write."""
        entries = [(256, 4), (257, 2), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 12)]
        strip = bytes.fromhex("80f80f" * 4)
        fields = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
        start = struct.pack("<2sHI", b"II", 42, 8 + len(strip))
        content = start + strip + struct.pack("<H", len(entries)) + fields + bytes(4)
        (tmp_path / "12 bits.tiff").write_bytes(content)
        np.testing.assert_allclose(read_photo(tmp_path / "12 bits.tiff").x, 0x80 / 255, atol=1e-6)

    def test_have_names_that_a_terminal_shows(self, tmp_path: Path) -> None:
        path = tmp_path / "a\nb\x1b[31m.png"
        _solid("RGB", "red").save(path)
        assert read_photo(path).name == "a?b?[31m"


class TestCommand:
    def test_shows_draws_and_writes(
        self, tmp_path: Path, saved: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        files = [photos()["panda"], saved("[red] no ending")[0]]
        out = tmp_path / "out"
        options = ["--epsilon", "1/255", " 1/255 ", "--steps", "1", "--target", "Koala", "--out", str(out)]
        main(["photo", "--photo", *map(str, files), *options])
        printed = capsys.readouterr().out
        for words in ("giant panda 100.0", "red panda 8", "[red] no ending", "one grey level", "nematode",
                      "not GoogLeNet", "the middle 18 × 18 of 30 × 20 pixels"):  # fmt: skip
            assert words in printed, words
        names = ["panda", "[red] no ending"]
        for name in names:
            assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        found = json.loads((out / "photo.json").read_text())
        assert found["command"].startswith("python -m benchmarks photo --photo ")
        assert [photo["name"] for photo in found["photos"]] == names
        panda = found["photos"][0]
        (step,) = panda["steps"]
        assert step["epsilon"]["value"] == LEVEL
        assert panda["clean"][0][0] == "giant panda"
        assert step["after"][0][0] == step["rounded_to_8_bits"][0][0] == "red panda"
        assert step["random_changes"] == 0
        assert panda["wrong_signs"]["ours"] < 0.1 < 10 < panda["wrong_signs"]["softmax_minus_1"]
        assert found["target"] == "koala"

    def test_gives_photos_of_one_name_numbers(self) -> None:
        given = [Photo(name, np.zeros(1), "") for name in ("a", "b", "a", "a-2", "a")]
        assert [photo.name for photo in distinct(given)] == ["a", "b", "a-2", "a-2-2", "a-3"]

    def test_says_that_there_is_no_room(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "panda.pdf").mkdir()
        (tmp_path / "file").touch()
        for out, said in ((tmp_path, "room for panda.pdf"), (tmp_path / "file", "a writable directory")):
            with pytest.raises(SystemExit):
                main(["photo", "--out", str(out)])
            (line,) = capsys.readouterr().err.splitlines()
            assert said in line
            assert "terminal" not in line

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            *(
                (
                    ["--epsilon", wrong],
                    f"--epsilon: must be a number in (0, 1], such as 1/255 or .007, got '{wrong}'",
                )
                for wrong in ("0", "2", "1/0", "nan", "1e999", "x", "1/", "/2")
            ),
            (["--target", "chair"], "--target must be a class of ImageNet, got 'chair': barber chair"),
            (["--steps", "0"], "--steps must be at least 1, got 0"),
            (["--photo", "no such file.png"], "no such file.png"),
            (["--photo", "."], "error: . must be a file"),
            (["--target", ""], "got '': all are in"),
        ],
    )
    def test_says_what_is_wrong_before_any_work(
        self, options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            main(["photo", *options, "--out", str(tmp_path / "out")])
        assert end.value.code == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
        assert not (tmp_path / "out").exists()
