"""Leaderboards as CSV files: read with their faults said in words, written in one step, and locked meanwhile."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sertbench import files, quoted
from sertbench.board_rows import BOARDS, COLUMNS, NEEDED, NUMBERS, Row, text_of
from sertbench.errors import StorageError

LOCK_SECONDS = 300.0  # to wait for other runs that write the same board; each takes seconds
CROSS = "cross.csv"  # the board of cross-corpus runs, which has other columns (see cross_board)


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


def whole(path: Path, needed: Sequence[str] = NEEDED) -> list[Row]:
    """The rows of `read` for showing them: all columns are there, empty ones of a table that was written before them.

    Raises StorageError for a row that is cut off or has cells too many, too.
    """
    rows = read(path, needed)
    if torn := [number for number, row in enumerate(rows, 1) if None in row or None in row.values()]:
        raise StorageError(
            f"{path}: row {torn[0]} is cut off, or has cells too many. Move the file away: `sertbench leaderboard` "
            "writes it anew from the bundles"
        )
    empty = dict.fromkeys((name for name in COLUMNS if not name.endswith("_*")), "")
    return [{**empty, **row} for row in rows]


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


def locked(path: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing a board. BusyError when one has been at it for too long."""
    busy = f"another process has been writing {path} for {LOCK_SECONDS:.0f} s. The bundles are kept: run again"
    return files.locked(path.with_name(f".{path.name}.lock"), LOCK_SECONDS, busy)
