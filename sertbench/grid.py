"""Several runs at once: models times datasets, or whatever a TOML file gives as lists. One executor serves them all.

A run that fails, or a plug-in that cannot be loaded, does not stop the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sertbench import benchmark, executors, plugins, status
from sertbench.benchmark import Job, Outcome
from sertbench.config import RunConfig, read, refuse_idle
from sertbench.errors import BusyError, ConfigError, SertbenchError, unknown
from sertbench.executors import Runner
from sertbench.progress import Display

PLURALS = {"models": "model", "datasets": "dataset"}  # names of options that are lists
SHARED = ("executor", "scheduler", "slurm", "wait", "workers", "stack")  # of the one executor of a grid
TOLD_APART_BY = (
    "features", "labels", "subset", "protocol", "trials", "seeds", "epochs", "device", "precision", "shuffle_labels",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What became of one run of a grid: an outcome, or the reason why there is none."""

    name: str
    outcome: Outcome | None
    reason: str = ""


def expand(path: Path | None, flags: Mapping[str, Any]) -> list[RunConfig]:
    """The configurations of a command: defaults < TOML file < flags, one for each combination of what is a list.

    `models` and `datasets` are lists of `model` and `dataset` (in flags separated by commas). `data` may be a table of
    folders by dataset. Raises ConfigError.
    """
    values = settled(read(path, tuple(PLURALS)), f"--config {path}: ")
    values |= settled(flags)
    axes = {k: v for k, v in values.items() if isinstance(v, list)}
    for name, axis in axes.items():
        if not axis or len({str(v) for v in axis}) < len(axis):
            raise ConfigError(f"{name} = {axis} is not accepted: expected one or more different values")
        if name in SHARED and len(axis) > 1:
            raise ConfigError(
                f"{name} = {axis} is not accepted: one executor serves all runs of a grid. Give one value"
            )
    folders = values.get("data")
    if isinstance(folders, str) and len(axes.get("dataset", ())) > 1:
        raise ConfigError(
            f"--data {folders} is one folder, but there are {len(axes['dataset'])} datasets. Put them side by side and "
            "`export SERTBENCH_DATA=` their parent, or write a table [data] into --config, one folder per dataset"
        )
    if isinstance(folders, dict):
        refuse_strange(folders, axes.get("dataset", [values.get("dataset")]))
    configs = []
    for chosen in product(*axes.values()):
        one = {**values, **dict(zip(axes, chosen, strict=True))}
        if isinstance(folders, dict):
            one["data"] = folders.get(str(one.get("dataset")))
        configs.append(RunConfig(**one))
        refuse_idle(one, flags)
    return configs


def settled(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Options with `models` and `datasets` as lists of `model` and `dataset`. ConfigError for one that is both."""
    found = dict(values)
    for plural, single in PLURALS.items():
        if plural in found:
            names = found.pop(plural)
            if single in found:
                dashes = "" if where else "--"
                raise ConfigError(f"{where}{dashes}{single} and {dashes}{plural} together: give one of them")
            found[single] = [n.strip() for n in names.split(",")] if isinstance(names, str) else names
    return found


def refuse_strange(folders: Mapping[str, Any], datasets: Sequence[Any]) -> None:
    """ConfigError for a folder of the table [data] that is of no dataset: it would be looked for elsewhere.

    Datasets that are not of this grid may stand there, too: flags can choose among those of a file.
    """
    known = {*map(str, datasets), *plugins.names("datasets")}
    for name in folders:
        if name not in known and ".py" not in name:
            raise ConfigError(f"[data]: {unknown('dataset', name, known)}")


def run(configs: Sequence[RunConfig], display: Display, *, dry: bool = False) -> list[Result]:
    """Run all of them; gives a result for each, in their order. A dry run shows the plans and gives nothing.

    Raises PluginError for a name that does not exist before anything is done, as for a single run.
    """
    for config in configs:
        plugins.find("models", config.model)
        plugins.find("datasets", config.dataset)
    names = names_of(configs)
    results: dict[int, Result] = {}
    jobs: dict[int, Job] = {}
    for number, config in enumerate(configs):
        prepared = plan(config, display.child(names[number]), dry=dry)
        if isinstance(prepared, Job):
            jobs[number] = prepared
        else:
            results[number] = Result(names[number], None, str(prepared))
    if not dry and jobs:
        shown = {number: display.child(names[number]) for number in jobs}
        for number, job in jobs.items():
            if not job.finished:
                shown[number].log_to(job.plan.folder)
        results |= run_jobs({n: (configs[n], jobs[n]) for n in jobs}, shown, display)
    return [results[number] for number in sorted(results)]


def names_of(configs: Sequence[RunConfig]) -> list[str]:
    """A name for each run, as short as tells it from the others."""
    short = [status.name_of(vars(c)) for c in configs]
    varied = [name for name in TOLD_APART_BY if len({getattr(c, name) for c in configs}) > 1]
    return [
        "-".join(
            [
                name,
                *(f"{v}{getattr(c, v)}" if v in ("trials", "seeds", "epochs") else f"{getattr(c, v)}" for v in varied),
            ]
        )
        for name, c in zip(short, configs, strict=True)
    ]


def plan(config: RunConfig, display: Display, *, dry: bool) -> Job | SertbenchError | OSError:
    """Plan one run; what is wrong with it is kept and said, and is not the others' business."""
    try:
        job = benchmark.prepare(config, display, dry=dry)
    except (SertbenchError, OSError) as error:  # a corpus's folder that may not be read, say
        display.say(f"failed: {error}")
        if not dry:
            status.fail(config, error)
        return error
    return job


def run_jobs(
    jobs: Mapping[int, tuple[RunConfig, Job]], shown: Mapping[int, Display], display: Display
) -> dict[int, Result]:
    """Run planned jobs on one executor, as many side by side as keep it busy."""
    config, first = next(iter(jobs.values()))
    total = sum(job.price.n_fits for _, job in jobs.values())
    results: dict[int, Result] = {}
    with (
        executors.open_runner(config, first.plan.workers, first.plan.compute.device, first.plan.stack) as runner,
        display.counting(total),
        ThreadPoolExecutor(min(len(jobs), 1 + runner.slots // 4)) as threads,
        executors.ended_with(runner),
    ):
        futures: dict[Future[Result], int] = {
            threads.submit(one, config, job, runner, shown[number]): number for number, (config, job) in jobs.items()
        }
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def one(config: RunConfig, job: Job, runner: Runner, display: Display) -> Result:
    """Complete one run, or say why not."""
    try:
        with nullcontext() if job.finished else status.tracked(config, job.plan.folder):
            outcome = benchmark.complete(job, runner, display)
    except BusyError as error:
        display.say(str(error))
        return Result(display.name, None, str(error))
    except (SertbenchError, OSError) as error:
        display.say(f"failed: {error}")
        return Result(display.name, None, str(error))
    display.say(f"row {outcome.row['row_id']} in {outcome.table}")
    return Result(display.name, outcome)


def failed_only(configs: Sequence[RunConfig] | None, flags: Mapping[str, Any]) -> list[RunConfig]:
    """Of some configurations those whose run failed or is incomplete; without any, all such runs of the folder."""
    if configs is not None:
        return [config for config in configs if status.has_failed(config)]
    runs = Path(flags.get("runs", "runs"))
    again = [{**vars(config), **flags} for config in status.failed_configs(runs)]
    for values in again:
        refuse_idle(values, flags)
    return [RunConfig(**values) for values in again]
