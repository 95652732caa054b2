"""The contract checks find planted faults: each class breaks one clause, and exactly that check says so."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sertbench import testing
from sertbench.corpus import Archive, Corpus, LabelSet
from sertbench.errors import CorpusError
from sertbench.feature_spec import log_mel
from sertbench.layers import masked_mean, valid_frames
from sertbench.model import Estimator, Examples, NeuralModel, Recipe
from sertbench.protocols import GroupFolds


class Sound(NeuralModel):
    """A small network that keeps the contract. Nothing of it can be tuned."""

    paper = "unpublished"
    recipe = Recipe(features=log_mel(8, n_fft=256, hop_length=200), window=0.3, hop=0.1, learning_rate=3e-3)

    def __init__(self, input_shape: tuple[int, int], n_classes: int, width: int = 32, gain: float = 1.0) -> None:
        super().__init__(input_shape, n_classes)
        self.gain = gain
        self.hidden = nn.Sequential(nn.Linear(input_shape[0], width), nn.BatchNorm1d(width), nn.ReLU())
        self.classify = nn.Linear(width, n_classes)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Hidden units (B, width) of x (B, F, T)."""
        return self.gain * self.hidden(x.mean(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(x))


class Tuned(Sound):
    """A small network that keeps the contract and can be tuned."""

    @classmethod
    def search_space(cls, trial):
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32]),
            "width": trial.suggest_int("width", 16, 48),
        }


class Whole(Sound):
    """A small network for whole utterances that keeps the contract."""

    recipe = replace(Sound.recipe, window=None, hop=None)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        mean = masked_mean(x.transpose(1, 2), valid_frames(lengths, x.shape[2]))
        return self.classify(self.hidden(mean))


class Gated(Sound):
    """A small network with a branch whose gate starts at zero, and its size stated."""

    n_parameters = 8 * 32 + 32 + 2 * 32 + 32 * 4 + 4 + 32 * 32 + 32 + 1

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.gate = nn.Parameter(torch.zeros(1))
        self.branch = nn.Linear(32, 32)

    def embed(self, x):
        hidden = super().embed(x)
        return hidden + self.gate * self.branch(hidden)


def failures(cls: type) -> dict[str, str]:
    return {result.name: result.message for result in testing.run_checks(cls) if not result.passed}


def assert_fails(cls: type, check: str, *words: str) -> None:
    """Exactly one check fails, and its message has the words that an author needs."""
    found = failures(cls)
    assert list(found) == [check], found
    for word in words:
        assert word in found[check]


@pytest.mark.parametrize("cls", [Sound, Tuned, Whole, Gated])
def test_sound_networks_pass(cls):  # Gated: its layer has no gradient in the first step
    results = list(testing.run_checks(cls))
    assert [(r.name, r.message) for r in results if not r.passed] == []
    assert ("padding" in {r.name for r in results}) == (cls is Whole)


# --- faults of form


class NoDocstring(Sound):
    pass


class NoPaper(Sound):
    """Without a source."""

    paper = ""


class NoFeatures(Sound):
    """Asks for no features."""

    recipe = replace(Sound.recipe, features=None)


class OddRecipe(Sound):
    """Has values that cannot be."""

    recipe = replace(Sound.recipe, optimiser="lion", batch_size=1, hop=None)


class NeedsArgument(Sound):
    """Has a hyperparameter without a default."""

    def __init__(self, input_shape, n_classes, heads):
        super().__init__(input_shape, n_classes)


class FourClasses(Sound):
    """Ignores n_classes."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.classify = nn.Linear(32, 4)


class RowTooMany(Sound):
    """Sums over the batch."""

    def forward(self, x):
        return super().forward(x).sum(0, keepdim=True)


class NoForward(NeuralModel):
    """Has no forward method."""

    paper = "unpublished"
    recipe = Sound.recipe


class WrongSize(Sound):
    """States a wrong number of parameters."""

    n_parameters = 12_345


class GivesTwo(Sound):
    """Gives its hidden units, too."""

    def forward(self, x):
        return super().forward(x), self.embed(x)


class WantsLengths(Sound):
    """Takes lengths although windows come without."""

    def forward(self, x, lengths):
        return super().forward(x)


class WantsNoLengths(Whole):
    """Takes no lengths although utterances come whole."""

    def forward(self, x):
        return self.classify(self.embed(x))


class FixedRows(Sound):
    """Counts on eight rows."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.hidden[0] = nn.Linear(8, 32)


class FramesFirst(Sound):
    """Expects (batch, frames, rows)."""

    def forward(self, x):
        return self.classify(self.hidden(x.mean(1)))


class InPlace(Sound):
    """Centres its input in place."""

    def forward(self, x):
        x -= x.mean(2, keepdim=True)
        return super().forward(x.abs())


class Carries(Sound):
    """Starts each batch from the hidden state of the last one, as a tutorial's LSTM does."""

    state = None

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.lstm = nn.LSTM(input_shape[0], 32, batch_first=True)

    def forward(self, x):
        steps, self.state = self.lstm(x.transpose(1, 2), self.state)
        return self.classify(steps[:, -1] + self.hidden(x.mean(2)))


class CarriesTraining(Sound):
    """Adds what the last training batch left, with its graph."""

    last: torch.Tensor | float = 0.0

    def forward(self, x):
        hidden = self.embed(x) + (self.last if self.training else 0.0)
        if self.training:
            self.last = 0.1 * hidden.mean(0)
        return self.classify(hidden)


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (NoDocstring, "documentation", ["NoDocstring has no docstring", "sertbench list models"]),
        (NoPaper, "documentation", ["paper is empty", "unpublished"]),
        (NoFeatures, "recipe", ["names no features", "log_mel"]),
        (OddRecipe, "recipe", ["optimiser = 'lion'", "'adamw'", "batch_size = 1", "hop = None"]),
        (NeedsArgument, "builds", ["`heads`", "give it a default"]),
        (FourClasses, "output_shape", ["(1, 4)", "(B, n_classes) = (1, 2)"]),
        (RowTooMany, "output_shape", ["gave shape (1, 2)", "one row per item"]),
        (NoForward, "output_shape", ["define `forward(self, x)`"]),
        (GivesTwo, "output_shape", ["gave a tuple", "the logits alone"]),
        (WantsLengths, "output_shape", ["window = 0.3", "it must be `forward(self, x)`", "None (whole utterances)"]),
        (WantsNoLengths, "output_shape", ["window = None", "it must be `forward(self, x, lengths)`"]),
        (FixedRows, "output_shape", ["shape (1, 14, ", "size the layers from input_shape"]),
        (FramesFirst, "output_shape", ["shape (1, 8, 25)", "x is (batch, feature rows, frames)"]),
        (InPlace, "output_shape", ["changes its input in place", "x = x - m"]),
        (Carries, "no_state", ["a later one fails", "hidden state on self", "nn.LSTM without a state"]),
        (CarriesTraining, "no_state", ["a later one fails", "hidden state on self"]),
    ],
)
def test_a_fault_of_form_stops_the_checks(cls, check, words):
    assert_fails(cls, check, *words)
    assert "more checks follow" in failures(cls)[check]


# --- faults of function


class Softmax(Sound):
    """Ends with a softmax."""

    def forward(self, x):
        return super().forward(x).softmax(1)


class LogSoftmax(Sound):
    """Ends with a log-softmax."""

    def forward(self, x):
        return super().forward(x).log_softmax(1)


class DeadLayer(Sound):
    """Has a layer that forward does not use."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.forgotten = nn.Linear(3, 3)


class Detached(Sound):
    """Cuts the gradient."""

    def forward(self, x):
        return self.classify(self.embed(x).detach())


class LogOfZero(Sound):
    """Takes the logarithm of a variance over time that can be 0."""

    def forward(self, x):
        return super().forward(x) + 0.01 * x.var(2).sum(1, keepdim=True).log()


class RootOfZero(Sound):
    """Pools by a standard deviation without a floor."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.scale = nn.Parameter(torch.ones(input_shape[0], 1))

    def forward(self, x):
        return self.classify(self.hidden((x * self.scale).var(2).sqrt() + x.mean(2)))


class Frozen(Sound):
    """Learns far too slowly."""

    recipe = replace(Sound.recipe, learning_rate=1e-9)


class Remembers(Sound):
    """Starts from where the last batch ended."""

    last: torch.Tensor | float = 0.0

    def forward(self, x):
        logits = super().forward(x) + (0.0 if self.training else self.last)
        self.last = logits.detach().mean()
        return logits


class MultipliesByChance(Sound):
    """Draws from Python's generator, which nobody seeds."""

    def forward(self, x):
        return super().forward(x) * random.random()


class AddsChance(Sound):
    """Makes a generator of its own for each batch."""

    def forward(self, x):
        return super().forward(x) + (0.0 if self.training else float(np.random.default_rng().random()))


class LogOfNothing(Sound):
    """Never gives a number."""

    def forward(self, x):
        logits = super().forward(x)
        return torch.log(logits - logits)


class NoNumberInTraining(Sound):
    """Divides by zero in training alone."""

    def forward(self, x):
        logits = super().forward(x)
        return logits * (torch.zeros(()) / 0) if self.training else logits


class NoNumberAfterAStep(Sound):
    """Takes the root of what the first step makes negative."""

    recipe = replace(Sound.recipe, optimiser="sgd", momentum=0.0, learning_rate=1.0)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.bend = nn.Parameter(torch.full((n_classes,), 1e-3))

    def forward(self, x):
        return super().forward(x) + self.bend.sqrt()


class Explodes(Sound):
    """Has a gradient that is finite, and learns at a rate that makes infinity of it."""

    recipe = replace(Sound.recipe, optimiser="sgd", momentum=0.0, learning_rate=9.9)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.shift = nn.Parameter(torch.zeros(n_classes))

    def forward(self, x):
        return super().forward(x) + 2 * (3e38 * self.shift)


class NeverInitialised(Sound):
    """A weight that nobody initialises."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.shift = nn.Parameter(torch.empty(n_classes))

    def forward(self, x):
        return super().forward(x) + self.shift


class CountsBatches(Sound):
    """Changes a buffer in evaluation."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if not self.training:
            self.seen += 1
        return super().forward(x)


class CentresBatch(Sound):
    """Subtracts the mean of the batch."""

    def forward(self, x):
        return super().forward(x - (0 if self.training else 0.1 * x.mean(0)))


class CountsPadding(Whole):
    """Takes the mean over all frames, padding included."""

    def forward(self, x, lengths):
        return self.classify(self.hidden(x.mean(2)))


class AlwaysDrops(Sound):
    """Drops units in evaluation, too."""

    def forward(self, x):
        return self.classify(nn.functional.dropout(self.embed(x), 0.3))


class HiddenWeights(Sound):
    """Holds a layer where the state dict cannot see it."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.unseen = [nn.Linear(32, 32)]

    def forward(self, x):
        return self.classify(self.unseen[0](self.embed(x)))


class NumpyNoise(Sound):
    """Initialises from numpy's global generator."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        nn.init.constant_(self.classify.bias, np.random.rand())


class ComplexNumbers(Sound):
    """Goes through complex numbers, which are made of float32 alone."""

    def forward(self, x):
        embedded = self.embed(x)
        return self.classify(torch.complex(embedded, embedded).abs())


class SearchesNothingKnown(Sound):
    """Draws what nothing takes."""

    @classmethod
    def search_space(cls, trial):
        return {"lr": trial.suggest_float("lr", 1e-4, 1e-2)}


class SearchesBesideThePaper(Sound):
    """Cannot draw its own published value."""

    @classmethod
    def search_space(cls, trial):
        return {"learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-4, log=True)}


class SearchesWhatCannotBe(Sound):
    """Draws a batch of one."""

    @classmethod
    def search_space(cls, trial):
        return {"batch_size": trial.suggest_int("batch_size", 0, 1)}


class SearchesWhatBreaks(Sound):
    """Draws a width that cannot be built."""

    @classmethod
    def search_space(cls, trial):
        return {"width": -trial.suggest_int("negative_width", 1, 2)}


class SeedsItself(Sound):
    """Has its own seed."""

    def __init__(self, input_shape, n_classes):
        torch.manual_seed(42)
        super().__init__(input_shape, n_classes)


class NeedsLength(Whole):
    """Convolves without padding."""

    def forward(self, x, lengths):
        nn.functional.avg_pool1d(x, 20)
        return super().forward(x, lengths)


class CountsTo(Whole):
    """Knows positions up to 1000 frames."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.register_buffer("positions", torch.zeros(1000))

    def forward(self, x, lengths):
        return super().forward(x + self.positions[: x.shape[2]], lengths)


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (WrongSize, "size", ["n_parameters = 12345", "the network has 484 parameters", "n_parameters = 484"]),
        (SeedsItself, "repeatable", ["seeds torch itself (42)", "Remove torch.manual_seed"]),
        (NeedsLength, "durations", ["0.1 s (9 frames)", "pad short ones"]),
        (CountsTo, "durations", ["35 s (2801 frames)", "positions for any length"]),
        (Softmax, "logits", ["remove the softmax"]),
        (LogSoftmax, "logits", ["remove the log_softmax"]),
        (DeadLayer, "gradients", ["forgotten.weight", "forgotten.bias", "remove them"]),
        (Detached, "gradients", ["hidden.0.weight", "detach()"]),
        (LogOfZero, "finite", ["digital silence", "logarithm"]),
        (RootOfZero, "finite", ["gradients that are not finite", "scale", "small constant"]),
        (LogOfNothing, "finite", ["the logits of ordinary sounds in training mode are not finite", "logarithm"]),
        (NoNumberInTraining, "finite", ["the logits of ordinary sounds in training mode are not finite"]),
        (NoNumberAfterAStep, "finite", ["ordinary sounds in eval mode, after a step of training, are not finite"]),
        (
            Explodes,
            "finite",
            ["after one step of training on ordinary sounds model.shift", "lower the learning rate (9.9)"],
        ),
        (NeverInitialised, "finite", ["a new network has model.shift", "initialise every parameter"]),
        (MultipliesByChance, "no_chance", ["other logits each time"]),
        (AddsChance, "no_chance", ["other logits each time"]),
        (Frozen, "learns", ["16 items are not learnt by heart", "learning rate (1e-09"]),
        (Remembers, "no_state", ["after another batch", "same state"]),
        (CountsBatches, "no_state", ["predicting changes model.seen"]),
        (CentresBatch, "alone", ["predicted alone", "batch axis"]),
        (CountsPadding, "padding", ["must not count", "masked_mean"]),
        (AlwaysDrops, "no_chance", ["self.training"]),
        (HiddenWeights, "saves", ["nn.ModuleList"]),
        (NumpyNoise, "repeatable", ["classify.bias", "torch only"]),
        (ComplexNumbers, "bf16", ["raised RuntimeError", "under bfloat16 autocast"]),
        (SearchesNothingKnown, "search_space", ["'lr', which nothing takes", "width, gain, the fields of Recipe"]),
        (SearchesBesideThePaper, "search_space", ["published learning_rate = 0.003", "Widen it"]),
        (SearchesWhatCannotBe, "search_space", ["batch_size", "whole number >= 2"]),
        (SearchesWhatBreaks, "search_space", ["training fails with {'width': -"]),
    ],
)
def test_a_fault_of_function_fails_one_check(cls, check, words):
    assert_fails(cls, check, *words)


def test_an_error_of_the_plugin_is_a_finding_with_its_line():
    class Raises(Sound):
        """Raises in evaluation on a batch of one."""

        def forward(self, x):
            if len(x) == 1:
                raise RuntimeError("no batch of one, please")
            return super().forward(x)

    message = failures(Raises)["output_shape"]
    assert "Raises raised RuntimeError: no batch of one, please" in message
    assert Path(__file__).name in message


def test_checking_leaves_torch_as_it_was():
    torch.manual_seed(7)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    list(testing.run_checks(Sound))
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


# --- estimators


class Nearest(Estimator):
    """Nearest class mean, with a temperature."""

    paper = "unpublished"
    recipe = Recipe(features=log_mel(8))

    def __init__(self, n_classes: int, seed: int, temperature: float = 1.0) -> None:
        super().__init__(n_classes, seed)
        self.temperature = temperature

    def fit(self, train: Examples, val: Examples) -> None:
        rows = [train.functionals[train.targets == c] for c in range(self.n_classes)]
        self.means = np.stack([r.mean(0) if len(r) else np.full(r.shape[1], 1e3) for r in rows])

    def predict_proba(self, examples: Examples) -> np.ndarray:
        distance = np.square(examples.functionals[:, None] - self.means).mean(2) / self.temperature
        odds = np.exp(distance.min(1, keepdims=True) - distance)
        return odds / odds.sum(1, keepdims=True)

    @classmethod
    def search_space(cls, trial):
        return {"temperature": trial.suggest_float("temperature", 0.1, 10.0, log=True)}


class Scores(Nearest):
    """Gives distances instead of probabilities."""

    def predict_proba(self, examples):
        return np.square(examples.functionals[:, None] - self.means).mean(2)


class SeenClasses(Nearest):
    """Gives columns for the classes of the training part alone."""

    def predict_proba(self, examples):
        seen = np.flatnonzero(self.means[:, 0] != 1e3)
        odds = super().predict_proba(examples)[:, seen]
        return odds / odds.sum(1, keepdims=True)


class FromTheLeft(SeenClasses):
    """Fills up with columns at the end, so that a class that training lacks shifts all after it."""

    def predict_proba(self, examples):
        odds = super().predict_proba(examples)
        return np.pad(odds, ((0, 0), (0, self.n_classes - odds.shape[1])))


class FitsTheValidationPart(Nearest):
    """Fits on all that has labels."""

    def fit(self, train, val):
        both = [np.concatenate([getattr(part, name) for part in (train, val)]) for name in ("functionals", "targets")]
        super().fit(replace(train, functionals=both[0], targets=both[1]), val)


class ChoosesAgain(Nearest):
    """Takes its temperature from the validation part, also when the harness says which candidate it was."""

    def fit(self, train, val):
        super().fit(train, val)
        self.temperature = float(val.seconds.mean())


class Chooses(Nearest):
    """Chooses as it may."""

    def fit(self, train, val):
        super().fit(train, val)
        if self.step is None:
            self.step = 1 + int(self.predict_proba(val)[:, 0].sum() > 4)
        self.temperature = float(self.step)


class ChoosesRounds(Nearest):
    """Names its candidates by what they are, from 2 on."""

    def fit(self, train, val):
        super().fit(train, val)
        if self.step is None:
            self.step = 2 + int(self.predict_proba(val)[:, 0].sum() > 4)
        self.temperature = {2: 1.0, 3: 2.0}[self.step]


class Shrinks(Nearest):
    """Puts a class that training lacks at the mean of all, where it gets more than one at the edge."""

    def fit(self, train, val):
        super().fit(train, val)
        self.means[self.means[:, 0] == 1e3] = train.functionals.mean(0)


class Centres(Nearest):
    """Subtracts the mean of what it predicts."""

    def predict_proba(self, examples):
        return super().predict_proba(replace(examples, functionals=examples.functionals - examples.functionals.mean(0)))


class Reads(Nearest):
    """Counts the words of the transcript beside what it hears."""

    def predict_proba(self, examples):
        words = np.array([[len((u.transcript or "").split())] for u in examples.utterances])
        return super().predict_proba(replace(examples, functionals=examples.functionals + words))


class KnowsSpeakers(Nearest):
    """Needs to be told who speaks."""

    def predict_proba(self, examples):
        return super().predict_proba(examples) * [[1 if u.speaker else 1 / 0] for u in examples.utterances]


class Guesses(Nearest):
    """Fits with numpy's global generator."""

    def fit(self, train, val):
        super().fit(train, val)
        self.means = self.means + np.random.rand(*self.means.shape)


class FitsNothing(Nearest):
    """Cannot fit what its search space draws."""

    def fit(self, train, val):
        if self.temperature != 1.0:
            raise ValueError("temperature must be 1")
        super().fit(train, val)


@pytest.mark.parametrize("cls", [Nearest, Chooses, ChoosesRounds, Shrinks])
def test_a_sound_estimator_passes(cls):
    assert failures(cls) == {}


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (Scores, "probabilities", ["sum to 1"]),
        (SeenClasses, "probabilities", ["(8, 3)", "when one class does not occur in training"]),
        (FromTheLeft, "probabilities", ["class 0, which does not occur in training", "all_classes"]),
        (FitsTheValidationPart, "validation", ["never be fitted"]),
        (ChoosesAgain, "validation", ["If self.step is not None, take "]),
        (Centres, "alone", ["predicted alone"]),
        (Reads, "audio", ["probabilities differ by", "transcript are blank", "`metadata`"]),
        (KnowsSpeakers, "audio", ["division by zero", "Predict by `functionals`"]),
        (Guesses, "repeatable", ["random_state=self.seed"]),
        (FitsNothing, "search_space", ["fit fails with {'temperature':", "temperature must be 1"]),
    ],
)
def test_a_faulty_estimator_fails_one_check(cls, check, words):
    assert_fails(cls, check, *words)


# --- corpora


class Tidy(Corpus):
    """Four recordings of two people."""

    citation = "A. Author: Four recordings. 2024"
    licence = "CC0"
    access = "Ask the author."
    language = "German"
    layout = "four files"
    labels = {"h": "happy", "s": "sad"}  # noqa: RUF012
    label_sets = (
        LabelSet(
            "2class",
            mapping={"happy": "happy", "sad": "sad"},
            counts={"happy": 2, "sad": 2},
            speakers={"A": 1, "B": 3},
        ),
    )
    protocols = (GroupFolds("speaker", 1, "speaker", {"A": ("A",), "B": ("B",)}, summary="2 folds"),)

    def utterances(self, root):
        raise CorpusError(f"{root} holds nothing")
        yield

    def expected_ids(self):
        return frozenset({"a", "b", "c", "d"})


def corpus_with(**changes: object) -> type[Corpus]:
    return type("Changed", (Tidy,), {"__doc__": "A changed corpus.", **changes})


def two_classes(**changes: object) -> tuple[LabelSet]:
    return (replace(Tidy.label_sets[0], **changes),)


def from_nothing(self, root):
    (root / "cache").touch()
    yield from ()


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"__doc__": None}, "documentation", ["no docstring"]),
        ({"licence": " "}, "documentation", ["licence is missing"]),
        ({"channel": "both"}, "documentation", ["'both'", "'left'"]),
        ({"labels": {}}, "labels", ["labels is missing"]),
        ({"labels": {"h": "happy", "s": 3}}, "labels", ["'s': 3"]),
        ({"label_sets": ()}, "label_sets", ["at least one LabelSet"]),
        ({"label_sets": two_classes() * 2}, "label_sets", ["same name"]),
        ({"label_sets": two_classes(mapping={"joy": "joy", "sad": "sad"})}, "label_sets", ["maps joy", "happy, sad"]),
        ({"label_sets": two_classes(mapping={"sad": "sad"}, counts={})}, "label_sets", ["two at least"]),
        ({"label_sets": two_classes(counts={"happy": 4})}, "label_sets", ["counts names happy"]),
        ({"label_sets": two_classes(speakers={"A": 1})}, "label_sets", ["sum to 4, speakers to 1"]),
        ({"protocols": ()}, "protocols", ["at least one"]),
        ({"protocols": Tidy.protocols * 2}, "protocols", ["same name"]),
        ({"expected_ids": lambda _: frozenset({"a"})}, "expected_ids", ["counts 4 utterances"]),
        ({"release": "secret"}, "archives", ["'secret'", "'request'"]),
        (
            {"archives": (Archive("https://x.org/a.zip", "a.zip", "crc32:00", size=1),)},
            "archives",
            ["a.zip", "'crc32:00'"],
        ),
        ({"archives": (Archive("a.zip", "a.zip", "md5:" + "0" * 32, size=1),)}, "archives", ["http(s) address"]),
        ({"utterances": from_nothing}, "empty_folder", ["wrote cache"]),
    ],
)
def test_a_faulty_corpus_fails_one_check(changes, check, words):
    assert_fails(corpus_with(**changes), check, *words)


def test_a_tidy_corpus_passes():
    assert failures(Tidy) == {}


# --- by name or path


def test_plugins_are_checked_by_name_or_path(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from sertbench.model import NeuralModel\n\n\nclass Mine(NeuralModel):\n    pass\n")
    assert [(r.name, r.passed) for r in testing.check_plugin(str(file))] == [("documentation", False)]
    assert all(r.passed for r in testing.check_corpus("emodb"))
