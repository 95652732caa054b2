"""The report's charts as figures for papers, drawn with matplotlib: PNG and PDF, the same data, colour-blind safe."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import drawings, files, stress_drawings
from sertbench.errors import ConfigError
from sertbench.report_view import COSTS, Table, View, costs, matrix, slug
from sertbench.run_details import Details

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOARD_KINDS = ("board", "overview", "pareto", "optimism", "critical-difference")
RUN_KINDS: dict[str, Callable[[Details], Figure]] = {
    "confusion": drawings.confusion,
    "groups": drawings.groups,
    "curves": drawings.curves,
    "calibration": drawings.calibration,
    "embedding": drawings.embedding,
    "stress": stress_drawings.score_curves,
    "stress-calibration": stress_drawings.calibration_curves,
    "stress-reliability": stress_drawings.reliability_diagrams,
}
STRESS_KINDS = tuple(name for name in RUN_KINDS if name.startswith("stress"))
SILENT: dict[str, dict[str, Any]] = {  # what would say when a file was made
    "png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None},
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One figure: the stem of its file, and how to draw it."""

    name: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Missing:
    """A figure that cannot be drawn, and why."""

    kind: str
    reason: str


def save(plots: Sequence[Plot], out: Path, formats: Sequence[str]) -> list[Path]:
    """Draw and write; the same data give the same bytes. Raises ConfigError without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise ConfigError("plots need matplotlib. Type: pip install 'sertbench[report]'") from None
    paths = []
    with mpl.rc_context(drawings.STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks
        for plot in plots:
            figure = plot.draw()
            for kind in formats:
                path = out / f"{plot.name}.{kind}"
                files.write(path, partial(figure.savefig, format=kind, dpi=200, metadata=SILENT[kind]))
                paths.append(path)
    return paths


def of_boards(view: View, kinds: Sequence[str]) -> Iterator[Plot | Missing]:
    """The figures of leaderboards."""
    per_table: dict[str, Callable[[Table], Figure]] = {"board": drawings.board, "pareto": drawings.pareto}
    for kind, draw in per_table.items():
        for table in view.tables if kind in kinds else ():
            unknown = [label for name, label in COSTS.items() if not costs(table, name)[0]] if kind == "pareto" else []
            if unknown:
                yield Missing(kind, f"{table.name}: no main row has {' or '.join(unknown)}")
            if len(unknown) < len(COSTS):
                name = slug(f"{kind}-{table.first['corpus']}-{table.id[1:7]}", 60)
                yield Plot(name, partial(draw, table))
    reasons: list[tuple[str, Callable[[View], Figure], str]] = [
        ("overview", drawings.overview, "" if matrix(view.tables) else "no model is on a main board"),
        ("optimism", drawings.optimism, "" if view.measured else "no row measured it: `sertbench run --optimism` does"),
        ("critical-difference", drawings.critical_difference, view.no_comparison),
    ]
    for kind, drawing, reason in reasons:
        if kind in kinds:
            yield Missing(kind, reason) if reason else Plot(kind, partial(drawing, view))


def of_run(details: Details, kinds: Sequence[str]) -> Iterator[Plot | Missing]:
    """The figures of one run."""
    name: Any = details.run["model"]["name"]
    stem = f"{slug(name, 30)}-{slug(str(details.run['row_id']), 16)}"
    for kind in kinds:
        if kind == "curves" and not (details.losses or details.tuning):
            yield Missing(kind, f"{name} has no epochs and was not tuned")
        elif kind in STRESS_KINDS and len(details.stress) < 2:
            yield Missing(kind, f"{name} was not stressed: `sertbench stress RUN` does")
        elif kind == "embedding" and details.embedding is None:
            yield Missing(kind, f"the bundle of {name} has no recording of a penultimate layer")
        else:
            yield Plot(f"{kind}-{stem}", partial(RUN_KINDS[kind], details))
