"""`sertbench export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import console, whole_number
from sertbench.errors import ConfigError

HELP = "write a trained model as a folder of its own: safetensors, ONNX, model card"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to export, and where to."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder in runs/")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--fold", metavar="F", help="a fit of this fold (default: the best one on its validation part)")
    parser.add_argument("--seed", type=whole_number, metavar="S", help="a fit of this seed")
    parser.add_argument("--all", action="store_true", help="all fits of the run, as an ensemble")
    parser.add_argument(
        "--checkpoint", metavar="FOLDER", help="where the features' pre-trained checkpoint lies, if it was moved"
    )


def execute(options: argparse.Namespace) -> int:
    """Export, and say what there is and what to type next."""
    if options.all and (options.fold is not None or options.seed is not None):
        raise ConfigError("--all takes every fit: leave --fold and --seed out")
    from sertbench import model_export

    made = model_export.export(
        options.run, options.folder, options.fold, options.seed, options.checkpoint, everything=options.all
    )
    screen = console()

    def say(text: str) -> None:
        screen.print(text, markup=False, highlight=False)

    chosen = made.trained.members[0]
    say(f"{made.trained.name}: {made.trained.describe()}")
    if len(made.trained.members) == 1 and (options.fold is None or options.seed is None):
        say(f"  chosen by its validation UAR of {100 * chosen.val_uar:.2f}; --fold and --seed name another, --all all")
    for path in sorted(made.folder.iterdir()):
        say(f"  {path}  {path.stat().st_size:,} bytes")
    say(f"  model.onnx: {made.onnx}" if made.onnx else f"  no model.onnx: {made.no_onnx}")
    if made.needs:
        say(f"  needs the checkpoint {made.needs.name} ({made.needs.sha256[:12]}), which is not in it")
    say(f"Try it: sertbench predict {made.folder} FILE.wav")
    return 0
