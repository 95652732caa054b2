"""What `sertbench stress` leaves in a run's folder, written and read.

    RUN/stress/
        stress.json, stress.csv    a row per disturbance and strength, of this and earlier commands
        cells/<key>/               per cell: class probabilities per utterance, as in predictions.parquet
        *.svg, *.png               the curves, where matplotlib is installed

The key is a hash of all that the probabilities depend on but for the cell itself.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sertbench import files
from sertbench.stress_kinds import CLEAN, KINDS

FOLDER = "stress"
SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """What a disturbance of one strength did. All but the last are columns of stress.csv."""

    kind: str
    source: str  #        tells the user's noise folders apart
    strength: float
    unit: str
    draws: int
    uar: float
    uar_ci95_lo: float
    uar_ci95_hi: float
    change: float  #      of UAR, points, paired with the undisturbed answers
    change_ci95_lo: float
    change_ci95_hi: float
    changed: float  #     share of the answers that are not those without disturbance
    wa: float
    ece: float
    ece_adaptive: float
    brier: float
    nll: float
    n_utterances: int
    n_seeds: int
    reliability: tuple[tuple[float, float, float], ...]  # confidence, accuracy, share of the utterances per bin

    @property
    def name(self) -> str:
        """The kind; the user's noise recordings with what tells them apart."""
        return f"{self.kind} {self.source}".strip()

    @property
    def group(self) -> str:
        """The group that the kind is in; empty for the undisturbed test."""
        return KINDS[self.kind].group if self.kind in KINDS else ""


def write(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write stress.csv and stress.json into a run's folder; `about` says what the rows were made with."""
    columns = [f.name for f in fields(Row) if f.name != "reliability"]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    files.write_text(folder / FOLDER / "stress.csv", text.getvalue())
    content = {"schema_version": SCHEMA, **about, "rows": [asdict(row) for row in rows]}
    files.write_text(folder / FOLDER / "stress.json", json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> tuple[Row, ...]:
    """The rows of stress.json, the undisturbed one first; none where nothing was stressed, or not by this version."""
    try:
        content = json.loads((folder / FOLDER / "stress.json").read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA:
            return ()
        return tuple(row_of(row) for row in content["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def row_of(made: Mapping[str, Any]) -> Row:
    """One row of stress.json. Raises ValueError, KeyError or TypeError for anything else."""
    row = Row(**{**made, "reliability": tuple((float(c), float(a), float(n)) for c, a, n in made["reliability"])})
    for one in fields(Row)[:-1]:
        value = getattr(row, one.name)
        if one.name in ("kind", "source", "unit"):
            if not isinstance(value, str):
                raise TypeError(f"{one.name} is {value!r}")
        elif type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{one.name} is {value!r}")
    if row.kind not in (CLEAN.kind, *KINDS):
        raise ValueError(f"kind is {row.kind!r}")
    return row
