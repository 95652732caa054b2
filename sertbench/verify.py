"""Work every published figure out again: from a bundle's predictions, without the audio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from sertbench import board_files, board_rows, bundle, cross_board, files, leaderboard, quoted, replication
from sertbench.board_rows import TABLE, Row, key_of, text_of
from sertbench.bundles import CROSSED, REPLAYS, Bundles
from sertbench.errors import BundleError
from sertbench.findings import JUDGED, Finding, differing_cells, doubled
from sertbench.protocols import ROLES, table_sha256
from sertbench.results import Predictions, fault, figures

WRITTEN = ("config.toml", "split.parquet", "predictions.parquet")  # of every bundle


def verify_bundle(folder: Path) -> list[Finding]:
    """Everything in a bundle that does not follow from its predictions and split; empty if all is well.

    Raises BundleError if it is not a whole bundle.
    """
    run = bundle.load_run(folder)
    with bundle.reading(folder):
        found = [*changed_files(folder, run), *wrong_split(folder, run), *wrong_order(folder, run)]
        if scoring := list(wrong_scoring(folder, run)):
            return [*found, *scoring]
        found += wrong_figures(folder, run)
        return found if is_replay(run) else [*found, *unlogged(folder, run), *wrong_flags(folder, run)]


def is_replay(run: Mapping[str, Any]) -> bool:
    """Whether a bundle is of a replayed claim, whose folds belong to one seed each."""
    return run.get("kind") == "replay"


def changed_files(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Files that are missing or have another hash than run.json says."""
    for name in dict.fromkeys([*WRITTEN, *run["files"]]):
        path, published = folder / name, run["files"].get(name, "without a hash")
        found = files.sha256(path) if path.exists() else "missing"
        if found != published:
            yield Finding(folder.name, name, published, found)


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet table of a bundle; BundleError if it cannot be read."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error


def wrong_split(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """The table of folds and roles is not the one that was run."""
    split = read_table(folder / "split.parquet")
    rows = split[["utterance", "fold", "role"]].itertuples(index=False, name=None)
    sha256 = table_sha256(run["protocol"]["name"], rows)
    if sha256 != run["protocol"]["sha256"]:
        yield Finding(folder.name, "the split's hash", run["protocol"]["sha256"], sha256)
    n_tested = split["utterance"][split["role"] == "test"].nunique()
    if not is_replay(run) and run["corpus"]["n_tested"] != n_tested:
        yield Finding(folder.name, "the number of test utterances", str(run["corpus"]["n_tested"]), str(n_tested))


def wrong_scoring(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Test utterances that were not scored exactly once per seed, and seeds that were left out."""
    split = read_table(folder / "split.parquet")
    test = split[split["role"] == "test"]
    frame = read_table(folder / "predictions.parquet")
    if not is_replay(run) and (said := fault(frame, run["corpus"]["classes"])):
        yield Finding(folder.name, "predictions.parquet", said, "each test utterance once for every seed")
    if not {"seed", "fold", "utterance"} <= set(frame):
        return
    seeds, finished = (" ".join(map(str, s)) for s in (sorted(frame["seed"].unique()), finished_seeds(run)))
    if seeds != finished:
        yield Finding(folder.name, "the seeds of the predictions", seeds, finished)
    for seed, part in frame.groupby("seed"):
        mine = test[test["fold"].str.startswith(f"{seed}/")] if is_replay(run) else test
        wanted = set(zip(mine["fold"], mine["utterance"], strict=True))
        scored = list(zip(part["fold"], part["utterance"], strict=True))
        if len(scored) != len(wanted) or set(scored) != wanted:
            yield Finding(
                folder.name, f"utterances scored with seed {seed}", f"{len(scored)}", f"{len(wanted)}, once each"
            )


def finished_seeds(run: Mapping[str, Any]) -> list[int]:
    """The seeds whose predictions a bundle must have: all that were asked for, but for those that failed."""
    if is_replay(run):
        return sorted({fit["seed"] for fit in run["fits"]})
    return sorted(set(range(run["config"]["seeds"])) - {failure["seed"] for failure in run.get("failures", ())})


def wrong_figures(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Figures of run.json that do not follow from the predictions, or from the fits on the validation part."""
    frame, classes = read_table(folder / "predictions.parquet"), tuple(run["corpus"]["classes"])
    if is_replay(run):
        found = replication.figures(frame, classes, run["claim"]["score"])
    else:
        found = figures(Predictions(frame, classes))
    published = run["figures"]
    for name in dict.fromkeys([*published, *found]):
        if text_of(published.get(name)) != text_of(found.get(name)):
            yield Finding(folder.name, name, text_of(published.get(name)), text_of(found.get(name)))
    if run.get("fits") and not is_replay(run):
        val_uar = round(100 * fmean(fit["val_uar"] for fit in run["fits"]), 2)
        if text_of(run["val_uar"]) != text_of(val_uar):
            yield Finding(folder.name, "val_uar", text_of(run["val_uar"]), text_of(val_uar))


def wrong_order(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Test parts that were read before their fold was frozen, or more than once per seed."""
    frozen = {f["fold"]: f for f in run["frozen"]}
    seen = set()
    for read in run["test_reads"]:
        fold, seed = read["fold"], read["seed"]
        if fold not in frozen or read["read_at"] < frozen[fold]["frozen_at"]:
            yield Finding(folder.name, f"test part of fold {fold}, seed {seed}", read["read_at"], "read after freezing")
        if (fold, seed) in seen:
            yield Finding(folder.name, f"test part of fold {fold}, seed {seed}", "read again", "read once")
        seen.add((fold, seed))


def unlogged(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Test parts that have predictions but were never read."""
    frame = read_table(folder / "predictions.parquet")
    read = {(read["fold"], read["seed"]) for read in run["test_reads"]}
    for fold, seed in sorted(set(zip(frame["fold"], frame["seed"].tolist(), strict=True)) - read):
        yield Finding(folder.name, f"test part of fold {fold}, seed {seed}", "not in the log", "read once")


def wrong_flags(folder: Path, run: Mapping[str, Any]) -> Iterator[Finding]:
    """Flags of the folds that their speakers belie, as far as the predictions name them: those who are tested."""
    frame, split = read_table(folder / "predictions.parquet"), read_table(folder / "split.parquet")
    speaker = frame.drop_duplicates("utterance").set_index("utterance")["speaker"]
    known = split.assign(speaker=split["utterance"].map(speaker)).dropna(subset="speaker")
    train, val, test = (
        set(zip(part["fold"], part["speaker"], strict=True)) for part in (known[known["role"] == r] for r in ROLES)
    )
    flags = run["protocol"]["flags"]
    if flags["speaker_independent"] and test & (train | val):
        yield Finding(folder.name, "speaker_independent", "1", "0")
    if not flags["val_speaker_overlap"] and train & val:
        yield Finding(folder.name, "val_speaker_overlap", "0", "1")


def verify_table(path: Path, runs: Path) -> tuple[list[Finding], list[str]]:
    """Everything in a leaderboard that does not follow from the bundles, and the rows whose bundle is not in `runs`."""
    if replication.holds(path):
        return verify_replication(path, runs)
    if path.name == board_files.CROSS:
        return verify_cross(path, runs)
    rows, bundles = board_files.read(path), Bundles.of(runs, path.parent)
    findings = list(wrong_quotes(path))
    missing: list[str] = []
    unknown = set()  # tables whose ranks cannot be worked out again
    for row in rows:
        folder = bundles.find(row)
        if folder is None:
            unknown.add(key_of(row, TABLE))
            missing.append(f"{row['model']} ({row['row_id']}): {runs / row['bundle']}")
            continue
        findings += verify_bundle(folder)
        findings += differing_cells(row, board_rows.row_from(folder))
    findings += doubled(path, rows)
    if not findings:
        known = [row for row in rows if key_of(row, TABLE) not in unknown]
        ranked = {r["row_id"]: r for r in leaderboard.ranked(known, bundles)}
        for row in known:
            for name in JUDGED:
                published, found = row.get(name, ""), text_of(ranked[row["row_id"]][name])
                if published != found:
                    findings.append(Finding(f"{path.name}, {row['model']}", name, published, found))
    return findings, missing


def in_words(path: Path) -> str:
    """What `verify_table` has looked at when it finds nothing: measured rows, and quoted ones without predictions."""
    rows = board_files.parsed(path)
    n_quoted = sum(map(quoted.is_quoted, rows))
    n_measured = len(rows) - n_quoted
    said = []
    if n_measured:
        of = "its row" if n_measured == 1 else f"{n_measured} measured rows"
        said.append(f"every figure of {of} follows from the predictions")
    if n_quoted:
        said.append(f"{n_quoted} rows quote papers, as the claims have them: they have no predictions to verify")
    return "; ".join(said) or "it has no rows: nothing to verify"


def wrong_quotes(path: Path) -> Iterator[Finding]:
    """Quoted figures of papers that are not what the claims say, missing or added."""
    published = [row for row in board_files.parsed(path) if quoted.is_quoted(row)]
    wanted = quoted.rows(path.stem) if path.exists() else ()
    if len(published) != len(wanted):
        yield Finding(path.name, "the number of quoted rows", str(len(published)), str(len(wanted)))
    for row, quote in zip(published, wanted, strict=False):
        yield from differing_cells(row, quote)


def verify_replication(path: Path, runs: Path) -> tuple[list[Finding], list[str]]:
    """As `verify_table` for a replication board, whose honest figures are those of an honest run's bundle."""
    findings: list[Finding] = []
    missing: list[str] = []
    bundles = Bundles.of(runs, path.parent.parent)
    rows = board_files.read(path, replication.KEY)
    for row in rows:
        folder = bundles.replays.find(row)
        if folder is None:
            missing.append(f"{row['model']} ({row['row_id']}): {runs / REPLAYS / row['bundle']}")
            continue
        findings += verify_bundle(folder)
        honest = None
        if row["honest_bundle"]:
            other = bundles.find(row, "honest_")
            if other is not None:
                honest = board_rows.row_from(other)
            else:
                missing.append(f"honest {row['model']} ({row['honest_row_id']}): {runs / row['honest_bundle']}")
                row = {k: v for k, v in row.items() if not k.startswith(("honest_", "optimism_"))}
        with bundle.reading(folder):
            findings += differing_cells(row, replication.row_of(bundle.load_run(folder), folder, honest))
    return [*findings, *doubled(path, rows)], missing


def verify_cross(path: Path, runs: Path) -> tuple[list[Finding], list[str]]:
    """As `verify_table` for the cross-corpus board."""
    findings: list[Finding] = []
    missing: list[str] = []
    derived: dict[str, dict[str, Row]] = {}
    bundles = Bundles.of(runs, path.parent).crossed
    rows = board_files.read(path, cross_board.KEY)
    for row in rows:
        folder = bundles.find(row)
        if folder is None:
            missing.append(f"{row['model']} ({row['row_id']}): {runs / CROSSED / row['bundle']}")
            continue
        if folder.name not in derived:
            findings += verify_bundle(folder)
            with bundle.reading(folder):
                derived[folder.name] = {r["row_id"]: r for r in cross_board.rows_of(bundle.load_run(folder), folder)}
        if row["row_id"] not in derived[folder.name]:
            findings.append(Finding(path.name, "row", row["row_id"], "none of this bundle's"))
            continue
        findings += differing_cells(row, derived[folder.name][row["row_id"]])
    return [*findings, *doubled(path, rows)], missing
