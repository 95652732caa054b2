"""What of a claim is replayed: the options of `sertbench replay`, resolved against the claim and the registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from sertbench import plugins
from sertbench.claim import Claim, ClaimedCorpus, ClaimedModel, SplitRule, Variant
from sertbench.errors import ClaimError, ConfigError, few, unknown
from sertbench.identity import model_code_sha256
from sertbench.model import Recipe
from sertbench.plugins import LoadedModel

AS_PUBLISHED = ""  # the variant that changes nothing
SEEDS = 5


@dataclass(frozen=True)
class ReplayConfig:
    """What was asked for. None or empty: the claim's, or sertbench's choice."""

    models: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    seeds: int | None = None
    epochs: int | None = None
    data: str | None = None
    dataset: str | None = None
    labels: str | None = None
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    runs: str = "runs"
    leaderboards: str = "leaderboards"


def corpus_of(claim: Claim, asked: ReplayConfig) -> ClaimedCorpus:
    """The claim's corpus that was asked for; another one without counts. Raises ClaimError if it must be said."""
    if asked.dataset is None:
        if len(claim.corpora) > 1:
            known = ", ".join(c.dataset for c in claim.corpora)
            raise ClaimError(f"the claim {claim.name} is about several corpora: choose one with --dataset: {known}")
        entry = claim.corpora[0]
    else:
        entry = next(
            (c for c in claim.corpora if c.dataset == asked.dataset), ClaimedCorpus(asked.dataset, asked.labels)
        )
    if asked.labels is not None and asked.labels != entry.labels:
        return ClaimedCorpus(entry.dataset, asked.labels)
    return entry


def pick(kind: str, asked: Sequence[str], known: Sequence[str], default: Iterable[str]) -> tuple[str, ...]:
    """What was asked for, each known; else the default."""
    for name in asked:
        if name not in known:
            raise ConfigError(unknown(kind, name, known))
    return tuple(dict.fromkeys(asked)) or tuple(default)


def rules_of(claim: Claim, asked: ReplayConfig, dataset: str) -> list[SplitRule]:
    """The split rules that were asked for and hold for the corpus."""
    wanted = pick("split", asked.splits, [s.name for s in claim.splits], [s.name for s in claim.splits])
    rules = [s for s in claim.splits if s.name in wanted and (not s.datasets or dataset in s.datasets)]
    if not rules:
        known = sorted({d for s in claim.splits for d in s.datasets})
        raise ClaimError(
            f"the claim {claim.name} has no split {few(wanted)} for {dataset}, only for {', '.join(known)}"
        )
    return rules


def seeds_of(claim: Claim, corpus: ClaimedCorpus, asked: int | None) -> tuple[int, ...]:
    """The first seeds of the claim's list: as many as asked for, five if there are so many."""
    numbers = corpus.seeds or claim.seeds.numbers
    if asked is not None and not 1 <= asked <= len(numbers):
        raise ConfigError(f"--seeds {asked} is not accepted: the claim {claim.name} has 1 to {len(numbers)} seeds")
    return numbers[: asked or SEEDS]


def models_of(claim: Claim, asked: ReplayConfig) -> tuple[list[tuple[ClaimedModel, LoadedModel]], list[ClaimedModel]]:
    """The models that can be replayed, and those of the claim that the registry lacks."""
    listed, known = [m.name for m in claim.models], set(plugins.names("models"))
    present, missing = [], []
    for name in dict.fromkeys(asked.models or listed):
        if name in listed and name not in known and ".py" not in name:
            missing.append(claim.model(name))
        else:
            present.append((claim.model(name), loaded := plugins.load_model(name)))
            model_code_sha256(loaded.cls)  # kept from now on: its file may be edited before a first fit asks for it
    return present, missing


def variants_of(claim: Claim, asked: ReplayConfig) -> list[Variant]:
    """The variants that were asked for."""
    names = [v.name for v in claim.variants]
    wanted = names if asked.variants == ("all",) else pick("variant", asked.variants, names, ())
    return [v for v in claim.variants if v.name in wanted]


def about(variant: Variant, model: str, subset: str, split: str) -> bool:
    """Whether a variant is about this model, subset and split."""
    fits = not variant.subsets or subset in variant.subsets, not variant.splits or split in variant.splits
    return model in variant.models and all(fits)


def recipe_choice(
    claim: Claim, entry: ClaimedModel, variant: Variant | None, model: LoadedModel, epochs: int | None
) -> dict[str, Any]:
    """What the claim changes in the model's recipe, and no early stopping. ClaimError for what no recipe has."""
    changes = {**entry.recipe, **(variant.recipe if variant else {})}
    hints = get_type_hints(Recipe)
    known = {f.name for f in fields(Recipe)} - {"features", "patience"}
    for key, value in changes.items():
        if key not in known:
            raise ClaimError(f"{claim.path}: model {entry.name!r}: {unknown('recipe setting', key, known)}")
        kinds = getattr(hints[key], "__args__", (hints[key],))
        numbers = {int, float} & set(kinds)
        if value not in kinds and type(value) not in kinds and not (type(value) is int and numbers):
            raise ClaimError(f"{claim.path}: model {entry.name!r}: recipe.{key} = {value!r} is not accepted")
    if min(changes.get(name, 1) for name in ("epochs", "batch_size")) < 1:
        raise ClaimError(f"{claim.path}: model {entry.name!r}: recipe.epochs and batch_size must be 1 or more")
    changes = {k: float(v) if type(v) is int and hints[k] is float else v for k, v in changes.items()}
    if epochs is not None:
        changes["epochs"] = epochs
    recipe, _ = model.cls.recipe.with_choice(dict(changes))
    return {**changes, "patience": recipe.epochs}
