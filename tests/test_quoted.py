"""Figures that papers claim: quoted on the replication board with source and protocol, never ranked, never edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertbench import board_files, quoted
from sertbench.cli import main


def call(command: str, root: Path, *more: str) -> int:
    return main([command, *more, "--runs", str(root / "runs"), "--leaderboards", str(root / "boards")])


def test_a_corpus_without_runs_has_the_figures_that_papers_claim_and_no_other(tmp_path: Path) -> None:
    assert call("leaderboard", tmp_path, "iemocap") == 0

    rows = board_files.parsed(tmp_path / "boards" / "iemocap.csv")

    assert {r["board"] for r in rows} == {"replication"}
    assert {r["ranked"] for r in rows} == {"0"}
    assert {r["rank"] for r in rows} == {""}
    assert all(r["source"] and r["protocol"] and r["paper"] and r["differs"] for r in rows)
    assert all(r["published_wa"] or r["published_ua"] for r in rows)
    glam = next(r for r in rows if (r["model"], r["protocol"], r["subset"]) == ("GLAM", "glam-icassp22/80-20", "all"))
    # Zhu and Li, ICASSP 2022, the table of their README: WA 73.70, UA 73.90; the epoch was chosen on the test part
    assert (glam["published_wa"], glam["published_ua"], glam["selection_on"]) == ("73.70", "73.90", "test")
    assert board_files.read(tmp_path / "boards" / "iemocap.csv") == []  # nothing measured
    assert call("leaderboard", tmp_path, "--check") == 0
    assert main(["verify", str(tmp_path / "boards" / "iemocap.csv"), "--runs", str(tmp_path)]) == 0


def test_verify_says_that_quoted_rows_have_no_predictions(tmp_path: Path, made_bundle, capsys) -> None:
    n_iemocap, n_emodb = len(quoted.rows("iemocap")), len(quoted.rows("emodb"))
    made_bundle(tmp_path / "runs", "cnn", "emodb", 0.8, 1)
    call("leaderboard", tmp_path, "iemocap")
    capsys.readouterr()

    def verify(name: str) -> int:
        return main(["verify", str(tmp_path / "boards" / name), "--runs", str(tmp_path / "runs")])

    assert verify("iemocap.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{n_iemocap} rows quote papers" in said
    assert "follows from" not in said
    assert verify("emodb.csv") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"every figure of its row follows from the predictions; {n_emodb} rows quote papers" in said


def test_quoted_rows_stand_below_the_measured_ones_and_no_row_twice(tmp_path: Path, made_bundle) -> None:
    made_bundle(tmp_path / "runs", "cnn", "emodb", 0.8, 1)
    call("leaderboard", tmp_path)
    path = tmp_path / "boards" / "emodb.csv"
    first = path.read_bytes()
    call("leaderboard", tmp_path)

    assert path.read_bytes() == first
    boards = [r["board"] for r in board_files.parsed(path)]
    assert boards == ["main"] + ["replication"] * len(quoted.rows("emodb"))
    ids = [r["row_id"] for r in board_files.parsed(path)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("change", ["edit", "drop", "add"])
def test_a_quoted_figure_that_was_edited_dropped_or_added_is_named(tmp_path: Path, capsys, change: str) -> None:
    call("leaderboard", tmp_path, "iemocap")
    path = tmp_path / "boards" / "iemocap.csv"
    rows = board_files.parsed(path)
    changed = {
        "edit": [{**rows[0], "published_wa": "99.90"}, *rows[1:]],
        "drop": rows[:-1],
        "add": [*rows, {**rows[0], "model": "MyNet"}],
    }[change]
    board_files.write(path, changed)
    capsys.readouterr()

    assert main(["verify", str(path), "--runs", str(tmp_path)]) == 1
    assert ("published_wa" if change == "edit" else "number of quoted rows") in capsys.readouterr().out
    assert call("leaderboard", tmp_path, "--check") == 1


def test_a_name_of_which_nothing_is_known_is_refused(tmp_path: Path, capsys) -> None:
    assert call("leaderboard", tmp_path, "iemocapp") == 2
    assert "no bundle of iemocapp" in capsys.readouterr().err
    assert not (tmp_path / "boards" / "iemocapp.csv").exists()


def test_the_report_shows_them_apart_from_the_boards(tmp_path: Path, made_bundle) -> None:
    made_bundle(tmp_path / "runs", "cnn", "emodb", 0.8, 1)
    call("leaderboard", tmp_path, "iemocap")
    assert call("report", tmp_path, "--out", str(tmp_path / "report")) == 0

    index = (tmp_path / "report" / "index.html").read_text()
    page = (tmp_path / "report" / "corpora" / "iemocap.html").read_text()
    assert "1 rows on 1 corpus" in index
    assert 'href="corpora/iemocap.html#quoted"' in index
    assert page.count("glam-icassp22/") == sum("glam-icassp22" in r["protocol"] for r in quoted.rows("iemocap"))
    assert "81.18 ± 1.47" in page
