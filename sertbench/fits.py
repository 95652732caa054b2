"""A fit: the unit of work. Its identity is a hash of exactly what can change its result.

A finished fit lies in a folder named by its identity, is published by one rename, and is never run twice, whichever run
asks for it again; one that was damaged since is fitted again. A trial that was pruned is kept under a name of its own,
since it is no fit. `run_fit` and `run_prediction` are what executors call; they may be called twice for the same task,
in two places at once: the first publication is kept.

    <runs>/fits/<identity>/    fit.json   weights.pt   estimator.npz   test-<hash of the test part>.npz
    <runs>/fits/.<identity>.checkpoint    of a long fit that is not finished
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sertbench import estimator_state, files, footprint
from sertbench.admission import admitted
from sertbench.checkpoints import Checkpoint
from sertbench.compute import settle
from sertbench.errors import StorageError, TrainingError
from sertbench.estimator_state import State
from sertbench.estimators import fit_estimator
from sertbench.feature_store import FeatureStore
from sertbench.fitting import Report, fit_network, predict_test, refit_network, source_of, start_training
from sertbench.guard import blaming, refuse_no_probabilities
from sertbench.machine import worked
from sertbench.model import Estimator, NeuralModel
from sertbench.resources import with_less_memory
from sertbench.seeding import own_random_state
from sertbench.stopwatch import lap
from sertbench.tasks import FitTask, PredictionTask
from sertbench.torch_settings import restore_defaults
from sertbench.training import EpochEnd, Fitted, predict

STALE = 24 * 3600  # seconds after which a draft was left by a killed process


@dataclass(frozen=True)
class FitRecord:
    """What a fit leaves behind, but for the weights."""

    identity: str
    best_epoch: int
    val_uar: float
    history: tuple[EpochEnd, ...]
    seconds: float  #  of work (see `machine.worked`), also before it was killed and went on
    n_parameters: int
    pruned: bool = False
    batch_parts: int = 1  #  into how many parts each batch was cut, because memory had run out
    reused: bool = False  #  True: it was there already
    note: str = ""  #        what happened on the way, in words

    def lasting(self) -> dict[str, Any]:
        """What is kept of it: the same whether the run was interrupted or not."""
        return {k: v for k, v in asdict(self).items() if k not in ("reused", "note")}


def find(folder: Path, name: str) -> tuple[FitRecord | None, str]:
    """The record of a finished fit, or None, and then in words what is damaged, if something is there.

    An estimator's file is read, for it says itself whether it is whole: it may have come later than `fit.json`.
    """
    place = folder / name
    try:
        data = json.loads((place / "fit.json").read_text())
        weights = data.pop("weights_sha256")
        data["history"] = tuple(EpochEnd(**h) for h in data["history"])
        record = FitRecord(**data)
        if files.sha256(place / "weights.pt") != weights:
            raise ValueError("weights.pt is not the file that was written")
        if (estimator := place / estimator_state.FILE).exists():
            estimator_state.load(estimator)
    except StorageError:
        return None, f"{place} was damaged ({estimator_state.FILE} holds no fitted estimator)"
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, FileNotFoundError) and not place.exists():
            return None, ""
        reason = f"{Path(error.filename).name} is missing" if isinstance(error, FileNotFoundError) else str(error)
        return None, f"{place} was damaged ({reason})"
    return record, ""


def load_record(folder: Path, name: str) -> FitRecord | None:
    """The record of a finished fit, or None."""
    return find(folder, name)[0]


def pruned_name(identity: str, stop_below: tuple[float, ...]) -> str:
    """Under which name a pruned fit is kept: where it stopped depends on these thresholds."""
    return f"{identity}-pruned-{hashlib.sha256(json.dumps(stop_below).encode()).hexdigest()[:8]}"


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


def publish(
    folder: Path, record: FitRecord, state: Mapping[str, Any], name: str = "", estimator: State | None = None
) -> None:
    """Put a finished fit into its folder in one step; if another process was faster, keep the other's.

    What is there but damaged is replaced. `name` is the identity unless given.
    """
    final = folder / (name or record.identity)
    draft = files.draft_of(final)
    weights = io.BytesIO()  # torch's own writer does not raise OSError when the disk is full
    torch.save(dict(state), weights)
    sha256 = hashlib.sha256(weights.getbuffer()).hexdigest()
    try:
        draft.mkdir(parents=True)
        (draft / "weights.pt").write_bytes(weights.getbuffer())
        (draft / "fit.json").write_text(json.dumps({**record.lasting(), "weights_sha256": sha256}, indent=1))
        if estimator is not None:
            estimator_state.write(draft / estimator_state.FILE, estimator)
        for path in (*draft.iterdir(), draft):
            files.sync(path)
        try:
            draft.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            if load_record(folder, final.name) is None:
                final.rename(broken := files.draft_of(final))
                draft.rename(final)
                shutil.rmtree(broken, ignore_errors=True)
            shutil.rmtree(draft, ignore_errors=True)
        files.sync(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StorageError(
            f"cannot write the fit to {folder}: {error.strerror or error}. "
            "Free some space, or choose another folder with --runs; finished fits are kept"
        ) from error


def clean(folder: Path) -> None:
    """Remove drafts that killed processes left a day ago or more, on whichever machine."""
    for draft in folder.glob(".*.draft"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > STALE:
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()


def run_fit(task: FitTask, report: Report) -> FitRecord:
    """Train, unless this fit is there already. On CPU a fit uses one thread, so that it is the same fit everywhere."""
    identity = task.identity()
    name_if_pruned = pruned_name(identity, task.stop_below)
    done, damage = find(task.folder, identity)
    if done is not None:
        return prune_in_hindsight(replace(done, reused=True), task.stop_below)
    if task.stop_below and (pruned := load_record(task.folder, name_if_pruned)) is not None:
        return replace(pruned, reused=True)
    settle(task.compute.device)
    restore_defaults()
    checkpoint = Checkpoint(task.folder / f".{identity}.checkpoint", task.compute.device)
    with blaming(task.model), admitted(footprint.of_fit(task, parts := checkpoint.parts), report):
        if task.identity() != identity:  # memory may have been waited for for hours
            raise TrainingError(f"{task.model} was edited before its fit began. Type the same command again")
        checkpoint.begin()
        fitted, n_parameters, parts, estimator = fit(task, report, checkpoint, parts)
    notes = [f"{damage}, so it was fitted again" if damage else "", checkpoint.note, fitted.note]
    if parts > 1:
        notes.append(f"memory ran out: batches were cut into {parts} parts")
    record = FitRecord(
        identity,
        fitted.best_epoch,
        fitted.val_uar,
        fitted.history,
        checkpoint.seconds,
        n_parameters,
        fitted.pruned,
        parts,
        note="; ".join(filter(None, notes)),
    )
    lap("set-up")
    if fitted.pruned:
        publish(task.folder, record, {}, name_if_pruned)
    else:
        publish(task.folder, record, fitted.state, identity, estimator)
    checkpoint.discard()
    lap("checkpoints")
    return record


def fit(task: FitTask, report: Report, checkpoint: Checkpoint, parts: int) -> tuple[Fitted, int, int, State | None]:
    """Do the work of a fit: the outcome, the number of parameters, into how many parts batches were cut, an estimator.

    It begins with as many `parts` as its checkpoint has. When memory runs out, the fit begins anew with half the batch
    at a time and the gradients added up.
    """
    cls, recipe, arguments = task.resolve()
    if issubclass(cls, Estimator):
        fitted_now = fit_estimator(task, cls, arguments)
        return fitted_now.outcome, 0, 1, fitted_now.state

    def attempt(parts: int) -> tuple[Fitted, int]:
        if parts != checkpoint.parts:
            checkpoint.discard()
        if task.refit_epochs is not None:
            return refit_network(task, cls, recipe, arguments, checkpoint, parts)
        return fit_network(task, cls, recipe, arguments, report, checkpoint, parts)

    (fitted, n_parameters), parts = with_less_memory(attempt, recipe.batch_size // 2, parts)
    return fitted, n_parameters, parts, None


def run_prediction(task: PredictionTask, report: Report) -> tuple[np.ndarray, float]:
    """Class probabilities of the test utterances, (n_test, n_classes) float32, and the seconds that it took.

    They are kept beside the fit, and read back if they are asked for again. TrainingError for what is none.
    """
    test = hashlib.sha256(np.ascontiguousarray(task.test, dtype=np.int64).tobytes()).hexdigest()[:16]
    path = task.fit.folder / task.fit.identity() / f"test-{test}.npz"
    with suppress(*files.UNREADABLE, TrainingError), path.open("rb") as file:
        kept = np.load(file)
        probabilities, seconds = kept["probabilities"], float(kept["seconds"])
        refuse_no_probabilities(task.fit.model, probabilities, len(task.test), task.fit.n_classes)
        return probabilities, seconds
    settle(task.fit.compute.device)
    restore_defaults()
    with blaming(task.fit.model), admitted(footprint.of_prediction(task.fit), report):
        started = worked(task.fit.compute.device)
        probabilities = predict_test(task, report)
        seconds = worked(task.fit.compute.device) - started
    refuse_no_probabilities(task.fit.model, probabilities, len(task.test), task.fit.n_classes)

    def save(draft: Path) -> None:
        with draft.open("wb") as file:
            np.savez(file, probabilities=probabilities, seconds=seconds)

    files.write(path, save)
    return probabilities, seconds


def predict_every_epoch(task: PredictionTask, report: Report) -> np.ndarray:
    """Train a finished fit again and predict the test part after every epoch: (epochs, n_test, n_classes) float32.

    This is for the optimism meter and for replays alone: nothing of it can reach a fit, a choice or a ranked score.
    """
    fit, store = task.fit, cast(FeatureStore, task.fit.store)
    settle(fit.compute.device)
    restore_defaults()
    cls, recipe, arguments = fit.resolve()
    items, owner = store.items_of(task.test)
    outputs = []
    with admitted(footprint.of_fit(fit), report), own_random_state(fit.compute.device):
        network, events = start_training(fit, cast("type[NeuralModel]", cls), recipe, arguments)
        for event in events:
            report(event)
            found = predict(network, recipe, source_of(fit), items, owner, len(task.test), fit.compute)
            refuse_no_probabilities(fit.model, found, len(task.test), fit.n_classes)
            outputs.append(found)
    return np.stack(outputs)
