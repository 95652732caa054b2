"""Studies without any training: a made-up score stands for the validation part."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from sertbench.errors import PluginError, SertbenchError, TrainingError, WorkerError
from sertbench.fits import FitRecord, prune_in_hindsight
from sertbench.model import NeuralModel, Recipe
from sertbench.search_space import draw, published
from sertbench.testing_recipes import check_choice
from sertbench.training import EpochEnd
from sertbench.tuning import (
    BATCH,
    FINAL_SEEDS,
    MOST_FINALISTS,
    Tuned,
    n_finalists,
    sampler,
    thresholds,
    tune,
)

EPOCHS = 6


class Net(NeuralModel):
    """A model of which only recipe and search space are looked at."""

    recipe = Recipe(learning_rate=0.02, epochs=EPOCHS)

    def __init__(self, input_shape, n_classes, width=8, kind="mean"):
        super().__init__(input_shape, n_classes)

    @classmethod
    def search_space(cls, trial):
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "width": trial.suggest_int("width", 4, 32),
            "kind": trial.suggest_categorical("kind", ["mean", "max"]),
        }


class Fixed(NeuralModel):
    """A model with nothing to tune."""

    recipe = Recipe()


PUBLISHED = {"learning_rate": 0.02, "width": 8, "kind": "mean"}


def quality(choice, seed):
    """Best for wide networks with a small rate; seed 1 would rather have narrow ones."""
    return 0.5 + choice["width"] / 100 - choice["learning_rate"] - seed * choice["width"] / 20


def history(final, epochs=EPOCHS):
    return tuple(EpochEnd(e, 1.0, final * e / epochs, 1.0, 0.1, 0.0) for e in range(1, epochs + 1))


def record(final, epochs=EPOCHS):
    return FitRecord("0" * 16, epochs, final, history(final, epochs), 0.0, 10)


class Scorer:
    """Evaluates choices by `quality`; keeps what it was asked, and raises `errors[call]` at the call so numbered."""

    def __init__(self, errors=None, score: Callable = quality):
        self.calls: list[tuple] = []
        self.errors = errors or {}
        self.score = score

    def __call__(self, requests):
        return [self.one(r.choice, r.seed, r.stop_below, r.tag) for r in requests]

    def one(self, choice, seed, stop_below, tag):
        self.calls.append((choice, seed, stop_below, tag))
        error = self.errors.get(len(self.calls))
        if isinstance(error, SertbenchError):
            return error
        if error:
            raise error
        return prune_in_hindsight(record(self.score(choice, seed)), stop_below)


def study(path, n_trials, evaluate, cls=Net, warm_up=2) -> Tuned:
    return tune(cls, "f1", path / "f1.journal", n_trials, warm_up, evaluate)


def numbers(tuned, name):
    return [trial[name] for trial in tuned.trials]


def test_without_trials_nothing_is_tuned_and_nothing_is_run(tmp_path):
    scorer = Scorer()

    assert study(tmp_path, 0, scorer) == Tuned({}, "fixed", (), ())
    assert scorer.calls == []
    assert not list(tmp_path.iterdir())


def test_a_model_with_nothing_to_tune_is_fixed_and_is_not_run(tmp_path):
    scorer = Scorer()

    assert study(tmp_path, 5, scorer, cls=Fixed) == Tuned({}, "fixed", (), ())
    assert study(tmp_path, 5, scorer, cls=Fixed) == Tuned({}, "fixed", (), ())
    assert scorer.calls == []


def test_the_first_trial_is_the_published_recipe_without_pruning(tmp_path):
    scorer = Scorer()

    tuned = study(tmp_path, 1, scorer)

    assert scorer.calls == [(PUBLISHED, 0, (), "trial 0")]
    assert (tuned.choice, tuned.scope, tuned.curve) == (PUBLISHED, "perfold", (quality(PUBLISHED, 0),))


def test_a_published_value_outside_the_search_space_is_tried_all_the_same(tmp_path):
    class Narrow(Net):
        @classmethod
        def search_space(cls, trial):
            return {"learning_rate": trial.suggest_float("learning_rate", 0.1, 0.2)}

    scorer = Scorer(score=lambda choice, _: choice["learning_rate"])
    with pytest.warns(UserWarning, match="out of range"):
        tuned = study(tmp_path, 1, scorer, cls=Narrow)

    assert tuned.choice == {"learning_rate": 0.02}


def with_kinds(*kinds: object, default: object = "mean", make: Callable = lambda kind: kind) -> type[Net]:
    class Other(Net):
        def __init__(self, input_shape, n_classes, width=8, kind=default):
            super().__init__(input_shape, n_classes)

        @classmethod
        def search_space(cls, trial):
            return {"kind": make(trial.suggest_categorical("kind", kinds))}

    return Other


def test_a_published_value_that_no_choice_offers_is_refused_before_anything_is_run(tmp_path):
    judge = Scorer()
    with pytest.raises(PluginError, match=r"published kind = 'mean', only 'max', 'last'.*suggest_categorical\('kind'"):
        study(tmp_path / "s", 3, judge, with_kinds("max", "last"))
    assert judge.calls == []


def test_a_draw_that_the_plugin_makes_something_else_of_need_not_hold_the_published_value(tmp_path):
    sizes = {"small": 8, "large": 16}
    cls = with_kinds("small", "large", default=8, make=sizes.get)
    judge = Scorer(score=lambda *_: 0.5)
    study(tmp_path / "s", 2, judge, cls)
    assert {choice["kind"] for choice, *_ in judge.calls} <= {8, 16}


def test_a_published_none_is_the_first_trial(tmp_path):
    assert published(with_kinds(None, "max", default=None))["kind"] is None


@pytest.mark.parametrize("name", ["features", "window", "hop", "epochs"])
def test_what_a_run_settles_for_all_trials_cannot_be_tuned(name):
    """The features are computed once: a trial with another window would be told as what it was not."""

    class Settles(Net):
        recipe = Recipe(window=1.0, hop=0.5)

        @classmethod
        def search_space(cls, trial):
            return {name: trial.suggest_categorical(name, [1.0, 0.5])}

    trial = optuna.create_study().ask()
    for refusing in (lambda: draw(Settles, trial), lambda: check_choice(Settles, trial, Settles.search_space(trial))):
        with pytest.raises(PluginError, match=f"Settles.search_space names '{name}', which cannot be tuned"):
            refusing()


@pytest.mark.parametrize("value", [(3, 5), np.int64(64), {1: 2}, float("nan"), object()])
def test_a_choice_that_could_not_be_read_back_is_refused(value):
    """run.json would hold a list, "64" or a repr: what predicts with the fit later would build another model."""

    class Unwritable(Net):
        @classmethod
        def search_space(cls, _trial):
            return {"width": value}

    trial = optuna.create_study().ask()
    for refusing in (
        lambda: draw(Unwritable, trial),
        lambda: check_choice(Unwritable, trial, Unwritable.search_space(trial)),
    ):
        with pytest.raises(PluginError, match=r"Unwritable.search_space gives width = .*cannot"):
            refusing()


def test_a_search_space_that_raises_is_one_sentence(tmp_path):
    class Broken(Net):
        @classmethod
        def search_space(cls, trial):
            return {"width": trial.suggest_integer("width", 1, 2)}

    with pytest.raises(PluginError, match=r"Broken\.search_space fails: AttributeError: .*suggest_integer"):
        study(tmp_path / "s", 2, Scorer(), Broken)


def test_later_trials_differ_and_the_best_one_wins(tmp_path):
    scorer = Scorer()

    tuned = study(tmp_path, 5, scorer)

    choices = [choice for choice, *_ in scorer.calls]
    assert len({tuple(choice.items()) for choice in choices}) == 5
    assert tuned.choice == max(choices, key=lambda choice: quality(choice, 0))
    assert [trial["chosen"] for trial in tuned.trials].count(True) == 1


def test_the_same_study_twice_makes_the_same_choices(tmp_path):
    first, second = Scorer(), Scorer()

    assert study(tmp_path / "a", 9, first) == study(tmp_path / "b", 9, second)
    assert first.calls == second.calls


def test_another_fold_tries_other_choices(tmp_path):
    first, second = Scorer(), Scorer()

    tune(Net, "f1", tmp_path / "f1.journal", 3, 2, first)
    tune(Net, "f2", tmp_path / "f2.journal", 3, 2, second)

    assert first.calls[0] == second.calls[0]
    assert first.calls[1][0] != second.calls[1][0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The outcome of a study of nine trials and three finalists, and the calls that it made."""
    scorer = Scorer()
    tuned = study(tmp_path_factory.mktemp("whole"), 9, scorer)
    assert len(scorer.calls) == 12
    return tuned, scorer.calls


def test_a_finished_study_is_read_back_and_only_the_finalists_are_asked_for_again(tmp_path):
    tuned = study(tmp_path, 9, Scorer())
    again = Scorer()

    assert study(tmp_path, 9, again) == tuned
    assert all(seed == 1 for _, seed, _, _ in again.calls)


@pytest.mark.parametrize(
    ("at", "error"),
    [(at, KeyboardInterrupt()) for at in (1, 2, 5, 9, 10, 12)] + [(at, WorkerError("it died")) for at in (1, 7, 11)],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_a_study_that_was_stopped_anywhere_goes_on_to_the_same_result(tmp_path, uninterrupted, at, error):
    expected, calls = uninterrupted
    with pytest.raises(type(error)):
        study(tmp_path, 9, Scorer({at: error}))
    resumed = Scorer()

    assert study(tmp_path, 9, resumed) == expected
    assert resumed.calls == calls[9 if at > 9 else (at - 1) // BATCH * BATCH :]  # a batch is asked for as a whole


def test_a_study_that_is_stopped_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    expected = study(tmp_path / "whole", 6, Scorer())

    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "stopped", 6, Scorer({2: KeyboardInterrupt()}))

    assert study(tmp_path / "stopped", 6, Scorer()) == expected


def test_a_study_that_was_stopped_while_a_trial_was_being_written_goes_on_to_the_same_result(tmp_path, monkeypatch):
    expected = study(tmp_path / "whole", 6, Scorer())

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "stopped", 6, Scorer())

    assert study(tmp_path / "stopped", 6, Scorer()) == expected


def test_failing_trials_are_recorded_and_do_not_stop_the_study(tmp_path):
    failing = {2: TrainingError("the loss became nan"), 4: TrainingError("the loss became inf")}

    tuned = study(tmp_path, 5, Scorer(failing))

    assert numbers(tuned, "state") == ["complete", "fail", "complete", "fail", "complete"]
    assert numbers(tuned, "val_uar")[1] is None
    assert tuned.curve[1] == tuned.curve[0]
    assert tuned.trials[1]["chosen"] is False


def test_a_failed_trial_is_not_run_again(tmp_path):
    study(tmp_path, 3, Scorer({2: TrainingError("the loss became nan")}))
    again = Scorer()

    assert numbers(study(tmp_path, 3, again), "state") == ["complete", "fail", "complete"]
    assert again.calls == []


def test_when_all_trials_fail_the_reasons_are_given(tmp_path):
    failing = {call: TrainingError("the loss became nan") for call in (1, 2, 3)}

    with pytest.raises(TrainingError, match=r"fold f1: none of 3 trials could be completed: the loss became nan"):
        study(tmp_path, 3, Scorer(failing))


def test_other_errors_than_those_of_training_stop_the_study(tmp_path):
    with pytest.raises(ZeroDivisionError):
        study(tmp_path, 3, Scorer({2: ZeroDivisionError()}))


def test_a_trial_below_the_median_of_the_first_four_is_pruned_and_cannot_win(tmp_path):
    scores = iter([0.5, 0.6, 0.7, 0.8, 0.1, 0.75, 0.9, 0.8])  # six trials, two finalists

    tuned = study(tmp_path, 6, Scorer(score=lambda *_: next(scores)), warm_up=3)

    assert numbers(tuned, "state") == ["complete"] * 4 + ["pruned", "complete"]
    assert numbers(tuned, "val_uar_final") == [None, None, None, pytest.approx(0.85), None, pytest.approx(0.775)]
    assert tuned.curve == (0.5, 0.6, 0.7, 0.8, 0.8, 0.8)


@settings(max_examples=8, deadline=None)
@given(scores=st.lists(st.none() | st.floats(0.05, 1), min_size=1, max_size=5))
def test_the_curve_is_the_best_score_so_far(tmp_path_factory, scores):
    scores = [*scores, 0.5]
    errors = {call: TrainingError("failed") for call, score in enumerate(scores, start=1) if score is None}
    left = iter([score for score in scores if score is not None] + [0.5] * 4)

    tuned = study(tmp_path_factory.mktemp("curve"), len(scores), Scorer(errors, lambda *_: next(left)), warm_up=99)

    assert all(earlier <= later for earlier, later in pairwise(tuned.curve))
    assert tuned.curve == tuple(max([0.0, *(s for s in scores[: k + 1] if s)]) for k in range(len(scores)))


@pytest.mark.parametrize(("trials", "expected"), [(1, 1), (3, 1), (5, 1), (6, 2), (9, 3), (50, MOST_FINALISTS)])
def test_one_trial_in_three_is_a_finalist_at_most(trials, expected):
    assert n_finalists(trials) == expected


def test_the_best_trials_run_again_with_another_seed_and_the_best_mean_wins(tmp_path):
    scorer = Scorer()

    tuned = study(tmp_path, 9, scorer)

    finals = [call for call in scorer.calls if call[1] > 0]
    done = [t for t in tuned.trials if t["state"] == "complete"]
    best = sorted(done, key=lambda t: -t["val_uar"])[:3]
    assert [call[3] for call in finals] == [f"trial {t['trial']} again" for t in best]
    assert all(stop_below == () for _, _, stop_below, _ in finals)
    means = {t["trial"]: (t["val_uar"] + quality({k: t[k] for k in PUBLISHED}, 1)) / FINAL_SEEDS for t in best}
    assert {t["trial"]: t["val_uar_final"] for t in best} == pytest.approx(means)
    winner = max(means, key=means.__getitem__)
    assert numbers(tuned, "chosen") == [t["trial"] == winner for t in tuned.trials]
    assert tuned.choice == {k: tuned.trials[winner][k] for k in PUBLISHED}
    assert winner != best[0]["trial"]  # the made-up seed 1 turns the order round: else this would test nothing


def test_of_equal_means_the_earlier_trial_wins(tmp_path):
    tuned = study(tmp_path, 6, Scorer(score=lambda *_: 0.5))

    assert numbers(tuned, "chosen") == [True, False, False, False, False, False]


def test_a_finalist_that_fails_with_another_seed_is_out(tmp_path):
    best_alone = study(tmp_path / "a", 6, Scorer())
    out = next(t["trial"] for t in best_alone.trials if t["chosen"])
    order = sorted((t for t in best_alone.trials if t["val_uar_final"]), key=lambda t: -t["val_uar"])
    call = 7 + [t["trial"] for t in order].index(out)

    tuned = study(tmp_path / "b", 6, Scorer({call: TrainingError("the loss became nan")}))

    (other,) = (t["trial"] for t in order if t["trial"] != out)
    assert tuned.trials[other]["chosen"]
    assert tuned.trials[out]["val_uar_final"] is None


def test_when_all_finalists_fail_the_reasons_are_given(tmp_path):
    failing = {call: TrainingError("the loss became nan") for call in (7, 8)}

    with pytest.raises(TrainingError, match=r"fold f1: .*another seed: trial \d: the loss became nan; trial"):
        study(tmp_path, 6, Scorer(failing))


def finished(curve, state=TrialState.COMPLETE):
    return create_trial(
        state=state,
        value=max(curve) if state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(curve, start=1)),
    )


def test_thresholds_are_medians_of_the_best_so_far_after_the_warm_up():
    trials = [
        finished([0.2, 0.1, 0.5]),
        finished([0.3, 0.4, 0.4]),
        finished([0.1, 0.2, 0.3]),
        finished([0.5, 0.2, 0.6]),
    ]

    assert thresholds(trials, warm_up=2) == pytest.approx((-1.0, 0.3, 0.45))
    assert thresholds(trials, warm_up=0) == pytest.approx((0.25, 0.3, 0.45))


def test_a_trial_that_stopped_early_counts_with_its_final_best():
    trials = [finished([0.4]), finished([0.4]), finished([0.4]), finished([0.1, 0.2, 0.9])]

    assert thresholds(trials, warm_up=1) == pytest.approx((0.4, 0.4, 0.4))


def test_nothing_is_pruned_before_four_trials_were_completed():
    three = [finished([0.5, 0.6])] * 3

    assert thresholds(three, warm_up=1) == ()
    assert thresholds([*three, finished([0.5], TrialState.PRUNED), finished([0.5], TrialState.FAIL)], warm_up=1) == ()
    assert thresholds([*three, finished([0.5, 0.6])], warm_up=1) == (0.5, 0.6)


def test_models_without_epochs_are_never_pruned(tmp_path):
    """Estimators leave no history."""
    scorer = Scorer()

    tune(Net, "f1", tmp_path / "f1.journal", 6, 1, lambda requests: [replace(r, history=()) for r in scorer(requests)])

    assert all(stop_below == () for _, _, stop_below, _ in scorer.calls)


# --- batches


def told(path):
    """The journal without what a clock said."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if "datetime" not in k and k != "worker_id"} for line in lines]


def test_all_trials_of_a_batch_are_asked_before_one_is_told(tmp_path):
    batches = []
    scorer = Scorer()

    study(tmp_path, 10, lambda requests: batches.append([r.tag for r in requests]) or scorer(requests))

    assert [len(batch) for batch in batches[:3]] == [4, 4, 2]
    assert batches[0] == ["trial 0", "trial 1", "trial 2", "trial 3"]
    assert len({r[2] for r in scorer.calls[4:8]}) == 1  # one pruning rule for a batch


def test_a_study_is_the_same_whichever_trial_of_a_batch_ends_first(tmp_path):
    """The journal too, line by line."""

    def backwards(requests):
        return Scorer()(requests[::-1])[::-1]

    def in_threads(requests):
        def one(request):
            time.sleep(0.01 * random.random())
            return Scorer()([request])[0]

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(one, requests))

    for name, evaluate in (("a", Scorer()), ("b", backwards), ("c", in_threads)):
        study(tmp_path / name, 10, evaluate)

    journals = [told(tmp_path / name / "f1.journal") for name in "abc"]
    assert journals[0] == journals[1] == journals[2]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_journal_that_was_cut_anywhere_gives_the_same_study(tmp_path, keep):
    expected = study(tmp_path, 9, Scorer())
    journal = tmp_path / "f1.journal"
    content = journal.read_bytes()
    journal.write_bytes(content[: int(len(content) * keep)])
    (tmp_path / "f1.journal.lock").symlink_to("nowhere")  # as a process leaves it that is killed while it writes

    assert study(tmp_path, 9, Scorer()) == expected


def test_a_damaged_journal_is_put_aside_and_made_again(tmp_path):
    expected = study(tmp_path, 5, Scorer())
    journal = tmp_path / "f1.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"no json\n", *lines[4:]]))

    assert study(tmp_path, 5, Scorer()) == expected
    assert (tmp_path / "f1.damaged").exists()


@pytest.mark.parametrize("killed_after", [0, BATCH, BATCH + 2, 8])
def test_a_study_goes_on_after_an_update_with_scores_of_the_update_alone(tmp_path, killed_after):
    def of_the_update(choice, seed):
        return 1.0 - quality(choice, seed)

    def tuned(folder, scorer, basis):
        return tune(Net, "f1", folder / "f1.journal", 9, 2, scorer, basis)

    expected = tuned(tmp_path / "whole", Scorer(score=of_the_update), "new")
    killed = Scorer(errors={killed_after + 1: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "cut", killed, "old")

    assert tuned(tmp_path / "cut", scorer := Scorer(score=of_the_update), "new") == expected
    assert len(scorer.calls) == 9 + MOST_FINALISTS * (FINAL_SEEDS - 1)
    assert (tmp_path / "cut" / "f1.outdated").exists() == (killed_after >= BATCH)
    assert tuned(tmp_path / "cut", again := Scorer(score=of_the_update), "new") == expected
    assert len(again.calls) == len(scorer.calls) - 9


def test_the_sampler_says_all_that_optuna_has_other_defaults_for(monkeypatch):
    given = {}
    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda **arguments: given.update(arguments))

    sampler(7)

    assert given == {
        "seed": 7,
        "n_startup_trials": 4,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,
        "constant_liar": True,
    }


@pytest.mark.parametrize("calls", [1, 2, 4, 5, 7, 14, 17, 26])
def test_a_study_that_is_killed_between_two_parameters_of_a_trial_is_the_same_study(tmp_path, monkeypatch, calls):
    expected = study(tmp_path / "whole", 9, Scorer())
    left = calls
    plain = optuna.trial.Trial._suggest

    def killed(self, *arguments):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "_suggest", killed)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "stopped", 9, Scorer())

    assert study(tmp_path / "stopped", 9, Scorer()) == expected


def test_a_study_does_not_go_on_with_scores_of_other_code(tmp_path):
    """A run that was stopped, and went on with another version of sertbench, chose by scores of the old one."""
    journal = tmp_path / "f1.journal"
    tune(Net, "f1", journal, BATCH, 2, Scorer(), "old")
    worse = Scorer(score=lambda choice, seed: quality(choice, seed) / 2)

    tuned = tune(Net, "f1", journal, BATCH, 2, worse, "new")

    assert tuned == tune(Net, "f1", tmp_path / "other.journal", BATCH, 2, Scorer(score=worse.score), "new")
    assert [path.name for path in tmp_path.glob("*.outdated")] == ["f1.outdated"]
    asked = len(worse.calls)
    assert tune(Net, "f1", journal, BATCH, 2, worse, "new") == tuned
    assert len(worse.calls) == asked
