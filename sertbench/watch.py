"""What a run is doing, from its progress.jsonl: on this machine, on a mounted folder, or from a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sertbench import status
from sertbench.bundle import is_file_name
from sertbench.config import flags
from sertbench.errors import ConfigError, few
from sertbench.pace import UnderWay, duration, seconds_left
from sertbench.run_log import EVENTS, SILENT


@dataclass(frozen=True)
class State:
    """A run as far as its events tell."""

    fits: int = 0
    done: int = 0
    started: float = 0.0  #               seconds since 1970, as all times here
    last: float = 0.0  #                  time of the last event
    fitted: int = 0  #                    of those that are done, by this start of the run
    running: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # tag -> its last epoch
    finished: tuple[Mapping[str, Any], ...] = ()  # the last fits
    ended: bool = False
    halted: str = ""  #                   what `sertbench status` says of a run that no process is at, in a word or two
    again: str = ""  #                    the command that goes on with it

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.ended or bool(self.halted)

    @property
    def left(self) -> float | None:
        """Expected seconds to the end of the fits; None where nothing can be expected."""
        if self.over:
            return None
        running = [UnderWay(e["first"], e["epoch"], max(e["most"], 1)) for e in self.running.values()]
        return seconds_left(self.last - self.started, self.fitted, running, self.fits - self.done)


def after(state: State, event: Mapping[str, Any]) -> State:
    """The state after one more event; an event of an unknown kind only moves the clock."""
    state = replace(state, last=float(event.get("time", state.last)))
    kind = event.get("event")
    if kind == "start":
        return State(fits=int(event["fits"]), started=state.last, last=state.last)
    if "tag" in event:  # what comes from a file must not steer the terminal
        event = {**event, "tag": printable(str(event["tag"]))}
    if kind == "epoch":
        before = state.running.get(event["tag"], {"first": event["epoch"] - 1})
        shown = {"said": figures(event), "first": before["first"], "most": int(event["most"])}
        return replace(state, running={**state.running, event["tag"]: {**event, **shown}})
    if kind in ("fit", "failed"):
        left = {tag: e for tag, e in state.running.items() if tag != event["tag"]}
        finished = (*state.finished, {**event, "said": said(event)})[-5:]
        fitted = state.fitted + (not event.get("reused"))
        done, fits = int(event["done"]), int(event["fits"])
        return replace(state, running=left, finished=finished, fitted=fitted, done=done, fits=fits)
    return replace(state, ended=True) if kind == "end" else state


def said(event: Mapping[str, Any]) -> str:
    """What a fit came to."""
    if event["event"] == "failed":
        return printable(f"failed: {event['reason']}")
    score = event["val_uar"]
    return "trained" if score is None else f"val UAR {100 * score:.1f}"


def printable(text: str) -> str:
    """Text of a file without what would steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def read(lines: Iterable[str], state: State) -> State:
    """The state after some lines; a line that is no event (a torn one of a killed run) is passed over."""
    for line in lines:
        try:
            state = after(state, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return state


def halted(state: State, entry: status.Entry | None, runs: Path) -> State:
    """The state of a run in `runs` of which `sertbench status` says `entry`, asked before its events were read."""
    if state.ended or entry is None or entry.state == "running":
        return state
    again = "" if entry.state == "done" else f"sertbench run {flags({**entry.config, 'runs': str(runs)})}"
    word = f"{entry.state}: {entry.reason}" if entry.reason else entry.state
    return replace(state, halted=printable(word), again=printable(again))


def find(name: str | None, runs: Path) -> Path:
    """The progress.jsonl of a run: a folder or file, a name within `runs`, or the run that moved last.

    Raises ConfigError with the runs that there are.
    """
    there = sorted(runs.glob(f"*/{EVENTS}"), key=lambda path: path.stat().st_mtime)
    candidates = [Path(name), Path(name) / EVENTS] if name else there[-1:]
    if name and is_file_name(name):
        candidates.append(runs / name / EVENTS)
    for path in candidates:
        if path.is_file():
            return path
    what = f"{name} has no {EVENTS}" if name else f"no run in {runs} has a {EVENTS}"
    raise ConfigError(f"{what}. Runs that can be watched: {few((p.parent.name for p in reversed(there)), 8) or 'none'}")


def lines_of(state: State, now: float) -> list[str]:
    """The state in plain words."""
    left = "" if state.left is None else f", about {duration(state.left)} left"
    lines = [f"{state.done} of {state.fits} fits{left}" + (", done" if state.ended else "")]
    if state.halted:
        lines = [f"{lines[0]}, {state.halted}"]
    at = "stopped at epoch" if state.halted else "epoch"
    lines += [f"{tag}: {at} {e['epoch']} of {e['most']}, {e['said']}" for tag, e in state.running.items()]
    if state.again:
        lines.append(f"no process is at work. To go on: {state.again}")
    if not state.over and now - state.last > SILENT:
        lines.append(f"nothing heard for {duration(now - state.last)}: is the run still alive?")
    return lines


def figures(epoch: Mapping[str, Any]) -> str:
    """What an epoch came to."""
    speed = f", {epoch['rate']:.0f} utterances/s" if epoch.get("rate") else ""
    return f"loss {epoch['loss']:.3f}, val UAR {100 * epoch['val_uar']:.1f}{speed}"


def picture(state: State, name: str, now: float) -> RenderableType:
    """The state as nested bars: all fits, and each running one."""
    grid = Table.grid(padding=(0, 2))
    bars: Sequence[tuple[str, int, int, str]] = [
        (
            "all fits",
            state.done,
            state.fits,
            state.halted if state.left is None else f"{duration(state.left)} left",
        ),
        *((f"  {tag}", e["epoch"], e["most"], e["said"]) for tag, e in state.running.items()),
    ]
    for label, done, total, note in bars:
        grid.add_row(Text(label), ProgressBar(max(total, 1), done, width=30), f"{done}/{total}", Text(note))
    ends = [Text(f"  {f['tag']}: {f['said']}", style="dim") for f in state.finished]
    rest = [Text(line, style="yellow") for line in lines_of(state, now)[1 + len(state.running) :]]
    return Group(Text(name, style="bold"), grid, *ends, *rest)
