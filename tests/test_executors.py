"""Where fits run changes nothing; a worker that dies, and a run that is stopped, leave nothing behind that is wrong."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from sertbench import crossval, executors, plugins, worker_processes
from sertbench.compute import Compute
from sertbench.errors import ConfigError, StoppedError, TrainingError, WorkerError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.fits import run_fit, run_prediction
from sertbench.tasks import FitTask, PredictionTask
from sertbench.training import EpochEnd

PLUGIN = '''
import os
import sys
from pathlib import Path

import torch
from torch import nn

from sertbench.errors import ConfigError
from sertbench.model import NeuralModel, Recipe


class Net(NeuralModel):
    """Linear on the mean, with dropout."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=3, batch_size=4, learning_rate=0.1)

    def __init__(self, input_shape, n_classes, fate="none"):
        super().__init__(input_shape, n_classes)
        if fate == "refuses":
            raise ConfigError("a sentence for the user")
        once = Path(__file__).with_name("died")
        if fate == "dies" or fate == "dies once" and not once.exists():
            once.touch()
            os._exit(3)
        if fate == "breaks":
            raise ZeroDivisionError("deep in the plug-in")
        if fate == "exits":
            sys.exit(3)
        self.layers = nn.Sequential(nn.Dropout(0.3), nn.Linear(input_shape[0], n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))
'''


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Give a function that makes the task of a seed: 8 utterances, 4 to train, 2 to validate, 2 to test."""
    place = tmp_path_factory.mktemp("executors")
    plugin = place / "net.py"
    plugin.write_text(PLUGIN)
    rng = np.random.default_rng(0)
    paths = [place / f"{i}.wav" for i in range(8)]
    for i, path in enumerate(paths):
        soundfile.write(path, (0.1 + 0.2 * (i % 2)) * rng.standard_normal(4000 + 800 * i), 16000)
    spec = log_mel(6, n_fft=256, hop_length=256)
    store = open_store(paths, [path.stem for path in paths], spec, 0.2, 0.1, "mono", place / "cache")

    def task(folder: Path, seed: int, **choice) -> FitTask:
        train, val = np.arange(4), np.arange(4, 6)
        return FitTask(
            str(plugin), choice, seed, "m", "s", "f", 2, train, train % 2, val, val % 2, (), np.ones(6), store,
            Compute("cpu", "fp32"), folder,
        )  # fmt: skip

    return task


@pytest.fixture(scope="module")
def outcome(tasks, tmp_path_factory):
    """The same two fits and predictions in this process and in two workers, then fits that raise, die once, or always.

    All in one go, because each worker process imports torch.
    """
    here, there = SimpleNamespace(events=[]), SimpleNamespace(events=[])
    threads = torch.get_num_threads()
    for side, count in ((here, 1), (there, 2)):
        side.folder = tmp_path_factory.mktemp("fits")
        with executors.make(count) as executor:
            fits = [tasks(side.folder, seed) for seed in (0, 1)]
            records = {}

            def fit(seed, executor=executor, fits=fits, records=records, events=side.events):
                hear = lambda tag, event: events.append((tag, event))  # noqa: E731
                records[seed] = executor.run(run_fit, fits[seed], f"seed {seed}", hear)

            both = [threading.Thread(target=fit, args=(seed,)) for seed in (0, 1)]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            side.records = records
            tests = [PredictionTask(task, np.array([6, 7]), (), np.ones(2)) for task in fits]
            side.probabilities = [executor.run(run_prediction, test, "test")[0] for test in tests]
            with pytest.raises(ConfigError) as refused:
                executor.run(run_fit, tasks(side.folder, 0, fate="refuses"), "refuses")
            side.refused = refused
            with pytest.raises(TrainingError) as exited:
                executor.run(run_fit, tasks(side.folder, 0, fate="exits"), "exits")
            side.exited = exited
            if count > 1:
                with pytest.raises(TrainingError) as died:
                    executor.run(run_fit, tasks(side.folder, 0, fate="dies"), "dies")
                side.died = died
                side.after = executor.run(run_fit, tasks(side.folder, 0, fate="dies once"), "after")
                with pytest.raises(TrainingError) as broke:
                    executor.run(run_fit, tasks(side.folder, 0, fate="breaks"), "breaks")
                side.broke = broke
    torch.set_num_threads(threads)
    return SimpleNamespace(here=here, there=there)


def weights(side, seed):
    return torch.load(side.folder / side.records[seed].identity / "weights.pt", weights_only=True)


def timeless(event: EpochEnd):
    return event.epoch, event.loss, event.val_uar, event.val_loss, event.learning_rate


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fit_is_the_same_bit_for_bit_in_this_process_and_in_a_worker(outcome, seed):
    here, there = outcome.here.records[seed], outcome.there.records[seed]

    assert here.identity == there.identity
    assert list(map(timeless, here.history)) == list(map(timeless, there.history))
    for name, values in weights(outcome.here, seed).items():
        assert torch.equal(values, weights(outcome.there, seed)[name]), name


@pytest.mark.parametrize("seed", [0, 1])
def test_a_prediction_is_the_same_bit_for_bit_in_this_process_and_in_a_worker(outcome, seed):
    assert np.array_equal(outcome.here.probabilities[seed], outcome.there.probabilities[seed])
    assert outcome.here.probabilities[seed].shape == (2, 2)


@pytest.mark.parametrize("side", ["here", "there"])
def test_every_epoch_is_reported_once_and_in_order_under_its_tag(outcome, side):
    side = getattr(outcome, side)

    for seed in (0, 1):
        events = [event for tag, event in side.events if tag == f"seed {seed}"]
        assert events == [executors.BEGUN, *side.records[seed].history]
    assert len(side.events) == 8


@pytest.mark.parametrize("side", ["here", "there"])
def test_an_error_keeps_its_kind_and_its_words(outcome, side):
    refused = getattr(outcome, side).refused

    assert refused.type is ConfigError
    assert str(refused.value) == "a sentence for the user"


def test_a_fit_whose_worker_dies_again_and_again_is_an_error_that_says_what_to_type(outcome):
    assert outcome.there.died.type is WorkerError
    assert "a worker process died" in str(outcome.there.died.value)
    assert "exit code 3" in str(outcome.there.died.value)
    assert "type the same command again" in str(outcome.there.died.value)


def test_a_fit_whose_worker_died_is_run_by_another_worker(outcome):
    assert len(outcome.there.after.history) == 3


def test_the_traceback_of_a_worker_comes_with_its_error(outcome):
    text = "".join(traceback.format_exception(outcome.there.broke.value))

    assert "net.py" in str(outcome.there.broke.value)
    assert 'raise ZeroDivisionError("deep in the plug-in")' in text


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_plugin_that_would_end_the_process_is_a_failed_fit(outcome, side):
    said = str(getattr(outcome, side).exited.value)

    assert re.search(r"net\.py, line \d+: SystemExit: 3 \(a plug-in must not end the program", said)


def test_a_worker_goes_on_after_work_that_would_end_it():
    ours, theirs = multiprocessing.Pipe()
    engine = SimpleNamespace(call=lambda work, task, _report: work(task))
    threading.Thread(target=worker_processes.answer, args=(theirs, engine), daemon=True).start()
    answers = []
    for task in ((sys.exit, 3), (abs, -2)):
        ours.send(task)
        assert ours.poll(60)
        answers.append(ours.recv())
    ours.close()

    (kind, (error, _text)), result = answers
    assert (kind, type(error)) == ("error", TrainingError)
    assert str(error).startswith("SystemExit: 3 (")
    assert result == ("result", 2)


def test_one_fit_at_a_time_runs_in_this_process():
    with executors.make(1) as executor:
        assert executor.run(lambda task, _: (task, os.getpid()), "task", "tag") == ("task", os.getpid())


def test_a_stopped_fit_ends_at_its_next_epoch_and_no_other_one_begins():
    seen = []
    with executors.make(1) as executor:

        def work(task, report):
            report(1)
            executor._stopped.set()
            report(2)

        with pytest.raises(StoppedError, match="type the same command again"):
            executor.run(work, None, "running", lambda _, event: seen.append(event))
        with pytest.raises(StoppedError):
            executor.run(lambda *_: seen.append("later"), None, "next")
    assert seen == [executors.BEGUN, 1]


def test_a_fit_in_this_process_is_stopped_between_two_epochs():
    """A step of a large network takes seconds, an epoch minutes: a machine that is taken back does not wait so long."""
    begun = threading.Event()

    def work(task, report):
        begun.set()
        while True:
            time.sleep(0.01)

    with executors.make(1) as executor:
        threading.Thread(target=lambda: begun.wait() and executor.stop()).start()
        with pytest.raises(StoppedError):
            executor.run(work, None, "endless")


def test_stopped_workers_take_no_fit():
    with executors.Runner(worker_processes.Workers(1)) as executor:
        executor.stop()
        with pytest.raises(StoppedError, match="type the same command again"):
            executor.run(len, (), "late")


@pytest.mark.parametrize(("named", "names"), [("", []), ("0", ["0"]), ("3, 5,", ["3", "5"]), ("GPU-ab", ["GPU-ab"])])
def test_workers_take_turns_with_the_gpus_that_this_process_may_use(monkeypatch, named, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert worker_processes.visible_gpus() == names


def test_an_engine_that_has_nobody_left_ends_the_wait():
    class Deserted(executors.InProcess):
        def watch(self):
            raise WorkerError("nobody came")

    with executors.Runner(Deserted()) as executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "WATCH", 0.05)
        with pytest.raises(WorkerError, match="nobody came"):
            executor.run(lambda *_: time.sleep(1), None, "tag")


def test_an_interruption_ends_all_folds(monkeypatch):
    """Else the others would go on to the end of the run before the program ends."""
    ended = []

    def run_fold(fits, fold, choice):
        if fold == "interrupted":
            raise KeyboardInterrupt
        try:
            for _ in range(500):
                fits.send(lambda *_: time.sleep(0.01), None, "tag")
        except StoppedError:
            ended.append(fold)

    monkeypatch.setattr(crossval, "run_fold", run_fold)
    plan = SimpleNamespace(
        split=SimpleNamespace(folds=("interrupted", "other")),
        recipe=SimpleNamespace(features=None),
        manifest=None,
        model=plugins.load_model("majority"),
        workers=1,
    )
    display = SimpleNamespace(fits=lambda _: nullcontext(), begun=lambda _: None, profile=False, spent=lambda *_: None)
    with executors.make(1) as executor, pytest.raises(KeyboardInterrupt):
        crossval.cross_validate(plan, 1, executor, display)

    assert ended == ["other"]


DRIVER = """
import os, sys, time
from sertbench import executors, worker_processes

def work(task, report):
    report(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    with executors.Runner(worker_processes.Workers(1)) as executor:
        executor.run(work, None, "tag", lambda tag, event: event == "begun" or print(event, flush=True))
"""


@pytest.fixture
def driver(tmp_path):
    """A process with one worker at work, and the worker's process id."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    command = [sys.executable, "-P", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def ended(pid: int) -> bool:
    """Whether a process is gone within a generous time."""
    for _ in range(600):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


FORKED = """
import os, sys
from sertbench import executors, worker_processes

def work(task, report):
    threads = len(os.listdir(f"/proc/{os.getppid()}/task"))
    return threads, "torch._dynamo" in sys.modules, os.environ.get("LATER"), os.environ["OMP_NUM_THREADS"]

if __name__ == "__main__":
    worker_processes.prepare()
    os.environ["LATER"] = "said"
    with executors.Runner(worker_processes.Workers(1)) as executor:
        print(*executor.run(work, None, "tag"), os.environ.get("OMP_NUM_THREADS"), "torch" in sys.modules)
"""


@pytest.mark.slow
def test_workers_are_forked_from_a_process_without_threads_that_has_loaded_all(tmp_path):
    (tmp_path / "forked.py").write_text(FORKED)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}

    said = subprocess.run(
        [sys.executable, "-P", tmp_path / "forked.py"], env=environment, capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == ["1", "True", "said", "1", "None", "False"]


INTERRUPTED = """
import os, signal, time
from pathlib import Path
from sertbench import executors, worker_processes

def work(task, report):
    return os.getpid()

if __name__ == "__main__":
    worker_processes.PRELOADED = ("slow_to_load",)
    worker_processes.prepare()
    while not Path("loading").exists():
        time.sleep(0.01)
    signal.signal(signal.SIGINT, lambda *_: print("told", flush=True))
    os.killpg(0, signal.SIGINT)  # as a terminal does
    with executors.Runner(worker_processes.Workers(1)) as executor:
        assert executor.run(work, None, "tag")
    signal.raise_signal(signal.SIGINT)
"""


def test_an_interruption_while_workers_load_is_not_for_them_either(tmp_path):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    (tmp_path / "slow_to_load.py").write_text(
        "import time, pathlib; pathlib.Path('loading').touch(); time.sleep(1); pathlib.Path('loaded').touch()"
    )

    done = subprocess.run(
        [sys.executable, "interrupted.py"],
        cwd=tmp_path,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("told\ntold\n", "")
    assert (tmp_path / "loaded").exists()


@pytest.mark.slow
def test_workers_end_when_the_driving_process_is_killed(driver):
    process, worker = driver

    process.kill()

    assert ended(worker)


@pytest.mark.slow
def test_an_interruption_is_not_for_the_workers(driver):
    _, worker = driver

    os.kill(worker, signal.SIGINT)
    time.sleep(0.5)

    assert Path(f"/proc/{worker}").exists()
