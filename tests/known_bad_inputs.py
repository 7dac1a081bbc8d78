"""The cases of tests/bad_inputs.py that fail, by reason: to be empty. `python -m tests.bad_inputs`
writes this file anew."""
# ruff: noqa: E501

KNOWN: dict[str, dict[str, str]] = {
    "does not name the argument": {
        "evaluate: x": "one axis",
        "check_gradients: keywords": "unknown",
    },
    "raises TypeError": {
        "check_differentiable: keywords": "unknown",
    },
}  # fmt: skip
