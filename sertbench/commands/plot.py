"""`sertbench plot`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import add_leaderboards, add_runs, console
from sertbench.errors import ConfigError, unknown

HELP = "draw the report's charts as PNG and PDF files for papers"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to draw, and where to write."""
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help="only these leaderboards (default: all)")
    parser.add_argument(
        "--kind",
        action="append",
        help="board, overview, pareto, optimism, critical-difference; with --run: confusion, groups, curves, "
        "calibration, embedding, stress, stress-calibration, stress-reliability. May be given again (default: all)",
    )
    parser.add_argument(
        "--run", metavar="RUN", help="the charts of one run: a bundle's folder or name, row id, or model"
    )
    add_runs(parser)
    add_leaderboards(parser)
    parser.add_argument(
        "--format", action="append", choices=("png", "pdf", "svg"), help="may be given again (default: png and pdf)"
    )
    parser.add_argument("--out", type=Path, default=Path("plots"), help="folder to write to (default: plots)")


def execute(options: argparse.Namespace) -> int:
    """Draw what can be drawn and say why the rest cannot; 1 if there was nothing to draw."""
    from sertbench import comparison, plots, report_gather, run_details
    from sertbench.bundles import Bundles

    known = tuple(plots.RUN_KINDS) if options.run else plots.BOARD_KINDS
    kinds = options.kind or known
    for kind in kinds:
        if kind in plots.RUN_KINDS and not options.run:
            raise ConfigError(f"--kind {kind} is a chart of one run: name it with --run")
        if kind not in known:
            raise ConfigError(unknown("kind of chart" + " of a run" * bool(options.run), kind, known))
    if options.run:
        details = run_details.details(
            comparison.find_bundle(options.run, Bundles.of(options.runs, options.leaderboards))
        )
        found = list(plots.of_run(details, kinds))
    else:
        view = report_gather.gather(options.leaderboards, options.runs, options.corpora)
        found = list(plots.of_boards(view, kinds))
    wanted = [p for p in found if isinstance(p, plots.Plot)]
    screen = console()
    for path in plots.save(wanted, options.out, options.format or ("png", "pdf")):
        screen.print(f"written: {path}", highlight=False, markup=False)
    for missing in found:
        if isinstance(missing, plots.Missing):
            screen.print(f"not drawn: {missing.kind}: {missing.reason}", highlight=False, markup=False)
    return 0 if wanted else 1
