"""Work the leaderboards out anew from the bundles, and say where the published ones differ from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sertbench import board_files, cross_board, leaderboard, quoted, replication, verify
from sertbench.board_rows import KEY, Gathered, Row, gather, key_of, text_of
from sertbench.bundles import Bundles
from sertbench.errors import BundleError, ConfigError, StorageError
from sertbench.findings import differing_cells, doubled, without_bundle


def derived(path: Path, gathered: Gathered, bundles: Bundles) -> list[Row]:
    """A leaderboard as it should be: the bundles' rows, and the published rows whose bundle is not at hand.

    A bundle that a run wrote after they were `gathered` was not: the run put its row there itself.
    """
    rows = {key_of(row, KEY): row for row in gathered.rows.get(path.stem, [])}
    for row in board_files.read(path):
        if row["bundle"] not in gathered.looked_at and (key_of(row, KEY) not in rows or bundles.find(row)):
            rows[key_of(row, KEY)] = row
    return leaderboard.ranked(list(rows.values()), bundles)


def rebuild(folder: Path, runs: Path, corpora: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Write every leaderboard anew that is there, has bundles, or is among `corpora`.

    Gives the files, and what could not be used, in sentences. ConfigError for a corpus of which nothing is known.
    """
    bundles = Bundles.of(runs, folder)
    gathered = gather(bundles)
    notes, paths = list(gathered.left_out), []
    there = set(board_files.tables(folder))
    for corpus in sorted({*gathered.rows, *there, *corpora}):
        path = folder / f"{corpus}.csv"
        if corpus not in {*gathered.rows, *there} and not quoted.rows(corpus):
            raise ConfigError(f"there is no bundle of {corpus} in {bundles}, and no paper's figures are known on it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with board_files.locked(path):
                made = derived(path, gathered, bundles)
                board_files.save(path, made)
        except OSError as error:
            raise StorageError(f"cannot write the leaderboard {path}: {error.strerror or error}") from error
        lost = (row for row in made if not bundles.find(row))
        notes += [f"{path.name}: {without_bundle(row)}, so it is kept without a rank" for row in lost]
        paths.append(path)
    crossed, more = cross_board.rebuild(folder, bundles)
    return paths + crossed, notes + more


def check(folder: Path, runs: Path) -> list[str]:
    """Whatever in the published leaderboards is not what the bundles give, in sentences; empty if all is well."""
    bundles = Bundles.of(runs, folder)
    gathered = gather(bundles)
    names = sorted({*gathered.rows, *board_files.tables(folder)})
    found = list(gathered.left_out)
    for corpus in names:
        found += differences(folder / f"{corpus}.csv", gathered, bundles)
    for crossed in bundles.crossed:
        try:
            found += map(str, verify.verify_bundle(crossed))
        except BundleError as error:
            found.append(str(error))
    found += cross_board.check(folder, bundles)
    for replayed in sorted((folder / replication.FOLDER).glob("*.csv")):
        wrong, missing = verify.verify_replication(replayed, runs)
        found += [*map(str, wrong), *(f"{replayed.name}: no bundle at hand: {row}" for row in missing)]
    return list(dict.fromkeys(found))


def differences(path: Path, gathered: Gathered, bundles: Bundles) -> Iterator[str]:
    """Where one published leaderboard differs from what the bundles give."""
    published, rows = board_files.read(path), gathered.rows.get(path.stem, [])
    yield from map(str, verify.wrong_quotes(path))
    if not published and rows:
        yield f"{path} is missing or empty; the bundles give {len(rows)} rows"
        return
    for row in rows:
        yield from map(str, verify.verify_bundle(bundles.find(row) or path))
    old = {r["row_id"]: r for r in published}
    made = derived(path, gathered, bundles)
    new = {r["row_id"]: r for r in made}
    yield from map(str, doubled(path, published))
    for row in published:
        if row["row_id"] not in new:
            yield f"{path.name}: the row {row['row_id']} ({row['model']}) is not the newest run of its kind"
        elif not bundles.find(row):
            yield f"{path.name}: {without_bundle(row)}"
    for row_id, row in new.items():
        if row_id not in old:
            yield f"{path.name}: the row {row_id} ({row['model']}) of the bundle {row['bundle']} is missing"
        elif bundles.find(row):
            yield from map(str, differing_cells(old[row_id], row))
    if not set(old) ^ set(new) and [r["row_id"] for r in published] != [text_of(r["row_id"]) for r in made]:
        yield f"{path.name}: the rows stand in another order"
