"""`sertbench run`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import config, machine, stopwatch
from sertbench.commands import console, whole_number

if TYPE_CHECKING:
    from sertbench.benchmark import Outcome
    from sertbench.grid import Result
    from sertbench.progress import Display
    from sertbench.stopwatch import Stopwatch

HELP = "tune, cross-validate and rank a model on a corpus"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Every field of RunConfig is a flag."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the options from --model on, models and datasets; flags go before it",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show the resulting table and alarms only; the log has all"
    )
    parser.add_argument(
        "--profile", action="store_true", help="after the run, show where its time went; profile.json has the same"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write the curves of every fit for TensorBoard, into `tensorboard` of the run's folder",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    for name in ("models", "datasets"):
        parser.add_argument(
            f"--{name}", default=argparse.SUPPRESS, metavar="A,B", help=f"several {name}, separated by commas: a grid"
        )
    parser.add_argument(
        "--only-failed",
        action="store_true",
        help="of the grid, only what failed or is incomplete; without --models and --datasets, all such of --runs",
    )
    for option in fields(config.RunConfig):
        add_option(parser, option.name, str(option.type), option.metadata["help"], option.default)


def add_option(parser: argparse.ArgumentParser, name: str, kind: str, text: str, default: Any) -> None:
    """One flag of `run`. Flags that are not typed are left out, so that a TOML file can say them."""
    flag = "--" + name.replace("_", "-")
    said = text if default in (None, "", False) else f"{text} (default: {default})"
    if kind == "bool":
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=said)
    else:
        number = kind.startswith("int")
        metavar = "N" if number else name.upper()
        parser.add_argument(
            flag, type=whole_number if number else str, default=argparse.SUPPRESS, metavar=metavar, help=said
        )


def execute(options: argparse.Namespace) -> int:
    """Run, and show the tables that the new rows stand in."""
    if not options.dry_run and many_workers(vars(options)):
        from sertbench import worker_processes

        worker_processes.prepare()  # before this process loads torch as well
    from sertbench import benchmark, grid, scalars
    from sertbench.progress import Display

    known = {f.name for f in fields(config.RunConfig)}
    flags = {k: v for k, v in vars(options).items() if k in known | set(grid.PLURALS)}
    if options.tensorboard:
        scalars.refuse_missing()
    quiet = options.quiet and not options.dry_run
    display = Display(console(), quiet=quiet, profile=options.profile, tensorboard=options.tensorboard)
    named = options.config is not None or any(name in flags for name in ("model", "dataset", *grid.PLURALS))
    configs = grid.expand(options.config, flags) if named or not options.only_failed else []
    if options.only_failed:
        configs = grid.failed_only(configs if named else None, flags)
        if not configs:
            display.say("nothing failed: there is nothing to run again")
            return 0
    with stopwatch.running() as watch:
        watch.seconds["start-up"] = machine.age()
        if len(configs) == 1 and not options.only_failed:
            outcome = benchmark.run(configs[0], display, dry=options.dry_run)
            if outcome is not None:
                show(outcome, display)
            status = 0
        else:
            status = show_grid(grid.run(configs, display, dry=options.dry_run), display)
    if options.profile and not options.dry_run:
        show_profile(watch, display)
    return status


def show_profile(watch: Stopwatch, display: Display) -> None:
    """Where the time of this command went."""
    from sertbench import run_profile

    if not display.timed:
        display.say("no fit was run, so there is no profile", urgent=True)
        return
    account = run_profile.account(machine.age(), watch.seconds, display.timed)
    run_profile.show(account, display)
    for path in run_profile.save(account, display.timed):
        display.say(f"profile: {path}")


def many_workers(flags: Mapping[str, Any]) -> bool:
    """Whether worker processes will be wanted, as far as the flags tell; one GPU is left to this process."""
    cpu = flags.get("device") == "cpu" or not Path("/proc/driver/nvidia").exists()
    here, workers = flags.get("executor", "auto"), flags.get("workers") or machine.cores()
    return here == "processes" or (here == "auto" and cpu and workers > 1)


def show_grid(results: Sequence[Result], display: Display) -> int:
    """The tables that the new rows stand in, and what failed; gives the exit status."""
    tables = {}
    for result in results:
        if result.outcome is not None:
            row = result.outcome.row
            tables[row["corpus"], row["label_set"], row["subset"], row["protocol"]] = result.outcome
    for outcome in tables.values():
        show(outcome, display)
    failed = [(r.name, r.reason) for r in results if r.outcome is None]
    failed += [
        (r.name, r.outcome.row["unranked_reason"])
        for r in results
        if r.outcome is not None and r.outcome.row["unranked_reason"].startswith("incomplete")
    ]
    for name, reason in failed:
        display.say(f"failed: {name}: {reason}", urgent=True)
    if failed:
        display.say(
            "`sertbench status` has the logs; after mending: the same command, or it with --only-failed", urgent=True
        )
    return 1 if failed else 0


def show(outcome: Outcome, display: Display) -> None:
    """The tables that the new row stands in."""
    from sertbench.board_rows import SETTLED_SEEDS, TABLE, is_provisional, key_of
    from sertbench.leaderboard import shown

    row = outcome.row
    same = [r for r in outcome.rows if key_of(r, TABLE) == key_of(row, TABLE)]
    columns, lines = shown(same, row["row_id"])
    where = ", ".join(str(row[name]) for name in ("corpus", "label_set", "subset"))
    left_out = f", without the {row['n_excluded']} of --accept-missing" if row["excluded_sha256"] else ""
    title = f"{where}, protocol {row['protocol']}, {row['n_utt_scored']} utterances{left_out}"
    caption = (
        "UAR pooled over the test folds, mean over seeds [95 % interval over speakers and seeds]. "
        "Equal ranks: not told apart.\n* this run"
    )
    display.table(title, columns, lines, caption)
    for alarm in (row["alarms"], row.get("identical_to") and f"the predictions are those of {row['identical_to']}"):
        if alarm:
            display.say(f"alarm: {alarm}", urgent=True)
    cheats = {k.removeprefix("optimism_"): v for k, v in row.items() if k.startswith("optimism_")}
    if cheats:
        display.say(
            f"honest {row['uar_pooled_mean']}; with the field's usual cheats, never ranked: "
            + ", ".join(f"{name} {value}" for name, value in cheats.items())
            + f"; oracle gap {row.get('oracle_gap', '-')}"
        )
    if is_provisional(row) and not row["unranked_reason"]:
        n = str(row["n_seeds"])
        why = "one seed: its luck is not in the interval, so" if n == "1" else f"{n} seeds:"
        display.say(f"{why} ranks are provisional. Publish rows of {SETTLED_SEEDS} seeds or more")
    if row["unranked_reason"]:
        display.say(f"not ranked: {row['unranked_reason']}")
    display.say(f"row {row['row_id']} in {outcome.table}")
