"""`sertbench predict`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench.commands import console, whole_number
from sertbench.errors import ConfigError, counted

if TYPE_CHECKING:
    from sertbench.prediction import Piece, Prediction
    from sertbench.trained import Trained

HELP = "classify sound files with what a run has trained, or with an exported model"
BLOCKS = " ▁▂▃▄▅▆▇█"
MOST_DRAWN = 60  # pieces side by side


def arguments(parser: argparse.ArgumentParser) -> None:
    """With what, and what to classify."""
    parser.add_argument("model_folder", type=Path, metavar="RUN", help="a run's folder in runs/, or an exported model")
    parser.add_argument("files", nargs="*", metavar="FILE", help="sound files, folders of them, or - for a pipe")
    parser.add_argument("--microphone", type=float, metavar="SECONDS", help="record so long, and classify that")
    parser.add_argument("--fold", metavar="F", help="only the fits of this fold (default: all folds, averaged)")
    parser.add_argument("--seed", type=whole_number, metavar="S", help="only the fits of this seed (default: all)")
    parser.add_argument(
        "--over-time", type=float, metavar="HOP", help="also how it changes: a window every HOP seconds"
    )
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="of --over-time, for models of whole utterances (default: 2)"
    )
    parser.add_argument(
        "--channel", choices=("left", "right", "mean"), help="of several (default: as in training, else their mean)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: cpu)")
    parser.add_argument(
        "--checkpoint", metavar="FOLDER", help="where the features' pre-trained checkpoint lies, if it was moved"
    )
    parser.add_argument(
        "--model", metavar="FILE", help="the model's Python file, where an exported model names no plug-in of sertbench"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--csv", action="store_true", help="print CSV: a line per file, or per window")


def execute(options: argparse.Namespace) -> int:
    """Classify, and print."""
    if not options.files and options.microphone is None:
        raise ConfigError("which files? Give some, a folder, - for a pipe, or --microphone SECONDS")
    if "" in options.files:
        raise ConfigError("one of the files has an empty name (an unset variable?). The folder you are in is .")
    if options.window is not None and options.over_time is None:
        raise ConfigError("--window goes with --over-time HOP")
    if options.microphone is not None and not 0.1 <= options.microphone <= 3600:
        raise ConfigError(f"--microphone {options.microphone}: expected 0.1 to 3600 seconds")
    from sertbench import model_folder, prediction, trained

    if model_folder.holds(options.model_folder):
        chosen = model_folder.read(options.model_folder, options.fold, options.seed, options.model, options.checkpoint)
    elif options.model is not None:
        raise ConfigError(
            f"--model goes with an exported model; {options.model_folder} is none, and a run knows its own"
        )
    elif not (options.model_folder / "run.json").exists():
        raise ConfigError(
            f"{options.model_folder} is neither a run (it has no run.json) nor an exported model (it has no "
            "config.json). `sertbench run` leaves runs in runs/"
        )
    else:
        chosen = trained.from_run(options.model_folder, options.fold, options.seed, options.checkpoint)
    wave = prediction.record(options.microphone) if options.microphone is not None else None
    with prediction.collected(options.files, sys.stdin.buffer, wave) as files:
        found = prediction.predict_files(
            chosen, files, options.channel, options.over_time, options.window, options.device
        )
    if options.json or options.csv:  # programs read the standard output, people the other one
        sys.stderr.writelines(f"{note}\n" for note in notes(chosen, found))
    if options.json:
        print(json.dumps(as_json(chosen, found), indent=1, ensure_ascii=False))  # noqa: T201 - that is the output
    elif options.csv:
        print_csv(chosen, found)
    else:
        show(chosen, found)
    return 0


def as_json(trained: Trained, found: Sequence[Prediction]) -> dict[str, Any]:
    """All that is said, with its source."""

    def said(probabilities: Any) -> dict[str, Any]:
        by_class = {c: round(float(p), 6) for c, p in zip(trained.classes, probabilities, strict=True)}
        return {"class": trained.classes[int(probabilities.argmax())], "probabilities": by_class}

    return {
        "model": trained.name,
        "source": trained.describe(),
        "fits": [{"fold": m.fold, "seed": m.seed} for m in trained.members],
        "classes": list(trained.classes),
        "files": [
            {
                "file": one.name, "seconds": round(one.seconds, 3), **said(one.probabilities),
                "agreement": one.agreement, "in_corpus": one.seen or None if trained.audio is not None else "not known",
                **({"windows": [window(p) | said(p.probabilities) for p in one.pieces]} if one.pieces else {}),
            }
            for one in found
        ],
    }  # fmt: skip


def window(piece: Piece) -> dict[str, float]:
    """Where a window lies, in seconds."""
    return {"start": round(piece.start, 3), "end": round(piece.end, 3)}


def print_csv(trained: Trained, found: Sequence[Prediction]) -> None:
    """A line per file, or per window."""
    import csv

    from sertbench.prediction import Piece

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "start", "end", "class", *(f"p_{c}" for c in trained.classes), "in_corpus"])
    for one in found:
        for piece in one.pieces or (Piece(0.0, one.seconds, one.probabilities),):
            likeliest = trained.classes[int(piece.probabilities.argmax())]
            values = [f"{p:.6f}" for p in piece.probabilities]
            writer.writerow([one.name, *(f"{v:.3f}" for v in window(piece).values()), likeliest, *values, one.seen])


def show(trained: Trained, found: Sequence[Prediction]) -> None:
    """A table of all files, and a drawing of each that is shown over time."""
    from rich.table import Table
    from rich.text import Text

    screen = console()
    table = Table(title=f"{trained.name}: {trained.describe()}", title_justify="left")
    table.add_column("file", overflow="fold")
    for name in ("seconds", "class", *trained.classes):
        table.add_column(name, justify="left" if name == "class" else "right")
    several = len(trained.members) > 1
    if several:
        table.add_column("agree", justify="right")
    seen = any(one.seen for one in found)
    if seen:
        table.add_column("of the training corpus", overflow="fold")
    for one in found:
        best = int(one.probabilities.argmax())
        shares = [Text(f"{p:.2f}", "bold" if k == best else "") for k, p in enumerate(one.probabilities)]
        more = [f"{one.agreement}/{len(trained.members)}"] * several + [one.seen] * seen
        table.add_row(one.name, f"{one.seconds:.2f}", trained.classes[best], *shares, *more)
    screen.print(table)
    for one in found:
        if one.pieces:
            screen.print(drawing(trained, one), markup=False, highlight=False)
    for note in notes(trained, found):
        screen.print(note, markup=False, highlight=False)


def drawing(trained: Trained, one: Prediction) -> str:
    """The probabilities over time, a line of blocks per class; and the windows with what is likeliest in them."""
    width = max(map(len, trained.classes))
    pieces = one.pieces[:: -(-len(one.pieces) // MOST_DRAWN)]
    n_windows = counted(len(one.pieces), "window")
    lines = [f"{one.name}, {n_windows} from {one.pieces[0].start:.2f} to {one.pieces[-1].end:.2f} s"]
    for k, name in enumerate(trained.classes):
        bars = "".join(BLOCKS[min(8, round(float(p.probabilities[k]) * 8))] for p in pieces)
        lines.append(f"  {name:<{width}} |{bars}|")
    for piece in one.pieces:
        best = int(piece.probabilities.argmax())
        span = f"{piece.start:7.2f} to {piece.end:7.2f} s"
        lines.append(f"  {span}  {trained.classes[best]:<{width}} {piece.probabilities[best]:.2f}")
    return "\n".join(lines)


def notes(trained: Trained, found: Sequence[Prediction]) -> list[str]:
    """What a reader must know of the table."""
    said = []
    if any(one.seen for one in found):
        said.append(
            "marked files are of the corpus that was trained on: what is said of them is no evidence of anything"
        )
    if trained.changed:
        said.append(f"the file of model {trained.name} was changed since it was trained: the answers may be other ones")
    if trained.audio is None:
        said.append("whether a file was in training is not known: this run kept no hashes of its audio")
    if mixed := [one.name for one in found if one.channels > 1]:
        said.append(f"{counted(len(mixed), 'file')} with several channels (--channel chooses): first {mixed[0]}")
    if any(one.pieces for one in found):
        said.append("a tail that is shorter than HOP is in no window")
    return said
