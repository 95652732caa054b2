"""Fits: what their identity depends on, that none is run twice, and that nothing half-written is left."""

from __future__ import annotations

import os
import resource
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sertbench import fits, plugins
from sertbench.compute import Compute
from sertbench.corpus import Utterance
from sertbench.errors import SealError, StorageError, TrainingError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.feature_store import FeatureStore
from sertbench.fits import FitRecord, load_record, prune_in_hindsight, publish, run_fit, run_prediction
from sertbench.tasks import FitTask, PredictionTask
from sertbench.torch_settings import restore_defaults
from sertbench.training import EpochEnd

NET = '''
"""A network that notes each time that it is made, and knows its validation scores beforehand."""

from pathlib import Path

import torch
from torch import nn

from sertbench.model import NeuralModel, Recipe


class Net(NeuralModel):
    """Linear on the mean."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=5, patience=5, batch_size=4, learning_rate=0.1)

    def __init__(self, input_shape, n_classes, dropout=0.3):
        super().__init__(input_shape, n_classes)
        with Path(__file__).with_suffix(".made").open("a") as made:
            made.write("x")
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(input_shape[0], n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))
'''

# Scores as foreseen: after epoch e, what is louder than level e is class 1. On the validation part (two soft utterances
# at -38 dB, two loud ones at -8.76 and -8.94 dB) its UAR is 0.5, 0.75, 0.75, 1, 0.5.
SCRIPTED = '''
import torch
from torch import nn

from sertbench.model import NeuralModel, Recipe


class Scripted(NeuralModel):
    """Louder than a level or not."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=5, patience=5, normalise="none")

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.weight = nn.Parameter(torch.zeros(n_classes))
        self.epoch = 0

    def train(self, mode=True):
        self.epoch += mode
        return super().train(mode)

    def forward(self, x):
        above = x.mean((1, 2)) - (0.0, 0.0, -8.85, -8.85, -20.0, -100.0)[self.epoch]
        return torch.stack([-above, above], 1) + 0 * self.weight
'''

HOSTILE = '''
import sys

import numpy as np
from torch import nn

from sertbench.model import NeuralModel, Recipe


class Hostile(NeuralModel):
    """Takes the source out of the training loop's frame and asks it for the test part."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=2)

    def __init__(self, input_shape, n_classes, item=0):
        super().__init__(input_shape, n_classes)
        self.layer = nn.Linear(input_shape[0], n_classes)
        self.item = item

    def forward(self, x):
        frame = sys._getframe()
        while frame and "source" not in frame.f_locals:
            frame = frame.f_back
        frame.f_locals["source"].batch(np.array([self.item]))
        return self.layer(x.mean(2))
'''

CENTROIDS = '''
import numpy as np

from sertbench.model import Estimator, Recipe


class Centroids(Estimator):
    """Nearest mean of the functionals."""

    recipe = Recipe()

    def __init__(self, n_classes, seed, scale=1.0):
        super().__init__(n_classes, seed)
        self.scale = scale

    def fit(self, train, val):
        assert all(u.label for u in train.utterances + val.utterances)
        assert len(train.targets) == len(train.seconds) == len(train.utterances)
        self.means = np.stack([train.functionals[train.targets == c].mean(0) for c in range(self.n_classes)])

    def predict_proba(self, examples):
        assert examples.targets is None
        assert not any(u.label or u.id or u.valence or u.path.name for u in examples.utterances)
        distance = ((examples.functionals[:, None] - self.means) ** 2).mean(2) * self.scale
        shares = np.exp(-(distance - distance.min(1, keepdims=True)))
        return shares / shares.sum(1, keepdims=True)
'''

COUNTED = """
    def fit(self, train, val):
        from pathlib import Path

        with Path(__file__).with_suffix(".made").open("a") as made:
            made.write("x")
"""

TRAIN, VAL, TEST = np.arange(6), np.arange(6, 10), np.arange(10, 13)


@pytest.fixture(autouse=True)
def threads_as_before():
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FeatureStore:
    """13 utterances of one to six windows; those with odd numbers are louder, which is their class."""
    place = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    paths = [place / f"{i}.wav" for i in range(13)]
    for i, path in enumerate(paths):
        soundfile.write(path, (0.01 + 0.3 * (i % 2)) * rng.standard_normal(2000 + 800 * i), 16000)
    spec = log_mel(6, n_fft=256, hop_length=256)
    return open_store(paths, [path.stem for path in paths], spec, 0.2, 0.1, "mono", place / "cache")


@pytest.fixture
def task(store, tmp_path):
    """Give a function that makes tasks of a plug-in that is given as text."""

    def make(text: str = NET, **changes) -> FitTask:
        plugin = tmp_path / f"plugin{len(text)}.py"
        plugin.write_text(text)
        everyone = tuple(
            Utterance(f"{i}", Path(f"{i}.wav"), "loud" if i % 2 else "soft", "s", valence=1.0 + i % 2)
            for i in range(10)
        )
        plain = FitTask(
            str(plugin), {}, 0, "m", "s", "f1", 2, TRAIN, TRAIN % 2, VAL, VAL % 2, everyone, np.ones(10), store,
            Compute("cpu", "fp32"), tmp_path / "fits",
        )  # fmt: skip
        return replace(plain, **changes)

    return make


def silent(event: EpochEnd) -> None:
    """No one listens."""


def times_made(task: FitTask) -> int:
    return len(Path(task.model).with_suffix(".made").read_text())


def content(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def timeless(record: FitRecord) -> FitRecord:
    """A record without what a clock said."""
    return replace(record, seconds=0.0, history=tuple(replace(event, seconds=0.0) for event in record.history))


def weights(task: FitTask) -> dict[str, torch.Tensor]:
    return torch.load(task.folder / task.identity() / "weights.pt", weights_only=True)


# --- identity


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"choice": {"learning_rate": 0.2}},
        {"choice": {"dropout": 0.1}},
        {"fold": "f2"},
        {"manifest_sha256": "m2"},
        {"split_sha256": "s2"},
        {"compute": Compute("cpu", "bf16")},
        {"compute": Compute("cuda", "fp32")},
        {"train_targets": 1 - TRAIN % 2},
        {"refit_epochs": 3},
        {"normalise_by": np.zeros(13, np.int64)},
    ],
    ids=str,
)
def test_what_can_change_a_fit_changes_its_identity(task, changes):
    assert task(**changes).identity() != task().identity()


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": Path("/elsewhere")},
        {"stop_below": (0.5, 0.6)},
        {"choice": {"learning_rate": 0.1}},
        {"choice": {"dropout": 0.3}},
        {"utterances": ()},
    ],
    ids=["folder", "stop_below", "the published value", "the constructor's default", "utterances"],
)
def test_what_cannot_change_a_fit_does_not_change_its_identity(task, changes):
    assert task(**changes).identity() == task().identity()


def test_another_recipe_is_another_identity(task):
    assert task(NET.replace("batch_size=4", "batch_size=16")).identity() != task(NET).identity()


def test_a_comment_in_the_plugin_keeps_the_identity_and_other_code_does_not(task):
    assert task(NET + "# a comment\n").identity() == task(NET).identity()
    assert task(NET.replace("x.mean(2)", "x.amax(2)")).identity() != task(NET).identity()


def test_a_plugin_that_was_edited_while_python_runs_is_another_fit(task, tmp_path):
    before = task(NET)
    identity = before.identity()

    Path(before.model).write_text(NET.replace("x.mean(2)", "x.amax(2)"))

    assert before.identity() != identity


# --- run once


def test_a_finished_fit_is_read_back_and_not_run_again(task):
    first = run_fit(task(), silent)
    again = run_fit(task(), silent)

    assert times_made(task()) == 2  # once to see how much memory it takes
    assert (first.reused, again.reused) == (False, True)
    assert replace(again, reused=False) == first
    assert load_record(task().folder, first.identity) == first


def test_every_epoch_is_reported_as_it_ends(task):
    seen: list[EpochEnd] = []

    record = run_fit(task(), seen.append)

    assert tuple(seen) == record.history
    assert [event.epoch for event in seen] == [1, 2, 3, 4, 5]


def test_the_same_task_gives_the_same_fit_bit_for_bit_whatever_came_before(task, tmp_path):
    one, two = task(), task(folder=tmp_path / "others")
    first = run_fit(one, silent)
    torch.manual_seed(99)
    second = run_fit(two, silent)

    assert timeless(first) == timeless(second)
    assert all(torch.equal(values, weights(two)[name]) for name, values in weights(one).items())


def test_a_fit_on_the_cpu_is_deterministic_or_fails(task):
    """Operations without a deterministic form raise instead of giving another result each time."""
    seen = []

    run_fit(task(), lambda _: seen.append(torch.get_deterministic_debug_mode()))

    assert set(seen) == {2}


def test_a_fit_leaves_the_random_numbers_of_the_process_alone(task):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    run_fit(task(), silent)

    assert torch.equal(torch.rand(3), expected)


def test_an_interrupted_fit_leaves_nothing_and_runs_later(task):
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(task(), interrupted)
    assert content(task().folder) == []

    assert not run_fit(task(), silent).reused


# --- pruning


def test_a_pruned_fit_is_no_fit_but_is_not_run_again(task):
    pruning = task(stop_below=(-1.0, 2.0))
    record = run_fit(pruning, silent)
    again = run_fit(pruning, silent)

    assert (record.pruned, len(record.history)) == (True, 2)
    assert (again.reused, again.lasting()) == (True, record.lasting())
    assert load_record(task().folder, record.identity) is None
    assert not run_fit(task(stop_below=(-1.0, 1.5)), silent).reused
    assert not run_fit(task(), silent).reused


@pytest.mark.parametrize(
    ("stop_below", "epochs", "pruned"),
    [
        ((), 5, False),
        ((0.5,), 5, False),
        ((0.6,), 1, True),
        ((0.0, 0.75), 5, False),
        ((0.0, 0.8), 2, True),
        ((0.0, 0.0, 0.76), 3, True),
        ((0.0, 0.0, 0.7, 1.1), 4, True),
        ((0.0,) * 9, 5, False),
        ((0.0,) * 4 + (0.9,), 5, False),  # the last epoch is worse, the best one is not
        ((0.0,) * 4 + (1.1,), 5, True),
    ],
)
def test_a_stored_fit_is_pruned_in_hindsight_where_it_would_have_been_pruned_live(
    task, tmp_path, stop_below, epochs, pruned
):
    stored = run_fit(task(SCRIPTED), silent)
    assert [event.val_uar for event in stored.history] == [0.5, 0.75, 0.75, 1.0, 0.5]

    live = run_fit(task(SCRIPTED, stop_below=stop_below, folder=tmp_path / "live"), silent)
    late = run_fit(task(SCRIPTED, stop_below=stop_below), silent)

    assert (len(live.history), live.pruned) == (epochs, pruned)
    assert late.reused
    assert timeless(replace(late, reused=False)) == timeless(live)


def test_hindsight_keeps_the_earliest_of_equal_epochs():
    history = tuple(EpochEnd(e, 1.0, uar, 1.0, 0.1, 0.0) for e, uar in enumerate([0.2, 0.5, 0.5, 0.9], start=1))
    record = FitRecord("a", 4, 0.9, history, 1.0, 10)

    pruned = prune_in_hindsight(record, (0.0, 0.0, 0.6, 0.0))

    assert (pruned.pruned, pruned.best_epoch, pruned.val_uar, len(pruned.history)) == (True, 2, 0.5, 3)


# --- publication


RECORD = FitRecord("0123456789abcdef", 1, 0.5, (), 1.0, 10)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(task, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"cannot write the fit to .*file/fits.*--runs"):
        run_fit(task(folder=tmp_path / "file" / "fits"), silent)


@pytest.mark.parametrize("limit", [100, 2500], ids=["weights", "record"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, limit):
    long = replace(RECORD, history=tuple(EpochEnd(e, 1.0, 0.5, 1.0, 0.1, 0.0) for e in range(1, 50)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            publish(tmp_path / "fits", long, {"w": torch.zeros(2)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert "Free some space" in str(caught.value)
    assert content(tmp_path / "fits") == []


def test_of_two_publications_the_first_is_kept(tmp_path):
    publish(tmp_path, RECORD, {"w": torch.zeros(1)})
    publish(tmp_path, replace(RECORD, seconds=2.0), {"w": torch.ones(1)})

    assert content(tmp_path) == [RECORD.identity]
    assert load_record(tmp_path, RECORD.identity) == RECORD
    assert torch.load(tmp_path / RECORD.identity / "weights.pt", weights_only=True)["w"] == 0


def test_of_concurrent_publications_one_is_kept_whole(tmp_path):
    start = threading.Barrier(4)

    def one(number: int) -> None:
        start.wait()
        publish(tmp_path, replace(RECORD, seconds=float(number)), {"w": torch.tensor([number])})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert content(tmp_path) == [RECORD.identity]
    kept = load_record(tmp_path, RECORD.identity)
    assert kept is not None
    assert torch.load(tmp_path / RECORD.identity / "weights.pt", weights_only=True)["w"] == kept.seconds


def test_something_else_in_the_place_of_a_fit_is_an_error(tmp_path):
    (tmp_path / RECORD.identity).write_text("somebody's file")

    with pytest.raises(StorageError, match="cannot write the fit"):
        publish(tmp_path, RECORD, {})
    assert content(tmp_path) == [RECORD.identity]


# --- prediction


def test_a_prediction_has_one_row_per_test_utterance_in_any_order(task):
    run_fit(task(), silent)

    straight, _ = run_prediction(PredictionTask(task(), TEST, (), np.ones(3)), silent)
    turned, _ = run_prediction(PredictionTask(task(), TEST[::-1].copy(), (), np.ones(3)), silent)
    alone, _ = run_prediction(PredictionTask(task(), TEST[1:2], (), np.ones(1)), silent)

    assert straight.shape == (3, 2)
    assert straight.dtype == np.float32
    assert np.allclose(straight.sum(1), 1)
    assert np.allclose(straight, turned[::-1], atol=1e-6)
    assert np.allclose(straight[1], alone[0], atol=1e-6)


def test_the_kept_epoch_predicts(task):
    """On the validation part the stored weights give the score that they were kept for."""
    record = run_fit(task(), silent)

    probabilities, _ = run_prediction(PredictionTask(task(), VAL, (), np.ones(4)), silent)

    right = probabilities.argmax(1) == VAL % 2
    assert record.val_uar == pytest.approx(np.mean([right[c == VAL % 2].mean() for c in (0, 1)]))


def test_a_refit_learns_from_both_parts_for_its_epochs(task):
    chosen, refit = run_fit(task(), silent), run_fit(task(refit_epochs=2), silent)

    assert refit.best_epoch == 2
    assert refit.identity != chosen.identity
    both, train = weights(task(refit_epochs=2)), weights(task())
    assert not torch.equal(both["normaliser.mean"], train["normaliser.mean"])
    mean, _ = task().store.moments(task().store.items_of(np.arange(10))[0])
    assert np.array_equal(both["normaliser.mean"].numpy(), mean)


# --- the seal


def test_a_fit_reads_the_items_of_training_and_validation_part_alone(task, monkeypatch):
    asked: list[int] = []
    plain = {name: getattr(FeatureStore, name) for name in ("batch", "moments")}
    for name in plain:

        def noted(self, items, name=name):
            asked.extend(np.asarray(items).tolist())
            return plain[name](self, items)

        monkeypatch.setattr(FeatureStore, name, noted)
    run_fit(task(), silent)

    store = task().store
    assert set(asked) == set(store.items_of(np.arange(10))[0].tolist())
    assert not set(asked) & set(store.items_of(TEST)[0].tolist())


def test_a_model_that_asks_the_source_for_the_test_part_is_refused(task):
    store = task().store
    trained, tested = int(store.items_of(TRAIN)[0][0]), int(store.items_of(TEST)[0][0])

    assert run_fit(task(HOSTILE, choice={"item": trained}), silent).history
    with pytest.raises(SealError, match="Test features can be read only after the fold is frozen"):
        run_fit(task(HOSTILE, choice={"item": tested}), silent)


# --- estimators


def test_an_estimator_is_fitted_scored_and_predicts_without_seeing_labels(task):
    """The plug-in itself asserts what it may see."""
    record = run_fit(task(CENTROIDS), silent)
    blind = tuple(Utterance("", Path(), "", "s") for _ in TEST)
    probabilities, _ = run_prediction(PredictionTask(task(CENTROIDS), TEST, blind, np.ones(3)), silent)

    assert (record.val_uar, record.best_epoch, record.history, record.pruned) == (1.0, 1, (), False)
    assert probabilities.argmax(1).tolist() == (TEST % 2).tolist()
    assert probabilities.dtype == np.float32


def test_an_estimator_is_stored_like_any_fit(task):
    first, again = run_fit(task(CENTROIDS), silent), run_fit(task(CENTROIDS), silent)

    assert again.reused
    assert replace(again, reused=False) == first


def predicted(task: FitTask, report=silent) -> np.ndarray:
    """Probabilities of the test part, not those that were kept beside the fit."""
    for kept in (task.folder / task.identity()).glob("test-*.npz"):
        kept.unlink()
    return run_prediction(PredictionTask(task, TEST, (Utterance("", Path(), "", "s"),) * 3, np.ones(3)), report)[0]


def test_a_final_fit_publishes_its_estimator_and_predicts_without_another_fit(task):
    counting = CENTROIDS.replace("    def fit(self, train, val):\n", COUNTED)
    record = run_fit(task(counting), silent)

    assert content(task().folder / record.identity) == ["estimator.npz", "fit.json", "weights.pt"]
    predicted(task(counting))
    predicted(task(counting))
    assert times_made(task(counting)) == 1


def test_a_trial_stores_no_estimator_and_the_final_fit_that_takes_it_does(task):
    counting = CENTROIDS.replace("    def fit(self, train, val):\n", COUNTED)
    trial, final = task(counting, predicts=False), task(counting)
    record = run_fit(trial, silent)

    assert content(trial.folder / record.identity) == ["fit.json", "weights.pt"]
    assert run_fit(final, silent).reused
    first = predicted(final)
    assert "estimator.npz" in content(final.folder / record.identity)
    assert predicted(final).tobytes() == first.tobytes()
    assert times_made(final) == 2


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("self.scale = scale", "self.scale, self.helper = scale, object()"),
        ("recipe = Recipe()", "recipe, __slots__ = Recipe(), ('means',)"),
    ],
    ids=["an object of an unknown class", "a slot, which no state holds"],
)
def test_an_estimator_that_cannot_be_stored_is_fitted_again_and_predicts_the_same(task, line, instead):
    unstorable = CENTROIDS.replace(line, instead)
    record = run_fit(task(unstorable), silent)

    assert content(task().folder / record.identity) == ["fit.json", "weights.pt"]
    assert predicted(task(unstorable)).tobytes() == predicted(task(CENTROIDS)).tobytes()
    assert "estimator.npz" not in content(task().folder / record.identity)


def test_an_estimator_gets_its_arguments_from_the_choice(task):
    blind = tuple(Utterance("", Path(), "", "s") for _ in TEST)
    hard, soft = (
        run_prediction(PredictionTask(task(CENTROIDS, choice={"scale": scale}), TEST, blind, np.ones(3)), silent)[0]
        for scale in (1.0, 1e-6)
    )

    assert hard.max() > 0.9
    assert np.allclose(soft, 0.5, atol=0.01)


def test_a_refitted_estimator_learns_from_both_parts(task, monkeypatch):
    seen = []
    plain = fits.fit_estimator.__globals__["examples"]

    def noted(task, positions, first, targets):
        seen.append(len(positions))
        return plain(task, positions, first, targets)

    monkeypatch.setitem(fits.fit_estimator.__globals__, "examples", noted)
    run_fit(task(CENTROIDS, refit_epochs=1), silent)

    assert sorted(seen) == [4, 10]


def test_an_estimator_without_features_gets_an_empty_table(task):
    class_zero = """
import numpy as np

from sertbench.model import Estimator, Recipe


class Zero(Estimator):
    recipe = Recipe()

    def fit(self, train, val):
        assert (train.functionals.shape, val.functionals.shape) == ((6, 0), (4, 0))

    def predict_proba(self, examples):
        return np.tile([1.0, 0.0], (len(examples.seconds), 1))
"""

    assert run_fit(task(class_zero, store=None), silent).val_uar == 0.5


NO_PROBABILITIES = {
    "NaN": "shares[:1] = np.nan",
    "negative": "shares[:1] = [2.0, -1.0]",
    "sum": "shares *= 2",
    "shape": "shares = shares[:, :1]",
}


@pytest.mark.parametrize("fault", NO_PROBABILITIES)
def test_an_estimator_whose_answers_are_no_probabilities_fails_and_is_not_scored(task, fault):
    """A row of NaN would count as the first class."""
    given = "        return shares / shares.sum(1, keepdims=True)"
    assert given in CENTROIDS
    text = CENTROIDS.replace(
        given,
        f"        shares /= shares.sum(1, keepdims=True)\n        {NO_PROBABILITIES[fault]}\n        return shares",
    )

    with pytest.raises(TrainingError, match=r"plugin.*expected 2 finite numbers >= 0 that sum to 1"):
        run_fit(task(text), silent)


def test_a_network_that_gives_nan_for_a_test_utterance_fails_and_is_not_scored(task):
    given = "        return self.layers(x.mean(2))"
    assert given in NET
    wrong = """        y = self.layers(x.mean(2))
        return y if self.training or x.shape[0] != 16 else y * float("nan")  # the test part has 16 windows"""
    asked = task(NET.replace(given, wrong))
    items = asked.store.items_of(TEST)[0]
    assert len(items) == 16
    run_fit(asked, silent)
    prediction = PredictionTask(asked, TEST, (), np.ones(3))

    with pytest.raises(TrainingError, match=r"3 of 3 answers are no probabilities, first \[nan nan\]"):
        run_prediction(prediction, silent)
    assert not list((asked.folder / asked.identity()).glob("test-*"))


# --- what is damaged is fitted again


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "weights.pt").unlink(), "weights.pt is missing"),
        (lambda place: (place / "fit.json").unlink(), "fit.json is missing"),
        (lambda place: corrupt(place / "weights.pt"), "weights.pt is not the file that was written"),
        (lambda place: (place / "fit.json").write_text('{"identity": "a'), "Unterminated string"),
        (lambda place: (place / "fit.json").write_text("{}"), "weights_sha256"),
        (lambda place: (place / "fit.json").write_text("[]"), "was damaged"),
        (lambda place: (place / "fit.json").write_bytes(b"\xff\xfe"), "decode"),
    ],
    ids=["no weights", "no record", "a bit of the weights", "half a record", "empty", "a list", "no text"],
)
def test_a_damaged_fit_is_fitted_again_and_says_so(task, damage, said):
    first = run_fit(task(), silent)
    before = weights(task())
    damage(task().folder / first.identity)

    again = run_fit(task(), silent)

    assert not again.reused
    assert said in again.note
    assert "fitted again" in again.note
    assert all(torch.equal(values, before[name]) for name, values in weights(task()).items())
    assert content(task().folder) == [first.identity]
    assert run_fit(task(), silent).reused


def test_a_damaged_estimator_is_fitted_again_and_says_so(task):
    first = run_fit(task(CENTROIDS), silent)
    expected, path = predicted(task(CENTROIDS)), task().folder / first.identity / "estimator.npz"
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    again = run_fit(task(CENTROIDS), silent)
    assert not again.reused
    assert "estimator.npz holds no fitted estimator" in again.note
    assert "fitted again" in again.note
    assert path.read_bytes() == whole

    said: list[str] = []
    for damage in (b"", whole[:200]):  # when the fit was found whole a moment ago
        path.write_bytes(damage)
        assert predicted(task(CENTROIDS), said.append).tobytes() == expected.tobytes()
        assert path.read_bytes() == whole
    assert len(said) == 2
    assert all(f"{path} was damaged, so the estimator is fitted again" in line for line in said)


def test_a_prediction_is_kept_and_a_damaged_one_is_made_again(task, monkeypatch):
    record = run_fit(task(), silent)
    test = PredictionTask(task(), TEST, (), np.ones(3))
    first, _ = run_prediction(test, silent)
    made = []
    plain = fits.predict_test
    monkeypatch.setattr(fits, "predict_test", lambda *given: made.append(1) or plain(*given))

    again, _ = run_prediction(test, silent)
    assert (made, again.tolist()) == ([], first.tolist())

    (kept,) = (task().folder / record.identity).glob("test-*.npz")
    whole = kept.read_bytes()
    # One bit: of the way in which an entry is packed, and the one that calls it encrypted.
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in directory_of(whole, 10, 8)]
    for broken in (b"", whole[:100], *flipped):
        kept.write_bytes(broken)
        assert run_prediction(test, silent)[0].tolist() == first.tolist()
    assert len(made) == 4


def directory_of(archive: bytes, *fields: int) -> list[int]:
    """Where some fields of the first entry stand in a zip file's directory."""
    return [archive.index(b"PK\1\2") + field for field in fields]


def test_weights_that_vanish_before_the_prediction_are_said_in_words(task):
    record = run_fit(task(), silent)
    (task().folder / record.identity / "weights.pt").unlink()

    with pytest.raises(StorageError, match="Type the same command again"):
        run_prediction(PredictionTask(task(), TEST, (), np.ones(3)), silent)


def test_drafts_of_killed_processes_are_removed_after_a_day(tmp_path):
    old, young = tmp_path / ".a.0.draft", tmp_path / ".b.0.draft"
    for draft in (old, young):
        draft.mkdir()
        (draft / "weights.pt").write_bytes(b"half")
    os.utime(old, (0, 0))

    fits.clean(tmp_path)

    assert content(tmp_path) == [young.name]


# --- what a plug-in does to its process, or its author to the plug-in


def test_a_plugin_that_is_edited_while_its_fit_waits_for_memory_is_not_kept_as_what_it_was(task, monkeypatch):
    @contextmanager
    def waited_for(*_):
        Path(waiting.model).write_text(NET.replace("x.mean(2)", "x.amax(2)"))
        yield

    waiting = task()
    identity = waiting.identity()
    monkeypatch.setattr(fits, "admitted", waited_for)
    with pytest.raises(TrainingError, match="was edited before its fit began"):
        run_fit(waiting, silent)

    assert not (waiting.folder / identity).exists()


# Lines that stand at the top of many a published model's file: they hold for the whole process.
SETTINGS = {
    "precision": 'torch.set_float32_matmul_precision("medium")',
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": 'torch.set_default_device("meta")',
    "denormals": "torch.set_flush_denormal(True)",
    "benchmark": "torch.backends.cudnn.benchmark = True",
    "tf32": "torch.backends.cudnn.allow_tf32 = True",
    "tf32-everywhere": 'torch.backends.fp32_precision = "tf32"',
    "bf16-convolutions": 'torch.backends.mkldnn.conv.fp32_precision = "bf16"',
}


def torch_settings() -> tuple[object, ...]:
    denormal = bool((torch.tensor([1e-40]) * 1).item())
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    places = (torch.backends, cuda.matmul, cudnn, cudnn.conv, cudnn.rnn, mkldnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    precision = tuple(place.fp32_precision for place in places)
    return precision, torch.get_default_dtype(), torch.get_default_device().type, cudnn.benchmark, denormal


@pytest.mark.parametrize("line", SETTINGS.values(), ids=SETTINGS)
def test_what_one_model_sets_for_all_of_torch_is_not_what_the_next_one_computes_with(task, tmp_path, line):
    run_fit(task(), silent)
    first, plain = weights(task()), torch_settings()
    rude = NET.replace("import torch\n", f"import torch\n\n{line}\n")
    try:
        task(rude).resolve()
        changed = torch_settings() if "meta" not in line else None
        other = task(folder=tmp_path / "other")
        run_fit(other, silent)

        assert changed != plain == torch_settings()
        assert all(torch.equal(value, first[name]) for name, value in weights(other).items())
        plugins.load_model(task(rude + "\n").model)
        store = store_of_waves_in(tmp_path / "features", np.linspace(-1, 1, 4000, dtype=np.float32))
        assert store.batch(np.arange(1))[0].dtype == torch.float32
        assert torch_settings() == plain
    finally:
        torch.set_default_device(None)
        restore_defaults()


def store_of_waves_in(place: Path, wave: np.ndarray) -> FeatureStore:
    """Features of one file, worked out now."""
    place.mkdir()
    soundfile.write(place / "a.wav", wave, 16000)
    return open_store([place / "a.wav"], ["a"], log_mel(6, n_fft=256, hop_length=256), 0.2, 0.1, "mono", place)
