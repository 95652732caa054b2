"""What a reader of the report can tell apart: rows of one model, what is not known, what is not so, names of points."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from sertbench import report_charts, svg
from sertbench.gate import flag_in_words
from sertbench.report_view import Entry, names
from sertbench.svg_labels import Box, line, places


def entry(model: str, features: str, row_id: str, corpus: str = "one", **cells: str) -> Entry:
    row = {"model": model, "features": features, "row_id": row_id, "corpus": corpus, "uar_pooled_mean": "50.00"}
    return Entry({**row, "synthetic": "0", **cells}, None, 0, False)


def test_rows_of_one_model_are_called_by_their_features_and_then_by_their_row() -> None:
    rows = [
        entry("svm", "egemaps", "a"), entry("svm", "compare2016", "b"), entry("cnn", "mfcc", "c"),
        entry("svm", "egemaps", "d"), entry("svm", "egemaps", "e", "two"),
    ]  # fmt: skip
    assert names(rows) == ["svm egemaps a", "svm compare2016", "cnn", "svm egemaps d", "svm"]


def test_the_optimism_meter_tells_rows_apart_and_shows_only_the_cheats_that_were_measured() -> None:
    rows = [
        entry("svm", "egemaps", "a", "ravdess", optimism_random_split="60.00"),
        entry("svm", "functionals", "b", "ravdess", optimism_speaker_norm="55.00"),
    ]
    meter = report_charts.optimism_values(rows)

    assert meter is not None
    assert [name for name, _ in meter["rows"]] == ["svm egemaps", "svm functionals"]
    assert {"svm egemaps, ravdess", "svm functionals, ravdess"} <= set(re.findall(r">([^<]+)<", meter["chart"]))
    assert list(meter["cheats"].values()) == ["random folds", "speaker normalisation"]
    assert [name for name, _ in meter["legend"]] == ["honest", "random folds", "speaker normalisation"]
    assert not meter["gap"]
    more = report_charts.optimism_values([*rows, entry("cnn", "mfcc", "c", optimism_test_epoch="70", oracle_gap="1")])
    assert more is not None
    assert [name for name, _ in more["legend"]][-1] == "best epoch on test"
    assert more["gap"]
    assert report_charts.optimism_values([]) is None


def overlap(key: str, roles: tuple[str, str], shared: int) -> dict[str, Any]:
    return {"fold": "1", "key": key, "roles": list(roles), "shared": shared, "utterances": [0, 0], "forbidden": False}


def test_what_a_corpus_does_not_know_is_not_a_no() -> None:
    apart = [overlap("speaker", ("train", "test"), 0), overlap("speaker", ("train", "val"), 7)]
    shared = [overlap("text", ("train", "test"), 0), overlap("text", ("val", "test"), 3)]

    assert flag_in_words("session_independent", False, apart) == "not known: the corpus names no sessions"
    assert flag_in_words("val_speaker_overlap", False, shared) == "not known: the corpus names no speakers"
    assert flag_in_words("speaker_independent", False, apart) == "not known: not every utterance has a speaker"
    assert flag_in_words("text_independent", False, shared) == "no"
    assert flag_in_words("speaker_independent", True, apart) == "yes"
    assert flag_in_words("val_speaker_overlap", False, apart) == "no"
    assert flag_in_words("val_is_test", False, []) == "no"


CROWD = [("svm compare2016", 0.58, 78.05, True), ("logreg", 1.21, 75.66, False), ("svm functionals", 0.33, 72.33, True),
         ("mlp", 3.9, 72.39, False), ("cnn", 566.0, 68.69, False), ("svm egemaps", 0.24, 59.27, True)]  # fmt: skip


def drawn(points: list[tuple[str, float, float, bool]]) -> dict[str, Box]:
    """What the names of a Pareto chart cover, from its markup."""
    chart = svg.pareto("title", "words", "cost", points)
    pattern = r'<text class="name" x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)">([^<]+)<'
    found = {}
    for x, y, anchor, text in re.findall(pattern, chart):
        width = 6.5 * len(text)
        left = float(x) - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        found[text] = Box(left, float(y) - 9, left + width, float(y) + 2)
    return found


def test_names_of_close_points_lie_neither_on_each_other_nor_on_the_front() -> None:
    boxes = drawn(CROWD)
    chart = svg.pareto("title", "words", "cost", CROWD)
    (stair,) = re.findall(r'class="front" d="M([^"]+)"', chart)
    corners = [tuple(map(float, part.split())) for part in stair.split("L")]
    steps = [line(*a, *b) for a, b in pairwise(corners)]

    assert {"svm compare2016", "svm functionals", "svm egemaps", "logreg"} <= set(boxes)
    for name, box in boxes.items():
        assert not [other for other, its in boxes.items() if other != name and box.meets(its)]
        assert not [step for step in steps if box.meets(step)], name


def test_a_name_without_room_is_left_to_the_tooltip() -> None:
    crowd = [(f"model number {k}", 1.0, 50.0 + k / 100, k == 39) for k in range(40)]
    boxes = drawn(crowd)
    assert "model number 39" in boxes  # the front's
    assert len(boxes) < 40
    assert svg.pareto("title", "words", "cost", crowd).count("<title>") == 40


@pytest.mark.parametrize("name", ["a", "a name that is wider than the frame itself"])
def test_names_stay_within_the_frame(name: str) -> None:
    frame = Box(0, 0, 60, 40)
    for x, y in ((1.0, 1.0), (59.0, 1.0), (59.0, 39.0), (30.0, 20.0)):
        (label,) = places([(name, x, y)], frame, [])
        assert label is None if len(name) > 5 else label is not None and label.box.within(frame)
