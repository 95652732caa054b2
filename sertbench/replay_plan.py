"""The plan of a replay: a claim and what was asked of it, resolved into settings, all checked before any training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import torch

from sertbench import board_rows, claim_splits, plugins, utterance_features
from sertbench import config as configs
from sertbench import corpus as corpora
from sertbench import replay_choice as choice
from sertbench.bundles import REPLAYS
from sertbench.claim import Claim, ClaimedCorpus, ClaimedModel, Published, SplitRule, Variant
from sertbench.compute import Compute
from sertbench.config import RunConfig
from sertbench.corpus import Corpus, LabelSet, Manifest
from sertbench.errors import ClaimError
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.machine import cores
from sertbench.plan import Plan, with_checkpoint
from sertbench.plugins import LoadedModel
from sertbench.progress import Display
from sertbench.protocols import Fold, Split
from sertbench.replay_choice import ReplayConfig


@dataclass(frozen=True)
class Setting:
    """One line of the result: a model with a variant, on a subset, under a split, with all seeds."""

    claim: Claim
    rule: SplitRule
    model: ClaimedModel
    variant: str
    subset: str
    counted: bool  #                  the claim says how many utterances there are, and it was asserted
    least: float  #                   seconds: shorter utterances are dropped
    before: Manifest  #               the utterances of the label set and subset
    dropped: tuple[str, ...]  #       ids of those that are in no part
    published: Published | None
    plan: Plan  #                     whose split holds the folds of all seeds, called <seed>/<fold>
    splits: Mapping[int, Split]  #    seed -> its folds

    @property
    def label(self) -> str:
        """The model with its variant, for the screen."""
        return f"{self.plan.model.name} {self.variant}".strip()

    @property
    def n_before(self) -> int:
        """How many utterances there are before any is dropped."""
        return len(self.before)

    @property
    def honest_cells(self) -> dict[str, str]:
        """The cells of an honest row to compare with: the same model, features and utterances, none dropped."""
        return {
            "model": self.plan.model.name,
            "features": board_rows.label_of(self.plan.recipe.features),
            "corpus": self.plan.corpus_name,
            "label_set": self.plan.label_set.name,
            "subset": self.subset,
            "corpus_manifest_sha256": self.before.sha256,
        }


@dataclass(frozen=True)
class ReplayPlan:
    """All settings of a replay, and the claim's models that are not in the registry."""

    claim: Claim
    corpus: ClaimedCorpus
    corpus_name: str
    label_set: str
    default_protocol: str
    settings: tuple[Setting, ...]
    absent: tuple[tuple[ClaimedModel, SplitRule, str, Published | None], ...]  # model, split, subset, its figures
    counts: tuple[str, ...]  #        utterances of each subset and those kept, in words
    workers: int


@dataclass(frozen=True)
class Ground:
    """What all settings of a replay stand on."""

    claim: Claim
    chosen: ClaimedCorpus
    own: bool
    corpus: Corpus
    corpus_name: str
    label_set: LabelSet
    manifests: Mapping[str, Manifest]  # by subset
    config: RunConfig  #                 but for the model and the subset
    seeds: tuple[int, ...]
    compute: Compute
    workers: int


def make(claim: Claim, asked: ReplayConfig, display: Display) -> ReplayPlan:
    """Resolve names, read the corpus, check counts and make the splits. Raises a SertbenchError for what is wrong."""
    chosen = choice.corpus_of(claim, asked)
    rules = choice.rules_of(claim, asked, chosen.dataset)
    present, missing = choice.models_of(claim, asked)
    variants = choice.variants_of(claim, asked)
    ground = ground_of(claim, chosen, asked, display)
    settings, absent = [], []
    for rule, subset in product(rules, ground.manifests):
        for entry, model in present:
            mine = [v for v in variants if choice.about(v, entry.name, subset, rule.name)]
            for variant in (None, *mine):
                settings.append(setting(ground, rule, subset, entry, model, variant))
        for entry in missing:
            absent.append((entry, rule, subset, figures_of(ground, rule, subset, entry, "")))
    default = f"{ground.corpus.protocols[0].name}/{ground.corpus.protocols[0].version}"
    return ReplayPlan(
        claim=claim,
        corpus=chosen,
        corpus_name=ground.corpus_name,
        label_set=ground.label_set.name,
        default_protocol=default,
        settings=tuple(settings),
        absent=tuple(absent),
        counts=counts(ground, settings),
        workers=ground.workers,
    )


def ground_of(claim: Claim, chosen: ClaimedCorpus, asked: ReplayConfig, display: Display) -> Ground:
    """Read the corpus, one manifest per subset."""
    own = chosen in claim.corpora
    loaded = plugins.load_corpus(chosen.dataset)
    cache = configs.cache_folder()
    root = corpora.locate(loaded.name, loaded.corpus, Path(asked.data) if asked.data else None, cache)
    corpus = loaded.corpus.at(root)
    name, label_set = corpus.title or loaded.name, corpus.label_set(chosen.labels)
    known = tuple(chosen.subsets) if own else ("all", *corpus.subsets)
    seeds = choice.seeds_of(claim, chosen, asked.seeds)
    compute = Compute.resolve(asked.device, asked.precision)
    config = RunConfig(
        model="-", dataset=loaded.spec, data=asked.data, labels=label_set.name, trials=0, seeds=len(seeds),
        epochs=asked.epochs, device=asked.device, precision=asked.precision, workers=asked.workers, runs=asked.runs,
        leaderboards=asked.leaderboards,
    )  # fmt: skip
    workers = asked.workers or (1 if compute.device == "cuda" else cores())
    manifests = {}
    for subset in choice.pick("subset", asked.subsets, known, chosen.subsets):
        with display.stage(f"reading {name}, {subset}") as advance:
            manifests[subset] = corpora.build_manifest(name, corpus, root, label_set, subset, cache, advance)
        if own and chosen.subsets[subset]:
            check_counts(claim, chosen, subset, manifests[subset])
    return Ground(claim, chosen, own, corpus, name, label_set, manifests, config, seeds, compute, workers)


def figures_of(ground: Ground, rule: SplitRule, subset: str, entry: ClaimedModel, variant: str) -> Published | None:
    """What was published for a setting; nothing on another corpus than the claim's."""
    where = entry.name, rule.name, ground.chosen.dataset, subset, variant
    return ground.claim.figures(*where) if ground.own else None


def setting(
    ground: Ground, rule: SplitRule, subset: str, entry: ClaimedModel, model: LoadedModel, variant: Variant | None
) -> Setting:
    """Drop what the claim drops, check the counts, split once per seed, and change the recipe as the claim says."""
    claim, manifest, config = ground.claim, ground.manifests[subset], ground.config
    least = claim.drop_shorter_than if entry.drop_shorter_than is None else entry.drop_shorter_than
    kept, dropped = without_short(manifest, least)
    counted = ground.own and entry.drop_shorter_than is None and bool(ground.chosen.subsets[subset])
    splits = {
        seed: claim_splits.split(rule, seed, kept.utterances, ground.corpus, claim.path.parent) for seed in ground.seeds
    }
    joined = claim_splits.joined(f"{claim.name}, {rule.name}", splits)
    changes = choice.recipe_choice(claim, entry, variant, model, config.epochs)
    recipe, _ = model.cls.recipe.with_choice(dict(changes))
    recipe, changes = with_checkpoint(recipe, dict(changes), ground.compute.device)
    called = variant.name if variant else choice.AS_PUBLISHED
    identity = {
        "claim": [claim.name, claim.sha256, rule.name, called],
        "model": [model.name, model.source_sha256],
        "recipe": asdict(recipe),
        "seeds": ground.seeds,
        "compute": asdict(ground.compute),
        "torch": torch.__version__,
        **({"extractor": versions} if (versions := utterance_features.versions(recipe.features)) else {}),
        "manifest": kept.sha256,
        "split": joined.sha256,
    }
    row_id = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:10]
    words = [claim.name, rule.name, model.name, called, ground.corpus_name, subset, row_id]
    plan = Plan(
        config=replace(config, model=model.spec, subset=subset, protocol=rule.name),
        model=model,
        corpus=ground.corpus,
        corpus_name=ground.corpus_name,
        label_set=ground.label_set,
        manifest=kept,
        protocol=ground.corpus.protocols[0],
        split=joined,
        overlaps=(),
        leaky=False,
        recipe=recipe,
        base_choice=changes,
        compute=ground.compute,
        workers=ground.workers,
        row_id=row_id,
        folder=Path(config.runs) / REPLAYS / "-".join(w for w in words if w),
    )
    published = figures_of(ground, rule, subset, entry, called)
    return Setting(claim, rule, entry, called, subset, counted, least, manifest, dropped, published, plan, splits)


def folds_of(setting: Setting) -> list[tuple[int, Fold]]:
    """The fits of a setting: seed and fold."""
    return [(seed, fold) for seed, split in setting.splits.items() for fold in split.folds]


def without_short(manifest: Manifest, seconds: float) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest without utterances of fewer samples than `seconds`, and the ids of these."""
    least = round(seconds * SAMPLE_RATE)
    keep = [i for i, s in enumerate(manifest.seconds) if round(s * SAMPLE_RATE) >= least]
    if not keep:
        raise ClaimError(f"all {len(manifest)} utterances of {manifest.corpus} are shorter than {seconds} s")
    if len(keep) == len(manifest):
        return manifest, ()
    kept = replace(
        manifest,
        utterances=tuple(manifest.utterances[i] for i in keep),
        targets=tuple(manifest.targets[i] for i in keep),
        audio_sha256=tuple(manifest.audio_sha256[i] for i in keep),
        seconds=tuple(manifest.seconds[i] for i in keep),
    )
    return kept, tuple(u.id for u in manifest.utterances if u.id not in kept.index)


def check_counts(claim: Claim, corpus: ClaimedCorpus, subset: str, manifest: Manifest) -> None:
    """Refuse a corpus that gives other counts than the claim, before or after dropping."""
    counts, least = corpus.subsets[subset], claim.drop_shorter_than
    found = len(manifest), len(without_short(manifest, least)[0])
    if found != counts:
        raise ClaimError(
            f"the claim {claim.name} says of {corpus.dataset}, {corpus.labels or 'default labels'}, {subset}: "
            f"{counts[0]} utterances, {counts[1]} of at least {least} s. This copy has {found[0]} and {found[1]}: it "
            "is not the corpus of the claim. Unpack it again from the original archive"
        )


def counts(ground: Ground, settings: Sequence[Setting]) -> tuple[str, ...]:
    """How many utterances there are and are kept, by subset and drop rule, and whether the claim's counts hold."""
    least = ground.claim.drop_shorter_than
    sizes = {
        (subset, least): (len(whole), len(without_short(whole, least)[0])) for subset, whole in ground.manifests.items()
    }
    sizes |= {(s.subset, s.least): (s.n_before, len(s.plan.manifest)) for s in settings}
    said = []
    for (subset, seconds), (before, kept) in sizes.items():
        counted = ground.own and seconds == least and ground.chosen.subsets[subset]
        rule = f"at least {seconds:g} s" if seconds else "kept"
        state = "as the claim says" if counted else "no count is claimed"
        said.append(f"{subset}: {before} utterances, {kept} of them {rule} ({state})")
    return tuple(said)
