"""The replication board: what was published, what a replay of its protocol gives, and the honest score, side by side.

`leaderboards/replication/<claim>.csv` has one row per (model, variant, corpus, subset, split, budget), derived from the
replay's bundle and from the bundle or row of an honest run. Nothing on it is ever ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sertbench import board_files, board_rows
from sertbench.board_rows import Row, key_of, text_of
from sertbench.bundles import Bundles
from sertbench.claim import SCORES
from sertbench.errors import BundleError, StorageError
from sertbench.results import percent
from sertbench.scores import score

COLUMNS = (
    "claim", "model", "called", "variant", "corpus", "label_set", "subset", "split", "board", "ranked", "dishonest",
    *(f"{kind}_{name}{sd}" for name in SCORES for kind, sds in (
        ("published", ("", "_sd")), ("replayed", ("", "_sd")), ("last_epoch", ("",)), ("honest", ("",)),
        ("optimism", ("",)),
    ) for sd in sds),
    "n_utt_before", "n_utt_kept", "counts_asserted", "n_utt_scored", "n_folds", "n_seeds", "seeds", "max_epochs",
    "epoch_rule", "split_rule", "differs", "source", "honest_protocol", "honest_seeds", "honest_trials",
    "honest_row_id", "honest_bundle",
    "features", "window_seconds", "hop_seconds", "norm", "mixup", "batch_size", "device", "precision",
    "train_seconds_per_fit", "row_id", "date_utc", "bundle", "schema_version", "sertbench_version", "git_sha", "dirty",
    "python", "torch", "os", "claim_sha256", "corpus_manifest_sha256", "protocol_sha256", "model_code_sha256",
    "predictions_sha256", "run_json_sha256",
)  # fmt: skip
KEY = (
    "claim", "model", "variant", "corpus", "label_set", "subset", "split", "n_seeds", "max_epochs", "device",
    "precision",
)  # fmt: skip
HONEST = {"wa": "wa", "ua": "uar_pooled_mean", "macro_f1": "macro_f1", "weighted_f1": "weighted_f1"}
FOLDER = "replication"  # of the boards, within the leaderboards


def figures(frame: pd.DataFrame, classes: Sequence[str], rule: str) -> dict[str, Any]:
    """The replayed scores in percent, mean and SD over seeds, of the reported epoch and of the last one.

    `frame` has per seed, fold and test utterance the target and the probabilities p_<class> and last_<class>. `rule`:
    "pooled" over the folds of a seed, or the "mean of folds".
    """
    found: dict[str, Any] = {}
    for kind, prefix in (("replayed", "p"), ("last_epoch", "last")):
        per_seed = [seed_scores(part, classes, rule, prefix) for _, part in frame.groupby("seed", sort=True)]
        for name in SCORES:
            values = [scores[name] for scores in per_seed]
            found[f"{kind}_{name}"] = percent(float(np.mean(values)))
            if kind == "replayed":
                found[f"{kind}_{name}_sd"] = percent(float(np.std(values, ddof=1))) if len(values) > 1 else None
    seeds = sorted(int(s) for s in frame["seed"].unique())
    found["n_utt_scored"] = round(len(frame) / len(seeds))
    found["n_folds"] = round(frame["fold"].nunique() / len(seeds))
    found["n_seeds"] = len(seeds)
    found["seeds"] = " ".join(map(str, seeds))
    return found


def seed_scores(part: pd.DataFrame, classes: Sequence[str], rule: str, prefix: str) -> dict[str, float]:
    """The scores of one seed, by their names here."""
    groups = [part] if rule == "pooled" else [fold for _, fold in part.groupby("fold")]
    columns = [f"{prefix}_{c}" for c in classes]
    per_group = [score(g["target"].to_numpy(), g[columns].to_numpy().argmax(1), len(classes)) for g in groups]
    return {n: float(np.mean([getattr(s, "uar" if n == "ua" else n) for s in per_group])) for n in SCORES}


def row_of(run: Mapping[str, Any], folder: Path, honest: Mapping[str, Any] | None) -> Row:
    """The row of a replay's bundle beside an honest row, if there is one: every cell follows from the two."""
    claim, model, corpus, recipe = run["claim"], run["model"], run["corpus"], run["model"]["recipe"]
    row: Row = {
        "claim": claim["name"],
        "model": model["name"],
        "called": model["called"],
        "variant": claim["variant"],
        "corpus": corpus["name"],
        "label_set": corpus["label_set"],
        "subset": corpus["subset"],
        "split": claim["split"],
        "board": "replication",
        "ranked": False,
        "dishonest": "; ".join(run["dishonest"]),
        **{f"published_{n}": published(claim, n, 0) for n in SCORES},
        **{f"published_{n}_sd": published(claim, n, 1) for n in SCORES},
        **run["figures"],
        "n_utt_before": corpus["n_before"],
        "n_utt_kept": corpus["n_utterances"],
        "counts_asserted": corpus["counts_asserted"],
        "max_epochs": recipe["epochs"],
        "epoch_rule": claim["epoch_rule"],
        "split_rule": claim["split_rule"],
        "differs": "; ".join(claim["differs"]),
        "source": claim["published"].get("source", ""),
        "features": recipe["features"]["kind"] if recipe["features"] else "none",
        "window_seconds": recipe["window"],
        "hop_seconds": None if recipe["hop"] is None else f"{recipe['hop']:.7g}",
        "norm": recipe["normalise"],
        "mixup": recipe["mixup"],
        "batch_size": recipe["batch_size"],
        "device": run["compute"]["device"],
        "precision": run["compute"]["precision"],
        "train_seconds_per_fit": run["timing"]["train_seconds_per_fit"],
        **board_rows.provenance(run, folder),
        "claim_sha256": claim["sha256"],
    }
    return {**row, **honest_cells(row, honest)}


def published(claim: Mapping[str, Any], name: str, which: int) -> float | None:
    """The published mean (0) or SD (1) of a score, if there is one."""
    said = claim["published"].get(name, ())
    return float(said[which]) if len(said) > which else None


def honest_cells(row: Mapping[str, Any], honest: Mapping[str, Any] | None) -> Row:
    """The honest figures, and by how much the replayed ones exceed them; none without an honest row."""
    if honest is None:
        return {}
    cells: Row = {}
    for name, column in HONEST.items():
        cells[f"honest_{name}"] = float(honest[column])
        cells[f"optimism_{name}"] = round(float(row[f"replayed_{name}"]) - float(honest[column]), 2)
    cells["honest_protocol"] = honest["protocol"]
    cells["honest_seeds"] = honest["n_seeds"]
    cells["honest_trials"] = honest["hpo_trials"]
    cells["honest_row_id"] = honest["row_id"]
    cells["honest_bundle"] = honest["bundle"]
    return cells


def find_honest(wanted: Mapping[str, Any], protocol: str, boards: Path, runs: Path) -> Row | None:
    """The newest ranked row with these cells, in the leaderboards or the runs.

    One under `protocol`, the corpus's default, goes before others. `wanted` names the corpus, the features and the hash
    of the manifest, too: a model on other features is another one, and a row of other utterances is no comparison.
    """
    rows = board_files.read(boards / f"{wanted['corpus']}.csv")
    for folder in Bundles.of(runs, boards):
        with suppress(BundleError):  # not a whole bundle: so not an honest row either
            rows.append(board_rows.row_from(folder))
    cells = {name: text_of(value) for name, value in {**wanted, "ranked": True}.items()}
    same = [r for r in rows if all(text_of(r.get(name)) == value for name, value in cells.items())]
    return max(same, key=lambda r: (r["protocol"] == protocol, str(r["date_utc"])), default=None)


def path_of(boards: Path, claim: str) -> Path:
    """The claim's file."""
    return boards / FOLDER / f"{claim}.csv"


def holds(path: Path) -> bool:
    """Whether a CSV is of the replication board."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().startswith(f"{COLUMNS[0]},")
    except (OSError, UnicodeDecodeError):
        return False


def add(boards: Path, row: Row) -> Path:
    """Put a row into its claim's file, in place of an older one of the same key. Safe against other processes."""
    path = path_of(boards, row["claim"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with board_files.locked(path):
            old = [r for r in board_files.read(path, KEY) if key_of(r, KEY) != key_of(row, KEY)]
            rows = sorted([*old, row], key=lambda r: key_of(r, ("corpus", "label_set", "split", "subset", "model")))
            board_files.write(path, rows, COLUMNS)
    except OSError as error:
        raise StorageError(
            f"cannot write the replication board {path}: {error.strerror or error}. "
            "Make the folder writable or choose another one with --leaderboards; the bundle is kept"
        ) from error
    return path
