"""What a report shows, as frozen values; nothing is read, drawn or written here.

A cell is shown as the CSV has it. Tables are never mixed: a rank stands within one corpus, label set, subset, protocol
and membership.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench import board_files
from sertbench.audit import Audit
from sertbench.board_rows import budget_in_words, fewer_seeds, is_provisional, provisional_in_words
from sertbench.critical_difference import CriticalDifference

if TYPE_CHECKING:
    from sertbench.report_cross import CrossView

CHEATS = {
    "optimism_random_split": "random folds",
    "optimism_speaker_norm": "speaker normalisation",
    "optimism_test_epoch": "best epoch on test",
}
COSTS = {
    "n_params": "parameters",
    "train_seconds_per_fit": "training time per fit (s)",
    "predict_rtf": "latency (s per s of speech)",
}
LEVELS = 9  # shades of the heat map


@dataclass(frozen=True)
class Entry:
    """One row of a leaderboard."""

    row: Mapping[str, str]  #   the cells of the CSV
    folder: Path | None  #      its bundle, if that is at hand
    tie: int  #                 number of its tie group in the table, from 0; -1 without a rank
    tied: bool  #               others share its rank
    copies: tuple[Path, ...] = ()  # all copies of its bundle: published, and the user's own

    @property
    def uar(self) -> float:
        """The headline in percent."""
        return float(self.row["uar_pooled_mean"])

    @property
    def page(self) -> str:
        """File name of its page, safe on every file system; empty without a bundle."""
        row = self.row
        return f"{slug(row['model'], 30)}-{slug(row['corpus'], 20)}-{slug(row['row_id'], 16)}" if self.folder else ""

    @property
    def budget(self) -> str:
        """What the row was allowed to spend, in words."""
        return budget_in_words(self.row)

    @property
    def provisional(self) -> bool:
        """The row is of too few seeds to be settled."""
        return is_provisional(self.row)

    @property
    def ranked(self) -> bool:
        """The row takes part in the ranking."""
        return self.row["ranked"] == "1"

    @property
    def synthetic(self) -> bool:
        """The corpus is synthetic."""
        return self.row["synthetic"] == "1"

    @property
    def tags(self) -> list[str]:
        """What must be said beside the model's name."""
        said = [self.row["unranked_reason"]] if self.row["unranked_reason"] not in ("", "diagnostic") else []
        said += ["synthetic corpus"] if self.synthetic and "synthetic corpus" not in said else []
        said += [f"same predictions as {self.row['identical_to']}"] if self.row.get("identical_to") else []
        return said + ([] if self.folder else ["not verified: no bundle"])

    def cost(self, name: str) -> float | None:
        """One of COSTS; None where there is none."""
        text = self.row.get(name)
        return float(text) if text and board_files.is_number(text) and float(text) > 0 else None


@dataclass(frozen=True)
class Table:
    """The rows that may be compared with each other, best first."""

    id: str
    entries: tuple[Entry, ...]
    low: float  #      the axis of the intervals, percent
    high: float
    chance: float  #   UAR of guessing, percent

    @property
    def first(self) -> Mapping[str, str]:
        """The row that says what the table is about."""
        return self.entries[0].row

    @property
    def name(self) -> str:
        """Corpus, label set, subset, protocol."""
        row = self.first
        subset = "" if row["subset"] == "all" else f", {row['subset']} only"
        return f"{row['corpus']} · {row['label_set']}{subset} · {row['protocol']}"

    @property
    def provisional(self) -> str:
        """What must be said of rows of few seeds; empty without any."""
        return provisional_in_words([e.row for e in self.entries])

    def tags(self, entry: Entry) -> list[str]:
        """What must be said beside the name of one of the models."""
        fewer = fewer_seeds(entry.row, [e.row for e in self.entries])
        return entry.tags + [fewer] * bool(fewer)

    def board(self, name: str) -> tuple[Entry, ...]:
        """The entries of one board: main, replication or diagnostic."""
        return tuple(e for e in self.entries if e.row["board"] == name)

    def level(self, entry: Entry) -> int:
        """Shade of a score: how much of the way from guessing to perfection, 0 to LEVELS - 1."""
        return shade(entry.uar, self.chance)

    def percent(self, value: float | str) -> float:
        """Where a score lies on the axis of the intervals, 0 to 100."""
        return min(100.0, max(0.0, 100 * (float(value) - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class CorpusView:
    """A corpus, its tables and its file."""

    name: str
    tables: tuple[Table, ...]  #  none where nothing was run
    csv: Path
    quoted: tuple[Mapping[str, str], ...] = ()  # what papers claim on it
    audits: tuple[Audit, ...] = ()  # of its audio, if they are at hand

    @property
    def page(self) -> str:
        """File name of its page."""
        return slug(self.name, 40)


@dataclass(frozen=True)
class View:
    """All that a report shows."""

    corpora: tuple[CorpusView, ...]
    missing: int  #                              rows of corpora whose bundle is not at hand
    comparison: tuple[tuple[str, ...], CriticalDifference] | None  # the models, and how they differ over the corpora
    no_comparison: str  #                        why there is none
    cross: CrossView | None = None  #            the cross-corpus board, if there is one

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables."""
        return tuple(t for corpus in self.corpora for t in corpus.tables)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All rows."""
        return tuple(e for table in self.tables for e in table.entries)

    @property
    def measured(self) -> tuple[Entry, ...]:
        """The rows with an optimism meter."""
        return tuple(e for e in self.entries if any(e.row.get(name) for name in CHEATS))


def slug(text: str, most: int) -> str:
    """A file name of small letters, digits and hyphens; a hash tells apart what would become the same.

    >>> slug("cnn", 30), slug("../<b>", 30)
    ('cnn', 'b-9f46aef2')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:most].strip("-")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def shown(name: str, cell: str | None) -> str:
    """A cell of a CSV as a page shows it: as it stands, but nothing, and 0 parameters (none are counted), as a dash.

    >>> shown("n_params", "904078"), shown("n_params", "0"), shown("wa", ""), shown("hpo_trials", "0")
    ('904,078', '–', '–', '0')
    """
    if not cell or (name == "n_params" and cell == "0"):
        return "–"
    return f"{int(cell):,}" if name == "n_params" and cell.isdecimal() else cell


def measure(value: float) -> str:
    """A cost with all the digits that it has in the CSV.

    >>> measure(12345678.0), measure(12345.68), measure(0.00012)
    ('12,345,678', '12,345.68', '0.00012')
    """
    return f"{value:,.12g}"


def shade(uar: float, chance: float) -> int:
    """How much of the way from guessing to perfection a score has gone, 0 to LEVELS - 1; both in percent.

    >>> shade(25.0, 25.0), shade(70.0, 25.0), shade(100.0, 25.0), shade(100.0, 100.0)
    (0, 5, 8, 0)
    """
    return min(LEVELS - 1, max(0, math.floor(LEVELS * way(uar, chance))))


def way(uar: float, chance: float) -> float:
    """How much of the way from guessing (0) to perfection (1) a score has gone; less than 0 below guessing."""
    return (uar - chance) / (100 - chance) if chance < 100 else 0.0


def fullest(entries: Sequence[Entry]) -> Entry:
    """Of one model's rows in a table the one of the greatest budget, not of the best score; of equals the newest."""

    def spent(entry: Entry) -> tuple[float, float, float, str]:
        row = entry.row
        return float(row["hpo_trials"]), float(row["n_seeds"]), entry.cost("max_epochs") or 0.0, row["date_utc"]

    return max(entries, key=spent)


def matrix(tables: Sequence[Table]) -> list[tuple[str, str, list[Entry | None]]]:
    """Models against tables: name, family, and the row of each table or None. Diagnostics and leaks are left out."""
    lines: dict[str, list[list[Entry]]] = {}
    families = {}
    for k, table in enumerate(tables):
        for entry in table.entries:
            if entry.row["board"] != "diagnostic" and entry.row["leaky"] != "1":
                lines.setdefault(entry.row["model"], [[] for _ in tables])[k].append(entry)
                families[entry.row["model"]] = entry.row["model_family"]
    return [
        (name, families[name], [fullest(cell) if cell else None for cell in cells])
        for name, cells in sorted(lines.items())
    ]


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of the points (cost, score) no other beats, being at least as cheap and as good and different."""
    return [not any(c <= cost and s >= value and (c, s) != (cost, value) for c, s in points) for cost, value in points]


def names(entries: Sequence[Entry]) -> list[str]:
    """What to call rows in a chart: the model; of several rows of a model on a corpus its features, too, then the row.

    Rows with equal names would be one to a reader.
    """
    called = [entry.row["model"] for entry in entries]
    for more in ("features", "row_id"):
        often = Counter(zip(called, (entry.row["corpus"] for entry in entries), strict=True))
        called = [
            f"{name} {entry.row[more]}" if often[name, entry.row["corpus"]] > 1 else name
            for name, entry in zip(called, entries, strict=True)
        ]
    return called


def measured_cheats(entries: Sequence[Entry]) -> dict[str, str]:
    """Those of CHEATS that some row has measured."""
    return {name: what for name, what in CHEATS.items() if any(entry.row.get(name) for entry in entries)}


def costs(table: Table, name: str) -> tuple[list[tuple[str, float, float, bool]], list[str]]:
    """(model, cost, UAR, on the front) of the table's main rows, and the models for which the cost is not known.

    Rows are called as `names` does. Beside ranked rows those that are not ranked (the encoder has heard the corpus,
    fits failed) say so, and are not on the front, nor do they beat anyone.
    """
    entries = table.board("main")
    some = any(entry.ranked for entry in entries)
    known, unknown_cost = [], []
    for called, entry in zip(names(entries), entries, strict=True):
        cost, counts = entry.cost(name), entry.ranked or not some
        said = called if counts else f"{called} (not ranked)"
        if cost is None:
            unknown_cost.append(said)
        else:
            known.append((said, cost, entry.uar, counts))
    best = iter(front([(cost, uar) for _, cost, uar, counts in known if counts]))
    return [(said, cost, uar, counts and next(best)) for said, cost, uar, counts in known], unknown_cost
