"""Scores of predictions, under the field's names: pure functions, equal to scikit-learn's.

WA (weighted accuracy) is plain accuracy. UAR (unweighted average recall; also UA, balanced accuracy) is macro recall.
There is no "micro F1": with one label per utterance it equals WA, and under that name papers have printed weighted F1.

Every mean over classes runs over the classes that occur in `y_true`, so its denominator is fixed by the truth and never
by what a model happens to predict. On pooled test folds these are all classes. In scikit-learn's words:
``labels=range(n_classes)``, ``average=None``, then the mean over the labels that occur in `y_true`.

All scores are fractions in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]

CALIBRATION_BINS = 15  # equally wide bins of confidence, as in Guo et al. 2017


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions."""

    wa: float  #             accuracy
    uar: float  #            mean recall over the classes that occur in y_true
    macro_f1: float  #       mean F1 over the classes that occur in y_true
    weighted_f1: float  #    F1 weighted by the class counts of y_true
    recalls: tuple[float, ...]  #               per class; nan for a class that does not occur in y_true
    confusion: tuple[tuple[int, ...], ...]  #   counts; row: true class, column: predicted class


def score(y_true: IntArray, y_pred: IntArray, n_classes: int) -> Scores:
    """Score predicted class indices, both (n,), in 0..n_classes - 1.

    Raises ValueError for other shapes, for indices out of range and for n = 0.
    """
    if np.ndim(y_pred) != 1:
        raise ValueError(f"y_pred must be (n,), got the shape {np.shape(y_pred)}")
    counts = confusion(y_true, y_pred, n_classes)
    hits = np.diagonal(counts).astype(float)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    present = true > 0
    f1 = 2 * hits[present] / (true + predicted)[present]
    return Scores(
        wa=float(hits.sum() / true.sum()),
        uar=float(uar(counts)),
        macro_f1=float(f1.mean()),
        weighted_f1=float(f1 @ true[present] / true.sum()),
        recalls=tuple(recalls(counts).tolist()),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def confusion(y_true: IntArray, y_pred: IntArray, n_classes: int) -> npt.NDArray[np.int64]:
    """Confusion counts (..., C, C) of y_true (n,) and a stack of predictions y_pred (..., n).

    Rows are true classes, columns predicted ones. Raises ValueError as `score` does.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1 or y_true.size == 0 or y_pred.shape[-1:] != y_true.shape:
        raise ValueError(f"y_true must be (n,) with n > 0 and y_pred (..., n); got {y_true.shape} and {y_pred.shape}")
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= n_classes:
            raise ValueError(f"{name} must hold class indices 0..{n_classes - 1}, got {y.dtype} {y.min()}..{y.max()}")
    stack = y_pred.reshape(-1, y_true.size)
    cells = n_classes * n_classes
    flat = (np.arange(len(stack))[:, None] * n_classes + y_true) * n_classes + stack
    counts = np.bincount(flat.ravel(), minlength=len(stack) * cells)
    return counts.reshape(*y_pred.shape[:-1], n_classes, n_classes)


def recalls(confusion: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Recall per class (..., C) of (weighted) confusion counts (..., C, C); nan where a class does not occur."""
    true = confusion.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    out = np.full(true.shape, np.nan)
    np.divide(hits, true, out=out, where=true > 0)
    return out


def uar(confusion: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """UAR (...,) of (weighted) confusion counts (..., C, C); nan where no class occurs."""
    present = confusion.sum(axis=-1) > 0
    total = np.where(present, recalls(confusion), 0.0).sum(axis=-1)
    n_present = present.sum(axis=-1)
    out = np.full(np.shape(total), np.nan)
    np.divide(total, n_present, out=out, where=n_present > 0)
    return out


def calibration(probabilities: FloatArray, y_true: IntArray) -> tuple[float, float]:
    """Expected calibration error and negative log-likelihood of class probabilities (n, C) and true classes (n,).

    ECE: mean over utterances of |accuracy - confidence| of their bin, 15 equally wide bins of the largest probability
    (Guo et al., On calibration of modern neural networks, ICML 2017, equation 3). NLL: nats per utterance, with
    probabilities clipped at the smallest normal float32, so that a certain mistake costs 87 nats and not infinity.

    Raises ValueError for other shapes or n = 0.
    """
    probabilities, y_true = _checked(probabilities, y_true)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == y_true
    # Bins are open to the left: ((b - 1) / B, b / B].
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    of_truth = probabilities[np.arange(y_true.size), y_true].clip(np.finfo(np.float32).tiny, None)
    return float(np.abs(gaps).sum() / y_true.size), float(-np.log(of_truth).mean())


def adaptive_calibration(probabilities: FloatArray, y_true: IntArray) -> float:
    """Expected calibration error in bins of equally many utterances instead of equal width (adaptive ECE).

    15 bins, or one per utterance where there are fewer (Nguyen & O'Connor, Posterior calibration and exploratory
    analysis for natural language processing models, EMNLP 2015). Arguments and errors as of `calibration`.
    """
    probabilities, y_true = _checked(probabilities, y_true)
    confidence = probabilities.max(axis=1)
    gaps = (probabilities.argmax(axis=1) == y_true) - confidence
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(gaps[order], min(CALIBRATION_BINS, y_true.size))
    return float(sum(abs(part.sum()) for part in bins) / y_true.size)


def brier(probabilities: FloatArray, y_true: IntArray) -> float:
    """Brier score: mean squared distance of the probabilities from the truth, summed over the classes; 0 to 2.

    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 1950. Arguments and
    errors as of `calibration`.
    """
    probabilities, y_true = _checked(probabilities, y_true)
    truth = np.eye(probabilities.shape[1])[y_true]
    return float(np.square(probabilities - truth).sum(axis=1).mean())


def _checked(probabilities: FloatArray, y_true: IntArray) -> tuple[npt.NDArray[np.float64], IntArray]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(y_true)
    if p.ndim != 2 or y.shape != p.shape[:1] or y.size == 0:
        raise ValueError(f"expected (n, C) and (n,) with n > 0, got {p.shape} and {y.shape}")
    return p, y
