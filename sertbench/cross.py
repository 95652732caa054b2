"""Cross-corpus evaluation: train on some corpora, test on others that had no part in any choice.

A run is a plan over the union of corpora with one fold (see `cross_corpus.CrossCorpus`), and goes the way of every run:
gate, features, tuning on the validation part, frozen fits, one reading of the sealed test corpora, bundle, rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sertbench import benchmark, cross_board, executors, exposure, plugins
from sertbench import config as configs
from sertbench import corpus as corpora
from sertbench import plan as plans
from sertbench.benchmark import Job
from sertbench.board_rows import Row
from sertbench.bundles import CROSSED
from sertbench.config import RunConfig
from sertbench.corpus import LabelSet
from sertbench.cross_corpus import (
    CrossCorpus,
    Part,
    Union,
    describe_mapping,
    joined,
    read_merges,
    restricted,
    shared_classes,
    union,
)
from sertbench.errors import ConfigError, few, unknown
from sertbench.identity import model_code_sha256
from sertbench.plan import Plan
from sertbench.progress import Display


@dataclass(frozen=True)
class CrossConfig:
    """What was asked for. `pairs`: training corpora and test corpora of each run; equal ones: within the corpus."""

    pairs: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    run: RunConfig  #                model, budget, device, folders; its dataset is not used
    data: Mapping[str, str] = field(default_factory=dict)  #   corpus -> folder
    labels: Mapping[str, str] = field(default_factory=dict)  # corpus -> label set
    merge: tuple[str, ...] = ()

    @property
    def specs(self) -> tuple[str, ...]:
        """All corpora, once each."""
        return tuple(dict.fromkeys(spec for train, test in self.pairs for spec in (*train, *test)))


@dataclass(frozen=True)
class Outcome:
    """The end of it: a row per run and test corpus, in the order of the runs."""

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    board: Path


def pairs(
    train: Sequence[str], test: Sequence[str], matrix: Sequence[str], left_out: Sequence[str]
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Which runs are asked for. ConfigError unless it is exactly one of: train and test, matrix, leave-one-out."""
    if sum((bool(train or test), bool(matrix), bool(left_out))) != 1 or bool(train) != bool(test):
        raise ConfigError(
            "say which corpora: --train A,B --test C, or --matrix A,B,C (each on each), or --leave-one-out A,B,C "
            "(all but one train, and that one is tested)"
        )
    for names in (train, test, matrix, left_out):
        if twice := {n for n in names if list(names).count(n) > 1}:
            raise ConfigError(f"{few(sorted(twice))} is named more than once")
    if both := sorted(set(train) & set(test)):
        raise ConfigError(f"{few(both)} cannot train and be tested. `sertbench run` evaluates within a corpus")
    if train:
        return ((tuple(train), tuple(test)),)
    names = tuple(matrix or left_out)
    if len(names) < 2:
        raise ConfigError(f"{', '.join(names)}: name two corpora or more")
    others = {n: tuple(o for o in names if o != n) for n in names}
    if left_out:
        return tuple((others[n], (n,)) for n in names)
    return tuple(pair for n in names for pair in (((n,), (n,)), ((n,), others[n])))


def run(asked: CrossConfig, display: Display, *, dry: bool = False) -> Outcome | None:
    """Do all runs; a dry one shows the plans and gives None."""
    parts = read(asked, display)
    merged = read_merges(asked.merge, (p.label_set for p in parts.values()))
    classes = shared_classes(tuple(parts.values()), merged)
    mapping = describe_mapping(tuple(parts.values()), classes, merged)
    display.pairs("classes", [(name, cross_board.mapping_of(said)) for name, said in mapping.items()])
    jobs = []
    for train, test in asked.pairs:
        plan = planned(asked, [parts[s] for s in train], [parts[s] for s in test], classes, merged, display)
        own = display.child(f"{joined([parts[s].name for s in train])} to {joined([parts[s].name for s in test])}")
        jobs.append((benchmark.prepared(plan.config, plan, own, dry=dry), own))
    if dry:
        return None
    rows: list[Row] = []
    board = Path(asked.run.leaderboards)
    for job, own in jobs:
        new = finished(job, own)
        rows += new
        board = cross_board.add(Path(asked.run.leaderboards), new)
    return Outcome(classes, tuple(rows), board)


def read(asked: CrossConfig, display: Display) -> dict[str, Part]:
    """The corpora by how they were named. ConfigError for an option about a corpus that is not among them."""
    plans.refuse_unready(asked.run, plugins.load_model(asked.run.model))
    found: dict[str, Part] = {}
    cache = configs.cache_folder()
    for option, said in (("--data", asked.data), ("--labels", asked.labels)):
        for name in said:
            if name not in asked.specs:
                raise ConfigError(f"{option} {name}=…: {unknown('corpus of this command', name, asked.specs)}")
    for spec, loaded in {spec: plugins.load_corpus(spec) for spec in asked.specs}.items():
        data = Path(asked.data[spec]) if spec in asked.data else None
        root = corpora.locate(loaded.name, loaded.corpus, data, cache, f"--data {spec}=PATH")
        corpus = loaded.corpus.at(root)
        name = corpus.title or loaded.name
        label_set = corpus.label_set(asked.labels.get(spec))
        with display.stage(f"reading {name}") as advance:
            manifest = corpora.build_manifest(name, corpus, root, label_set, "all", cache, advance)
        if name in {p.name for p in found.values()}:
            raise ConfigError(f"two of the corpora are called {name}: name each once")
        found[spec] = Part(name, loaded.spec, corpus, label_set, manifest)
    return found


def planned(
    asked: CrossConfig,
    train: Sequence[Part],
    test: Sequence[Part],
    classes: tuple[str, ...],
    merged: Mapping[str, str],
    display: Display,
) -> Plan:
    """The plan of one run; of the same corpus on both sides its default protocol over the shared classes."""
    within = list(train) == list(test)
    parts = list(train) if within else [*train, *test]
    names = [p.name for p in train], [p.name for p in test]
    label_set = LabelSet("shared", {c: c for c in classes})
    sections: dict[str, Any] = {
        "kind": "cross",
        "cross": {
            "kind": "within" if within else "cross", "train": names[0], "test": names[1],
            "mapping": describe_mapping(parts, classes, merged),
        },
    }  # fmt: skip
    if within:
        corpus, protocol = train[0].corpus, train[0].corpus.protocols[0]
        manifest = restricted(train[0], classes, merged)
    else:
        title = joined(sorted(names[0] + names[1]))  # the same union in either direction
        corpus, protocol = Union(parts, title), CrossCorpus(tuple(names[0]), tuple(names[1]))
        manifest = union(parts, classes, merged, title)
    model = plugins.load_model(asked.run.model)
    model_code_sha256(model.cls)  # kept from now on: its file may be edited before a first fit asks for it
    config = configs.resolved(
        asked.run, model=model.spec, dataset=manifest.corpus, labels=manifest.label_set, protocol=protocol.name
    )
    bundles = Path(asked.run.runs) / CROSSED
    plan = plans.assemble(config, model, corpus, label_set, manifest, protocol, bundles, display, sections=sections)
    heard = {name: exposure.judge(plan.recipe.features, name) for name in names[1]}  # of a union nobody says anything
    cross = {**sections["cross"], "exposure": {name: [seen.status, seen.unranked] for name, seen in heard.items()}}
    return replace(plan, sections={**sections, "cross": cross}, exposure=exposure.worst(heard.values()))


def finished(job: Job, display: Display) -> list[Row]:
    """Do one run, unless it is done, and give its rows."""
    with benchmark.held(job.plan):
        if job.finished:
            with executors.make(1) as idle:
                run = benchmark.done(job, idle, display)
        else:
            workers, device = job.plan.workers, job.plan.compute.device
            with executors.open_runner(job.config, workers, device) as runner:
                run = benchmark.done(job, runner, display)
    return cross_board.rows_of(run, job.plan.folder)
