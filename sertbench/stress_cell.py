"""One disturbance of one fold's test part, predicted by the fold's own fits: what `stress` sends to a worker.

Nothing is trained: networks and estimators are loaded, and an estimator that was not stored is fitted again on the same
undisturbed training part (see `estimators`). Features are computed as
for the run, from the disturbed waveforms, and normalised with the fit's own statistics.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sertbench import audio
from sertbench.corpus import Utterance
from sertbench.disturbances import disturb, generator
from sertbench.estimators import examples, fitted_estimator
from sertbench.executors import Report
from sertbench.feature_cache import store_of_waves
from sertbench.feature_store import FeatureStore
from sertbench.fitting import saved_network
from sertbench.guard import blaming, refuse_no_probabilities
from sertbench.model import Estimator
from sertbench.resources import with_less_memory
from sertbench.stress_kinds import Cell
from sertbench.tasks import FitTask
from sertbench.training import PREDICT_BATCH, predict
from sertbench.transmission import Wave

KEPT = 16  # fitted estimators that a worker keeps for the next cell

_fitted: OrderedDict[str, Estimator] = OrderedDict()


@dataclass(frozen=True)
class StressTask:
    """All that a worker needs; no labels of the test part."""

    cell: Cell
    fits: Mapping[int, FitTask]  #            by seed
    paths: tuple[Path, ...]  #                of the test utterances
    speakers: tuple[str, ...]
    audio_sha256: tuple[str, ...]
    seconds: np.ndarray
    utterances: tuple[Utterance, ...]  #      the same without their labels, for estimators
    channel: str
    voices: Mapping[str, Sequence[Path]]  #   speaker -> utterances of the corpus, for babble
    recordings: Sequence[Path]  #             the user's noise
    scratch: Path


def run_cell(task: StressTask, report: Report) -> dict[int, np.ndarray]:
    """Class probabilities of the disturbed test utterances, (n, n_classes) float32, by seed."""
    torch.set_num_threads(1)
    _, recipe, _ = next(iter(task.fits.values())).resolve()
    assert recipe.features is not None
    stretched = np.ones(len(task.paths))

    def waves() -> Iterator[tuple[Path, Wave]]:
        for i, path in enumerate(task.paths):
            wave = audio.load(path, task.channel)
            disturbed = disturbed_wave(task, i, wave)
            stretched[i] = len(disturbed) / len(wave)
            yield path, disturbed

    # One thread, as features are always computed: a sum depends on how many threads share it.
    with tempfile.TemporaryDirectory(dir=task.scratch) as folder, threadpool_limits(1):
        store = store_of_waves(Path(folder), waves(), recipe.features, recipe.window, recipe.hop)
        return {seed: predicted(task, fit, store, stretched, report) for seed, fit in task.fits.items()}


def disturbed_wave(task: StressTask, i: int, wave: Wave) -> Wave:
    """The waveform of utterance i of the task, disturbed; the same whatever else the task holds."""
    cell, speaker = task.cell, task.speakers[i]

    def speech(rng: np.random.Generator, count: int) -> list[Wave]:
        others = [s for s in task.voices if s != speaker]
        chosen = rng.choice(len(others), count, replace=len(others) < count)
        heard = [task.voices[others[int(k)]] for k in chosen]
        return [audio.load(paths[int(rng.integers(len(paths)))], task.channel) for paths in heard]

    def recording(rng: np.random.Generator) -> Wave:
        return audio.load(task.recordings[int(rng.integers(len(task.recordings)))], "mean")

    rng = generator(task.audio_sha256[i], cell.kind + cell.source, cell.draw)
    return disturb(cell.kind, cell.strength, wave, rng, speech, recording)


def predicted(task: StressTask, fit: FitTask, store: FeatureStore, stretched: np.ndarray, report: Report) -> np.ndarray:
    """Probabilities by one fit; `store` holds the test utterances alone, in the task's order."""
    cls, recipe, arguments = fit.resolve()
    everything = np.arange(len(task.paths))
    with blaming(fit.model):
        if issubclass(cls, Estimator):
            estimator = kept_estimator(fit, cls, arguments, report)
            test = replace(fit, store=store, utterances=task.utterances, seconds=task.seconds * stretched)
            found = np.asarray(estimator.predict_proba(examples(test, everything, 0, None)), dtype=np.float32)
            refuse_no_probabilities(fit.model, found, len(everything), fit.n_classes)
            return found
        network = saved_network(fit, store.input_shape)
        items, owner = store.items_of(everything)

        def predict_all(parts: int) -> np.ndarray:
            return predict(network, recipe, store, items, owner, len(everything), fit.compute, parts)

        found = with_less_memory(predict_all, PREDICT_BATCH[fit.compute.device])[0]
        refuse_no_probabilities(fit.model, found, len(everything), fit.n_classes)
        return found


def kept_estimator(fit: FitTask, cls: type[Estimator], arguments: dict[str, Any], report: Report) -> Estimator:
    """The estimator of a fit; a worker keeps the last few."""
    identity = fit.identity()
    if identity not in _fitted:
        _fitted[identity] = fitted_estimator(fit, cls, arguments, report)
        if len(_fitted) > KEPT:
            _fitted.popitem(last=False)
    return _fitted[identity]
