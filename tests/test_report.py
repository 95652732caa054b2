"""The report: every number on a page is the CSV's, every number of the CSV follows from the predictions, names that
would do harm are text, and nothing leads out of the folder."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from sertbench import board_files, board_rows, bundle, report, report_gather, report_view, run_details, svg
from sertbench.board_rows import text_of
from sertbench.cli import main
from sertbench.errors import ConfigError, StorageError
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
def made(tmp_path_factory, made_bundle) -> Path:
    """Runs, leaderboards and a report: ties, diagnostics, a synthetic corpus, hostile names, a row without a bundle."""
    root = tmp_path_factory.mktemp("made")
    runs = root / "runs"
    made_bundle(runs, "strong", "one", 0.9, 1, optimism={"random_split": 95.5, "test_epoch": 91.0, "oracle_gap": 1.5})
    made_bundle(runs, "equal", "one", 0.9, 2, trials=3, changes={"model": {"family": "LSTM"}})
    made_bundle(runs, "weak", "one", 0.2, 3)
    made_bundle(runs, "guess", "one", 0.0, 4, changes={"model": {"diagnostic": True, "n_parameters": 0}})
    made_bundle(runs, SCRIPT, "one", 0.5, 5, changes={"model": {"family": SCRIPT, "paper": SCRIPT}})
    made_bundle(runs, QUOTES, "one", 0.4, 6, classes=(SCRIPT, "b", "c"), changes={"corpus": {"label_set": QUOTES}})
    made_bundle(runs, UP, IMAGE, 0.5, 7, folder="up")
    made_bundle(runs, "strong", "toy", 0.8, 8, changes={"corpus": {"synthetic": True}}, seeds=1)
    gone = made_bundle(runs, "gone", "two", 0.8, 9)
    made_bundle(runs, "strong", "two", 0.8, 10)
    arguments = ["--runs", str(runs), "--leaderboards", str(root / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    shutil.rmtree(gone)
    assert main(["report", *arguments, "--out", str(root / "report")]) == 0
    return root


@pytest.fixture(scope="module")
def pages(made: Path) -> list[Page]:
    return [Page(path) for path in sorted((made / "report").rglob("*.html"))]


def rows_of(made: Path) -> dict[str, dict[str, str]]:
    """All rows of the CSVs by their id."""
    found = [row for path in (made / "boards").glob("*.csv") for row in board_files.read(path)]
    return {row["row_id"]: row for row in found}


def shown(cell: str) -> str:
    """How a cell of the CSV stands on a page."""
    return cell or "–"


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
                assert cells[key]["text"].replace(",", "") == shown(row[key]), key
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
        assert {name: shown(row[name]) for name in marked} == marked
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


def test_the_heat_map_and_the_optimism_meter_show_the_csvs_numbers(made: Path, pages: list[Page]) -> None:
    index = next(p for p in pages if p.path.name == "index.html")
    rows = rows_of(made).values()
    (matrix,) = index.all("table", class_="matrix sortable")
    numbers = [td["text"] for td in below(matrix, "td") if td["text"] != "–"]
    assert sorted(numbers) == sorted(r["uar_pooled_mean"] for r in rows if r["board"] == "main")
    (meter,) = index.all("table", class_="optimism")
    strong = next(r for r in rows if r.get("optimism_random_split"))
    assert [td["text"] for td in below(meter, "td")][1:] == [strong["uar_pooled_mean"], "95.50", "–", "91.00", "1.50"]


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
    assert len(list(data.glob("*.zip"))) == len(list((made / "runs").glob("*/run.json")))
    for path in data.glob("strong-*.zip"):
        with zipfile.ZipFile(path) as archive:
            stored = {Path(n).name: archive.read(n) for n in archive.namelist()}
        run = json.loads(stored["run.json"])
        (folder,) = [f for f in (made / "runs").iterdir() if bundle.load_run(f)["row_id"] == run["row_id"]]
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
