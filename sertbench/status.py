"""How far runs are: one small file per run in `<runs>/status/`, and the journal of its fits in its folder.

A run is known by its configuration, not by its identity: a plug-in that cannot even be loaded has none, and one that is
mended gets another. So `sertbench run --only-failed` finds what to try again.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from sertbench import files, plugins, pretrained_spec
from sertbench.config import RunConfig
from sertbench.errors import BusyError, SertbenchError, StoppedError, StorageError
from sertbench.pace import UnderWay, seconds_left
from sertbench.run_log import EVENTS, JOURNAL, SILENT

# What says where a run is done and written, not what is run.
_ELSEWHERE = ("runs", "leaderboards", "workers", "executor", "scheduler", "slurm", "wait", "optimism")
FAILED = ("failed", "incomplete")
NEARLY = 0.9  #     share of the others' mean time from which on nothing more can be said of a fit that runs
STARTING = 600.0  # seconds that a run may take until it holds its lock


@dataclass(frozen=True)
class Entry:
    """The state of one run: running, done, incomplete (some fits failed), failed (it has no row), or stopped."""

    config: Mapping[str, Any]
    state: str
    reason: str = ""
    folder: str = ""  # of the bundle, inside of the folder of the runs; empty: it could not be planned
    log: str = ""  #    a traceback
    at: float = 0.0  #  when this was written

    @property
    def name(self) -> str:
        """Dataset and model, in a word or two."""
        return name_of(self.config)


def name_of(config: Mapping[str, Any]) -> str:
    """Dataset and model, as the board calls them: "emodb-glam", "csv-calls-svm"."""
    return f"{corpus_of(config['dataset'], config.get('data'))}-{short(config['model'])}"


@cache
def corpus_of(dataset: str, data: str | None) -> str:
    """What rows call a corpus; the plug-in's name where it is given as a file, which nobody wants to run for this."""
    if data and ".py" not in dataset:
        with suppress(SertbenchError):
            return plugins.load_corpus(dataset).corpus.title_of(Path(data)) or dataset
    return short(dataset)


def short(spec: str) -> str:
    """A plug-in's name, or the stem of its file with its class."""
    path, dot_py, cls = spec.partition(".py")
    return Path(path).name + cls.replace(":", ".") if dot_py else spec


def absolute(spec: str) -> str:
    """A plug-in that is given as a file, from any folder."""
    path, dot_py, cls = spec.partition(".py")
    return f"{at_home(path + dot_py).absolute()}{cls}" if dot_py else spec


def at_home(path: str) -> Path:
    """A path with ~ as the home folder; as it is where nobody knows the user: that is told where it is read."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def absolute_features(text: str) -> str:
    """Features whose checkpoint is a folder, from any folder; others as they are."""
    with suppress(SertbenchError):
        spec = pretrained_spec.parse(text)
        folder = Path(spec.checkpoint).expanduser().absolute() if spec else Path()
        if spec and folder.is_dir() and ":" not in str(folder):  # a colon would end the checkpoint's name
            return text.replace(f":{spec.checkpoint}", f":{folder}", 1)
    return text


def settled(config: RunConfig) -> RunConfig:
    """The same configuration with absolute paths."""
    return replace(
        config,
        model=absolute(config.model),
        dataset=absolute(config.dataset),
        data=str(at_home(config.data).absolute()) if config.data else None,
        accept_missing=str(Path(config.accept_missing).absolute()) if config.accept_missing else None,
        features=absolute_features(config.features) if config.features else None,
    )


def path_of(config: RunConfig) -> Path:
    """Where the state of this configuration's run is kept."""
    values = asdict(settled(config))
    what = json.dumps({k: v for k, v in values.items() if k not in _ELSEWHERE}, sort_keys=True)
    name = f"{short(config.dataset)}-{short(config.model)}-{hashlib.sha256(what.encode()).hexdigest()[:8]}.json"
    return Path(config.runs) / "status" / name


def write(config: RunConfig, state: str, reason: str = "", folder: Path | None = None, log: str = "") -> None:
    """Keep a run's state. What cannot be kept is no reason to stop."""
    inside = folder.name if folder else ""
    entry = Entry(asdict(settled(config)), state, reason, inside, log, round(time.time(), 1))
    before = load(path_of(config))
    if before is not None and replace(before, at=entry.at) == entry and state != "running":
        return
    with suppress(StorageError):
        files.write_text(path_of(config), json.dumps(asdict(entry), indent=1) + "\n")


@contextmanager
def tracked(config: RunConfig, folder: Path | None = None) -> Iterator[None]:
    """Keep the state of the run that happens inside, whatever becomes of it."""
    write(config, "running", folder=folder)
    try:
        yield
    except BusyError:
        raise  # the other process keeps it
    except (KeyboardInterrupt, StoppedError):
        write(config, "stopped", folder=folder)
        raise
    except Exception as error:
        fail(config, error, folder)
        raise


def fail(config: RunConfig, error: Exception, folder: Path | None = None) -> None:
    """Keep that a run has failed, why, and the traceback in a log."""
    log = path_of(config).with_suffix(".log")
    write(config, "failed", str(error), folder, str(log))
    with suppress(OSError):
        told = "".join(traceback.format_exception(error))
        log.write_text(told, encoding="utf-8", errors="backslashreplace")


def finish(config: RunConfig, folder: Path, reason: str) -> None:
    """Keep that a run has a row: a complete one, or with the reason why it is incomplete."""
    write(config, "incomplete" if reason else "done", reason, folder)


def load(path: Path) -> Entry | None:
    """A state that was kept; None if there is none that can be read."""
    try:
        return Entry(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def entries(runs: Path) -> list[Entry]:
    """All runs that are known in a folder, by name; "running" is turned into "stopped" where nobody is at it.

    Several commands may lead to one run, such as its flags and its config.toml: what the last one came to counts.
    """
    found: dict[str, Entry] = {}
    for path in sorted((runs / "status").glob("*.json")):
        if (entry := load(path)) is None:
            continue  # half-copied, or of another version
        if entry.state == "running" and idle(runs, entry):
            entry = replace(entry, state="stopped")
        key = entry.folder or path.name
        found[key] = max(found.get(key, entry), entry, key=lambda e: (e.state == "running", e.at))
    return list(found.values())


def of(folder: Path) -> Entry | None:
    """The state of the run in a folder; None if none was kept."""
    here = folder.absolute()
    return next((entry for entry in entries(here.parent) if entry.folder == here.name), None)


def idle(runs: Path, entry: Entry) -> bool:
    """Whether no process holds the lock of a run; one on another machine, whose locks a mount may hide, shows signs."""
    lock = runs / entry.folder / ".lock"
    if not entry.folder or not lock.exists():
        return time.time() - entry.at > STARTING
    try:
        with files.locked(lock, 0.0, ""):
            return not alive_elsewhere(runs / entry.folder)
    except StorageError:
        return False


def alive_elsewhere(folder: Path) -> bool:
    """Whether a run that another machine began has told of anything lately."""
    if progress(folder).host in ("", socket.gethostname()):
        return False
    with suppress(OSError):
        return time.time() - (folder / EVENTS).stat().st_mtime < SILENT
    return False


@dataclass
class Progress:
    """What the journal of a run says."""

    total: int = 0
    done: dict[str, float] = field(default_factory=dict)  #    fit -> seconds
    running: dict[str, float] = field(default_factory=dict)  # fit -> since when
    failed: dict[str, str] = field(default_factory=dict)  #    fit -> why
    logs: dict[str, str] = field(default_factory=dict)
    since: float = 0.0  # when the run was last started
    last: float = 0.0
    fresh: int = 0  #     fits that were run since then
    host: str = ""  #     where it was started

    @property
    def seconds_left(self) -> float | None:
        """At the pace since the last start; None before the first fit."""
        if not self.fresh:
            return None
        one = max(sum(self.done.values()) / len(self.done), 1e-3)
        ways = [UnderWay(0.0, min(self.last - since, NEARLY * one), one) for since in self.running.values()]
        left = self.total - len(self.done) - len(self.failed)
        return seconds_left(self.last - self.since, self.fresh, ways, max(left, 0))


def progress(folder: Path) -> Progress:
    """Read the journal of a run. Lines that a killed process tore are left out."""
    found = Progress()
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            add(found, json.loads(line))
    return found


def add(found: Progress, line: Mapping[str, Any]) -> None:
    """Take in one line of the journal."""
    state, fit, found.last = line["state"], line["fit"], float(line["at"])
    if state == "plan":
        found.total, found.since, found.fresh, found.running = int(line["fits"]), found.last, 0, {}
        found.host = str(line.get("host", ""))
        found.failed.clear()  # it is tried again
    elif state == "begun":
        found.running[fit] = found.last
    elif state == "done":
        found.done[fit] = float(line["seconds"])
        found.running.pop(fit, None)
        found.failed.pop(fit, None)
        found.fresh += not line["reused"]
    elif state == "failed":
        found.failed[fit], found.logs[fit] = str(line["reason"]), str(line["log"])
        found.running.pop(fit, None)


def failed_configs(runs: Path) -> list[RunConfig]:
    """The configurations of all runs that failed or are incomplete."""
    known = RunConfig.__dataclass_fields__
    return [
        RunConfig(**{**{k: v for k, v in entry.config.items() if k in known}, "runs": str(runs)})
        for entry in entries(runs)
        if entry.state in FAILED
    ]


def has_failed(config: RunConfig) -> bool:
    """Whether this configuration's run failed or is incomplete."""
    entry = load(path_of(config))
    return entry is not None and entry.state in FAILED
