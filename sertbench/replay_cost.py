"""What a replay takes, shown before it starts: settings, utterances, fits and expected time."""

from __future__ import annotations

from dataclasses import dataclass

from sertbench import cost
from sertbench.model import Estimator
from sertbench.progress import Display, duration
from sertbench.replay_fits import predicted_by
from sertbench.replay_plan import ReplayPlan, Setting, dishonest


@dataclass(frozen=True)
class Price:
    """What a setting takes."""

    n_items: int  #   windows of all utterances that are kept
    n_fits: int
    seconds: float  # of all its fits, one after the other


def prices(plan: ReplayPlan) -> list[Price]:
    """The price of each setting; a model is timed once per window and batch size, on noise."""
    rates: dict[tuple[str, int, float | None], tuple[float, float]] = {}
    found = []
    for setting in plan.settings:
        made = setting.plan
        items = cost.items_per_utterance(made)
        n_fits = len(made.split.folds)
        if issubclass(made.model.cls, Estimator):
            found.append(Price(int(items.sum()), n_fits, float(n_fits)))
            continue
        key = made.model.spec, made.recipe.batch_size, made.recipe.window
        if key not in rates:
            rates[key] = cost.measure(made.model.cls, made)[1:]
        train_rate, predict_rate = rates[key]
        seconds = 0.0
        for fold in made.split.folds:
            predicted = items[list(fold.val)].sum() + items[predicted_by(fold)].sum()
            seconds += made.recipe.epochs * (items[list(fold.train)].sum() * train_rate + predicted * predict_rate)
        found.append(Price(int(items.sum()), n_fits, seconds))
    return found


def describe(plan: ReplayPlan, display: Display) -> None:
    """Show the plan."""
    claim, costs = plan.claim, prices(plan)
    first = plan.settings[0] if plan.settings else None
    total = sum(c.seconds for c in costs)
    rows = [
        ("claim", f"{claim.name}: {claim.title}. {claim.paper}"),
        ("corpus", f"{plan.corpus_name}, {plan.label_set}"),
        *(("counts", line) for line in plan.counts),
        *(("split", line) for line in splits(plan)),
    ]
    if first is not None:
        compute, workers = first.plan.compute, plan.workers
        rows += [
            ("fits", f"{sum(c.n_fits for c in costs)} in {len(costs)} settings; seeds: {seeds(first)}"),
            ("computing", f"{compute.device}, {compute.precision}, {workers} at a time"),
            ("expected", f"at most {duration(total / workers)} on this machine, unless fits are there already"),
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
        duration(price.seconds / price.n_fits),
    ]  # fmt: skip


def splits(plan: ReplayPlan) -> list[str]:
    """What makes each split optimistic."""
    said: dict[str, str] = {}
    for s in plan.settings:
        said.setdefault(s.rule.name, "; ".join(dishonest(s)) or "nothing found that makes it optimistic")
    return [f"{name}: {text}" for name, text in said.items()]


def seeds(setting: Setting) -> str:
    """The seeds in words."""
    numbers = list(setting.splits)
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
