"""`sertbench leaderboard`: rebuilding from bundles, checking what is published, and tables for papers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sertbench import board_files, board_rows, export, leaderboard, rebuild
from sertbench.bundles import Bundles
from sertbench.cli import main

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def folders(tmp_path: Path, made_bundle) -> tuple[Path, Path]:
    """Two corpora, a diagnostic among them, and their published tables."""
    runs, boards = tmp_path / "runs", tmp_path / "boards"
    made_bundle(runs, "strong", "one", 0.9, 1)
    made_bundle(runs, "weak", "one", 0.2, 2, trials=3)
    made_bundle(runs, "guess", "one", 0.0, 3, changes={"model": {"diagnostic": True, "n_parameters": 0}})
    made_bundle(runs, "strong", "two", 0.8, 4)
    assert call("leaderboard", runs, boards) == 0
    return runs, boards


def call(command: str, runs: Path, boards: Path, *more: str) -> int:
    return main([command, "--runs", str(runs), "--leaderboards", str(boards), *more])


def test_every_table_is_rebuilt_ranked_and_passes_its_own_check(folders) -> None:
    runs, boards = folders

    rows = board_files.read(boards / "one.csv")

    assert [(r["model"], r["rank"], r["board"]) for r in rows] == [
        ("strong", "1", "main"), ("weak", "2", "main"), ("guess", "", "diagnostic"),
    ]  # fmt: skip
    assert len(board_files.read(boards / "two.csv")) == 1
    assert call("leaderboard", runs, boards, "--check") == 0
    assert main(["verify", str(boards / "one.csv"), "--runs", str(runs)]) == 0


def test_rebuilding_again_changes_no_byte_and_mends_an_edited_table(folders) -> None:
    runs, boards = folders
    path = boards / "one.csv"
    whole = path.read_bytes()
    path.write_text(path.read_text().replace("strong", "str0ng"))
    call("leaderboard", runs, boards)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("column", ["uar_pooled_mean", "rank", "model", "n_params", "board"])
def test_check_names_the_cell_that_was_edited_and_writes_nothing(folders, capsys, column: str) -> None:
    runs, boards = folders
    path = boards / "one.csv"
    rows = board_files.read(path)
    rows[0][column] = "diagnostic" if column == "board" else "99.99"
    board_files.write(path, rows)
    edited = path.read_bytes()

    assert call("leaderboard", runs, boards, "--check") == 1

    assert f"{column} is" in capsys.readouterr().out
    assert path.read_bytes() == edited


@pytest.mark.parametrize("column", ["identical_to", "oracle_gap", "published_ua", "uar_style_improvised", "f1_micro"])
def test_a_cell_of_which_the_bundle_says_nothing_is_named(folders, capsys, column: str) -> None:
    runs, boards = folders
    path = boards / "one.csv"
    rows = board_files.read(path)
    rows[0][column] = "99.99"
    board_files.write(path, rows)

    assert call("leaderboard", runs, boards, "--check") == 1
    assert f"{column} is '99.99'" in capsys.readouterr().out
    assert main(["verify", str(path), "--runs", str(runs)]) == 1
    assert f"{column} is '99.99'" in capsys.readouterr().out


def test_verify_names_a_row_that_stands_there_twice(folders, capsys) -> None:
    runs, boards = folders
    rows = board_files.read(boards / "one.csv")
    board_files.write(boards / "one.csv", [*rows, rows[-1]])
    assert main(["verify", str(boards / "one.csv"), "--runs", str(runs)]) == 1
    assert f"the number of rows {rows[-1]['row_id']} is '2'" in capsys.readouterr().out


def test_check_names_missing_foreign_and_doubled_rows(folders, capsys, made_bundle) -> None:
    runs, boards = folders
    path = boards / "one.csv"
    rows = board_files.read(path)
    board_files.write(path, [*rows[1:], rows[2]])
    shutil.rmtree(runs / board_files.read(boards / "two.csv")[0]["bundle"])
    (boards / "three.csv").write_text("")
    made_bundle(runs, "new", "three", 0.5, 9)

    assert call("leaderboard", runs, boards, "--check") == 1

    said = capsys.readouterr().out
    assert re.search(r"one\.csv: the row \w+ \(strong\) of the bundle \S+ is missing", said)
    assert re.search(r"one\.csv: the number of rows \w+ is '2'", said)
    assert re.search(r"two\.csv: the bundle \S+ of strong \(\w+\) is not at hand", said)
    assert "three.csv is missing or empty" in said


def test_check_works_the_figures_out_again_from_the_predictions(folders, capsys) -> None:
    runs, boards = folders
    place = runs / board_files.read(boards / "two.csv")[0]["bundle"]
    run = json.loads((place / "run.json").read_text())
    run["figures"]["wa"] = 99.0
    (place / "run.json").write_text(json.dumps(run))
    call("leaderboard", runs, boards)
    assert call("leaderboard", runs, boards, "--check") == 1
    assert "wa is '99.00'" in capsys.readouterr().out


def test_the_newest_run_of_a_row_counts_and_the_older_is_named(folders, capsys, made_bundle) -> None:
    runs, boards = folders
    newer = made_bundle(runs, "strong", "two", 0.5, 8, date="2026-02-01T00:00:00+00:00")
    assert call("leaderboard", runs, boards) == 1
    assert [r["bundle"] for r in board_files.read(boards / "two.csv")] == [newer.name]
    assert f"{newer.name} is a newer run of the same row" in capsys.readouterr().out


def test_a_run_that_ends_meanwhile_keeps_its_row(folders, made_bundle, monkeypatch) -> None:
    runs, boards = folders

    def gathered(bundles: Bundles) -> board_rows.Gathered:
        found = board_rows.gather(bundles)
        for model, draw in (("new", 11), ("strong", 12)):
            new = made_bundle(runs, model, "one", 0.6, draw, date="2026-02-01T00:00:00+00:00")
            leaderboard.add(boards, board_rows.row_from(new), runs)
        return found

    monkeypatch.setattr(rebuild, "gather", gathered)
    assert call("leaderboard", runs, boards) == 0
    rows = board_files.read(boards / "one.csv")
    assert {r["model"] for r in rows if r["date_utc"].startswith("2026-02")} == {"new", "strong"}
    assert len(rows) == 4


def test_a_row_without_its_bundle_is_kept_and_named(folders, capsys) -> None:
    runs, boards = folders
    gone = next(r for r in board_files.read(boards / "one.csv") if r["model"] == "strong")
    shutil.rmtree(runs / gone["bundle"])
    assert call("leaderboard", runs, boards) == 1
    assert [(r["model"], r["rank"]) for r in board_files.read(boards / "one.csv")][:2] == [
        ("strong", ""),
        ("weak", "1"),
    ]
    assert f"the bundle {gone['bundle']} of strong" in capsys.readouterr().out


def test_a_damaged_bundle_and_a_corpus_named_like_a_path_are_left_out(tmp_path: Path, capsys, made_bundle) -> None:
    runs, boards = tmp_path / "runs", tmp_path / "deep" / "boards"
    made_bundle(runs, "good", "one", 0.9, 1)
    made_bundle(runs, "bad", "../../escaped", 0.9, 2, folder="hostile")
    (runs / "torn").mkdir()
    (runs / "torn" / "run.json").write_text("{")
    (runs / "empty").mkdir()
    (runs / "empty" / "run.json").write_text("{}")

    assert call("leaderboard", runs, boards) == 1

    assert [p.name for p in tmp_path.rglob("*.csv")] == ["one.csv"]
    said = capsys.readouterr().out.replace("\n", "")
    assert all(word in said for word in ("'../../escaped' cannot be the name", "torn", "empty", "is damaged"))


def test_no_bundles_no_boards_and_bad_options_are_errors_in_words(tmp_path: Path, capsys) -> None:
    assert call("leaderboard", tmp_path / "runs", tmp_path / "boards") == 2
    assert call("leaderboard", tmp_path / "runs", tmp_path / "boards", "--format", "latex") == 2
    assert call("leaderboard", tmp_path / "runs", tmp_path / "boards", "--out", "x") == 2
    assert capsys.readouterr().err.count("sertbench: error: ") == 3


def test_a_cell_that_is_no_number_is_an_error_in_words(folders, capsys) -> None:
    runs, boards = folders
    rows = board_files.read(boards / "two.csv")
    board_files.write(boards / "two.csv", [{**rows[0], "uar_ci95_lo": "nan"}])
    assert call("leaderboard", runs, boards, "--format", "markdown") == 2
    assert "uar_ci95_lo is 'nan', expected a number" in capsys.readouterr().err


def test_markdown_has_a_table_per_board_with_its_caption(folders, capsys) -> None:
    runs, boards = folders
    capsys.readouterr()
    assert call("leaderboard", runs, boards, "one", "--format", "markdown") == 0
    text = capsys.readouterr().out
    rows = board_files.read(boards / "one.csv")
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert [line[1] for line in lines] == ["Model", "strong", "weak", "Model", "guess"]
    strong = rows[0]
    assert lines[1][0] == "1"
    assert lines[1][2] == strong["uar_pooled_mean"]
    assert lines[1][3] == rf"\[{strong['uar_ci95_lo']}, {strong['uar_ci95_hi']}\]"
    assert f"Protocol pairs/1 ({strong['protocol_sha256'][:8]}), 3 folds, n = 72 utterances, 2 seeds" in text
    assert "jackknife over speakers" in text
    assert "Diagnostics." in text


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_a_caption_says_which_rows_are_provisional(tmp_path: Path, made_bundle, capsys, form: str) -> None:
    runs, boards = tmp_path / "runs", tmp_path / "boards"
    made_bundle(runs, "settled", "one", 0.9, 1, seeds=5)
    made_bundle(runs, "settled", "two", 0.9, 1, seeds=5)
    made_bundle(runs, "quick", "two", 0.9, 2, seeds=3)
    made_bundle(runs, "quick", "three", 0.9, 2, seeds=3)
    assert call("leaderboard", runs, boards) == 0
    capsys.readouterr()

    def said(corpus: str) -> str:
        assert call("leaderboard", runs, boards, corpus, "--format", form) == 0
        return capsys.readouterr().out

    assert "provisional" not in said("one")
    assert "1 of 2 rows is of fewer than five seeds: provisional." in (two := said("two"))
    assert "quick, 3 seeds" in two
    assert "settled, " not in two
    assert "The row is of fewer than five seeds: provisional." in (three := said("three"))
    assert "quick, 3 seeds" not in three


def test_latex_is_balanced_and_written_to_a_file(folders, tmp_path: Path, capsys) -> None:
    runs, boards = folders
    out = tmp_path / "table.tex"
    assert call("leaderboard", runs, boards, "--format", "latex", "--out", str(out)) == 0
    text = out.read_text()
    for one in ("begin{table*}", "end{table*}", "toprule", "midrule", "bottomrule", "caption{", "label{tab:"):
        assert text.count("\\" + one) == 3
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in lines} == {len(export.COLUMNS) - 1}
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 3


@pytest.mark.parametrize("name", [HOSTILE, r"a|b_c & 5 % of \input{x} $y$ #1 ~ ^ `z`", "two\nlines"])
def test_hostile_names_are_text_in_every_format(tmp_path: Path, made_bundle, name: str) -> None:
    runs = tmp_path / "runs"
    made_bundle(runs, name, "one", 0.9, 1)
    rebuild.rebuild(tmp_path / "boards", runs)
    rows = board_files.read(tmp_path / "boards" / "one.csv")
    assert rows[0]["model"] == name

    markdown, latex = export.markdown(rows), export.latex(rows)

    body = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(body) == 3
    assert len(re.findall(r"(?<!\\)\|", body[2])) == len(export.COLUMNS) + 1
    assert "<script" not in markdown
    line = next(line for line in latex.splitlines() if line.startswith("1 & "))
    assert len(re.findall(r"(?<!\\)&", line)) == len(export.COLUMNS) - 1
    assert r"\input" not in latex
    assert not re.search(r"(?<!\\)[%$#_]", line)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é ñ ç Å Żł", r"\'{e} \~{n} \c{c} \r{A} \.{Z}\l{}"),
        ("α 😀 \x01", "[U+03B1] [U+1F600] [U+0001]"),
        ("a--b ?`x` ''", r"a-{}-b ?{}\textasciigrave{}x\textasciigrave{} '{}'"),
        ('“one”\n\n"two"', r"``one'' {\char34}two{\char34}"),
    ],
)
def test_latex_prints_every_character_or_its_code(text: str, shown: str) -> None:
    assert export.safe_latex(text) == shown


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)")
def test_latex_compiles_and_fits_the_page(tmp_path: Path, made_bundle) -> None:
    runs = tmp_path / "runs"
    for k, name in enumerate(("glam", "bilstm_attention", HOSTILE, "α → ß “x”", r"\^~#&%$_{}", "a--b\n\nc")):
        made_bundle(runs, name, "one" if k < 2 else f"c{k}", 0.9, k, seeds=1 + k % 2, trials=10 * k)
    made_bundle(runs, "guess", "one", 0.0, 9, changes={"model": {"diagnostic": True}, "corpus": {"label_set": "4c_é%"}})
    rebuild.rebuild(tmp_path / "boards", runs)
    rows = [row for path in sorted((tmp_path / "boards").glob("*.csv")) for row in board_files.read(path)]
    main_rows = [row for row in rows if row["corpus"] == "one"]
    for name, chosen in (("all", rows), ("one", main_rows)):
        body = export.latex(chosen)
        text = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + body + "\n\\end{document}\n"
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / f"{name}.pdf").stat().st_size > 10_000
        assert name == "all" or "Overfull" not in done.stdout, "a table of usual names is as wide as the page at most"


def test_rows_of_one_model_are_told_apart_by_their_features(tmp_path: Path, made_bundle) -> None:
    for k, kind in enumerate(("egemaps", "functionals")):
        path = made_bundle(tmp_path / "runs", "svm", "one", 0.9, k, folder=kind)
        run = json.loads((path / "run.json").read_text())
        run["model"]["recipe"]["features"] = {"kind": kind}
        (path / "run.json").write_text(json.dumps(run))
    made_bundle(tmp_path / "runs", "cnn", "one", 0.5, 3)
    rebuild.rebuild(tmp_path / "boards", tmp_path / "runs")
    text = export.markdown(board_files.read(tmp_path / "boards" / "one.csv"))
    assert "| svm, egemaps |" in text
    assert "| svm, functionals |" in text
    assert "| cnn |" in text
