"""The leaderboards that this repository publishes: every cell from the bundles beside them, nothing about a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertbench import board_files, bundle, export, publishing, quoted, rebuild, verify
from sertbench.bundles import Bundles

BOARDS = Path(__file__).parent.parent / "leaderboards"
NOWHERE = Path("no-runs-here")
TABLES = sorted(BOARDS.rglob("*.csv"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_published_cell_follows_from_the_bundles_beside_the_board(path: Path) -> None:
    findings, missing = verify.verify_table(path, NOWHERE)
    assert not [*map(str, findings), *missing]


def test_the_boards_are_what_the_bundles_give_no_more_and_no_less() -> None:
    assert rebuild.check(BOARDS, NOWHERE) == []


def test_no_row_is_synthetic_dirty_or_incomplete_and_ranked_rows_share_trials_and_tell_fewer_seeds() -> None:
    for path in board_files.tables(BOARDS).values():
        rows = board_files.read(path)
        assert not [r["model"] for r in rows if r["synthetic"] == "1" or r["dirty"] == "1"]
        assert not [r["model"] for r in rows if "incomplete" in r["unranked_reason"]]
        ranked = [r for r in rows if r["ranked"] == "1"]
        assert len({r["hpo_trials"] for r in ranked}) <= 1
        seeds = [int(r["n_seeds"]) for r in ranked]
        for row, n in zip(ranked, seeds, strict=True):
            name = export.cells(row, rows)[1]
            assert ("seed" in name) == (n < max(seeds)), name


def test_no_bundle_names_a_folder_of_the_machine_that_it_was_made_on() -> None:
    for folder in Bundles.of(NOWHERE, BOARDS):
        assert list(publishing.private_words(bundle.load_run(folder))) == []
        assert not publishing.ABSOLUTE.search((folder / "config.toml").read_text())


def test_iemocap_has_the_figures_that_papers_claim() -> None:
    """The corpus is licensed and not at hand here: nothing was measured on it."""
    rows = board_files.parsed(BOARDS / "iemocap.csv")
    assert len(rows) == len(quoted.rows("iemocap")) > 0
    assert all(quoted.is_quoted(row) for row in rows)
