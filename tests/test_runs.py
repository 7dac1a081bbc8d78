"""What a run meets: other runs, files of other runs, signals, full disks, odd terminals, other data."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

import minigrad as mg
from benchmarks import mnist, output, workspace
from benchmarks.__main__ import main
from benchmarks.examples import fingerprint
from benchmarks.experiments import EXPERIMENTS
from benchmarks.processes import parallel
from benchmarks.training import Training
from benchmarks.workspace import Workspace
from minigrad.errors import NonFiniteError
from tests.kills import hear_interrupts, state_of, write_few_digits
from tests.test_benchmarks import LOGISTIC, Run, content, few_digits, no_figures, run_few

__all__ = ["few_digits", "no_figures", "run_few"]  # fixtures


@pytest.fixture(scope="module")
def finished(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; take a copy."""
    directory = tmp_path_factory.mktemp("run")
    main(["paper", *LOGISTIC, "--data", str(few_digits), "--out", str(directory)])
    return directory


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def run_two_epochs(few_digits: Path) -> Run:
    """Two epochs of training, in this process, into the directory that it is given."""

    def call(out: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("benchmarks.training.WATCHED_BY_PGD", 10)
            main(["paper", "--rows", "logistic", "--epochs", "2", "--jobs", "1", "--quiet",
                  "--data", str(few_digits), "--out", out])  # fmt: skip

    return call


@pytest.fixture(scope="module")
def stopped(run_two_epochs: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after the first of two epochs; take a copy."""

    def stop(self: Training, *a: Any) -> None:
        saved(self, *a)
        raise KeyboardInterrupt

    directory, saved = tmp_path_factory.mktemp("stopped"), Training.save
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Training, "save", stop)
        run_two_epochs(str(directory))
    return directory


# `python -m benchmarks` that draws no figures: see `no_figures`.
WITHOUT_FIGURES = [
    sys.executable,
    "-c",
    "import runpy, benchmarks.report as report; report.draw_all = lambda *_: []; "
    "runpy.run_module('benchmarks', run_name='__main__', alter_sys=True)",
]


def refused(call: Run, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error that a command ends in."""
    with pytest.raises(SystemExit) as end:
        call(*arguments)
    assert end.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.usefixtures("no_figures")
class TestOneOwner:
    def test_a_second_run_is_refused_while_the_first_lives(
        self, run: Path, run_few: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(path.name for path in run.rglob("*"))
        with Workspace(run, None, "").owned():  # type: ignore[arg-type]
            for more in ((), ("--no-resume",), ("--rows", "softmax")):
                said = refused(run_few, *LOGISTIC, *more, "--out", str(run), capsys=capsys)
                assert f"a run writes into {run} (process {os.getpid()} on '" in said
        assert sorted(path.name for path in run.rglob("*")) == before
        run_few(*LOGISTIC, "--out", str(run))

    def test_a_killed_owner_leaves_no_lock(self, run: Path, run_few: Run) -> None:
        program = (
            "import sys; from benchmarks.workspace import Workspace\n"
            "with Workspace(sys.argv[1], None, '').owned():\n    print('owned', flush=True); sys.stdin.read()"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"owned\n"
        other.kill()
        other.communicate()
        run_few(*LOGISTIC, "--out", str(run))


def edit(path: Path, keys: str, value: Any) -> None:
    """Set what stands in a JSON file under keys such as "settings/threads"."""
    content = json.loads(path.read_text())
    inside, (*outer, last) = content, keys.split("/")
    for key in outer:
        inside = inside[key]
    inside[last] = value
    path.write_text(json.dumps(content))


def checkpoint(path: Path, **changes: Any) -> None:
    state = mg.load(path)
    mg.save(path, {**state, **{name.replace("__", "."): value for name, value in changes.items()}})


SETTINGS, MEASURED = "settings.json", "measured/logistic-0.json"
OTHER = {"name": "logistic", "seed": 0, "scale": "paper"}
WRONG_FILES = [  # file, keys (none: all of the file), value, message
    *((name, "", value, "must be JSON as a run leaves it")
      for name in (SETTINGS, MEASURED) for value in (b"\xff\xfe", b"", b"[" * 99_999)),
    *((MEASURED, "", value, "must be JSON as a run leaves it") for value in (b"{}", b"5", b"null")),
    *((SETTINGS, "", value, "is not of such a run") for value in (b"{}", b"5", b"null")),
    (SETTINGS, "settings/threads", "two", "settings/threads: "),
    (SETTINGS, "settings/threads", -3, "settings/threads: "),
    (SETTINGS, "settings/threads", 10**30, "settings/threads: "),
    (SETTINGS, "settings", None, "settings: "),
    (SETTINGS, "changes", [["a"]], "changes/0"),
    (SETTINGS, "changes", [{"source": "a", "epochs": {"b": "c"}, "measured": []}], "changes/0/epochs/b: "),
    (MEASURED, "measured", {}, "must have all rows of logistic, but lacks"),
    (MEASURED, "seconds", "long", "seconds: "),
    (MEASURED, "measured/logistic.clean", {}, "measured/logistic.clean/error: "),
    (MEASURED, "measured/logistic.clean/error", float("nan"), "measured/logistic.clean/error: "),
    (MEASURED, "measured/logistic.clean/examples", -1, "measured/logistic.clean/examples: "),
    (MEASURED, "data", {"error_against_epsilon": 5}, "must be as a run left it, but was changed"),
    (MEASURED, "data", {"extra": float("nan")}, "must be as a run left it, but was changed"),
    (MEASURED, "checksum", "", "must be as a run left it, but was changed"),
    (MEASURED, "checksum", None, "checksum: "),
    (MEASURED, "origin", "", "origin: "),
    (MEASURED, "origin", {}, "must be made with name 'logistic', got None"),
    (MEASURED, "origin", OTHER, "must be made with scale 'quick', got 'paper': it is of another run"),
]  # fmt: skip


@pytest.mark.usefixtures("no_figures")
class TestFilesThatDoNotFit:
    @pytest.mark.parametrize(("name", "keys", "value", "message"), WRONG_FILES)
    def test_each_is_named_with_what_to_do(
        self, name: str, keys: str, value: Any, message: str, run: Path, run_few: Run, capsys: Any
    ) -> None:
        if keys:
            edit(run / name, keys, value)
        else:
            (run / name).write_bytes(value)
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert str(run / name) in said
        assert message in said
        assert any(advice in said for advice in ("delete it", "--no-resume", "--out must be another"))

    def test_a_file_without_its_checksum(self, run: Path, run_few: Run, capsys: Any) -> None:
        content = json.loads((run / MEASURED).read_text())
        del content["checksum"]
        (run / MEASURED).write_text(json.dumps(content))
        assert "was changed; delete it" in refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)

    def test_that_of_another_row_is_told_before_any_work(
        self, run: Path, run_few: Run, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Training, "epoch", None)
        (run / MEASURED).write_bytes(b"{")
        softmax = ("--rows", "softmax", *LOGISTIC[2:])
        assert str(run / MEASURED) in refused(run_few, *softmax, "--out", str(run), capsys=capsys)

    def test_a_run_that_made_nothing_keeps_no_other_out(
        self, run: Path, run_few: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        for folder in ("models", "measured"):
            for path in (run / folder).iterdir():
                path.unlink()
        edit(run / SETTINGS, "settings/epochs", 7)
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert "was begun with epochs 7" in said  # its report is there
        for name in ("paper.json", "report.html"):
            (run / name).unlink()
        assert "--resume needs a run" in refused(
            run_few, *LOGISTIC, "--resume", "--out", str(run), capsys=capsys
        )
        run_few(*LOGISTIC, "--out", str(run))
        assert content(run)["settings"]["epochs"] == 1

    def test_begun_anew_nothing_of_them_is_left(self, run: Path, run_few: Run) -> None:
        for name in (SETTINGS, MEASURED):
            (run / name).write_text("garbage")
        run_few(*LOGISTIC, "--no-resume", "--out", str(run))
        assert content(run)["complete"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"progress": np.array([np.nan] * 5)}, "progress is"),
            ({"progress": np.array([7.0, 0, 0, np.inf, np.inf])}, "it is in stage 8 of 1"),
            ({"progress": np.array([0.0])}, "not enough values"),
            ({"progress": np.array(0.0)}, "must hold a checkpoint"),
            ({"progress": np.zeros(9)}, "progress is"),
            ({"progress": np.array([0.5, 1, 0, np.inf, np.inf])}, "progress is"),
            ({"progress": np.array([0.0, 5, 0, np.inf, np.inf])}, "history is not that of 5 epochs"),
            ({"progress": np.array(["a"] * 5)}, "could not convert"),
            ({"model__w": np.zeros((2, 2), np.float32)}, "must have shape"),
            ({"model__w": np.full((784, 1), np.nan, np.float32)}, "nan"),
            ({"model__other": np.zeros(2)}, "there is no place"),
            ({"history__stage": np.array([1.0, 1.0])}, "history is not that"),
            ({"history__stage": np.array(1.0)}, "must hold the history of a training"),
            ({"history__training_cost": np.array(["a"])}, "history is not that"),
            ({"history__training_cost": np.array([np.nan])}, "history is not that"),
            ({"progress": np.array([0.0, 1, 0, -1e9, np.inf])}, "progress is"),
            ({"progress": np.array([0.0, 1, 99, np.inf, np.inf])}, "its best epoch is 99 of 1"),
            ({"progress": np.array([0.0, 1, -5, np.inf, np.inf])}, "its best epoch is -5 of 1"),
            ({"epochs": np.array(-3)}, "must hold a checkpoint"),
            ({"optimiser__updates": np.array(-1)}, "updates"),
            ({"origin": np.array("{}")}, "must be made with name 'logistic', got None"),
            ({"origin": np.array("[[1, 2]]")}, "must be made with name 'logistic', got None"),
            ({"origin": np.array("[" * 99_999)}, "must be made with name 'logistic', got None"),
        ],
    )
    def test_checkpoints(
        self, changes: Any, message: str, stopped: Path, run_two_epochs: Run, tmp_path: Path, capsys: Any
    ) -> None:
        shutil.copytree(stopped, tmp_path / "run")
        (path,) = (tmp_path / "run" / "models").iterdir()
        name = path.stem.removesuffix("-0")
        checkpoint(path, **changes)
        said = refused(run_two_epochs, str(tmp_path / "run"), capsys=capsys)
        assert str(path) in said
        assert message.replace("'logistic'", repr(name)) in said
        assert "delete it" in said

    def test_with_its_wrong_checkpoint_deleted_a_run_goes_on(
        self, stopped: Path, run_two_epochs: Run, tmp_path: Path, capsys: Any
    ) -> None:
        shutil.copytree(stopped, tmp_path / "run")
        (path,) = (tmp_path / "run" / "models").iterdir()
        checkpoint(path, progress=np.zeros(9))
        refused(run_two_epochs, str(tmp_path / "run"), capsys=capsys)
        path.unlink()
        run_two_epochs(str(tmp_path / "run"))
        assert content(tmp_path / "run")["complete"]

    def test_the_history_of_a_finished_model(self, run: Path, run_few: Run, capsys: Any) -> None:
        path = run / "models" / "logistic-0.npz"
        state = mg.load(path)
        mg.save(path, {name: array for name, array in state.items() if not name.startswith("history.")})
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert f"{path} must hold the history of a training; delete it" in said

    def test_the_model_of_another_run(self, run: Path, run_few: Run, capsys: Any) -> None:
        """Also if its experiment has been measured."""
        path = run / "models" / "logistic-0.npz"
        checkpoint(path, origin=np.array(json.dumps({"name": "logistic", "seed": 1})))
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert f"{path} must be made with seed 0, got 1: it is of another run; delete it" in said

    @pytest.mark.parametrize("content", [b"", b"PK half", None])
    def test_a_damaged_model_is_deleted_and_trained_anew(
        self, content: Any, run: Path, finished: Path, run_few: Run, capsys: Any
    ) -> None:
        path = run / "models" / "logistic-0.npz"
        path.unlink()
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert str(path) in said
        assert "delete it to train anew" in said
        path.rmdir() if content is None else path.unlink()
        run_few(*LOGISTIC, "--out", str(run))
        assert state_of(run) == state_of(finished)

    @pytest.mark.parametrize("damaged", [b"{", b"", None])
    def test_lost_settings_are_those_that_the_other_files_carry(
        self, damaged: Any, run: Path, finished: Path, run_few: Run, capsys: Any
    ) -> None:
        if damaged is not None:
            (run / "settings.json").write_bytes(damaged)
            said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
            assert "delete it, and it is made anew from the other files" in said
        (run / "settings.json").unlink()
        run_few(*LOGISTIC, "--out", str(run))
        assert state_of(run) == state_of(finished)

    @pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX's")
    @pytest.mark.parametrize("name", ["settings.json", "run.lock", "report.html"])
    def test_what_is_no_file(self, name: str, run: Path, run_few: Run, capsys: Any) -> None:
        for make in (os.mkfifo, os.mkdir):
            path = run / name
            path.unlink(missing_ok=True)
            make(path)
            said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
            assert f"--out must be another directory: {path} is not of such a run" in said
            path.unlink() if make is os.mkfifo else path.rmdir()

    def test_a_directory_that_was_begun_and_no_more(self, run_few: Run, tmp_path: Path) -> None:
        for made in (["models"], ["models", "measured", "figures"]):
            for name in made:
                (tmp_path / str(len(made)) / name).mkdir(parents=True)
            run_few(*LOGISTIC, "--out", str(tmp_path / str(len(made))))

    def test_what_killed_writes_left_is_removed(self, run: Path, run_few: Run) -> None:
        names = [".settings.json.", "models/.softmax-3.npz.", "figures/.x.png.", "measured/.a-1.json."]
        for name in names:
            (run / f"{name}0123456789abcdef.writing").write_text("half")
        (run / "models" / ".mine").write_text("precious")
        run_few(*LOGISTIC, "--out", str(run))
        assert [path.name for path in run.rglob(".*")] == [".mine"]


@pytest.mark.usefixtures("no_figures")
def test_resume_goes_on_although_the_code_was_changed(run: Path, run_few: Run, monkeypatch: Any) -> None:
    before = content(run)["settings"]["source"]
    for module in ("paper", "workspace"):
        monkeypatch.setattr(f"benchmarks.{module}.source_fingerprint", lambda: "other")
    more = ["--seeds", "2", *LOGISTIC]
    run_few(*more, "--resume", "--out", str(run))
    run_few(*more, "--out", str(run))  # from now on it is the run's own
    report = content(run)
    assert report["complete"]
    (change,) = report["changes"]
    assert change["source"] == before
    assert change["epochs"]["logistic-0"] == 1
    assert change["measured"] == ["logistic-0"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"it was {before} until" in page
    assert f"until epoch 1 of {len(change['epochs'])} models; the end of logistic-0." in page


@pytest.mark.usefixtures("no_figures")
class TestWhatChangesWhileARunGoesOn:
    """Workers start later than their run, with the code and the data of then."""

    def test_the_code(self, run_few: Run, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
        monkeypatch.setattr("benchmarks.workspace.source_fingerprint", lambda: "of a worker")
        said = refused(run_few, *LOGISTIC, "--out", str(tmp_path), capsys=capsys)
        assert "the code must stay as it is while a run goes on" in said
        assert "--resume" in said

    def test_the_data(self, run: Path, few_digits: Path, run_few: Run, monkeypatch: Any, capsys: Any) -> None:
        loaded = mnist.load(few_digits)
        later = [digits[:50] for digits in loaded]
        found = iter([loaded])
        monkeypatch.setattr(mnist, "load", lambda _: next(found, later))
        workspace._examples.cache_clear()
        (run / "measured" / "logistic-0.json").unlink()
        said = refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)
        assert "--data must stay as it is while a run goes on" in said


@pytest.mark.usefixtures("no_figures")
def test_a_run_begun_anew_and_stopped_has_no_report_of_the_one_before(
    run: Path, run_few: Run, monkeypatch: Any
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workspace, "train", stop)
    with pytest.raises(SystemExit):
        run_few(*LOGISTIC, "--no-resume", "--out", str(run))
    assert not (run / "report.html").exists()
    assert not (run / "paper.json").exists()


@pytest.mark.usefixtures("no_figures")
def test_the_report_says_the_command_for_all_of_its_figures(run_few: Run, tmp_path: Path) -> None:
    out = tmp_path / "-run"
    for seeds in ("2", "1"):
        run_few(*LOGISTIC, "--seeds", seeds, f"--out={out}")
    assert content(out)["complete"]
    assert "--rows logistic --scale quick --epochs 1 --seeds 2 --backend numpy" in content(out)["command"]


@pytest.mark.usefixtures("no_figures")
def test_a_command_with_an_option_that_begins_with_a_dash(
    few_digits: Path, tmp_path: Path, monkeypatch: Any, run_few: Run, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run_few(*LOGISTIC, "--out=-x")
    assert content(tmp_path / "-x")["command"].endswith(f"--data {few_digits} --out=-x")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("error", "message"), [(TerminatedWorkerError, "a process was killed"), (MemoryError, "no memory")]
)
def test_a_worker_that_is_killed(
    error: Any, message: str, run: Path, run_few: Run, monkeypatch: Any, capsys: Any
) -> None:
    def end(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Workspace, "measure", end)
    (run / "measured" / "logistic-0.json").unlink()
    assert message in refused(run_few, *LOGISTIC, "--out", str(run), capsys=capsys)


class TestFullDisk:
    @pytest.mark.parametrize("name", ["paper.json", "figure2.png", "report.html"])
    def test_while_the_report_is_written(
        self, name: str, run: Path, run_few: Run, monkeypatch: Any, capsys: Any
    ) -> None:
        """The error names the file, and the table is shown."""
        from minigrad import checkpoint

        os_replace = os.replace

        def replace(source: Any, target: Any) -> None:
            if os.fspath(target).endswith(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os_replace(source, target)

        before = sorted(run.rglob("*"))
        monkeypatch.setattr(checkpoint.os, "replace", replace)
        if not name.startswith("figure"):
            monkeypatch.setattr("benchmarks.report.draw_all", lambda *_: [])
        with pytest.raises(SystemExit) as end:
            run_few(*LOGISTIC, "--out", str(run))
        assert end.value.code == 2
        said = capsys.readouterr()
        assert "No space left on device" in said.err
        assert name in said.err
        assert "logistic regression, FGSM" in said.out
        assert sorted(run.rglob("*")) == before


class TestNumbersThatAreNone:
    def test_json_is_valid(self, tmp_path: Path) -> None:
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(NonFiniteError, match=r"a\.json must hold finite numbers: /rows/1/x is "):
                output.write_json(tmp_path / "a.json", {"rows": [1.0, {"x": value}]})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.usefixtures("no_figures")
    def test_a_measurement(self, run_few: Run, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
        found = EXPERIMENTS["logistic"].run

        def spoilt(task: Any) -> Any:
            task.data["extra"] = [1.0, float("inf")]
            return found(task)

        monkeypatch.setattr(EXPERIMENTS["logistic"], "run", spoilt)
        said = refused(run_few, *LOGISTIC, "--out", str(tmp_path), capsys=capsys)
        assert "logistic-0.json must hold finite numbers: /data/extra/1 is inf" in said
        assert not list((tmp_path / "measured").iterdir())


class TestOtherData:
    def test_claims_and_spreads_are_not_judged(self, run: Path) -> None:
        report = content(run)
        assert report["dataset"].startswith("other data (fingerprint ")
        assert all(row["claim_holds"] is None and row["in_spread"] is None for row in report["rows"])
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "not MNIST: the paper&#39;s claims and spreads are not judged on it" in page
        assert "reproduced on MNIST" not in page
        assert "claims hold" not in page

    def test_known_data_is_named(self) -> None:
        assert mnist.name_of(fingerprint(*mnist.load())) == "MNIST"


class TestTerminal:
    @pytest.mark.usefixtures("no_figures")
    def test_brackets_in_paths_are_brackets(self, run_few: Run, tmp_path: Path, capsys: Any) -> None:
        out = tmp_path / "a [/red] [bold] :smile:"
        run_few(*LOGISTIC, "--out", str(out))
        assert str(out / "report.html") in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--out", ""], "--out must be a directory, got ''"),
            (["--seeds", "99999999999999999999"], "--seeds must be at most 1000"),
            (["--epochs", "99999999999999999999"], "--epochs must be at most 1000000"),
            (["--jobs", "99999999999999999999"], "--jobs must be at most 10000"),
            (["--data", ""], "data directory must hold"),
        ],
    )
    def test_options_are_checked_before_any_work(
        self, arguments: list[str], message: str, capsys: Any
    ) -> None:
        assert message in refused(lambda *a: main(["paper", *a]), *arguments, capsys=capsys)

    def test_a_test_set_that_is_too_small(self, tmp_path: Path, capsys: Any) -> None:
        write_few_digits(tmp_path, test=20)
        said = refused(lambda *a: main(["paper", *a]), "--data", str(tmp_path), capsys=capsys)
        assert "the test set (--data) must have 10 digits or more for logistic regression" in said

    def test_windows_that_figures_do_not_need(self, monkeypatch: Any) -> None:
        monkeypatch.setenv("MPLBACKEND", "nonsense")
        with pytest.raises(SystemExit):
            main(["--help"])
        assert os.environ["MPLBACKEND"] == "agg"

    @pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
    @pytest.mark.parametrize(
        ("redirection", "code"), [(">&-", 0), (">&- 2>&-", 0), ("| true", 0), ("<&-", 0)]
    )
    def test_closed_streams(self, redirection: str, code: int, run: Path, few_digits: Path) -> None:
        command = shlex.join(
            [*WITHOUT_FIGURES, "paper", *LOGISTIC, "--data", str(few_digits), "--out", str(run)]
        )
        (run / "report.html").unlink()
        script = f"set -o pipefail; {command} {redirection}"
        ended = subprocess.run(["bash", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
        assert "Traceback" not in ended.stderr
        assert ended.returncode == code
        assert (run / "report.html").exists()

    @pytest.mark.skipif(os.name != "posix", reason="a shell closes the pipe")
    def test_a_reader_that_leaves_does_not_end_the_work(self, few_digits: Path, tmp_path: Path) -> None:
        command = [*WITHOUT_FIGURES, "paper", "--rows", "softmax", "--epochs", "1", "--data", str(few_digits),
                   "--out", str(tmp_path / "run")]  # fmt: skip
        script = f"set -o pipefail; {shlex.join(command)} | true"
        ended = subprocess.run(["bash", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert content(tmp_path / "run")["complete"]

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
    def test_bytes_in_a_path_that_are_no_text(self, run: Path, few_digits: Path, tmp_path: Path) -> None:
        out = os.fsencode(tmp_path) + b"/\xff out"
        shutil.copytree(os.fsencode(run), out)
        command = [*WITHOUT_FIGURES, "paper", *LOGISTIC, "--data", str(few_digits), "--out", out]
        ended = subprocess.run(command, capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"out/report.html" in ended.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
class TestSignals:
    @pytest.mark.parametrize(
        ("sent", "message"),
        [(signal.SIGTERM, "terminated"), (signal.SIGINT, "stopped"), (signal.SIGHUP, "hung up")],
    )
    def test_a_run_that_is_asked_to_end_shows_what_it_has(
        self, sent: signal.Signals, message: str, run: Path, few_digits: Path
    ) -> None:
        """The pipe closes when the last of its processes has ended. A terminal sends SIGINT to all."""
        command = [sys.executable, "-m", "benchmarks", "paper", "--rows", "logistic", "softmax",
                   "--epochs", "1", "--seeds", "40", "--jobs", "2", "--data", str(few_digits),
                   "--out", str(run)]  # fmt: skip
        hear_interrupts()
        found = len(list((run / "models").glob("*.npz")))
        going = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while len(list((run / "models").glob("*.npz"))) < found + 2:
            assert going.poll() is None
        os.killpg(going.pid, sent) if sent == signal.SIGINT else going.send_signal(sent)
        out, err = going.communicate(timeout=60)
        assert (going.returncode, err) == (128 + sent, f"{message}\n")
        assert "The same command goes on from here: python -m benchmarks paper --rows logistic softmax" in out
        assert "NOT COMPLETE" in out
        assert "logistic" in (run / "report.html").read_text(encoding="utf-8")

    def test_ctrl_c_is_heard_while_a_carrier_works_that_returns_all_at_the_end(self) -> None:
        """joblib's for Ray is such, and this one."""
        heard = []

        class Pieces(list[tuple[int]]):
            def __iter__(self) -> Iterator[tuple[int]]:
                heard.append(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)
                return super().__iter__()

        with parallel_config(backend="multiprocessing"):
            assert sorted(parallel(2, abs, Pieces([(-1,), (-2,)]))) == [1, 2]
        assert all(heard)

    def test_two_signals_while_the_workers_start(self, tmp_path: Path, few_digits: Path) -> None:
        command = [sys.executable, "-m", "benchmarks", "paper", "--rows", "logistic", "--epochs", "500",
                   "--jobs", "2", "--data", str(few_digits), "--out", str(tmp_path)]  # fmt: skip
        hear_interrupts()
        going = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not (tmp_path / "settings.json").exists():
            assert going.poll() is None
        os.killpg(going.pid, signal.SIGINT)
        os.killpg(going.pid, signal.SIGTERM)
        _, err = going.communicate(timeout=60)
        assert going.returncode in (130, 143)
        assert err in ("", "stopped\n", "terminated\n")


def test_a_models_py_of_the_users_own_is_named_and_not_run(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    for name, is_package in (("models", False), ("attacks", True), ("minigrad", False)):
        folder = tmp_path / name
        path = folder / (f"{name}/__init__.py" if is_package else f"{name}.py")
        path.parent.mkdir(parents=True)
        path.write_text("raise SystemExit(3)")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])}
        ended = subprocess.run([sys.executable, "-m", "benchmarks", "paper"], cwd=folder, env=environment,
                               capture_output=True, text=True, check=False)  # fmt: skip
        assert ended.returncode == 1
        assert f"error: {name} must be this project's package, got {path}" in ended.stderr
        assert "rename it" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_every_figure_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken:
        def savefig(self, file: Any, **_: Any) -> None:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        output.save_figure(Broken(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_that_is_typed_again_changes_nothing(run: Path, finished: Path, run_few: Run) -> None:
    run_few(*LOGISTIC, "--out", str(run))
    assert state_of(run) == state_of(finished)
