"""Stopwatches: where the time of a piece of work goes, and the account that is made of it."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from rich.console import Console

from sertbench import run_profile
from sertbench.progress import Display
from sertbench.screen import Timed
from sertbench.stopwatch import Stopwatch, lap, running, timed


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is told to go on."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_all_time_is_booked_under_the_next_lap(clock):
    with running() as watch:
        clock(1.0)
        lap("batches")
        clock(2.0)
        lap("forward")
        clock(4.0)
        lap("batches")

    assert watch.seconds == {"batches": 5.0, "forward": 2.0}


def test_a_lap_where_nothing_runs_does_nothing(clock):
    with running() as watch:
        pass
    clock(1.0)
    lap("forward")

    assert watch.seconds == {}


def test_an_inner_stopwatch_and_another_thread_leave_the_outer_one_alone(clock):
    with running() as outer:
        with running() as inner:
            clock(1.0)
            lap("forward")
        other = threading.Thread(target=lap, args=("backward",))
        other.start()
        other.join()
        lap("set-up")

    assert inner.seconds == {"forward": 1.0}
    assert outer.seconds == {"set-up": 1.0}


def work(task, report):
    lap("forward")
    report("half")
    lap("optimiser")
    return 2 * task


def test_work_comes_back_with_its_stopwatch():
    said = []
    result, watch = partial(timed, work, False)(21, said.append)

    assert (result, said) == (42, ["half"])
    assert list(watch.seconds) == ["forward", "optimiser", "set-up"]
    assert watch.first_step > 0
    assert pickle.loads(pickle.dumps(watch)).seconds == watch.seconds  # it crosses processes


def fits(tmp_path, slots=2):
    first = Stopwatch(
        seconds={"forward": 3.0, "backward": 5.0, "optimiser": 1.0, "batches": 1.0}, first_step=time.time()
    )
    second = Stopwatch(seconds={"forward": 3.0, "optimiser": 1.0, "set-up": 1.0}, first_step=time.time() + 5)
    tested = Stopwatch(seconds={"evaluation": 2.0, "set-up": 1.0})
    return [Timed(tmp_path, tag, slots, watch) for tag, watch in (("a", first), ("b", second), ("a, test", tested))]


def test_the_account_is_of_all_seconds_of_all_workers(tmp_path):
    found = run_profile.account(20.0, {"start-up": 2.0, "features": 1.0, "fits": 15.0}, fits(tmp_path))

    assert (found.workers, found.n_fits) == (2, 2)
    assert found.seconds["start-up"] == 4.0  # both workers wait
    assert found.seconds["waiting"] == 40 - 18 - 6
    assert sum(found.seconds.values()) == 40.0
    assert found.overhead == pytest.approx(1 - 15 / 40)
    assert found.first_step == pytest.approx(20.0, abs=0.5)


def test_no_more_workers_are_counted_than_fits_ran(tmp_path):
    assert run_profile.account(20.0, {}, fits(tmp_path, slots=16)).workers == 2
    assert run_profile.account(20.0, {}, fits(tmp_path, slots=1)).workers == 1


def test_fits_that_were_there_already_are_no_fits(tmp_path):
    reused = [Timed(tmp_path, "a", 4, Stopwatch(seconds={"set-up": 0.1}))]

    found = run_profile.account(2.0, {"start-up": 1.0}, reused)

    assert (found.n_fits, found.workers, found.overhead, found.first_step) == (0, 1, 1.0, None)


def test_the_table_and_the_file_say_the_same(tmp_path):
    screen = Console(file=io.StringIO(), width=160)
    found = run_profile.account(20.0, {"start-up": 2.0}, fits(tmp_path))

    run_profile.show(found, Display(screen))
    (path,) = run_profile.save(found, fits(tmp_path))

    shown = screen.file.getvalue()
    assert "harness overhead: 62.5 %" in shown
    assert "where the time went: 20.0 s, 2 workers, 2 fits" in shown
    told = json.loads(path.read_text())
    assert told["overhead"] == 0.625
    assert told["fits"][0] == {"tag": "a", "forward": 3.0, "backward": 5.0, "optimiser": 1.0, "batches": 1.0}
    for name, seconds in told["seconds"].items():
        assert f" {name} " in shown, seconds


def test_planning_a_run_waits_for_no_table_or_statistics_library():
    code = (
        "import sys; import sertbench.benchmark, sertbench.grid; "
        "print(sorted({'pandas', 'pyarrow', 'scipy.signal', 'scipy.stats', 'sklearn', 'librosa', 'statsmodels', "
        "'torch._dynamo'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_stopwatch_is_light():
    code = "import sys; from sertbench import stopwatch; print('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
