"""The leaderboard: one row per (model, features, corpus, label set, protocol, budget), from bundles only.

`leaderboards/<corpus>.csv` holds all rows of a corpus (see `board_rows`, `board_files`). Rows are ranked only within a
table: the same label set, subset, protocol (by hash) and membership. Equal rank means: not told apart by the paired
comparison clustered by speaker.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import numpy as np

from sertbench import bundle, files, quoted
from sertbench.board_files import checked, locked, parsed, save
from sertbench.board_rows import BOARDS, KEY, TABLE, Row, gather, key_of, text_of
from sertbench.bundles import Bundles
from sertbench.errors import BundleError, StorageError
from sertbench.results import Predictions


def read_or_rebuild(path: Path, bundles: Bundles) -> list[Row]:
    """The rows of a leaderboard; of one that is torn or empty, those of all bundles of its corpus that are at hand.

    The torn file is kept beside it, as `<name>.damaged`.
    """
    if not path.exists():
        return []
    rows = parsed(path)
    if rows and all(None not in row and None not in row.values() for row in rows):
        return checked(path, [row for row in rows if not quoted.is_quoted(row)])
    path.replace(path.with_name(f"{path.name}.damaged"))
    return gather(bundles).rows.get(path.stem, [])


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

    A row whose bundle is not at hand, damaged, of a newer sertbench, or not about the same utterances as most others
    cannot be compared: it has a place but no rank.
    """
    from sertbench.statistics import compare, ranks

    at_hand: dict[int, Predictions] = {}
    for position, row in enumerate(rows):
        folder = bundles.find(row)
        run = bundle.readable(folder) if folder is not None else None
        if folder is not None and run is not None:
            with suppress(BundleError):
                at_hand[position] = bundle.load_predictions(folder, run)
    about = {position: utterances(predictions) for position, predictions in at_hand.items()}
    common = max(about.values(), key=list(about.values()).count, default="")
    positions = [position for position in at_hand if about[position] == common]
    found = [at_hand[position] for position in positions]
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


def utterances(predictions: Predictions) -> str:
    """A hash of which utterances were tested, with their targets and speakers: what a comparison takes as common."""
    columns = (predictions.column(name).tolist() for name in ("utterance", "target", "speaker"))
    return hashlib.sha256(json.dumps([predictions.classes, *columns]).encode()).hexdigest()


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
