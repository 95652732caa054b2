"""Figures from predictions, worked out another way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sertbench.results import Predictions, figures, members
from sertbench.scores import score


def test_members_are_the_positions_of_each_value():
    column = np.array(["b", "a", "b", "c", "a"], dtype=object)

    found = members(column)

    assert list(found) == ["a", "b", "c"]
    assert {name: where.tolist() for name, where in found.items()} == {"a": [1, 4], "b": [0, 2], "c": [3]}


def test_folds_and_the_worst_speaker_are_scored_on_their_own_utterances():
    rng = np.random.default_rng(0)
    n, classes, seeds = 300, ("angry", "calm", "sad"), 2
    frames = []
    utterance = [f"u{k:03d}" for k in range(n)]
    speaker, target = np.array([f"s{k % 7}" for k in range(n)]), rng.integers(0, 3, n)
    for seed in range(seeds):
        p = rng.dirichlet(np.ones(3), n)
        columns = {f"p_{c}": p[:, k] for k, c in enumerate(classes)}
        facts = {"utterance": utterance, "fold": [f"{9 - k % 3}" for k in range(n)], "seed": seed, "speaker": speaker}
        frames.append(pd.DataFrame({**facts, "style": "", "target": target, "epoch": 1, **columns}))
    predictions = Predictions(pd.concat(frames).sample(frac=1, random_state=0), classes)

    row = figures(predictions)

    labels = predictions.labels

    def uar(where: np.ndarray) -> float:
        return round(100 * float(np.mean([score(target[where], one[where], 3).uar for one in labels])), 2)

    per_speaker = {name: uar(speaker == name) for name in np.unique(speaker)}
    assert row["worst_speaker_uar"] == min(per_speaker.values())
    assert per_speaker[row["worst_speaker"]] == row["worst_speaker_uar"]
    assert [row[f"uar_fold_{name}"] for name in "987"] == [uar(np.arange(n) % 3 == k) for k in range(3)]
    assert [key for key in row if key.startswith("uar_fold_")][1:] == ["uar_fold_9", "uar_fold_8", "uar_fold_7"]
