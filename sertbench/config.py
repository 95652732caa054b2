"""One frozen RunConfig: defaults, then a TOML file, then flags. Light: no numpy, no torch."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from sertbench.errors import ConfigError, unknown

EXECUTORS = ("auto", "processes", "dask", "slurm")
MOST = 1_000_000  # of any number: far beyond what is ever run, and a typing error is told before memory runs out
CLUSTERS = {"scheduler": "dask", "slurm": "slurm"}  # option -> the executor that it is for


def option(default: Any, text: str, *, least: int | None = None) -> Any:
    """A field with the sentence that --help shows, and the least value of a number."""
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class RunConfig:
    """All that can be said about a run. None means: the model's recipe, the corpus's default, or sertbench's choice."""

    model: str = option("", "plug-in name, or path/to/file.py[:Class]")
    dataset: str = option("", "corpus name, or path/to/adapter.py[:Class]")
    data: str | None = option(None, "folder of the corpus, or the table of `csv` (default: $SERTBENCH_DATA/<name>)")
    labels: str | None = option(None, "label set (default: the corpus's first)")
    subset: str = option("all", "part of the corpus, e.g. improvised or scripted for iemocap")
    protocol: str | None = option(None, "cross-validation protocol (default: the corpus's first)")
    trials: int = option(10, "Optuna trials per outer fold; 0: the recipe as published", least=0)
    seeds: int = option(5, "how many seeds each fold is fitted with", least=1)
    features: str | None = option(
        None,
        "for models that take them: functionals, egemaps, compare2016, ssl:CHECKPOINT[:LAYERS][:frames] or "
        "waveform:CHECKPOINT; a checkpoint is a folder or a hub id",
    )
    epochs: int | None = option(None, "most epochs per fit (default: the recipe's)", least=1)
    device: str = option("auto", "auto, cpu or cuda")
    precision: str = option("auto", "auto, fp32 or bf16")
    workers: int | None = option(None, "fits at the same time (default: one per CPU core, or one per GPU)", least=1)
    stack: int | None = option(
        None, "fits that take turns in one process (default: 1); 0: as many as its GPU has room for", least=0
    )
    executor: str = option("auto", "auto (this machine), processes, dask or slurm")
    scheduler: str | None = option(None, "address of the Dask scheduler, for --executor dask")
    slurm: str = option("", "for --executor slurm, e.g. queue=gpu,walltime=04:00:00,memory=8GB,gres=gpu:1")
    wait: int = option(600, "seconds to wait for a first worker of a cluster", least=1)
    shuffle_labels: bool = option(False, "control: shuffle the training and validation labels; must score at chance")
    optimism: bool = option(
        False, "also measure what the field's usual cheats would have scored (about four times the time)"
    )
    allow_leak: bool = option(False, "run although the folds leak; the row is stamped and never ranked")
    accept_missing: str | None = option(
        None, "text file that names utterances to leave out: ids or paths, one per line; the row is on its own table"
    )
    runs: str = option("runs", "folder for fits and result bundles")
    leaderboards: str = option("leaderboards", "folder for the leaderboard tables")

    def __post_init__(self) -> None:
        hints = get_type_hints(RunConfig)
        for f in fields(self):
            check(f.name, getattr(self, f.name), hints[f.name], f.metadata["least"])
        if self.executor not in EXECUTORS:
            raise ConfigError(unknown("executor", self.executor, EXECUTORS))
        if self.executor in ("dask", "slurm") and self.stack not in (None, 1):
            raise ConfigError(
                f"--stack {self.stack}: workers of a cluster have one fit at a time. Start more workers, or leave "
                "--stack out"
            )
        if self.executor == "dask" and not self.scheduler:
            raise ConfigError("--executor dask needs the scheduler's address, such as --scheduler tcp://127.0.0.1:8786")
        for name in ("model", "dataset"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing. `sertbench list {name}s` shows what there is")


def check(name: str, value: Any, hint: Any, least: int | None) -> None:
    """Refuse a value of the wrong type or out of range."""
    accepted = getattr(hint, "__args__", (hint,))
    if type(value) not in accepted:
        names = " or ".join("nothing" if t is type(None) else t.__name__ for t in accepted)
        raise ConfigError(f"{name} = {value!r} is not accepted: expected {names}")
    if isinstance(value, str) and (strange := [c for c in value if "\ud800" <= c <= "\udfff"]):
        raise ConfigError(
            f"{name} = {value!r} is not accepted: its bytes are no UTF-8 ({len(strange)} of them). Files of a run and "
            "boards name it in UTF-8: rename it, or give it through a link with another name"
        )
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{name} = {value!r} is not accepted: no name on a disk has a null character")
    if value == "" and name not in ("model", "dataset", "slurm"):  # `--accept-missing "$UNSET"` meant something
        raise ConfigError(f"{name} is empty: give it a value, or leave --{name.replace('_', '-')} out")
    if least is not None and value is not None and not least <= value <= MOST:
        bounds = f"at least {least}" if value < least else f"at most {MOST}"
        raise ConfigError(f"{name} = {value} is not accepted: expected a whole number of {bounds}")


def refuse_idle(values: Mapping[str, Any], typed: Mapping[str, Any]) -> None:
    """ConfigError for an option of a cluster where fits run elsewhere: whoever gave it expects them there.

    An executor that is `typed` is one for today: it beats what a file says of its usual cluster.
    """
    chosen = values.get("executor", "auto")
    for name, executor in CLUSTERS.items():
        if values.get(name) and chosen != executor and (name in typed or "executor" not in typed):
            given = f"--{name} {values[name]}"
            raise ConfigError(
                f"{given} is for --executor {executor}, but the executor is {chosen}. "
                f"Type `--executor {executor} {given}`, or leave --{name} out"
            )


def load(path: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Defaults < TOML file < flags. `flags` holds only what was typed.

    Raises ConfigError for a file that cannot be read, an unknown key, or a value that is not accepted.
    """
    return RunConfig(**{**read(path), **flags})


def read(path: Path | None, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options of a TOML file, none without a file. ConfigError for a key that is no option and not in `more`."""
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also for a number of thousands of digits
        raise ConfigError(f"--config {path} is not TOML: {error}") from error
    known = {f.name for f in fields(RunConfig)} | set(more)
    for key in values:
        if key not in known:
            raise ConfigError(f"--config {path}: {unknown('option', key, known)}")
    if isinstance(beside := values.get("accept_missing"), str) and (path.parent / beside).is_file():
        values["accept_missing"] = str(path.parent / beside)  # as in a bundle, wherever it lies
    return values


def dump(config: RunConfig) -> str:
    """The configuration as TOML; `load` gives the same configuration back. None is left out, being the default."""
    import tomli_w

    return tomli_w.dumps({k: v for k, v in asdict(config).items() if v is not None})


def flags(values: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """What to type for a configuration: every option that differs from its default, but for some."""
    said = []
    for f in fields(RunConfig):
        value = values.get(f.name)
        if f.name not in left_out and value not in (None, f.default):
            flag = "--" + f.name.replace("_", "-")
            said.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
    return " ".join(said)


def resolved(config: RunConfig, **values: Any) -> RunConfig:
    """The same configuration with its open choices filled in."""
    return replace(config, **values)


def cache_folder() -> Path:
    """Where decoded indexes, features and the demo corpus are kept: $SERTBENCH_CACHE, else ~/.cache/sertbench."""
    named = os.environ.get("SERTBENCH_CACHE")
    try:
        folder = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sertbench")
    except RuntimeError as error:  # a container's user whom no file of it knows
        raise ConfigError(
            "you have no home folder to keep features in. Type `export SERTBENCH_CACHE=FOLDER`"
        ) from error
    return folder.absolute()  # workers elsewhere have other working folders
