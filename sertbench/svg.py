"""Inline SVG for the report: light, printable, coloured by the page's CSS variables, with a title and description.

All functions are pure and give safe markup; every text goes through the escaping of `tag`. Classes name the roles
(`line`, `mark`, `c0`...), the style sheet gives them colours, so a chart follows the page's theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from sertbench.svg_labels import Box, line, places

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 40  # margins for the axes' words
COLOURS = 8  # classes c0..c7 of the style sheet


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; `class_` is class, an underscore in a name is a hyphen, None leaves an attribute out."""
    inside = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{inside}>{body}</{name}>" if body else f"<{name}{inside}/>")


def number(value: object) -> object:
    """A float as short as a picture needs it."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


@dataclass(frozen=True)
class Scale:
    """From data to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False  # ticks are whole numbers

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        a, b, v = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (v - a) / ((b - a) or 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the scale: steps of 1, 2 or 5; powers of ten on a long logarithmic scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, (last - first) // 5)
            steps = (1, 2, 5) if last - first < 2 else (1,)
            return [
                v
                for v in (m * 10.0**e for e in range(first - 1, last + 1, every) for m in steps)
                if self.low <= v <= self.high
            ]
        step = nice_step((self.high - self.low) / 5)
        step = max(step, 1.0) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_step(rough: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def short(value: float) -> str:
    """A tick's text.

    >>> short(0.001), short(25.0), short(460000)
    ('0.001', '25', '460k')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.4g}"


def picture(title: str, description: str, width: int, height: int, *children: object, class_: str = "chart") -> Markup:
    """An SVG that a screen reader announces by title and description."""
    words = f"{title}. {description}"
    return tag("svg", *children, class_=class_, role="img", viewBox=f"0 0 {width} {height}", aria_label=words)


def axes(x: Scale, y: Scale, x_label: str, y_label: str) -> Markup:
    """Grid lines, ticks and words of both axes."""
    parts = []
    for value in x.ticks():
        at = x(value)
        parts.append(tag("path", class_="grid", d=f"M{at:.1f} {y.start:g}V{y.end:g}"))
        parts.append(tag("text", short(value), class_="tick", x=at, y=y.start + 15, text_anchor="middle"))
    for value in y.ticks():
        at = y(value)
        parts.append(tag("path", class_="grid", d=f"M{x.start:g} {at:.1f}H{x.end:g}"))
        parts.append(tag("text", short(value), class_="tick", x=x.start - 6, y=at + 4, text_anchor="end"))
    middle = (y.start + y.end) / 2
    parts.append(tag("text", x_label, class_="label", x=(x.start + x.end) / 2, y=y.start + 33, text_anchor="middle"))
    turned = f"rotate(-90 12 {middle:g})"
    parts.append(tag("text", y_label, class_="label", x=12, y=middle, text_anchor="middle", transform=turned))
    return Markup("").join(parts)


def polyline(points: Points, x: Scale, y: Scale, class_: str) -> Markup:
    """A line through the points."""
    return tag("path", class_=class_, d="M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points))


def lines(
    title: str, description: str, x_label: str, y_label: str, series: Sequence[tuple[str, Points, int]],
) -> Markup:  # fmt: skip
    """Lines over whole numbers (epochs, trials), each with a name (its tooltip), points and a colour number."""
    xs = [a for _, points, _ in series for a, _ in points]
    ys = [b for _, points, _ in series for _, b in points]
    low, high = min(ys), max(ys)
    pad = 0.05 * (high - low or 1)
    y = Scale(low - pad, high + pad, HEIGHT - BOTTOM, TOP)
    x = Scale(min(xs), max(*xs, min(xs) + 1), LEFT, WIDTH - RIGHT, whole=True)
    marks = [
        tag("g", tag("title", name), polyline(points, x, y, stroke(colour)),
            *(tag("circle", class_=f"mark c{colour % COLOURS}", cx=x(a), cy=y(b), r=2) for a, b in points
              if len(points) < 3))
        for name, points, colour in series
    ]  # fmt: skip
    return picture(title, description, WIDTH, HEIGHT, axes(x, y, x_label, y_label), *marks)


def pareto(title: str, description: str, x_label: str, points: Sequence[tuple[str, float, float, bool]]) -> Markup:
    """Score against cost, (name, cost, UAR, on the front): cost on a logarithmic axis, the front as a stair.

    The front's points are named first; a name that has no room is its point's tooltip alone.
    """
    costs, scores = [p[1] for p in points], [p[2] for p in points]
    pad = max(1.0, 0.15 * (max(scores) - min(scores)))
    y = Scale(min(scores) - pad, max(scores) + pad, HEIGHT - BOTTOM, TOP)
    x = Scale(min(costs) / 1.5, max(costs) * 1.8, LEFT, WIDTH - RIGHT, log=True)
    stair, height = [], y.start
    front = sorted((x(p[1]), y(p[2])) for p in points if p[3])
    for (at, up), (after, _) in pairwise([*front, (x.end, 0.0)]):
        stair += [(at, height, at, up), (at, up, after, up)]
        height = up
    start = "".join(f"M{at:.1f} {y.start:g}" for at, _ in front[:1])
    d = start + "".join(f"L{a:.1f} {b:.1f}" for _, _, a, b in stair)
    ordered = sorted(points, key=lambda p: (not p[3], p[1]))
    labels = places([(clipped(name), x(cost), y(uar)) for name, cost, uar, _ in ordered],
                    Box(LEFT, 0, WIDTH, y.start), [line(*part) for part in stair])  # fmt: skip
    marks = [
        tag("g", tag("title", f"{name}: {short(cost)}, UAR {uar:.2f} %"),
            tag("circle", class_="mark best" if best else "mark", cx=x(cost), cy=y(uar), r=5),
            tag("text", label.text, class_="name", x=label.x, y=label.y, text_anchor=label.anchor) if label else "")
        for (name, cost, uar, best), label in zip(ordered, labels, strict=True)
    ]  # fmt: skip
    drawn = [tag("path", class_="front", d=d)] if d else []
    return picture(title, description, WIDTH, HEIGHT, axes(x, y, x_label, "UAR (%)"), *drawn, *marks)


def clipped(name: str, most: int = 22) -> str:
    """A name that fits into a chart."""
    return name if len(name) <= most else name[: most - 1] + "…"


def reliability(title: str, description: str, bins: Sequence[tuple[float, float, float]]) -> Markup:
    """Calibration: (confidence, accuracy, share of utterances) per bin; the area of a dot is the share."""
    x, y = Scale(0.0, 100.0, LEFT, HEIGHT + 60 - RIGHT), Scale(0.0, 100.0, HEIGHT - BOTTOM, TOP)
    diagonal = tag("path", class_="ideal", d=f"M{x(0):.1f} {y(0):.1f}L{x(100):.1f} {y(100):.1f}")
    points = [(100 * c, 100 * a) for c, a, _ in bins]
    dots = [
        tag("circle", tag("title", f"confidence {c:.0f} %, accuracy {a:.0f} %, {100 * share:.0f} % of utterances"),
            class_="mark c0", cx=x(c), cy=y(a), r=2.5 + 14 * math.sqrt(share))
        for (c, a), (_, _, share) in zip(points, bins, strict=True)
    ]  # fmt: skip
    parts = (axes(x, y, "confidence (%)", "accuracy (%)"), diagonal, polyline(points, x, y, "line c0"), *dots)
    return picture(title, description, HEIGHT + 60, HEIGHT, *parts, class_="chart square")


def strips(
    title: str, description: str, rows: Sequence[tuple[str, Sequence[tuple[str, float, int]]]],
    chance: float | None = None, left: int = 150, width: int = 620,
) -> Markup:  # fmt: skip
    """Named rows of dots (tooltip, percent, colour) on one axis from 0 to 100, joined by a line."""
    step = 26
    height = step * len(rows) + 42
    x = Scale(0.0, 100.0, left, width - 20)
    parts: list[object] = []
    for value in x.ticks():
        parts.append(tag("path", class_="grid", d=f"M{x(value):.1f} 6V{height - 34}"))
        parts.append(tag("text", short(value), class_="tick", x=x(value), y=height - 18, text_anchor="middle"))
    if chance is not None:
        parts.append(tag("path", class_="ideal", d=f"M{x(chance):.1f} 6V{height - 34}"))
    parts.append(tag("text", "UAR (%)", class_="label", x=(left + width) / 2, y=height - 3, text_anchor="middle"))
    for k, (name, dots) in enumerate(rows):
        at = step * k + 20
        ends = [x(v) for _, v, _ in dots]
        parts.append(tag("text", clipped(name, left // 7), class_="name", x=left - 10, y=at + 4, text_anchor="end"))
        parts.append(tag("path", class_="range", d=f"M{min(ends):.1f} {at}H{max(ends):.1f}"))
        parts += [shape(x(v), at, colour, f"{name}, {what}: {v:.2f} %") for what, v, colour in dots]
    return picture(title, description, width, height, *parts, class_="chart wide" if width > WIDTH else "chart")


def shape(x: float, y: float, kind: int, tip: str) -> Markup:
    """A mark that differs by form as well as by colour: circle, square, diamond, triangle."""
    forms: tuple[Callable[[], str], ...] = (
        lambda: f"M{x - 5:.1f} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
        lambda: f"M{x - 4.5:.1f} {y - 4.5}h9v9h-9z",
        lambda: f"M{x:.1f} {y - 6}l6 6l-6 6l-6 -6z",
        lambda: f"M{x:.1f} {y - 6}l6 10.5h-12z",
    )
    return tag("path", tag("title", tip), class_=f"mark c{kind % COLOURS}", d=forms[form(kind)]())


def form(kind: int) -> int:
    """Which of the four forms a kind has; with eight colours, 32 kinds differ.

    >>> [form(kind) for kind in (0, 1, 3, 7, 8, 15)]
    [0, 1, 3, 3, 1, 0]
    """
    return (kind + kind // COLOURS) % 4


def stroke(kind: int) -> str:
    """The classes of a line: eight colours, drawn through, and dashed in three ways beyond them."""
    dashes = kind // COLOURS % 4
    return f"line c{kind % COLOURS}" + (f" d{dashes}" if dashes else "")


def cloud(title: str, description: str, points: Sequence[tuple[float, float, int, str]]) -> Markup:
    """Points of a plane without axes: (x, y, colour and form, tooltip)."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x, y = Scale(min(xs), max(xs), 12, WIDTH - 12), Scale(min(ys), max(ys), WIDTH - 72, 12)
    return picture(title, description, WIDTH, WIDTH - 60, *(shape(x(a), y(b), k, tip) for a, b, k, tip in points),
                   class_="chart cloud")  # fmt: skip


def critical_difference(
    title: str, description: str, names: Sequence[str], ranks: Sequence[float], cliques: Sequence[Sequence[int]]
) -> Markup:
    """The diagram of Demsar (JMLR 2006): mean ranks on a line, bars join what cannot be told apart."""
    m, width, left = len(names), 680, 170
    order = sorted(range(m), key=lambda i: ranks[i])
    half = (m + 1) // 2
    bars = 14 * len(cliques)
    height = 50 + bars + 22 * half + 10
    x = Scale(1.0, float(m), left, width - left)
    parts: list[object] = [tag("path", class_="axis", d=f"M{x(1):.1f} 34H{x(m):.1f}")]
    for value in range(1, m + 1):
        if m <= 20 or value % 5 == 0 or value == 1:
            parts.append(tag("path", class_="axis", d=f"M{x(value):.1f} 28V34"))
            parts.append(tag("text", value, class_="tick", x=x(value), y=22, text_anchor="middle"))
    for k, clique in enumerate(cliques):
        at = 44 + 14 * k
        a, b = x(min(ranks[i] for i in clique)) - 4, x(max(ranks[i] for i in clique)) + 4
        parts.append(tag("path", class_="clique", d=f"M{a:.1f} {at}H{b:.1f}"))
    for place, i in enumerate(order):
        best = place < half
        at = 50 + bars + 22 * (place if best else m - 1 - place)
        end = left - 12 if best else width - left + 12
        parts.append(tag("path", class_="stem", d=f"M{x(ranks[i]):.1f} 34V{at}H{end}"))
        text = f"{clipped(names[i], 18)} {ranks[i]:.2f}"
        parts.append(tag("text", text, class_="name", x=end + (-5 if best else 5), y=at + 4,
                         text_anchor="end" if best else "start"))  # fmt: skip
    return picture(title, description, width, height, *parts, class_="chart wide")


def sample(kind: int) -> Markup:
    """The mark of a legend."""
    return tag("svg", shape(8.0, 8.0, kind, ""), viewBox="0 0 16 16", aria_hidden="true")


def sample_line(colour: int) -> Markup:
    """The line of a legend."""
    return tag("svg", tag("path", class_=stroke(colour), d="M0 8H16", stroke_width=3), viewBox="0 0 16 16",
               aria_hidden="true")  # fmt: skip
