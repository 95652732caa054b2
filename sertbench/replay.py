"""The flow of a replay, readable from top to bottom.

claim -> settings (utterances dropped and counted, splits drawn per seed) -> features -> one fit per seed and fold, with
the predictions of every epoch -> the epoch that the claim's rule reports -> bundle with figures -> a row of the
replication board, beside what was published and the honest score
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sertbench import bundle, executors, files, replay_plan, replication
from sertbench.board_rows import Row
from sertbench.bundles import REPLAYS
from sertbench.claim import Claim
from sertbench.feature_store import FeatureStore
from sertbench.fold_tasks import features, fit_task, prediction_task
from sertbench.guard import refuse_edited
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator
from sertbench.progress import Display
from sertbench.protocols import Fold, Split
from sertbench.replay_choice import ReplayConfig
from sertbench.replay_cost import describe
from sertbench.replay_fits import EveryEpoch, identity_of, predicted_by, run_every_epoch
from sertbench.replay_plan import ReplayPlan, Setting, folds_of
from sertbench.replay_record import save
from sertbench.tasks import PredictionTask


@dataclass(frozen=True, eq=False)
class Job:
    """One fit of a replay."""

    setting: Setting
    seed: int
    fold: Fold
    store: FeatureStore | None

    @property
    def tag(self) -> str:
        """Its name on the screen."""
        s = self.setting
        return f"{s.label}, {s.rule.name}, {s.subset}, seed {self.seed}, fold {self.fold.name}"


@dataclass(frozen=True)
class Outcome:
    """The end of a replay: its plan, one row per setting in the plan's order, and the board's file."""

    plan: ReplayPlan
    rows: tuple[Row, ...]
    board: Path


def replay(claim: Claim, asked: ReplayConfig, display: Display, *, dry: bool = False) -> Outcome | None:
    """Replay a claim; a dry run shows the plan and gives None."""
    plan = replay_plan.make(claim, asked, display)
    boards, runs = Path(asked.leaderboards), Path(asked.runs)
    describe(plan, display)
    if dry:
        return None
    files.ensure_writable(runs)
    files.ensure_writable(boards)
    display.log_to(runs / REPLAYS / "logs" / claim.name)
    rows = []
    with closing(finished(plan, display)) as bundles:
        for setting, run in zip(plan.settings, bundles, strict=True):
            honest = replication.find_honest(setting.honest_cells, plan.default_protocol, boards, runs)
            rows.append(replication.row_of(run, setting.plan.folder, honest))
            replication.add(boards, rows[-1])
    return Outcome(plan, tuple(rows), replication.path_of(boards, claim.name))


def finished(plan: ReplayPlan, display: Display) -> Generator[dict[str, Any], None, None]:
    """Yield the content of each setting's bundle, as soon as it is there: an earlier replay's, or a new one.

    The fits of all settings run side by side, as far as there are workers; finished ones are taken as they are.
    """
    waiting = [s for s in plan.settings if not bundle.is_whole(s.plan.folder)]
    if done := len(plan.settings) - len(waiting):
        display.say(
            f"{done} of {len(plan.settings)} settings are done already (delete their bundles to run them again)"
        )
    stores = {s.plan.row_id: features(s.plan, display) for s in waiting}
    jobs = [Job(s, seed, fold, stores[s.plan.row_id]) for s in waiting for seed, fold in folds_of(s)]
    tasks = {job: task_of(job) for job in jobs}
    names = {job: identity_of(task) for job, task in tasks.items()}
    first = {names[job]: job for job in reversed(jobs)}  # of jobs that share a fit
    epochs = {job.tag: job.setting.plan.recipe.epochs for job in jobs}

    def on_event(tag: str, event: Any) -> None:
        if event == executors.BEGUN:
            display.begun(tag)
        elif isinstance(event, str):
            display.say(f"{tag}: {event}")
        else:
            display.epoch(tag, event, epochs[tag])

    def fit(job: Job) -> EveryEpoch:
        model = job.setting.plan.model
        outcome = runner.run(run_every_epoch, tasks[job], job.tag, on_event)
        refuse_edited(model.spec, model_code_sha256(model.cls))
        display.fitted(job.tag, outcome.record)
        return outcome

    with (
        display.fits(len(first)),
        executors.make(plan.workers) as runner,
        ThreadPoolExecutor(plan.workers) as threads,
    ):
        futures = {names[job]: threads.submit(fit, job) for job in jobs if first[names[job]] is job}
        try:
            for setting in plan.settings:
                if setting.plan.row_id not in stores:
                    yield bundle.load_run(setting.plan.folder)
                    continue
                yield save(setting, [futures[names[job]].result() for job in jobs if job.setting is setting])
        except BaseException:
            for future in futures.values():
                future.cancel()
            runner.stop()
            raise


def task_of(job: Job) -> PredictionTask:
    """What a worker needs for one fit and its predictions.

    A network's training does not look at the other parts, since a replay does not stop early: so two splits with the
    same training part share the fit, whichever of the rest they validate on and test.
    """
    plan, fold, positions = job.setting.plan, job.fold, predicted_by(job.fold)
    rest = tuple(int(i) for i in positions)
    part = fold if issubclass(plan.model.cls, Estimator) else Fold("", fold.train, rest, rest)
    plan = replace(plan, split=Split("replay", plan.split.ids, (replace(part, name="1"),)))
    fit = fit_task(plan, plan.split.folds[0], job.store, {}, job.seed)
    return prediction_task(plan, fit, positions)
