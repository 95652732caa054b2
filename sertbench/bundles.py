"""Where bundles lie: the user's own runs, and those published beside the leaderboards.

A bundle may lie in both: `sertbench publish` writes a copy that tells nothing about the machine. A row says by the hash
of its run.json which of the two it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertbench import bundle, files

PUBLISHED = "bundles"  # within the leaderboards: what `sertbench publish` wrote
REPLAYS = "replays"  #   within the runs and within the published bundles: those of replayed claims
CROSSED = "cross"  #     likewise: those of cross-corpus runs


@dataclass(frozen=True)
class Bundles:
    """Folders of bundles."""

    published: Path
    runs: Path

    @classmethod
    def of(cls, runs: Path, leaderboards: Path) -> Bundles:
        """The runs, and the bundles that were published with the leaderboards."""
        return cls(leaderboards / PUBLISHED, runs)

    @property
    def replays(self) -> Bundles:
        """The bundles of replayed claims."""
        return Bundles(self.published / REPLAYS, self.runs / REPLAYS)

    @property
    def crossed(self) -> Bundles:
        """The bundles of cross-corpus runs."""
        return Bundles(self.published / CROSSED, self.runs / CROSSED)

    def __iter__(self) -> Iterator[Path]:
        """All whole bundles by name; of two copies of one run the published one alone."""
        for path in sorted(
            {p.parent.name for folder in (self.published, self.runs) for p in folder.glob("*/run.json")}
        ):
            copies = self.copies(path)
            if len(copies) == 1 or not same_run(*copies):
                yield from copies
            else:
                yield copies[0]

    def copies(self, name: str) -> list[Path]:
        """The whole bundles of that name, the published one first; a name that leads out of the folders has none."""
        if not bundle.is_file_name(name):
            return []
        return [f / name for f in (self.published, self.runs) if bundle.is_whole(f / name)]

    def find(self, row: Mapping[str, Any], prefix: str = "") -> Path | None:
        """The bundle of a row: the copy that it was made from, if that is at hand, otherwise another one."""
        copies = self.copies(str(row[f"{prefix}bundle"]))
        exact = (c for c in copies if files.sha256(c / "run.json") == row.get(f"{prefix}run_json_sha256"))
        return next(exact, copies[0] if copies else None)

    def settled(self, folder: Path) -> Path:
        """The published copy of a run, if there is one, otherwise the run."""
        return next((c for c in self.copies(folder.name) if same_run(c, folder)), folder)

    def __str__(self) -> str:
        return f"{self.runs} and {self.published}" if self.published.exists() else str(self.runs)


@dataclass(frozen=True)
class Own:
    """The user's own runs alone: where fits are loaded, or something is kept beside a run."""

    runs: Path

    def __iter__(self) -> Iterator[Path]:
        """All whole bundles by name."""
        yield from sorted(p.parent for p in self.runs.glob("*/run.json") if bundle.is_whole(p.parent))

    def __str__(self) -> str:
        return str(self.runs)


def same_run(a: Path, b: Path) -> bool:
    """Whether two bundles are copies of one run, and neither has what was measured after the other was copied."""
    one, two = bundle.readable(a), bundle.readable(b)
    if one is None or two is None:
        return False
    return all(one.get(name) == two.get(name) for name in ("date_utc", "optimism"))
