"""What a run will take: a training step is timed once a day."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from sertbench import cost, plan_text, utterance_features
from sertbench.compute import Compute
from sertbench.feature_spec import UtteranceSpec, log_mel
from sertbench.model import NeuralModel, Recipe

CALLS = []


class Net(NeuralModel):
    """Mean-pooled."""

    recipe = Recipe(features=log_mel(4), window=0.2, hop=0.2, batch_size=3)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.layer = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        CALLS.append(len(x))
        return self.layer(x.mean(2))


@pytest.mark.parametrize(("seconds", "said"), [(3.0, "seconds"), (600.0, "minutes"), (9000.0, "hours")])
def test_the_time_of_an_estimator_is_told_by_its_magnitude_and_what_is_computed_first(
    seconds, said, tmp_path, monkeypatch
):
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path))
    spec, price = UtteranceSpec("functionals"), cost.Cost(4, 2, 0, seconds)
    plan = SimpleNamespace(
        recipe=Recipe(features=spec), manifest=SimpleNamespace(audio_sha256=("aa", "bb"), seconds=(1.0, 2.0))
    )

    assert plan_text.magnitude(plan, price).startswith(f"usually {said}; functionals of 2 files are computed first (")
    for sha256 in plan.manifest.audio_sha256:
        path = utterance_features.kept_in(spec, tmp_path) / f"{sha256}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        utterance_features.keep(path, np.zeros(spec.rows, np.float32))
    assert plan_text.magnitude(plan, price).startswith(f"usually {said} (")
    bare = SimpleNamespace(recipe=Recipe(), manifest=plan.manifest)
    assert plan_text.magnitude(bare, price).startswith(f"usually {said} (")


def test_many_hours_of_speech_to_compute_count(tmp_path, monkeypatch):
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path))
    manifest = SimpleNamespace(audio_sha256=("aa", "bb"), seconds=(1e7, 1e7))
    plan = SimpleNamespace(recipe=Recipe(features=UtteranceSpec("functionals")), manifest=manifest)

    assert plan_text.magnitude(plan, cost.Cost(4, 2, 0, 1.0)).startswith("usually hours; functionals of 2 files")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path))
    CALLS.clear()
    return SimpleNamespace(
        recipe=Net.recipe,
        base_choice={},
        model=SimpleNamespace(name="net", spec="net"),
        manifest=SimpleNamespace(classes=("a", "b"), seconds=(1.0, 2.0)),
        compute=Compute("cpu", "fp32"),
    )


def test_a_step_is_timed_once_and_then_remembered(plan, tmp_path):
    n_parameters, train_rate, predict_rate = first = cost.measure(Net, plan)

    assert n_parameters == 10
    assert min(train_rate, predict_rate) > 0
    assert CALLS == [2, 2, 2, 3, 3]  # its shape; a small step and prediction to warm up; a batch of the recipe's
    CALLS.clear()
    assert cost.measure(Net, plan) == first
    assert CALLS == []


def test_it_is_timed_again_after_a_day_or_where_the_file_is_damaged_or_the_batch_is_another(plan, tmp_path):
    cost.measure(Net, plan)
    (path,) = tmp_path.glob("step-times/*.json")
    for harm in (
        lambda: os.utime(path, (time.time() - cost.FRESH - 1,) * 2),
        lambda: path.write_text("[1, 2]"),
        lambda: path.write_text("7"),
        lambda: path.write_text("{"),
    ):
        harm()
        CALLS.clear()
        cost.measure(Net, plan)
        assert CALLS

    CALLS.clear()
    plan.recipe = Recipe(features=log_mel(4), window=0.2, hop=0.2, batch_size=5)
    cost.measure(Net, plan)
    assert CALLS[-1] == 5
