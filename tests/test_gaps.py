"""Gaps between groups: equal models show none, planted ones are found, and one odd speaker is not a gender."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sertbench import gaps
from sertbench.cli import main
from sertbench.results import Predictions

CLASSES = ("angry", "happy", "sad")


def predictions(accuracy, seed: int = 0, seeds: int = 1, n: int = 30, speakers: int = 8) -> Predictions:
    """`accuracy(speaker, target)` is the probability of a right answer, the same in all seeds' models."""
    rng, rows = np.random.default_rng(seed), []
    for speaker in range(speakers):
        for i in range(n):
            target = i % len(CLASSES)
            for k in range(seeds):
                right = rng.random() < accuracy(speaker, target)
                answer = target if right else (target + 1 + rng.integers(2)) % len(CLASSES)
                row = {"utterance": f"s{speaker}-{i:03d}", "fold": "1", "seed": k, "speaker": f"s{speaker}"}
                row |= {"style": "", "target": target, "epoch": 1}
                rows.append(row | {f"p_{c}": float(j == answer) for j, c in enumerate(CLASSES)})
    return Predictions(pd.DataFrame(rows), CLASSES)


def halves(found: Predictions) -> dict[str, str]:
    """The first half of the speakers are women."""
    return {u: "female" if int(u[1]) < 4 else "male" for u in found.column("utterance")}


def by_speaker(found: Predictions) -> dict[str, str]:
    return {u: u.partition("-")[0] for u in found.column("utterance")}


def test_a_model_that_is_equally_good_for_all_is_within_what_chance_gives():
    found = [predictions(lambda _, target: 0.9 - 0.2 * target, seed) for seed in range(40)]
    measured = [gaps.measure(p, "gender", halves(p), draws=300) for p in found]
    ranges = [gaps.measure(p, "speaker", by_speaker(p), draws=300) for p in found]

    assert sum(gap.figures[0].p < 0.05 for gap in measured) <= 5
    assert sum(gap.figures[0].p < 0.05 for gap in ranges) <= 5
    assert 0.2 < np.mean([gap.figures[0].p for gap in measured]) < 0.8


def test_seeds_that_err_together_are_not_taken_for_more_utterances():
    one = predictions(lambda *_: 0.7)
    copies = [one.frame.assign(seed=k) for k in range(5)]
    five = Predictions(pd.concat(copies, ignore_index=True), CLASSES)

    assert gaps.measure(five, "gender", halves(five), 500) == gaps.measure(one, "gender", halves(one), 500)


def test_a_planted_gap_is_found_and_told_apart_from_one_odd_speaker():
    women_worse = predictions(lambda speaker, _: 0.5 if speaker < 4 else 0.85, n=60)
    one_worse = predictions(lambda speaker, _: 0.1 if speaker == 0 else 0.8, n=60)

    gap = gaps.measure(women_worse, "gender", halves(women_worse))
    odd = gaps.measure(one_worse, "gender", halves(one_worse))

    assert [g.name for g in gap.groups] == ["male", "female"]
    assert gap.figures[0].observed == pytest.approx(35, abs=15)
    assert gap.figures[0].observed > gap.figures[0].band[1]
    assert gap.figures[0].p < 0.01
    assert gap.figures[0].p_dealt < 0.1
    assert odd.figures[0].p < 0.05 <= odd.figures[0].p_dealt
    assert "not shown to be about gender" in gaps.in_words(odd)
    assert "more than chance gives" in gaps.in_words(gap)


def test_the_worst_speaker_is_beside_the_worst_of_equal_ones():
    found = predictions(lambda speaker, _: 0.3 if speaker == 5 else 0.8, n=60)
    gap = gaps.measure(found, "speaker", by_speaker(found))
    worst = next(f for f in gap.figures if f.name == "worst")

    assert gap.groups[-1].name == "s5"
    assert worst.observed == pytest.approx(gap.groups[-1].uar)
    assert worst.observed < worst.band[0]
    assert worst.p < 0.01
    assert gap.figures[0].p_dealt is None


def test_group_scores_are_the_mean_recall_over_the_classes_that_a_group_has():
    right = np.array([[1, 0, 1, 1, 0.5]])
    y, group = np.array([0, 0, 1, 0, 2]), np.array([0, 0, 0, 1, 1])

    assert gaps.group_uars(right, y, group, 3) == pytest.approx(np.array([[0.75, 0.75]]))


def test_unknown_groups_are_counted_and_a_single_group_has_no_gap():
    found = predictions(lambda *_: 0.7)
    partly = {u: g for u, g in halves(found).items() if not u.startswith("s0")}

    assert gaps.measure(found, "gender", partly, 100).left_out == 30
    assert gaps.measure(found, "gender", dict.fromkeys(partly, "female"), 100) is None
    assert gaps.measure(found, "gender", {}, 100) is None


def test_the_command_shows_speakers_where_the_corpus_is_not_at_hand(tmp_path, made_bundle, capsys):
    folder = made_bundle(tmp_path / "runs")

    assert main(["gaps", str(folder), "--json", str(tmp_path / "gaps.json")]) == 0

    printed = capsys.readouterr().out
    assert "without gender and age" in printed
    assert "speaker: " in printed
    written = json.loads((tmp_path / "gaps.json").read_text())
    assert len(written["gaps"][0]["groups"]) == 6
    assert json.loads((folder / "gaps.json").read_text()) == written
    assert "gaps.json" in printed
    (folder / "gaps.json").unlink()
    (folder / "gaps.json").mkdir()
    assert main(["gaps", str(folder)]) == 0
    assert "not kept for `sertbench report`" in " ".join(capsys.readouterr().out.split())


def test_a_run_goes_by_its_name_its_row_or_its_model(tmp_path, made_bundle, capsys):
    folder = made_bundle(tmp_path / "runs")
    model = json.loads((folder / "run.json").read_text())["model"]["name"]

    for name in (folder.name, folder.name.rpartition("-")[2], model):
        assert main(["gaps", name, "--runs", str(folder.parent)]) == 0
    assert "speaker: " in capsys.readouterr().out
    assert main(["gaps", "nosuch", "--runs", str(folder.parent)]) == 2
    assert f"nosuch is not a finished run. In {folder.parent} there are: {folder.name}" in capsys.readouterr().err


def test_the_command_refuses_replays(tmp_path, made_bundle, capsys):
    folder = made_bundle(tmp_path / "runs", kind="replay")

    assert main(["gaps", str(folder)]) == 2
    assert "replayed claim" in capsys.readouterr().err
