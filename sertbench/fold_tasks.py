"""What the fits of a plan are given: the features of its corpus, and of a fold what one fit or prediction may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sertbench import config as configs
from sertbench.corpus import Manifest
from sertbench.feature_cache import open_store
from sertbench.feature_store import FeatureStore
from sertbench.model import Choice, Estimator
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.tasks import FitTask, PredictionTask, blinded


def features(plan: Plan, display: Display) -> FeatureStore | None:
    """The features of all utterances, from the cache or worked out now; None for a model that asks for none."""
    recipe, manifest = plan.recipe, plan.manifest
    if recipe.features is None:
        return None
    paths = [u.path for u in manifest.utterances]
    with display.stage(f"{recipe.features.kind} features", len(paths)) as advance:
        return open_store(
            paths,
            manifest.audio_sha256,
            recipe.features,
            recipe.window,
            recipe.hop,
            plan.corpus.channel,
            configs.cache_folder(),
            advance,
        )


def fit_task(
    plan: Plan,
    fold: Fold,
    store: FeatureStore | None,
    choice: Choice,
    seed: int,
    *,
    stop_below: tuple[float, ...] = (),
    predicts: bool = True,
) -> FitTask:
    """What a worker needs for one fit: of the fold, the training and validation parts alone."""
    manifest, targets = plan.manifest, np.asarray(plan.manifest.targets)
    train, val = np.asarray(fold.train), np.asarray(fold.val)
    seen = np.concatenate([train, val])
    if plan.config.shuffle_labels:
        targets[seen] = np.random.default_rng(seed).permutation(targets[seen])
    estimator = issubclass(plan.model.cls, Estimator)
    return FitTask(
        model=plan.model.spec,
        choice={**plan.base_choice, **choice},
        seed=seed,
        manifest_sha256=manifest.sha256,
        split_sha256=plan.split.sha256,
        fold=fold.name,
        n_classes=len(manifest.classes),
        train=train,
        train_targets=targets[train],
        val=val,
        val_targets=targets[val],
        utterances=tuple(manifest.utterances[i] for i in seen) if estimator else (),
        seconds=seconds_of(plan, seen),
        store=store,
        compute=plan.compute,
        folder=(Path(plan.config.runs) / "fits").absolute(),  # workers elsewhere have other working folders
        stop_below=stop_below,
        normalise_by=speakers_of(manifest) if plan.speaker_norm else None,
        predicts=predicts,
    )


def prediction_task(plan: Plan, fit: FitTask, test: np.ndarray) -> PredictionTask:
    """What a worker needs to predict some utterances by a fit: no labels of theirs."""
    utterances = tuple(blinded(plan.manifest.utterances[i], plan.model.cls) for i in test)
    return PredictionTask(fit, test, utterances, seconds_of(plan, test))


def seconds_of(plan: Plan, positions: np.ndarray) -> np.ndarray:
    """Durations of some utterances."""
    lengths: np.ndarray = np.asarray(plan.manifest.seconds)[positions]
    return lengths


def speakers_of(manifest: Manifest) -> np.ndarray:
    """The speaker of each utterance as a number."""
    groups: np.ndarray = np.unique([u.speaker for u in manifest.utterances], return_inverse=True)[1]
    return groups
