"""The common interface of every architecture, and Recipe: the training settings its paper used.

A neural plug-in subclasses `NeuralModel`; a non-neural one (SVM on functionals, majority class) subclasses `Estimator`.
Batching, windows to utterances, mixup, early stopping, seeding, device, mixed precision and checkpoints belong to the
harness: a plug-in is the network, its recipe and its search space.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from sertbench.corpus import Utterance
from sertbench.errors import PluginError
from sertbench.feature_spec import Features

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Choice = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How an architecture is trained: what its paper used, in the harness's words."""

    features: Features | None = None  #        None: the model asks for no audio features (see Estimator)
    window: float | None = None  #             seconds; None: whole utterances, zero-padded in a batch, with lengths
    hop: float | None = None  #                seconds between the starts of two windows
    normalise: Literal["none", "train"] = "train"  # per feature row, mean and variance of the training part only
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"  # sgd has Nesterov momentum where momentum > 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9  #                   for sgd
    schedule: Literal["constant", "exponential", "step", "cosine"] = "constant"  # stepped once per epoch
    gamma: float = 0.95  #                     factor of the exponential and step schedules
    step_size: int = 10  #                     epochs between two steps of the step schedule
    epochs: int = 50  #                        at most; the kept epoch is the best one on the validation part
    patience: int = 10  #                      epochs without a better validation UAR before stopping
    batch_size: int = 32
    mixup: float = 0.0  #                      alpha of Beta(alpha, alpha) (Zhang et al. 2018); 0: no mixup
    class_weights: bool = False  #             weigh the loss by inverse class frequency of the training part
    label_smoothing: float = 0.0
    clip_norm: float | None = None  #          largest gradient norm
    average: Literal["logits", "probabilities"] = "logits"  # what is averaged over an utterance's windows

    def with_choice(self, choice: Choice) -> tuple[Recipe, Choice]:
        """Split a choice of a search space: what the recipe knows changes the recipe, the rest is the constructor's."""
        known = {f.name for f in dataclasses.fields(self)}
        mine = {k: v for k, v in choice.items() if k in known}
        return dataclasses.replace(self, **mine), {k: v for k, v in choice.items() if k not in known}


class NeuralModel(nn.Module):
    """Base of every neural architecture.

    The constructor takes `input_shape` = (feature rows F, frames T), `n_classes`, and the architecture's own
    hyperparameters as keyword arguments with defaults. T is 0 where the recipe's `window` is None: utterances then come
    whole, and `forward` also gets the number of valid frames of each.

    `forward(x)` takes x of shape (B, F, T), float32, and gives logits of shape (B, n_classes), without a softmax.
    `forward(x, lengths)` (whole utterances) also takes lengths of shape (B,), int64; frames past an utterance's length
    are zeros and must not change its logits.
    """

    paper: ClassVar[str] = ""  #   "Authors, title, venue year"
    family: ClassVar[str] = ""  #  e.g. "CNN", "LSTM", "attention"
    year: ClassVar[int] = 0
    n_parameters: ClassVar[int] = 0  # for the recipe's input and 4 classes; stated for `list`, verified by `check`
    recipe: ClassVar[Recipe]
    feature_kinds: ClassVar[tuple[str, ...]] = ()  # what `--features` may name besides the recipe's own

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.n_classes = n_classes

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:  # noqa: ARG003 - the base offers nothing to tune
        """Name what Optuna may change: recipe fields and constructor arguments, by their names.

        Example: ``return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)}``.
        """
        return {}

    def _no_forward(self, *inputs: Tensor) -> Tensor:  # noqa: ARG002
        raise PluginError(f"{type(self).__name__} has no forward method: define `forward(self, x)`")

    # One row of logits per window or utterance: (B, n_classes). An attribute: plug-ins may name their arguments.
    forward: Callable[..., Tensor] = _no_forward


@dataclass(frozen=True)
class Examples:
    """What an Estimator sees of one part of a fold: utterances in manifest order and, if asked for, their functionals.

    `functionals` is float32: (n, D), the D values of features that are one item per utterance (see UtteranceSpec, and
    SslSpec of kind "ssl"); (n, 2 * F), mean and standard deviation over time of each row of other features; (n, 0) if
    the recipe names none. `targets` (n,) are class indices; they are None for the part to be predicted, whose
    utterances also come without their labels, and blank if the recipe names features: what a model of audio predicts it
    hears.
    """

    utterances: tuple[Utterance, ...]
    seconds: np.ndarray  # (n,)
    functionals: np.ndarray
    targets: np.ndarray | None


class Estimator(ABC):
    """Base of every non-neural model: fit on train, select on validation, give class probabilities per utterance."""

    paper: ClassVar[str] = ""
    family: ClassVar[str] = ""
    year: ClassVar[int] = 0
    recipe: ClassVar[Recipe]
    diagnostic: ClassVar[bool] = False  # True: shows what a corpus gives away; its rows are always shown, never ranked
    feature_kinds: ClassVar[tuple[str, ...]] = ()  # what `--features` may name besides the recipe's own

    # Of a model's own candidates in their order (a grid of C, rounds of boosting, epochs) the one that `fit` kept, from
    # 1: an estimator's epoch. If it is given before `fit`, that one is taken: `val` is then part of `train` and cannot
    # choose.
    step: int | None = None

    def __init__(self, n_classes: int, seed: int) -> None:
        self.n_classes = n_classes
        self.seed = seed

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:  # noqa: ARG003 - the base offers nothing to tune
        """Name what Optuna may change, as for NeuralModel."""
        return {}

    @abstractmethod
    def fit(self, train: Examples, val: Examples) -> None:
        """Fit on `train`; `val` may be used to choose, never to fit."""

    @abstractmethod
    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Class probabilities, (n, n_classes), rows summing to 1."""


Model = type[NeuralModel] | type[Estimator]


def hyperparameters(cls: Model) -> dict[str, Any]:
    """The constructor's own arguments with their defaults (`inspect.Parameter.empty`: none): not the harness's."""
    given = {"self", "input_shape", "n_classes", "seed"}
    found = inspect.signature(cls.__init__).parameters
    various = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p.default for name, p in found.items() if name not in given and p.kind not in various}


def departures(cls: Model, arguments: Choice) -> Choice:
    """The arguments that are not the constructor's defaults: said or left out, a default is the same network."""
    defaults = hyperparameters(cls)

    def is_default(name: str, value: object) -> bool:
        return name in defaults and type(value) is type(defaults[name]) and value == defaults[name]

    return {name: value for name, value in arguments.items() if not is_default(name, value)}
