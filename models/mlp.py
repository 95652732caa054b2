"""Multi-layer perceptron on functionals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sertbench.estimator_layers import all_classes, best_step, even_weights
from sertbench.feature_spec import FUNCTIONALS, UtteranceSpec
from sertbench.model import Choice, Estimator, Examples, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

EPOCHS = 60


class Mlp(Estimator):
    """Perceptron with one hidden layer, on one row of functionals per utterance.

    Columns are standardised with the training part's mean and deviation. ReLU, Adam, batches of 32; an epoch draws as
    many utterances as there are, with replacement, all classes equally likely. Of 60 epochs the one with the best UAR
    on the validation part is kept.
    """

    paper = "Rumelhart, Hinton, Williams, Learning representations by back-propagating errors, Nature 1986"
    family = "MLP"
    year = 1986
    recipe = Recipe(features=UtteranceSpec("functionals"))
    feature_kinds = (*FUNCTIONALS, "ssl")

    def __init__(self, n_classes: int, seed: int, hidden: int = 128, penalty: float = 1e-3, rate: float = 1e-3) -> None:
        super().__init__(n_classes, seed)
        self.hidden = hidden
        self.penalty = penalty  # L2
        self.rate = rate  #       Adam's learning rate

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Choose width, penalty and learning rate."""
        return {
            "hidden": trial.suggest_int("hidden", 16, 512, log=True),
            "penalty": trial.suggest_float("penalty", 1e-5, 1.0, log=True),
            "rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True),
        }

    def fit(self, train: Examples, val: Examples) -> None:
        """Train, and keep the best epoch on the validation part."""
        self.scaler = StandardScaler().fit(train.functionals.astype(np.float64))
        if self.step is None:
            x = self.scaler.transform(val.functionals)
            self.step = best_step((net.predict(x) for net in self.epochs(train, EPOCHS)), val, self.n_classes)
        *_, self.net = self.epochs(train, self.step)

    def epochs(self, train: Examples, count: int) -> Iterator[MLPClassifier]:
        """The same network after each of `count` epochs; the same ones each time."""
        assert train.targets is not None, "the training part has its targets"
        x, rng = self.scaler.transform(train.functionals), np.random.default_rng(self.seed)
        net = MLPClassifier(
            (self.hidden,),
            alpha=self.penalty,
            learning_rate_init=self.rate,
            batch_size=min(32, len(x)),
            random_state=self.seed,
        )
        for _ in range(count):
            drawn = rng.choice(len(x), len(x), p=even_weights(train.targets))
            yield net.partial_fit(x[drawn], train.targets[drawn], classes=np.unique(train.targets))

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        probabilities = self.net.predict_proba(self.scaler.transform(examples.functionals))
        if len(self.net.classes_) == 2 and probabilities.shape[1] == 1:
            probabilities = np.hstack([1 - probabilities, probabilities])
        return all_classes(probabilities, self.net.classes_, self.n_classes)
