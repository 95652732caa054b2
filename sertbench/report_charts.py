"""The charts of a run's page, and of the optimism meter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from sertbench import svg
from sertbench.report_view import CHEATS, Entry, measured_cheats, names
from sertbench.run_details import Curve, Details, Group

SHOWN_SPEAKERS = 24


def optimism_values(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """The optimism meter of some rows: chart, legend and table, with the cheats that any row measured; None without."""
    if not entries:
        return None
    cheats = measured_cheats(entries)
    kinds = ["honest", *CHEATS.values()]
    return {
        "chart": optimism_chart(entries),
        "legend": [(name, svg.sample(kinds.index(name))) for name in ("honest", *cheats.values())],
        "cheats": cheats,
        "rows": list(zip(names(entries), entries, strict=True)),
        "gap": any(entry.row.get("oracle_gap") for entry in entries),
    }


def optimism_chart(entries: Sequence[Entry]) -> Markup:
    """Honest score and cheats, a line per row."""
    rows = []
    for called, entry in zip(names(entries), entries, strict=True):
        dots = [("honest", entry.uar, 0)]
        cheats = [(what, entry.row.get(name)) for name, what in CHEATS.items()]
        dots += [(what, float(value), k) for k, (what, value) in enumerate(cheats, 1) if value]
        rows.append((f"{called}, {entry.row['corpus']}", dots))
    words = "; ".join(f"{name}: " + ", ".join(f"{what} {v:.2f}" for what, v, _ in dots) for name, dots in rows)
    return svg.strips("Optimism meter", words, rows, left=210, width=680)


def group_chart(title: str, groups: Sequence[Group], seeds: Sequence[int], chance: float) -> Markup:
    """A line per fold or speaker, a dot per seed."""
    shown = [g for g in groups if g.uar is not None]
    rows = [(g.name, [(f"seed {k}", uar, 0) for k, uar in zip(seeds, g.seeds, strict=True)]) for g in shown]
    uars = [g.uar for g in shown if g.uar is not None]
    words = f"{len(shown)} rows, from {min(uars):.1f} to {max(uars):.1f} % UAR"
    return svg.strips(title, words, rows, chance, 90, svg.WIDTH)


def curve_chart(title: str, x: str, y: str, curves: Sequence[Curve]) -> Markup:
    """Lines coloured by fold."""
    ends = [c.points[-1][1] for c in curves]
    words = f"{len(curves)} lines, ending between {min(ends):.2f} and {max(ends):.2f}"
    return svg.lines(title, words, x, y, [(c.name, c.points, c.fold) for c in curves])


def embedding_chart(found: Details) -> Markup | None:
    """A point per utterance, coloured by its true class; None without a recording."""
    seen = found.embedding
    if seen is None:
        return None
    points = [
        (float(x), float(y), target, f"{name}: {found.classes[target]}")
        for (x, y), target, name in zip(seen.points, seen.targets, seen.utterances, strict=True)
    ]
    words = f"{len(points)} utterances of fold {seen.fold}, by true class"
    return svg.cloud("t-SNE of the penultimate layer", words, points)


def model_charts(found: Details, chance: float) -> dict[str, Any]:
    """All charts of a run's page by their name in the template."""
    curves = [
        (curve_chart(f"Training {what}" if what == "loss" else "Validation UAR", "epoch", label, lines), words)
        for what, label, lines, words in (
            ("loss", "training loss", found.losses, "Training loss of the final fits, a line per fold and seed."),
            ("uar", "validation UAR (%)", found.val_uars, "Validation UAR of the final fits; its best epoch is kept."),
        )
        if lines
    ]
    if found.tuning:
        chart = curve_chart("Tuning", "trial", "best validation UAR (%)", found.tuning)
        curves.append((chart, "Best validation UAR so far after each Optuna trial, a line per fold."))
    folds = [t["fold"] for t in found.run["tuning"]]
    return {
        "fold_chart": group_chart("UAR per fold", found.folds, found.seeds, chance),
        "speaker_chart": group_chart("UAR per speaker", found.speakers[:SHOWN_SPEAKERS], found.seeds, chance),
        "shown_speakers": SHOWN_SPEAKERS,
        "calibration_chart": svg.reliability(
            "Reliability diagram", f"{len(found.reliability)} bins of confidence", found.reliability
        ),
        "curves": curves,
        "fold_keys": [(f"fold {name}", svg.sample_line(k)) for k, name in enumerate(folds)],
        "class_keys": [(name, svg.sample(k)) for k, name in enumerate(found.classes)],
        "embedding_chart": embedding_chart(found),
        "embedding_fold": found.embedding.fold if found.embedding else "",
    }
