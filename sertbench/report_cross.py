"""The cross-corpus board for the report: which of its rows make a matrix, and which labels they are about.

Rows are put side by side only if they are about the same shared classes and if each corpus's labels stand for the same
ones of them. Within such a section there is a matrix per model, features and budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sertbench import board_files, cross_board, verify
from sertbench.board_rows import budget_in_words, is_provisional, key_of
from sertbench.bundles import Bundles
from sertbench.errors import StorageError, few
from sertbench.report_view import shade, slug

PAGE, CSV = "cross.html", "cross.csv"  # in the report; no corpus can be called so
ALIKE = ("model", "features", "hpo_trials", "n_seeds", "max_epochs", "device", "precision", "leaky")  # of a matrix
COLUMNS = (
    ("train", "Trained on", "Training corpora; a fifth of their speakers validate"),
    ("test", "Tested on", "The corpus that had no part in any choice"),
    ("model", "Model", "Model and features"),
    ("uar_pooled_mean", "UAR", "Unweighted average recall, percent, mean over seeds"),
    ("interval", "95 % interval", "Over test speakers and seeds"),
    ("within", "Within", "UAR of the same model cross-validated in the test corpus, over the same classes"),
    ("uar_pooled_seed_sd", "Seed SD", "Standard deviation of the UAR over seeds"),
    ("wa", "WA", "Weighted accuracy: share of utterances"),
    ("macro_f1", "Macro F1", "Mean of the classes' F1"),
    ("weighted_f1", "Wtd F1", "F1 weighted by class counts"),
    ("worst_speaker_uar", "Worst speaker", "UAR of the worst speaker"),
    ("val_uar", "Val UAR", "On other speakers of the training corpora"),
    ("n_utt_scored", "Test n", "Utterances tested"),
    ("hpo_trials", "Trials", "Optuna trials per fold"),
    ("n_seeds", "Seeds", "Seeds per fold; rows of fewer than five are provisional"),
)
TEXTS = ("train", "test", "model")  # columns that sort as text
MADE = ("interval", "within")  #      columns that are not one cell of the row
NEEDED = (
    *cross_board.KEY, *(name for name, _, _ in COLUMNS if name not in MADE), "kind", "chance_uar", "uar_ci95_lo",
    "uar_ci95_hi", "unranked_reason", "alarms", "synthetic", "row_id", "date_utc", "bundle",
)  # fmt: skip


@dataclass(frozen=True)
class Crossed:
    """One row of the board."""

    row: Mapping[str, str]
    folder: Path | None  # its bundle, if that is at hand

    @property
    def file(self) -> str:
        """Name of its bundle in the report, without ending; empty without one. Rows of one run share it."""
        return f"cross-{slug(self.row['bundle'], 60)}" if self.folder else ""

    @property
    def within(self) -> bool:
        """Cross-validated in one corpus."""
        return self.row["kind"] == "within"

    @property
    def mapping(self) -> dict[str, str]:
        """What each corpus's labels stand for, in words, by corpus."""
        return {said.partition(" (")[0]: said for said in self.row["label_mapping"].split(" | ")}

    @property
    def tags(self) -> list[str]:
        """What must be said beside the score."""
        said = [reason for reason in self.row["unranked_reason"].split("; ") if reason not in ("", "cross-corpus")]
        said += ["leaky folds"] if self.row["leaky"] == "1" else []
        said += ["synthetic corpus"] if self.row["synthetic"] == "1" else []
        said += [f"alarm: {self.row['alarms']}"] if self.row["alarms"] else []
        return said + ([] if self.folder else ["not verified: no bundle"])

    @property
    def level(self) -> int:
        """Shade of the score."""
        chance = self.row["chance_uar"]
        return shade(float(self.row["uar_pooled_mean"]), float(chance) if board_files.is_number(chance) else 0.0)


@dataclass(frozen=True)
class Matrix:
    """The rows of one model, features and budget, newest first."""

    rows: tuple[Crossed, ...]

    @cached_property
    def cells(self) -> dict[tuple[str, str], Crossed]:
        """The newest row of each pair of training corpora and test corpus."""
        return {(crossed.row["train"], crossed.row["test"]): crossed for crossed in reversed(self.rows)}

    @property
    def first(self) -> Mapping[str, str]:
        """A row that says what the matrix is about."""
        return self.rows[0].row

    @property
    def budget(self) -> str:
        """What the rows were given, and whether that is too little to be settled."""
        return budget_in_words(self.first) + ", provisional" * is_provisional(self.first)

    @property
    def tests(self) -> list[str]:
        """The test corpora, which are the columns."""
        return sorted({test for _, test in self.cells})

    @property
    def trains(self) -> list[str]:
        """The training corpora, which are the rows: those that are tested too come first, in the same order."""
        return sorted({train for train, _ in self.cells}, key=lambda name: (name not in self.tests, name))

    def within(self, crossed: Crossed) -> str:
        """The UAR within the corpus that a row is tested on; empty if that was not run."""
        own = self.cells.get((crossed.row["test"], crossed.row["test"]))
        return own.row["uar_pooled_mean"] if own and not crossed.within else ""


@dataclass(frozen=True)
class Section:
    """All about one set of shared classes, and one reading of the corpora's labels."""

    classes: str  #             separated by spaces, as in the CSV
    mapping: tuple[str, ...]  # what each corpus's labels stand for, in words
    matrices: tuple[Matrix, ...]

    @property
    def n_classes(self) -> int:
        """How many classes are shared."""
        return len(self.classes.split(" "))


@dataclass(frozen=True)
class CrossView:
    """The whole board."""

    csv: Path
    sections: tuple[Section, ...]
    rows: tuple[tuple[Crossed, str], ...]  # each row of the CSV once, with the UAR within its test corpus

    @property
    def missing(self) -> int:
        """How many rows have no bundle."""
        return sum(crossed.folder is None for crossed, _ in self.rows)


def gather(leaderboards: Path, runs: Path) -> CrossView | None:
    """Read and verify the board; None if there is none. StorageError where a number is not what its bundle gives."""
    path = leaderboards / board_files.CROSS
    rows = board_files.whole(path, NEEDED)
    if not rows:
        return None
    bundles = Bundles.of(runs, leaderboards).crossed
    findings, _ = verify.verify_cross(path, runs)
    if findings:
        raise StorageError(
            f"{path} is not what the bundles in {bundles} give: {few(map(str, findings), 3)}. "
            "`sertbench leaderboard` writes it anew"
        )
    found = [Crossed(row, bundles.find(row)) for row in rows]
    sections = sections_of(found)
    beside = {
        crossed.row["row_id"]: within
        for section in sections
        for matrix in section.matrices
        for crossed in matrix.rows
        if (within := matrix.within(crossed))
    }
    return CrossView(path, sections, tuple((crossed, beside.get(crossed.row["row_id"], "")) for crossed in found))


def sections_of(rows: Sequence[Crossed]) -> tuple[Section, ...]:
    """Rows by shared classes and label mapping. A row within a corpus stands in every section that has the corpus."""
    newest = sorted(rows, key=lambda c: (c.row["date_utc"], c.row["row_id"]), reverse=True)
    drafts: list[tuple[str, dict[str, str], list[Crossed]]] = []  # classes, mapping, rows
    for crossed in sorted(newest, key=lambda c: c.within):
        classes, mapping = crossed.row["classes"], crossed.mapping
        fitting = [d for d in drafts if d[0] == classes and agree(d[1], mapping)]
        if crossed.within:
            fitting = [d for d in fitting if mapping.keys() <= d[1].keys()] or fitting[:1]
        else:
            fitting = fitting[:1]
        if not fitting:
            drafts.append((classes, {}, []))
            fitting = drafts[-1:]
        for _, known, members in fitting:
            known.update(mapping)
            members.append(crossed)
    made = [
        Section(classes, tuple(said for _, said in sorted(mapping.items())), matrices_of(members))
        for classes, mapping, members in drafts
    ]
    return tuple(sorted(made, key=lambda s: (-s.n_classes, s.classes, s.mapping)))


def agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two mappings say the same of each corpus that both name."""
    return all(one.get(name, said) == said for name, said in other.items())


def matrices_of(rows: Sequence[Crossed]) -> tuple[Matrix, ...]:
    """Rows by model, features and budget, in the order of their names."""
    found: dict[tuple[str, ...], list[Crossed]] = {}
    for crossed in rows:
        found.setdefault(key_of(crossed.row, ALIKE), []).append(crossed)
    return tuple(Matrix(tuple(members)) for _, members in sorted(found.items()))


def values(view: CrossView) -> dict[str, Any]:
    """What the page shows."""
    return {"cross": view, "columns": COLUMNS, "texts": TEXTS}
