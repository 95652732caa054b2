"""Estimators in whole runs: each final fit is fitted once, and stored or not, its predictions are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import estimator_state, estimators
from sertbench.cli import main
from sertbench.model import Estimator, Examples

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds

GROUPS = {s: (s,) for s in "abc"}


class Tones(Corpus):
    """Two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}, counts={"high": 9, "low": 9}),)
    protocols = (GroupFolds("plain", 1, "speaker", GROUPS), GroupFolds("refit", 1, "speaker", GROUPS, refit=True))

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker)
'''
MODEL = '''
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, Recipe


class Logistic(Estimator):
    """Logistic regression on the statistics of the log-mel bands."""

    paper = "none"
    recipe = Recipe(features=log_mel(8))

    def __init__(self, n_classes, seed, C=1.0):
        super().__init__(n_classes, seed)
        self.C = C

    @classmethod
    def search_space(cls, trial):
        return {"C": trial.suggest_float("C", 0.1, 10.0, log=True)}

    def fit(self, train, val):
        with (Path(__file__).parent / "fitted").open("a") as fitted:
            fitted.write("x")
        rows = np.random.default_rng(self.seed).permutation(len(train.targets))[3:]
        self.machine = LogisticRegression(C=self.C).fit(train.functionals[rows], train.targets[rows])

    def predict_proba(self, examples):
        assert not any(u.id or u.speaker or u.label for u in examples.utterances), "what is predicted is heard alone"
        return self.machine.predict_proba(examples.functionals)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of 18 tones, its adapter and a model."""
    root = tmp_path_factory.mktemp("home")
    (root / "tones.py").write_text(ADAPTER)
    (root / "logistic.py").write_text(MODEL)
    (root / "data").mkdir()
    rng = np.random.default_rng(0)
    for speaker in "abc":
        for code, hertz in (("high", 900), ("low", 500)):
            for i in range(3):
                t = np.arange(int(16_000 * rng.uniform(0.3, 0.6))) / 16_000
                wave = 0.1 * np.sin(2 * np.pi * hertz * rng.uniform(0.7, 1.4) * t) + 0.05 * rng.standard_normal(len(t))
                soundfile.write(root / "data" / f"{speaker}_{code}_{i}.wav", wave, 16_000)
    return root


def run(home: Path, place: Path, trials: int, protocol: str = "plain") -> tuple[pd.DataFrame, int, int]:
    """Two seeds in `place`: the predictions, how often `fit` was called, and how many fits have a stored estimator."""
    (home / "fitted").unlink(missing_ok=True)
    arguments = ["run", "--model", str(home / "logistic.py"), "--dataset", str(home / "tones.py"), "--quiet"]
    arguments += ["--data", str(home / "data"), "--protocol", protocol, "--trials", str(trials), "--seeds", "2"]
    arguments += ["--runs", str(place / "runs"), "--leaderboards", str(place / "boards"), "--workers", "1"]
    assert main(arguments) == 0
    (table,) = (place / "runs").glob("*/predictions.parquet")
    stored = list((place / "runs" / "fits").glob("*/estimator.npz"))
    return pd.read_parquet(table), len((home / "fitted").read_text()), len(stored)


def unstorable(estimator: Estimator) -> None:
    raise estimator_state.NotStorableError(f"{type(estimator).__name__} is not storable")


@pytest.mark.parametrize(
    ("trials", "protocol", "calls", "without"),
    [
        (0, "plain", 3 * 2, 3 * 2 * 2),  # three folds, two seeds: each final fit once; without a state, once more
        (0, "refit", 3 * 2 * 2, 3 * 2 * 3),  # each final fit, and the one that found its epochs
        # Two trials of which one is the final fit of the first seed, but was not stored; and the second seed's.
        (2, "plain", 3 * (2 + 1 + 1), 3 * (2 + 1 + 2)),
    ],
)
def test_what_is_stored_predicts_what_the_fit_itself_would(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int, protocol: str, calls: int, without: int
) -> None:
    stored = run(home, tmp_path / "stored", trials, protocol)
    monkeypatch.setattr(estimator_state, "state_of", unstorable)
    fresh = run(home, tmp_path / "fresh", trials, protocol)

    assert stored[1:] == (calls, 3 * 2)
    assert fresh[1:] == (without, 0)
    pd.testing.assert_frame_equal(stored[0], fresh[0], check_exact=True)


def test_a_copy_that_predicts_otherwise_is_not_stored() -> None:
    class Counts(Estimator):
        asked = 0

        def fit(self, train: Examples, val: Examples) -> None:
            pass

        def predict_proba(self, examples: Examples) -> np.ndarray:
            Counts.asked += 1
            return np.full((2, 2), 1 / Counts.asked)

    val = Examples((), np.ones(2), np.zeros((2, 1)), None)
    one = Counts(2, 0)
    assert estimators.proven_state(one, Counts(2, 0), val, one.predict_proba(val)) is None
    assert estimators.proven_state(one, Counts(2, 0), val, np.full((2, 2), 1 / 3)) is not None
