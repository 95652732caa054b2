"""What is not as published: a finding in words, and the cells of a row that are not what its bundle says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sertbench.board_rows import Row, text_of

JUDGED = ("rank", "identical_to")  # cells that follow from a table's other rows, too


@dataclass(frozen=True)
class Finding:
    """Something that is not as published."""

    where: str  #     bundle or row
    what: str  #      file, figure or cell
    published: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} is {self.published!r}, but should be {self.found!r}"


def differing_cells(row: Row, derived: Row) -> Iterator[Finding]:
    """Cells of a row that are not what its bundle says, and filled ones of which it says nothing.

    What follows from the other rows of a table is compared where `derived` has it.
    """
    for name in dict.fromkeys([*derived, *row]):
        published, found = row.get(name, ""), text_of(derived.get(name))
        if published != found and (name in derived or name not in JUDGED):
            yield Finding(f"row {row['row_id']} ({row['model']})", name, published, found)


def doubled(path: Path, rows: Sequence[Row]) -> Iterator[Finding]:
    """Rows that stand in a table more than once."""
    for row_id, times in Counter(row["row_id"] for row in rows).items():
        if times > 1:
            yield Finding(path.name, f"the number of rows {row_id}", str(times), "1")


def without_bundle(row: Row) -> str:
    """The words for a row whose bundle is missing."""
    return f"the bundle {row['bundle']} of {row['model']} ({row['row_id']}) is not at hand"
