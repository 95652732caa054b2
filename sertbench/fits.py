"""A fit: the unit of work. Its identity is a hash of exactly what can change its result.

A finished fit lies in a folder named by its identity, is published by one rename, and is never run twice, whichever run
asks for it again. The functions `run_fit` and `run_prediction` are what executors call; everything that they get and
give can be pickled.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sertbench import plugins
from sertbench.corpus import Utterance
from sertbench.errors import StorageError
from sertbench.feature_store import FEATURES_VERSION, FeatureStore
from sertbench.groupnorm import GroupNormalised
from sertbench.guard import blaming, refuse_wrong_shape
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator, Examples, NeuralModel, Recipe
from sertbench.scores import score
from sertbench.sealed import FeatureView
from sertbench.training import (
    Compute,
    EpochEnd,
    Fitted,
    Network,
    Normaliser,
    Part,
    Source,
    build,
    predict,
    train,
    train_for,
)

Report = Callable[[EpochEnd], None]


@dataclass(frozen=True)
class FitTask:
    """One training: everything that a worker needs, and nothing of the test part."""

    model: str  #                       plug-in name or path[:Class]
    choice: Mapping[str, Any]  #        recipe fields and constructor arguments that differ from the published ones
    seed: int
    manifest_sha256: str
    split_sha256: str
    fold: str
    n_classes: int
    train: np.ndarray  #                positions in the manifest
    train_targets: np.ndarray
    val: np.ndarray
    val_targets: np.ndarray
    utterances: tuple[Utterance, ...]  # of train then val, for estimators; empty for neural models
    seconds: np.ndarray  #              durations of train then val, for estimators
    store: FeatureStore | None
    compute: Compute
    folder: Path  #                     where finished fits lie
    stop_below: tuple[float, ...] = ()  # see training.train; a pruned fit is not published
    normalise_by: np.ndarray | None = None  # group of each utterance of the manifest (see groupnorm); never in a run
    refit_epochs: int | None = None  #  if given: train on training and validation part for so many epochs

    def resolve(self) -> tuple[type[NeuralModel] | type[Estimator], Recipe, dict[str, Any]]:
        """The model class, the recipe with the choice applied, and the constructor's arguments."""
        loaded = plugins.load_model(self.model)
        recipe, arguments = loaded.cls.recipe.with_choice(dict(self.choice))
        return loaded.cls, recipe, arguments

    def identity(self) -> str:
        """Hash of all that can change the fitted model: 16 hex digits."""
        cls, recipe, arguments = self.resolve()
        parts = {
            "torch": torch.__version__,
            "code": model_code_sha256(cls),
            "features": FEATURES_VERSION,
            "model": cls.__name__,
            "recipe": asdict(recipe),
            "arguments": arguments,
            "seed": self.seed,
            "manifest": self.manifest_sha256,
            "split": self.split_sha256,
            "fold": self.fold,
            "targets": hashlib.sha256(np.concatenate([self.train_targets, self.val_targets]).tobytes()).hexdigest(),
            "refit_epochs": self.refit_epochs,
            "normalise_by": None if self.normalise_by is None else self.normalise_by.tolist(),
            "compute": asdict(self.compute),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FitRecord:
    """What a fit leaves behind, but for the weights."""

    identity: str
    best_epoch: int
    val_uar: float
    history: tuple[EpochEnd, ...]
    seconds: float
    n_parameters: int
    pruned: bool = False
    reused: bool = False  # True: it was there already


def load_record(folder: Path, identity: str) -> FitRecord | None:
    """The record of a finished fit, or None."""
    path = folder / identity / "fit.json"
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    data["history"] = tuple(EpochEnd(**h) for h in data["history"])
    return FitRecord(**data)


def prune_in_hindsight(record: FitRecord, stop_below: tuple[float, ...]) -> FitRecord:
    """Cut a stored fit where it would have been pruned: a study must not depend on what was stored before it."""
    best = -1.0
    for end, (event, least) in enumerate(zip(record.history, stop_below, strict=False), start=1):
        best = max(best, event.val_uar)
        if best < least:
            history = record.history[:end]
            best_epoch = next(e.epoch for e in history if e.val_uar == best)
            return replace(record, history=history, val_uar=best, best_epoch=best_epoch, pruned=True)
    return record


def publish(folder: Path, record: FitRecord, state: Mapping[str, Any]) -> None:
    """Put a finished fit into its folder in one step; if another process was faster, keep the other's."""
    final = folder / record.identity
    draft = folder / f".{record.identity}-{secrets.token_hex(4)}"
    try:
        draft.mkdir(parents=True)
        torch.save(dict(state), draft / "weights.pt")
        (draft / "fit.json").write_text(json.dumps(asdict(record), indent=1))
        try:
            draft.rename(final)
        except OSError:
            if not (final / "fit.json").exists():
                raise
            shutil.rmtree(draft)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StorageError(
            f"cannot write the fit to {folder}: {error.strerror or error}. "
            "Free some space, or choose another folder with --runs; finished fits are kept"
        ) from error


def run_fit(task: FitTask, report: Report) -> FitRecord:
    """Train, unless this fit is there already. On CPU a fit uses one thread, so that it is the same fit everywhere."""
    identity = task.identity()
    done = load_record(task.folder, identity)
    if done is not None:
        return prune_in_hindsight(replace(done, reused=True), task.stop_below)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=task.compute.device == "cuda")
    started = time.perf_counter()
    cls, recipe, arguments = task.resolve()
    with blaming(task.model):
        if issubclass(cls, Estimator):
            _, fitted = fit_estimator(task, cls, arguments)
            n_parameters = 0
        elif task.refit_epochs is not None:
            fitted, n_parameters = refit_network(task, cls, recipe, arguments)
        else:
            fitted, n_parameters = fit_network(task, cls, recipe, arguments, report)
    record = FitRecord(
        identity,
        fitted.best_epoch,
        fitted.val_uar,
        fitted.history,
        time.perf_counter() - started,
        n_parameters,
        fitted.pruned,
    )
    if not fitted.pruned:
        publish(task.folder, record, fitted.state)
    return record


def fit_network(
    task: FitTask, cls: type[NeuralModel], recipe: Recipe, arguments: dict[str, Any], report: Report
) -> tuple[Fitted, int]:
    """Train a neural model on a view that holds the training and validation items alone."""
    with torch.random.fork_rng():
        network, events = start_training(task, cls, recipe, arguments)
        while True:
            try:
                report(next(events))
            except StopIteration as stop:
                fitted: Fitted = stop.value
                return fitted, sum(p.numel() for p in network.model.parameters())


def start_training(
    task: FitTask, cls: type[NeuralModel], recipe: Recipe, arguments: dict[str, Any]
) -> tuple[Network, Generator[EpochEnd, None, Fitted]]:
    """The untrained network, and the generator that trains it epoch by epoch."""
    store = cast(FeatureStore, task.store)
    view = source_of(task, FeatureView(store, np.concatenate([task.train, task.val])))
    train_part = Part(*store.items_of(task.train), task.train_targets)
    val_part = Part(*store.items_of(task.val), task.val_targets)
    network = build(cls, arguments, recipe, view, train_part.items, store.input_shape, task.n_classes, task.seed)
    refuse_wrong_shape(network, view, train_part.items, task.n_classes)
    events = train(network, recipe, view, train_part, val_part, task.seed, task.compute, task.stop_below)
    return network, events


def source_of(task: FitTask, source: Source) -> Source:
    """The source of a fit's batches: normalised per group if the task says so."""
    if task.normalise_by is None:
        return source
    return GroupNormalised(source, cast(FeatureStore, task.store), task.normalise_by)


def refit_network(
    task: FitTask, cls: type[NeuralModel], recipe: Recipe, arguments: dict[str, Any]
) -> tuple[Fitted, int]:
    """Train on training and validation part together, for the number of epochs that the validation part had chosen."""
    store, epochs = cast(FeatureStore, task.store), task.refit_epochs or 1
    both = np.concatenate([task.train, task.val])
    view = FeatureView(store, both)
    part = Part(*store.items_of(both), np.concatenate([task.train_targets, task.val_targets]))
    with torch.random.fork_rng():
        network = build(cls, arguments, recipe, view, part.items, store.input_shape, task.n_classes, task.seed)
        state = train_for(network, recipe, view, part, epochs, task.seed, task.compute)
    return Fitted(state, epochs, float("nan"), (), pruned=False), sum(p.numel() for p in network.model.parameters())


def examples(task: FitTask, positions: np.ndarray, first: int, targets: np.ndarray | None) -> Examples:
    """One part of a fold as an estimator sees it; `first` is where it begins in the task's utterances."""
    part = slice(first, first + len(positions))
    functionals = task.store.functionals(positions) if task.store else np.zeros((len(positions), 0), np.float32)
    return Examples(task.utterances[part], task.seconds[part], functionals, targets)


def fit_estimator(task: FitTask, cls: type[Estimator], arguments: dict[str, Any]) -> tuple[Estimator, Fitted]:
    """Fit a non-neural model. It is not stored: being cheap and deterministic, it is fitted again to predict."""
    estimator = cls(task.n_classes, task.seed, **arguments)
    val = examples(task, task.val, len(task.train), task.val_targets)
    if task.refit_epochs is None:
        estimator.fit(examples(task, task.train, 0, task.train_targets), val)
    else:
        both = np.concatenate([task.train, task.val])
        estimator.fit(examples(task, both, 0, np.concatenate([task.train_targets, task.val_targets])), val)
    probabilities = estimator.predict_proba(replace(val, targets=None))
    uar = score(task.val_targets, probabilities.argmax(1), task.n_classes).uar
    return estimator, Fitted({}, 1, uar, (), pruned=False)


@dataclass(frozen=True)
class PredictionTask:
    """One prediction of a fold's test part by a finished fit. It carries no labels of the test part."""

    fit: FitTask
    test: np.ndarray  #                 positions in the manifest, given by SealedTest.open
    utterances: tuple[Utterance, ...]  # for estimators, without their labels
    seconds: np.ndarray


def run_prediction(task: PredictionTask, report: Report) -> tuple[np.ndarray, float]:
    """Class probabilities of the test utterances, (n_test, n_classes) float32, and the seconds that it took."""
    del report
    started = time.perf_counter()
    torch.set_num_threads(1)
    probabilities = predict_test(task)
    return probabilities, time.perf_counter() - started


def predict_test(task: PredictionTask) -> np.ndarray:
    """Load the fit (or fit the estimator again) and predict."""
    fit = task.fit
    cls, recipe, arguments = fit.resolve()
    if issubclass(cls, Estimator):
        estimator, _ = fit_estimator(fit, cls, arguments)
        test = replace(fit, utterances=task.utterances, seconds=task.seconds)
        return np.asarray(estimator.predict_proba(examples(test, task.test, 0, None)), dtype=np.float32)
    store = cast(FeatureStore, fit.store)
    saved = torch.load(fit.folder / fit.identity() / "weights.pt", weights_only=True)
    mean, std = saved.get("normaliser.mean"), saved.get("normaliser.std")
    with torch.random.fork_rng():
        model = cls(store.input_shape, fit.n_classes, **arguments)
    network = Network(model, Normaliser(mean, std), recipe.window is None)
    network.load_state_dict(saved)
    network.to(fit.compute.device)
    items, owner = store.items_of(task.test)
    return predict(network, recipe, source_of(fit, store), items, owner, len(task.test), fit.compute)


def predict_every_epoch(task: PredictionTask, report: Report) -> np.ndarray:
    """Train a finished fit again and predict the test part after every epoch: (epochs, n_test, n_classes) float32.

    This is for the optimism meter alone (see `optimism`): nothing of it can reach a fit, a choice or a row's score.
    """
    fit, store = task.fit, cast(FeatureStore, task.fit.store)
    torch.set_num_threads(1)
    cls, recipe, arguments = fit.resolve()
    items, owner = store.items_of(task.test)
    outputs = []
    with torch.random.fork_rng():
        network, events = start_training(fit, cast("type[NeuralModel]", cls), recipe, arguments)
        for event in events:
            report(event)
            outputs.append(predict(network, recipe, store, items, owner, len(task.test), fit.compute))
    return np.stack(outputs)
