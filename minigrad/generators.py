"""Random generators, all of them on the *host*: one seed gives the same numbers on every backend."""

from __future__ import annotations

import numpy as np

from minigrad.checks import check_count


def random_generator(seed: int | np.random.SeedSequence | np.random.Generator) -> np.random.Generator:
    """A generator for initial weights, noise and the order of examples, which are then uploaded; `seed`
    itself if it is one, which goes on from where it stands."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(_checked(seed))


def mask_generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """A counter-based generator, for `dropout`: each of its numbers follows from a key and the number's
    place in the sequence. So a kernel on the device finds the numbers that the host would draw."""
    return np.random.Generator(np.random.Philox(_checked(seed)))


def _checked(seed: int | np.random.SeedSequence) -> int | np.random.SeedSequence:
    return seed if isinstance(seed, np.random.SeedSequence) else check_count("seed", seed, low=0)
