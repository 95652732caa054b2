"""How a task becomes a fitted network, refits too, and a finished fit the probabilities of its test part."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sertbench import activations
from sertbench.checkpoints import Checkpoint
from sertbench.device_store import on_device
from sertbench.errors import StorageError
from sertbench.estimators import predict_estimator
from sertbench.feature_store import FeatureStore
from sertbench.groupnorm import GroupNormalised
from sertbench.guard import refuse_wrong_shape
from sertbench.model import Estimator, NeuralModel, Recipe
from sertbench.network import Network, Normaliser, Part, Source, build
from sertbench.resources import with_less_memory
from sertbench.sealed import FeatureView
from sertbench.seeding import own_random_state
from sertbench.tasks import FitTask, PredictionTask
from sertbench.training import PREDICT_BATCH, EpochEnd, Fitted, predict, train, train_for

Report = Callable[[EpochEnd | str], None]  # the end of an epoch, or a sentence for people


def fit_network(
    task: FitTask,
    cls: type[NeuralModel],
    recipe: Recipe,
    arguments: dict[str, Any],
    report: Report,
    checkpoint: Checkpoint,
    parts: int,
) -> tuple[Fitted, int]:
    """Train a neural model on a view that holds the training and validation items alone."""
    with own_random_state(task.compute.device):
        network, events = start_training(task, cls, recipe, arguments, checkpoint, parts)
        while True:
            try:
                report(next(events))
            except StopIteration as stop:
                fitted: Fitted = stop.value
                return fitted, sum(p.numel() for p in network.model.parameters())


def start_training(
    task: FitTask,
    cls: type[NeuralModel],
    recipe: Recipe,
    arguments: dict[str, Any],
    checkpoint: Checkpoint | None = None,
    parts: int = 1,
) -> tuple[Network, Generator[EpochEnd, None, Fitted]]:
    """The untrained network, and the generator that trains it epoch by epoch."""
    store = cast(FeatureStore, task.store)
    view = seen_by(task, np.concatenate([task.train, task.val]))
    train_part = Part(*store.items_of(task.train), task.train_targets)
    val_part = Part(*store.items_of(task.val), task.val_targets)
    network = build(cls, arguments, recipe, view, train_part.items, store.input_shape, task.n_classes, task.seed)
    refuse_wrong_shape(network, view, train_part.items, task.n_classes)
    events = train(
        network, recipe, view, train_part, val_part, task.seed, task.compute, task.stop_below, checkpoint, parts
    )
    return network, events


def seen_by(task: FitTask, utterances: np.ndarray) -> Source:
    """The features of some utterances, and of no other."""
    store = cast(FeatureStore, task.store)
    if task.normalise_by is not None:
        return GroupNormalised(FeatureView(store, utterances), store, task.normalise_by)
    return FeatureView(store, utterances, on_device(store, task.compute))


def source_of(task: FitTask) -> Source:
    """The features of all utterances: for the prediction of the test part."""
    store = cast(FeatureStore, task.store)
    if task.normalise_by is not None:
        return GroupNormalised(store, store, task.normalise_by)
    return on_device(store, task.compute)


def refit_network(
    task: FitTask,
    cls: type[NeuralModel],
    recipe: Recipe,
    arguments: dict[str, Any],
    checkpoint: Checkpoint,
    parts: int,
) -> tuple[Fitted, int]:
    """Train on training and validation part together, for the number of epochs that the validation part had chosen."""
    store, epochs = cast(FeatureStore, task.store), task.refit_epochs or 1
    both = np.concatenate([task.train, task.val])
    view = seen_by(task, both)
    part = Part(*store.items_of(both), np.concatenate([task.train_targets, task.val_targets]))
    with own_random_state(task.compute.device):
        network = build(cls, arguments, recipe, view, part.items, store.input_shape, task.n_classes, task.seed)
        state = train_for(network, recipe, view, part, epochs, task.seed, task.compute, checkpoint, parts)
    return Fitted(state, epochs, float("nan"), (), pruned=False), sum(p.numel() for p in network.model.parameters())


def restored(
    cls: type[NeuralModel],
    arguments: Mapping[str, Any],
    recipe: Recipe,
    input_shape: tuple[int, int],
    n_classes: int,
    saved: Mapping[str, Tensor],
    device: str,
) -> Network:
    """The network with the weights and the normaliser that were saved."""
    with own_random_state(device):
        model = cls(input_shape, n_classes, **arguments)
    normaliser = Normaliser(saved.get("normaliser.mean"), saved.get("normaliser.std"))
    network = Network(model, normaliser, recipe.window is None)
    network.load_state_dict(dict(saved))
    return network.to(device)


def predict_test(task: PredictionTask, report: Report) -> np.ndarray:
    """Load the fit and predict. An estimator that could not be stored is fitted again (see `estimators`)."""
    fit = task.fit
    cls, recipe, arguments = fit.resolve()
    if issubclass(cls, Estimator):
        return predict_estimator(task, cls, arguments, report)
    store = cast(FeatureStore, fit.store)
    network = saved_network(fit, store.input_shape)
    items, owner = store.items_of(task.test)

    def predict_all(parts: int) -> tuple[np.ndarray, np.ndarray | None]:
        with activations.recording(network.model, owner, len(task.test)) as recorder:
            found = predict(network, recipe, source_of(fit), items, owner, len(task.test), fit.compute, parts)
        return found, recorder.mean()

    probabilities, seen = with_less_memory(predict_all, PREDICT_BATCH[fit.compute.device])[0]
    if fit.seed == activations.SEED:
        activations.save(fit.folder / fit.identity(), seen)
    return probabilities


def saved_network(fit: FitTask, input_shape: tuple[int, int]) -> Network:
    """The network of a finished fit, with its weights and its training part's statistics, on the fit's device."""
    cls, recipe, arguments = fit.resolve()
    weights = fit.folder / fit.identity() / "weights.pt"
    try:
        saved = torch.load(weights, weights_only=True)
    except FileNotFoundError as error:
        raise StorageError(f"{weights} was removed while it was needed. Type the same command again") from error
    neural = cast("type[NeuralModel]", cls)
    return restored(neural, arguments, recipe, input_shape, fit.n_classes, saved, fit.compute.device)
