"""`sertbench check`."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from sertbench.commands import console
from sertbench.errors import ConfigError, counted, unknown

if TYPE_CHECKING:
    from rich.console import Console

HELP = "check that a model or corpus plug-in keeps its contract"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which plug-in."""
    parser.add_argument("plugin", help="plug-in name, or path/to/file.py[:Class]")


def execute(options: argparse.Namespace) -> int:
    """Give 0 if every check passed, 1 if the plug-in breaks its contract."""
    from sertbench import plugins

    name: str = options.plugin
    if kind_of(name) == "datasets":
        return show(console(), name, type(plugins.load_corpus(name).corpus))
    loaded = plugins.load_model(name)
    status = show(console(), loaded.name, loaded.cls)
    if not status and loaded.spec != loaded.name:
        console().print(
            f"next: sertbench run --model {name} --dataset demo --trials 0 --seeds 1 --epochs 2", highlight=False
        )
    return status


def kind_of(name: str) -> str:
    """Whether a name or a file is a model or a corpus; a file that is neither is taken for a model, and refused there.

    Raises ConfigError for a name that nobody has.
    """
    from sertbench import plugin_text, plugins

    known = {kind: plugins.names(kind) for kind in ("models", "datasets")}
    if ".py" in name or "/" in name:
        source = plugins.find("models", name)
        assert source.path is not None, "a plug-in that is given by its path has one"
        bases = plugins.BASES["models"], plugins.BASES["datasets"]
        is_model, is_corpus = (plugin_text.facts(source.path, base, source.class_name) for base in bases)
        return "datasets" if is_corpus and not is_model else "models"
    if name not in known["models"] + known["datasets"]:
        raise ConfigError(
            f"{unknown('plug-in', name, known['models'] + known['datasets'])}. A file of your own: path/to/file.py"
        )
    return "datasets" if name in known["datasets"] else "models"


def show(screen: Console, name: str, cls: type[Any]) -> int:
    """Run the checks of a class, saying what is being done; gives the exit status."""
    from sertbench import testing

    started, total, done, failed = time.perf_counter(), len(testing.checks(cls)), 0, 0
    screen.print(f"{name}: {counted(total, 'check')}", highlight=False)
    summaries = {check.name: check.summary for check in testing.checks(cls)}
    with screen.status("") as status:
        for result in testing.run_checks(cls, lambda check: status.update(f"{check.name}: {check.summary}")):
            done += 1
            failed += not result.passed
            line = f"{'ok  ' if result.passed else 'FAIL'} {result.name:14} {summaries[result.name]}"
            screen.print(line, highlight=False, markup=False, style=None if result.passed else "bold red")
            if not result.passed:
                screen.print(f"     {result.message}", highlight=False, markup=False, soft_wrap=True)
    taken = f"{time.perf_counter() - started:.0f} s"
    if failed:
        rest = f", {total - done} not run" if total > done else ""
        screen.print(f"{failed} of {total} checks failed{rest} ({taken})", highlight=False)
        return 1
    screen.print(f"all {total} checks passed ({taken})", highlight=False)
    return 0
