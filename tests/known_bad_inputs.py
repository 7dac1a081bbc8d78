"""The cases of tests/bad_inputs.py that fail, by reason: to be empty. `python -m tests.bad_inputs`
writes this file anew."""
# ruff: noqa: E501

KNOWN: dict[str, dict[str, str]] = {
}  # fmt: skip
