"""What a replay takes, shown before it starts: settings, utterances, fits and expected time."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from sertbench import cost
from sertbench.model import Estimator
from sertbench.pace import at_most, duration
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.replay_fits import predicted_by
from sertbench.replay_plan import ReplayPlan, Setting
from sertbench.replay_stamp import optimistic


@dataclass(frozen=True)
class Price:
    """What a setting takes."""

    n_items: int  #      windows of all utterances that are kept
    n_fits: int
    n_new: int  #        fits that no setting before has: splits may have the same training part
    one: float  #        seconds of one fit, their mean


def prices(plan: ReplayPlan) -> list[Price]:
    """The price of each setting; a model is timed once per window and batch size, on noise."""
    rates: dict[tuple[str, int, float | None], tuple[float, float]] = {}
    seen: set[tuple[Any, ...]] = set()
    found = []
    for setting in plan.settings:
        made = setting.plan
        items = cost.items_per_utterance(made)
        fits = {
            (made.model.spec, made.recipe, made.manifest.sha256, fold.train, seed)
            for seed, split in setting.splits.items()
            for fold in split.folds
        }
        one = 1.0
        if not issubclass(made.model.cls, Estimator):
            key = made.model.spec, made.recipe.batch_size, made.recipe.window
            if key not in rates:
                rates[key] = cost.measure(made.model.cls, made)[1:]
            one = fmean(seconds(setting, fold, items, *rates[key]) for fold in made.split.folds)
        found.append(Price(int(items.sum()), len(fits), len(fits - seen), one))
        seen |= fits
    return found


def seconds(setting: Setting, fold: Fold, items: np.ndarray, train_rate: float, predict_rate: float) -> float:
    """Expected time of one fit: training, and the predictions after each epoch."""
    predicted = 2 * items[predicted_by(fold)].sum()
    return float(setting.plan.recipe.epochs * (items[list(fold.train)].sum() * train_rate + predicted * predict_rate))


def describe(plan: ReplayPlan, display: Display) -> None:
    """Show the plan."""
    claim, costs = plan.claim, prices(plan)
    first = plan.settings[0] if plan.settings else None
    n_new, total = sum(c.n_new for c in costs), sum(c.n_new * c.one for c in costs)
    longest = max((c.one for c in costs if c.n_new), default=0.0)
    rows = [
        ("claim", f"{claim.name}: {claim.title}. {claim.paper}"),
        ("corpus", f"{plan.corpus_name}, {plan.label_set}"),
        *(("counts", line) for line in plan.counts),
        *(("optimistic", line) for line in optimistic(plan.settings)),
    ]
    if first is not None:
        compute, workers = first.plan.compute, plan.workers
        most = at_most(total, longest, n_new, workers)
        rows += [
            ("fits", f"{n_new} for {len(costs)} settings; seeds: {seeds(first)}"),
            ("computing", f"{compute.device}, {compute.precision}, {workers} at a time"),
            ("expected", f"at most {duration(most)} on this machine, unless fits are there already"),
        ]
    display.pairs("replay", rows)
    columns = ["split", "subset", "model", "utterances", "windows", "epochs", "fits", "time of one fit"]
    lines = [line(setting, price) for setting, price in zip(plan.settings, costs, strict=True)]
    if lines:
        display.table("settings", columns, lines)
    if absent := dict.fromkeys(entry.name for entry, *_ in plan.absent):
        display.say(f"not in the registry, so not replayed: {', '.join(absent)} (`sertbench list models`)")


def line(setting: Setting, price: Price) -> list[str]:
    """A setting in the plan's table."""
    return [
        setting.rule.name, setting.subset, setting.label, f"{len(setting.plan.manifest)} of {setting.n_before}",
        f"{price.n_items:,}", str(setting.plan.recipe.epochs), str(price.n_fits),
        duration(price.one),
    ]  # fmt: skip


def seeds(setting: Setting) -> str:
    """The seeds in words."""
    numbers = list(setting.splits)
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
