"""`sertbench audit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import console, file_name
from sertbench.errors import counted

if TYPE_CHECKING:
    from rich.console import Console

    from sertbench.audit import Audit, Tally

HELP = "examine a corpus's folder: counts, missing and broken files, copies, shortcuts; changes nothing"
STATUS = "exit status: 0 clean (there may be notes), 1 warnings, 3 unusable; 2 for a mistake in the command line"
SHOWN = 5  #      files named on the screen for one finding; the JSON names all
SPEAKERS = 24  #  speakers up to which each has a line
BAR = 40


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which corpus, and where."""
    parser.epilog = STATUS
    parser.add_argument("dataset", metavar="DATASET", help="corpus name, or path/to/adapter.py[:Class]")
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="its folder or table (default: $SERTBENCH_DATA/<name>)"
    )
    parser.add_argument("--labels", metavar="NAME", help="label set to count (default: the corpus's first)")
    parser.add_argument(
        "--json", type=file_name, metavar="FILE", help="also write the whole report, with every file named"
    )
    parser.add_argument(
        "--accept-missing",
        type=Path,
        metavar="FILE",
        help="leave out what FILE names: an utterance id, or a path from the corpus's folder, per line; # comments",
    )


def execute(options: argparse.Namespace) -> int:
    """Show the report; give the exit status that says how it ended."""
    import json

    from sertbench import audit, corpus, exclusions, files, plugins
    from sertbench import config as configs
    from sertbench.progress import Display

    excluded = exclusions.read(options.accept_missing) if options.accept_missing else ()
    loaded = plugins.load_corpus(options.dataset)
    root = corpus.locate(loaded.name, loaded.corpus, options.data, configs.cache_folder())
    screen = console()
    with Display(screen).stage("reading audio") as advance:
        report = audit.audit(
            loaded.name,
            loaded.corpus,
            root,
            options.labels,
            excluded,
            advance,
        )
    if options.json:
        files.write_text(options.json, json.dumps(report.as_json(), indent=1) + "\n")
    show(screen, report)
    return audit.STATUS[report.status]


def show(screen: Console, report: Audit) -> None:
    """The report on the terminal."""

    def say(text: str = "", style: str | None = None) -> None:
        screen.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    seconds = max(report.seconds_reading + report.seconds_comparing, 0.01)
    rate = f"{report.files / seconds:.0f} files/s, {report.megabytes / seconds:.0f} MB/s"
    took = f"read in {report.seconds_reading:.1f} s, compared in {report.seconds_comparing:.1f} s ({rate})"
    say(f"{report.corpus} at {report.root}", "bold")
    say(f"{report.files} audio files, {report.hours:.2f} h, {report.megabytes:.1f} MB; {took}")
    for kind, title in (
        ("utterances", "utterances"),
        ("class", f"classes of {report.label_set}"),
        ("speaker", f"speakers of {report.label_set}"),
        ("gender", "genders"),
        ("session", "sessions"),
    ):
        if group := [t for t in report.tallies if t.kind == kind]:
            say()
            say(title, "bold")
            for line in lines(group):
                say(f"  {line}")
    if report.histogram:
        say()
        say("durations", "bold")
        for line in bars(report.histogram):
            say(f"  {line}")
    if report.hints:
        say()
        say("share of the label that is told by", "bold")
        say("  " + ", ".join(f"{what} {share:.0%}" for what, share in report.hints.items()))
    say()
    styles = {"error": "red", "warning": "yellow"}
    for found in report.findings:
        number = f"{len(found.files)}: " if found.files else ""
        say(f"{found.severity}  {found.code}  {number}{found.message}", styles.get(found.severity))
        for name in found.files[:SHOWN]:
            say(f"    {name}")
        if len(found.files) > SHOWN:
            say(f"    and {len(found.files) - SHOWN} more (--json FILE names all)")
        if found.remedy:
            say(f"    -> {found.remedy}")
    say(f"{report.corpus}: {verdict(report)}", "bold")


def verdict(report: Audit) -> str:
    """The last line."""
    counts = {s: sum(f.severity == s for f in report.findings) for s in ("error", "warning", "note")}
    parts = [counted(n, kind) for kind, n in counts.items() if n]
    return report.status + (f" ({', '.join(parts)})" if parts else "")


def lines(group: list[Tally]) -> list[str]:
    """One line per tally, or one for all speakers of a large corpus."""
    wrong = [t for t in group if t.published not in (None, t.found)]
    if group[0].kind in ("speaker", "session") and len(group) > SPEAKERS:
        most, least = max(t.found for t in group), min(t.found for t in group)
        known = any(t.published is not None for t in group)
        end = f"; {len(group) - len(wrong)} as published" if known else ""
        return [f"{len(group)}, with {least} to {most} utterances each{end}", *(_line(t, 0, 0) for t in wrong)]
    names, digits = max(len(t.name) for t in group), max(len(str(t.found)) for t in group)
    return [_line(t, names, digits) for t in group]


def _line(tally: Tally, names: int, digits: int) -> str:
    start = f"{tally.name:<{names}}  {tally.found:>{digits}}"
    if tally.published is None:
        return start
    return f"{start}  as published" if tally.found == tally.published else f"{start}  PUBLISHED {tally.published}"


def bars(histogram: tuple[tuple[float, int], ...]) -> list[str]:
    """A histogram as rows of blocks."""
    most = max(n for _, n in histogram)
    ends = [f"{edge:g} s" for edge, _ in histogram]
    return [
        f"from {end:>5}  {'█' * -(-BAR * n // most):<{BAR}} {n}" for end, (_, n) in zip(ends, histogram, strict=True)
    ]
