"""Support vector machine on functionals: the field's hand-crafted baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sertbench.estimator_layers import C_GRID, all_classes, best_step
from sertbench.feature_spec import FUNCTIONALS, UtteranceSpec
from sertbench.model import Choice, Estimator, Examples, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

MOST_KERNEL = (
    20_000  # training utterances whose kernel is computed once for all C (3.2 GB); more: by libsvm, row by row
)
SHARPNESS = np.logspace(-1.5, 1.5, 31)


class Svm(Estimator):
    """Support vector machine, linear or RBF, on one row of functionals per utterance (try --features egemaps).

    Columns are standardised with the training part's mean and deviation, classes are weighted evenly, and C is the one
    of 1e-5 to 10 with the best UAR on the validation part (the smallest of equals), as the Interspeech challenges tune
    theirs: it is to an SVM what the kept epoch is to a network, and the bundle's epoch is its place in that grid.
    Optuna chooses the kernel and the width of the RBF.

    One-against-one machines vote, and near votes are decided by their margins. The probabilities are a softmax of these
    decision values, so the likeliest class is the machine's own decision. The softmax's sharpness is the one of 31 with
    the lowest cross-entropy on the validation part; it changes no decision. Nothing is random: all seeds agree.
    """

    paper = (
        "Eyben et al., The Geneva minimalistic acoustic parameter set (GeMAPS), IEEE Trans. Affective Computing 2016"
    )
    family = "SVM"
    year = 2016
    recipe = Recipe(features=UtteranceSpec("functionals"))
    feature_kinds = (*FUNCTIONALS, "ssl")

    def __init__(self, n_classes: int, seed: int, kernel: str = "linear", width: float = 1.0) -> None:
        super().__init__(n_classes, seed)
        self.kernel = kernel
        self.width = width  # gamma of the RBF in units of 1 / columns

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Choose the kernel, and the width of the RBF."""
        return {
            "kernel": trial.suggest_categorical("kernel", ["linear", "rbf"]),
            "width": trial.suggest_float("width", 0.05, 20.0, log=True),
        }

    def fit(self, train: Examples, val: Examples) -> None:
        """Fit one machine per C and keep the best on the validation part."""
        self.scaler = StandardScaler().fit(train.functionals.astype(np.float64))
        self.support = self.scaler.transform(train.functionals)
        own = self.seen(self.support)
        if self.step is None:
            x = self.inputs(val)
            machines = (self.machine(C).fit(own, train.targets) for C in C_GRID)
            self.step = best_step((m.predict(x) for m in machines), val, self.n_classes)
            self.svc = self.machine(C_GRID[self.step - 1]).fit(own, train.targets)
            self.sharpness = self.calibrated(val)
        else:
            self.svc = self.machine(C_GRID[self.step - 1]).fit(own, train.targets)
            self.sharpness = 1.0

    def machine(self, C: float) -> SVC:
        """An unfitted machine on what `seen` gives."""
        kernel = "precomputed" if len(self.support) <= MOST_KERNEL else self.kernel
        return SVC(C=C, kernel=kernel, gamma=self.gamma, class_weight="balanced", break_ties=True)

    @property
    def gamma(self) -> float:
        """The RBF's gamma: 1 / columns is the mean squared distance of standardised rows, up to a factor of 2."""
        return self.width / float(self.support.shape[1])

    def seen(self, x: np.ndarray) -> np.ndarray:
        """Standardised rows as the machine takes them: their kernel with the training rows, (n, n_train), or (n, D)."""
        if len(self.support) > MOST_KERNEL:
            return x
        extra = {"gamma": self.gamma} if self.kernel == "rbf" else {}
        kernel: np.ndarray = pairwise_kernels(x, self.support, metric=self.kernel, **extra)
        return kernel

    def inputs(self, examples: Examples) -> np.ndarray:
        """Examples as the machine takes them."""
        return self.seen(self.scaler.transform(examples.functionals))

    def decisions(self, examples: Examples) -> np.ndarray:
        """Decision values, (n, n_classes); minus infinity for a class that the training part lacks."""
        values = self.svc.decision_function(self.inputs(examples))
        values = np.stack([-values, values], axis=1) if values.ndim == 1 else values
        return all_classes(values, self.svc.classes_, self.n_classes, -np.inf)

    def calibrated(self, val: Examples) -> float:
        """The sharpness with the lowest cross-entropy over the validation utterances of classes that training had."""
        assert val.targets is not None, "the validation part has its targets"
        known = np.isin(val.targets, self.svc.classes_)
        values, rows = self.decisions(val)[known], np.arange(known.sum())
        losses = [-log_softmax(s * values, axis=1)[rows, val.targets[known]].sum() for s in SHARPNESS]
        return float(SHARPNESS[int(np.argmin(losses))])

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        probabilities: np.ndarray = softmax(self.sharpness * self.decisions(examples), axis=1)
        return probabilities
