"""The rows of a leaderboard: their columns, what identifies them, and how they follow from finished bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertbench import bundle, files, quoted
from sertbench.bundles import Bundles
from sertbench.errors import BundleError, counted
from sertbench.feature_spec import Features

Row = dict[str, Any]

# A name ending in "_*" stands for one column per fold, class or style.
COLUMNS = (
    "rank", "model", "corpus", "label_set", "subset", "protocol", "board", "ranked", "unranked_reason",
    "uar_pooled_mean", "uar_ci95_lo", "uar_ci95_hi", "uar_pooled_seed_sd", "wa", "macro_f1", "weighted_f1",
    "uar_foldmean", "uar_fold_sd", "uar_fold_*", "recall_*", "uar_style_*", "worst_speaker", "worst_speaker_uar",
    "val_uar", "val_test_gap", "oracle_gap", "optimism_*", "ece", "nll", "ci_unit", "alarms", "identical_to",
    *quoted.COLUMNS,
    "n_utt_expected", "n_utt_scored", "n_excluded", "n_folds", "n_seeds", "seeds",
    "hpo_scope", "hpo_trials", "max_epochs", "selection_metric", "selection_on", "refit",
    "speaker_independent", "text_independent", "val_speaker_overlap", "leaky", "shuffled_labels", "synthetic",
    "model_family", "model_year", "paper", "n_params", "features",
    "features_version", "features_licence", "exposure", "window_seconds", "hop_seconds", "norm", "mixup",
    "average", "optimiser", "class_weighting", "modality", "sample_rate",
    "device", "precision", "train_seconds_per_fit", "wall_seconds", "predict_rtf",
    "batch_parts_max", "row_id", "date_utc", "bundle", "schema_version", "sertbench_version", "git_sha", "dirty",
    "python", "torch", "optuna", "os",
    "corpus_manifest_sha256", "excluded_sha256", "protocol_sha256", "model_code_sha256", "predictions_sha256",
    "run_json_sha256", "licence",
)  # fmt: skip

KEY = (
    "model", "features", "corpus", "label_set", "subset", "protocol", "hpo_trials", "seeds", "max_epochs", "device",
    "precision", "leaky", "shuffled_labels", "protocol_sha256", "corpus_manifest_sha256", "excluded_sha256",
)  # fmt: skip
TABLE = ("corpus", "label_set", "subset", "protocol_sha256", "corpus_manifest_sha256", "excluded_sha256")
BOARDS = ("main", "replication", "diagnostic")
NUMBERS = ("uar_pooled_mean", "uar_ci95_lo", "uar_ci95_hi", "n_utt_scored", "n_seeds", "hpo_trials")  # in every row
SETTLED_SEEDS = 5  # rows of fewer are provisional: their interval knows too little of the seeds' luck
NEEDED = (*KEY, *NUMBERS, "row_id", "board", "bundle", "ranked")


def budget_in_words(row: Mapping[str, Any]) -> str:
    """What a row was allowed to spend.

    >>> budget_in_words({"hpo_trials": "0", "n_seeds": "1", "max_epochs": "50"})
    '0 trials, 1 seed, 50 epochs'
    """
    things = {"hpo_trials": "trial", "n_seeds": "seed", "max_epochs": "epoch"}
    return ", ".join(counted(int(row[name]), noun) for name, noun in things.items() if row[name] not in ("", None))


def is_provisional(row: Mapping[str, Any]) -> bool:
    """Whether a row is of too few seeds to be settled."""
    return int(row["n_seeds"]) < SETTLED_SEEDS


def fewer_seeds(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """What to say beside a provisional row that has fewer seeds than another one of its table; else empty.

    >>> fewer_seeds({"n_seeds": "1"}, [{"n_seeds": "1"}, {"n_seeds": "3"}])
    '1 seed'
    """
    fewer = int(row["n_seeds"]) < max(int(r["n_seeds"]) for r in rows)
    return counted(int(row["n_seeds"]), "seed") if fewer and is_provisional(row) else ""


def provisional_in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that a table of these rows needs; empty if all are settled.

    >>> provisional_in_words([{"n_seeds": "3"}, {"n_seeds": "5"}])
    '1 of 2 rows is of fewer than five seeds: provisional.'
    """
    n = sum(map(is_provisional, rows))
    if not n:
        return ""
    which = f"{n} of {len(rows)} rows {'is' if n == 1 else 'are'}" if n < len(rows) else "All rows are"
    return f"{which if len(rows) > 1 else 'The row is'} of fewer than five seeds: provisional."


def row_of(run: Mapping[str, Any], folder: Path) -> Row:
    """The row of a finished bundle: every cell follows from run.json."""
    model, corpus, protocol, config = run["model"], run["corpus"], run["protocol"], run["config"]
    recipe, figures, flags = model["recipe"], run["figures"], protocol["flags"]
    extractor = run.get("features", {})  # older bundles have none
    scopes = {t["scope"] for t in run["tuning"]}
    reason = reason_of(run)
    return {
        "model": model["name"],
        "corpus": corpus["name"],
        "label_set": corpus["label_set"],
        "subset": corpus["subset"],
        "protocol": protocol["name"],
        "board": "diagnostic" if model["diagnostic"] or protocol["shuffled_labels"] else "main",
        "ranked": not reason,
        "unranked_reason": reason,
        **figures,
        "seeds": " ".join(map(str, range(config["seeds"]))),  # that were asked for: an incomplete row is replaced by it
        "val_uar": run["val_uar"],
        "val_test_gap": round(run["val_uar"] - figures["uar_foldmean"], 2),
        **{k if k == "oracle_gap" else f"optimism_{k}": v for k, v in run.get("optimism", {}).items()},
        "n_utt_expected": corpus["n_tested"],
        "n_excluded": len(corpus.get("excluded", ())),
        "hpo_scope": "perfold" if "perfold" in scopes else "fixed",
        "hpo_trials": config["trials"],
        "max_epochs": recipe["epochs"],
        "selection_metric": "uar",
        "selection_on": "val",
        "refit": protocol["refit"],
        **{name: flags[name] for name in ("speaker_independent", "text_independent", "val_speaker_overlap")},
        "leaky": protocol["leaky"],
        "shuffled_labels": protocol["shuffled_labels"],
        "synthetic": corpus["synthetic"],
        "model_family": model["family"],
        "model_year": model["year"] or None,
        "paper": model["paper"],
        "n_params": model["n_parameters"],
        "features": features_of(run),
        "features_version": " ".join(f"{name} {version}" for name, version in extractor.get("versions", {}).items()),
        "features_licence": extractor.get("licence", ""),
        "exposure": extractor.get("exposure", ""),
        "window_seconds": recipe["window"],
        "hop_seconds": recipe["hop"],
        "norm": as_fitted(run, "normalise"),
        "mixup": as_fitted(run, "mixup"),
        "average": as_fitted(run, "average"),
        "optimiser": as_fitted(run, "optimiser"),
        "class_weighting": as_fitted(run, "class_weights"),
        "modality": "audio" if recipe["features"] else "metadata",
        "sample_rate": 16000,
        "device": run["compute"]["device"],
        "precision": run["compute"]["precision"],
        **{name: run["timing"][name] for name in ("train_seconds_per_fit", "wall_seconds")},
        "predict_rtf": f"{run['timing']['predict_rtf']:.5f}",
        "batch_parts_max": max(fit.get("batch_parts", 1) for fit in run["fits"]) if run.get("fits") else 1,
        **provenance(run, folder),
        "optuna": run["environment"]["optuna"],
        "excluded_sha256": corpus.get("excluded_sha256"),
        "licence": corpus["licence"],
    }


def features_of(run: Mapping[str, Any]) -> str:
    """What a board calls the features of a run: those of a checkpoint by its name and layers."""
    features = run["model"]["recipe"]["features"]
    return run.get("features", {}).get("label") or (features["kind"] if features else "none")


def label_of(features: Features | None) -> str:
    """As `features_of`, for features that are about to be used."""
    return getattr(features, "label", "") or (features.kind if features else "none")


def as_fitted(run: Mapping[str, Any], name: str) -> object:
    """A field of the recipe as the folds' final fits had it; "tuned" where the folds chose different values."""
    published = run["model"]["recipe"][name]
    values = [fold.get("choice", {}).get(name, published) for fold in run["frozen"]] or [published]
    return values[0] if all(value == values[0] for value in values) else "tuned"


def row_from(folder: Path) -> Row:
    """The row of the bundle in a folder. Raises BundleError where it is damaged."""
    with bundle.reading(folder):
        return row_of(bundle.load_run(folder), folder)


def provenance(run: Mapping[str, Any], folder: Path) -> Row:
    """The cells of any board that say which run, code and data a row is from."""
    environment = run["environment"]
    return {
        "row_id": run["row_id"],
        "date_utc": run["date_utc"],
        "bundle": folder.name,
        "schema_version": run["schema_version"],
        "sertbench_version": environment["sertbench"],
        "git_sha": environment["git_sha"],
        "dirty": environment["git_dirty"],
        **{name: environment[name] for name in ("python", "torch", "os")},
        "corpus_manifest_sha256": run["corpus"]["manifest_sha256"],
        "protocol_sha256": run["protocol"]["sha256"],
        "model_code_sha256": run["model"]["source_sha256"],
        "predictions_sha256": run["files"]["predictions.parquet"],
        "run_json_sha256": files.sha256(folder / "run.json"),
    }


def reason_of(run: Mapping[str, Any]) -> str:
    """Why a run's row is not ranked; empty if it is."""
    exposed = run.get("features", {}).get("exposure_unranked", "")
    return unranked_reason(run["model"], run["corpus"], run["protocol"], run.get("failures", ()), exposed)


def unranked_reason(
    model: Mapping[str, Any],
    corpus: Mapping[str, Any],
    protocol: Mapping[str, Any],
    failures: Sequence[object] = (),
    exposed: str = "",
) -> str:
    """Why a row is not ranked; empty if it is."""
    if failures:
        return f"incomplete: {len(failures)} final fits failed"
    if model["diagnostic"]:
        return "diagnostic"
    if corpus["synthetic"]:
        return "synthetic corpus"
    if protocol["shuffled_labels"]:
        return "shuffled labels"
    if protocol["leaky"]:
        return "leaky folds"
    if not protocol["flags"]["speaker_independent"]:
        return "speaker-dependent protocol"
    if any(o["key"] == "session" and "test" in o["roles"] and o["shared"] for o in protocol["overlaps"]):
        return "the test part's recording sessions are in training or validation"
    if exposed:
        return exposed
    return str(corpus["unranked"])


def text_of(value: object) -> str:
    """How a value stands in the CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def key_of(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """What identifies a row, as text."""
    return tuple(text_of(row.get(name)) for name in names)


@dataclass(frozen=True)
class Gathered:
    """The rows of all bundles, one per key, and what could not be used."""

    rows: dict[str, list[Row]]  #   corpus -> rows, not yet ranked
    left_out: tuple[str, ...]  #    a sentence for each bundle that gave no row
    looked_at: frozenset[str]  #    names of all bundles that were there


def gather(bundles: Bundles) -> Gathered:
    """The rows that the bundles give. Of several bundles with the same key the newest counts, as in a run."""
    newest: dict[tuple[str, ...], Row] = {}
    left_out = []
    looked_at = set()
    for folder in bundles:
        looked_at.add(folder.name)
        try:
            row = row_from(folder)
            if not bundle.is_file_name(row["corpus"]):
                raise BundleError(f"{folder}: {row['corpus']!r} cannot be the name of a corpus")
        except BundleError as error:
            left_out.append(str(error))
            continue
        key = key_of(row, KEY)
        old = newest.get(key)
        if old is not None:
            older, newer = sorted((old, row), key=lambda r: (r["date_utc"], r["row_id"]))
            left_out.append(f"{older['bundle']}: {newer['bundle']} is a newer run of the same row")
            row = newer
        newest[key] = row
    rows: dict[str, list[Row]] = {}
    for row in sorted(newest.values(), key=lambda r: r["row_id"]):
        rows.setdefault(row["corpus"], []).append(row)
    return Gathered(rows, tuple(left_out), frozenset(looked_at))
