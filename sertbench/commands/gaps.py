"""`sertbench gaps`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench.commands import add_runs, console, file_name

if TYPE_CHECKING:
    from sertbench.gaps import Gap
    from sertbench.progress import Display

HELP = "fairness of a finished run: gaps between genders, ages and speakers, beside what chance gives"
SHOWN = 12  # groups of a table; the JSON has all


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument("run", metavar="RUN", help="a bundle's folder or name, its row id, or a model")
    parser.add_argument("--data", metavar="PATH", help="where the corpus lies now (default: where the run read it)")
    parser.add_argument("--json", type=file_name, metavar="FILE", help="also write everything there as JSON")
    add_runs(parser)


def execute(options: argparse.Namespace) -> int:
    """Show the gaps; the status is 0 whatever they are."""
    from sertbench import bundle, comparison, files, gaps, gaps_groups, gaps_record
    from sertbench.bundles import Own
    from sertbench.errors import SertbenchError
    from sertbench.progress import Display

    display = Display(console())
    folder = comparison.find_bundle(options.run, Own(options.runs))
    run = bundle.load_run(folder)
    predictions = bundle.load_predictions(folder, run)
    groupings: dict[str, dict[str, str]] = {}
    try:
        groupings |= gaps_groups.of_corpus(folder, run, options.data)
    except SertbenchError as error:
        if options.data:
            raise
        display.say(f"speakers alone, without gender and age, which only the corpus tells: {error}")
    groupings["speaker"] = gaps_groups.speakers(predictions)
    found = []
    for name, group_of in groupings.items():
        gap = gaps.measure(predictions, name, group_of)
        if gap is None:
            display.say(f"{name}: the corpus does not tell two groups")
        else:
            found.append(gap)
            show(gap, display)
    for gap in found:
        display.say(gaps.in_words(gap))
    if options.json:
        files.write_text(options.json, gaps_record.content(folder, run, found))
        display.say(f"written: {options.json}")
    if found:
        keep(folder, run, found, display)
    return 0


def show(gap: Gap, display: Display) -> None:
    """Two tables: the groups, and what is observed beside what chance gives."""
    groups = list(gap.groups)
    if len(groups) > SHOWN:
        groups = groups[: SHOWN // 2] + groups[-SHOWN // 2 :]
    lines = [
        [g.name, str(g.speakers), str(g.utterances), f"{g.uar:.1f}"]
        + ([f"[{g.interval[0]:.1f}, {g.interval[1]:.1f}]"] if g.speakers > 1 else ["-"])
        for g in groups
    ]
    notes = [f"the best and worst {SHOWN // 2} of {len(gap.groups)}"] if len(gap.groups) > SHOWN else []
    notes += [f"not known for {gap.left_out} utterances, which are left out"] if gap.left_out else []
    display.table(gap.grouping, [gap.grouping, "speakers", "utterances", "UAR", "95 %"], lines, "; ".join(notes))
    rows = [
        [f.name, f"{f.observed:.1f}", f"{f.band[0]:.1f} to {f.band[1]:.1f}", f"{f.p:.2g}"]
        + ([] if f.p_dealt is None else [f"{f.p_dealt:.2g}"])
        for f in gap.figures
    ]
    columns = ["UAR", "observed", "chance, 95 %", "p"]
    columns += [] if gap.figures[0].p_dealt is None else ["p, speakers dealt out"]
    display.table("", columns, rows)


def keep(folder: Path, run: Mapping[str, Any], found: list[Gap], display: Display) -> None:
    """Leave everything in the run's folder, where `sertbench report` finds it, if that can be written."""
    from sertbench import gaps_record
    from sertbench.errors import StorageError

    try:
        display.say(f"written: {gaps_record.write(folder, run, found)}")
    except StorageError as error:
        display.say(f"not kept for `sertbench report`: {error}")
