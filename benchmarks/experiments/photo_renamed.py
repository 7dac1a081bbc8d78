"""One grey level along the sign of the gradient gives a photo another name (section 4, figure 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks import fgsm
from benchmarks.photos import CAUTION, LEVEL, UNITS, class_number, network, photos, read_photo
from benchmarks.task import PIXELS, Measurement, Row, Task, fgsm_from_rounded_gradient
from minigrad import backend

ROWS = (
    Row("photo.clean", "4", "SqueezeNet on one photo, the panda (figure 1), clean", 0.0, 57.7),
    Row(
        "photo.fgsm", "4", "the same after FGSM, ε = one grey level of 8 bits", 100.0, 99.3,
        claim="what a network names right, with more than 50%, it names otherwise, with more than 50%, after "
        "a step too small to see; random signs of that size do not change the name",
        holds=lambda f: (
            f["photo.clean"].error < 50 and (f["photo.clean"].confidence or 0) > 50
            and f["photo.fgsm"].error > 50 and (f["photo.fgsm"].confidence or 0) > 50
            and f["photo.random"].error < 50
        ),
    ),
    Row("photo.random", "4", "the same after random signs of that size"),
    Row("photo.all", "4", "share of the 16 photos of which all three are so, from their first class on"),
)  # fmt: skip

CHOICES = (
    "The paper has GoogLeNet and a photo that is not free; here it is SqueezeNet 1.1 and a free one. Errors "
    "are of this one photo, 0 or 100, and the confidence is that in the class named, right or wrong. "
    f"{UNITS} FGSM is made from the network's own first class, which is the right one for the panda. Of a "
    "photo all three are so if that class has more than 50%, another has after the step, and random signs do "
    "not change it. python -m benchmarks photo draws the figure."
)
NOTE = f"In the rows of photos the confidence is that in the class named. {CAUTION}"

MODELS: dict[str, Any] = {}
USES = ()
DATA = "photos"


@dataclass(frozen=True)
class Prediction:
    """What a photo is called: the number of the class, and the confidence in it in percent."""

    label: int
    confidence: float

    def measured(self, right: int, **variants: Measurement) -> Measurement:
        return Measurement(0.0 if self.label == right else 100.0, self.confidence, 1, **variants)


def run(task: Task) -> dict[str, Measurement]:
    model, library = network(), backend.current()
    random, found = np.random.default_rng(task.seed), {}
    for name, path in photos().items():
        x = read_photo(path).x
        noise = np.float32(LEVEL) * random.choice(np.float32([-1, 1]), x.shape)
        found[name] = predictions(model, library.asarray(x), library.asarray(x + noise))
    panda, right = found["panda"], class_number("the panda", "giant panda")
    clipped, rounded = (panda[key].measured(right) for key in ("clipped", "rounded"))
    all_of_this = [
        each["clean"].confidence > 50 and each["fgsm"].confidence > 50
        and each["fgsm"].label != each["clean"].label and each["random"].label == each["clean"].label
        for each in found.values()
    ]  # fmt: skip
    return {
        "photo.clean": panda["clean"].measured(right),
        "photo.fgsm": panda["fgsm"].measured(right, clipped=clipped, rounded=rounded),
        "photo.random": panda["random"].measured(right),
        "photo.all": Measurement(100.0 * float(np.mean(all_of_this)), None, len(all_of_this)),
    }


def predictions(model: Any, x: Any, noisy: Any) -> dict[str, Prediction]:
    """What the network calls a photo clean, after each attack, and with random signs."""
    y = model.predict(x)
    images = {
        "clean": x,
        "fgsm": fgsm(model, x, y, epsilon=LEVEL),
        "clipped": fgsm(model, x, y, epsilon=LEVEL, bounds=PIXELS),
        "rounded": fgsm_from_rounded_gradient(model, x, y, epsilon=LEVEL),
        "random": noisy,
    }
    p = {key: backend.to_numpy(model.predict_proba(image))[0] for key, image in images.items()}
    return {key: Prediction(int(each.argmax()), 100.0 * float(each.max())) for key, each in p.items()}
