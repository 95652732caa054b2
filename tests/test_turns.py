"""Fits that take turns in one process are the fits that they are alone, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sertbench import checkpoints, executors, plugins, recording, resources, turns
from sertbench.compute import Compute
from sertbench.config import RunConfig
from sertbench.errors import ConfigError, SertbenchError, StoppedError, TrainingError, WorkerError
from sertbench.executors import BEGUN, InProcess, Runner
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.feature_store import FeatureStore
from sertbench.fits import FitRecord, run_fit
from sertbench.plan import Plan
from sertbench.plan_text import where
from sertbench.tasks import FitTask
from sertbench.worker_processes import Workers

Tasks = Callable[..., FitTask]
MODELS = {
    "cnn": {"channels": 2, "batch_size": 5, "mixup": 0.4},
    "lstm": {"hidden": 6, "batch_size": 4},
    "glam": {"batch_size": 8, "epochs": 2},
}
PLACES = {name: plugins.find("models", name).path for name in MODELS}


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, FeatureStore]:
    """Twelve utterances, every second one louder, which is its class: in windows, and as a whole."""
    place = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    paths = [place / f"{i}.wav" for i in range(12)]
    for i, path in enumerate(paths):
        soundfile.write(path, (0.1 + 0.1 * (i % 2)) * rng.standard_normal(2400 + 300 * i), 16000)
    spec, names = log_mel(6, n_fft=256, hop_length=256), [path.stem for path in paths]
    cuts: dict[bool, tuple[float | None, float | None]] = {False: (0.15, 0.05), True: (None, None)}
    return {whole: open_store(paths, names, spec, *cut, "mono", place / "cache") for whole, cut in cuts.items()}


@pytest.fixture
def task(stores: dict[bool, FeatureStore], tmp_path: Path) -> Tasks:
    """Give a function that makes tasks: fold 0, 1 or 2 validates on another third of the utterances."""

    def make(
        model: str, seed: int = 0, fold: int = 0, folder: str = "stacked", epochs: int = 3, **choice: Any
    ) -> FitTask:
        place = str(PLACES[model]) if model in PLACES else model
        val = np.arange(12) % 3 == fold
        train = np.flatnonzero(~val)
        return FitTask(
            place, {"epochs": epochs, **MODELS.get(model, {}), **choice}, seed, "m", "s", f"f{fold}", 2,
            train, train % 2, np.flatnonzero(val), np.flatnonzero(val) % 2, (), np.ones(12),
            stores[model == "lstm"], Compute("cpu", "fp32"), tmp_path / folder,
        )  # fmt: skip

    return make


def run_all(engine: executors.Engine, tasks: Sequence[FitTask], report: Any = None) -> list[FitRecord | Exception]:
    """Ask for all fits at once; gives what became of them, in their order."""
    with Runner(engine) as runner, ThreadPoolExecutor(len(tasks)) as threads:
        futures = [
            threads.submit(runner.run, run_fit, task, f"{i}", report or (lambda *_: None))
            for i, task in enumerate(tasks)
        ]
        return [future.exception() or future.result() for future in futures]  # type: ignore[misc]


def alone(tasks: Sequence[FitTask], name: str = "alone") -> list[FitTask]:
    """The same tasks in a folder of their own, fitted one after another without turns."""
    others = [replace(task, folder=task.folder.with_name(name)) for task in tasks]
    for other in others:
        run_fit(other, lambda _: None)
    return others


def timeless(record: FitRecord) -> dict[str, Any]:
    """What is kept of a record, without what a clock said."""
    history = tuple(replace(event, seconds=0.0) for event in record.history)
    return replace(record, seconds=0.0, history=history).lasting()


def assert_same(tasks: Sequence[FitTask], records: Sequence[FitRecord | Exception], others: Sequence[FitTask]) -> None:
    for task, record, other in zip(tasks, records, others, strict=True):
        assert isinstance(record, FitRecord), record
        assert timeless(record) == timeless(run_fit(other, lambda _: None))
        assert_equal_weights(task, other)


def assert_equal_weights(one: FitTask, two: FitTask) -> None:
    """Bit for bit."""
    first, second = ((torch.load(t.folder / t.identity() / "weights.pt", weights_only=True)) for t in (one, two))
    assert first.keys() == second.keys()
    assert [name for name, values in first.items() if not torch.equal(values, second[name])] == []


# --- the same fits


@pytest.mark.parametrize("model", MODELS)
def test_fits_that_take_turns_are_those_that_run_alone_bit_for_bit(task: Tasks, model: str) -> None:
    """Different seeds and folds; each network has dropout, batch normalisation or mixup, or all of them."""
    tasks = [task(model, seed=seed, fold=fold) for seed, fold in ((0, 0), (1, 0), (0, 1))]

    assert_same(tasks, run_all(InProcess(3), tasks), alone(tasks))


def test_different_models_take_turns(task: Tasks) -> None:
    tasks = [task("lstm", seed=1), task("cnn", seed=1), task("lstm", seed=2, hidden=4)]

    assert_same(tasks, run_all(InProcess(3), tasks), alone(tasks))


def test_trials_with_other_hyperparameters_take_turns(task: Tasks) -> None:
    rng = np.random.default_rng(3)
    tasks = [
        task(
            "cnn", learning_rate=10 ** rng.uniform(-4, -2), weight_decay=10 ** rng.uniform(-6, -2),
            mixup=rng.uniform(0, 0.5), dropout=rng.uniform(0, 0.5), batch_size=int(rng.integers(3, 9)),
        )
        for _ in range(4)
    ]  # fmt: skip

    assert_same(tasks, run_all(InProcess(4), tasks), alone(tasks))


def test_a_refit_and_more_fits_than_places(task: Tasks) -> None:
    tasks = [task("cnn", seed=seed) for seed in range(4)]
    tasks.append(replace(task("cnn"), refit_epochs=2))

    records = run_all(InProcess(2), tasks)

    others = alone(tasks)
    assert_same(tasks[:-1], records[:-1], others[:-1])
    assert_equal_weights(tasks[-1], others[-1])


def test_one_stops_early_one_is_pruned_one_diverges_and_the_others_go_on(task: Tasks) -> None:
    plain = task("cnn", epochs=6)
    early = task("cnn", seed=1, epochs=6, patience=1)
    pruned = replace(task("cnn", seed=2, epochs=6), stop_below=(-1.0, 1.1))
    broken = task("cnn", seed=3, epochs=6, learning_rate=1e30)
    records = run_all(InProcess(4), [plain, early, pruned, broken])

    assert isinstance(records[3], TrainingError)
    assert "learning rate 1e+30" in str(records[3])
    assert isinstance(records[2], FitRecord)
    assert (records[2].pruned, len(records[2].history)) == (True, 2)
    assert_same([plain, early], records[:2], alone([plain, early]))


def test_events_come_from_each_fit_in_order(task: Tasks) -> None:
    seen: list[tuple[str, Any]] = []
    tasks = [task("lstm", seed=seed) for seed in range(3)]

    records = run_all(InProcess(3), tasks, lambda tag, event: seen.append((tag, event)))

    for i, record in enumerate(records):
        assert isinstance(record, FitRecord)
        assert [event for tag, event in seen if tag == f"{i}"] == [BEGUN, *record.history]
    order = [tag for tag, event in seen if event != BEGUN]
    assert sorted(order[:3]) == ["0", "1", "2"], "the first epochs of all end before anybody's second one"


# --- interruptions


class Killed(BaseException):
    """As hard as an interruption can be in a test."""


def test_fits_that_were_killed_go_on_from_their_checkpoints(task: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    tasks = [task("cnn", seed=seed, epochs=5) for seed in range(3)]

    def die(tag: str, event: Any) -> None:
        if tag == "1" and event != BEGUN and event.epoch == 2:
            raise Killed

    first = run_all(InProcess(3), tasks, die)
    assert isinstance(first[1], Killed)
    again = run_all(InProcess(3), tasks)

    assert [isinstance(record, FitRecord) and record.reused for record in again] == [True, False, True]
    assert isinstance(again[1], FitRecord)
    assert again[1].note == "went on after epoch 2"
    assert_same(tasks, again, alone(tasks))


def test_a_run_that_was_stopped_ends_all_fits_and_keeps_finished_ones(
    task: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    tasks = [task("cnn", epochs=1), *(task("cnn", seed=seed, epochs=9) for seed in (1, 2))]
    engine = InProcess(3)

    def stop(tag: str, event: Any) -> None:
        if tag == "2" and event != BEGUN and event.epoch == 4:
            engine.stop()

    first = run_all(engine, tasks, stop)
    assert isinstance(first[0], FitRecord)
    assert [type(outcome) for outcome in first[1:]] == [StoppedError, StoppedError]
    again = run_all(InProcess(3), tasks)

    assert [isinstance(record, FitRecord) and record.reused for record in again] == [True, False, False]
    assert_same(tasks, again, alone(tasks))


# --- memory

HUNGRY = '''
import torch
from torch import nn

from sertbench import turns
from sertbench.model import NeuralModel, Recipe


class Hungry(NeuralModel):
    """Memory runs out when more than `beside` fits are at it, or more than `items` items."""

    recipe = Recipe(window=0.15, hop=0.05, epochs=3, batch_size=8, mixup=0.3)

    def __init__(self, input_shape, n_classes, beside=9, items=99):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(nn.Dropout(0.2), nn.Linear(input_shape[0], n_classes))
        self.beside, self.items = beside, items

    def forward(self, x):
        fit = turns.present()
        if self.training and ((fit and fit.turns.live > self.beside) or len(x) > self.items):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layers(x.mean(2))
'''


@pytest.fixture
def hungry(task: Tasks, tmp_path: Path) -> Tasks:
    plugin = tmp_path / "hungry.py"
    plugin.write_text(HUNGRY)
    return lambda **changes: task(str(plugin), **changes)


@pytest.mark.parametrize("beside", [1, 2])
def test_when_memory_runs_out_fewer_fits_go_on_and_all_are_the_same(hungry: Tasks, beside: int) -> None:
    """Batches are not cut for want of memory that the others took: that could change a result."""
    tasks = [hungry(seed=seed, beside=beside) for seed in range(4)]
    engine = InProcess(4)

    records = run_all(engine, tasks)

    assert engine._turns.limit == beside
    assert [record.batch_parts for record in records if isinstance(record, FitRecord)] == [1] * 4
    assert_same(tasks, records, alone(tasks))


def test_batches_are_cut_once_a_fit_is_alone(hungry: Tasks) -> None:
    tasks = [hungry(seed=0), hungry(seed=1, items=4), hungry(seed=2)]

    records = run_all(InProcess(3), tasks)

    assert [record.batch_parts for record in records if isinstance(record, FitRecord)] == [1, 2, 1]
    assert_same(tasks, records, alone(tasks))


def test_a_fit_that_never_fits_into_memory_fails_by_itself(hungry: Tasks) -> None:
    tasks = [hungry(seed=0), hungry(seed=1, items=0), hungry(seed=2)]

    records = run_all(InProcess(3), tasks)

    assert isinstance(records[1], TrainingError)
    assert "out of memory" in str(records[1])
    assert_same(tasks[::2], records[::2], alone(tasks[::2]))


def test_one_begins_alone_and_others_come_as_far_as_there_is_room(hungry: Tasks) -> None:
    live: list[int] = []
    answers = iter([None, 2])

    def hear(tag: str, event: Any) -> None:
        present = turns.present()
        assert present is not None
        live.append(present.turns.live)

    records = run_all(InProcess(4, room=lambda: next(answers)), [hungry(seed=seed) for seed in range(4)], hear)

    assert all(isinstance(record, FitRecord) for record in records)
    assert live[:2] == [1, 1], "nothing was learned until the second question"
    assert max(live) == 2
    assert next(answers, "none left") == "none left"


def test_room_is_what_is_free_in_shares_of_what_a_fit_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 1 << 30
    for name, value in {"is_initialized": True, "mem_get_info": (10 * gigabyte, 16 * gigabyte)}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for taken, expected in ((0, None), (gigabyte, 9), (20 * gigabyte, 1)):
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda taken=taken: taken)
        assert resources.fits_on_gpu() == expected


# --- turns themselves


def test_turns_go_round_and_each_has_its_own_random_numbers() -> None:
    log: list[tuple[str, float]] = []
    torch.manual_seed(7)
    outside = torch.get_rng_state()
    gate, there = threading.Barrier(3), set()

    def work(name: str, report: Any) -> list[float]:
        torch.manual_seed(ord(name))
        with turns.away():
            gate.wait()
        there.add(name)
        while len(there) < 3:  # a thread that the system held back is not waiting for its turn yet
            turns.pause()
        drawn = []
        for _ in range(4):
            turns.pause()
            drawn.append(float(torch.rand(())))
            log.append((name, drawn[-1]))
        return drawn

    with Runner(InProcess(3)) as runner, ThreadPoolExecutor(3) as threads:
        found = dict(zip("abc", threads.map(lambda name: runner.run(work, name, name), "abc"), strict=True))

    for name, drawn in found.items():
        torch.manual_seed(ord(name))
        assert drawn == [float(torch.rand(())) for _ in range(4)]
    names = [name for name, _ in log]
    assert all(sorted(names[i : i + 3]) == ["a", "b", "c"] for i in (3, 6)), "in the middle all three are at it"
    torch.set_rng_state(outside)


def test_the_random_numbers_of_the_process_stay_as_they_were() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)

    with Runner(InProcess(2)) as runner:
        runner.run(lambda *_: torch.manual_seed(1), None, "tag")

    assert torch.equal(torch.rand(2), expected)


def test_without_turns_there_is_nothing_to_wait_for() -> None:
    turns.pause()
    with turns.away():
        pass
    assert (turns.present(), turns.crowded(), turns.make_room()) == (None, False, False)


def test_those_who_wait_are_told_that_it_is_over() -> None:
    engine, ready = InProcess(3, room=lambda: None), threading.Event()

    def work(task: None, report: Any) -> None:
        ready.set()
        while True:
            turns.pause()

    with Runner(engine) as runner, ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(runner.run, work, None, "tag") for _ in range(3)]
        ready.wait()
        runner.stop()
        assert [type(future.exception()) for future in waiting] == [StoppedError] * 3


# --- what is asked for


@pytest.mark.parametrize(
    ("options", "workers", "device", "stack"),
    [
        ({}, 4, "cpu", 1),
        ({"stack": 3}, 4, "cpu", 3),
        ({"stack": 0}, 4, "cpu", 1),
        ({}, 1, "cuda", 1),
        ({"stack": 0}, 1, "cuda", None),
        ({"stack": 2}, 1, "cuda", 2),
        ({"stack": 0}, 2, "cuda", None),
        ({"stack": 0}, 3, "cuda", 1),  # several processes share a GPU already
        ({"stack": 2}, 3, "cuda", 2),
        ({"executor": "slurm"}, 1, "cuda", 1),
        ({"executor": "slurm", "stack": 1}, 1, "cpu", 1),
    ],
    ids=str,
)
def test_how_many_take_turns(
    options: dict[str, Any], workers: int, device: str, stack: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = RunConfig(model="m", dataset="d", **options)
    plan: Any = SimpleNamespace(config=config, workers=workers, compute=Compute(device, "fp32"))
    assert Plan.stack.fget(plan) == stack  # type: ignore[attr-defined]


def test_a_cluster_has_one_fit_at_a_time_in_each_worker() -> None:
    with pytest.raises(ConfigError, match=r"--stack 4: .*Start more workers, or leave --stack out"):
        RunConfig(model="m", dataset="d", executor="slurm", stack=4)


@pytest.mark.parametrize(
    ("workers", "stack", "said"),
    [
        (4, 1, "4 at a time"),
        (1, 3, "3 fits at a time"),
        (1, None, "as many fits at a time as there is room for"),
        (2, None, "2 workers, each with as many fits at a time as there is room for"),
    ],
)
def test_the_plan_says_how_many_take_turns(workers: int, stack: int | None, said: str) -> None:
    plan: Any = SimpleNamespace(config=RunConfig(model="m", dataset="d"), workers=workers, stack=stack)
    assert where(plan) == said


# --- worker processes

DEADLY = HUNGRY.replace("import torch\n", "import os\nimport torch\n", 1).replace(
    'raise torch.OutOfMemoryError("CUDA out of memory")', "os._exit(3)"
)


@pytest.mark.slow
def test_fits_take_turns_in_worker_processes_and_one_that_kills_its_process_takes_no_other_along(
    task: Tasks, tmp_path: Path
) -> None:
    plugin = tmp_path / "deadly.py"
    plugin.write_text(DEADLY)
    tasks = [task(str(plugin), seed=seed, items=0 if seed == 1 else 99) for seed in range(4)]
    seen: list[str] = []

    records = run_all(Workers(1, stack=3), tasks, lambda tag, _: seen.append(tag))

    assert isinstance(records[1], WorkerError)
    assert "exit code 3" in str(records[1])
    others = [tasks[i] for i in (0, 2, 3)]
    assert_same(others, [records[i] for i in (0, 2, 3)], alone(others))
    assert isinstance(records[1], SertbenchError)
    assert set(seen) == {"0", "1", "2", "3"}


# --- on a GPU: nothing of this section has been run yet

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_fits_that_take_turns_are_those_that_run_alone_within_rounding(task: Tasks, model: str) -> None:
    """Training is chaotic: rounding grows from step to step, so a few steps are compared."""
    tasks = [replace(task(model, seed=seed, epochs=1), compute=Compute("cuda", "fp32")) for seed in range(3)]
    records = run_all(InProcess(3, "cuda"), tasks)

    for one, record, other in zip(tasks, records, alone(tasks), strict=True):
        assert isinstance(record, FitRecord), record
        assert record.note == ""
        expected = run_fit(other, lambda _: None)
        assert record.history[0].loss == pytest.approx(expected.history[0].loss, rel=1e-3)
        assert one.identity() == other.identity()


@cuda
def test_on_a_gpu_dropout_and_its_replays_draw_each_fit_s_own_numbers() -> None:
    def work(seed: int, report: Any) -> torch.Tensor:
        torch.manual_seed(seed)
        network = torch.nn.Linear(1, 1)
        taken = recording.Recording(network, torch.optim.SGD(network.parameters()), "cuda")
        drawn = []
        for _ in range(8):
            turns.pause()
            drawn.append(taken.run(torch.rand_like, torch.empty(4, device="cuda")).clone())
        assert taken.note == ""
        return torch.stack(drawn).cpu()

    with Runner(InProcess(3, "cuda")) as runner, ThreadPoolExecutor(3) as threads:
        beside = list(threads.map(lambda seed: runner.run(work, seed, "tag"), range(3)))
    with Runner(InProcess(1, "cuda")) as runner:
        lone = [runner.run(work, seed, "tag") for seed in range(3)]

    assert all(torch.equal(one, two) for one, two in zip(beside, lone, strict=True))


@cuda
def test_on_a_gpu_one_fit_s_memory_says_how_many_there_is_room_for(task: Tasks) -> None:
    tasks = [replace(task("glam", seed=seed), compute=Compute("cuda", "fp32")) for seed in range(4)]
    engine = executors.in_process(None, "cuda")

    records = run_all(engine, tasks)

    assert all(isinstance(record, FitRecord) for record in records)
    assert isinstance(engine, InProcess)
    assert engine._turns.limit > 1
