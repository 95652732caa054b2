"""The command line. It imports nothing heavy, so that `--help` and `list` answer in a blink."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import __version__, config
from sertbench.errors import ConfigError, SertbenchError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from sertbench.benchmark import Outcome

LISTS = ("models", "datasets", "features", "protocols")
EXAMPLES = """examples:
  sertbench run --model glam --dataset demo --trials 0        a first look, on a corpus that is made on the spot
  sertbench run --model glam --dataset iemocap --data DIR     tune, cross-validate and rank
  sertbench run --model my_model.py:MyNet --dataset emodb     your own architecture
  sertbench list models                                       what there is
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="sertbench",
        description="A benchmark harness for speech emotion recognition whose table can be trusted.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sertbench {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="tune, cross-validate and rank a model on a corpus")
    run.set_defaults(function=run_command)
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with any of these options; flags go before it"
    )
    run.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    for option in fields(config.RunConfig):
        add_option(run, option.name, str(option.type), option.metadata["help"], option.default)

    listing = commands.add_parser("list", help="show the models, datasets, features or protocols there are")
    listing.set_defaults(function=list_command)
    listing.add_argument("what", nargs="?", choices=LISTS, help="one of them (default: all)")

    check = commands.add_parser("check", help="check that a model or corpus plug-in keeps its contract")
    check.set_defaults(function=check_command)
    check.add_argument("plugin", help="plug-in name, or path/to/file.py[:Class]")

    verify = commands.add_parser("verify", help="work every published figure out again from the predictions")
    verify.set_defaults(function=verify_command)
    verify.add_argument("path", type=Path, help="a bundle (a folder in runs/) or a leaderboard CSV")
    add_runs(verify)

    compare = commands.add_parser("compare", help="say what can and cannot be said about which of two runs is better")
    compare.set_defaults(function=compare_command)
    for name in ("a", "b"):
        compare.add_argument(name, metavar=name.upper(), help="a bundle's folder or name, its row id, or a model")
    add_runs(compare)
    return top


def add_runs(command: argparse.ArgumentParser) -> None:
    """The flag that says where bundles lie."""
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the bundles (default: runs)")


def add_option(command: argparse.ArgumentParser, name: str, kind: str, text: str, default: Any) -> None:
    """One flag of `run`. Flags that are not typed are left out, so that a TOML file can say them."""
    flag = "--" + name.replace("_", "-")
    said = text if default in (None, "", False) else f"{text} (default: {default})"
    if kind == "bool":
        command.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=said)
    else:
        number = kind.startswith("int")
        metavar = "N" if number else name.upper()
        command.add_argument(
            flag, type=whole_number if number else str, default=argparse.SUPPRESS, metavar=metavar, help=said
        )


def whole_number(text: str) -> int:
    """An int, or argparse's error with the accepted form."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0, 2 for what the user can mend, 130 for an interruption."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.function(options)
    except SertbenchError as error:
        print(f"sertbench: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away (`| head`); nothing is left to say
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sertbench: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sertbench: stopped. Finished fits are kept: the same command goes on from there.", file=sys.stderr)
        return 130
    return status


def console() -> Console:
    """Where commands print. Not a terminal: wide enough for any table, and without colours."""
    from rich.console import Console

    screen = Console()
    return screen if screen.is_terminal else Console(width=160, color_system=None)


def run_command(options: argparse.Namespace) -> int:
    """`sertbench run`."""
    known = {f.name for f in fields(config.RunConfig)}
    settings = config.load(options.config, {k: v for k, v in vars(options).items() if k in known})
    from sertbench import benchmark
    from sertbench.progress import Display

    display = Display(console())
    outcome = benchmark.run(settings, display, dry=options.dry_run)
    if outcome is not None:
        show(outcome, display)
    return 0


def show(outcome: Outcome, display: Any) -> None:
    """The tables that the new row stands in."""
    from sertbench.leaderboard import TABLE, key_of, shown

    row = outcome.row
    same = [r for r in outcome.rows if key_of(r, TABLE) == key_of(row, TABLE)]
    columns, lines = shown(same, row["row_id"])
    where = ", ".join(str(row[name]) for name in ("corpus", "label_set", "subset"))
    title = f"{where}, protocol {row['protocol']}, {row['n_utt_scored']} utterances"
    caption = (
        "UAR pooled over the test folds, mean over seeds [95 % interval over speakers and seeds]. "
        "Equal ranks: not told apart. * this run"
    )
    display.table(title, columns, lines, caption)
    for alarm in (row["alarms"], row.get("identical_to") and f"the predictions are those of {row['identical_to']}"):
        if alarm:
            display.say(f"alarm: {alarm}")
    cheats = {k.removeprefix("optimism_"): v for k, v in row.items() if k.startswith("optimism_")}
    if cheats:
        display.say(
            f"honest {row['uar_pooled_mean']}; with the field's usual cheats, never ranked: "
            + ", ".join(f"{name} {value}" for name, value in cheats.items())
            + f"; oracle gap {row.get('oracle_gap', '-')}"
        )
    if str(row["n_seeds"]) == "1" and not row["unranked_reason"]:
        display.say(
            "one seed: its luck is not in the interval, so ranks are provisional. Publish rows of 5 seeds or more"
        )
    if row["unranked_reason"]:
        display.say(f"not ranked: {row['unranked_reason']}")
    display.say(f"row {row['row_id']} in {outcome.table}")


def list_command(options: argparse.Namespace) -> int:
    """`sertbench list`."""
    from sertbench import listing

    listing.show(console(), (options.what,) if options.what else LISTS)
    return 0


def check_command(options: argparse.Namespace) -> int:
    """`sertbench check`: 0 if every check passed, 1 if the plug-in breaks its contract."""
    from sertbench import plugins, testing

    name: str = options.plugin
    known = {kind: plugins.names(kind) for kind in ("models", "datasets")}
    if name in known["datasets"]:
        results = testing.check_corpus(name)
    elif name in known["models"] or ".py" in name:
        results = testing.check_plugin(name)
    else:
        raise ConfigError(unknown("plug-in", name, known["models"] + known["datasets"]))
    screen, failed = console(), 0
    for result in results:
        failed += not result.passed
        screen.print(f"{'ok  ' if result.passed else 'FAIL'} {result.name}", highlight=False, markup=False)
        if not result.passed:
            screen.print(f"     {result.message}", highlight=False, markup=False)
    screen.print(f"{failed} checks failed" if failed else "all checks passed", highlight=False)
    return 1 if failed else 0


def verify_command(options: argparse.Namespace) -> int:
    """`sertbench verify`: 0 if every figure follows from the predictions, 1 if not."""
    from sertbench import verify

    missing: list[str] = []
    if options.path.suffix == ".csv" and not options.path.exists():
        raise ConfigError(f"{options.path} does not exist: expected a bundle's folder or a leaderboard CSV")
    if options.path.suffix == ".csv":
        findings, missing = verify.verify_table(options.path, options.runs)
    else:
        findings = verify.verify_bundle(options.path)
    screen = console()
    for finding in findings:
        screen.print(f"WRONG {finding}", highlight=False, markup=False)
    for row in missing:
        screen.print(f"not verified, no bundle at hand: {row}", highlight=False, markup=False)
    if not findings and not missing:
        screen.print(f"{options.path}: every figure follows from the predictions", highlight=False)
    return 1 if findings or missing else 0


def compare_command(options: argparse.Namespace) -> int:
    """`sertbench compare`."""
    from sertbench import comparison

    a, b = (comparison.find_bundle(name, options.runs) for name in (options.a, options.b))
    console().print(comparison.compare(a, b), highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
