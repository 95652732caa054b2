"""Progress as a run tells it: lines, events for programs, and `sertbench watch`."""

from __future__ import annotations

import io
import json
import os
import re
import socket
from pathlib import Path

import pytest
from rich.console import Console

from sertbench import files, status, watch
from sertbench.cli import main
from sertbench.config import RunConfig
from sertbench.errors import ConfigError
from sertbench.fits import FitRecord
from sertbench.progress import Display
from sertbench.run_log import EVENTS, JOURNAL
from sertbench.training import EpochEnd


def shown(display: Display) -> str:
    assert isinstance(display.console.file, io.StringIO)
    return display.console.file.getvalue()


def tell(folder: Path, *, quiet: bool = False, terminal: bool = False, ends: bool = True) -> Display:
    """What a run with two fits tells: one is done, of the other an epoch."""
    display = Display(Console(file=io.StringIO(), force_terminal=terminal, width=140), quiet=quiet)
    display.log_to(folder)
    display.expect({"fold 1": 100})
    epoch = EpochEnd(1, 1.25, 0.5, 1.0, 0.001, 2.0)
    with display.stage("features", 10) as advance:
        advance(10)
    try:
        with display.fits(2):
            display.epoch("fold 1, seed 0", epoch, 3)
            display.fitted("fold 1, seed 0", FitRecord("aa", 1, 0.5, (epoch,), 4.0, 10))
            display.epoch("fold 1, seed 1", epoch, 3)
            if not ends:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    if ends:
        display.ended()
    display.say("careful", urgent=True)
    return display


def test_events_are_json_lines_with_speed(tmp_path: Path) -> None:
    tell(tmp_path)
    events = [json.loads(line) for line in (tmp_path / EVENTS).read_text().splitlines()]
    assert [e["event"] for e in events] == ["stage", "start", "epoch", "fit", "epoch", "end"]
    assert events[2] | {"time": 0} == {
        "time": 0, "event": "epoch", "tag": "fold 1, seed 0", "epoch": 1, "most": 3, "loss": 1.25, "val_uar": 0.5,
        "rate": 50.0,
    }  # fmt: skip
    assert all(e["time"] > 1.7e9 for e in events)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_counts_the_files_that_it_was_told_of(tmp_path: Path, monkeypatch, terminal: bool) -> None:
    monkeypatch.setattr("sertbench.progress.time.monotonic", iter(range(0, 10**6, 14)).__next__)
    display = Display(Console(file=io.StringIO(), force_terminal=terminal, width=140))
    with display.stage("reading one") as advance:
        advance(1)
    with display.stage("reading more") as advance:
        advance(20, 40)
        advance(40)
    assert re.search("reading one: 1 file in [1-9]", shown(display))
    assert re.search("reading more: 40 files in [1-9]", shown(display))


def test_without_a_terminal_there_is_a_line_per_fit_and_no_control_character(tmp_path: Path) -> None:
    said = shown(tell(tmp_path))
    assert "[1/2] fold 1, seed 0: val UAR 50.0 at epoch 1 of 1, in 4 s" in said
    assert "\x1b" not in said


def test_quiet_shows_what_is_urgent_and_logs_all(tmp_path: Path) -> None:
    assert shown(tell(tmp_path, quiet=True, terminal=True)).strip() == "careful"
    assert "[1/2] fold 1, seed 0" in (tmp_path / "log.txt").read_text()


def test_on_a_terminal_the_bars_show_loss_score_and_speed(tmp_path: Path) -> None:
    said = shown(tell(tmp_path, terminal=True))
    assert "all fits" in said
    assert "loss 1.250  val UAR 50.0  50 utt/s" in said


def test_runs_of_a_grid_have_their_own_counts_and_a_failed_fit_is_over(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=140)
    grid, epoch = Display(console), EpochEnd(1, 1.25, 0.5, 1.0, 0.001, 2.0)
    good, bad = grid.child("good"), grid.child("bad")
    for run in (good, bad):
        run.log_to(tmp_path / run.name)
    with grid.counting(5), good.fits(3), bad.fits(2):
        for seed in range(3):
            good.fitted(f"fold 1, seed {seed}", FitRecord("aa", 1, float("nan"), (epoch,), 4.0, 10))
        bad.epoch("fold 1, seed 0", epoch, 3)
        bad.failed("fold 1, seed 0", ValueError("a\x1b[2Jb"))

    states = {}
    for name in ("good", "bad"):
        lines = (tmp_path / name / EVENTS).read_text().splitlines()
        assert "NaN" not in "".join(lines)
        states[name] = watch.read(lines, watch.State())
    assert [(s.done, s.fits, dict(s.running)) for s in states.values()] == [(3, 3, {}), (1, 2, {})]
    for name, said in (("good", "fold 1, seed 2: trained"), ("bad", "fold 1, seed 0: failed: a?[2Jb")):
        with console.capture() as seen:
            console.print(watch.picture(states[name], name, states[name].last))
        assert said in seen.get()
    assert "[4/5]" in shown(grid)


def test_a_state_follows_from_the_events(tmp_path: Path) -> None:
    tell(tmp_path, ends=False)
    state = watch.read((tmp_path / EVENTS).read_text().splitlines(), watch.State())
    assert (state.fits, state.done, state.ended) == (2, 1, False)
    assert list(state.running) == ["fold 1, seed 1"]
    lines = watch.lines_of(state, state.last)
    assert lines[0].startswith("1 of 2 fits, about")
    assert lines[1] == "fold 1, seed 1: epoch 1 of 3, loss 1.250, val UAR 50.0, 50 utterances/s"
    assert "is the run still alive?" in watch.lines_of(state, state.last + 1000)[-1]


def events(*told: dict[str, object]) -> watch.State:
    """The state of a run of 6 fits that began at second 0."""
    start = {"event": "start", "fits": 6, "time": 0.0}
    return watch.read([json.dumps(event) for event in (start, *told)], watch.State())


def test_the_time_left_is_told_from_the_first_epochs_on() -> None:
    assert events().left is None
    first = {"event": "epoch", "tag": "a", "epoch": 5, "most": 50, "loss": 1.0, "val_uar": 0.5}
    early = events({**first, "epoch": 1, "time": 20.0}, {**first, "time": 100.0})
    assert early.left == pytest.approx(100 * 5.9 / 0.1)
    continued = events({**first, "epoch": 41, "time": 20.0}, {**first, "epoch": 45, "time": 100.0})
    assert continued.left == pytest.approx(100 * 5.1 / 0.1)


def test_fits_that_were_there_already_are_no_sign_of_speed() -> None:
    done = {"event": "fit", "tag": "a", "done": 4, "fits": 6, "val_uar": 0.5, "reused": True, "time": 1.0}
    assert events(done).left is None
    assert events(done, {**done, "done": 5, "reused": False, "time": 100.0}).left == 100


def test_a_run_that_was_started_again_begins_anew(tmp_path: Path) -> None:
    tell(tmp_path, ends=False)
    tell(tmp_path)
    state = watch.read((tmp_path / EVENTS).read_text().splitlines(), watch.State())
    assert (state.done, state.ended) == (1, True)


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"event": "epoch"}', '{"event": "start", "fits": "x"}', "null"])
def test_a_torn_or_foreign_line_is_passed_over(line: str) -> None:
    before = watch.State(fits=3, done=1)
    assert watch.read([line], before) == before


def test_the_picture_takes_hostile_tags_as_text(tmp_path: Path) -> None:
    event = {
        "time": 1.0,
        "event": "epoch",
        "tag": "[red]fold[/] \x1b[2J",
        "epoch": 1,
        "most": 2,
        "loss": 1.0,
        "val_uar": 0.5,
    }
    state = watch.read([json.dumps({"event": "start", "fits": 2}), json.dumps(event)], watch.State())
    console = Console(file=io.StringIO(), width=140, force_terminal=True)
    console.print(watch.picture(state, "[bold]name", 2.0))
    said = console.file.getvalue()
    assert "[bold]name" in said
    assert "[red]fold[/]" in said
    assert "\x1b[2J" not in said


def test_watch_says_how_a_finished_run_stands(tmp_path: Path, capsys) -> None:
    tell(tmp_path / "runs" / "one")
    for name in ("one", str(tmp_path / "runs" / "one"), str(tmp_path / "runs" / "one" / EVENTS)):
        assert main(["watch", name, "--runs", str(tmp_path / "runs")]) == 0
        assert "1 of 2 fits, done" in capsys.readouterr().out
    assert main(["watch", "--once", "--runs", str(tmp_path / "runs")]) == 0


def kept(runs: Path, state: str, reason: str = "") -> Path:
    """A run that told of a fit and an epoch, and then ended as `state` says, without a last word."""
    folder = runs / "made-cnn-1"
    tell(folder, ends=False)
    (folder / ".lock").touch()
    config = RunConfig(model="cnn", dataset="made", seeds=2, data="my corpora/made", runs=str(runs))
    status.write(config, state, reason, folder)
    return folder


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("stopped", "", "1 of 2 fits, stopped"),
        ("running", "", "1 of 2 fits, stopped"),  # killed: nobody holds the lock
        ("failed", "no space \x1b[2J left", "1 of 2 fits, failed: no space ?[2J left"),
    ],
)
@pytest.mark.parametrize("once", [["--once"], []])
def test_watch_knows_a_run_that_nobody_is_at_and_how_to_go_on(
    tmp_path: Path, capsys, monkeypatch, state, reason, said, once
):
    monkeypatch.chdir(tmp_path)
    kept(Path("runs"), state, reason)

    assert main(["watch", *once]) == 0

    first, second, last = (
        " ".join(capsys.readouterr().out.split())
        .replace(" fold 1", "\nfold 1")
        .replace(" no process", "\nno process")
        .splitlines()
    )
    assert first == said
    assert second == "fold 1, seed 1: stopped at epoch 1 of 3, loss 1.250, val UAR 50.0, 50 utterances/s"
    data = f"--data '{tmp_path}/my corpora/made'"
    assert last == f"no process is at work. To go on: sertbench run --model cnn --dataset made {data} --seeds 2"


def test_watch_goes_on_with_a_run_that_somebody_holds(tmp_path: Path, capsys) -> None:
    folder = kept(tmp_path / "runs", "running")
    with files.locked(folder / ".lock", 1.0, "held"):
        assert main(["watch", "--once", str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search("1 of 2 fits, about .* left fold 1, seed 1: epoch 1 of 3", out)
    assert "stopped" not in out


def test_watch_believes_the_signs_of_a_machine_whose_locks_it_cannot_see(tmp_path: Path, capsys) -> None:
    folder = kept(tmp_path / "runs", "running")
    journal = folder / JOURNAL
    journal.write_text(journal.read_text().replace(socket.gethostname(), "elsewhere"))
    assert main(["watch", "--once", str(folder)]) == 0
    assert "stopped" not in capsys.readouterr().out
    os.utime(folder / EVENTS, (0, 0))
    assert main(["watch", "--once", str(folder)]) == 0
    assert "stopped" in capsys.readouterr().out


def test_the_picture_of_a_stopped_run_promises_nothing(tmp_path: Path) -> None:
    folder = kept(tmp_path / "runs", "stopped")
    state = watch.read((folder / EVENTS).read_text().splitlines(), watch.State())
    state = watch.halted(state, status.of(folder), folder.parent)
    console = Console(file=io.StringIO(), width=300)
    console.print(watch.picture(state, "made", state.last + 1000))
    said = console.file.getvalue()
    assert "stopped" in said
    assert f"--runs {tmp_path}/runs" in said
    assert "left" not in said
    assert "still alive" not in said


def test_watch_reads_a_pipe(tmp_path: Path, capsys, monkeypatch) -> None:
    tell(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO((tmp_path / EVENTS).read_text()))
    assert main(["watch", "-"]) == 0
    assert "1 of 2 fits, done" in capsys.readouterr().out.splitlines()[-1]


def test_a_run_that_cannot_be_watched_is_named_with_those_that_can(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run in .* has a progress\.jsonl"):
        watch.find(None, tmp_path)
    tell(tmp_path / "one")
    with pytest.raises(ConfigError, match=r"\.\./one has no progress\.jsonl. Runs that can be watched: one"):
        watch.find("../one", tmp_path)


def test_names_of_files_that_are_no_utf_8_are_written_with_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"gef\xfchl.wav")
    display = Display(Console(file=io.StringIO()))
    display.log_to(tmp_path)
    with display.fits(1):
        display.say(f"reading {name}", urgent=True)
        display.failed("fold 1", ValueError(f"{name}: cannot be decoded"))
    status.fail(RunConfig("cnn", "demo", runs=str(tmp_path)), ValueError(name))
    files.write_text(tmp_path / "run.json", json.dumps({"command": name}, ensure_ascii=False))

    logs = [tmp_path / "log.txt", *(tmp_path / "failures").glob("*"), *(tmp_path / "status").glob("*.log")]
    assert len(logs) == 3
    assert all(r"gef\udcfchl.wav" in log.read_text(encoding="utf-8") for log in logs)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"command": name}


@pytest.mark.parametrize("more", ["", ', "loss": 0.5, "val_uar": null', ', "loss": "low", "val_uar": 0.5'])
def test_an_epoch_that_lacks_its_figures_is_passed_over(more):
    """A line of another program, or of another version."""
    start, epoch = '{"time": 1, "event": "start", "fits": 3}', '{"time": 2, "event": "epoch", "tag": "a", "epoch": 1'
    state = watch.read([start, f'{epoch}, "most": 5{more}}}'], watch.State())
    assert watch.lines_of(state, 3.0) == ["0 of 3 fits"]
    good = watch.read([f'{epoch}, "most": 5, "loss": 0.5, "val_uar": 0.5}}'], state)
    assert watch.lines_of(good, 3.0)[1] == "a: epoch 1 of 5, loss 0.500, val UAR 50.0"
