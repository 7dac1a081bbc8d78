"""This checkout's code and a run's data, on every worker of a Dask cluster."""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

PACKAGES = ("attacks", "benchmarks", "minigrad", "models")
NOT_SENT = ("results", os.path.join("data", "mnist"))  # of benchmarks: the digits are sent as the run's data


def packed(data: Mapping[str, list[Path]]) -> bytes:
    """An archive of the packages as they are on the disk, and of the files of each data set in a folder of
    its name."""
    root, content = Path(__file__).parents[1], io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # not compressed: the data are
        for package in PACKAGES:
            for path in sorted((root / package).rglob("*")):
                inside = path.relative_to(root / package)
                sent = not any(str(inside).startswith(name) for name in NOT_SENT)
                if path.is_file() and sent and "__pycache__" not in inside.parts:
                    archive.write(path, path.relative_to(root))
        for name, files in data.items():
            for path in files:
                archive.write(path, Path(name) / path.name)
    return content.getvalue()


class Checkout(WorkerPlugin):
    """Unpacks an archive of `packed` in the worker's own directory, and imports from there: also on workers
    that come later. It is sent by value, for nobody there can import it yet."""

    def __init__(self, archive: bytes, name: str) -> None:
        self.archive, self.folder = archive, name
        self.environment = {key: v for key, v in os.environ.items() if key.startswith("MINIGRAD_")}

    def setup(self, worker: Any) -> None:
        root = os.path.join(worker.local_directory, self.folder)
        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            archive.extractall(root)
        os.environ.update(self.environment)
        os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)  # the nanny's: minigrad's own choice is faster
        self.forget()
        sys.path.insert(0, root)

    def teardown(self, worker: Any) -> None:
        root = os.path.join(worker.local_directory, self.folder)
        if root in sys.path:
            sys.path.remove(root)
        self.forget()
        shutil.rmtree(root, ignore_errors=True)

    def forget(self) -> None:
        """Have the next import look anew: the worker may know another state of the code."""
        for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
