"""The plan of a run in words: what it does, what it takes, and what this machine may have too little of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sertbench import config as configs
from sertbench import memory, ssl_features, utterance_features
from sertbench.class_coverage import sparse
from sertbench.cost import Cost
from sertbench.errors import counted, few
from sertbench.feature_spec import SAMPLE_RATE, SslSpec, UtteranceSpec
from sertbench.machine import cores
from sertbench.memory import gigabytes
from sertbench.model import Estimator
from sertbench.pace import duration
from sertbench.plan import Plan
from sertbench.resources import free_disk
from sertbench.tuning import n_finalists

SPARE_DISK = 500_000_000  # bytes that should stay free for tables, logs and everybody else
EXTRACTION = 0.06  #        seconds of a thread for the values of an utterance, per second of speech
PROCESS = 250 << 20  #      bytes of a worker process for itself, beside what all of them share


def where(plan: Plan) -> str:
    """Where fits run, and how many at a time."""
    if plan.config.executor == "dask":
        return f"on the Dask cluster at {plan.config.scheduler}"
    if plan.config.executor == "slurm":
        return f"in up to {plan.workers} SLURM jobs"
    if plan.stack == 1:
        return f"{plan.workers} at a time"
    turns = "as many fits at a time as there is room for" if plan.stack is None else f"{plan.stack} fits at a time"
    return turns if plan.workers == 1 else f"{plan.workers} workers, each with {turns}"


def shortages(plan: Plan, price: Cost) -> list[str]:
    """What this machine may have too little of for the plan, in words."""
    found = []
    recipe = plan.recipe
    weights = 4 * price.n_parameters * price.n_fits
    features = 0
    if recipe.features is not None:
        seconds = recipe.window or float(np.mean(plan.manifest.seconds))
        features = 4 * price.n_items * recipe.features.rows * recipe.features.frames(round(seconds * SAMPLE_RATE))
    for folder, needed, what in (
        (Path(plan.config.runs), weights, "the fits"),
        (configs.cache_folder(), features, "the features, unless they are there already"),
    ):
        if (free := free_disk(folder)) < needed * 1.1 + SPARE_DISK:
            found.append(f"{free / 1e9:.1f} GB are free in {folder.absolute()}, and {what} take {needed / 1e9:.1f} GB")
    if plan.config.executor in ("auto", "processes") and price.memory.size:
        fit, free = gigabytes(price.memory.size), memory.available()
        beside = max(1, free // (price.memory.size + PROCESS))
        if price.memory.least > memory.total():
            found.append(
                f"a fit takes {gigabytes(price.memory.least)} of memory or more, and there are "
                f"{gigabytes(memory.total())} here in all: it will fail. {price.memory.advice(memory.total())}"
            )
        elif beside < plan.workers:
            found.append(
                f"{gigabytes(free)} of memory are free, and a fit takes about {fit}: about {beside} of {plan.workers} "
                "run at a time, the others wait until there is room"
            )
    return found


def layers_or_frames(spec: SslSpec) -> str:
    """The second axis of an item, in words."""
    if spec.kind == "ssl":
        return f"{len(spec.chosen)} (mean and deviation of {spec.hidden} units; layers)"
    return "50 per second"


def extraction(plan: Plan, spec: SslSpec, price: Cost) -> str:
    """What the features take, in words, before anything is computed."""
    manifest, recipe = plan.manifest, plan.recipe
    each = recipe.window or float(np.mean(manifest.seconds))
    seen = ssl_features.outlook(
        spec, plan.corpus.channel, configs.cache_folder(), manifest.audio_sha256, manifest.seconds, price.n_items,
        spec.frames(round(each * SAMPLE_RATE)),
    )  # fmt: skip
    size = f"{seen.bytes / 1e6:,.0f} MB of cache"
    if not seen.missing:
        return f"nothing to compute; {size}"
    work = f"{seen.missing} utterances on {spec.device}, about {duration(seen.seconds)}"
    return f"{work}; {size}; may be stopped at any time"


def magnitude(plan: Plan, price: Cost) -> str:
    """How long an estimator's run takes, in words: nobody knows what somebody's `fit` does, so it is not timed."""
    spec, manifest = plan.recipe.features, plan.manifest
    seconds, first = price.seconds, ""
    if isinstance(spec, UtteranceSpec):
        missing = utterance_features.missing(spec, manifest.audio_sha256, configs.cache_folder())
        speech = sum(s for sha256, s in zip(manifest.audio_sha256, manifest.seconds, strict=True) if sha256 in missing)
        seconds += EXTRACTION * speech / cores()
        first = f"; {spec.kind} of {counted(len(missing), 'file')} are computed first" if missing else ""
    elif isinstance(spec, SslSpec):
        first = " beside the extraction"
    order = "seconds" if seconds < 60 else "minutes" if seconds < 3600 else "hours"
    return f"usually {order}{first} (such fits are not timed beforehand)"


def folds(plan: Plan) -> str:
    """The protocol with its number of folds, which most summaries begin with."""
    number, summary = counted(len(plan.split.folds), "fold"), plan.protocol.summary
    said = "" if summary.startswith(number) else f", {number}"
    return f"{plan.split.protocol}{said}. {summary[:1].upper()}{summary[1:]}"


def tuning(trials: int) -> str:
    """How hyperparameters are chosen."""
    if not trials:
        return "the recipe as published"
    finalists = n_finalists(trials)
    again = f", the best {finalists} of them with a second seed too" if finalists > 1 else ""
    return f"{counted(trials, 'Optuna trial')} per fold on its validation part{again}"


def describe(plan: Plan, price: Cost) -> list[tuple[str, str]]:
    """The plan as names and values, for the screen."""
    config, manifest, recipe, cls = plan.config, plan.manifest, plan.recipe, plan.model.cls
    speakers = len({u.speaker for u in manifest.utterances})
    size = (
        f"{counted(len(manifest), 'utterance')}, {counted(speakers, 'speaker')}, {sum(manifest.seconds) / 3600:.2f} h"
    )
    subset = "" if manifest.subset == "all" else f", {manifest.subset} only"
    features = "none"
    if recipe.features is not None:
        cut = f"windows of {recipe.window} s every {recipe.hop} s" if recipe.window else "whole utterances"
        features = f"{recipe.features.kind}, {recipe.features.rows} rows, {cut}: {price.n_items:,} items"
    if isinstance(recipe.features, UtteranceSpec):
        by = ", ".join(" ".join(made) for made in utterance_features.versions(recipe.features).items())
        features = f"{recipe.features.kind}, {recipe.features.rows} values per utterance ({by})"
    elif isinstance(recipe.features, SslSpec):
        features = f"{recipe.features.label}, {recipe.features.rows} x {layers_or_frames(recipe.features)}"
    expected = f"at most {duration(price.seconds)} on this machine (early stopping usually ends sooner)"
    made, fits = f"{plan.model.name}, {price.n_parameters:,} parameters", f"of at most {recipe.epochs} epochs each"
    if issubclass(cls, Estimator):
        made, fits, expected = plan.model.name, "of a model that is not trained in epochs", magnitude(plan, price)
    rows = [
        ("model", f"{made}. {cls.paper}"),
        ("corpus", f"{plan.corpus_name}, {manifest.label_set}{subset}: {size}; classes {', '.join(manifest.classes)}"),
        ("protocol", folds(plan)),
        ("features", features),
        ("tuning", tuning(config.trials)),
        ("fits", f"{price.n_fits} {fits}; seeds per fold: {config.seeds}"),
        ("computing", f"{plan.compute.device}, {plan.compute.precision}, {where(plan)}"),
        ("expected", expected),
        *([("memory", f"up to about {gigabytes(price.memory.size)} per fit")] if price.memory.size else []),
        ("result", f"{plan.folder}"),
    ]  # fmt: skip
    rows += [("note", f"class {said}") for said in sparse(manifest, plan.split)]
    if plan.excluded:
        rows.append(("left out", f"{len(plan.excluded)} named by --accept-missing: {few(plan.excluded, 4)}"))
    if licence := utterance_features.licence(recipe.features):
        rows.append(("licence", licence))
    if isinstance(recipe.features, SslSpec):
        rows.insert(4, ("extraction", extraction(plan, recipe.features, price)))
    if (seen := plan.exposure).status:
        rows.append(("exposure", f"{seen.cell}: {seen.details}"))
        if seen.unranked:
            rows.append(("note", f"the row is not ranked: {seen.unranked}"))
    if plan.corpus.synthetic:
        rows.append(("note", "this corpus is synthetic: its scores say nothing about people and are never ranked"))
    elif plan.corpus.unranked:
        rows.append(("note", f"rows on this corpus are never ranked: {plan.corpus.unranked}"))
    if config.shuffle_labels:
        rows.append(("note", "control: training and validation labels are shuffled; the score must be at chance"))
    if plan.leaky:
        rows.append(("note", "the folds leak (--allow-leak): the row is stamped leaky and never ranked"))
    return rows
