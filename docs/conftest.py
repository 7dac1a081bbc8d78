"""Every code block of these pages runs, and what it shows is what comes. (The other pages are run by
tests/test_docs.py, block by block, where other libraries are installed.)"""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

PAGES = ["tour/*.md", "glossary.md", "for-pytorch-users.md"]

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], patterns=PAGES).pytest()
