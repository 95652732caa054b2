"""The report: every number on a page is the CSV's, every number of the CSV follows from the predictions, names that
would do harm are text, and nothing leads out of the folder."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from sertbench import (
    board_files,
    board_rows,
    bundle,
    gaps_record,
    report,
    report_cross,
    report_gather,
    report_stress,
    report_view,
    run_details,
    stress_record,
    svg,
)
from sertbench.board_rows import text_of
from sertbench.cli import main
from sertbench.errors import ConfigError, StorageError
from sertbench.report_charts import group_chart
from sertbench.results import figures

SCRIPT, QUOTES, UP = "<script>alert(1)</script>", "\" onmouseover='alert(2)' x=\"", "../../up"
IMAGE = "<img src=x onerror=alert(3)>"
VOID = {"wbr", "meta", "link", "input", "br", "img", "path", "circle"}


class Page(HTMLParser):
    """A parsed page: elements as (tag, attributes, text inside), rows of tables by the id of their section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not [e["tag"] for e in self._open], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), "no attribute twice"
        element = {
            "tag": tag,
            "at": dict(attrs),
            "text": "",
            "up": self._open[-1] if self._open else None,
            "inside": [],
        }
        self.elements.append(element)
        if self._open:
            self._open[-1]["inside"].append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop()["tag"] == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e["tag"] == tag and wanted.items() <= e["at"].items()]


def below(element: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """All descendants of a kind, in order."""
    return [e for child in element["inside"] for e in ([child] if child["tag"] == tag else []) + below(child, tag)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, made_bundle, stressed) -> Path:
    """Runs, leaderboards and a report: ties, diagnostics, a synthetic corpus, hostile names, a row without a bundle."""
    root = tmp_path_factory.mktemp("made")
    runs = root / "runs"
    cheats = {"random_split": 95.5, "test_epoch": 91.0, "oracle_gap": 1.5}
    stressed(made_bundle(runs, "strong", "one", 0.9, 1, optimism=cheats), SCRIPT)
    made_bundle(runs, "equal", "one", 0.9, 2, trials=3, changes={"model": {"family": "LSTM"}})
    made_bundle(runs, "weak", "one", 0.2, 3)
    made_bundle(runs, "guess", "one", 0.0, 4, changes={"model": {"diagnostic": True, "n_parameters": 0}})
    made_bundle(runs, SCRIPT, "one", 0.5, 5, changes={"model": {"family": SCRIPT, "paper": SCRIPT}})
    made_bundle(runs, QUOTES, "one", 0.4, 6, classes=(SCRIPT, "b", "c"), changes={"corpus": {"label_set": QUOTES}})
    made_bundle(runs, UP, IMAGE, 0.5, 7, folder="up")
    made_bundle(runs, "strong", "toy", 0.8, 8, changes={"corpus": {"synthetic": True}}, seeds=1)
    gone = made_bundle(runs, "gone", "two", 0.8, 9)
    crossed(made_bundle, runs)
    made_bundle(runs, "strong", "two", 0.8, 10)
    arguments = ["--runs", str(runs), "--leaderboards", str(root / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    shutil.rmtree(gone)
    assert main(["report", *arguments, "--out", str(root / "report")]) == 0
    return root


MAPPING = {
    "one": {
        "label_set": "4class",
        "classes": {"angry": ["anger"], "happy": ["joy"], "sad": ["sad"]},
        "left_out": [SCRIPT],
    },
    IMAGE: {"label_set": UP, "classes": {"angry": ["angry"], "happy": ["happy"], "sad": [QUOTES]}, "left_out": []},
}


def crossed(made_bundle, runs: Path) -> None:
    """Runs across two corpora, one of a hostile name: a whole matrix of one model, and parts of others."""
    wanted = [("plain", "one", "one", 0), ("plain", IMAGE, IMAGE, 0), ("plain", "one", IMAGE, 0),
              ("plain", IMAGE, "one", 0), (SCRIPT, "one", IMAGE, 0), ("plain", "one", IMAGE, 5)]  # fmt: skip
    for k, (model, train, test, trials) in enumerate(wanted):
        names = list(dict.fromkeys((train, test)))
        cross = {"kind": "within" if train == test else "cross", "train": [train], "test": [test],
                 "mapping": {name: MAPPING[name] for name in names}}  # fmt: skip
        made_bundle(
            runs / "cross", model, "+".join(names), 0.9 - k / 10, 20 + k, trials=trials, folder=f"c{k}", kind="cross",
            cross=cross, prefix="" if train == test else f"{test}/",
        )  # fmt: skip


@pytest.fixture(scope="module")
def pages(made: Path) -> list[Page]:
    return [Page(path) for path in sorted((made / "report").rglob("*.html"))]


def rows_of(made: Path) -> dict[str, dict[str, str]]:
    """All rows of the CSVs by their id."""
    found = [row for path in board_files.tables(made / "boards").values() for row in board_files.read(path)]
    return {row["row_id"]: row for row in found}


def shown(cell: str, name: str = "") -> str:
    """How a cell of the CSV stands on a page."""
    return "–" if not cell or (name == "n_params" and cell == "0") else cell


def test_every_number_of_every_board_is_the_csvs(made: Path, pages: list[Page]) -> None:
    index = next(p for p in pages if p.path.name == "index.html")
    left = sorted(rows_of(made).values(), key=lambda r: r["row_id"])
    walked = 0
    for section in index.all("section", class_="board"):
        heads = [th["at"]["data-col"] for th in below(below(section, "thead")[0], "th")]
        assert heads == [key for key, _, _ in report_pages_columns()]
        for tr in below(section, "tr")[1:]:
            if tr["at"].get("class") == "group":
                continue
            cells = dict(zip(heads, [e for e in tr["inside"] if e["tag"] in ("td", "th")], strict=True))
            name = next(iter(below(cells["model"], "a")), cells["model"])["text"]
            matches = [r for r in left if name.startswith(r["model"]) and r["corpus"] == section["at"]["data-corpus"]
                       and r["uar_pooled_mean"] == cells["uar_pooled_mean"]["text"]]  # fmt: skip
            assert len(matches) == 1
            row = matches[0]
            left.remove(row)
            ends = [span["text"] for span in below(cells["interval"], "span")]
            assert ends == [row["uar_ci95_lo"], row["uar_ci95_hi"]]
            for key in set(heads) - {"model", "interval"}:
                assert cells[key]["text"].replace(",", "") == shown(row[key], key), key
                walked += 1
    assert not left, "each row of the CSVs is shown once"
    assert walked == 13 * len(rows_of(made))


def report_pages_columns() -> tuple[tuple[str, str, str], ...]:
    from sertbench.report_pages import BOARD_COLUMNS

    return BOARD_COLUMNS


def test_every_number_of_a_runs_page_is_the_csvs_or_follows_from_the_predictions(made: Path, pages: list[Page]) -> None:
    rows, seen = rows_of(made), set()
    for page in (p for p in pages if p.path.parent.name == "models"):
        marked = {e["at"]["data-col"]: e["text"] for e in page.elements if "data-col" in e["at"]}
        row = rows[marked["row_id"]]
        seen.add(row["row_id"])
        marked["n_params"] = marked["n_params"].replace(",", "")
        assert {name: shown(row[name], name) for name in marked} == marked
        folder = made / "runs" / row["bundle"]
        run = bundle.load_run(folder)
        predictions = bundle.load_predictions(folder, run)
        found = {name: text_of(value) for name, value in figures(predictions).items()}
        assert {name: row[name] for name in found} == found
        folds = table(page, "folds")
        assert folds == {name: row[f"uar_fold_{name}"] for name in folds}
        assert len(folds) == int(row["n_folds"])
        speakers = table(page, "speakers")
        assert min(speakers.values(), key=float) == row["worst_speaker_uar"]
        assert speakers[row["worst_speaker"]] == row["worst_speaker_uar"]
        (confusion,) = page.all("table", class_="confusion")
        lines = [[td["text"] for td in below(tr, "td")] for tr in below(confusion, "tr")[1:]]
        for k, name in enumerate(predictions.classes):
            assert float(lines[k][k].split()[0]) == pytest.approx(float(row[f"recall_{name}"]), abs=0.06)
            assert sum(float(cell.split()[0]) for cell in lines[k]) == pytest.approx(100, abs=0.3)
    assert seen == {i for i, r in rows.items() if r["model"] != "gone"}, "each row with a bundle has a page"


def table(page: Page, name: str) -> dict[str, str]:
    """First two columns of a table."""
    (found,) = page.all("table", id=name)
    return {below(tr, "th")[0]["text"]: below(tr, "td")[0]["text"] for tr in below(found, "tr")[1:]}


def test_every_number_of_the_cross_corpus_page_is_the_csvs(made: Path, pages: list[Page]) -> None:
    page = next(p for p in pages if p.path.name == "cross.html")
    rows = {r["row_id"]: r for r in board_files.parsed(made / "boards" / "cross.csv")}
    within = {(r["model"], r["test"]): r["uar_pooled_mean"] for r in rows.values() if r["kind"] == "within"}
    assert len(rows) == 6
    (listed,) = page.all("table", class_="rows sortable")
    heads = [th["at"]["data-col"] for th in below(below(listed, "thead")[0], "th")]
    seen = []
    for tr in below(listed, "tr")[1:]:
        row = rows[tr["at"]["data-row"]]
        seen.append(row["row_id"])
        cells = dict(zip(heads, [e for e in tr["inside"] if e["tag"] in ("td", "th")], strict=True))
        assert [span["text"] for span in below(cells["interval"], "span")] == [row["uar_ci95_lo"], row["uar_ci95_hi"]]
        beside = within.get((row["model"], row["test"]), "–") if row["hpo_trials"] == "0" else "–"
        assert cells["within"]["text"] == ("itself" if row["kind"] == "within" else beside)
        assert cells["model"]["text"].startswith(row["model"])
        for key in set(heads) - {"interval", "within", "model", "bundle"}:
            assert cells[key]["text"] == shown(row[key]), key
        with zipfile.ZipFile(made / "report" / below(cells["bundle"], "a")[0]["at"]["href"]) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("run.json")]
            assert archive.read(name) == (made / "runs" / "cross" / row["bundle"] / "run.json").read_bytes()
    assert sorted(seen) == sorted(rows), "each row of the CSV is shown once"
    walked = set()
    for matrix in page.all("table", class_="crossing"):
        tests = [th["text"] for th in below(below(matrix, "thead")[0], "th")][1:]
        for tr in below(matrix, "tr")[1:]:
            train = below(tr, "th")[0]["text"]
            for test, td in zip(tests, below(tr, "td"), strict=True):
                if td["text"] == "–":
                    continue
                row = rows[td["at"]["data-row"]]
                walked.add(row["row_id"])
                assert (row["train"], row["test"]) == (train, test)
                assert below(td, "strong")[0]["text"] == row["uar_pooled_mean"]
                assert below(td, "span")[0]["text"] == f"{row['uar_ci95_lo']}–{row['uar_ci95_hi']}"
                own = within.get((row["model"], test)) if row["hpo_trials"] == "0" else None
                said = "within" if row["kind"] == "within" else f"within: {own}" if own else None
                assert [em["text"] for em in below(td, "em")] == [said] * bool(said) + ["alarm"] * bool(row["alarms"])
    assert walked == set(rows)
    said = [li["text"] for li in below(page.all("ul", class_="mapping")[0], "li")]
    assert {part for r in rows.values() for part in r["label_mapping"].split(" | ")} == set(said)
    assert len(page.all("ul", class_="mapping")) == 1, "one set of classes, one reading of the labels"


def cross_row(row_id: str, train: str, test: str, mapping: str, **more: str) -> report_cross.Crossed:
    kind = "within" if train == test else "cross"
    row = {"row_id": row_id, "train": train, "test": test, "label_mapping": mapping, "classes": "a b", "kind": kind}
    row |= {"date_utc": row_id, "model": "cnn", "uar_pooled_mean": row_id, **more}
    return report_cross.Crossed(row, None)


def test_what_stress_and_gaps_measured_is_on_the_runs_page_number_by_number(made: Path, pages: list[Page]) -> None:
    page = next(p for p in pages if p.path.name.startswith("strong-one"))
    row = next(r for r in rows_of(made).values() if r["model"] == "strong" and r["corpus"] == "one")
    folder = made / "runs" / row["bundle"]
    rows = stress_record.read(folder)
    (listed,) = page.all("table", id="stress")
    lines = below(listed, "tr")[1:]
    assert len(lines) == len(rows) == 12
    for tr, known in zip(lines, rows, strict=True):
        cells = [td["text"] for td in below(tr, "td")]
        assert below(tr, "th")[0]["text"] == ("undisturbed" if known.kind == "clean" else known.name)
        assert cells[1:4] == [
            f"{known.uar:.2f}",
            f"{known.uar_ci95_lo:.2f}–{known.uar_ci95_hi:.2f}",
            f"{known.change:+.2f}",
        ]
        assert cells[5:] == [f"{known.changed:.2f}", f"{known.ece:.2f}", f"{known.brier:.3f}", f"{known.nll:.2f}"]
    assert below(lines[0], "td")[1]["text"] == row["uar_pooled_mean"]
    assert below(lines[3], "td")[0]["text"] == "10 dB SNR"
    charts = [svg_ for svg_ in page.all("svg", role="img") if " and " in svg_["at"]["aria-label"].split(".")[0]]
    names = ("noise", "reverb", "telephone line", "codec", "gain", "packet loss")
    assert [c["at"]["aria-label"].split(".")[0] for c in charts] == [
        f"{figure} (%) and {name}" for figure in ("UAR", "ECE") for name in names
    ]
    (link,) = [a["at"]["href"] for a in page.all("a") if a["at"]["href"].endswith("stress.csv")]
    assert (page.path.parent / link).read_bytes() == (folder / "stress" / "stress.csv").read_bytes()
    gender, speaker = gaps_record.read(folder, row)
    (groups,) = [t for t in page.all("table") if t["at"].get("aria-label") == "gender: groups"]
    assert [[below(tr, "th")[0]["text"], below(tr, "td")[0]["text"]] for tr in below(groups, "tr")[1:]] == [
        [g.name, f"{g.uar:.2f}"] for g in gender.groups
    ]
    (beside,) = [t for t in page.all("table") if t["at"].get("aria-label") == "speaker: beside chance"]
    assert [below(tr, "td")[0]["text"] for tr in below(beside, "tr")[1:]] == [
        f"{f.observed:.2f}" for f in speaker.figures
    ]
    others = [p for p in pages if p.path.parent.name == "models" and p is not page]
    assert all("sertbench stress" in p.path.read_text() and not p.all("table", id="stress") for p in others)


def test_measurements_of_other_predictions_or_damaged_ones_are_not_shown(tmp_path: Path, made_bundle, stressed) -> None:
    folder = made_bundle(tmp_path / "runs", "cnn", "one")
    stressed(folder)
    main(["leaderboard", "--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")])
    (entry,) = report_gather.gather(tmp_path / "boards", tmp_path / "runs").entries
    assert report_stress.values(entry, 33.3)["stress"]
    assert len(report_stress.values(entry, 33.3)["gaps"]) == 2
    good = {path: path.read_text() for path in (folder / "stress" / "stress.json", folder / "gaps.json")}
    uar = entry.row["uar_pooled_mean"]
    other_values = {
        "stress.json": [
            (f'"uar": {float(uar)}', '"uar": 1.5'), ('"nll": ', '"nll": "<b>'), ('"kind": "white"', '"kind": "black"'),
            ("{", "["), ('"unit": "dB', '"unit": ["'), ('"nll": ', '"nll": Infinity, "n": '),
        ],
        "gaps.json": [
            (entry.row["predictions_sha256"], "0"), ('"uar": ', '"uar": "x'), ("{", ""), ('"p": ', '"p": NaN, "q": '),
        ],
    }  # fmt: skip
    for path in good:
        changes = other_values[path.name]
        for one, other in changes:
            assert one in good[path]
            path.write_text(good[path].replace(one, other))
            shown_now = report_stress.values(entry, 33.3)
            assert not (shown_now["stress"] if path.name == "stress.json" else shown_now["gaps"]), other
        path.write_text(good[path])
    (folder / "stress" / "stress.csv").unlink()
    (folder / "stress" / "stress.csv").symlink_to(folder / "run.json")
    assert report_stress.values(entry, 33.3)["stress_csv"] is None


def test_a_published_row_shows_what_was_measured_beside_the_own_run(tmp_path: Path, made_bundle, stressed) -> None:
    folder = made_bundle(tmp_path / "runs", "cnn", "one")
    stressed(folder)
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["publish", str(folder), *arguments]) == 0
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0
    (entry,) = report_gather.gather(tmp_path / "boards", tmp_path / "runs").entries
    assert entry.folder == tmp_path / "boards" / "bundles" / folder.name
    (page,) = (tmp_path / "report" / "models").iterdir()
    assert Page(page).all("table", id="stress")


def test_rows_stand_side_by_side_only_if_their_labels_mean_the_same() -> None:
    rows = [
        cross_row("1", "x", "x", "x (s): a = a, b = b"),
        cross_row("2", "y", "y", "y (s): a = a, b = b; without calm"),
        cross_row("3", "y", "y", "y (s): a = a, b = b or calm"),
        cross_row("4", "x", "y", "x (s): a = a, b = b | y (s): a = a, b = b; without calm"),
        cross_row("5", "x", "y", "x (s): a = a, b = b | y (s): a = a, b = b or calm"),
        cross_row("6", "z", "z", "z (s): a = a, c = c", classes="a c"),
    ]
    sections = report_cross.sections_of(rows)
    found = {tuple(sorted(c.row["row_id"] for c in m.rows)): m for s in sections for m in s.matrices}
    assert set(found) == {("1", "2", "4"), ("1", "3", "5"), ("6",)}
    assert found["1", "2", "4"].within(rows[3]) == "2"
    assert found["1", "3", "5"].within(rows[4]) == "3"


def test_the_newest_row_of_a_cell_is_in_the_matrix_and_a_corpus_left_out_has_its_own_line() -> None:
    mapping = "x (s): a = a | y (s): a = a | z (s): a = a"
    rows = [
        cross_row("1", "x+y", "z", mapping),
        cross_row("2", "x+y", "z", mapping),
        cross_row("3", "z", "z", "z (s): a = a"),
    ]
    ((matrix,),) = [s.matrices for s in report_cross.sections_of(rows)]
    assert matrix.trains == ["z", "x+y"]
    assert matrix.tests == ["z"]
    assert matrix.cells["x+y", "z"].row["row_id"] == "2"
    assert (len(matrix.rows), matrix.within(rows[0]), matrix.within(rows[2])) == (3, "3", "")


def test_a_matrix_says_what_its_rows_cost_and_that_few_seeds_are_provisional() -> None:
    budgets = []
    for seeds in ("1", "5"):
        row = cross_row("1", "x", "x", "x (s): a = a", n_seeds=seeds, hpo_trials="1", max_epochs="2")
        ((matrix,),) = [s.matrices for s in report_cross.sections_of([row])]
        budgets.append(matrix.budget)
    assert budgets == ["1 trial, 1 seed, 2 epochs, provisional", "1 trial, 5 seeds, 2 epochs"]


def test_an_edited_cross_corpus_number_is_refused(tmp_path: Path, made_bundle, capsys) -> None:
    crossed(made_bundle, tmp_path / "runs")
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0, "no other board is needed"
    board = tmp_path / "boards" / "cross.csv"
    good = board.read_text()
    uar = board_files.parsed(board)[0]["uar_pooled_mean"]
    board.write_text(good.replace(f",{uar},", ",99.99,"))
    capsys.readouterr()
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 2
    assert "'99.99'" in capsys.readouterr().err
    board.write_text(good.replace("uar_ci95_hi", "other"))
    assert main(["report", *arguments]) == 2
    assert "is not a sertbench leaderboard: it lacks uar_ci95_hi" in capsys.readouterr().err
    for torn in (good[:-150], good[:-440], good.rstrip() + ",more\n"):
        board.write_text(torn)
        assert main(["report", *arguments]) == 2
        assert "row 6 is cut off, or has cells too many" in capsys.readouterr().err
    board.write_text(good)
    shutil.rmtree(tmp_path / "runs" / "cross" / "c4")
    assert main(["report", "cross", *arguments, "--out", str(tmp_path / "report")]) == 0
    assert "6 cross-corpus rows, 5 verified" in " ".join(capsys.readouterr().out.split())
    assert "not verified: no bundle" in (tmp_path / "report" / "cross.html").read_text()
    assert main(["report", "corss", *arguments]) == 2
    assert "Did you mean 'cross'" in capsys.readouterr().err


def test_models_without_counted_parameters_are_left_out_of_that_chart_and_named(
    made: Path, tmp_path: Path, made_bundle
) -> None:
    for k, (model, features, n) in enumerate((("svm", "egemaps", 0), ("svm", "functionals", 0), ("cnn", "mfcc", 500))):
        recipe = {
            **bundle.load_run(next((made / "runs").glob("one-*")))["model"]["recipe"],
            "features": {"kind": features},
        }
        changes = {"model": {"n_parameters": n, "recipe": recipe}}
        made_bundle(tmp_path / "runs", model, "one", 0.5, k, changes=changes)
        if n == 0:
            made_bundle(tmp_path / "runs", model, "two", 0.5, k, changes=changes)
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0
    one, two = (Page(tmp_path / "report" / "corpora" / f"{name}.html") for name in ("one", "two"))
    figure = next(f for f in one.all("figure") if "UAR against parameters." in f["text"])
    assert "Left out, since none are known: svm functionals, svm egemaps." in figure["text"]
    assert [below(tr, "th")[0]["text"] for tr in below(figure, "tr")[1:]] == ["cnn"]
    assert not [f for f in two.all("figure") if "against parameters" in f["text"]]
    (said,) = [p["text"] for p in two.all("p") if "No chart against parameters" in p["text"]]
    assert "svm functionals, svm egemaps" in said


def test_the_heat_map_and_the_optimism_meter_show_the_csvs_numbers(made: Path, pages: list[Page]) -> None:
    index = next(p for p in pages if p.path.name == "index.html")
    rows = rows_of(made).values()
    (matrix,) = index.all("table", class_="matrix sortable")
    numbers = [td["text"] for td in below(matrix, "td") if td["text"] != "–"]
    assert sorted(numbers) == sorted(
        r["uar_pooled_mean"] + "*" * (r["ranked"] != "1") for r in rows if r["board"] == "main"
    )
    (meter,) = index.all("table", class_="optimism")
    strong = next(r for r in rows if r.get("optimism_random_split"))
    assert [td["text"] for td in below(meter, "td")][1:] == [strong["uar_pooled_mean"], "95.50", "91.00", "1.50"]


def test_a_board_and_a_rows_page_say_that_few_seeds_are_provisional(tmp_path: Path, made_bundle) -> None:
    made_bundle(tmp_path / "runs", "settled", "one", 0.9, 1, seeds=5)
    made_bundle(tmp_path / "runs", "settled", "two", 0.9, 1, seeds=5)
    made_bundle(tmp_path / "runs", "quick", "two", 0.9, 2, seeds=3)
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0

    boards = Page(tmp_path / "report" / "index.html").all("section", class_="board")
    said = {board["at"]["data-corpus"]: below(board, "p")[0]["text"] for board in boards}
    assert "provisional" not in said["one"]
    assert "1 of 2 rows is of fewer than five seeds: provisional." in said["two"]
    names = [th["text"] for board in boards for th in below(board, "th") if th["at"].get("scope") == "row"]
    assert [name.endswith("3 seeds") for name in names if name.startswith("quick")] == [True]
    assert not [name for name in names if name.startswith("settled") and "seeds" in name]
    pages = {path.name.partition("-")[0]: path.read_text() for path in (tmp_path / "report/models").glob("*-two-*")}
    assert "provisional: 3 seeds" in pages["quick"]
    assert "provisional" not in pages["settled"]


def test_ties_are_marked_and_diagnostics_stand_apart(pages: list[Page]) -> None:
    index = next(p for p in pages if p.path.name == "index.html")
    section = next(s for s in index.all("section", class_="board") if "strong" in s["text"] and "guess" in s["text"])
    bodies = {body["at"]["data-board"]: body for body in below(section, "tbody")}
    assert "guess" in bodies["diagnostic"]["text"]
    assert "guess" not in bodies["main"]["text"]
    tied = {
        below(tr, "th")[0]["text"].split()[0]  # then come its features
        for tr in below(bodies["main"], "tr")
        if below(tr, "td")[0]["at"].get("class") == "t"
    }
    assert {"strong", "equal"} <= tied


def test_synthetic_rows_say_so_wherever_they_appear(made: Path, pages: list[Page]) -> None:
    toy = next(r for r in rows_of(made).values() if r["corpus"] == "toy")
    assert toy["rank"] == ""
    about = [p for p in pages if p.path.name == "index.html" or "toy" in p.path.stem]
    assert len(about) == 3
    assert all("ynthetic" in "".join(e["text"] for e in p.all("main")) for p in about)
    index = next(p for p in about if p.path.name == "index.html")
    row = next(tr for s in index.all("section", data_corpus="toy") for tr in below(below(s, "tbody")[0], "tr"))
    assert "synthetic corpus" in row["text"]
    heads = [th for th in index.all("th", scope="col") if th["text"].startswith("toy")]
    assert all("synthetic" in th["text"] for th in heads)


def test_a_row_without_its_bundle_is_shown_and_says_so(pages: list[Page]) -> None:
    index = next(p for p in pages if p.path.name == "index.html")
    (row,) = [tr for tr in index.all("tr") if tr["text"].startswith(("–gone", "1gone"))]
    assert "not verified: no bundle" in row["text"]
    assert not below(row, "a")


def test_hostile_names_are_text(pages: list[Page]) -> None:
    everything = "".join(p.path.read_text() for p in pages)
    for page in pages:
        assert {e["at"].get("src") for e in page.all("script")} in ({"assets/report.js"}, {"../assets/report.js"})
        assert not page.all("img")
        assert not [name for e in page.elements for name in e["at"] if name.startswith("on")]
        assert not page.all("style")
    texts = [e["text"] for p in pages for e in p.elements if e["tag"] in ("a", "h1", "td", "th")]
    for name in (SCRIPT, QUOTES, UP, IMAGE):
        assert any(name in text for text in texts)
    assert SCRIPT not in everything
    assert IMAGE not in everything


def test_nothing_is_outside_the_folder_and_every_link_leads_somewhere(made: Path, pages: list[Page]) -> None:
    root = (made / "report").resolve()
    for page in pages:
        ids = {e["at"]["id"] for e in page.elements if "id" in e["at"]}
        for element in page.elements:
            for name in ("href", "src"):
                link = element["at"].get(name)
                if link is None or link == "data:,":
                    continue
                parts = urlsplit(link)
                assert not parts.scheme
                assert not parts.netloc
                target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
                assert target.is_relative_to(root)
                assert target.is_file(), link
                if parts.fragment:
                    there = ids if target == page.path.resolve() else {
                        e["at"].get("id") for e in Page(target).elements}  # fmt: skip
                    assert parts.fragment in there
    names = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert all(re.fullmatch(r"[a-z0-9/-]+\.(html|csv|zip|css|js)|\.sertbench-report", name) for name in names), names
    assert sorted(p.name for p in made.iterdir()) == ["boards", "report", "runs"]
    for asset in (root / "assets").iterdir():
        assert "//" not in re.sub(r"^\s*//.*$", "", asset.read_text(), flags=re.M), "no address in script or style"


def test_downloads_are_the_csv_and_the_bundle_byte_for_byte(made: Path) -> None:
    data = made / "report" / "data"
    assert (data / "one.csv").read_bytes() == (made / "boards" / "one.csv").read_bytes()
    assert len(list(data.glob("*.zip"))) == len(list((made / "runs").rglob("run.json")))
    assert (data / "cross.csv").read_bytes() == (made / "boards" / "cross.csv").read_bytes()
    for path in data.glob("strong-*.zip"):
        with zipfile.ZipFile(path) as archive:
            stored = {Path(n).name: archive.read(n) for n in archive.namelist()}
        run = json.loads(stored["run.json"])
        folders = (p.parent for p in (made / "runs").glob("*/run.json"))
        (folder,) = [f for f in folders if bundle.load_run(f)["row_id"] == run["row_id"]]
        assert set(stored) == {"config.toml", "predictions.parquet", "split.parquet", "run.json"}
        assert all((folder / name).read_bytes() == content for name, content in stored.items())


def test_a_link_in_a_bundle_is_not_followed(tmp_path: Path, made_bundle) -> None:
    folder = made_bundle(tmp_path / "runs", "cnn", "one")
    (tmp_path / "secret").write_text("secret")
    (folder / "studies").mkdir()
    (folder / "studies" / "1.journal").symlink_to(tmp_path / "secret")
    report.zip_bundle(folder, tmp_path / "out.zip")
    assert not [n for n in zipfile.ZipFile(tmp_path / "out.zip").namelist() if "journal" in n]


def test_a_bundle_name_that_leads_out_of_the_folder_is_no_bundle(tmp_path: Path, made_bundle) -> None:
    folder = made_bundle(tmp_path / "elsewhere", "cnn", "one", folder="secret")
    row = board_rows.row_of(bundle.load_run(folder), folder)
    (tmp_path / "boards").mkdir()
    (tmp_path / "runs").mkdir()
    board_files.write(tmp_path / "boards" / "one.csv", [{**row, "bundle": "../elsewhere/secret"}])
    view = report_gather.gather(tmp_path / "boards", tmp_path / "runs")
    assert view.missing == 1
    assert view.entries[0].page == ""


def test_the_same_tables_give_the_same_report(made: Path, tmp_path: Path) -> None:
    arguments = ["--runs", str(made / "runs"), "--leaderboards", str(made / "boards"), "--out", str(tmp_path / "again")]
    assert main(["report", *arguments]) == 0
    files = {p.relative_to(made / "report"): p.read_bytes() for p in (made / "report").rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path / "again"): p.read_bytes() for p in (tmp_path / "again").rglob("*") if p.is_file()}
    assert files == again


def test_an_edited_number_is_refused_and_the_old_report_stays(tmp_path: Path, made_bundle, capsys) -> None:
    made_bundle(tmp_path / "runs", "cnn", "one")
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    out = tmp_path / "report"
    main(["leaderboard", *arguments])
    assert main(["report", *arguments, "--out", str(out)]) == 0
    before = (out / "index.html").read_bytes()
    path = tmp_path / "boards" / "one.csv"
    rows = board_files.read(path)
    board_files.write(path, [{**rows[0], "uar_pooled_mean": "99.99"}])
    assert main(["report", *arguments, "--out", str(out)]) == 2
    assert "'99.99'" in capsys.readouterr().err
    assert (out / "index.html").read_bytes() == before


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, made: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("work")
    arguments = ["--runs", str(made / "runs"), "--leaderboards", str(made / "boards"), "--out", str(tmp_path / "mine")]
    assert main(["report", *arguments]) == 2
    assert "is not a report" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "work"
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_one_corpus_can_be_asked_for_and_an_unknown_one_is_named(made: Path, tmp_path: Path) -> None:
    view = report_gather.gather(made / "boards", made / "runs", ["two"])
    assert [c.name for c in view.corpora] == ["two"]
    with pytest.raises(ConfigError, match=r"no leaderboard is called 'tow'\. Did you mean 'two'"):
        report_gather.gather(made / "boards", made / "runs", ["tow"])
    with pytest.raises(ConfigError, match="there is no leaderboard"):
        report_gather.gather(tmp_path, made / "runs")


def test_a_damaged_bundle_is_an_error_in_words(tmp_path: Path, made_bundle) -> None:
    folder = made_bundle(tmp_path / "runs", "cnn", "one")
    main(["leaderboard", "--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")])
    (folder / "predictions.parquet").write_bytes(b"nothing")
    with pytest.raises(StorageError, match="predictions"):
        report_gather.gather(tmp_path / "boards", tmp_path / "runs")


def test_the_command_is_what_gives_the_row_again(tmp_path: Path, made_bundle) -> None:
    config = {"model": "my nets/a.py:Net", "dataset": "emodb", "labels": "4class", "seeds": 3, "epochs": 7,
              "data": "/home/x/emodb", "shuffle_labels": True}  # fmt: skip
    run = bundle.load_run(made_bundle(tmp_path, "cnn", "one", changes={"config": config}))
    assert run_details.command(run) == (
        "sertbench run --model 'my nets/a.py:Net' --dataset emodb --labels 4class --trials 0 --seeds 3 --epochs 7 "
        "--shuffle-labels --device cpu --precision fp32 --data FOLDER"
    )


def test_the_command_of_a_published_bundle_asks_for_the_corpus_and_one_of_a_synthetic_corpus_does_not(
    tmp_path: Path, made_bundle
) -> None:
    published = bundle.load_run(made_bundle(tmp_path, "cnn", "one"))  # its folder of data was left out
    assert run_details.command(published).endswith("--device cpu --precision fp32 --data FOLDER")
    assert run_details.from_bundle(published) == (
        "sertbench run --config config.toml --device cpu --precision fp32 --data FOLDER"
    )
    settled = {"config": {"device": "cpu", "precision": "fp32"}, "corpus": {"synthetic": True}}
    synthetic = bundle.load_run(made_bundle(tmp_path, "cnn", "toy", changes=settled))
    assert run_details.from_bundle(synthetic) == "sertbench run --config config.toml"
    assert run_details.command(synthetic).endswith("--device cpu --precision fp32")


def test_of_several_runs_the_fullest_budget_stands_in_the_overview_not_the_best_score(
    tmp_path: Path, made_bundle
) -> None:
    made_bundle(tmp_path / "runs", "cnn", "one", 0.9, 1, trials=0)
    made_bundle(tmp_path / "runs", "cnn", "one", 0.3, 2, trials=2)
    main(["leaderboard", "--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")])
    view = report_gather.gather(tmp_path / "boards", tmp_path / "runs")
    ((_, _, (entry,)),) = report_view.matrix(view.tables)
    assert entry is not None
    assert entry.row["hpo_trials"] == "2"


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    points = [(1.0, 50.0), (2.0, 60.0), (3.0, 55.0), (2.0, 58.0), (1.0, 50.0), (9.0, 60.0)]
    assert report_view.front(points) == [True, True, False, False, True, False]


def test_the_comparison_over_corpora_needs_eight_and_takes_models_that_have_all(tmp_path: Path) -> None:
    def corpus(number: int, models: list[str]) -> report_view.CorpusView:
        base = {"board": "main", "ranked": "1", "hpo_trials": "0", "n_seeds": "1", "max_epochs": "1", "date_utc": ""}
        entries = tuple(
            report_view.Entry({**base, "model": m, "uar_pooled_mean": str(90 - 10 * k - number % 3)}, None, 0, False)
            for k, m in enumerate(models)
        )
        return report_view.CorpusView(f"c{number}", (report_view.Table("t", entries, 0, 100, 25),), tmp_path)

    found, reason = report_gather.over_corpora([corpus(k, ["a", "b", "c", f"only{k}"]) for k in range(8)])
    assert reason == ""
    assert found is not None
    assert found[0] == ("a", "b", "c")
    assert found[1].mean_ranks == (1.0, 2.0, 3.0)
    found, reason = report_gather.over_corpora([corpus(k, ["a", "b", "c"]) for k in range(7)])
    assert found is None
    assert "7 corpora are too few" in reason


def test_a_picture_escapes_its_words_and_has_a_name() -> None:
    drawn = svg.pareto(SCRIPT, SCRIPT, "cost", [(SCRIPT, 1.0, 50.0, True), ("b", 1e6, 60.0, True)])
    assert SCRIPT not in drawn
    assert 'role="img"' in drawn
    assert "aria-label=" in drawn


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (svg.Scale(0, 100, 0, 1), [0, 20, 40, 60, 80, 100]),
        (svg.Scale(0.31, 0.62, 0, 1), [0.4, 0.5, 0.6]),
        (svg.Scale(1, 3, 0, 1, whole=True), [1, 2, 3]),
        (svg.Scale(20, 300, 0, 1, log=True), [20, 50, 100, 200]),
        (svg.Scale(1e2, 1e7, 0, 1, log=True), [1e2, 1e3, 1e4, 1e5, 1e6, 1e7]),
        (svg.Scale(5, 5, 0, 1), [5]),
    ],
)
def test_ticks_are_round(scale: svg.Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


def reported(tmp_path: Path) -> list[str]:
    """What the commands that read a leaderboard take, after writing it anew."""
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    return arguments


@pytest.mark.parametrize("classes", [("angry", "happy", "sad"), ("angry",)])
def test_a_board_on_which_every_answer_is_right_has_an_axis(tmp_path: Path, made_bundle, classes) -> None:
    made_bundle(tmp_path / "runs", "knows", "one", 1.1, classes=classes)
    arguments = reported(tmp_path)
    (table,) = report_gather.gather(tmp_path / "boards", tmp_path / "runs").tables
    assert (table.first["uar_ci95_lo"], table.low, table.high) == ("100.00", 90, 100)
    assert (table.percent(95), table.percent(100)) == (50, 100)
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0
    assert main(["plot", *arguments, "--out", str(tmp_path / "plots"), "--kind", "overview", "--format", "svg"]) == 0


def test_costs_have_all_the_digits_of_the_csv(tmp_path: Path, made_bundle) -> None:
    made_bundle(
        tmp_path / "runs", "large", "one", changes={"model": {"n_parameters": 12345678},
        "timing": {"train_seconds_per_fit": 12345.68, "predict_rtf": 0.00012}},
    )  # fmt: skip
    assert main(["report", *reported(tmp_path), "--out", str(tmp_path / "report")]) == 0
    page = Page(tmp_path / "report" / "corpora" / "one.html")
    tables = [t for t in page.all("table") if below(t, "th")[-2]["text"] == "Front"]
    cells = [below(t, "td")[0]["text"] for t in tables]
    assert cells == ["12,345,678", "12,345.68", "0.00012"]


def test_more_classes_and_folds_than_colours_are_still_told_apart() -> None:
    marks = [str(svg.sample(k)) for k in range(32)]
    assert len(set(marks)) == 32
    assert [re.findall(r"c\d", m)[0] for m in marks[:9]] == [*(f"c{k}" for k in range(8)), "c0"]
    lines = [str(svg.sample_line(k)) for k in range(32)]
    assert len(set(lines)) == 32
    css = (report.ASSETS / "report.css").read_text()
    assert all(f".line.d{k} {{ stroke-dasharray" in css for k in (1, 2, 3))
    drawn = str(svg.lines("t", "d", "x", "y", [(str(k), [(1, 0), (2, k), (3, 1)], k) for k in (0, 8)]))
    assert re.findall(r'class="(line[^"]*)"', drawn) == ["line c0", "line c0 d1"]


def test_a_dot_is_named_by_its_seed_also_where_another_seed_failed(tmp_path: Path, made_bundle) -> None:
    folder = made_bundle(tmp_path / "runs", "cnn", "one", seeds=3)
    found = run_details.details(folder)
    assert found.seeds == (0, 1, 2)
    chart = str(group_chart("t", [replace(g, seeds=g.seeds[::2]) for g in found.folds], (0, 2), 33.3))
    assert set(re.findall(r"seed \d", chart)) == {"seed 0", "seed 2"}


def without(path: Path, *columns: str) -> None:
    """Take columns out of a CSV."""
    rows = board_files.parsed(path)
    names = [name for name in rows[0] if name not in columns]
    path.write_text("\n".join(",".join(f'"{row[n]}"' for n in names) for row in [{n: n for n in names}, *rows]))


def test_a_table_of_before_some_columns_is_shown_with_dashes(tmp_path: Path, made_bundle) -> None:
    made_bundle(tmp_path / "runs", "cnn", "one")
    board = ["--leaderboards", reported(tmp_path)[-1]]
    newer = ("wa", "rank", "alarms", "n_params", "model_family", "unranked_reason", "optuna")
    without(tmp_path / "boards" / "one.csv", *newer)
    gone = ["--runs", str(tmp_path / "elsewhere"), *board]
    assert main(["report", *gone, "--out", str(tmp_path / "report")]) == 0
    assert main(["plot", *gone, "--out", str(tmp_path / "plots"), "--format", "svg"]) == 0
    for kind in ("markdown", "latex"):
        assert main(["leaderboard", *gone, "--format", kind, "--out", str(tmp_path / kind)]) == 0
    cells = below(Page(tmp_path / "report" / "index.html").all("tbody", data_board="main")[0], "td")
    assert [cells[0]["text"], cells[4]["text"]] == ["–", "–"]  # rank and WA


def test_a_torn_row_is_not_shown_in_part(tmp_path: Path, made_bundle, capsys) -> None:
    made_bundle(tmp_path / "runs", "cnn", "one")
    board = ["--runs", str(tmp_path / "elsewhere"), "--leaderboards", reported(tmp_path)[-1]]
    path = tmp_path / "boards" / "one.csv"
    good = path.read_text().rstrip()
    for torn in (good[:-150], good + ",more"):
        path.write_text(torn)
        for command in (["report", "--out", str(tmp_path / "report")], ["leaderboard", "--format", "latex"]):
            assert main([*command, *board]) == 2
            assert "row 1 is cut off, or has cells too many" in capsys.readouterr().err


def test_a_report_over_a_link_or_where_one_is(tmp_path: Path, made_bundle, capsys, monkeypatch) -> None:
    made_bundle(tmp_path / "runs", "cnn", "one")
    arguments = reported(tmp_path)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for _ in range(2):
        assert main(["report", *arguments, "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    page = tmp_path / "disk" / "models"
    assert len(list(page.iterdir())) == 1
    for inside in (tmp_path / "disk", page):
        monkeypatch.chdir(inside)
        capsys.readouterr()
        assert main(["report", *arguments, "--out", "." if inside != page else ".."]) == 2
        assert "is the folder that you are in" in capsys.readouterr().err
        assert len(list(page.iterdir())) == 1, "the report that was there stays"


def test_a_row_that_is_not_ranked_is_marked_in_the_overview_and_is_on_no_front(tmp_path: Path, made_bundle) -> None:
    heard = {"exposure": "known", "exposure_unranked": "its encoder was trained on this corpus, the test part too"}
    made_bundle(tmp_path / "runs", "fair", "one", 0.6, 5)
    made_bundle(tmp_path / "runs", "heard", "one", 0.95, 1, features=heard)
    made_bundle(tmp_path / "runs", "toy", "two", 0.6, 3, changes={"corpus": {"synthetic": True}})
    arguments = reported(tmp_path)
    view = report_gather.gather(tmp_path / "boards", tmp_path / "runs")
    points = {name: [(called, on) for called, _, _, on in report_view.costs(table, "n_params")[0]]
              for name, table in zip(("one", "two"), view.tables, strict=True)}  # fmt: skip
    assert points == {"one": [("fair", True), ("heard (not ranked)", False)], "two": [("toy", True)]}
    assert 'class="front"' not in svg.pareto("t", "d", "x", [("heard (not ranked)", 1.0, 90.0, False)])
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0
    (matrix,) = Page(tmp_path / "report" / "index.html").all("table", class_="matrix sortable")
    marked = {below(tr, "th")[0]["text"]: [td["text"][-1] == "*" for td in below(tr, "td") if td["text"] != "–"]
              for tr in below(matrix, "tr")[1:]}  # fmt: skip
    assert marked == {"fair": [False], "heard": [True], "toy": [True]}


def test_a_false_rank_is_found_beside_a_table_whose_bundle_is_gone(tmp_path: Path, made_bundle, capsys) -> None:
    made_bundle(tmp_path / "runs", "good", "one", 0.95, 1)
    made_bundle(tmp_path / "runs", "bad", "one", 0.3, 2)
    gone = made_bundle(tmp_path / "runs", "cnn", "one", 0.5, 3, classes=("a", "b"))
    arguments = reported(tmp_path)
    shutil.rmtree(gone)
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 0
    board = tmp_path / "boards" / "one.csv"
    board.write_text(board.read_text().replace("\n2,bad", "\n1,bad").replace("\n1,good", "\n2,good"))
    capsys.readouterr()
    assert main(["report", *arguments, "--out", str(tmp_path / "report")]) == 2
    assert "rank is '2', but should be '1'" in capsys.readouterr().err
