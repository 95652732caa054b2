"""The report's charts as matplotlib figures; each function draws one. Colours are safe for colour-blind eyes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from sertbench.errors import few
from sertbench.report_view import CHEATS, COSTS, Table, View, costs, matrix, names, way
from sertbench.run_details import Curve, Details
from sertbench.svg import Scale, form, short
from sertbench.svg_labels import Box, line, places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#c04a00", "#00805c", "#a3437f", "#8a6d00", "#2b7bba", "#5b5b5b", "#7a5195")
MARKS = ("o", "s", "D", "^")
STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False, "pdf.fonttype": 42,
    "svg.hashsalt": "sertbench",
    "axes.grid": True, "grid.color": "#e0e4e9", "axes.axisbelow": True, "figure.constrained_layout.use": True,
}  # fmt: skip
WIDE, NARROW = 7.0, 3.4  # inches: a page's text and a column of it


def new(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure with its axes side by side, sizes in inches; it belongs to no window."""
    from matplotlib.figure import Figure

    figure = Figure((width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def room(texts: Iterable[str], usual: int) -> float:
    """Inches that a figure needs more where a text is longer than usual: an axis must not vanish beside its names."""
    return 0.065 * max(0, max(map(len, texts), default=0) - usual)


def board(table: Table) -> Figure:
    """UAR with its interval, best on top; models that share a rank share a colour. Guessing is dashed."""
    entries = [e for e in table.entries if e.row["board"] != "diagnostic"] or list(table.entries)
    labels = [
        f"{e.row['rank'] + ('=' if e.tied else '') or '–'}  {called}"
        for called, e in zip(names(entries), entries, strict=True)
    ]
    figure, (axes,) = new(WIDE / 1.4 + room(labels, 30), 0.8 + 0.22 * len(entries))
    for k, entry in enumerate(entries):
        colour = COLOURS[entry.tie % len(COLOURS)] if entry.tie >= 0 else "#5b5b5b"
        ends = float(entry.row["uar_ci95_lo"]), float(entry.row["uar_ci95_hi"])
        axes.plot(ends, (k, k), color=colour, lw=2, solid_capstyle="butt")
        axes.plot(entry.uar, k, "o", color=colour, ms=4)
    axes.set_yticks(range(len(entries)), labels)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.axvline(table.chance, color="#5b5b5b", lw=0.8, ls="--")
    axes.set_xlabel("UAR (%), 95 % interval")
    figure.suptitle(title(table), x=0.01, ha="left", fontsize=8)
    return figure


def title(table: Table) -> str:
    """What a figure is about; synthetic corpora say so."""
    synthetic = " (synthetic: says nothing about people)" if table.first["synthetic"] == "1" else ""
    return f"{table.name}, n = {table.first['n_utt_scored']}{synthetic}"


def overview(view: View) -> Figure:
    """The heat map of models against tables: the shade is the way from guessing to perfection."""
    lines = matrix(view.tables)
    wide = 1.8 + 0.75 * len(view.tables) + room((name for name, _, _ in lines), 16)
    figure, (axes,) = new(wide, 1.3 + 0.24 * len(lines))
    shades = np.full((len(lines), len(view.tables)), np.nan)
    for i, (_, _, cells) in enumerate(lines):
        for j, entry in enumerate(cells):
            if entry is not None:
                shades[i, j] = way(entry.uar, view.tables[j].chance)
                colour = "white" if shades[i, j] > 0.6 else "black"
                said = entry.row["uar_pooled_mean"] + "*" * (not entry.ranked)
                axes.text(j, i, said, ha="center", va="center", color=colour, fontsize=7)
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    names = [t.first["corpus"] + (" (synthetic)" if t.first["synthetic"] == "1" else "") for t in view.tables]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    if any(entry and not entry.ranked for _, _, cells in lines for entry in cells):
        axes.set_xlabel("* not ranked")
    return figure


def pareto(table: Table) -> Figure:
    """UAR against each cost, on a logarithmic axis, with the Pareto front."""
    from matplotlib.ticker import NullLocator

    found = [(label, *costs(table, name)) for name, label in COSTS.items()]
    found = [(label, points, without) for label, points, without in found if points]
    figure, all_axes = new(WIDE, 3.0, len(found))
    for axes, (_, points, _) in zip(all_axes, found, strict=True):
        front = sorted((cost, uar) for _, cost, uar, best in points if best)
        axes.step([c for c, _ in front], [u for _, u in front], where="post", color=COLOURS[1], lw=1)
        for _, cost, uar, best in points:
            axes.plot(cost, uar, "o", color=COLOURS[1 if best else 0], ms=4)
        axes.set_xscale("log")
        axes.margins(0.2)
        known = [cost for _, cost, _, _ in points]
        scale = Scale(min(known) / 1.5, max(known) * 1.8, 0, 1, log=True)
        axes.set_xlim(scale.low, scale.high)
        axes.set_xticks(scale.ticks(), [short(value) for value in scale.ticks()])
        axes.xaxis.set_minor_locator(NullLocator())
    all_axes[0].set_ylabel("UAR (%)")
    figure.suptitle(title(table), x=0.01, ha="left", fontsize=8)
    for _ in range(2):  # the layout says how much room there is, and what has none takes room below
        figure.draw_without_rendering()
        for axes, (label, points, without) in zip(all_axes, found, strict=True):
            for text in list(axes.texts):
                text.remove()
            unnamed = name_points(axes, figure.dpi, points)
            said = [f"left out, not known: {few(without, 4)}"] if without else []
            said += [f"no room for the name of {few(unnamed, 4)}"] if unnamed else []
            axes.set_xlabel("\n".join([label, *(fill(words, 36) for words in said)]))
    return figure


def name_points(axes: Axes, dpi: float, points: Sequence[tuple[str, float, float, bool]]) -> list[str]:
    """Name each point where there is room, the front's first, and give the names that found none.

    `points` are those of `costs`, and stand in `axes`, whose layout is done.
    """
    size = 5.4  # of the letters, points
    unit = 1.1 * size / 12  # `places` thinks in letters of 12, and matplotlib's font is wide
    scale = 72 / dpi / unit

    def at(cost: float, uar: float) -> tuple[float, float]:
        x, y = axes.transData.transform((cost, uar))
        return scale * x, -scale * y

    room = axes.get_window_extent()
    beyond = room.x1 + room.width / 20  # the gap between two charts
    frame = Box(scale * room.x0, -scale * room.y1, scale * beyond, -scale * room.y0)
    front = sorted(at(cost, uar) for _, cost, uar, best in points if best)
    steps = [part for (x, y), (to, up) in pairwise(front) for part in (line(x, y, to, y), line(to, y, to, up))]
    ordered = sorted(points, key=lambda p: (not p[3], p[1]))
    labels = places([(name, *at(cost, uar)) for name, cost, uar, _ in ordered], frame, steps, 4.5)
    unnamed = []
    for (name, cost, uar, _), label in zip(ordered, labels, strict=True):
        if label is None:
            unnamed.append(name)
        else:
            x, y = at(cost, uar)
            offset = (label.x - x) * unit, (y - label.y) * unit
            side = {"start": "left", "middle": "center", "end": "right"}[label.anchor]
            axes.annotate(label.text, (cost, uar), xytext=offset, textcoords="offset points", fontsize=size, ha=side)
    return unnamed


def optimism(view: View) -> Figure:
    """Honest score and cheats, a line per row."""
    entries = view.measured
    figure, (axes,) = new(WIDE, 1.1 + 0.25 * len(entries))
    for j, (name, label) in enumerate({"uar_pooled_mean": "honest", **CHEATS}.items()):
        known = [(float(e.row[name]), k) for k, e in enumerate(entries) if e.row.get(name)]
        if known:
            axes.plot(*zip(*known, strict=True), MARKS[j], color=COLOURS[j], ms=5, label=label, ls="none")
    labels = [
        f"{called}, {e.row['corpus']}{' (synthetic)' if e.synthetic else ''}"
        for called, e in zip(names(entries), entries, strict=True)
    ]
    axes.set_yticks(range(len(entries)), labels)
    axes.margins(y=0.3)
    axes.invert_yaxis()
    axes.set_xlabel("UAR (%)")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=7)
    return figure


def critical_difference(view: View) -> Figure:
    """Mean ranks over corpora; bars join what cannot be told apart (Demsar, JMLR 2006)."""
    assert view.comparison is not None
    names, found = view.comparison
    m, order = len(names), np.argsort(found.mean_ranks, kind="stable")
    half, bars = (m + 1) // 2, len(found.cliques)
    figure, (axes,) = new(WIDE, 0.7 + 0.16 * bars + 0.2 * half)
    axes.axis("off")
    axes.plot((1, m), (0, 0), color="black", lw=1)
    for value in range(1, m + 1):
        axes.plot((value, value), (0, 0.25), color="black", lw=1)
        axes.text(value, 0.4, str(value), ha="center", va="bottom")
    for k, clique in enumerate(found.cliques):
        ends = [found.mean_ranks[i] for i in clique]
        axes.plot((min(ends) - 0.04, max(ends) + 0.04), (-0.6 * (k + 1),) * 2, color="black", lw=3.5)
    for place, i in enumerate(order):
        left, rank = place < half, found.mean_ranks[i]
        down, end = -0.6 * bars - 0.8 - (place if left else m - 1 - place), 0.8 if left else m + 0.2
        axes.plot((rank, rank, end), (0, down, down), color="black", lw=0.7)
        text = f"{names[i]}  {rank:.2f}"
        axes.text(end - 0.05 if left else end + 0.05, down, text, ha="right" if left else "left", va="center")
    axes.set_title(f"mean rank; Friedman p = {found.friedman_p:.2g}", fontsize=8, pad=14)
    return figure


def confusion(details: Details) -> Figure:
    """Percent of each true class that was given each answer, mean over seeds."""
    n = len(details.classes)
    totals = details.confusion.sum(axis=1, keepdims=True)
    shares = 100 * details.confusion / np.where(totals == 0, 1, totals)
    more = room(details.classes, 12)
    figure, (axes,) = new(1.4 + 0.45 * n + more, 1.2 + 0.4 * n + more)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.grid(visible=False)
    for (i, j), share in np.ndenumerate(shares):
        axes.text(j, i, f"{share:.0f}", ha="center", va="center", color="white" if share > 60 else "black", fontsize=7)
    axes.set_xticks(range(n), details.classes, rotation=35, ha="right")
    axes.set_yticks(range(n), details.classes)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    return figure


def groups(details: Details) -> Figure:
    """UAR per fold and per speaker, a dot per seed."""
    tall = max(len(details.folds), len(details.speakers))
    more = room((g.name for g in (*details.folds, *details.speakers)), 12)
    figure, all_axes = new(WIDE + 2 * more, 0.8 + 0.17 * tall, 2)
    for axes, found, label in zip(all_axes, (details.folds, details.speakers), ("fold", "speaker"), strict=True):
        for k, group in enumerate(found):
            axes.plot(group.seeds, [k] * len(group.seeds), "o-", color=COLOURS[0], ms=3, lw=0.8)
        axes.set_yticks(range(len(found)), [g.name for g in found])
        axes.axvline(100 / len(details.classes), color="#5b5b5b", lw=0.8, ls="--")
        axes.set_xlim(0, 100)
        axes.invert_yaxis()
        axes.set_ylabel(label)
        axes.set_xlabel("UAR (%)")
    return figure


def curves(details: Details) -> Figure:
    """Training loss, validation UAR and tuning, coloured by fold; what there is of them."""
    parts: list[tuple[tuple[Curve, ...], str, str]] = [
        (details.losses, "epoch", "training loss"), (details.val_uars, "epoch", "validation UAR (%)"),
        (details.tuning, "trial", "best validation UAR (%)"),
    ]  # fmt: skip
    parts = [part for part in parts if part[0]]
    from matplotlib.ticker import MaxNLocator

    figure, all_axes = new(NARROW * len(parts) / 1.4, 2.3, len(parts))
    for axes, (lines, x, y) in zip(all_axes, parts, strict=True):
        for curve in lines:
            axes.plot(*zip(*curve.points, strict=True), color=COLOURS[curve.fold % len(COLOURS)], lw=0.9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return figure


def calibration(details: Details) -> Figure:
    """Accuracy against confidence; the area of a dot is its share of the utterances."""
    figure, (axes,) = new(NARROW, NARROW)
    bins = np.array(details.reliability)
    axes.plot((0, 100), (0, 100), color="#5b5b5b", lw=0.8, ls="--")
    axes.plot(100 * bins[:, 0], 100 * bins[:, 1], color=COLOURS[0], lw=1)
    axes.scatter(100 * bins[:, 0], 100 * bins[:, 1], s=10 + 300 * bins[:, 2], color=COLOURS[0])
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("accuracy (%)")
    return figure


def embedding(details: Details) -> Figure:
    """t-SNE of the penultimate layer for one fold's test part, coloured by true class."""
    seen = details.embedding
    assert seen is not None
    figure, (axes,) = new(NARROW, NARROW)
    targets = np.array(seen.targets)
    for k, name in enumerate(details.classes):
        points = seen.points[targets == k]
        axes.scatter(
            points[:, 0], points[:, 1], s=8, marker=MARKS[form(k)], color=COLOURS[k % len(COLOURS)], label=name
        )
    axes.axis("off")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure
