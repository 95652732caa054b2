"""CREMA-D as it is published: the clips, and the table of what listeners heard (votes dealt out at random)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from sertbench.datasets.cremad import CremaD

VOTES = {"N": 3897, "A": 986, "F": 645, "D": 547, "S": 370, "H": 353, "N:S": 300, "A:D:F": 344}


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    clips = sorted(CremaD().expected_ids())
    votes = [vote for vote, n in VOTES.items() for _ in range(n)]
    random.Random(0).shuffle(votes)
    fill(root / "AudioWAV", (f"{clip}.wav" for clip in clips))
    lines = [f'"{n}","{clip}","{vote}","50"' for n, (clip, vote) in enumerate(zip(clips, votes, strict=True), 1)]
    (root / "processedResults").mkdir()
    table = root / "processedResults" / "summaryTable.csv"
    table.write_text("\n".join(['"","FileName","VoiceVote","VoiceLevel"', *lines, ""]))
