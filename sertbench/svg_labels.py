"""Where the names of a chart's points go: beside their point, and on no other name, point or line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LETTER, ASCENT, DESCENT = 6.6, 10.0, 3.0  # of a chart's names in letters of 12 pixels; the width is a mean
SIDES = (("start", 4.0, -9.0), ("end", -4.0, -9.0), ("start", 6.0, 17.0), ("end", -6.0, 17.0), ("start", 9.0, 4.0),
         ("end", -9.0, 4.0), ("middle", 0.0, -10.0), ("middle", 0.0, 18.0))  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether both have a pixel in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, frame: Box) -> bool:
        """Whether nothing of it is outside."""
        return (
            frame.left <= self.left
            and self.right <= frame.right
            and frame.top <= self.top
            and self.bottom <= frame.bottom
        )


@dataclass(frozen=True)
class Label:
    """A name at its place: where its baseline has its "start", "middle" or "end", as the anchor says."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> Box:
        """What the name covers, about."""
        width = LETTER * len(self.text)
        left = self.x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        return Box(left, self.y - ASCENT, left + width, self.y + DESCENT)


def line(x: float, y: float, to_x: float, to_y: float) -> Box:
    """What an upright or level line covers."""
    return Box(min(x, to_x) - 1, min(y, to_y) - 1, max(x, to_x) + 1, max(y, to_y) + 1)


def places(
    points: Sequence[tuple[str, float, float]], frame: Box, lines: Iterable[Box], radius: float = 6.0
) -> list[Label | None]:
    """A label for each point (name, x, y), or None where there is no room; the first points choose first.

    `radius` is that of a point with its outline.
    """
    taken = [*lines, *(Box(x - radius, y - radius, x + radius, y + radius) for _, x, y in points)]
    found: list[Label | None] = []
    for name, x, y in points:
        tried = (Label(name, x + right, y + down, anchor) for anchor, right, down in SIDES)
        free = (a for a in tried if a.box.within(frame) and not any(a.box.meets(box) for box in taken))
        found.append(label := next(free, None))
        taken += [label.box] if label else []
    return found
