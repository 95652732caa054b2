from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

from sertbench.scores import adaptive_calibration, brier, calibration, confusion, recalls, score, uar

C = 5


@st.composite
def predictions(draw):
    n = draw(st.integers(1, 40))
    indices = npst.arrays(np.int64, n, elements=st.integers(0, C - 1))
    return draw(indices), draw(indices)


@settings(deadline=None)
@given(predictions())
def test_equals_scikit_learn_whatever_classes_are_absent(case):
    y_true, y_pred = case
    labels, present = range(C), np.unique(y_true)

    got = score(y_true, y_pred, C)

    per_class = recall_score(y_true, y_pred, labels=labels, average=None, zero_division=np.nan)
    f1 = f1_score(y_true, y_pred, labels=labels, average=None, zero_division=0)
    assert got.wa == pytest.approx(accuracy_score(y_true, y_pred))
    assert got.uar == pytest.approx(recall_score(y_true, y_pred, labels=labels, average="macro", zero_division=np.nan))
    assert got.macro_f1 == pytest.approx(f1[present].mean())
    assert got.weighted_f1 == pytest.approx(
        f1_score(y_true, y_pred, labels=labels, average="weighted", zero_division=0)
    )
    assert got.recalls == pytest.approx(tuple(per_class), nan_ok=True)
    assert np.array_equal(got.confusion, confusion_matrix(y_true, y_pred, labels=labels))


def test_with_all_classes_present_macro_scores_are_scikit_learns():
    y_true, y_pred = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 1, 1, 0, 2, 2])

    got = score(y_true, y_pred, 3)

    assert got.uar == pytest.approx(recall_score(y_true, y_pred, average="macro"))
    assert got.macro_f1 == pytest.approx(f1_score(y_true, y_pred, average="macro"))


def test_predicting_an_absent_class_leaves_the_denominator_alone():
    got = score(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), 3)

    assert got.uar == pytest.approx((0.5 + 1) / 2)
    assert got.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert math.isnan(got.recalls[2])


@settings(deadline=None)
@given(npst.arrays(np.int64, (2, 3, 7), elements=st.integers(0, C - 1)))
def test_stacks_are_scored_like_their_members(y_pred):
    y_true = np.array([0, 0, 1, 2, 3, 3, 3])

    counts = confusion(y_true, y_pred, C)

    assert counts.shape == (2, 3, C, C)
    for index in np.ndindex(2, 3):
        one = score(y_true, y_pred[index], C)
        assert np.array_equal(counts[index], one.confusion)
        assert uar(counts)[index] == pytest.approx(one.uar)


def test_uar_takes_weights_and_is_nan_where_nothing_occurs():
    counts = np.array([[[1.5, 0.5], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])

    assert uar(counts) == pytest.approx([0.875, math.nan], nan_ok=True)
    assert recalls(counts)[0] == pytest.approx([0.75, 1.0])


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        (np.array([0, 5]), np.array([0, 1])),
        (np.array([0, 1]), np.array([0, -1])),
        (np.array([0.0, 1.0]), np.array([0, 1])),
        (np.array([0, 1, 2]), np.array([0, 1])),
        (np.array([0, 1]), np.array([[0, 1]])),
        (np.array([], dtype=int), np.array([], dtype=int)),
    ],
)
def test_refuses_what_is_not_class_indices(y_true, y_pred):
    with pytest.raises(ValueError, match="must"):
        score(y_true, y_pred, C)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_nll_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    probabilities, y_true = rng.dirichlet(np.ones(C), 20), rng.integers(0, C, 20)

    _, nll = calibration(probabilities, y_true)

    assert nll == pytest.approx(log_loss(y_true, probabilities, labels=range(C)))


def test_ece_is_the_gap_between_confidence_and_accuracy_in_each_bin():
    # Two bins: confidence 0.9 with accuracy 1/2, confidence 0.6 with accuracy 1.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])

    ece, _ = calibration(probabilities, np.array([0, 1, 0, 0]))

    assert ece == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_a_calibrated_model_has_no_calibration_error_and_a_certain_mistake_is_finite():
    ece, nll = calibration(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    worst_ece, worst_nll = calibration(np.array([[1.0, 0.0]]), np.array([1]))

    assert ece == pytest.approx(0, abs=1e-12)
    assert nll == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)
    assert worst_ece == 1
    assert worst_nll == pytest.approx(87.3, abs=0.1)


def test_calibration_refuses_other_shapes():
    with pytest.raises(ValueError, match="expected"):
        calibration(np.ones((2, 2)) / 2, np.array([0, 1, 0]))


def test_brier_is_the_squared_distance_from_the_truth():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])

    assert brier(probabilities, np.array([0, 0])) == pytest.approx(((0.3**2 + 0.2**2 + 0.1**2) + 2) / 2)
    assert brier(np.eye(3), np.arange(3)) == 0


def test_adaptive_ece_has_bins_of_equally_many_utterances():
    # 30 utterances in 15 bins of two: pairs of equal confidence, one of the two right.
    confidence = np.repeat(np.linspace(0.6, 0.9, 15), 2)
    y_true = np.tile([0, 1], 15)

    found = adaptive_calibration(np.stack([confidence, 1 - confidence], 1), y_true)

    assert found == pytest.approx(np.mean(np.linspace(0.6, 0.9, 15) - 0.5))
    assert adaptive_calibration(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1])) > 0
    with pytest.raises(ValueError, match="expected"):
        adaptive_calibration(np.ones((2, 2)) / 2, np.array([0, 1, 0]))
