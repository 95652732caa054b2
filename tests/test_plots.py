"""Figures for papers: what is drawn is what the tables say, files are what their names say, names are text."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from sertbench import drawings, plots, report_gather, run_details
from sertbench.cli import main
from sertbench.critical_difference import critical_difference
from sertbench.errors import ConfigError
from sertbench.report_view import View

HOSTILE = r"<b>$\frac{x_$ ../up"

mpl = pytest.importorskip("matplotlib", reason="pip install 'sertbench[report]'")


@pytest.fixture(scope="module")
def made(tmp_path_factory, made_bundle) -> Path:
    root = tmp_path_factory.mktemp("made")
    made_bundle(root / "runs", "strong", "one", 0.9, 1, optimism={"random_split": 95.5}, trials=2)
    made_bundle(root / "runs", HOSTILE, "one", 0.4, 2)
    made_bundle(root / "runs", "strong", "toy", 0.4, 3, changes={"corpus": {"synthetic": True}})
    assert main(["leaderboard", "--runs", str(root / "runs"), "--leaderboards", str(root / "boards")]) == 0
    return root


def call(made: Path, out: Path, *more: str) -> int:
    arguments = ["--runs", str(made / "runs"), "--leaderboards", str(made / "boards"), "--out", str(out)]
    return main(["plot", *arguments, *more])


def words(figure) -> list[str]:
    """All texts of a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_all_boards_become_png_and_pdf_files(made: Path, tmp_path: Path, capsys) -> None:
    assert call(made, tmp_path / "out", "one") == 0
    files = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert {name.split("-")[0].split(".")[0] for name in files} == {"board", "overview", "pareto", "optimism"}
    assert len(files) == 8
    heads = {"png": b"\x89PNG", "pdf": b"%PDF"}
    assert all(content.startswith(heads[name.rpartition(".")[2]]) for name, content in files.items())
    assert "not drawn: critical-difference" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_charts_of_a_run(made: Path, tmp_path: Path) -> None:
    assert call(made, tmp_path, "--run", HOSTILE, "--format", "png") == 0
    assert {p.name.split("-")[0] for p in tmp_path.iterdir()} == set(plots.RUN_KINDS) - {
        "embedding",
        *plots.STRESS_KINDS,
    }


def test_the_same_tables_give_the_same_files(made: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        call(made, tmp_path / name, "toy", "--kind", "board")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_board_shows_its_scores_intervals_and_ties(made: Path) -> None:
    view = report_gather.gather(made / "boards", made / "runs", ["one"])
    figure = drawings.board(view.tables[0])
    (axes,) = figure.axes
    drawn = [line.get_xdata() for line in axes.lines]
    for k, entry in enumerate(view.tables[0].entries):
        assert list(drawn[2 * k]) == [float(entry.row["uar_ci95_lo"]), float(entry.row["uar_ci95_hi"])]
        assert list(drawn[2 * k + 1]) == [entry.uar]
    assert HOSTILE in " ".join(words(figure))


def test_synthetic_corpora_say_so(made: Path) -> None:
    view = report_gather.gather(made / "boards", made / "runs")
    toy = next(t for t in view.tables if t.first["corpus"] == "toy")
    for figure in (drawings.board(toy), drawings.pareto(toy), drawings.overview(view)):
        assert any("synthetic" in text for text in words(figure))


def test_names_of_a_pareto_chart_lie_on_no_other_and_those_without_room_are_said(tmp_path: Path, made_bundle) -> None:
    for draw in range(12):  # alike in everything: a crowd of marks
        made_bundle(tmp_path / "runs", f"model-{draw:02d}", "one", 0.9, draw)
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    view = report_gather.gather(tmp_path / "boards", tmp_path / "runs")
    with mpl.rc_context(drawings.STYLE):
        figure = drawings.pareto(view.tables[0])
        figure.draw_without_rendering()
    for axes in figure.axes:
        drawn = [text.get_window_extent() for text in axes.texts]
        assert drawn
        assert not [1 for k, one in enumerate(drawn) for other in drawn[:k] if one.overlaps(other)]
        assert len(drawn) == 12 or "no room for the name of model-" in " ".join(axes.get_xlabel().split())


def test_a_confusion_matrix_shows_percent_of_the_true_class(made: Path) -> None:
    details = run_details.details(next(p.parent for p in (made / "runs").glob("*/run.json")))
    figure = drawings.confusion(details)
    cells = [int(text.get_text()) for text in figure.axes[0].texts]
    shares = 100 * details.confusion / details.confusion.sum(axis=1, keepdims=True)
    assert cells == [int(f"{share:.0f}") for share in shares.ravel()]


def test_the_critical_difference_diagram_has_a_bar_per_clique_and_every_name(tmp_path: Path) -> None:
    uar = np.array(
        [[90.0, 91, 92, 93, 94, 95, 96, 97], [89, 92, 91, 94, 93, 96, 95, 98], [50, 51, 52, 53, 54, 55, 56, 57]]
    )
    found = critical_difference(uar)
    view = View((), 0, (("a", "b", HOSTILE), found), "")
    with mpl.rc_context(drawings.STYLE):
        figure = drawings.critical_difference(view)
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() > 3]
    assert len(thick) == len(found.cliques) == 1
    said = " ".join(words(figure))
    assert all(f"{name}  {rank:.2f}" in said for name, rank in zip(("a", "b", HOSTILE), found.mean_ranks, strict=True))
    (path,) = plots.save([plots.Plot("cd", lambda: figure)], tmp_path, ["png"])
    assert path.stat().st_size > 1000


def test_what_cannot_be_drawn_is_said_and_exits_with_1(made: Path, tmp_path: Path, capsys) -> None:
    assert call(made, tmp_path, "--kind", "critical-difference") == 1
    assert "too few to rank models over corpora" in capsys.readouterr().out.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_bad_kinds_are_errors_in_words(made: Path, tmp_path: Path, capsys) -> None:
    assert call(made, tmp_path, "--kind", "confusion") == 2
    assert call(made, tmp_path, "--kind", "bord") == 2
    assert call(made, tmp_path, "--kind", "board", "--run", "strong") == 2
    said = capsys.readouterr().err
    assert "name it with --run" in said
    assert "Did you mean 'board'" in said
    assert "no kind of chart of a run is called 'board'" in said


def test_without_matplotlib_the_error_says_what_to_install(made: Path, tmp_path: Path, monkeypatch) -> None:
    real = builtins.__import__

    def refuse(name, *arguments, **more):
        if name == "matplotlib":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'sertbench\[report\]'"):
        plots.save([], tmp_path, ["png"])


def test_a_figure_has_room_for_long_names(tmp_path: Path, made_bundle, recwarn) -> None:
    """Its axes would vanish beside them, and the names be cut off; a title must not be, either."""
    long = "an_architecture_with_a_name_that_goes_on_and_on_and_never_ends"
    made_bundle(tmp_path / "runs", long, "one", 0.7, 1, classes=("neutral_but_somewhat_annoyed_or_bored", "other"))
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    view = report_gather.gather(tmp_path / "boards", tmp_path / "runs")
    found = run_details.details(next((tmp_path / "runs").iterdir()))
    with mpl.rc_context(drawings.STYLE):
        figures = [drawings.board(view.tables[0]), drawings.overview(view), drawings.confusion(found)]
        for figure in figures:
            figure.draw_without_rendering()
            frame, (axes,) = figure.bbox, figure.axes
            assert axes.get_window_extent().width > 0.15 * frame.width
            for text in [*axes.get_yticklabels(), figure._suptitle or axes.title]:
                box = text.get_window_extent()
                assert frame.x0 - 1 <= box.x0, text
                assert box.x1 <= frame.x1 + 1, text
    assert not [w for w in recwarn if "constrained_layout" in str(w.message)]
