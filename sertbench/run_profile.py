"""What `sertbench run --profile` says: where the time of a run went, as a table and as profile.json in its folder.

The account is in seconds of a worker: the wall time, as often as fits run side by side. While the driving process is at
something that no fit runs beside (start-up, corpus, gate, features, statistics), all workers wait for it. Harness
overhead is the share of all that is not the model's own work: forward, backward, optimiser, and the forward passes of
evaluation (for models that are not trained in epochs: their fit and prediction).
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import files
from sertbench.errors import counted

if TYPE_CHECKING:
    from sertbench.progress import Display
    from sertbench.screen import Timed

FILE = "profile.json"
MODEL = {
    "forward": "forward passes of training, with the loss",
    "backward": "backward passes",
    "optimiser": "steps of the optimiser",
    "replay": "training steps replayed from a recording, on a GPU",
    "evaluation": "predictions of validation and test parts",
    "estimator": "fits of a model that is not trained in epochs",
}
FITS = {
    "batches": "reading, standardising and mixing batches",
    "scores": "losses and recalls of the validation part",
    "checkpoints": "keeping weights: best epoch, checkpoints, finished fits",
    "reports": "passing on what an epoch gave",
    "memory": "asking for memory, and waiting for it",
    "set-up": "plug-in, network, moments of the features, fits that were there already",
}
RUN = {
    "start-up": "loading libraries",
    "corpus": "reading the corpus: names, labels, decoding what is new",
    "gate": "looking for copies and leaks",
    "plan": "timing a step, and the plan",
    "features": "decoding and computing features that are new",
    "statistics": "bundle, figures, intervals, leaderboard",
}
WAITING = {"waiting": "workers without work, results on their way"}


@dataclass(frozen=True)
class Account:
    """The time of a command, in seconds of a worker."""

    wall: float
    workers: int  #    that were busy side by side, at most
    n_fits: int
    seconds: Mapping[str, float]  # by name, in the order of the tables above; their sum is wall * workers
    first_step: float | None  #     from the start of the command to the end of the first training step

    @property
    def overhead(self) -> float:
        """The share of the time that is not the model's work, 0 to 1."""
        return 1 - sum(self.seconds.get(name, 0.0) for name in MODEL) / (self.wall * self.workers)


def account(wall: float, phases: Mapping[str, float], timed: Sequence[Timed]) -> Account:
    """Add up what stopwatches say, `wall` seconds after the start of the command, whose own `phases` took so long."""
    started, total = time.time() - wall, defaultdict[str, float](float)
    for one in timed:
        for name, seconds in one.watch.seconds.items():
            total[name] += seconds
    n_fits = sum(bool({"optimiser", "estimator"} & one.watch.seconds.keys()) for one in timed)
    workers = max(1, min(n_fits, *(one.slots for one in timed)))
    for name in RUN.keys() & phases.keys():
        total[name] += workers * phases[name]
    total["waiting"] = max(0.0, wall * workers - sum(total.values()))
    steps = [one.watch.first_step for one in timed if one.watch.first_step]
    ordered = {name: total[name] for name in {**MODEL, **FITS, **RUN, **WAITING} if name in total}
    return Account(wall, workers, n_fits, ordered, min(steps) - started if steps else None)


def show(account: Account, display: Display) -> None:
    """The table."""
    whole = account.wall * account.workers
    rows = [
        (name, f"{seconds:.2f}", f"{100 * seconds / whole:.1f} %", f"{seconds / max(1, account.n_fits):.3f}", what)
        for part in (MODEL, FITS, RUN, WAITING)
        for name, what in part.items()
        if (seconds := account.seconds.get(name, 0.0)) > 0
    ]
    rows.append(("all", f"{whole:.2f}", "100.0 %", f"{whole / max(1, account.n_fits):.3f}", ""))
    workers = f", {account.workers} workers" if account.workers > 1 else ""
    first = "" if account.first_step is None else f"; first training step done after {account.first_step:.1f} s"
    display.table(
        f"where the time went: {account.wall:.1f} s{workers}, {counted(account.n_fits, 'fit')}{first}",
        ("", "seconds", "share", "per fit", "what it is"),
        rows,
        f"harness overhead: {100 * account.overhead:.1f} % (all but {', '.join(list(MODEL)[:4])})",
    )


def save(account: Account, timed: Sequence[Timed]) -> list[Path]:
    """Write profile.json into the folder of each run that the command worked at; gives the files."""
    written = []
    for folder in dict.fromkeys(one.folder for one in timed):
        content: dict[str, Any] = {
            "wall_seconds": round(account.wall, 3),
            "workers": account.workers,
            "n_fits": account.n_fits,
            "first_step_seconds": account.first_step,
            "overhead": round(account.overhead, 5),
            "seconds": {name: round(seconds, 4) for name, seconds in account.seconds.items()},
            "fits": [
                {"tag": one.tag, **{name: round(seconds, 4) for name, seconds in one.watch.seconds.items()}}
                for one in timed
                if one.folder == folder
            ],
        }
        files.write_text(folder / FILE, json.dumps(content, indent=1) + "\n")
        written.append(folder / FILE)
    return written
