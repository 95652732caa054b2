"""`sertbench download`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import console

if TYPE_CHECKING:
    from rich.console import Console

    from sertbench.corpus import Archive
    from sertbench.download import Download

HELP = "get a corpus whose publisher offers it to all; say where to ask for the others"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which corpus, whereto, and the licence."""
    parser.epilog = (
        "exit status: 0 if the corpus is there in the end, 1 if you declined, 2 if it is not to be had this way or "
        "something is in the way"
    )
    parser.add_argument("name", metavar="NAME", help="a corpus; `sertbench list datasets` shows them")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of your corpora; this one becomes DIR/NAME (default: $SERTBENCH_DATA, else corpora)",
    )
    parser.add_argument("--yes", action="store_true", help="accept the licence without being asked")
    parser.add_argument(
        "--accept-licence", metavar="LICENCE", help="accept the licence of this name without being asked"
    )


def execute(options: argparse.Namespace) -> int:
    """Get the corpus."""
    from sertbench import download, plugins

    loaded = plugins.load_corpus(options.name)
    screen = console()
    if loaded.corpus.synthetic:
        say(screen, f"{loaded.name}: nothing to download, sertbench makes it when it is first used")
        return 0
    parent = options.data or Path(os.environ.get("SERTBENCH_DATA") or "corpora")
    planned = download.plan(loaded.name, loaded.corpus, parent)
    there = download.present(planned)
    if there is not None:
        say(screen, f"{planned.folder} holds {planned.name} already: {there} utterances, names and counts as published")
        say(screen, next_steps(planned))
        return 0
    if options.accept_licence is not None:
        download.accepts(planned, options.accept_licence)
    introduce(screen, planned)
    download.check_room(planned)
    if not (options.yes or options.accept_licence is not None or agreed(planned)):
        say(screen, "nothing was downloaded")
        return 1
    try:
        with bar(screen) as on_progress:
            download.get(planned, lambda text: say(screen, text), on_progress)
    except KeyboardInterrupt:
        say(screen, f"stopped; what has arrived is kept in {planned.workshop}: the same command goes on from there")
        return 130
    conclude(screen, planned)
    return 0


def say(screen: Console, text: str) -> None:
    """A line as it is."""
    screen.print(text, highlight=False, markup=False, soft_wrap=True)


def introduce(screen: Console, planned: Download) -> None:
    """What is about to be downloaded, on which terms and whereto."""
    from sertbench.corpus_facts import summary
    from sertbench.download import gigabytes

    corpus = planned.corpus
    facts = [
        ("corpus", summary(corpus)),
        ("cite", corpus.citation),
        ("licence", corpus.licence),
        *(("from", archive.url) for archive in planned.archives),
        ("size", f"{gigabytes(planned.size)}" + (f", {gigabytes(planned.arrived)} there" if planned.arrived else "")),
        ("into", f"{planned.folder} ({gigabytes(planned.free)} free, {gigabytes(planned.needed)} needed)"),
    ]
    for head, text in facts:
        say(screen, f"{head:>8}  {text}")


def agreed(planned: Download) -> bool:
    """Ask; where nobody can be asked, say what to type."""
    from sertbench.corpus_facts import licence_name
    from sertbench.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError(
            f"the licence of {planned.name} needs your consent, and this is no terminal to ask at. Type `sertbench "
            f"download {planned.name} --data {shlex.quote(str(planned.folder.parent))} --accept-licence "
            f"{shlex.quote(licence_name(planned.corpus))}`"
        )
    try:
        answer = input("Do you accept this licence, and shall the download start? [y/N] ")
    except EOFError:
        return False
    return answer.strip().casefold() in ("y", "yes")


@contextmanager
def bar(screen: Console) -> Iterator[Callable[[Archive, int, int], None]]:
    """A bar on a terminal; elsewhere a line for every tenth."""
    if not screen.is_terminal:
        last: dict[str, int] = {}

        def line(archive: Archive, done: int, total: int) -> None:
            tenth = done * 10 // (total or max(archive.size, done))
            if tenth > last.setdefault(archive.name, tenth):
                last[archive.name] = tenth
                say(screen, f"{archive.name}: {tenth * 10} %, {done / 1e6:.0f} MB")

        yield line
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=screen) as bars:
        tasks: dict[str, rich_progress.TaskID] = {}

        def advance(archive: Archive, done: int, total: int) -> None:
            if archive.name not in tasks:
                tasks[archive.name] = bars.add_task(archive.name, total=total or archive.size)
            bars.update(tasks[archive.name], completed=done)

        yield advance


def conclude(screen: Console, planned: Download) -> None:
    """Whether names and counts are the published ones, and what to type next."""
    from sertbench import download
    from sertbench.errors import CorpusError

    try:
        say(screen, f"{download.count(planned)} utterances, names and counts as published")
    except CorpusError as error:  # e.g. videos, whose sound is still to be extracted
        say(screen, f"it is not ready for use yet: {error}")
    say(screen, next_steps(planned))


def next_steps(planned: Download) -> str:
    """The commands to type next."""
    data = shlex.quote(str(planned.folder))
    return (
        f"next: sertbench audit {planned.name} --data {data}\n"
        f"      sertbench run --model glam --dataset {planned.name} --data {data}"
    )
