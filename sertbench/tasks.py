"""What is sent to wherever fits run: a fit's task with its identity, and a prediction's. Both can be pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sertbench import plugins, utterance_features
from sertbench.compute import Compute
from sertbench.corpus import Utterance
from sertbench.feature_store import FEATURES_VERSION, FeatureStore
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator, Model, NeuralModel, Recipe, departures


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
    # False: a trial, or a fit that only finds the epochs of its refit. Such a fit stores no estimator: a support vector
    # machine holds its training part, and there are many more of them than of final fits.
    predicts: bool = True

    def resolve(self) -> tuple[type[NeuralModel] | type[Estimator], Recipe, dict[str, Any]]:
        """The model class, the recipe with the choice applied, and what departs from the constructor's defaults."""
        loaded = plugins.load_model(self.model)
        recipe, arguments = loaded.cls.recipe.with_choice(dict(self.choice))
        return loaded.cls, recipe, departures(loaded.cls, arguments)

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
            "libraries": metadata.version("scikit-learn") if issubclass(cls, Estimator) else "",
        }
        if extractor := utterance_features.versions(recipe.features):
            parts["extractor"] = extractor
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PredictionTask:
    """One prediction of a fold's test part by a finished fit. It carries no labels of the test part."""

    fit: FitTask
    test: np.ndarray  #                 positions in the manifest, given by SealedTest.open
    utterances: tuple[Utterance, ...]  # for estimators, without their labels
    seconds: np.ndarray


def blinded(utterance: Utterance, cls: Model) -> Utterance:
    """What an estimator may know of an utterance that it predicts.

    One with features hears it, and knows nothing else: with the transcript it would read, with the speaker normalise by
    the test part, in a row that says neither. One without features may know all but the label and what spells it: names
    of files, ratings, intensity.
    """
    if cls.recipe.features is not None:
        return Utterance("", Path(), "", "")
    nothing: dict[str, Any] = dict.fromkeys(("valence", "arousal", "dominance", "intensity"))
    return replace(utterance, id="", path=Path(), label="", **nothing)
