"""MSP-IMPROV's layout with the published numbers of turns per kind and emotion; who says what is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

COUNTS = {  # kind -> turns labelled A, S, H, N, O, X (table 4 of the paper)
    "T": (115, 106, 136, 283, 1, 11),
    "R": (169, 80, 88, 241, 3, 39),
    "S": (470, 633, 1048, 1789, 70, 371),
    "P": (38, 66, 1372, 1164, 11, 134),
}


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    """Turns of all actors in turn; each line is followed by one rater's, as in the release."""
    root.mkdir()
    lines: list[str] = []
    folders: dict[Path, list[str]] = {}
    for kind, counts in COUNTS.items():
        codes = [code for code, n in zip("ASHNOX", counts, strict=True) for _ in range(n)]
        for n, code in enumerate(codes):
            talker = f"{'FM'[n % 2]}0{n // 2 % 6 + 1}"
            scene = f"S{n // 12 % 20 + 1:02d}{'AHNS'[n // 240 % 4]}"
            turn = f"{scene}-{talker}-{kind}-FM{n // 960:02d}"
            folder = root / f"session{talker[-1]}" / scene / kind
            folders.setdefault(folder, []).append(f"MSP-IMPROV-{turn}.wav")
            lines.append(f"UTD-IMPROV-{turn}.avi; {code}; A:2.600000; V:2.400000; D:NaN ; N:3.200000;")
            lines.append("WORKER_01; Neutral; Neutral,Other (calm); A:3.000000; V:3.000000; D:NaN; N:3.000000;\n")
    for folder, names in folders.items():
        fill(folder, names)
    (root / "Evalution.txt").write_text("\n".join(lines))
