"""The plan of a run: everything resolved, and checked, before any training."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from sertbench import (
    bundle,
    course_shelf,
    duplicates,
    exclusions,
    exposure,
    feature_spec,
    files,
    gate,
    plugins,
    pretrained,
    search_space,
    tuning,
    utterance_features,
)
from sertbench import config as configs
from sertbench import corpus as corpora
from sertbench.board_files import CROSS
from sertbench.compute import Compute
from sertbench.config import RunConfig
from sertbench.corpus import Corpus, LabelSet, Manifest
from sertbench.errors import ConfigError, PluginError, ProtocolError, few, unknown
from sertbench.exposure import NO_CHECKPOINT, Exposure
from sertbench.identity import model_code_sha256
from sertbench.machine import cores
from sertbench.model import Choice, Recipe
from sertbench.plugins import LoadedModel
from sertbench.pretrained_spec import Pretrained, WaveformSpec
from sertbench.progress import Display
from sertbench.protocols import Protocol, Split
from sertbench.resources import workers_that_fit
from sertbench.stopwatch import lap
from sertbench.testing_recipes import valid_recipe


@dataclass(frozen=True)
class Plan:
    """A run, ready to start."""

    config: RunConfig  #              with label set, protocol and plug-in paths filled in
    model: LoadedModel
    corpus: Corpus
    corpus_name: str
    label_set: LabelSet
    manifest: Manifest
    protocol: Protocol
    split: Split
    overlaps: tuple[gate.Overlap, ...]
    leaky: bool
    recipe: Recipe  #                 as published, but for --epochs
    base_choice: Mapping[str, Any]  # what the command line changes in the recipe
    compute: Compute
    workers: int
    row_id: str
    folder: Path  #                   of the bundle
    excluded: tuple[str, ...] = ()  # what --accept-missing names
    sections: Mapping[str, Any] = field(default_factory=dict)  # of run.json, beside the usual ones
    exposure: Exposure = NO_CHECKPOINT  # of the features' checkpoint to the corpus
    speaker_norm: bool = False  #     features per speaker, test speakers too (see optimism); never in a run

    @property
    def stack(self) -> int | None:
        """How many fits take turns in a worker (see `turns`); None: as many as its GPU has room for."""
        asked = 1 if self.config.stack is None else self.config.stack
        own_gpu = self.compute.device == "cuda" and self.workers <= torch.cuda.device_count()
        return asked or (None if own_gpu else 1)


def make(config: RunConfig, display: Display) -> Plan:
    """Resolve names, read the corpus, check its counts, fold it and run the leakage gate.

    Raises a SertbenchError for whatever is wrong with any of them.
    """
    model = plugins.load_model(config.model)
    model_code_sha256(model.cls)  # kept from now on: its file may be edited before a first fit asks for it
    refuse_unready(config, model)
    loaded = plugins.load_corpus(config.dataset)
    cache = configs.cache_folder()
    root = corpora.locate(loaded.name, loaded.corpus, Path(config.data) if config.data else None, cache)
    excluded = exclusions.read(Path(config.accept_missing)) if config.accept_missing else ()
    with exclusions.reading(loaded.corpus.home(root), excluded):
        corpus = loaded.corpus.at(root)
    name = corpus.title or loaded.name
    if f"{name}.csv" == CROSS:
        raise ConfigError(
            f"a corpus cannot be called {name}: {CROSS} is the board of cross-corpus runs. Rename its file"
        )
    label_set = corpus.label_set(config.labels)
    protocol = find_protocol(corpus, name, config.protocol)
    with display.stage(f"reading {name}") as advance:
        manifest = corpora.build_manifest(name, corpus, root, label_set, config.subset, cache, advance, excluded)
    lap("corpus")
    compute = Compute.resolve(config.device, config.precision)  # elsewhere `auto` may be another, and so the row
    full = configs.resolved(
        config, model=model.spec, dataset=loaded.spec, labels=label_set.name, protocol=protocol.name,
        device=compute.device, precision=compute.precision, accept_missing=bundle.EXCLUSIONS if excluded else None,
    )  # fmt: skip
    return assemble(full, model, corpus, label_set, manifest, protocol, Path(config.runs), display, excluded)


def refuse_unready(config: RunConfig, model: LoadedModel) -> None:
    """Whatever can be wrong with a model's recipe and options is said before a corpus is read."""
    valid_recipe(model.cls)
    if config.trials:
        search_space.published(model.cls)
    recipe, _ = model.cls.recipe.with_choice(base(config, model))
    utterance_features.versions(recipe.features)
    with_checkpoint(recipe, {}, Compute.resolve(config.device, config.precision).device)


def assemble(
    config: RunConfig,
    model: LoadedModel,
    corpus: Corpus,
    label_set: LabelSet,
    manifest: Manifest,
    protocol: Protocol,
    bundles: Path,
    display: Display,
    excluded: tuple[str, ...] = (),
    sections: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a run over a manifest: fold it and run the leakage gate. Its bundle will lie in `bundles`."""
    base_choice, name, cache = base(config, model), manifest.corpus, configs.cache_folder()
    recipe, _ = model.cls.recipe.with_choice(base_choice)
    versions = utterance_features.versions(recipe.features)
    compute = Compute.resolve(config.device, config.precision)
    recipe, base_choice = with_checkpoint(recipe, base_choice, compute.device)
    split = protocol.split(manifest.utterances)
    refuse_gaps(protocol, split)
    near = near_copies(manifest, corpus.channel, cache, display)
    overlaps = gate.overlaps(manifest, split, protocol.promises, near)
    leaky = gate.enforce(overlaps, config.allow_leak)
    lap("gate")
    identity = {
        "model": [model.name, model.source_sha256],
        "recipe": asdict(recipe),
        **({"extractor": versions} if versions else {}),
        "budget": [config.trials, config.seeds],
        "tuning": [tuning.TUNING_VERSION, optuna.__version__] if config.trials else [],
        "compute": asdict(compute),
        "torch": torch.__version__,
        "manifest": manifest.sha256,
        "split": split.sha256,
        "leaky": leaky,
        "shuffled": config.shuffle_labels,
    }
    if excluded:
        identity["excluded"] = exclusions.sha256(excluded)
    row_id = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:10]
    at_once = torch.cuda.device_count() if compute.device == "cuda" else workers_that_fit(cores())
    workers = config.workers or at_once
    folder = bundles / f"{name}-{model.name}-{protocol.name}-{row_id}"
    return Plan(
        config, model, corpus, name, label_set, manifest, protocol, split, overlaps, leaky,
        recipe, base_choice, compute, workers, row_id, folder, excluded, sections or {},
        exposure.judge(recipe.features, name),
    )  # fmt: skip


def base(config: RunConfig, model: LoadedModel) -> Choice:
    """What the command line changes in the recipe. ConfigError for features that the model does not take."""
    choice: Choice = {} if config.epochs is None else {"epochs": config.epochs}
    if config.features is None:
        return choice
    features, own = feature_spec.parse(config.features), model.cls.recipe.features
    if features != own and features.kind not in model.cls.feature_kinds:
        accepted = ", ".join(sorted({*model.cls.feature_kinds, *([own.kind] if own else [])})) or "no audio features"
        raise ConfigError(
            f"--features {config.features}: model {model.name} takes {accepted}. Leave --features out, or choose a "
            "model that takes them, e.g. --model svm"
        )
    return {**choice, "features": features}


def with_checkpoint(recipe: Recipe, choice: Choice, device: str) -> tuple[Recipe, Choice]:
    """Recipe and choice with the features' checkpoint found, if they need one; a network begins with its hash."""
    if not isinstance(recipe.features, Pretrained):
        return recipe, choice
    return with_features(recipe, choice, pretrained.resolve(recipe.features, device))


def with_features(recipe: Recipe, choice: Choice, found: Pretrained) -> tuple[Recipe, Choice]:
    """Recipe and choice with the features of a checkpoint that was found."""
    begins = {"checkpoint": found.sha256} if isinstance(found, WaveformSpec) else {}
    return replace(recipe, features=found), {**choice, "features": found, **begins}


def refuse_gaps(protocol: Protocol, split: Split) -> None:
    """ProtocolError when a protocol that covers the whole corpus leaves an utterance untested, or tests one twice."""
    if protocol.covers == "all" and split.tested != tuple(range(len(split.ids))):
        counts = Counter(split.tested)
        wrong = [name for i, name in enumerate(split.ids) if counts[i] != 1]
        raise ProtocolError(f"protocol {split.protocol} does not test each utterance once: {few(wrong)}")


def near_copies(manifest: Manifest, channel: str, cache: Path, display: Display) -> list[tuple[int, int]]:
    """Pairs of utterances whose audio is nearly the same; worked out once per manifest and kept in the cache."""
    path = cache / "near-copies" / f"{manifest.sha256}-{duplicates.VERSION}.json"
    with suppress(*files.UNREADABLE):
        return [(int(i), int(j)) for i, j in json.loads(path.read_text())]
    paths, hashes = [u.path for u in manifest.utterances], manifest.audio_sha256
    with display.stage("looking for copied audio", len(paths)) as advance:
        known = course_shelf.courses_of(paths, hashes, channel, cache, advance)
        pairs = duplicates.near_copies(paths, hashes, known, manifest.seconds, channel)
    files.write_text(path, json.dumps(pairs), files.CACHE)
    return pairs


def find_protocol(corpus: Corpus, corpus_name: str, name: str | None) -> Protocol:
    """The protocol called `name`, or the corpus's default one."""
    by_name = {p.name: p for p in corpus.protocols or ()}
    if name is None:
        if not corpus.protocols:
            raise PluginError(
                f"{corpus_name} has no protocol: give its adapter at least one, e.g. GroupFolds by speaker"
            )
        return corpus.protocols[0]
    if name not in by_name:
        raise ConfigError(f"{corpus_name}: {unknown('protocol', name, by_name)}")
    return by_name[name]
