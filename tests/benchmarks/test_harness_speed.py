"""What the harness itself takes: commands that only look, a run that finds everything done, a whole small board.

Each measurement is a process of its own, as a user types it. `extra_info` of the JSON report has the seconds to the end
of the first training step, and the harness overhead, of a run whose features are cached.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest

FAST = ("--dataset", "demo", "--trials", "0", "--seeds", "1", "--epochs", "1", "--device", "cpu")


def sertbench(*arguments: object) -> None:
    command = [sys.executable, "-m", "sertbench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the demo corpus's features in its cache, and a finished run."""
    folder = tmp_path_factory.mktemp("harness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERTBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        sertbench("run", "--model", "cnn", *FAST)
        yield folder


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("command", ["--help", "list", "list models", "list datasets"])
def test_commands_that_only_look(benchmark, command):
    benchmark.pedantic(sertbench, args=command.split(), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="run")
def test_a_run_that_finds_everything_done(benchmark, place):
    benchmark.pedantic(sertbench, args=("run", "--model", "cnn", *FAST), rounds=3)


@pytest.mark.benchmark(group="run")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_with_cached_features(benchmark, place, workers):
    runs = (f"runs-{workers}-{i}" for i in itertools.count())
    told = []

    def run() -> None:
        folder = place / next(runs)
        sertbench("run", "--model", "cnn", *FAST, "--workers", workers, "--profile", "--runs", folder)
        told.append(json.loads(next(folder.glob("*/profile.json")).read_text()))

    benchmark.pedantic(run, rounds=3)

    benchmark.extra_info.update(
        first_step_seconds=min(one["first_step_seconds"] for one in told),
        overhead=min(one["overhead"] for one in told),
        load=os.getloadavg()[0],
    )


@pytest.mark.benchmark(group="run")
def test_a_small_board_from_nothing(benchmark, place):
    folders = (place / f"board-{i}" for i in itertools.count())

    def board() -> None:
        folder = next(folders)
        models = "majority,duration,logreg,cnn"
        sertbench("run", "--models", models, *FAST, "--runs", folder / "runs", "--leaderboards", folder / "boards")

    benchmark.pedantic(board, rounds=2)
