"""Compare two finished runs on the same utterances, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sertbench import bundle, statistics
from sertbench.board_rows import is_provisional, reason_of
from sertbench.bundles import Bundles, Own
from sertbench.errors import BundleError, few
from sertbench.results import Predictions
from sertbench.scores import score


def find_bundle(name: str, *places: Bundles | Own) -> Path:
    """A bundle by its folder, or in these places by its folder's name, its row id, or its model if that has one run.

    Of a published run that was made again the newer one counts. Raises BundleError with the bundles that there are.
    """
    if bundle.is_whole(Path(name)):
        return Path(name)
    runs = {p: bundle.readable(p) or {} for place in places for p in place}
    there = {p.name: p for p in sorted(runs, key=lambda p: str(runs[p].get("date_utc")))}
    matches = [n for n in there if name in (n, n.rpartition("-")[2])]
    matches = matches or [n for n, p in there.items() if runs[p].get("model", {}).get("name") == name]
    if len(matches) > 1:
        raise BundleError(f"{name} has several runs: name one of {few(sorted(matches), 20)}")
    if not matches:
        raise BundleError(f"{name} is not a finished run. In {places[0]} there are: {few(sorted(there), 20) or 'none'}")
    return there[matches[0]]


def compare(a: Path, b: Path) -> str:
    """What can and cannot be said about which of two bundles is better.

    The folds are spoken of where both have the same ones, two or more. Raises BundleError when the two are not about
    the same utterances and classes.
    """
    run_a, run_b = bundle.load_run(a), bundle.load_run(b)
    one, two = bundle.load_predictions(a, run_a), bundle.load_predictions(b, run_b)
    refuse_different(a, b, one, two)
    y, n = one.column("target"), len(one.classes)
    result = statistics.compare(y, one.labels, two.labels, one.column("speaker"), n)
    folds = one.column("fold")
    paired = np.array_equal(folds, two.column("fold"))
    several = paired and len(np.unique(folds)) > 1
    probabilities = statistics.equivalence(fold_uars(one), fold_uars(two)) if several else None
    lines = [statistics.in_words(result, *labels(run_a, run_b), probabilities)]
    if not paired:
        lines.append("Nothing is said over the folds: their folds differ, and scores of different folds are no pairs.")
    if run_a["protocol"]["sha256"] != run_b["protocol"]["sha256"]:
        lines.append(
            f"Caution: {a.name} used the protocol {run_a['protocol']['name']}, {b.name} {run_b['protocol']['name']}: "
            "the models were not trained on the same data."
        )
    lines += cautions(run_a, run_b)
    if np.array_equal(one.labels, two.labels):
        lines.append("Caution: the predictions are identical. Two names for one model?")
    return "\n".join(lines)


def cautions(run_a: dict[str, Any], run_b: dict[str, Any]) -> Iterator[str]:
    """What keeps one of the two from being ranked, what they were given that was not equal, and what was too little."""
    a, b = labels(run_a, run_b)
    for name, run in ((a, run_a), (b, run_b)):
        if reason := reason_of(run):
            yield f"Caution: {name} is not ranked: {reason}."
    for budget in ("trials", "seeds"):
        one, two = run_a["config"][budget], run_b["config"][budget]
        if one != two:
            yield f"Caution: unequal {budget}: {a} {one}, {b} {two}."
    epochs = most_epochs(run_a), most_epochs(run_b)
    asked = {run_a["config"]["epochs"], run_b["config"]["epochs"]} != {None}
    if asked and None not in epochs and epochs[0] != epochs[1]:  # a recipe's own epochs belong to the model
        yield f"Caution: unequal epochs: {a} at most {epochs[0]}, {b} at most {epochs[1]}."
    fewer = [f"{name} {run['figures']['n_seeds']}" for name, run in ((a, run_a), (b, run_b))
             if is_provisional(run["figures"])]  # fmt: skip
    if fewer:
        yield f"Caution: fewer than five seeds ({', '.join(fewer)}): provisional."


def most_epochs(run: dict[str, Any]) -> int | None:
    """How many epochs a fit could have; None for a model that is not trained in epochs."""
    return run["model"]["recipe"]["epochs"] if any(fit["history"] for fit in run.get("fits", ())) else None


def labels(run_a: dict[str, Any], run_b: dict[str, Any]) -> tuple[str, str]:
    """What to call the two."""
    return label(run_a, run_b), label(run_b, run_a)


def label(run: dict[str, Any], other: dict[str, Any]) -> str:
    """The model's name; with its features, or else the row id, when both are runs of the same model."""
    name: str = run["model"]["name"]
    if name != other["model"]["name"]:
        return name
    mine, theirs = ((r["model"]["recipe"]["features"] or {}).get("kind") for r in (run, other))
    return f"{name} ({run['row_id']})" if mine == theirs else f"{name} on {mine}"


def refuse_different(a: Path, b: Path, one: Predictions, two: Predictions) -> None:
    """BundleError unless both hold the same utterances with the same targets."""
    ids_a, ids_b = one.column("utterance"), two.column("utterance")
    if one.classes != two.classes:
        raise BundleError(f"cannot compare: {a.name} has the classes {one.classes}, {b.name} {two.classes}")
    if not np.array_equal(ids_a, ids_b):
        only = len(set(ids_a) ^ set(ids_b))
        raise BundleError(
            f"cannot compare: {a.name} was tested on {len(ids_a)} utterances, {b.name} on {len(ids_b)}, and {only} "
            "are in one of them only. Compare runs of the same corpus, label set, subset and membership"
        )
    if not np.array_equal(one.column("target"), two.column("target")):
        raise BundleError(f"cannot compare: the labels of {a.name} and {b.name} differ")


def fold_uars(predictions: Predictions) -> np.ndarray:
    """UAR per fold, averaged over seeds: (folds,)."""
    y, folds, n = predictions.column("target"), predictions.column("fold"), len(predictions.classes)
    return np.array(
        [
            np.mean([score(y[folds == fold], labels[folds == fold], n).uar for labels in predictions.labels])
            for fold in np.unique(folds)
        ]
    )
