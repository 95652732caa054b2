"""Kill a small grid at random, start it again until it is done, and compare with the grid that nobody killed.

    python -P tests/benchmarks/kill_runs.py --runs 100

Three ways to die: SIGKILL at a random moment; SIGKILL at a random call that opens a file for writing, renames, removes
or makes one; and in the middle of a write, at a random byte (a limit on the size of files whose signal kills). Each
attempt is forked from one process that has imported everything, so a run takes seconds.

The bundles and the leaderboard must be equal byte for byte but for what a clock said; every fit must be there once, and
none may have been run again after it was finished.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sertbench import benchmark, cli, grid, optimism, statistics  # noqa: F401 - imported once, for all attempts
from sertbench.commands import run as _run  # noqa: F401

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds


class Tones(Corpus):
    """Two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}, counts={"high": 9, "low": 9}),)
    protocols = (GroupFolds("speaker3", 1, "speaker", {s: (s,) for s in "abc"}),)

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker)
'''

MODEL = '''
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(16), window=0.4, hop=0.2, epochs=3, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes, width=8):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(nn.Dropout(0.2), nn.Linear(input_shape[0], width), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))
'''

ESTIMATOR = '''
from sklearn.linear_model import LogisticRegression

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, Recipe


class Logistic(Estimator):
    """Logistic regression on the statistics of the log-mel bands."""

    paper = "none"
    recipe = Recipe(features=log_mel(16))

    def __init__(self, n_classes, seed, C=1.0):
        super().__init__(n_classes, seed)
        self.C = C

    @classmethod
    def search_space(cls, trial):
        return {"C": trial.suggest_float("C", 0.1, 10.0, log=True)}

    def fit(self, train, val):
        self.machine = LogisticRegression(C=self.C).fit(train.functionals, train.targets)

    def predict_proba(self, examples):
        return self.machine.predict_proba(examples.functionals)
'''

SEARCH = """
    @classmethod
    def search_space(cls, trial):
        rate = trial.suggest_float("learning_rate", 0.01, 0.1)
        return {"width": trial.suggest_int("width", 2, 16), "learning_rate": rate}
"""

COMMAND = (
    "run", "--models", "../tuned.py,../plain.py,../logistic.py", "--dataset", "../tones.py", "--data", "../data",
    "--trials", "5", "--seeds", "1",
)  # fmt: skip
CLOCK = {"date_utc", "frozen_at", "read_at", "seconds", "timing"}  # of run.json
CLOCK_COLUMNS = (
    "date_utc",
    "train_seconds_per_fit",
    "wall_seconds",
    "predict_rtf",
    "run_json_sha256",
    "git_sha",
    "dirty",
)
WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink"}

How = Callable[[], None]


def prepare(place: Path) -> None:
    """Write the corpus and the plug-ins; the cache is filled by the first run."""
    (place / "data").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for s, speaker in enumerate("abc"):
        for code, pitch in (("high", 900.0), ("low", 500.0)):
            for take in range(3):
                t = np.arange(int((0.4 + 0.2 * take) * 16000)) / 16000
                wave = 0.3 * np.sin(2 * np.pi * (pitch + 20 * s) * t) + 0.05 * rng.standard_normal(len(t))
                soundfile.write(place / "data" / f"{speaker}_{code}_{take}.wav", wave, 16000)
    (place / "tones.py").write_text(ADAPTER)
    (place / "tuned.py").write_text(MODEL + SEARCH)
    (place / "plain.py").write_text(MODEL.replace("width=8", "width=5"))
    (place / "logistic.py").write_text(ESTIMATOR)
    os.environ["SERTBENCH_CACHE"] = str(place / "cache")


def changes_a_file(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is a call that changes the disk."""
    return event in CHANGES or (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING))


def die_at_call(number: int) -> How:
    """Kill this process at its `number`-th call that changes the disk."""

    def install() -> None:
        left = number

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if changes_a_file(event, arguments):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return install


def count_calls(into: Path) -> How:
    """Count the calls that change the disk, and note all modules that were imported."""

    def install() -> None:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            count += changes_a_file(event, arguments)
            if event == "sertbench.end":
                into.write_text(json.dumps([count, list(sys.modules)]))

        sys.addaudithook(hook)

    return install


def import_all(noted: Path) -> None:
    """Import in this process what an attempt imports, so that the next ones need not."""
    if noted.exists():
        for name in json.loads(noted.read_text())[1]:
            with suppress(Exception):
                importlib.import_module(name)


def die_at_byte(size: int) -> How:
    """Kill this process when it writes beyond `size` bytes of a file, with what comes before on the disk."""

    def install() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return install


def attempt(folder: Path, workers: int, how: How | None = None, seconds: float | None = None) -> int:
    """Run the grid in a forked process; killed after `seconds`, or in the way `how` installs. Gives its wait status."""
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            os.chdir(folder)
            log = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if how:
                how()
            status = cli.main([*COMMAND, "--workers", str(workers)])
            sys.audit("sertbench.end")
            sys.stdout.flush()
            os._exit(status)
        except BaseException:  # noqa: BLE001 - the child must never come back
            import traceback

            traceback.print_exc()
            os._exit(99)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def timeless(value: object) -> object:
    """JSON without what a clock said."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in CLOCK}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def outcome(folder: Path) -> dict[str, object]:
    """All that must be equal, by name."""
    found: dict[str, object] = {}
    for run_json in sorted((folder / "runs").glob("*/run.json")):
        run = json.loads(run_json.read_text())
        del run["environment"]  # the checkout may change meanwhile
        found[f"{run_json.parent.name}/run.json"] = timeless(run)
        for name in ("predictions.parquet", "split.parquet", "config.toml"):
            found[f"{run_json.parent.name}/{name}"] = (run_json.parent / name).read_bytes()
    fits = folder / "runs" / "fits"
    for fit in sorted(fits.iterdir()):
        if not fit.name.startswith("."):
            for name in ("weights.pt", "estimator.npz"):
                if (fit / name).exists():
                    found[f"fits/{fit.name}/{name}"] = (fit / name).read_bytes()
    for table in sorted((folder / "leaderboards").glob("*.csv")):
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found[table.name] = [{k: v for k, v in row.items() if k not in CLOCK_COLUMNS} for row in rows]
    return found


def run_twice(folder: Path) -> list[str]:
    """Fits that were trained again although they had been finished."""
    again = []
    for journal in (folder / "runs").glob("*/fits.jsonl"):
        done: Counter[str] = Counter()
        for text in journal.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # torn
            if line["state"] == "done" and not line["reused"]:
                done[line["fit"]] += 1
        again += [f"{journal.parent.name}: {fit}" for fit, times in done.items() if times > 1]
    return again


def differences(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """Names of what is missing, too much, or different."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def main() -> int:
    """Kill, restart, compare; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="how many grids to kill (default: 100)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of each grid (default: 1, in process)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        return 1 if kill(Path(text), options.runs, options.workers, random.Random(options.seed)) else 0


def kill(place: Path, runs: int, workers: int, rng: random.Random) -> int:
    """Kill so many grids in `place`; gives how many did not end as the uninterrupted one."""
    prepare(place)
    for name in ("warm", "whole"):  # the first one fills the cache, and shows what the others need
        (place / name).mkdir()
        import_all(place / "calls")
        started = time.monotonic()
        if status := attempt(place / name, workers, count_calls(place / "calls")):
            raise SystemExit(f"the grid itself fails with status {status}: {(place / name / 'output.txt').read_text()}")
        seconds = time.monotonic() - started
    expected, calls = outcome(place / "whole"), json.loads((place / "calls").read_text())[0]
    largest = max(path.stat().st_size for path in (place / "whole" / "runs").rglob("*") if path.is_file())
    print(f"uninterrupted: {len(expected)} things to compare, {calls} writing calls, {seconds:.1f} s", flush=True)
    bad = deaths = 0
    ways: Counter[str] = Counter()
    for number in range(runs):
        folder = place / f"run{number}"
        folder.mkdir()
        for _ in range(rng.choice((1, 1, 2, 3))):
            way = rng.choice(("moment", "call", "byte"))
            if way == "moment":
                status = attempt(folder, workers, seconds=rng.uniform(0, seconds))
            elif way == "call":
                status = attempt(folder, workers, die_at_call(rng.randint(1, calls)))
            else:
                status = attempt(folder, workers, die_at_byte(int(largest ** rng.random())))
            if os.WIFSIGNALED(status):
                deaths, ways[way] = deaths + 1, ways[way] + 1
        status = attempt(folder, workers)
        wrong = differences(outcome(folder), expected) if status == 0 else [f"status {status}"]
        wrong += run_twice(folder)
        if wrong:
            bad += 1
            print(f"run {number}: {wrong}", flush=True)
            print((folder / "output.txt").read_text()[-2000:], flush=True)
        else:
            shutil.rmtree(folder)
        if number % 5 == 4:
            print(f"{number + 1} grids, {deaths} deaths {dict(ways)}, {bad} wrong", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
