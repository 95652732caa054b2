"""Bundles, rows, tables, `verify` and `compare`, on runs that are made up here: nothing is trained."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sertbench import board_files, board_rows, bundle, comparison, files, leaderboard, verify
from sertbench.bundles import Bundles
from sertbench.cli import main
from sertbench.config import RunConfig, dump
from sertbench.errors import BundleError, StorageError
from sertbench.protocols import Fold, Split
from sertbench.results import Predictions, fault, figures

CLASSES = ("angry", "sad")
SPEAKERS = tuple("abcdefgh")
PER_SPEAKER = 20


def make_split() -> Split:
    ids = tuple(f"{s}{i:02d}" for s in SPEAKERS for i in range(PER_SPEAKER))
    everyone = range(len(ids))
    half = len(ids) // 2
    quarter = half // 2
    first = Fold("1", tuple(range(half + quarter, len(ids))), tuple(range(half, half + quarter)), tuple(range(half)))
    second = Fold("2", tuple(range(quarter, half)), tuple(range(quarter)), tuple(everyone[half:]))
    return Split("halves/1", ids, (first, second))


def make_predictions(accuracy: float, seed: int, seeds: int = 3) -> Predictions:
    rng, split = np.random.default_rng(seed), make_split()
    targets = np.arange(len(split.ids)) % 2
    frames = []
    for s in range(seeds):
        right = rng.random(len(targets)) < accuracy
        p = np.where(right, 0.8, 0.3)
        columns = {f"p_{c}": np.where(targets == k, p, 1 - p) for k, c in enumerate(CLASSES)}
        folds = np.where(np.arange(len(targets)) < len(targets) // 2, "1", "2")
        frames.append(
            pd.DataFrame(
                {
                    "utterance": split.ids,
                    "fold": folds,
                    "seed": s,
                    "speaker": [i[0] for i in split.ids],
                    "style": "",
                    "target": targets,
                    "epoch": 3,
                    **columns,
                }
            )
        )
    return Predictions(pd.concat(frames, ignore_index=True), CLASSES)


def make_run(runs: Path, model: str, accuracy: float, seed: int = 0, **changes: Any) -> tuple[dict[str, Any], Path]:
    """Write a bundle as `benchmark` does and give run.json's content and the folder."""
    predictions, split = make_predictions(accuracy, seed), make_split()
    config = RunConfig(model=model, dataset="made", trials=0, seeds=3, **changes)
    row_id = f"{abs(hash((model, accuracy, seed, config.trials))):010x}"[:10]
    run = {
        "row_id": row_id,
        "date_utc": "2026-01-01T00:00:00+00:00",
        "config": asdict(config),
        "model": {
            "name": model,
            "origin": "built in",
            "source_sha256": "0" * 64,
            "family": "CNN",
            "year": 2026,
            "paper": "Nobody, 2026",
            "diagnostic": False,
            "n_parameters": 10,
            "recipe": {
                "features": {"kind": "mfcc"},
                "window": 1.8,
                "hop": 0.2,
                "normalise": "none",
                "mixup": 0.0,
                "average": "logits",
                "optimiser": "adam",
                "class_weights": False,
                "epochs": 5,
            },
        },
        "corpus": {
            "name": "made",
            "label_set": "2class",
            "subset": "all",
            "classes": list(CLASSES),
            "n_utterances": len(split.ids),
            "n_tested": len(split.ids),
            "manifest_sha256": "1" * 64,
            "licence": "none",
            "synthetic": False,
            "unranked": "",
        },
        "protocol": {
            "name": split.protocol,
            "sha256": split.sha256,
            "flags": {"speaker_independent": True, "text_independent": False, "val_speaker_overlap": False},
            "overlaps": [],
            "leaky": False,
            "shuffled_labels": False,
            "covers": "all",
            "refit": False,
        },
        "compute": {"device": "cpu", "precision": "fp32", "workers": 1},
        "tuning": [{"fold": f.name, "scope": "fixed"} for f in split.folds],
        "frozen": [{"fold": f.name, "frozen_at": "2026-01-01T00:00:00+00:00"} for f in split.folds],
        "test_reads": [
            {"fold": f.name, "seed": s, "read_at": "2026-01-01T00:00:01+00:00"} for f in split.folds for s in range(3)
        ],
        "fits": [],
        "val_uar": 80.0,
        "timing": {"wall_seconds": 1.0, "train_seconds_per_fit": 0.5, "predict_rtf": 0.001},
        "environment": bundle.environment(),
        "figures": figures(predictions),
    }
    folder = runs / f"made-{model}-halves-{row_id}"
    return bundle.save(folder, dump(config), split, predictions, run), folder


def add(tmp_path: Path, model: str, accuracy: float, seed: int = 0) -> list[board_rows.Row]:
    run, folder = make_run(tmp_path / "runs", model, accuracy, seed)
    return leaderboard.add(tmp_path / "boards", board_rows.row_of(run, folder), tmp_path / "runs")[1]


def table(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "boards" / "made.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_that_cannot_be_told_apart_share_a_rank(tmp_path: Path) -> None:
    add(tmp_path, "strong", 0.9, 1)
    add(tmp_path, "equal", 0.9, 2)
    add(tmp_path, "weak", 0.6, 3)
    ranks = {row["model"]: row["rank"] for row in table(tmp_path)}
    assert ranks == {"strong": "1", "equal": "1", "weak": "3"}


def test_the_same_key_replaces_its_row_and_another_model_does_not(tmp_path: Path) -> None:
    add(tmp_path, "one", 0.7)
    add(tmp_path, "two", 0.8)
    add(tmp_path, "one", 0.9)
    rows = table(tmp_path)
    assert sorted(row["model"] for row in rows) == ["one", "two"]
    assert next(float(row["uar_pooled_mean"]) for row in rows if row["model"] == "one") > 80


def test_unranked_rows_come_last_without_a_rank(tmp_path: Path) -> None:
    run, folder = make_run(tmp_path / "runs", "cheat", 1.0)
    row = board_rows.row_of({**run, "protocol": {**run["protocol"], "leaky": True}}, folder)
    leaderboard.add(tmp_path / "boards", row, tmp_path / "runs")
    add(tmp_path, "honest", 0.6)
    rows = table(tmp_path)
    assert [(r["model"], r["rank"]) for r in rows] == [("honest", "1"), ("cheat", "")]
    assert rows[1]["unranked_reason"] == "leaky folds"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"flags": {"speaker_independent": False}}, "speaker-dependent protocol"),
        (
            {"overlaps": [{"fold": "1", "key": "session", "roles": ["val", "test"], "shared": 1}]},
            "the test part's recording sessions are in training or validation",
        ),
        ({"leaky": True}, "leaky folds"),
        ({"shuffled_labels": True}, "shuffled labels"),
    ],
)
def test_folds_that_help_the_model_are_not_ranked(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    run, folder = make_run(tmp_path, "model", 0.8)
    flags = {**run["protocol"]["flags"], **change.pop("flags", {})}
    row = board_rows.row_of({**run, "protocol": {**run["protocol"], "flags": flags, **change}}, folder)
    assert (row["ranked"], row["unranked_reason"]) == (False, reason)


def test_another_membership_is_another_table(tmp_path: Path) -> None:
    add(tmp_path, "here", 0.9)
    run, folder = make_run(tmp_path / "runs", "there", 0.6)
    other = {**run, "corpus": {**run["corpus"], "manifest_sha256": "2" * 64}}
    leaderboard.add(tmp_path / "boards", board_rows.row_of(other, folder), tmp_path / "runs")
    assert {row["model"]: row["rank"] for row in table(tmp_path)} == {"here": "1", "there": "1"}


def test_a_row_whose_bundle_is_gone_keeps_its_place_without_a_rank(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "gone", 0.9)
    add(tmp_path, "gone", 0.9)
    shutil.rmtree(folder)
    add(tmp_path, "here", 0.6)
    assert {row["model"]: row["rank"] for row in table(tmp_path)} == {"gone": "", "here": "1"}


def test_a_foreign_csv_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "boards" / "made.csv"
    path.parent.mkdir()
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StorageError, match="not a sertbench leaderboard"):
        add(tmp_path, "model", 0.9)
    assert path.read_text() == "a,b\n1,2\n"


def test_a_board_that_was_emptied_gets_its_rows_again_from_their_bundles(tmp_path: Path) -> None:
    add(tmp_path, "strong", 0.9, 1)
    (tmp_path / "boards" / "made.csv").write_text("")
    assert {r["model"] for r in add(tmp_path, "weak", 0.6, 2)} == {"strong", "weak"}
    assert (tmp_path / "boards" / "made.csv.damaged").exists()


def test_verify_passes_what_was_written(tmp_path: Path) -> None:
    add(tmp_path, "strong", 0.9, 1)
    add(tmp_path, "weak", 0.6, 2)
    findings, missing = verify.verify_table(tmp_path / "boards" / "made.csv", tmp_path / "runs")
    assert (findings, missing) == ([], [])


@pytest.mark.parametrize("column", ["uar_pooled_mean", "wa", "recall_sad", "rank", "protocol_sha256"])
def test_verify_names_the_cell_that_was_edited(tmp_path: Path, column: str) -> None:
    add(tmp_path, "model", 0.8)
    path = tmp_path / "boards" / "made.csv"
    rows = board_files.read(path)
    rows[0][column] = "99.99"
    board_files.write(path, rows)
    findings, _ = verify.verify_table(path, tmp_path / "runs")
    assert [(f.what, f.published) for f in findings] == [(column, "99.99")]


def test_verify_names_a_figure_that_does_not_follow(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    run = bundle.load_run(folder)
    run["figures"]["macro_f1"] = 99.0
    (folder / "run.json").write_text(json.dumps(run))
    assert [f.what for f in verify.verify_bundle(folder)] == ["macro_f1"]


def test_verify_finds_altered_and_missing_predictions(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.iloc[1:].to_parquet(folder / "predictions.parquet", index=False)
    found = [f.what for f in verify.verify_bundle(folder)]
    assert "predictions.parquet" in found
    assert "utterances scored with seed 0" in found
    (folder / "predictions.parquet").unlink()
    with pytest.raises(BundleError, match=r"predictions\.parquet cannot be read"):
        verify.verify_bundle(folder)


def test_verify_finds_a_test_part_read_before_freezing_or_twice(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    run = bundle.load_run(folder)
    run["test_reads"][0]["read_at"] = "2025-01-01T00:00:00+00:00"
    run["test_reads"].append(run["test_reads"][1])
    (folder / "run.json").write_text(json.dumps(run))
    assert [f.found for f in verify.verify_bundle(folder)] == ["read after freezing", "read once"]


def test_verify_finds_a_changed_split(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    split = pd.read_parquet(folder / "split.parquet")
    split.loc[0, "role"] = "val"
    split.to_parquet(folder / "split.parquet", index=False)
    found = [f.what for f in verify.verify_bundle(folder)]
    assert found == ["split.parquet", "the split's hash", "val_speaker_overlap"]


def rewrite(folder: Path, frame: pd.DataFrame) -> None:
    """Put other predictions into a bundle, with the hash and the figures that they give."""
    run = bundle.load_run(folder)
    frame.to_parquet(folder / "predictions.parquet", index=False)
    run["files"]["predictions.parquet"] = files.sha256(folder / "predictions.parquet")
    if not fault(frame, CLASSES):
        run["figures"] = figures(Predictions(frame, CLASSES))
    bundle.save_run(folder, run)


def test_verify_finds_a_file_without_a_hash_and_a_validation_score_that_the_fits_do_not_give(
    tmp_path: Path, made_bundle
) -> None:
    folder = made_bundle(tmp_path)
    assert verify.verify_bundle(folder) == []
    run = bundle.load_run(folder)
    hashes = {k: v for k, v in run["files"].items() if k != "config.toml"}
    bundle.save_run(folder, {**run, "files": hashes, "val_uar": 91.0})
    assert [(f.what, f.published) for f in verify.verify_bundle(folder)] == [
        ("config.toml", "without a hash"), ("val_uar", "91.00"),
    ]  # fmt: skip


def test_verify_finds_seeds_that_were_left_out(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    frame = pd.read_parquet(folder / "predictions.parquet")
    rewrite(folder, frame[frame["seed"] != 1])
    assert [str(f).partition(": ")[2] for f in verify.verify_bundle(folder)] == [
        "the seeds of the predictions is '0 2', but should be '0 1 2'"
    ]
    run = bundle.load_run(folder)
    bundle.save_run(folder, {**run, "failures": [{"fold": "1", "seed": 1, "reason": "made to fail"}]})
    assert verify.verify_bundle(folder) == []


def test_verify_finds_predictions_without_a_reading_in_the_log(tmp_path: Path) -> None:
    run, folder = make_run(tmp_path / "runs", "model", 0.8)
    bundle.save_run(folder, {**run, "test_reads": run["test_reads"][1:]})
    assert [f.published for f in verify.verify_bundle(folder)] == ["not in the log"]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("p_sad", np.nan, "has probabilities that are no numbers"),
        ("target", 0, "for one seed than for another"),
        ("target", 9, "has targets that are no classes"),
        ("speaker", "x", "for one seed than for another"),
        ("utterance", "x", "for one seed than for another"),
    ],
)
def test_predictions_that_are_none_are_found_and_never_ranked(
    tmp_path: Path, column: str, value: Any, what: str
) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.9)
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.loc[frame["seed"] == 1, column] = value
    rewrite(folder, frame)
    assert any(what in f.published for f in verify.verify_bundle(folder))
    assert [
        r["rank"] for r in leaderboard.ranked([board_rows.row_from(folder)], Bundles(tmp_path, tmp_path / "runs"))
    ] == [""]


def test_a_bundle_about_fewer_utterances_has_no_rank_and_stops_no_other(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "best", 0.95, 3)
    frame = pd.read_parquet(folder / "predictions.parquet")
    rewrite(folder, frame[frame["utterance"] != "a00"])
    for seed, model in enumerate(("strong", "weak")):
        make_run(tmp_path / "runs", model, 0.9 - 0.3 * seed, seed)
    bundles = Bundles(tmp_path, tmp_path / "runs")
    found = {r["model"]: r["rank"] for r in leaderboard.ranked([board_rows.row_from(b) for b in bundles], bundles)}
    assert found == {"best": "", "strong": 1, "weak": 2}


def test_verify_finds_flags_that_the_speakers_belie_and_a_wrong_count(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    rewrite(folder, pd.read_parquet(folder / "predictions.parquet").assign(speaker="a"))
    run = bundle.load_run(folder)
    run["corpus"]["n_tested"] = 999
    bundle.save_run(folder, run)
    assert [f.what for f in verify.verify_bundle(folder)] == [
        "the number of test utterances", "speaker_independent", "val_speaker_overlap",
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["timing", "files", "fits", "environment"])
def test_a_damaged_record_is_an_error_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    add(tmp_path, "model", 0.8)
    folder = next((tmp_path / "runs").iterdir())
    run = bundle.load_run(folder)
    bundle.save_run(
        folder, {k: v for k, v in run.items() if k != missing} | ({"fits": [0]} if missing == "fits" else {})
    )
    options = ("--runs", str(tmp_path / "runs"))
    assert main(["verify", str(tmp_path / "boards" / "made.csv"), *options]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert main(["publish", "--all", *options, "--leaderboards", str(tmp_path / "boards")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not list(tmp_path.glob("boards/bundles/*/run.json"))


def test_verify_command_says_what_is_wrong_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = make_run(tmp_path / "runs", "model", 0.8)
    assert main(["verify", str(folder)]) == 0
    (folder / "config.toml").write_text("changed")
    assert main(["verify", str(folder)]) == 1
    assert "WRONG" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "not a result bundle" in capsys.readouterr().err


def test_compare_tells_different_models_apart_and_equal_ones_not(tmp_path: Path) -> None:
    _, strong = make_run(tmp_path, "strong", 0.9, 1)
    _, equal = make_run(tmp_path, "equal", 0.9, 2)
    _, weak = make_run(tmp_path, "weak", 0.6, 3)
    assert "strong is better than weak" in comparison.compare(strong, weak)
    assert "No difference can be told" in comparison.compare(strong, equal)


def test_compare_warns_of_identical_predictions_and_unequal_budgets(tmp_path: Path) -> None:
    _, one = make_run(tmp_path, "one", 0.8, 1)
    _, two = make_run(tmp_path, "two", 0.8, 1)
    run = bundle.load_run(two)
    run["config"]["trials"] = 7
    bundle.save_run(two, run)
    words = comparison.compare(one, two)
    assert "the predictions are identical" in words
    assert "unequal trials: one 0, two 7." in words


def epochs(folder: Path, asked: int | None, most: int, trained: bool = True) -> None:
    """Make a run one of `most` epochs, with the `--epochs` that were asked for; or one of a model without epochs."""
    run = bundle.load_run(folder)
    run["config"]["epochs"], run["model"]["recipe"]["epochs"] = asked, most
    run["fits"] = [{"history": [{"epoch": 1}] if trained else []}]
    bundle.save_run(folder, run)


def test_compare_speaks_of_epochs_where_they_mean_something(tmp_path: Path) -> None:
    _, one = make_run(tmp_path, "one", 0.8, 1)
    _, two = make_run(tmp_path, "two", 0.7, 2)
    epochs(one, asked=2, most=2)
    epochs(two, asked=None, most=50)
    assert "Caution: unequal epochs: one at most 2, two at most 50." in comparison.compare(one, two)
    epochs(two, asked=None, most=50, trained=False)  # a support vector machine
    assert "epochs" not in comparison.compare(one, two)
    epochs(two, asked=2, most=2)
    assert "epochs" not in comparison.compare(one, two)
    epochs(one, asked=None, most=100)
    epochs(two, asked=None, most=50)  # each its own recipe's
    assert "epochs" not in comparison.compare(one, two)


def test_compare_says_that_rows_of_few_seeds_are_provisional(tmp_path: Path) -> None:
    _, one = make_run(tmp_path, "one", 0.8, 1)
    run, two = make_run(tmp_path, "two", 0.7, 2)
    assert "Caution: fewer than five seeds (one 3, two 3): provisional." in comparison.compare(one, two)
    bundle.save(two, "", make_split(), (many := make_predictions(0.7, 2, 5)), {**run, "figures": figures(many)})
    assert "Caution: fewer than five seeds (one 3): provisional." in comparison.compare(one, two)


def test_compare_says_why_one_of_the_two_is_not_ranked(tmp_path: Path) -> None:
    _, a = make_run(tmp_path, "a", 0.8, 1)
    run, b = make_run(tmp_path, "b", 0.7, 2)
    assert "is not ranked" not in comparison.compare(a, b)
    bundle.save_run(b, {**run, "protocol": {**run["protocol"], "leaky": True}})
    assert "Caution: b is not ranked: leaky folds." in comparison.compare(a, b)


def test_compare_refuses_another_membership(tmp_path: Path) -> None:
    _, a = make_run(tmp_path, "a", 0.8)
    run, b = make_run(tmp_path, "b", 0.8)
    frame = pd.read_parquet(b / "predictions.parquet")
    fewer = Predictions(frame[frame["utterance"] != "a00"], CLASSES)
    bundle.save(b, "", make_split(), fewer, run)
    with pytest.raises(BundleError, match=r"tested on 160 utterances, .* on 159, and 1 are in one of them only"):
        comparison.compare(a, b)


def test_compare_speaks_of_folds_where_both_have_the_same_and_several(tmp_path: Path) -> None:
    _, a = make_run(tmp_path, "a", 0.9, 1)
    _, b = make_run(tmp_path, "b", 0.7, 2)
    assert "Over the folds, a is better" in comparison.compare(a, b)
    frames = [pd.read_parquet(folder / "predictions.parquet") for folder in (a, b)]
    rewrite(b, frames[1].assign(fold=np.where(frames[1]["utterance"].str[1:].astype(int) % 2, "1", "2")))
    said = comparison.compare(a, b)
    assert "Over the folds" not in said
    assert "their folds differ" in said
    for folder, frame in zip((a, b), frames, strict=True):
        rewrite(folder, frame.assign(fold="1"))
    said = comparison.compare(a, b)
    assert said.startswith("UAR: a")
    assert "Over the folds" not in said


def test_compare_refuses_a_replay_whose_seeds_test_different_utterances(tmp_path: Path) -> None:
    _, a = make_run(tmp_path, "a", 0.9, 1)
    run, b = make_run(tmp_path, "b", 0.7, 2)
    bundle.save_run(b, {**run, "kind": "replay"})
    with pytest.raises(BundleError, match="is a replayed claim, whose seeds test different utterances"):
        comparison.compare(a, b)


def test_compare_finds_bundles_by_row_id_and_lists_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_a, _), (run_b, b) = make_run(tmp_path, "a", 0.8), make_run(tmp_path, "b", 0.7)
    assert main(["compare", run_a["row_id"], b.name, "--runs", str(tmp_path)]) == 0
    assert "UAR: a" in capsys.readouterr().out
    assert main(["compare", "a", "b", "--runs", str(tmp_path)]) == 0
    assert "UAR: a" in capsys.readouterr().out
    assert main(["compare", "nothing", run_b["row_id"], "--runs", str(tmp_path)]) == 2
    assert b.name in capsys.readouterr().err
    make_run(tmp_path, "b", 0.6)
    assert main(["compare", "a", "b", "--runs", str(tmp_path)]) == 2
    assert "b has several runs" in capsys.readouterr().err


def test_figures_are_pooled_per_seed_and_averaged_over_seeds() -> None:
    predictions = make_predictions(0.8, 5)
    y = predictions.column("target")
    per_seed = [np.mean([(labels[y == c] == c).mean() for c in (0, 1)]) for labels in predictions.labels]
    found = figures(predictions)
    assert found["uar_pooled_mean"] == round(100 * float(np.mean(per_seed)), 2)
    assert found["uar_pooled_seed_sd"] == round(100 * float(np.std(per_seed, ddof=1)), 2)
    assert found["n_utt_scored"] == len(y)
    assert found["worst_speaker"] in SPEAKERS


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    predictions = make_predictions(0.8, 5)
    shuffled = Predictions(predictions.frame.sample(frac=1.0, random_state=0), CLASSES)
    assert figures(shuffled) == figures(predictions)


def test_one_seed_has_no_seed_deviation() -> None:
    assert figures(make_predictions(0.8, 5, seeds=1))["uar_pooled_seed_sd"] is None


def test_a_degenerate_classifier_raises_an_alarm(tmp_path: Path) -> None:
    predictions = make_predictions(0.8, 5)
    constant = predictions.frame.assign(p_angry=0.9, p_sad=0.1)
    assert figures(Predictions(constant, CLASSES))["alarms"] == "answers angry to every utterance"
    three = Predictions(predictions.frame.assign(p_calm=0.0), (*CLASSES, "calm"))
    assert figures(three)["alarms"] == "never answers calm"
    assert figures(predictions)["alarms"] == ""


def test_identical_predictions_of_two_models_are_named(tmp_path: Path) -> None:
    add(tmp_path, "one", 0.8, 1)
    add(tmp_path, "other", 0.8, 2)
    add(tmp_path, "twin", 0.8, 1)
    found = {row["model"]: row["identical_to"] for row in table(tmp_path)}
    assert found == {"one": "twin", "twin": "one", "other": ""}


def test_a_cell_about_training_says_what_the_folds_chose(tmp_path: Path) -> None:
    run, folder = make_run(tmp_path, "a", 0.8)
    same = [{**frozen, "choice": {"optimiser": "sgd", "mixup": 0.25}} for frozen in run["frozen"]]
    row = board_rows.row_of({**run, "frozen": same}, folder)
    assert (row["optimiser"], row["mixup"], row["norm"]) == ("sgd", 0.25, "none")
    other = [same[0], *run["frozen"][1:]]
    assert board_rows.row_of({**run, "frozen": other}, folder)["mixup"] == "tuned"
