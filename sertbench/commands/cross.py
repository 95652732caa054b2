"""`sertbench cross`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sertbench import config
from sertbench.commands import console
from sertbench.commands.run import add_option
from sertbench.errors import ConfigError, counted

if TYPE_CHECKING:
    from sertbench.cross import Outcome
    from sertbench.progress import Display

HELP = "train on some corpora and test on others, over the emotions that they share"
TAKEN = (
    "trials", "seeds", "features", "epochs", "device", "precision", "workers", "executor", "scheduler", "slurm", "wait",
    "allow_leak", "runs", "leaderboards",
)  # fmt: skip
CORPORA = {
    "train": "corpora to train on, and to validate on other speakers of",
    "test": "corpora to test, each whole",
    "matrix": "each of these trains and is tested on each of the others; the diagonal is within the corpus",
    "leave-one-out": "each of these is tested once, and all others train",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which corpora, and the options of a run."""
    for name, text in CORPORA.items():
        parser.add_argument(f"--{name}", default="", metavar="A,B", help=text)
    parser.add_argument("--model", default="cnn", metavar="MODEL", help="plug-in name, or a file (default: cnn)")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=PATH", help="where a corpus lies (or $SERTBENCH_DATA)"
    )
    parser.add_argument(
        "--labels", action="append", default=[], metavar="NAME=SET", help="another label set than a corpus's first"
    )
    parser.add_argument(
        "--merge", action="append", default=[], metavar="ONE=OTHER", help="count an emotion as another: calm=neutral"
    )
    parser.add_argument("--dry-run", action="store_true", help="show classes and plans, and stop")
    for option in fields(config.RunConfig):
        if option.name in TAKEN:
            add_option(parser, option.name, str(option.type), option.metadata["help"], option.default)


def listed(text: str) -> tuple[str, ...]:
    """Names that are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def assigned(option: str, texts: Iterable[str]) -> dict[str, str]:
    """What NAME=VALUE options say. ConfigError for another form, and for a name that stands twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: expected NAME=VALUE, e.g. {option} emodb=…")
        if name in found:
            raise ConfigError(f"{option}: {name} is named twice")
        found[name] = value
    return found


def execute(options: argparse.Namespace) -> int:
    """Run, and show the table."""
    from sertbench import cross
    from sertbench.progress import Display

    wanted = cross.pairs(
        listed(options.train), listed(options.test), listed(options.matrix), listed(options.leave_one_out)
    )
    said: dict[str, Any] = {name: getattr(options, name) for name in TAKEN if hasattr(options, name)}
    config.refuse_idle(said, said)
    asked = cross.CrossConfig(
        wanted, config.RunConfig(model=options.model, dataset="cross", **said), assigned("--data", options.data),
        assigned("--labels", options.labels), tuple(options.merge),
    )  # fmt: skip
    display = Display(console())
    outcome = cross.run(asked, display, dry=options.dry_run)
    if outcome is not None:
        show(outcome, display)
    return 0


def show(outcome: Outcome, display: Display) -> None:
    """UAR of each test corpus by training corpora, with its interval."""
    tests = list(dict.fromkeys(row["test"] for row in outcome.rows))
    trains = list(dict.fromkeys(row["train"] for row in outcome.rows))
    cell = {
        (
            row["train"],
            row["test"],
        ): f"{row['uar_pooled_mean']:.2f} [{row['uar_ci95_lo']:.2f}, {row['uar_ci95_hi']:.2f}]"
        + " within" * (row["kind"] == "within")
        for row in outcome.rows
    }
    first = outcome.rows[0]
    within = " within: cross-validated in the corpus by its own protocol"
    display.table(
        f"{first['model']}, {first['features']}: UAR in percent over {len(outcome.classes)} classes "
        f"({', '.join(outcome.classes)})",
        ["train \\ test", *tests],
        [[train, *(cell.get((train, test), "") for test in tests)] for train in trains],
        f"Mean over the seeds, of which there are {first['n_seeds']} [95 % interval over the test speakers and seeds]; "
        f"chance is {first['chance_uar']:.2f}. Everything was chosen on other speakers of the training corpora."
        + within
        * any(row["kind"] == "within" for row in outcome.rows),
    )
    for row in outcome.rows:
        if row["alarms"]:
            display.say(f"alarm: {row['train']} to {row['test']}: {row['alarms']}", urgent=True)
    display.say(f"{counted(len(outcome.rows), 'row')} in {outcome.board}")
