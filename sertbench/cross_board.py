"""The cross-corpus board: one row per model, training corpora and test corpus, never mixed with the main boards.

`leaderboards/cross.csv` is derived from the bundles in `<runs>/cross/`. A row names the shared classes and what of each
corpus's labels they are. Rows are not ranked: the training corpora differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sertbench import board_files, board_rows, bundle
from sertbench.board_files import CROSS
from sertbench.board_rows import Row, key_of
from sertbench.bundles import Bundles
from sertbench.cross_corpus import corpus_of
from sertbench.errors import BundleError, StorageError
from sertbench.findings import differing_cells, doubled, without_bundle
from sertbench.results import Predictions, figures

KEPT = (
    "uar_pooled_mean", "uar_ci95_lo", "uar_ci95_hi", "uar_pooled_seed_sd", "wa", "macro_f1", "weighted_f1",
    "worst_speaker", "worst_speaker_uar", "ece", "nll", "ci_unit", "n_utt_scored", "n_seeds", "seeds", "alarms",
)  # fmt: skip
COLUMNS = (
    "train", "test", "model", "features", "classes", "kind", "protocol",
    *KEPT[:7], "chance_uar", "recall_*", *KEPT[7:12], "n_utt_train", "n_utt_val", *KEPT[12:], "val_uar",
    "label_mapping",
    "board", "ranked", "unranked_reason", "hpo_trials", "max_epochs", "selection_on", "speaker_independent", "leaky",
    "synthetic", "window_seconds", "hop_seconds", "norm", "device", "precision", "n_params", "features_licence",
    "exposure",
    "row_id", "date_utc", "bundle", "schema_version", "sertbench_version", "git_sha", "dirty", "python", "torch", "os",
    "corpus_manifest_sha256", "protocol_sha256", "model_code_sha256", "predictions_sha256", "run_json_sha256",
)  # fmt: skip
KEY = (
    "train", "test", "model", "features", "classes", "label_mapping", "protocol", "hpo_trials", "seeds",
    "max_epochs", "device", "precision", "leaky", "corpus_manifest_sha256",
)  # fmt: skip


def rows_of(run: Mapping[str, Any], folder: Path) -> list[Row]:
    """A row per test corpus of a bundle: every cell follows from run.json, the predictions and the split."""
    cross, model, corpus, protocol = run["cross"], run["model"], run["corpus"], run["protocol"]
    recipe, config, within = model["recipe"], run["config"], run["cross"]["kind"] == "within"
    split = pd.read_parquet(folder / "split.parquet")
    frame = bundle.load_predictions(folder, run).frame
    failed = len(run.get("failures", ()))
    reasons = ["cross-corpus"] + [f"incomplete: {failed} fits failed"] * bool(failed)
    found = []
    for test in cross["test"]:
        exposure, exposed = cross.get("exposure", {}).get(test, ("", ""))  # older bundles do not say
        mine = frame if within else frame[frame["utterance"].map(corpus_of) == test]
        scores = figures(Predictions(mine, tuple(corpus["classes"])))
        present = mine["target"].nunique()
        found.append(
            {
                "train": "+".join(cross["train"]),
                "test": test,
                "model": model["name"],
                "features": board_rows.features_of(run),
                "classes": " ".join(corpus["classes"]),
                "kind": cross["kind"],
                "protocol": protocol["name"],
                **{name: scores[name] for name in KEPT},
                "seeds": " ".join(map(str, range(config["seeds"]))),  # asked for, so a completed run replaces its row
                **{name: value for name, value in scores.items() if name.startswith("recall_")},
                "chance_uar": round(100 / present, 2),
                "n_utt_train": None if within else int((split["role"] == "train").sum()),
                "n_utt_val": None if within else int((split["role"] == "val").sum()),
                "val_uar": run["val_uar"],
                "label_mapping": mapping_text(cross["mapping"]),
                "board": "cross",
                "ranked": False,
                "unranked_reason": "; ".join([*reasons, *filter(None, [exposed])]),
                "hpo_trials": config["trials"],
                "max_epochs": recipe["epochs"],
                "selection_on": "other speakers of the training corpora",
                "speaker_independent": protocol["flags"]["speaker_independent"],
                "leaky": protocol["leaky"],
                "synthetic": corpus["synthetic"],
                "window_seconds": recipe["window"],
                "hop_seconds": recipe["hop"],
                "norm": board_rows.as_fitted(run, "normalise"),
                "device": run["compute"]["device"],
                "precision": run["compute"]["precision"],
                "n_params": model["n_parameters"],
                "features_licence": run.get("features", {}).get("licence", ""),
                "exposure": exposure,
                **board_rows.provenance(run, folder),
                "row_id": f"{run['row_id']}-{test}",
            }
        )
    return found


def mapping_text(mapping: Mapping[str, Any]) -> str:
    """The label mapping in a cell: which classes of each corpus are which shared one, and what is left out."""
    return " | ".join(f"{name} ({said['label_set']}): {mapping_of(said)}" for name, said in mapping.items())


def mapping_of(said: Mapping[str, Any]) -> str:
    """The label mapping of one corpus."""
    used = ", ".join(f"{c} = {' or '.join(own)}" for c, own in said["classes"].items())
    return used + (f"; without {', '.join(said['left_out'])}" if said["left_out"] else "")


def add(boards: Path, rows: Sequence[Row]) -> Path:
    """Put rows into the board, in place of older ones of the same key. Safe against other processes."""
    return merged(boards, rows, lambda _: True)


def merged(boards: Path, rows: Sequence[Row], keep: Callable[[Row], bool]) -> Path:
    """As `add`, with those of the older rows alone that are to be kept."""
    path = boards / CROSS
    try:
        boards.mkdir(parents=True, exist_ok=True)
        with board_files.locked(path):
            again = {row["row_id"] for row in rows}
            old = [row for row in board_files.read(path, KEY) if keep(row) and row["row_id"] not in again]
            new = {key_of(row, KEY): row for row in [*old, *rows]}
            board_files.write(path, ordered(list(new.values())), COLUMNS)
    except OSError as error:
        raise StorageError(
            f"cannot write the cross-corpus board {path}: {error.strerror or error}. "
            "Make the folder writable or choose another one with --leaderboards; the bundles are kept"
        ) from error
    return path


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of the board."""
    return sorted(rows, key=lambda r: key_of(r, ("classes", "test", "train", "model", "features", "row_id")))


def derived(bundles: Bundles) -> tuple[list[Row], list[str]]:
    """The rows that the bundles give, the newest of each key, and what could not be used, in sentences."""
    found: list[list[Row]] = []
    left_out = []
    for folder in bundles.crossed:
        try:
            with bundle.reading(folder):
                found.append(rows_of(bundle.load_run(folder), folder))
        except (BundleError, OSError) as error:
            left_out.append(str(error))
    found.sort(key=lambda rows: [(str(row["date_utc"]), row["row_id"]) for row in rows])
    newest = {key_of(row, KEY): row for rows in found for row in rows}
    return ordered(list(newest.values())), left_out


def rebuild(boards: Path, bundles: Bundles) -> tuple[list[Path], list[str]]:
    """Write the board anew from the bundles, if there is anything for it; rows whose bundle is not at hand are kept."""
    looked_at = {folder.name for folder in bundles.crossed}  # before a run can write more
    rows, notes = derived(bundles)
    if not rows and not (boards / CROSS).exists():
        return [], notes
    path = merged(boards, rows, lambda row: row["bundle"] not in looked_at)
    lost = [row for row in board_files.read(path, KEY) if not bundles.crossed.find(row)]
    return [path], [*notes, *(f"{CROSS}: {without_bundle(row)}, so it is kept" for row in lost)]


def check(boards: Path, bundles: Bundles) -> Iterator[str]:
    """Where the published board is not what the bundles give, in sentences."""
    published = board_files.read(boards / CROSS, KEY)
    old = {r["row_id"]: r for r in published}
    rows, left_out = derived(bundles)
    new = {r["row_id"] for r in rows}
    yield from left_out
    yield from map(str, doubled(boards / CROSS, published))
    for row in old.values():
        if not bundles.crossed.find(row):
            yield f"{CROSS}: {without_bundle(row)}"
        elif row["row_id"] not in new:
            yield f"{CROSS}: the row {row['row_id']} ({row['model']}) is not what the bundles give"
    for row in rows:
        if row["row_id"] in old:
            yield from map(str, differing_cells(old[row["row_id"]], row))
        else:
            yield f"{CROSS}: the row {row['row_id']} ({row['model']}) of the bundle {row['bundle']} is missing"
