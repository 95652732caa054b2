"""`sertbench profile`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import console, file_name, whole_number
from sertbench.errors import ConfigError, counted

if TYPE_CHECKING:
    from rich.table import Table

    from sertbench.profiling import Profile

HELP = "measure models: parameters, multiply-adds, memory, time"
SECONDS, CLASSES = 4.0, 4  # without a corpus: about IEMOCAP's mean turn, and its usual classes
NOTE = (
    "MAC: one multiplication and addition of a forward pass (convolutions, matrix products, recurrences, attention); "
    "M = 10^6, MB = 10^6 bytes. Peak: weights, optimiser's state and tensors of a training step. "
    "Latency: from the waveform of an utterance to its class; RTF: latency over duration."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which models, on what."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="plug-in name, or path/to/file.py[:Class]")
    parser.add_argument("--dataset", metavar="NAME", help="take the mean duration and the classes of a corpus")
    parser.add_argument("--data", type=Path, metavar="PATH", help="where the corpus lies, as for `run`")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"duration of an utterance (default: {SECONDS:g})")
    parser.add_argument("--classes", type=whole_number, metavar="N", help=f"number of classes (default: {CLASSES})")
    parser.add_argument("--batch", type=whole_number, metavar="N", help="items of a training step (default: recipe's)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--precision", default="auto", help="auto, fp32 or bf16 (default: auto)")
    parser.add_argument("--json", type=file_name, metavar="FILE", help="also write the figures to a file")


def execute(options: argparse.Namespace) -> int:
    """Measure the models one after the other, and show them together."""
    from sertbench import plugins, profiling
    from sertbench.compute import Compute

    seconds, n_classes = spoken(options)
    for name, value, least in (("--seconds", seconds, 0.1), ("--classes", n_classes, 2), ("--batch", options.batch, 2)):
        if value is not None and not least <= value <= 100_000:
            raise ConfigError(f"{name} {value} is not accepted: expected a number of at least {least}")
    compute = Compute.resolve(options.device, options.precision)
    loaded = [plugins.load_model(spec) for spec in dict.fromkeys(options.models)]
    screen, found = console(), []
    for model in loaded:
        with screen.status(f"measuring {model.name}"):
            found.append(profiling.profile(model, seconds, n_classes, options.batch, compute))
    networks = [one for one in found if one.kind == "network"]
    if networks:
        screen.print(alone(networks[0]) if len(networks) == 1 else together(networks))
        screen.print(f"\n{NOTE}", style="dim", highlight=False)
    for one in found:
        if one.kind == "estimator":
            screen.print(
                f"{one.model} is no network: it has no parameters to count and no training step to time; "
                f"`sertbench run --model {one.model}` reports how long its fits take",
                highlight=False,
            )
    if options.json:
        write(options.json, found)
        screen.print(f"figures: {options.json}", highlight=False)
    return 0


def spoken(options: argparse.Namespace) -> tuple[float, int]:
    """Seconds of an utterance and number of classes: as typed, else of the corpus, else the usual ones."""
    seconds, n_classes = SECONDS, CLASSES
    if options.dataset:
        from sertbench import config, corpus, plugins

        loaded, cache = plugins.load_corpus(options.dataset), config.cache_folder()
        root = corpus.locate(loaded.name, loaded.corpus, options.data, cache)
        adapter = loaded.corpus.at(root)
        with console().status(f"reading {loaded.name}"):
            manifest = corpus.build_manifest(loaded.name, adapter, root, adapter.label_set(None), "all", cache)
        seconds, n_classes = sum(manifest.seconds) / len(manifest), len(manifest.classes)
    elif options.data:
        raise ConfigError("--data says where a corpus lies: say which one with --dataset NAME")
    return (
        seconds if options.seconds is None else options.seconds,
        n_classes if options.classes is None else options.classes,
    )


def million(count: float) -> str:
    """A count in millions."""
    return f"{count / 1e6:,.1f} M" if count >= 1e7 else f"{count / 1e6:.3g} M"


def milliseconds(time: float) -> str:
    """A time."""
    return f"{time:,.0f} ms" if time >= 100 else f"{time:.3g} ms"


def alone(one: Profile) -> Table:
    """One model, a line for each figure."""
    from sertbench.listing import table

    made = table(f"{one.model}: an utterance of {one.seconds:.2f} s, {one.n_classes} classes, {one.device}", "", "")
    F, T = one.input_shape
    rows = [
        ("input", f"{one.features}, {F} x {T} per {one.item}, {one.items} per utterance"),
        ("parameters", f"{one.n_parameters:,}, of which {one.n_trainable:,} are trained; {one.size:.2f} MB"),
        ("multiply-adds", f"{million(one.item_macs)} per {one.item}, {million(one.second_macs)} per second of speech"),
        ("training step", f"{milliseconds(one.step_ms)} for {one.batch} items: {one.throughput:,.0f} per second"),
        ("its memory", f"{one.step_memory:,.0f} MB at the peak"),
        ("latency", f"{milliseconds(one.latency_ms)}, of which features {one.feature_share:.0%}; "
                    f"real-time factor {one.real_time_factor:.4f}"),
        ("computed in", f"{one.precision}" + (", one thread" if one.device == "cpu" else "")),
    ]  # fmt: skip
    for row in rows:
        made.add_row(*row)
    return made


def together(found: Sequence[Profile]) -> Table:
    """Several models, a row each."""
    from sertbench.listing import table

    first = found[0]
    where = f"{first.device}, {first.precision}" + (", one thread" if first.device == "cpu" else "")
    made = table(
        f"an utterance of {first.seconds:.2f} s, {first.n_classes} classes, {where}",
        "model", "input", "parameters", "trained", "MB", "MACs/item", "MACs/s", "step", "items/s", "peak MB",
        "latency", "features", "RTF",
    )  # fmt: skip
    for one in found:
        F, T = one.input_shape
        made.add_row(
            one.model, f"{F} x {T}, {counted(one.items, one.item)}", f"{one.n_parameters:,}",
            f"{one.n_trainable:,}", f"{one.size:.2f}", million(one.item_macs), million(one.second_macs),
            f"{milliseconds(one.step_ms)} / {one.batch}", f"{one.throughput:,.0f}", f"{one.step_memory:,.0f}",
            milliseconds(one.latency_ms), f"{one.feature_share:.0%}", f"{one.real_time_factor:.4f}",
        )  # fmt: skip
    return made


def write(path: Path, found: Sequence[Profile]) -> None:
    """The figures as JSON, with what they were measured on."""
    import json
    from dataclasses import asdict

    from sertbench import bundle

    derived = ("latency_ms", "feature_share", "real_time_factor")
    models = [asdict(one) | {name: getattr(one, name) for name in derived} for one in found]
    models = [{k: one[k] for k in ("model", "kind")} if one["kind"] == "estimator" else one for one in models]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"environment": bundle.environment(), "models": models}, indent=1) + "\n")
