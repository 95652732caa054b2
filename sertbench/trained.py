"""What a run has trained, ready for use: the networks or estimators of its folds and seeds, with all that they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor

from sertbench import bundle, estimator_state, feature_spec, files, fits, needed_checkpoint, plan, plugins
from sertbench.config import RunConfig
from sertbench.errors import BundleError, ConfigError, SertbenchError, StorageError, counted, unknown
from sertbench.estimator_state import State
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.fitting import restored
from sertbench.model import Choice, Estimator, Model, NeuralModel, Recipe, departures
from sertbench.network import Network
from sertbench.plugins import LoadedModel
from sertbench.pretrained_spec import Pretrained

Roles = Mapping[str, str]  # fold -> train, val or test


@dataclass(frozen=True, eq=False)
class Member:
    """One fit: a network's weights with its normaliser, or an estimator's state."""

    fold: str
    seed: int
    val_uar: float
    recipe: Recipe
    arguments: Choice  #             of the constructor, where they depart from its defaults
    weights: Mapping[str, Tensor]  # empty for estimators
    state: State | None = None  #    of an estimator


@dataclass(frozen=True, eq=False)
class Trained:
    """One fit or several of one run, whose class probabilities are averaged."""

    name: str  #                     of the model
    spec: str  #                     where its plug-in is
    cls: Model
    source_sha256: str
    classes: tuple[str, ...]
    channel: str  #                  what to do with several channels (see `audio.load`)
    members: tuple[Member, ...]
    source: str  #                   the run, in words
    audio: Mapping[str, Roles] | None  # hash of each of the run's recordings -> its roles; None: not known
    changed: bool = False  #         the architecture's file is not the one that was trained

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds that the members are of."""
        return tuple(dict.fromkeys(m.fold for m in self.members))

    @property
    def is_network(self) -> bool:
        """Whether the members are networks, not estimators."""
        return not issubclass(self.cls, Estimator)

    def describe(self) -> str:
        """What answers, in words."""
        first = self.members[0]
        if len(self.members) == 1:
            return f"one fit of {self.source}: fold {first.fold}, seed {first.seed}"
        seeds = len({m.seed for m in self.members})
        return (
            f"ensemble of {len(self.members)} fits of {self.source}: {counted(len(self.folds), 'fold')}, "
            f"{counted(seeds, 'seed')}; mean of their class probabilities"
        )

    def seen(self, audio_sha256: str) -> str:
        """What a recording was to the members, in words; empty for one that is not of the corpus."""
        roles = (self.audio or {}).get(audio_sha256)
        if roles is None:
            return ""
        places = Counter(roles.get(m.fold, "no part") for m in self.members)
        if len(self.members) == 1:
            role = next(iter(places))
            return {"train": "was in training", "val": "was in validation", "test": "was in the test part"}.get(
                role, "is of the corpus, in no part"
            )
        words = [f"{what} of {places[role]}" for role, what in ROLE_WORDS.items() if places[role]]
        if not places["train"] + places["val"]:
            return f"was in the test part of all {len(self.members)} fits"
        return f"was in {', '.join(words)} of the {len(self.members)} fits"


ROLE_WORDS = {"train": "training", "val": "validation", "test": "the test part"}


def input_shape(recipe: Recipe) -> tuple[int, int]:
    """Feature rows and frames of an item, as a network's constructor takes them; (0, 0) without features."""
    if recipe.features is None:
        return 0, 0
    samples = None if recipe.window is None else round(recipe.window * SAMPLE_RATE)
    return recipe.features.rows, feature_spec.columns(recipe.features, samples)


def network_of(trained: Trained, member: Member, device: str) -> Network:
    """A member's network. StorageError if its weights are not those of the architecture."""
    cls, shape = cast("type[NeuralModel]", trained.cls), input_shape(member.recipe)
    try:
        return restored(cls, member.arguments, member.recipe, shape, len(trained.classes), member.weights, device)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the weights of fold {member.fold}, seed {member.seed} do not fit model {trained.name} as it is here "
            f"({reason}). Its code was changed since, or the file is another model's"
        ) from error


def from_run(folder: Path, fold: str | None = None, seed: int | None = None, checkpoint: str | None = None) -> Trained:
    """What a run has trained: all fits, or those of a fold, a seed, or both.

    `checkpoint` is where the pre-trained checkpoint of its features lies, if not where the run had it. Raises
    BundleError for a folder that is no run or whose fits are not at hand, ConfigError for a fold or seed that it does
    not have, for a model that does not listen, and for a checkpoint that is not at hand.
    """
    run = bundle.load_run(folder)
    if run.get("kind") == "replay":
        raise BundleError(
            f"{folder} is a replayed claim, which keeps no weights. Predict with a run of `sertbench run`"
        )
    try:
        return _from_run(folder, run, fold, seed, checkpoint)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / 'run.json'} is damaged: {error!r} is missing or of the wrong kind") from error


def _from_run(
    folder: Path, run: Mapping[str, Any], fold: str | None, seed: int | None, checkpoint: str | None
) -> Trained:
    known = {f.name for f in fields(RunConfig)}
    config = RunConfig(**{k: v for k, v in run["config"].items() if k in known})
    loaded = plugins.load_model(config.model)
    base = base_of(folder, run, config, loaded, checkpoint)
    val_uars = {(f["fold"], int(f["seed"])): float(f["val_uar"]) for f in run["fits"]}
    frozen = {f["fold"]: f for f in run["frozen"]}
    if fold is not None and fold not in frozen:
        raise ConfigError(f"--fold: {unknown('fold of this run', fold, frozen)}")
    seeds = sorted({int(s) for f in frozen.values() for s in f["fits"]})
    if seed is not None and seed not in seeds:
        raise ConfigError(f"--seed: {unknown('seed of this run', str(seed), map(str, seeds))}")
    place, crossed = fits_of(folder), "cross" in run
    anew = "the same `sertbench cross` again" if crossed else f"`sertbench run --config {folder / 'config.toml'}`"
    if not place.is_dir():
        raise BundleError(
            f"the fits of {folder} are not at hand: there is no folder {place}. A published bundle holds predictions, "
            f"not weights. To train them, {anew}, with --data where the corpus lies elsewhere; then name the folder "
            "that it says. If it says that everything is done already, delete the run.json of that folder and type it "
            "again"
        )
    members = []
    for name in [fold] if fold is not None else frozen:
        recipe, arguments = loaded.cls.recipe.with_choice({**base, **frozen[name]["choice"]})
        for number in [seed] if seed is not None else seeds:
            identity = frozen[name]["fits"].get(str(number))
            if identity is not None:
                weights, state = stored(place, identity, loaded.cls, folder, anew)
                uar = val_uars[name, number]
                members.append(Member(name, number, uar, recipe, departures(loaded.cls, arguments), weights, state))
    if not members:
        raise BundleError(f"{folder} has no fit of fold {fold}, seed {seed}: it failed. Choose another")
    channel = "mean"
    with suppress(SertbenchError):  # the adapter may have been a file that is not at hand any more
        channel = plugins.load_corpus(config.dataset).corpus.channel
    return Trained(
        loaded.name, loaded.spec, loaded.cls, loaded.source_sha256, tuple(run["corpus"]["classes"]),
        "mean" if channel == "mono" else channel, tuple(members), folder.name, audio_of(folder, run),
        loaded.source_sha256 != run["model"]["source_sha256"],
    )  # fmt: skip


def base_of(
    folder: Path, run: Mapping[str, Any], config: RunConfig, loaded: LoadedModel, checkpoint: str | None
) -> Choice:
    """What the run's command line changed in the recipe, with the checkpoint that it took, found again by its hash."""
    base = plan.base(config, loaded)
    recipe, _ = loaded.cls.recipe.with_choice(base)
    refuse_deaf(loaded.name, loaded.cls, recipe)
    features, place = recipe.features, ""
    if isinstance(features, Pretrained):
        place, recorded = features.checkpoint, run["model"]["recipe"]["features"]
        features = replace(features, **{f.name: recorded[f.name] for f in fields(features)})
    found = needed_checkpoint.located(features, folder.name, place, checkpoint)
    return plan.with_features(recipe, base, found)[1] if isinstance(found, Pretrained) else base


def refuse_deaf(name: str, cls: Model, recipe: Recipe) -> None:
    """ConfigError for a model that reads metadata, which a sound file does not have."""
    if recipe.features is None:
        raise ConfigError(
            f"model {name} does not listen: it reads what is written of an utterance ({cls.family}), "
            "so it has nothing to say about a file. Choose the run of another model"
        )


def fits_of(folder: Path) -> Path:
    """Where the fits of a run lie: beside its bundle, or beside the folder that its bundle lies in."""
    places = [parent / "fits" for parent in folder.absolute().parents[:2]]
    return next((place for place in places if place.is_dir()), places[0])


def stored(
    place: Path, identity: str, cls: Model, folder: Path, anew: str
) -> tuple[Mapping[str, Tensor], State | None]:
    """A fit's weights, or its estimator's state. BundleError if it is not there, damaged, or was not kept.

    `anew` says how the run is done again.
    """
    if not bundle.is_file_name(identity):
        raise BundleError(f"{folder / 'run.json'} names the fit {identity!r}, which is no name of a folder")
    again = f"Delete {folder / 'run.json'} and {place / identity}, then {anew}"
    record, damage = fits.find(place, identity)
    if record is None:
        raise BundleError(f"{damage or f'{place / identity} is not there: it was deleted, or moved apart'}. {again}")
    if issubclass(cls, Estimator):
        path = place / identity / estimator_state.FILE
        if not path.exists():
            raise BundleError(
                f"{path} is missing: the fit is of an older sertbench, or of a model that cannot be stored as arrays "
                f"({cls.__name__}). {again}"
            )
        return {}, estimator_state.load(path)
    weights: dict[str, Tensor] = torch.load(place / identity / "weights.pt", weights_only=True, map_location="cpu")
    return weights, None


def audio_of(folder: Path, run: Mapping[str, Any]) -> Mapping[str, Roles] | None:
    """The roles of each recording of a run, by the hash of its audio; None for a run that did not keep the hashes."""
    path = folder / "audio.parquet"
    if "audio.parquet" not in run["files"]:
        return None
    for name in ("audio.parquet", "split.parquet"):
        if not (folder / name).exists() or files.sha256(folder / name) != run["files"][name]:
            raise BundleError(f"{folder / name} is missing or was altered: its hash is not the one in run.json")
    audio = pd.read_parquet(path)
    hashes = dict(zip(audio["utterance"], audio["audio_sha256"], strict=True))
    found: dict[str, dict[str, str]] = {sha256: {} for sha256 in hashes.values()}
    for fold, utterance, role in pd.read_parquet(folder / "split.parquet").itertuples(index=False, name=None):
        found[hashes[utterance]].setdefault(fold, role)
    return found


def best_on_validation(trained: Trained) -> Member:
    """The member with the highest UAR on its validation part, the first of equals."""
    members: Sequence[Member] = trained.members
    return max(members, key=lambda m: m.val_uar)
