"""The curves for TensorBoard: each epoch of each fit once, however often the run was interrupted."""

from __future__ import annotations

import builtins
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sertbench.cli import main
from sertbench.fits import FitRecord
from sertbench.progress import Display
from sertbench.training import EpochEnd

EPOCHS = tuple(EpochEnd(k, 2.0 / k, 0.2 + k / 10, 1.5 / k, 0.01 / k, 0.5) for k in range(1, 6))
NAMES = {"loss/train", "loss/val", "uar/val", "rate/learning", "rate/utterances_per_second"}
TAG = "fold a/b, seed 0"


def display(folder: Path) -> Display:
    """What a process that runs or resumes a run tells."""
    made = Display(Console(file=io.StringIO()), tensorboard=True)
    made.log_to(folder)
    made.expect({"fold a/b": 100})
    return made


def record(epochs: tuple[EpochEnd, ...], *, reused: bool = False) -> FitRecord:
    return FitRecord("aa", len(epochs), 0.7, epochs, 4.0, 10, reused=reused)


def curves(folder: Path, fit: str = "fold-a_b-seed-0") -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a fit."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    seen = accumulator.EventAccumulator(str(folder / "tensorboard" / fit))
    seen.Reload()
    return {name: [(e.step, round(e.value, 4)) for e in seen.Scalars(name)] for name in seen.Tags()["scalars"]}


needed = pytest.mark.usefixtures("_tensorboard")


@pytest.fixture
def _tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="pip install 'sertbench[tensorboard]'")


@needed
def test_a_fit_has_its_curves_in_a_folder_of_its_own(tmp_path: Path) -> None:
    told = display(tmp_path)
    with told.fits(1):
        for event in EPOCHS:
            told.epoch(TAG, event, 5)
        told.fitted(TAG, record(EPOCHS))
    told.ended()
    found = curves(tmp_path)
    assert found.keys() == NAMES
    assert found["loss/train"] == [(k, pytest.approx(2.0 / k, abs=1e-4)) for k in range(1, 6)]
    assert found["uar/val"] == [(k, pytest.approx(20 + 10 * k, abs=1e-3)) for k in range(1, 6)]
    assert {value for _, value in found["rate/utterances_per_second"]} == {200.0}


@needed
def test_a_resumed_fit_doubles_no_point(tmp_path: Path) -> None:
    first = display(tmp_path)
    for event in EPOCHS[:4]:
        first.epoch(TAG, event, 5)
    first.ended()  # the process dies; its last checkpoint was after epoch 2
    second = display(tmp_path)
    for event in EPOCHS[2:4]:
        second.epoch(TAG, event, 5)
    second.ended()
    assert [step for step, _ in curves(tmp_path)["loss/train"]] == [1, 2, 3, 4], "also while it is at work"
    third = display(tmp_path)
    with third.fits(1):
        third.epoch(TAG, EPOCHS[4], 5)
        third.fitted(TAG, record(EPOCHS))
    third.ended()
    assert [step for step, _ in curves(tmp_path)["loss/train"]] == [1, 2, 3, 4, 5]
    assert len(list((tmp_path / "tensorboard/fold-a_b-seed-0").iterdir())) == 1


@needed
def test_a_fit_that_begins_anew_leaves_nothing_of_its_first_try(tmp_path: Path) -> None:
    told = display(tmp_path)
    with told.fits(1):
        for event in (*EPOCHS, *EPOCHS[:2]):  # no memory: again, with half the batch at a time
            told.epoch(TAG, event, 5)
        told.fitted(TAG, record(EPOCHS[:2]))
    told.ended()
    assert [step for step, _ in curves(tmp_path)["uar/val"]] == [1, 2]


@needed
def test_a_fit_that_was_done_already_is_written_from_its_record_once(tmp_path: Path) -> None:
    for _ in range(2):
        told = display(tmp_path)
        with told.fits(1):
            told.fitted(TAG, record(EPOCHS, reused=True))
        told.ended()
    found = curves(tmp_path)
    assert found.keys() == NAMES
    assert [step for step, _ in found["loss/val"]] == [1, 2, 3, 4, 5]


@needed
def test_a_model_without_epochs_has_one_point(tmp_path: Path) -> None:
    told = display(tmp_path)
    with told.fits(1):
        told.fitted(TAG, FitRecord("aa", 3, 0.7, (), 4.0, 10))
    assert curves(tmp_path) == {"uar/val": [(3, pytest.approx(70, abs=1e-3))]}


@needed
def test_the_optimism_meters_fits_are_left_out(tmp_path: Path) -> None:
    told = display(tmp_path).aside()
    told.epoch(TAG, EPOCHS[0], 5)
    assert not (tmp_path / "tensorboard").exists()


@needed
@pytest.mark.slow
def test_a_run_writes_its_fits_and_again_the_same(tmp_path: Path) -> None:
    arguments = ["run", "--model", "duration", "--dataset", "demo", "--trials", "0", "--seeds", "1", "--workers", "1"]
    arguments += ["--tensorboard", "--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "lb")]
    assert main(arguments) == 0
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/run.json"))
    fits = sorted(path.name for path in (run / "tensorboard").iterdir())
    assert fits == [f"fold-{k}-seed-0" for k in range(1, 5)]
    before = curves(run, fits[0])
    (run / "run.json").unlink()  # the bundle is written anew, from finished fits
    assert main(arguments) == 0
    assert curves(run, fits[0]) == before


def test_without_the_package_it_says_what_to_type(monkeypatch, capsys) -> None:
    real = builtins.__import__

    def lacking(name, *args, **kwargs):
        if name == "tensorboard":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", lacking)
    assert main(["run", "--model", "cnn", "--dataset", "demo", "--tensorboard", "--dry-run"]) == 2
    assert "pip install 'sertbench[tensorboard]'" in capsys.readouterr().err


def test_nothing_of_it_is_imported_without_the_flag() -> None:
    code = (
        "import sys, sertbench.progress, sertbench.scalars; sys.exit(bool({'tensorboard', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
