"""What a run takes, told before it starts: how many fits, how long at most (from timed steps), how much memory."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sertbench import config as configs
from sertbench import files, footprint
from sertbench.admission import Need
from sertbench.errors import ConfigError, StorageError
from sertbench.feature_spec import SAMPLE_RATE, columns, width
from sertbench.feature_store import windows
from sertbench.guard import blaming, refuse_wrong_shape
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator, NeuralModel, departures
from sertbench.network import Network, Normaliser, Part
from sertbench.optimisation import make_optimiser
from sertbench.pace import at_most
from sertbench.plan import Plan
from sertbench.seeding import own_random_state
from sertbench.torch_settings import restore_defaults
from sertbench.training import predict, train_epoch
from sertbench.tuning import BATCH, n_finalists

FRESH = 24 * 3600  #        seconds for which a measured step stays the measure
NOTHING = Need()
ESTIMATOR = 0.004  #       seconds of an estimator's fit per utterance: about what the published boards' took
LONG = 10.0  #            seconds of a timed pass for which warming up no longer matters


@dataclass(frozen=True)
class Cost:
    """What a run takes at most."""

    n_fits: int
    n_items: int  #   windows, or whole utterances, of the corpus
    n_parameters: int
    seconds: float  # expected wall time if no fit stops early; of estimators, which are not timed, its magnitude
    memory: Need = NOTHING  # of a fit on a CPU


def items_per_utterance(plan: Plan) -> np.ndarray:
    """Items (windows, or one whole utterance each) per utterance, worked out from the durations alone."""
    recipe = plan.recipe
    samples = np.round(np.asarray(plan.manifest.seconds) * SAMPLE_RATE).astype(int)
    return np.array([len(windows(int(n), recipe.window, recipe.hop)) for n in samples])


def cost(plan: Plan) -> Cost:
    """Count the fits and time a few training steps of the model on noise of the right shape, on one thread."""
    trials, seeds, finalists = plan.config.trials, plan.config.seeds, n_finalists(plan.config.trials)
    per_fold = trials + seeds + (finalists if finalists > 1 else 0)
    refits = seeds if plan.protocol.refit else 0
    n_fits = (per_fold + refits) * len(plan.split.folds)
    items = items_per_utterance(plan)
    if issubclass(plan.model.cls, Estimator):
        asked = footprint.of_estimator(len(plan.manifest), width(plan.recipe.features))
        seconds = n_fits * len(plan.manifest) * ESTIMATOR / min(plan.workers, n_fits)
        return Cost(n_fits, int(items.sum()), 0, seconds, asked)
    n_parameters, train_rate, predict_rate = measure(plan.model.cls, plan)
    trainings = per_fold - (trials > 0)  # the chosen trial's fit is the final fit of the first seed
    ones, again = [], []  # seconds of one fit of each fold, and of one refit
    for fold in plan.split.folds:
        n_train, n_val = items[list(fold.train)].sum(), items[list(fold.val)].sum()
        ones.append(float(plan.recipe.epochs * (n_train * train_rate + n_val * predict_rate)))
        again += [float(plan.recipe.epochs * (n_train + n_val) * train_rate)] * plan.protocol.refit
    chain = math.ceil(trials / BATCH) + (finalists > 1) + 1 + plan.protocol.refit
    total, number = trainings * sum(ones) + refits * sum(again), (trainings + refits) * len(ones)
    seconds = at_most(total, max(ones + again), number, plan.workers, chain)
    return Cost(n_fits, int(items.sum()), n_parameters, seconds, memory_of(plan.model.cls, plan))


def memory_of(cls: type[NeuralModel], plan: Plan) -> Need:
    """What a fit of a network will ask for (see `footprint`); nothing on a GPU."""
    recipe, arguments = cls.recipe.with_choice(dict(plan.base_choice))
    features, whole = recipe.features, recipe.window is None
    if features is None:
        return NOTHING
    shape = features.rows, columns(features, None if recipe.window is None else round(recipe.window * SAMPLE_RATE))
    longest = features.frames(round(max(plan.manifest.seconds) * SAMPLE_RATE))
    built = footprint.Built(
        cls, departures(cls, arguments), whole, shape, longest, len(plan.manifest.classes), plan.compute
    )
    size = footprint.footprint(built, configs.cache_folder())
    return footprint.of_network(size, recipe, 1, plan.model.name)


class Noise:
    """A source of random items of one shape, for timing."""

    def __init__(self, rows: int, frames: int) -> None:
        self._shape = rows, frames
        self._generator = torch.Generator().manual_seed(0)

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Random x (B, F, T) and full lengths (B,)."""
        return torch.randn(len(items), *self._shape, generator=self._generator), torch.full(
            (len(items),), self._shape[1]
        )

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Zero mean and unit standard deviation, (F, 1)."""
        del items
        return np.zeros((self._shape[0], 1), np.float32), np.ones((self._shape[0], 1), np.float32)


def measure(cls: type[NeuralModel], plan: Plan) -> tuple[int, float, float]:
    """Parameters, and seconds per item of a training step and of a prediction, at the corpus's mean length.

    What was measured on this machine within a day is not measured again: a step of a large model takes seconds.
    """
    recipe, n_classes = plan.recipe, len(plan.manifest.classes)
    _, arguments = cls.recipe.with_choice(dict(plan.base_choice))
    if recipe.features is None:
        raise ConfigError(f"model {plan.model.name} names no features in its recipe: every neural model needs some")
    samples = round((recipe.window or float(np.mean(plan.manifest.seconds))) * SAMPLE_RATE)
    shape = recipe.features.rows, recipe.features.frames(samples)
    expected = shape[0], columns(recipe.features, samples if recipe.window else None)
    about = [
        model_code_sha256(cls), asdict(recipe), arguments, shape, n_classes, asdict(plan.compute), torch.__version__,
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps([*about, platform.node()], sort_keys=True, default=str).encode()).hexdigest()
    path = configs.cache_folder() / "step-times" / f"{key}.json"
    with suppress(OSError, ValueError, TypeError):
        if time.time() - path.stat().st_mtime < FRESH:
            n_parameters, train_rate, predict_rate = json.loads(path.read_text())
            return n_parameters, train_rate, predict_rate
    found = timed_steps(partial(cls, expected, n_classes, **arguments), plan, shape)
    with suppress(StorageError):  # whatever needs the cache will say so
        files.write_text(path, json.dumps(found))
    return found


def timed_steps(make: Callable[[], NeuralModel], plan: Plan, shape: tuple[int, int]) -> tuple[int, float, float]:
    """As `measure`, on items of this shape (F, T), measured now."""
    recipe, n_classes = plan.recipe, len(plan.manifest.classes)
    source = Noise(*shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if plan.compute.device == "cpu" else threads)
    restore_defaults()
    try:
        with own_random_state(plan.compute.device), blaming(plan.model.spec):
            model = make()
            network = Network(model, Normaliser(None, None), recipe.window is None).to(plan.compute.device)
            optimiser, _ = make_optimiser(recipe, network)
            refuse_wrong_shape(network, source, np.arange(2), n_classes)
            rng, times = np.random.default_rng(0), []
            for size in (2, max(2, recipe.batch_size)):  # the first pass warms up
                items = np.arange(size)
                part = Part(items, items, items % n_classes)
                started = time.perf_counter()
                train_epoch(network, recipe, source, part, optimiser, None, rng, plan.compute)
                trained = time.perf_counter()
                predict(network, recipe, source, items, items, len(items), plan.compute)
                times.append((trained - started, time.perf_counter() - trained))
                if sum(times[-1]) > LONG:
                    break
    finally:
        torch.set_num_threads(threads)
    n_parameters = sum(p.numel() for p in model.parameters())
    return n_parameters, times[-1][0] / len(items), times[-1][1] / len(items)
