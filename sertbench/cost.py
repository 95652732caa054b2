"""What a run takes, shown before it starts: how many fits, and how long at most, from timed steps on noise."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sertbench import config as configs
from sertbench import files, ssl_features, utterance_features
from sertbench.errors import ConfigError, StorageError, few
from sertbench.feature_spec import SAMPLE_RATE, SslSpec, UtteranceSpec, columns
from sertbench.feature_store import windows
from sertbench.guard import blaming, refuse_wrong_shape
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator, NeuralModel
from sertbench.network import Network, Normaliser, Part
from sertbench.optimisation import make_optimiser
from sertbench.plan import Plan
from sertbench.progress import duration
from sertbench.resources import available_memory, free_disk, workers_that_fit
from sertbench.seeding import own_random_state
from sertbench.training import predict, train_epoch
from sertbench.tuning import n_finalists

FRESH = 24 * 3600  #        seconds for which a measured step stays the measure
LONG = 10.0  #            seconds of a timed pass for which warming up no longer matters
SPARE_DISK = 500_000_000  # bytes that should stay free for tables, logs and everybody else


@dataclass(frozen=True)
class Cost:
    """What a run takes at most."""

    n_fits: int
    n_items: int  #   windows, or whole utterances, of the corpus
    n_parameters: int
    seconds: float  # expected wall time if no fit stops early


def items_per_utterance(plan: Plan) -> np.ndarray:
    """Items (windows, or one whole utterance each) per utterance, worked out from the durations alone."""
    recipe = plan.recipe
    samples = np.round(np.asarray(plan.manifest.seconds) * SAMPLE_RATE).astype(int)
    return np.array([len(windows(int(n), recipe.window, recipe.hop)) for n in samples])


def cost(plan: Plan) -> Cost:
    """Count the fits and time a few training steps of the model on noise of the right shape, on one thread."""
    trials, seeds, finalists = plan.config.trials, plan.config.seeds, n_finalists(plan.config.trials)
    per_fold = trials + seeds + (finalists if finalists > 1 else 0)
    n_fits = per_fold * len(plan.split.folds)
    items = items_per_utterance(plan)
    if issubclass(plan.model.cls, Estimator):
        return Cost(n_fits, int(items.sum()), 0, float(n_fits))
    n_parameters, train_rate, predict_rate = measure(plan.model.cls, plan)
    seconds = 0.0
    for fold in plan.split.folds:
        n_train, n_val = items[list(fold.train)].sum(), items[list(fold.val)].sum()
        trainings = per_fold - (trials > 0)  # the chosen trial's fit is the final fit of the first seed
        seconds += trainings * plan.recipe.epochs * (n_train * train_rate + n_val * predict_rate)
    return Cost(n_fits, int(items.sum()), n_parameters, seconds / min(plan.workers, n_fits))


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


def where(plan: Plan) -> str:
    """Where fits run, and how many at a time."""
    if plan.config.executor == "dask":
        return f"on the Dask cluster at {plan.config.scheduler}"
    if plan.config.executor == "slurm":
        return f"in up to {plan.workers} SLURM jobs"
    if plan.stack == 1:
        return f"{plan.workers} at a time"
    turns = "as many fits at a time as there is room for" if plan.stack is None else f"{plan.stack} fits at a time"
    return turns if plan.workers == 1 else f"{plan.workers} workers, each with {turns}"


def shortages(plan: Plan, price: Cost) -> list[str]:
    """What this machine may have too little of for the plan, in words."""
    found = []
    recipe = plan.recipe
    weights = 4 * price.n_parameters * price.n_fits
    features = 0
    if recipe.features is not None:
        seconds = recipe.window or float(np.mean(plan.manifest.seconds))
        features = 4 * price.n_items * recipe.features.rows * recipe.features.frames(round(seconds * SAMPLE_RATE))
    for folder, needed, what in (
        (Path(plan.config.runs), weights, "the fits"),
        (configs.cache_folder(), features, "the features, unless they are there already"),
    ):
        if (free := free_disk(folder)) < needed * 1.1 + SPARE_DISK:
            found.append(f"{free / 1e9:.1f} GB are free in {folder.absolute()}, and {what} take {needed / 1e9:.1f} GB")
    workers, here = plan.workers, plan.config.executor in ("auto", "processes")
    if here and plan.compute.device == "cpu" and workers > 1 and workers_that_fit(workers) < workers:
        found.append(f"{available_memory() / 1e9:.1f} GB of memory are free, too little for {workers} workers")
    return found


def layers_or_frames(spec: SslSpec) -> str:
    """The second axis of an item, in words."""
    if spec.kind == "ssl":
        return f"{len(spec.chosen)} (mean and deviation of {spec.hidden} units; layers)"
    return "50 per second"


def extraction(plan: Plan, spec: SslSpec, price: Cost) -> str:
    """What the features take, in words, before anything is computed."""
    manifest, recipe = plan.manifest, plan.recipe
    each = recipe.window or float(np.mean(manifest.seconds))
    seen = ssl_features.outlook(
        spec, plan.corpus.channel, configs.cache_folder(), manifest.audio_sha256, manifest.seconds, price.n_items,
        spec.frames(round(each * SAMPLE_RATE)),
    )  # fmt: skip
    size = f"{seen.bytes / 1e6:,.0f} MB of cache"
    if not seen.missing:
        return f"nothing to compute; {size}"
    work = f"{seen.missing} utterances on {spec.device}, about {duration(seen.seconds)}"
    return f"{work}; {size}; may be stopped at any time"


def describe(plan: Plan, price: Cost) -> list[tuple[str, str]]:
    """The plan as names and values, for the screen."""
    config, manifest, recipe, cls = plan.config, plan.manifest, plan.recipe, plan.model.cls
    speakers = len({u.speaker for u in manifest.utterances})
    size = f"{len(manifest)} utterances, {speakers} speakers, {sum(manifest.seconds) / 3600:.2f} h"
    subset = "" if manifest.subset == "all" else f", {manifest.subset} only"
    features = "none"
    if recipe.features is not None:
        cut = f"windows of {recipe.window} s every {recipe.hop} s" if recipe.window else "whole utterances"
        features = f"{recipe.features.kind}, {recipe.features.rows} rows, {cut}: {price.n_items:,} items"
    if isinstance(recipe.features, UtteranceSpec):
        by = ", ".join(" ".join(made) for made in utterance_features.versions(recipe.features).items())
        features = f"{recipe.features.kind}, {recipe.features.rows} values per utterance ({by})"
    elif isinstance(recipe.features, SslSpec):
        features = f"{recipe.features.label}, {recipe.features.rows} x {layers_or_frames(recipe.features)}"
    tuning = (
        f"{config.trials} Optuna trials per fold on its validation part" if config.trials else "the recipe as published"
    )
    expected = f"at most {duration(price.seconds)} on this machine (early stopping usually ends sooner)"
    made, fits = f"{plan.model.name}, {price.n_parameters:,} parameters", f"of at most {recipe.epochs} epochs each"
    if issubclass(cls, Estimator):
        made, fits, expected = plan.model.name, "of a model that is not trained in epochs", "usually minutes"
    rows = [
        ("model", f"{made}. {cls.paper}"),
        ("corpus", f"{plan.corpus_name}, {manifest.label_set}{subset}: {size}; classes {', '.join(manifest.classes)}"),
        ("protocol", f"{plan.split.protocol}, {len(plan.split.folds)} folds. {plan.protocol.summary}"),
        ("features", features),
        ("tuning", tuning),
        ("fits", f"{price.n_fits} {fits}; seeds per fold: {config.seeds}"),
        ("computing", f"{plan.compute.device}, {plan.compute.precision}, {where(plan)}"),
        ("expected", expected),
        ("result", f"{plan.folder}"),
    ]  # fmt: skip
    if plan.excluded:
        rows.append(("left out", f"{len(plan.excluded)} named by --accept-missing: {few(plan.excluded, 4)}"))
    if licence := utterance_features.licence(recipe.features):
        rows.append(("licence", licence))
    if isinstance(recipe.features, SslSpec):
        rows.insert(4, ("extraction", extraction(plan, recipe.features, price)))
    if (seen := plan.exposure).status:
        rows.append(("exposure", f"{seen.cell}: {seen.details}"))
        if seen.unranked:
            rows.append(("note", f"the row is not ranked: {seen.unranked}"))
    if plan.corpus.synthetic:
        rows.append(("note", "this corpus is synthetic: its scores say nothing about people and are never ranked"))
    elif plan.corpus.unranked:
        rows.append(("note", f"rows on this corpus are never ranked: {plan.corpus.unranked}"))
    if config.shuffle_labels:
        rows.append(("note", "control: training and validation labels are shuffled; the score must be at chance"))
    if plan.leaky:
        rows.append(("note", "the folds leak (--allow-leak): the row is stamped leaky and never ranked"))
    return rows
