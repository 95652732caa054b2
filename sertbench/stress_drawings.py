"""What `sertbench stress` measured, as matplotlib figures: a panel per group of disturbances, a line per kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sertbench.drawings import COLOURS, MARKS, WIDE
from sertbench.run_details import Details
from sertbench.stress_kinds import FALLING, GROUPS, KINDS
from sertbench.stress_record import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#5b5b5b"
COLUMNS, TALL = 4, 1.75  # panels side by side; inches of a panel
TITLES = {"line": "telephone line", "pad": "silence around", "packets": "packet loss", "clip": "clipping"}


def score_curves(details: Details) -> Figure:
    """UAR against strength, with intervals; dashed: without disturbance, dotted: guessing."""
    clean, chance = details.stress[0], 100 / len(details.classes)
    low = min(chance, *(r.uar_ci95_lo for r in details.stress)) - 2
    figure, panels = grid(details.stress[1:])
    for axes, rows in panels:
        axes.axhline(clean.uar, color=GREY, lw=0.8, ls="--")
        axes.axhline(chance, color=GREY, lw=0.8, ls=":")
        for k, line in enumerate(lines(rows)):
            x, points = places(line, clean)
            low_ends, high_ends = [r.uar_ci95_lo for r in points], [r.uar_ci95_hi for r in points]
            if line[0].group == "line":
                axes.vlines(x, low_ends, high_ends, color=COLOURS[0], lw=1.5)
            else:
                axes.fill_between(x, low_ends, high_ends, color=COLOURS[k], alpha=0.1, lw=0)
            plot(axes, k, line, x, [r.uar for r in points])
        finish(axes, rows)
        axes.set_ylim(max(0.0, low), min(100.0, max(r.uar_ci95_hi for r in details.stress) + 2))
    label_left(panels, "UAR (%)")
    figure.suptitle(
        title(details, "UAR, 95 % interval; dashed: undisturbed, dotted: guessing"), x=0.01, ha="left", fontsize=8
    )
    return figure


def calibration_curves(details: Details) -> Figure:
    """Expected calibration error against strength; dashed: without disturbance."""
    clean = details.stress[0]
    figure, panels = grid(details.stress[1:])
    for axes, rows in panels:
        axes.axhline(clean.ece, color=GREY, lw=0.8, ls="--")
        for k, line in enumerate(lines(rows)):
            x, points = places(line, clean)
            plot(axes, k, line, x, [r.ece for r in points])
        finish(axes, rows)
        axes.set_ylim(0, max(r.ece for r in details.stress) * 1.08 + 0.5)
    label_left(panels, "ECE (%)")
    figure.suptitle(title(details, "expected calibration error; dashed: undisturbed"), x=0.01, ha="left", fontsize=8)
    return figure


def reliability_diagrams(details: Details) -> Figure:
    """Accuracy against confidence for each disturbance where it harms most, and without (grey)."""
    figure, panels = grid(details.stress[1:])
    for axes, rows in panels:
        axes.plot((0, 100), (0, 100), color=GREY, lw=0.8, ls="--")
        axes.plot(*bins(details.stress[0]), color="#a0a0a0", lw=2)
        for k, line in enumerate(lines(rows)):
            worst = min(line, key=lambda r: r.uar)
            label = f"{worst.name} {KINDS[worst.kind].shown(worst.strength)}".removesuffix(" on")
            axes.plot(*bins(worst), MARKS[k % len(MARKS)], color=COLOURS[k], ms=2.5, lw=1, ls="-", label=label)
        axes.set_title(TITLES.get(rows[0].group, rows[0].group), fontsize=8, loc="left")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.legend(fontsize=5.5, frameon=False, loc="upper left", handlelength=1, borderpad=0)
        axes.set_xlabel("confidence (%)", fontsize=7)
        axes.tick_params(labelsize=7)
    label_left(panels, "accuracy (%)")
    figure.suptitle(
        title(details, "reliability where each harms most; grey: undisturbed"), x=0.01, ha="left", fontsize=8
    )
    return figure


def grid(rows: Sequence[Row]) -> tuple[Figure, list[tuple[Axes, list[Row]]]]:
    """A panel for each group that has rows."""
    from matplotlib.figure import Figure

    found = [[r for r in rows if r.group == group] for group in GROUPS]
    found = [part for part in found if part]
    columns = min(COLUMNS, len(found))
    tall = -(-len(found) // columns)
    figure = Figure((WIDE * max(columns, 2) / COLUMNS, 0.35 + TALL * tall))
    axes = figure.subplots(tall, columns, squeeze=False).ravel()
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    return figure, list(zip(axes, found, strict=False))


def lines(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each kind, by strength; on and off, all in one line of points."""
    if rows[0].group == "line":
        return [list(rows)]
    names = dict.fromkeys(r.name for r in rows)
    return [sorted((r for r in rows if r.name == name), key=lambda r: r.strength) for name in names]


def places(line: Sequence[Row], clean: Row) -> tuple[list[float], list[Row]]:
    """Where the points of a line stand. Where strength 0 is no disturbance, the undisturbed test is a point of it."""
    if line[0].group == "line":
        return [float(i) for i in range(len(line))], list(line)
    points = [(r.strength, r) for r in line]
    if line[0].group not in FALLING and not any(r.strength == 0 for r in line):
        points = sorted([*points, (0.0, clean)], key=lambda point: point[0])
    return [x for x, _ in points], [r for _, r in points]


def plot(axes: Axes, k: int, line: Sequence[Row], x: Sequence[float], y: Sequence[float]) -> None:
    """One line, or points of their own."""
    style = "none" if line[0].group == "line" else "-"
    axes.plot(x, y, MARKS[k % len(MARKS)], color=COLOURS[k % len(COLOURS)], ms=3, lw=1.2, ls=style, label=line[0].name)


def finish(axes: Axes, rows: Sequence[Row]) -> None:
    """Title, ticks and words of a panel: mild disturbances are left, hard ones right, or to both sides of none."""
    group, strengths = rows[0].group, sorted({r.strength for r in rows})
    axes.set_title(TITLES.get(group, group), fontsize=8, loc="left")
    axes.tick_params(labelsize=7)
    if group == "line":
        axes.set_xticks(range(len(rows)), [r.kind for r in rows])
        axes.set_xlim(-0.5, len(rows) - 0.5)
        return
    if group == "codec":
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    if group not in FALLING:
        strengths = sorted({0.0, *strengths})
    axes.set_xticks(strengths, [f"{s:g}" for s in strengths])
    if group in FALLING:
        axes.invert_xaxis()
    axes.set_xlabel(rows[0].unit, fontsize=7)
    if {r.name for r in rows} != {group}:
        axes.legend(fontsize=5.5, frameon=False, loc="best", handlelength=1.2, borderpad=0, labelspacing=0.2)


def label_left(panels: Sequence[tuple[Axes, list[Row]]], text: str) -> None:
    """The words of the upright axes, at the left edge alone."""
    for axes, _ in panels[:: min(COLUMNS, len(panels))]:
        axes.set_ylabel(text)


def bins(row: Row) -> np.ndarray:
    """Confidence and accuracy of the bins with at least 1 % of the utterances, (2, bins), percent."""
    return 100 * np.array([(c, a) for c, a, share in row.reliability if share >= 0.01]).T


def title(details: Details, what: str) -> str:
    """What a figure is about."""
    run = details.run
    synthetic = " (synthetic)" if run["corpus"]["synthetic"] else ""
    return f"{run['model']['name']}, {run['corpus']['name']}{synthetic}: {what}"
