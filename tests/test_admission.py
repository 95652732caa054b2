"""Who may start: a fit waits for its memory, says so, never waits for nobody, and one that never fits fails alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sertbench import admission, memory
from sertbench.admission import Claim, Need, admitted, to_come, verdict
from sertbench.compute import Compute
from sertbench.errors import SertbenchError, StoppedError, TrainingError
from sertbench.executors import InProcess, Runner
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.fits import FitRecord, run_fit
from sertbench.tasks import FitTask
from sertbench.worker_processes import CONTEXT, Workers, prepare

MB = 1 << 20


def claim(pid: int, need: int, *, came: int = 0, running: bool = True, before: int = 10, least: int = 0) -> Claim:
    return Claim(pid, before, need, least, came, running)


# --- the verdict


def nothing(pid: int) -> int:
    return 0


@pytest.mark.parametrize(
    ("mine", "others", "free", "expected"),
    [
        (claim(1, 50), [], 10, "start"),  # nobody to wait for
        (claim(1, 50, least=95), [], 99, "never"),
        (claim(1, 500, least=40), [], 99, "start"),  # what is likely too little is tried
        (claim(1, 50, came=5), [claim(2, 20)], 80, "start"),
        (claim(1, 50, came=5), [claim(2, 20)], 79, "wait"),  # 60 for me, 20 more for the other
        (claim(1, 50, came=5), [claim(2, 20, running=False, came=9)], 10, "start"),  # who came later is not waited for
        (claim(1, 50, came=5), [claim(2, 90, running=False, came=3)], 100, "wait"),  # who came first goes first
        (claim(1, 50, came=5), [claim(2, 20, running=False, came=3)], 100, "start"),  # room for both
        (claim(1, 50, came=5), [claim(1, 30)], 90, "start"),  # the process itself counts once
        (claim(1, 50, came=5), [claim(1, 30)], 89, "wait"),
    ],
)
def test_the_verdict(mine, others, free, expected):
    held = {1: 0, 2: 10}
    assert verdict(mine, others, held.get, free, 100) == expected


def test_what_a_process_has_taken_is_no_longer_to_come():
    both = [claim(1, 50), claim(1, 30), claim(2, 40)]
    assert to_come(both, {1: 10, 2: 10}.get) == 80 + 40
    assert to_come(both, {1: 60, 2: 45}.get) == 30 + 5
    assert to_come(both, {1: 500, 2: 500}.get) == 0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_they_need_all_get_through_and_never_too_many_at_a_time(seed):
    """Fits come and go at random; those that run never need more than there is, but for one that is alone."""
    rng = np.random.default_rng(seed)
    waiting = [claim(pid, int(rng.integers(1, 150)), came=pid, running=False, before=0) for pid in range(40)]
    running: list[Claim] = []
    for _ in range(2000):
        if not waiting and not running:
            break
        there = waiting[:5]
        mine = there[rng.integers(len(there))] if there else None
        if mine is not None and rng.random() < 0.6:
            others = [*running, *(c for c in there if c is not mine)]
            if verdict(mine, others, nothing, 100, 1000) == "start":
                waiting.remove(mine)
                running.append(replace(mine, running=True))
                assert len(running) == 1 or sum(c.need for c in running) <= 100
        elif running:
            running.pop(rng.integers(len(running)))
    assert not waiting
    assert not running


# --- the ledger


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A temporary folder of this test's own, and short waits."""
    monkeypatch.setattr(admission.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(admission, "POLL", 0.01)
    monkeypatch.setattr(admission, "_own", [])  # what this process had before its first fit: that of an earlier test
    return tmp_path / f"sertbench-{os.getuid()}"


@pytest.fixture
def machine(monkeypatch):
    """Gives a function that says how many MB are free, and how many there are beside what this process has."""

    def put(free: int, total: int = 1 << 20) -> None:
        monkeypatch.setattr(memory, "available", lambda: free * MB)
        monkeypatch.setattr(memory, "total", lambda: memory.held() + total * MB)

    return put


OTHER = """
from sertbench import admission
admission.tempfile.gettempdir = lambda: place
with admission.admitted(admission.Need(size), print):
    pipe.send("in")
    pipe.recv()
"""


@contextmanager
def other(size: int) -> Iterator[tuple[BaseProcess, Connection]]:
    """Another process with a fit that needs so many MB and has not begun to take them; it ends when told anything."""
    prepare()
    pipe, theirs = CONTEXT.Pipe()
    names = {"place": admission.tempfile.gettempdir(), "size": size * MB, "pipe": theirs}
    process = CONTEXT.Process(target=exec, args=(OTHER, names), daemon=True)
    process.start()
    assert pipe.recv() == "in"
    try:
        yield process, pipe
    finally:
        process.kill()
        process.join()


def test_a_fit_that_is_alone_starts_at_once_and_leaves_nothing(place, machine):
    machine(free=0)
    said: list[str] = []
    with admitted(Need(500 * MB), said.append):
        assert len(list(place.glob("*.claim"))) == 1
    assert not said
    assert not list(place.glob("*.claim"))
    assert place.stat().st_mode & 0o777 == 0o700


def test_nothing_is_asked_for_what_is_not_known(place):
    with admitted(Need(), pytest.fail):
        assert not place.exists()


def test_one_that_can_never_have_its_memory_fails_with_what_to_do(place, machine):
    machine(free=300, total=300)
    with (
        pytest.raises(
            TrainingError, match=r"needs 0\.\d GB of memory or more, and there are 0\.\d GB here in all. Buy"
        ),
        admitted(Need(900 * MB, 600 * MB, "Buy {}".format), pytest.fail),
    ):
        pytest.fail("it has begun")
    assert not list(place.glob("*.claim"))


def test_a_fit_waits_for_those_of_other_processes_and_says_so_once(place, machine):
    machine(free=1000)
    said: list[str] = []
    began = threading.Event()

    def mine() -> None:
        with admitted(Need(600 * MB), said.append):
            began.set()

    with other(600) as (_, pipe), ThreadPoolExecutor(1) as threads:
        future = threads.submit(mine)
        assert not began.wait(0.3)
        assert len(said) == 1
        assert (
            "waits for memory: it needs about 0.6 GB, 0.4 GB are free beside 1 running fit on this machine" in said[0]
        )
        pipe.send("end")
        assert began.wait(30)
        future.result()
    assert len(said) == 1


def test_nobody_waits_for_a_process_that_died(place, machine):
    machine(free=100)
    with other(600) as (process, _):
        process.kill()
        process.join()
        assert len(list(place.glob("*.claim"))) == 1  # it could not take its claim back
        with admitted(Need(600 * MB), pytest.fail):
            assert len(list(place.glob("*.claim"))) == 1


def test_those_who_fit_beside_each_other_do_not_wait(place, machine):
    machine(free=2000)
    with other(600), admitted(Need(600 * MB), pytest.fail), admitted(Need(600 * MB), pytest.fail):
        pass


def test_many_at_once_are_never_too_many_and_all_get_through(place, machine):
    machine(free=1000)
    lock, live, most = threading.Lock(), 0, 0

    def fit(_: int) -> None:
        nonlocal live, most
        with admitted(Need(400 * MB), lambda _: None):
            with lock:
                live += 1
                most = max(most, live)
            time.sleep(0.02)
            with lock:
                live -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fit, range(24)))
    assert most == 2


@pytest.mark.parametrize("trouble", ["file", "claim", "foreign"])
def test_a_ledger_that_cannot_be_used_keeps_nobody(place, machine, monkeypatch, trouble):
    machine(free=100)
    if trouble == "file":
        place.write_text("")
    elif trouble == "claim":
        place.mkdir(mode=0o700)
        (place / "1-a.claim").write_text("torn {")
    else:
        place.mkdir()
        monkeypatch.setattr(admission.os, "getuid", lambda: 12345)
        monkeypatch.setattr(admission, "folder", lambda: place)
    with admitted(Need(600 * MB), pytest.fail):
        pass


def test_a_machine_without_any_folder_for_temporary_files_keeps_nobody(machine, monkeypatch):
    def none_there():
        raise FileNotFoundError(2, "No usable temporary directory found")

    machine(free=100)
    monkeypatch.setattr(admission.tempfile, "gettempdir", none_there)
    with admitted(Need(600 * MB), pytest.fail):
        pass


def test_a_stopped_fit_ends_its_wait(place, machine):
    machine(free=100)
    waits = threading.Event()
    engine = InProcess(1)

    def work(task: int, report: Any) -> None:
        with admitted(Need(600 * MB), lambda _: waits.set()):
            pytest.fail("it has begun")

    with other(600):
        future = engine.submit(work, 0, lambda _: None)
        assert waits.wait(30)
        engine.stop()
        with pytest.raises(StoppedError):
            future.result(30)
    engine.close()
    assert not list(place.glob(f"{os.getpid()}-*.claim"))


# --- fits

PLUGIN = '''
from pathlib import Path

from torch import nn

from sertbench import admission, memory
from sertbench.model import NeuralModel, Recipe

# A machine with as much memory as its files say: in worker processes as well, which load this plug-in.
place = Path(__file__).parent
memory.available = lambda: int((place / "free").read_text())
memory.total = lambda: int((place / "total").read_text())
admission.tempfile.gettempdir = lambda: str(place)
admission.POLL = 0.02


class Wide(NeuralModel):
    """One hidden layer of a size that can be chosen."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=2, batch_size=4, learning_rate=0.01)

    def __init__(self, input_shape, n_classes, width=8):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(nn.Linear(input_shape[0], width), nn.Dropout(0.3), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))
'''


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Gives a function that makes the task of a seed and a width, on a machine with so much memory as it is told."""
    monkeypatch.setattr(memory, "available", memory.available)  # what the plug-in changes is changed back
    monkeypatch.setattr(memory, "total", memory.total)
    monkeypatch.setattr(admission.tempfile, "gettempdir", admission.tempfile.gettempdir)
    monkeypatch.setattr(admission, "POLL", admission.POLL)
    monkeypatch.setattr(admission, "_own", [])  # what this process had before its first fit: that of an earlier test
    (tmp_path / "wide.py").write_text(PLUGIN)
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(6)]
    for i, path in enumerate(paths):
        soundfile.write(path, (0.1 + 0.2 * (i % 2)) * rng.standard_normal(4000 + 800 * i), 16000)
    spec = log_mel(6, n_fft=256, hop_length=256)
    store = open_store(paths, [path.stem for path in paths], spec, 0.2, 0.1, "mono", tmp_path / "cache")
    for name in ("free", "total"):
        (tmp_path / name).write_text(str(1 << 40))

    def make(seed: int, folder: str, **choice: Any) -> FitTask:
        train, val = np.arange(4), np.arange(4, 6)
        return FitTask(
            str(tmp_path / "wide.py"), choice, seed, "m", "s", "f", 2, train, train % 2, val, val % 2, (), np.ones(6),
            store, Compute("cpu", "fp32"), tmp_path / folder,
        )  # fmt: skip

    return make


def outcomes(runner: Runner, tasks: list[FitTask]) -> tuple[list[FitRecord | SertbenchError], list[str]]:
    """What became of fits that are asked for all at once, and the sentences that they said."""
    said: list[str] = []

    def run(task: FitTask) -> FitRecord | SertbenchError:
        try:
            return runner.run(run_fit, task, f"seed {task.seed}", hear)
        except SertbenchError as error:
            return error

    def hear(tag: str, event: object) -> None:
        if isinstance(event, str) and event != "begun":
            said.append(f"{tag}: {event}")

    with runner, ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(run, tasks)), said


def weights(task: FitTask) -> dict[str, torch.Tensor]:
    return torch.load(task.folder / task.identity() / "weights.pt", weights_only=True)


def test_one_that_never_fits_fails_and_the_others_go_on(task, tmp_path):
    (tmp_path / "total").write_text(str(memory.held() + 100 * MB))
    tasks = [task(0, "fits"), task(1, "fits", width=3_000_000), task(2, "fits")]

    records, _ = outcomes(Runner(InProcess(1)), tasks)

    assert [isinstance(record, FitRecord) for record in records] == [True, False, True]
    assert "here in all. It is for batches of 4. Run it on a machine with more" in str(records[1])


@pytest.mark.parametrize("stack", [1, 3])
def test_fits_that_wait_for_memory_are_those_that_do_not(task, tmp_path, stack):
    """In worker processes, and in threads that take turns, one of which may wait while another has its turn."""
    plain, _ = outcomes(Runner(InProcess(1)), [task(seed, "plain") for seed in range(6)])
    (tmp_path / "free").write_text("0")

    engine = InProcess(stack) if stack > 1 else Workers(2)
    tasks = [task(seed, "waited") for seed in range(6)]
    waited, said = outcomes(Runner(engine), tasks)

    for before, after, mine in zip(plain, waited, tasks, strict=True):
        assert isinstance(before, FitRecord)
        assert isinstance(after, FitRecord)
        assert before.identity == after.identity
        assert before.val_uar == after.val_uar
        expected = weights(replace(mine, folder=tmp_path / "plain"))
        assert all(torch.equal(value, expected[name]) for name, value in weights(mine).items())
    assert len(set(said)) == len(said)
    assert all("waits for memory: it needs about 0.06 GB, 0.00 GB are free beside" in text for text in said)
    if stack > 1:
        assert said  # threads of one process begin side by side for certain
