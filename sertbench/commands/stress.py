"""`sertbench stress`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench import stress_kinds
from sertbench.commands import add_runs, console, whole_number

if TYPE_CHECKING:
    from sertbench.progress import Display
    from sertbench.stress_record import Row

HELP = (
    "disturb the test speech of a finished run (noise, rooms, telephone, codecs...) and see what becomes of its score"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what to do to its test speech."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    rows = (f"  {k.name:<10} {k.text}; {tried(k)}" for k in stress_kinds.KINDS.values())
    parser.epilog = "\n".join(["disturbances, and the strengths that are tried:", *rows])
    parser.add_argument("run", metavar="RUN", help="a bundle's folder or name, its row id, or a model")
    parser.add_argument("--data", metavar="PATH", help="where the corpus lies now (default: where the run read it)")
    parser.add_argument(
        "--kinds", metavar="A,B", help="disturbances (below), or groups: noise, line, codec, packets (default: all)"
    )
    parser.add_argument(
        "--strengths",
        action="append",
        default=[],
        metavar="KIND=A,B",
        help="other strengths of a disturbance, e.g. noise=15,5; may be given again",
    )
    parser.add_argument("--noise", type=Path, metavar="FOLDER", help="your noise recordings: also try `own`")
    parser.add_argument(
        "--seeds", type=whole_number, default=1, metavar="N", help="draws of each random disturbance (default: 1)"
    )
    parser.add_argument("--workers", type=whole_number, metavar="N", help="folds at the same time")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    add_runs(parser)


def tried(kind: stress_kinds.Kind) -> str:
    """The strengths of a disturbance in words."""
    return f"{', '.join(f'{s:g}' for s in kind.strengths)} {kind.unit}" if kind.unit else "on"


def execute(options: argparse.Namespace) -> int:
    """Stress the run and show what came out."""
    from sertbench import comparison
    from sertbench.bundles import Own

    folder = comparison.find_bundle(options.run, Own(options.runs))
    from sertbench import stress  # torch, which a mistyped name need not wait for
    from sertbench.progress import Display

    display = Display(console())
    asked = stress.Asked(
        options.data, options.kinds, options.noise, tuple(options.strengths), options.seeds, options.workers
    )
    rows = stress.stress(folder, asked, display, dry=options.dry_run)
    if rows:
        show(rows, display)
        draw(folder, display)
    return 0


def show(rows: tuple[Row, ...], display: Display) -> None:
    """The tables."""
    from sertbench.scores import CALIBRATION_BINS

    clean, lines = rows[0], []
    for r in rows:
        kind = stress_kinds.KINDS.get(r.kind)
        uar = f"{r.uar:.2f} [{r.uar_ci95_lo:.2f}, {r.uar_ci95_hi:.2f}]"
        change = f"{r.change:+.2f} [{r.change_ci95_lo:+.2f}, {r.change_ci95_hi:+.2f}]"
        strength, change = (kind.shown(r.strength), change) if kind else ("", "-")
        figures = (f"{r.changed:.1f}", f"{r.ece:.2f}", f"{r.brier:.3f}", f"{r.nll:.2f}")
        lines.append([r.name, strength, uar, change, *figures])
    columns = ["disturbance", "strength", "UAR [95 %]", "change [95 %]", "changed %", "ECE", "Brier", "NLL"]
    caption = (
        "UAR pooled over the test folds, mean over seeds and draws [95 % interval over speakers and seeds]; its "
        "change in points, paired; share of the answers that are others than without disturbance."
    )
    display.table("disturbed test speech, undisturbed training", columns, lines, caption)
    bins = [
        [f"{100 * c:.1f}", f"{100 * a:.1f}", f"{100 * (a - c):+.1f}", f"{100 * share:.1f}"]
        for c, a, share in clean.reliability
    ]
    display.table("calibration without disturbance", ["confidence %", "accuracy %", "gap", "% of utterances"], bins)
    display.say(
        f"ECE {clean.ece:.2f} % ({CALIBRATION_BINS} bins of equal width, Guo et al. 2017), adaptive ECE "
        f"{clean.ece_adaptive:.2f} % (bins of equal counts), Brier score {clean.brier:.3f}, NLL {clean.nll:.2f} nats, "
        "each per seed; the table is of all seeds together"
    )
    worst = [r for r in sorted(rows[1:], key=lambda r: r.change) if r.change < 0][:3]
    said = [f"{r.name} {stress_kinds.KINDS[r.kind].shown(r.strength)} {r.change:+.1f} points" for r in worst]
    display.say(f"what harms most: {', '.join(said)}" if said else "nothing of it harms the score")


def draw(folder: Path, display: Display) -> None:
    """The curves into the run's folder, where matplotlib is installed."""
    from sertbench import plots, run_details, stress_record
    from sertbench.errors import ConfigError

    place = folder / stress_record.FOLDER
    wanted = [p for p in plots.of_run(run_details.details(folder), plots.STRESS_KINDS) if isinstance(p, plots.Plot)]
    try:
        drawn = [path.name for path in plots.save(wanted, place, ("svg", "png"))]
    except ConfigError as error:
        drawn = []
        display.say(f"no curves: {error}")
    display.say(f"written: {', '.join(['stress.csv', 'stress.json', *drawn])} in {place}")
