"""The leaderboard: one row per (model, features, corpus, label set, protocol, budget), from bundles only.

`leaderboards/<corpus>.csv` holds all rows of a corpus. Rows are ranked only within a table: the same label set, subset,
protocol (by hash) and membership. Equal rank means: not told apart by the paired comparison clustered by speaker.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sertbench import bundle, files, quoted
from sertbench.bundles import Bundles
from sertbench.errors import BundleError, StorageError
from sertbench.results import Predictions

Row = dict[str, Any]

LOCK_SECONDS = 300.0  # to wait for other runs that write the same board; each takes seconds

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
CROSS = "cross.csv"  # the board of cross-corpus runs, which has other columns (see cross_board)
TABLE = ("corpus", "label_set", "subset", "protocol_sha256", "corpus_manifest_sha256", "excluded_sha256")
BOARDS = ("main", "replication", "diagnostic")
NUMBERS = ("uar_pooled_mean", "uar_ci95_lo", "uar_ci95_hi", "n_utt_scored", "n_seeds", "hpo_trials")  # in every row
NEEDED = (*KEY, *NUMBERS, "row_id", "board", "bundle", "ranked")


def row_of(run: Mapping[str, Any], folder: Path) -> Row:
    """The row of a finished bundle: every cell follows from run.json."""
    model, corpus, protocol, config = run["model"], run["corpus"], run["protocol"], run["config"]
    recipe, figures, flags = model["recipe"], run["figures"], protocol["flags"]
    extractor = run.get("features", {})  # older bundles have none
    scopes = {t["scope"] for t in run["tuning"]}
    reason = unranked_reason(model, corpus, protocol, run.get("failures", ()), extractor.get("exposure_unranked", ""))
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
        "features": extractor.get("label") or (recipe["features"]["kind"] if recipe["features"] else "none"),
        "features_version": " ".join(f"{name} {version}" for name, version in extractor.get("versions", {}).items()),
        "features_licence": extractor.get("licence", ""),
        "exposure": extractor.get("exposure", ""),
        "window_seconds": recipe["window"],
        "hop_seconds": recipe["hop"],
        "norm": recipe["normalise"],
        "mixup": recipe["mixup"],
        "average": recipe["average"],
        "optimiser": recipe["optimiser"],
        "class_weighting": recipe["class_weights"],
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


def tables(folder: Path) -> dict[str, Path]:
    """The leaderboards of corpora in a folder, by corpus."""
    return {path.stem: path for path in sorted(folder.glob("*.csv")) if path.name != CROSS}


def header(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> list[str]:
    """The columns of a table with these rows, in the schema's order."""
    present = list(dict.fromkeys(name for row in rows for name in row))
    names: list[str] = []
    for column in columns:
        if column.endswith("_*"):
            names += [n for n in present if n.startswith(column[:-1]) and n not in columns]
        else:
            names.append(column)
    return names + [n for n in present if n not in names]  # of a newer sertbench


def read(path: Path, needed: Sequence[str] = NEEDED) -> list[Row]:
    """The measured rows of a leaderboard file as text, with the `needed` columns; none if it does not exist."""
    return checked(path, [row for row in parsed(path) if not quoted.is_quoted(row)], needed)


def parsed(path: Path) -> list[Row]:
    """The rows of a CSV file as they stand; none if it does not exist."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"{path} cannot be read as a leaderboard: {error}. Move it away and run again") from error


def checked(path: Path, rows: list[Row], needed: Sequence[str] = NEEDED) -> list[Row]:
    """The same rows; StorageError if they are not those of a leaderboard."""
    wanted = set(needed) - {"excluded_sha256"}  # tables of before have none
    if missing := sorted(wanted - set(rows[0])) if rows else []:
        raise StorageError(f"{path} is not a sertbench leaderboard: it lacks {', '.join(missing)}. Move it away")
    for row in rows:
        for name in sorted(set(NUMBERS) & wanted):
            if not is_number(row[name]):
                raise StorageError(f"{path}, row {row['row_id']}: {name} is {row[name]!r}, expected a number")
        if "board" in wanted and row["board"] not in BOARDS:
            raise StorageError(f"{path}, row {row['row_id']}: board is {row['board']!r}, expected {', '.join(BOARDS)}")
    return rows


def is_number(text: str | None) -> bool:
    """Whether a cell holds a finite number."""
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


def read_or_rebuild(path: Path, bundles: Bundles) -> list[Row]:
    """The rows of a leaderboard; of one that is torn, those of all bundles of its corpus that are at hand.

    The torn file is kept beside it, as `<name>.damaged`.
    """
    rows = parsed(path)
    if all(None not in row and None not in row.values() for row in rows):
        return checked(path, [row for row in rows if not quoted.is_quoted(row)])
    path.replace(path.with_name(f"{path.name}.damaged"))
    latest: dict[tuple[str, ...], Row] = {}
    for folder in sorted(bundles, key=lambda p: (p / "run.json").stat().st_mtime):
        run = bundle.readable(folder)
        if run is not None and f"{run['corpus']['name']}.csv" == path.name:
            row = row_of(run, folder)
            latest[key_of(row, KEY)] = row
    return list(latest.values())


def text_of(value: object) -> str:
    """How a value stands in the CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def write(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    """Write a leaderboard in one step."""
    out = io.StringIO()
    writer = csv.DictWriter(out, header(rows, columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: text_of(v) for k, v in row.items()} for row in rows)
    files.write_text(path, out.getvalue())


def save(path: Path, rows: Sequence[Row]) -> None:
    """Write a corpus's leaderboard: its measured rows, and below them what papers claim on the corpus."""
    write(path, [*rows, *quoted.rows(path.stem)])


def key_of(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """What identifies a row, as text."""
    return tuple(text_of(row.get(name)) for name in names)


def locked(path: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing a board. BusyError when one has been at it for too long."""
    busy = f"another process has been writing {path} for {LOCK_SECONDS:.0f} s. The bundles are kept: run again"
    return files.locked(path.with_name(f".{path.name}.lock"), LOCK_SECONDS, busy)


def add(folder: Path, row: Row, runs: Path) -> tuple[Path, list[Row]]:
    """Put a row into its corpus's leaderboard, replacing an older one of the same key, and rank anew.

    Safe against other processes that write the same file. Gives the file and all its rows.
    """
    path = folder / f"{row['corpus']}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(path):
            files.remove_drafts(folder, path.name)
            bundles = Bundles.of(runs, folder)
            old = [r for r in read_or_rebuild(path, bundles) if key_of(r, KEY) != key_of(row, KEY)]
            rows = ranked([*old, row], bundles)
            save(path, rows)
    except OSError as error:
        raise StorageError(
            f"cannot write the leaderboard {path}: {error.strerror or error}. "
            "Make the folder writable or choose another one with --leaderboards; the bundle is kept"
        ) from error
    return path, rows


def ranked(rows: Sequence[Row], bundles: Bundles) -> list[Row]:
    """Rank every table within the rows; rows that are not to be ranked come last in theirs, without a rank."""
    tables: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        tables.setdefault(key_of(row, TABLE), []).append(row)
    result: list[Row] = []
    for _, members in sorted(tables.items()):
        members.sort(key=lambda r: (-float(r["uar_pooled_mean"]), r["model"], r["row_id"]))
        result += judged([r for r in members if text_of(r["ranked"]) == "1"], bundles)
        result += sorted((r for r in members if text_of(r["ranked"]) != "1"), key=lambda r: BOARDS.index(r["board"]))
    return result


def judged(rows: Sequence[Row], bundles: Bundles) -> list[Row]:
    """The rows of one table, sorted by UAR, with their ranks (tie groups) and the models of identical predictions.

    A row whose bundle is not at hand, damaged, or of a newer sertbench cannot be compared: it has a place but no rank.
    """
    from sertbench.statistics import compare, ranks

    at_hand: dict[int, Predictions] = {}
    for position, row in enumerate(rows):
        folder = bundles.find(row)
        run = bundle.readable(folder) if folder is not None else None
        if folder is not None and run is not None:
            with suppress(BundleError):
                at_hand[position] = bundle.load_predictions(folder, run)
    found, positions = list(at_hand.values()), list(at_hand)
    p_values = np.ones((len(found), len(found)))
    for i, j in combinations(range(len(found)), 2):
        a, b = found[i], found[j]
        y, speakers = a.column("target"), a.column("speaker")
        p_values[i, j] = p_values[j, i] = compare(y, a.labels, b.labels, speakers, len(a.classes)).p
    verdicts: dict[int, Row] = {}
    for i, rank in enumerate(ranks([float(rows[k]["uar_pooled_mean"]) for k in positions], p_values)):
        same = (j for j, other in enumerate(found) if j != i and np.array_equal(other.labels, found[i].labels))
        verdicts[positions[i]] = {"rank": rank, "identical_to": " ".join(rows[positions[j]]["model"] for j in same)}
    nothing = {"rank": "", "identical_to": ""}
    return [{**row, **verdicts.get(position, nothing)} for position, row in enumerate(rows)]


def shown(rows: Sequence[Row], mine: str) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of a short table for the screen; the row with the id `mine` has a star."""
    columns = [
        "rank", "model", "features", "UAR [95 %]", "seed SD", "WA", "macro F1", "weighted F1", "fold SD", "seeds",
        "trials",
    ]  # fmt: skip
    lines = []
    for row in rows:
        t = {name: text_of(value) for name, value in row.items()}
        star = " (labels shuffled)" * (t["shuffled_labels"] == "1") + " *" * (t["row_id"] == mine)
        lines.append([
            t.get("rank") or "-", t["model"] + star, t["features"],
            f"{t['uar_pooled_mean']} [{t['uar_ci95_lo']}, {t['uar_ci95_hi']}]",
            t["uar_pooled_seed_sd"] or "-", t["wa"], t["macro_f1"], t["weighted_f1"], t["uar_fold_sd"] or "-",
            t["n_seeds"], t["hpo_trials"],
        ])  # fmt: skip
    return columns, lines
