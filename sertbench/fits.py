"""A fit: the unit of work. Its identity is a hash of exactly what can change its result.

A finished fit lies in a folder named by its identity, is published by one rename, and is never run twice, whichever run
asks for it again. `run_fit` and `run_prediction` are what executors call.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sertbench.errors import StorageError
from sertbench.feature_store import FeatureStore
from sertbench.fitting import Report, fit_estimator, fit_network, predict_test, refit_network, start_training
from sertbench.guard import blaming
from sertbench.model import Estimator, NeuralModel
from sertbench.seeding import own_random_state
from sertbench.tasks import FitTask, PredictionTask
from sertbench.training import EpochEnd, predict


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


def publish(folder: Path, record: FitRecord, state: Mapping[str, Any], name: str = "weights.pt") -> None:
    """Put a finished fit into its folder in one step; if another process was faster, keep the other's."""
    final = folder / record.identity
    draft = folder / f".{record.identity}-{secrets.token_hex(4)}"
    weights = io.BytesIO()  # torch's own writer does not raise OSError when the disk is full
    torch.save(dict(state), weights)
    try:
        draft.mkdir(parents=True)
        (draft / name).write_bytes(weights.getbuffer())
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


def run_prediction(task: PredictionTask, report: Report) -> tuple[np.ndarray, float]:
    """Class probabilities of the test utterances, (n_test, n_classes) float32, and the seconds that it took."""
    del report
    started = time.perf_counter()
    torch.set_num_threads(1)
    with blaming(task.fit.model):
        probabilities = predict_test(task)
    return probabilities, time.perf_counter() - started


def predict_every_epoch(task: PredictionTask, report: Report) -> np.ndarray:
    """Train a finished fit again and predict the test part after every epoch: (epochs, n_test, n_classes) float32.

    This is for the optimism meter and for replays alone: nothing of it can reach a fit, a choice or a ranked score.
    """
    fit, store = task.fit, cast(FeatureStore, task.fit.store)
    torch.set_num_threads(1)
    cls, recipe, arguments = fit.resolve()
    items, owner = store.items_of(task.test)
    outputs = []
    with own_random_state(fit.compute.device):
        network, events = start_training(fit, cast("type[NeuralModel]", cls), recipe, arguments)
        for event in events:
            report(event)
            outputs.append(predict(network, recipe, store, items, owner, len(task.test), fit.compute))
    return np.stack(outputs)
