"""Photos, and a network that was trained on ImageNet: SqueezeNet 1.1, with the names of its 1,000 classes."""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

import minigrad as mg
from minigrad import backend
from minigrad.checkpoint import check_regular
from minigrad.checks import printable
from minigrad.errors import ArgumentError, DataError
from models import SqueezeNet
from models.squeezenet import SIDE

DIRECTORY = Path(__file__).parent / "data" / "photo"
MOST_PIXELS = 2 * int(Image.MAX_IMAGE_PIXELS or 0)  # Pillow's limit
# Not all that Pillow reads: some formats start other programs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
BITS_PER_SAMPLE = 258  # the number of a TIFF file's entry
SCALED = 256  # pixels of the short side, of which the middle SIDE are cut out

LEVEL = 1.0 / 255.0  # one grey level of an 8-bit image, in pixel values from 0 to 1
UNITS = (
    "ε is in pixel values from 0 to 1: 1/255 is one grey level of an 8-bit image. The paper's .007 is meant "
    "as one too, in the pixel values that GoogLeNet takes, about [−1, 1]; .007 of [0, 1] is 1.8 grey levels."
)
CAUTION = (
    "SqueezeNet is not GoogLeNet, and its 100% is overconfidence: by its paper it names 57.5% of ImageNet's "
    "photos right."
)


@dataclass(frozen=True)
class Photo:
    """x is (1, 224, 224, 3), float32: red, green and blue in [0, 1]. `preparation` says what was done to the
    file."""

    name: str
    x: np.ndarray
    preparation: str


# ---- the network


def network(dtype: Any = np.float32) -> SqueezeNet:
    """SqueezeNet with its trained weights, in the current array library. (The file's names have "/" where a
    Module's have ".".)"""
    model = SqueezeNet()
    state = {name.replace("/", "."): array for name, array in mg.load(DIRECTORY / "squeezenet.npz").items()}
    model.load_state_dict({name: array.astype(np.float32) for name, array in state.items()})
    return model.to(backend.current().name, dtype=dtype).eval()


@functools.cache
def class_names() -> tuple[str, ...]:
    """ImageNet's classes in order. Two names belong to two classes each; these have their number beside
    them."""
    names = (DIRECTORY / "classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names))


def class_number(argument: str, name: str) -> int:
    """The number of the class of this name; ArgumentError, with names like it, if there is none."""
    names = [known.lower() for known in class_names()]
    if name.lower() in names:
        return names.index(name.lower())
    like = [n for n in names if name.lower() in n] or get_close_matches(name.lower(), names, cutoff=0.5)
    like = [class_names()[names.index(n)] for n in like[:3]]
    said = f"{', '.join(like)}?" if name and like else f"all are in {DIRECTORY / 'classes.txt'}"
    raise ArgumentError(f"{argument} must be a class of ImageNet, got {name!r}: {said}")


def most_probable(probabilities: np.ndarray, count: int = 5) -> list[tuple[str, float]]:
    """(name, percent) of the most probable classes."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(class_names()[i], 100.0 * float(probabilities[i])) for i in order]


# ---- photos


def photos() -> dict[str, Path]:
    """The photos that come with this repository, by name; the panda first."""
    found = {path.stem: path for path in sorted((DIRECTORY / "photos").glob("*.png"))}
    return {"panda": found["panda"], **found}


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Any photo, as the network expects it.

    It is turned as its EXIF data say. Of more than 8 bits a channel the higher 8 are used, what is
    transparent is laid on white, and other colours than red, green and blue are converted (without regard to
    colour profiles). Of several pictures in a file the first is taken. The short side is scaled to 256 pixels
    (bicubic), and the middle 224 × 224 are cut out; a photo of just this size is taken as it is.

    DataError, which names the file, if it is no photo or not whole.
    """
    check_regular(path)
    Image.init()  # has Pillow look for all its formats
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large photos, odd EXIF data
            with Image.open(path, formats=formats) as image:
                bits = _bits_of_grey(image)
                turned = ImageOps.exif_transpose(image)
                return Photo(printable(Path(path).stem), *_cut(_in_colours(turned, bits)))
    except UnidentifiedImageError as error:
        raise DataError(f"{path} must be a photo that can be read as {', '.join(formats)}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} must have at most {MOST_PIXELS // 10**6} megapixels: {error}") from error
    except OSError as error:
        if error.filename is not None:  # it cannot be opened
            raise
        raise DataError(f"{path} must be a whole photo: {error}") from error
    except Exception as error:  # what decoders raise on damage is no closed list
        raise DataError(f"{path} must be a photo that can be read: {error}") from error


def _bits_of_grey(image: Any) -> int | None:
    """How many bits a pixel has in grey of more than 8 bits; None for other images."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    return None


def _in_colours(image: Any, bits: int | None) -> Any:
    """The image in 8 bits of red, green and blue."""
    if bits is not None:
        levels = np.asarray(image)
        shown = np.where(levels == image.info.get("transparency"), 0xFF, levels >> (bits - 8))
        return Image.fromarray(shown.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueError(f"pixels must have up to 16 bits, got {kind} ones, whose range is not known")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _cut(image: Any) -> tuple[np.ndarray, str]:
    """(x, what was done)."""
    width, height = image.size
    said = f"{width} × {height} pixels"
    if (width, height) != (SIDE, SIDE):
        side = min(width, height) * SIDE / SCALED
        left, top = (width - side) / 2, (height - side) / 2
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        said = f"the middle {side:.0f} × {side:.0f} of {said}, scaled to {SIDE} × {SIDE}"
    return (np.asarray(image, np.float32) / 255.0)[None], said
