"""Diagnostics: high where a shortcut was planted, at chance where there is none, and each sees its own clue alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sertbench import plugins
from sertbench.corpus import Utterance
from sertbench.errors import TrainingError
from sertbench.features import extract
from sertbench.model import Examples
from sertbench.protocols import GroupFolds
from sertbench.scores import score

NAMES = ("majority", "duration", "loudness", "speaker", "scenario", "text")
CHANCE = 0.25  # of four classes


def model(name, n_classes=4, seed=0):
    return plugins.load_model(name).cls(n_classes, seed)


def examples(targets, **clues):
    """Examples of some classes; `clues` are lists of what is known of each. Everything else says nothing."""
    n = len(targets)
    rng = np.random.default_rng(0)
    speakers = clues.get("speaker", ["someone"] * n)
    texts = clues.get("text", [None] * n)
    transcripts = clues.get("transcript", [None] * n)
    return Examples(
        tuple(
            Utterance(f"{i:04d}", Path(f"{i}.wav"), f"class {targets[i]}", speakers[i], text=texts[i], transcript=words)
            for i, words in enumerate(transcripts)
        ),
        np.asarray(clues.get("seconds", rng.uniform(1, 5, n))),
        np.asarray(clues.get("level", rng.normal(-40, 5, (n, 2))), np.float32),
        np.asarray(targets),
    )


def part(whole, positions, told=True):
    positions = list(positions)
    chosen = [whole.utterances[i] for i in positions]
    return Examples(
        tuple(chosen if told else (replace(u, label="") for u in chosen)),
        whole.seconds[positions],
        whole.functionals[positions],
        whole.targets[positions] if told else None,
    )


def scores(name, whole, train, test, seed=0):
    """Scores on the test positions of a model that was fitted on the training positions."""
    fitted = model(name, seed=seed)
    fitted.fit(part(whole, train), part(whole, test))
    answers = fitted.predict_proba(part(whole, test, told=False)).argmax(axis=1)
    return score(whole.targets[list(test)], answers, 4)


def halves(n, seed=0):
    order = np.random.default_rng(seed).permutation(n)
    return order[: n // 2], order[n // 2 :]


def complete(n=40, classes=4):
    """Every clue is there, and foretells the class."""
    targets = np.arange(n) % classes
    return examples(
        targets,
        speaker=[f"s{t}" for t in targets],
        text=[f"t{t}" for t in targets],
        transcript=[f"word{t}" for t in targets],
        seconds=1.0 + targets,
        level=np.stack([-50.0 + 10 * targets, np.full(n, 5.0)], axis=1),
    )


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_diagnostics_are_marked_and_never_ranked(name):
    assert plugins.load_model(name).cls.diagnostic


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_training_lacks_gets_no_probability(name):
    fitted = model(name, n_classes=6)
    fitted.fit(complete(), complete())

    given = fitted.predict_proba(part(complete(), range(8), told=False))

    assert given.shape == (8, 6)
    assert given.sum(axis=1) == pytest.approx(1)
    assert (given[:, 4:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_class_in_training_is_always_answered(name):
    only = replace(complete(), targets=np.full(40, 2))
    fitted = model(name)
    fitted.fit(only, only)

    given = fitted.predict_proba(part(complete(), range(8), told=False))

    assert given == pytest.approx(np.tile([0.0, 0.0, 1.0, 0.0], (8, 1)))


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_taken_from_the_targets_alone(name):
    train, test = complete(), part(complete(), range(8), told=False)
    lying = replace(train, utterances=tuple(replace(u, label="class 0") for u in train.utterances))
    honest, misled = model(name), model(name)

    honest.fit(train, train)
    misled.fit(lying, lying)

    assert np.array_equal(honest.predict_proba(test), misled.predict_proba(test))


CLUES = {
    "duration": "seconds",
    "loudness": "functionals",
    "speaker": "speaker",
    "scenario": "text",
    "text": "transcript",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("clue", ["seconds", "functionals", "speaker", "text", "transcript"])
def test_each_diagnostic_sees_its_own_clue_and_no_other(name, clue):
    train, test = complete(), part(complete(), range(8), told=False)
    if clue in ("seconds", "functionals"):
        changed = replace(test, **{clue: getattr(test, clue)[::-1]})
    else:
        values = [getattr(u, clue) for u in test.utterances[::-1]]
        utterances = (replace(u, **{clue: value}) for u, value in zip(test.utterances, values, strict=True))
        changed = replace(test, utterances=tuple(utterances))
    fitted = model(name)
    fitted.fit(train, train)

    same = np.array_equal(fitted.predict_proba(test), fitted.predict_proba(changed))

    assert same == (CLUES.get(name) != clue)


def test_majority_has_chance_uar_and_the_accuracy_of_the_commonest_class():
    whole = examples([0] * 20 + [1] * 100 + [2] * 40 + [3] * 40)
    everything = range(200)

    found = scores("majority", whole, everything, everything)

    assert found.uar == CHANCE
    assert found.wa == 0.5


def test_majority_gives_the_class_prior():
    fitted = model("majority")
    fitted.fit(examples([0, 1, 1, 3]), examples([0]))

    given = fitted.predict_proba(part(examples([0, 0]), range(2), told=False))

    assert given.tolist() == [[0.25, 0.5, 0.0, 0.25]] * 2


def one_emotion_each():
    """Ten speakers with 20 utterances of one class each, in the manner of URDU; class 0 is the most frequent."""
    return examples(np.repeat([0, 0, 0, 0, 1, 1, 2, 2, 3, 3], 20), speaker=[f"s{i // 20}" for i in range(200)])


def test_a_speaker_shortcut_is_worth_everything_under_a_random_split():
    whole = one_emotion_each()

    found = scores("speaker", whole, *halves(200))

    assert found.uar == 1.0


def test_a_speaker_shortcut_is_worth_nothing_where_speakers_are_apart():
    whole = one_emotion_each()
    groups = {f"g{k}": tuple(f"s{s}" for s in pair) for k, pair in enumerate([(0, 4, 6, 8), (1, 5, 7, 9), (2, 3)])}
    folds = GroupFolds("apart", 1, "speaker", groups).split(whole.utterances).folds
    # The first two folds test all four classes; the third only the class that is the most frequent one elsewhere.
    for fold in folds[:2]:
        found = scores("speaker", whole, fold.train, fold.test)

        assert found.uar == CHANCE


def test_an_unknown_speaker_gets_the_prior_and_a_tie_is_decided_by_it():
    train = examples([0, 0, 0, 1, 1, 2], speaker=["a", "a", "a", "b", "b", "c"])
    tied = examples([3, 0], speaker=["d", "d"])
    both = examples([*train.targets, *tied.targets], speaker=[u.speaker for u in train.utterances + tied.utterances])
    fitted = model("speaker")
    fitted.fit(both, both)

    unknown, known = fitted.predict_proba(part(examples([0, 0], speaker=["x", "d"]), range(2), told=False))

    assert unknown == pytest.approx([4 / 8, 2 / 8, 1 / 8, 1 / 8])
    assert known == pytest.approx([1.5 / 3, 0.25 / 3, 0.125 / 3, 1.125 / 3])


def spaced(targets, values, rng):
    """A value per class with a little noise."""
    return np.asarray(values)[targets] + rng.normal(0, 0.2, len(targets))


@pytest.mark.parametrize(("name", "clue"), [("duration", "seconds"), ("loudness", "level")])
def test_a_planted_shortcut_in_the_signal_is_found(name, clue):
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, 400)
    values = spaced(targets, [2.0, 3.0, 4.0, 5.0], rng)
    whole = examples(targets, **{clue: values if clue == "seconds" else np.stack([values, values * 0 + 1], axis=1)})

    found = scores(name, whole, *halves(400))

    assert found.uar > 0.9


@pytest.mark.parametrize("name", ["duration", "loudness"])
def test_durations_and_levels_that_say_nothing_are_at_chance(name):
    whole = examples(np.random.default_rng(1).integers(0, 4, 1200))

    found = scores(name, whole, *halves(1200))

    assert found.uar == pytest.approx(CHANCE, abs=0.06)  # four standard deviations of a guess


def test_padding_to_a_round_length_is_found_within_the_range_of_the_others():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, 800)
    seconds = np.where(targets == 3, 3.0, rng.uniform(2, 4, 800))

    found = scores("duration", examples(targets, seconds=seconds), *halves(800))

    assert found.recalls[3] == 1.0
    assert found.uar > 0.45  # the other three are guessed


def test_a_rare_class_does_not_hide_a_shortcut():
    rng = np.random.default_rng(1)
    targets = (rng.random(2000) < 0.05).astype(int)
    seconds = rng.normal(3, 0.5, 2000) + targets  # two deviations apart: where most are of class 1, it is rare

    found = scores("duration", examples(targets, seconds=seconds), *halves(2000))

    assert found.recalls[1] > 0.6


def test_level_is_that_of_the_audio_in_decibels():
    spec = plugins.load_model("loudness").cls.recipe.features
    noise = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    pause = torch.cat([torch.ones(1, 8000), torch.full((1, 8000), 0.001)], dim=1)

    soft, loud, paused = extract(spec, torch.cat([noise * 0.01, noise * 0.1, noise * 0.1 * pause]))

    assert soft.shape == (1, spec.frames(16000))
    assert (loud - soft).numpy() == pytest.approx(20, abs=1e-2)
    assert (loud - paused)[0, -40:].numpy() == pytest.approx(60, abs=1e-2)  # not lifted to a floor below the maximum


def scenes(n=200):
    """Eight scenes, each with mostly one emotion."""
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 8, n)
    targets = np.where(rng.random(n) < 0.9, scene % 4, rng.integers(0, 4, n))
    return examples(targets, text=[f"impro{s}" for s in scene]), scene


def test_a_scenario_that_foretells_the_emotion_is_found():
    whole, _ = scenes()

    found = scores("scenario", whole, *halves(200))

    assert found.uar > 0.8


@pytest.mark.parametrize("name", ["scenario", "text"])
def test_new_texts_are_at_chance(name):
    whole, scene = scenes()

    found = scores(name, whole, np.flatnonzero(scene < 4), np.flatnonzero(scene >= 4))

    assert found.uar == CHANCE


def test_an_utterance_without_text_gets_the_prior():
    fitted = model("scenario")
    fitted.fit(examples([0, 0, 1], text=["a", "b", None]), examples([0]))

    given = fitted.predict_proba(part(examples([0], text=[None]), [0], told=False))

    assert given[0] == pytest.approx([2 / 3, 1 / 3, 0, 0])


def spoken(n=200):
    """Words about each emotion among words about nothing; each sentence is its own text id."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, n)
    telling, idle = ["fine", "great", "sorry", "damn"], ["the", "cat", "sat", "there"]
    said = [" ".join([*rng.permutation(idle)[:2], telling[t].upper() + "!"]) for t in targets]
    return examples(targets, transcript=said, text=[f"sentence {i}" for i in range(n)])


def test_words_that_foretell_the_emotion_are_found_before_text_ids():
    found = scores("text", spoken(), *halves(200))

    assert found.uar == 1.0


@pytest.mark.parametrize("nothing", [None, "", " ... "])
def test_without_transcripts_the_text_id_is_read(nothing):
    whole, _ = scenes()
    whole = replace(whole, utterances=tuple(replace(u, transcript=nothing) for u in whole.utterances))

    found = scores("text", whole, *halves(200))

    assert found.uar > 0.8


@pytest.mark.parametrize("words", [None, "", "?!", "unheard of"])
def test_an_utterance_without_a_known_word_gets_the_prior(words):
    whole = spoken()
    fitted = model("text")
    fitted.fit(whole, whole)

    given = fitted.predict_proba(part(examples([0], transcript=[words], text=["sentence 1"]), [0], told=False))

    prior = [Counter(whole.targets.tolist())[c] / 200 for c in range(4)]
    assert given[0] == pytest.approx(prior)


def test_a_word_counts_once_however_often_and_large_it_is_written():
    whole = spoken()
    fitted = model("text")
    fitted.fit(whole, whole)

    once, often = fitted.predict_proba(
        part(examples([0, 0], transcript=["the cat, damn", "THE the The Cat cat: DAMN Damn"]), range(2), told=False)
    )

    assert np.array_equal(once, often)


@pytest.mark.parametrize("name", ["scenario", "text"])
def test_a_corpus_without_texts_is_refused_with_what_to_do(name):
    bare = examples([0, 1, 2, 3])

    with pytest.raises(TrainingError, match=rf"model {name}: none of the 4 .* Utterance\.") as refused:
        model(name).fit(bare, bare)

    assert "run majority, duration" in str(refused.value)


def test_listing_the_diagnostics_imports_none_of_them():
    code = (
        "import sys; from sertbench import plugins; found = plugins.sources('models'); "
        f"assert all(found[n].summary.startswith('Diagnostic: ') for n in {NAMES}); "
        "assert not {'sklearn', 'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
