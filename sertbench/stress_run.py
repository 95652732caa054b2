"""A finished run, opened again with its frozen fits and its audio: what `stress` disturbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sertbench import bundle, fits, plan
from sertbench.errors import BundleError, ConfigError
from sertbench.estimators import stored_at
from sertbench.fold_tasks import features, fit_task, seconds_of
from sertbench.model import Estimator
from sertbench.plan import Plan
from sertbench.pretrained_spec import Pretrained
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.results import Predictions
from sertbench.stress_cell import StressTask
from sertbench.stress_kinds import CLEAN
from sertbench.tasks import FitTask, blinded

ANEW = (
    "Run `sertbench run --config {0}/config.toml` with what is installed now (if that says that everything is done "
    "already, delete {0}/run.json first), and stress that run"
)


@dataclass(frozen=True)
class OpenRun:
    """A run whose audio, folds and fits are the ones that its bundle tells of."""

    folder: Path
    run: Mapping[str, Any]
    published: Predictions
    plan: Plan
    fits: Mapping[str, Mapping[int, FitTask]]  # fold -> seed -> fit

    @property
    def training(self) -> str:
        """What has to be trained, in words: nothing, but for estimators that the run did not store."""
        lacking = 0
        if issubclass(self.plan.model.cls, Estimator):
            found = [fit for by_seed in self.fits.values() for fit in by_seed.values()]
            lacking = sum(not stored_at(fit).exists() for fit in found)
        if not lacking:
            return "nothing is trained"
        return f"{lacking} were not stored and are fitted again on the same data, which changes no prediction"

    def task(self, fold: Fold, scratch: Path) -> StressTask:
        """The undisturbed test part of a fold, for all its fits."""
        test, manifest = np.asarray(fold.test), self.plan.manifest
        found = [manifest.utterances[i] for i in fold.test]
        cls = self.plan.model.cls
        return StressTask(
            cell=CLEAN,
            fits=self.fits[fold.name],
            paths=tuple(u.path for u in found),
            speakers=tuple(u.speaker for u in found),
            audio_sha256=tuple(manifest.audio_sha256[i] for i in fold.test),
            seconds=seconds_of(self.plan, test),
            utterances=tuple(blinded(u, cls) for u in found) if issubclass(cls, Estimator) else (),
            channel=self.plan.corpus.channel,
            voices={},
            recordings=(),
            scratch=scratch,
        )


def reopen(folder: Path, data: str | None, display: Display) -> OpenRun:
    """Open a bundle's run again. `data` is where the corpus lies now, if not where the run read it.

    Raises BundleError or ConfigError where something is not what the bundle tells of: nothing is trained here.
    """
    run = bundle.load_run(folder)
    try:
        return _reopened(folder, run, data, display)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{folder / 'run.json'} is damaged: {error!r} is missing or of the wrong kind") from error


def _reopened(folder: Path, run: Mapping[str, Any], data: str | None, display: Display) -> OpenRun:
    refuse_silent(folder, run)
    published = bundle.load_predictions(folder, run)
    settings = bundle.load_config(folder, run)
    asked = replace(
        settings,
        data=data or settings.data,
        runs=str(folder.absolute().parent),
        device=run["compute"]["device"],
        precision=run["compute"]["precision"],
        executor="auto",
    )
    made = plan.make(asked, display)
    refuse_other(folder, run, made)
    store = features(made, display)
    tasks: dict[str, dict[int, FitTask]] = {}
    folds = {fold.name: fold for fold in made.split.folds}
    for frozen in run["frozen"]:
        name = frozen["fold"]
        tasks[name] = {}
        for seed in published.seeds:
            task = fit_task(made, folds[name], store, dict(frozen["choice"]), seed)
            if made.protocol.refit:
                task = replace(task, refit_epochs=frozen["epochs"][str(seed)])
            refuse_other_fit(folder, task, frozen["fits"][str(seed)])
            tasks[name][seed] = task
    return OpenRun(folder, run, published, made, tasks)


def refuse_silent(folder: Path, run: Mapping[str, Any]) -> None:
    """ConfigError for runs that have nothing to disturb, or no fits of their own."""
    if run.get("kind") == "replay":
        raise ConfigError(
            f"{folder.name} is a replayed claim, whose fits keep no weights. Stress a run of `sertbench run`"
        )
    if run.get("kind") == "cross" and run["cross"]["kind"] != "within":
        raise ConfigError(
            f"{folder.name} is a cross-corpus run, and only a run within one corpus can be opened again. Stress one of "
            "`sertbench run`"
        )
    if run["model"]["recipe"]["features"] is None:
        raise ConfigError(
            f"{folder.name}: {run['model']['name']} does not listen to the audio, so there is nothing to disturb. Name "
            "a run of a model with audio features; `sertbench list models` shows them"
        )


def refuse_other(folder: Path, run: Mapping[str, Any], made: Plan) -> None:
    """ConfigError when the audio or the folds at hand are not those of the run."""
    if made.manifest.sha256 != run["corpus"]["manifest_sha256"]:
        raise ConfigError(
            f"{folder.name}: the {made.corpus_name} at hand is not the copy that was run: audio, labels or speakers "
            f"differ. Name the right copy with --data PATH (`sertbench audit {made.corpus_name}` examines one)"
        )
    features, before = made.recipe.features, run["model"]["recipe"]["features"]
    if isinstance(features, Pretrained) and features.sha256 != before["sha256"]:
        raise ConfigError(
            f"{folder.name}: the checkpoint {features.checkpoint} at hand has the hash {features.sha256[:12]}, and the "
            f"run's had {before['sha256'][:12]}. Put the run's own back where it was"
        )
    if made.split.sha256 != run["protocol"]["sha256"]:
        raise ConfigError(f"{folder.name}: protocol {made.split.protocol} has other folds now. {anew(folder)}")


def refuse_other_fit(folder: Path, task: FitTask, identity: str) -> None:
    """ConfigError when code or libraries would give another fit, or the fit is no longer there."""
    if task.identity() != identity:
        raise ConfigError(
            f"{folder.name}: fold {task.fold}, seed {task.seed} was fitted by another version of the model's code, of "
            f"torch or of scikit-learn{versions(folder)}. {anew(folder)}"
        )
    record, damage = fits.find(task.folder, identity)
    if record is None:
        raise ConfigError(
            f"{folder.name}: the fit of fold {task.fold}, seed {task.seed} is not at hand: "
            f"{damage or f'{task.folder / identity} is missing'}. Delete {folder / 'run.json'} and run `sertbench run "
            f"--config {folder / 'config.toml'}`: it fits what is missing"
        )


def versions(folder: Path) -> str:
    """Which libraries were others when the run was made, in brackets."""
    before, now = bundle.load_run(folder)["environment"], bundle.environment()
    names = ("sertbench", "git_sha", *bundle.LIBRARIES)
    changed = [f"{n} {str(before.get(n))[:12]}, now {str(now[n])[:12]}" for n in names if before.get(n) != now[n]]
    return f" ({'; '.join(changed)})" if changed else ""


def anew(folder: Path) -> str:
    """What to type for the same run with what is at hand."""
    return ANEW.format(folder)


def refuse_changed(opened: OpenRun, clean: Predictions) -> None:
    """ConfigError unless the undisturbed predictions are the published ones, number by number."""
    before, now = opened.published.probabilities, clean.probabilities
    if not np.array_equal(before, now):
        wrong, answers = (before != now).any(axis=2), (before.argmax(2) != now.argmax(2)).sum()
        raise ConfigError(
            f"{opened.folder.name}: without any disturbance {int(wrong.sum())} of {wrong.size} predictions are not the "
            f"published ones (largest difference {np.abs(before - now).max():.2g}, {int(answers)} other answers): "
            f"another machine or other libraries{versions(opened.folder)}. {anew(opened.folder)}"
        )
