"""What `sertbench gaps` leaves in a run's folder, RUN/gaps.json, written and read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sertbench import files
from sertbench.gaps import DRAWS, Figure, Gap, Group

FILE = "gaps.json"
SCHEMA = 1


def content(folder: Path, run: Mapping[str, Any], found: Sequence[Gap]) -> str:
    """Everything as JSON, with the hash of the predictions that it is about."""
    about = {"schema_version": SCHEMA, "run": folder.name, "predictions_sha256": run["files"]["predictions.parquet"]}
    return json.dumps({**about, "draws": DRAWS, "gaps": [asdict(gap) for gap in found]}, indent=1) + "\n"


def write(folder: Path, run: Mapping[str, Any], found: Sequence[Gap]) -> Path:
    """Write it into the run's folder; StorageError where that cannot be written."""
    files.write_text(folder / FILE, content(folder, run, found))
    return folder / FILE


def read(folder: Path, row: Mapping[str, str]) -> tuple[Gap, ...]:
    """The gaps that were measured on a row's predictions; none where there are none, or not by this version."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if found["schema_version"] != SCHEMA or found["predictions_sha256"] != row["predictions_sha256"]:
            return ()
        return tuple(gap_of(gap) for gap in found["gaps"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return ()


def gap_of(made: Mapping[str, Any]) -> Gap:
    """One gap. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
    groups = tuple(
        Group(str(g["name"]), int(g["speakers"]), int(g["utterances"]), number(g["uar"]), pair(g["interval"]))
        for g in made["groups"]
    )
    figures = tuple(
        Figure(str(f["name"]), number(f["observed"]), pair(f["band"]), number(f["p"]),
               None if f["p_dealt"] is None else number(f["p_dealt"]))
        for f in made["figures"]
    )  # fmt: skip
    if len(groups) < 2 or not figures:
        raise ValueError("a gap has two groups and a figure at least")
    return Gap(str(made["grouping"]), groups, figures, int(made["left_out"]))


def pair(value: Any) -> tuple[float, float]:
    """Two numbers."""
    low, high = value
    return number(low), number(high)


def number(value: Any) -> float:
    """A finite number, or ValueError."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
