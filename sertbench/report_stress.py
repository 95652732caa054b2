"""What `sertbench stress` and `sertbench gaps` measured of a run, for its page in the report.

Neither is part of the published bundle: they lie beside the user's own run. What was measured on other predictions than
the row's is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sertbench import gaps, gaps_record, stress_record, svg
from sertbench.board_rows import text_of
from sertbench.gaps import Gap, Group
from sertbench.report_view import Entry
from sertbench.stress_drawings import TITLES, lines, places
from sertbench.stress_kinds import FALLING, GROUPS, KINDS
from sertbench.stress_record import Row

WIDTH, HEIGHT = 330, 230
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 40
PAD = 10  # between the axis and the first strength
SAME = {"uar": "uar_pooled_mean", "uar_ci95_lo": "uar_ci95_lo", "uar_ci95_hi": "uar_ci95_hi", "ece": "ece"}

Ends = Callable[[Row], tuple[float, float]]


def values(entry: Entry, chance: float) -> dict[str, Any]:
    """What the template shows: panels and table of the disturbances, and the gaps; None where there are none."""
    folder, rows = stressed(entry)
    found = next((known for copy in entry.copies if (known := gaps_record.read(copy, entry.row))), ())
    return {
        "stress": shown(rows, chance) if rows else None,
        "stress_csv": f"{entry.page}-stress.csv" if csv_of(folder) else None,
        "gaps": [(gap, gaps.in_words(gap), ends_of(gap)) for gap in found],
    }


def stressed(entry: Entry) -> tuple[Path | None, tuple[Row, ...]]:
    """The copy of the row's bundle that was stressed, and its figures, the undisturbed ones first."""
    for copy in entry.copies:
        rows = stress_record.read(copy)
        if len(rows) > 1 and all(text_of(getattr(rows[0], own)) == entry.row[cell] for own, cell in SAME.items()):
            return copy, rows
    return None, ()


def ends_of(gap: Gap) -> tuple[Group, ...]:
    """The groups of a gap, best first; of speakers, who stand above on the page, the best and the worst."""
    return (gap.groups[0], gap.groups[-1]) if gap.grouping == "speaker" else gap.groups


def csv_of(folder: Path | None) -> Path | None:
    """The table of a stressed run; no link, which may lead anywhere."""
    path = folder / stress_record.FOLDER / "stress.csv" if folder else None
    return path if path and path.is_file() and not path.is_symlink() else None


def shown(rows: Sequence[Row], chance: float) -> dict[str, Any]:
    """Panels by group of disturbances, and a line of the table per row."""
    groups = [part for name in GROUPS if (part := [r for r in rows[1:] if r.group == name])]
    most = max(r.ece for r in rows) * 1.08 + 0.5
    lowest, highest = min(r.uar_ci95_lo for r in rows), max(r.uar_ci95_hi for r in rows)
    uar = svg.Scale(max(0.0, min(chance, lowest) - 2), min(100.0, highest + 2), HEIGHT - BOTTOM, TOP)
    ece = svg.Scale(0.0, most, HEIGHT - BOTTOM, TOP)
    return {
        "uar": [
            panel(part, rows[0], uar, "UAR (%)", lambda r: r.uar, lambda r: (r.uar_ci95_lo, r.uar_ci95_hi), chance)
            for part in groups
        ],
        "ece": [panel(part, rows[0], ece, "ECE (%)", lambda r: r.ece) for part in groups],
        "rows": [(r, KINDS[r.kind].shown(r.strength) if r.kind in KINDS else "none") for r in rows],
    }


def panel(
    rows: Sequence[Row], clean: Row, y: svg.Scale, y_label: str, value: Callable[[Row], float],
    ends: Ends | None = None, chance: float | None = None,
) -> tuple[str, Markup, list[tuple[str, Markup]]]:  # fmt: skip
    """Title, chart and legend of one group: mild disturbances are left, hard ones right, or to both sides of none."""
    group, title = rows[0].group, TITLES.get(rows[0].group, rows[0].group)
    found = lines(rows)
    stands = [places(line, clean) for line in found]
    if group == "line":
        x = svg.Scale(-0.5, len(rows) - 0.5, LEFT, WIDTH - RIGHT)
        ticks = [(float(k), row.kind) for k, row in enumerate(rows)]
    else:
        strengths = sorted({at for xs, _ in stands for at in xs})
        left, right = LEFT + PAD, WIDTH - RIGHT - PAD
        left, right = (right, left) if group in FALLING else (left, right)
        x = svg.Scale(strengths[0], strengths[-1], left, right, log=group == "codec")
        ticks = [(strength, f"{strength:g}") for strength in strengths]
    parts = [*frame(x, y, ticks, "" if group == "line" else rows[0].unit, y_label)]
    parts.append(svg.tag("path", class_="ideal", d=f"M{LEFT} {y(value(clean)):.1f}H{WIDTH - RIGHT}"))
    if chance is not None:
        parts.append(svg.tag("path", class_="guess", d=f"M{LEFT} {y(chance):.1f}H{WIDTH - RIGHT}"))
    for k, (xs, points) in enumerate(stands):
        if ends:
            parts.append(spread(group, [x(at) for at in xs], [tuple(map(y, ends(r))) for r in points], k))
        if group != "line":
            parts.append(svg.polyline([(at, value(r)) for at, r in zip(xs, points, strict=True)], x, y, f"line c{k}"))
        parts += [
            svg.shape(x(at), y(value(r)), k, told(r, value(r), y_label)) for at, r in zip(xs, points, strict=True)
        ]
    words = "; ".join(told(r, value(r), y_label) for r in rows)
    legend = (
        [(line[0].name, svg.sample(k)) for k, line in enumerate(found)] if {r.name for r in rows} != {group} else []
    )
    return title, svg.picture(f"{y_label} and {title}", words, WIDTH, HEIGHT, *parts), legend if group != "line" else []


def frame(x: svg.Scale, y: svg.Scale, ticks: Sequence[tuple[float, str]], x_label: str, y_label: str) -> list[Markup]:
    """Grid, ticks and words of both axes; the ticks of the strengths are those that were tried."""
    parts = []
    for value in y.ticks():
        parts.append(svg.tag("path", class_="grid", d=f"M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"))
        label = svg.short(value)
        parts.append(svg.tag("text", label, class_="tick", x=LEFT - 6, y=y(value) + 4, text_anchor="end"))
    for at, text in ticks:
        parts.append(svg.tag("path", class_="grid", d=f"M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}"))
        parts.append(svg.tag("text", text, class_="tick", x=x(at), y=HEIGHT - BOTTOM + 15, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(svg.tag("text", x_label, class_="label", x=middle, y=HEIGHT - 6, text_anchor="middle"))
    turned = f"rotate(-90 11 {(TOP + HEIGHT - BOTTOM) / 2:g})"
    at = (TOP + HEIGHT - BOTTOM) / 2
    return [*parts, svg.tag("text", y_label, class_="label", x=11, y=at, text_anchor="middle", transform=turned)]


def spread(group: str, xs: Sequence[float], ends: Sequence[tuple[float, ...]], k: int) -> Markup:
    """The intervals: a band along a line, a stroke at a point that stands for itself."""
    if group == "line":
        strokes = "".join(f"M{at:.1f} {low:.1f}V{high:.1f}" for at, (low, high) in zip(xs, ends, strict=True))
        return svg.tag("path", class_=f"line c{k}", d=strokes)
    there = [f"{at:.1f} {low:.1f}" for at, (low, _) in zip(xs, ends, strict=True)]
    back = [f"{at:.1f} {high:.1f}" for at, (_, high) in zip(xs, ends, strict=True)]
    return svg.tag("path", class_=f"band c{k}", d="M" + "L".join([*there, *reversed(back)]) + "Z")


def told(row: Row, value: float, label: str) -> str:
    """A point in words."""
    what = f"{row.name} {KINDS[row.kind].shown(row.strength)}" if row.kind in KINDS else "undisturbed"
    return f"{what}: {label.removesuffix(' (%)')} {value:.2f} %"
