"""`sertbench check`."""

from __future__ import annotations

import argparse

from sertbench.commands import console
from sertbench.errors import ConfigError, unknown

HELP = "check that a model or corpus plug-in keeps its contract"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which plug-in."""
    parser.add_argument("plugin", help="plug-in name, or path/to/file.py[:Class]")


def execute(options: argparse.Namespace) -> int:
    """Give 0 if every check passed, 1 if the plug-in breaks its contract."""
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
