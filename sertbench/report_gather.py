"""Read leaderboards, find and verify their bundles: the view that a report and the plots show."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from sertbench import board_files, quoted, report_cross, verify
from sertbench.audit import Audit
from sertbench.board_rows import BOARDS, TABLE, key_of
from sertbench.bundles import Bundles
from sertbench.critical_difference import CriticalDifference, critical_difference
from sertbench.errors import ConfigError, StorageError, few, unknown
from sertbench.report_view import CorpusView, Entry, Table, View, fullest

CROSS = Path(board_files.CROSS)
MOST_COMPARED = 40  # models that a critical-difference diagram can show


def gather(leaderboards: Path, runs: Path, corpora: Sequence[str] = (), audits: Iterable[Audit] = ()) -> View:
    """Read the published tables and find their bundles; `audits` go to the corpora that they name.

    `corpora` chooses among the boards; "cross" is the cross-corpus board. None named: all.
    Raises StorageError where a published number is not what its bundle gives: such a table is not drawn.
    """
    paths = board_files.tables(leaderboards)
    crossing = (leaderboards / CROSS).exists()
    for name in corpora:
        if name not in (known := [*paths, *[CROSS.stem] * crossing]):
            raise ConfigError(unknown("leaderboard", name, known))
    wanted = [name for name in corpora if name != CROSS.stem] if corpora else list(paths)
    bundles = Bundles.of(runs, leaderboards)
    found: list[CorpusView] = []
    examined = list(audits)
    n_missing = 0
    for name in wanted:
        rows = board_files.whole(paths[name])
        findings, missing = verify.verify_table(paths[name], runs)
        if findings:
            raise StorageError(
                f"{paths[name]} is not what the bundles in {bundles} give: {few(map(str, findings), 3)}. "
                "`sertbench leaderboard` writes it anew"
            )
        n_missing += len(missing)
        quotes = tuple(row for row in board_files.parsed(paths[name]) if quoted.is_quoted(row))
        if rows or quotes:
            titles = (name, *(row["corpus"] for row in rows[:1]))
            named = tuple(audit for audit in examined if audit.corpus in titles)
            tables = tables_of(rows, bundles)
            found.append(CorpusView(name, tables, paths[name], quotes, named))
    cross = report_cross.gather(leaderboards, runs) if not corpora or CROSS.stem in corpora else None
    if not found and cross is None:
        raise ConfigError(
            f"there is no leaderboard in {leaderboards}: `sertbench run` makes them. --leaderboards says where they lie"
        )
    comparison, reason = over_corpora(found)
    return View(tuple(found), n_missing, comparison, reason, cross)


def tables_of(rows: Sequence[Mapping[str, str]], bundles: Bundles) -> tuple[Table, ...]:
    """The tables of a leaderboard file."""

    def where(row: Mapping[str, str]) -> tuple[str, ...]:
        return key_of(row, TABLE)

    return tuple(table_of(list(members), bundles) for _, members in groupby(sorted(rows, key=where), where))


def table_of(rows: Sequence[Mapping[str, str]], bundles: Bundles) -> Table:
    """One table with its axis: from the least lower end to the greatest upper end, in tens, and ten wide at least."""
    ranks = sorted({int(r["rank"]) for r in rows if r["rank"].isdigit()})
    entries = []
    for row in sorted(rows, key=lambda r: BOARDS.index(r["board"])):
        rank = int(row["rank"]) if row["rank"].isdigit() else 0
        tied = bool(rank) and sum(r["rank"] == row["rank"] for r in rows) > 1
        tie = ranks.index(rank) if rank else -1
        entries.append(Entry(row, bundles.find(row), tie, tied, tuple(bundles.copies(row["bundle"]))))
    n_classes = sum(bool(v) for k, v in rows[0].items() if k and k.startswith("recall_"))
    low = min(90, 10 * math.floor(min(float(r["uar_ci95_lo"]) for r in rows) / 10))
    high = 10 * math.ceil(max(float(r["uar_ci95_hi"]) for r in rows) / 10)
    name = hashlib.sha256(repr(key_of(rows[0], TABLE)).encode()).hexdigest()[:10]
    return Table(f"t{name}", tuple(entries), max(0.0, low), min(100.0, max(high, low + 10)), 100 / max(n_classes, 1))


def over_corpora(corpora: Sequence[CorpusView]) -> tuple[tuple[tuple[str, ...], CriticalDifference] | None, str]:
    """Compare the models that have a ranked row on every corpus; else None and the sentence that says why not.

    Of a corpus with several tables the one with the most ranked rows counts.
    """
    columns = []
    for corpus in (c for c in corpora if c.tables):
        ranked = [[e for e in t.entries if e.ranked] for t in corpus.tables]
        if most := max(ranked, key=len):
            columns.append(most)
    models = set.intersection(*({e.row["model"] for e in c} for c in columns)) if columns else set()
    names = tuple(sorted(models))
    if len(names) > MOST_COMPARED:
        return None, f"No critical-difference diagram: it can show {MOST_COMPARED} models, and there are {len(names)}."
    uar = [fullest([e for e in c if e.row["model"] == name]).uar for name in names for c in columns]
    try:
        return (names, critical_difference(np.reshape(np.array(uar), (len(names), len(columns))))), ""
    except ConfigError as error:
        return None, f"No critical-difference diagram of the {len(names)} models with a ranked row everywhere: {error}."
