"""`sertbench replay`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sertbench.commands import console, whole_number

if TYPE_CHECKING:
    from sertbench.leaderboard import Row
    from sertbench.replay import Outcome
    from sertbench.replay_plan import Setting

HELP = "replay a published claim with its own protocol, beside the honest score"
LISTS = {
    "models": "which models (default: the claim's): plug-in names, or path/to/file.py[:Class]",
    "subsets": "which parts of the corpus (default: the claim's)",
    "splits": "which of the claim's splits (default: all)",
    "variants": "also these variants of the settings, or `all` (default: only as published)",
}
TEXTS = {
    "data": "folder of the corpus (default: $SERTBENCH_DATA/<name>)",
    "dataset": "one of the claim's corpora, or another one, on which nothing is published and no count asserted",
    "labels": "label set (default: the claim's; on another corpus its first)",
    "device": "auto, cpu or cuda (default: auto)",
    "precision": "auto, fp32 or bf16 (default: auto)",
    "runs": "folder for fits and bundles (default: runs)",
    "leaderboards": "folder for the tables (default: leaderboards)",
}
NUMBERS = {
    "seeds": "how many of the claim's seeds (default: 5, or all if it has fewer)",
    "epochs": "epochs per fit (default: the recipe's)",
    "workers": "fits at the same time (default: one per CPU core, one on a GPU)",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which claim, and how much of it."""
    parser.add_argument("claim", help="name of a claim (`sertbench list claims`), or path/to/my_claim.toml")
    parser.add_argument("--dry-run", action="store_true", help="show the plan with its counts and its cost, and stop")
    for name, text in LISTS.items():
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar="NAME", help=text)
    for name, text in NUMBERS.items():
        parser.add_argument(f"--{name}", type=whole_number, metavar="N", help=text)
    for name, text in TEXTS.items():
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=name.upper(), help=text)


def execute(options: argparse.Namespace) -> int:
    """Replay, and show the table."""
    from sertbench import claim

    chosen = claim.load(options.claim)
    from sertbench import replay
    from sertbench.progress import Display
    from sertbench.replay_choice import ReplayConfig

    said: dict[str, Any] = {name: tuple(getattr(options, name)) for name in LISTS}
    said |= {name: getattr(options, name) for name in (*NUMBERS, *TEXTS) if getattr(options, name, None) is not None}
    display = Display(console())
    outcome = replay.replay(chosen, ReplayConfig(**said), display, dry=options.dry_run)
    if outcome is not None:
        show(outcome, display)
    return 0


def show(outcome: Outcome, display: Any) -> None:
    """The table published / replayed / honest, and what differs, in a line each."""
    from sertbench.replay_plan import dishonest

    plan = outcome.plan
    lines = [line for s, row in zip(plan.settings, outcome.rows, strict=True) for line in lines_of(s, row)]
    for entry, rule, subset, figures in plan.absent:
        lines += absent_lines(plan.claim.names, rule.name, subset, entry.name, figures)
    columns = ["split", "subset", "model", "score", "published", "replayed", "last epoch", "honest", "optimism"]
    caption = (
        "Percent; mean ± SD over seeds. Last epoch: of the same fits, with no choice of the epoch. "
        "Optimism: replayed minus honest. Never ranked."
    )
    title = f"replay of {plan.claim.name} on {plan.corpus_name}, {plan.label_set}"
    display.table(title, columns, lines, caption)
    first = {s.rule.name: s for s in reversed(plan.settings)}
    for name, one in reversed(first.items()):
        display.say(f"optimistic in {name}: {'; '.join(dishonest(one)) or 'nothing that shows in the folds'}")
    for text in differences(outcome):
        display.say(f"differs: {text}")
    for text in plan.claim.not_known:
        display.say(f"not known: {text}")
    for command in commands_for_honest(outcome):
        display.say(f"no honest row yet: {command}")
    display.say(f"rows in {outcome.board}: {len(outcome.rows)}" if outcome.rows else "nothing was replayed")


def lines_of(setting: Setting, row: Row) -> list[list[str]]:
    """The lines of one setting: a score each."""
    from sertbench.claim import SCORES
    from sertbench.leaderboard import text_of

    found = []
    for name in SCORES:
        cell = {kind: text_of(row.get(f"{kind}_{name}")) for kind in ("published", "replayed", "last_epoch", "honest")}
        for kind in ("published", "replayed"):
            sd = text_of(row.get(f"{kind}_{name}_sd"))
            cell[kind] += f" ± {sd}" if sd else ""
        optimism = row.get(f"optimism_{name}")
        found.append([
            setting.rule.name, setting.subset, setting.label, called(name, setting.claim.names),
            *(cell[kind] or "-" for kind in cell), "-" if optimism is None else f"{optimism:+.2f}",
        ])  # fmt: skip
    return found


def absent_lines(names: Any, rule: str, subset: str, model: str, figures: Any) -> list[list[str]]:
    """The lines of a model that the registry lacks: what was published for it, or one line without."""
    from sertbench.claim import SCORES

    said = {name: getattr(figures, name) for name in SCORES if figures is not None and getattr(figures, name)}
    if not said:
        return [[rule, subset, model, "-", "-", "not in the registry", "-", "-", "-"]]
    return [
        [rule, subset, model, called(n, names), " ± ".join(f"{x:.2f}" for x in v), "not in the registry", "-", "-", "-"]
        for n, v in said.items()
    ]


def called(name: str, names: Any) -> str:
    """A score's name, with the paper's if that is another one."""
    from sertbench.claim import SCORES

    return SCORES[name] + (f" ({names[name]!r} there)" if name in names else "")


def differences(outcome: Outcome) -> list[str]:
    """What differs, of the claim, of the splits and of the models that were replayed."""
    said = list(outcome.plan.claim.differs)
    for s in outcome.plan.settings:
        said += [f"{s.rule.name}: {text}" for text in s.rule.differs]
        said += [f"{s.plan.model.name}: {text}" for text in s.model.differs]
    return list(dict.fromkeys(said))


def commands_for_honest(outcome: Outcome) -> list[str]:
    """What to type for the honest rows that are missing."""
    said = []
    for s, row in zip(outcome.plan.settings, outcome.rows, strict=True):
        if "honest_wa" not in row:
            config = s.plan.config
            words = ["sertbench run --model", config.model, "--dataset", config.dataset, "--labels", str(config.labels)]
            words += ["--subset", s.subset] if s.subset != "all" else []
            words += ["--data", config.data] if config.data else []
            said.append(" ".join(words))
    return list(dict.fromkeys(said))
