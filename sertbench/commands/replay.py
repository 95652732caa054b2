"""`sertbench replay`."""

from __future__ import annotations

import argparse
from typing import Any

from sertbench.commands import console, whole_number

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
    from sertbench import claim_file

    chosen = claim_file.load(options.claim)
    from sertbench import replay, replay_table
    from sertbench.progress import Display
    from sertbench.replay_choice import ReplayConfig

    said: dict[str, Any] = {name: tuple(getattr(options, name)) for name in LISTS}
    said |= {name: getattr(options, name) for name in (*NUMBERS, *TEXTS) if getattr(options, name, None) is not None}
    display = Display(console())
    outcome = replay.replay(chosen, ReplayConfig(**said), display, dry=options.dry_run)
    if outcome is not None:
        replay_table.show(outcome, display)
    return 0
