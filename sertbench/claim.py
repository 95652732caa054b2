"""Published claims: a paper's own protocol as data, so that `sertbench replay` can do it again.

A claim is a TOML file, `sertbench/claims/<name>.toml` or any file given by its path: which corpus, label set and
utterances, how it was split, which epoch was reported, which models with which settings, the published figures with
their source, and what differs from the honest protocol, in a line each. Its keys are the fields of `Claim` and of what
that holds; `sertbench.claim_file` reads it. Both are light, so that listing is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

SCORES = {"wa": "WA", "ua": "UA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}  # name here -> on the screen
STRANGER = "not a model of the paper: trained as its own recipe says, but without early stopping"
FOLDER = Path(__file__).parent / "claims"


@dataclass(frozen=True)
class Seeds:
    """The numbers that draw splits and weights: a list, or the release's rule for its list."""

    list: tuple[int, ...] = ()
    numpy_seed: int | None = None  # numpy.random.seed(numpy_seed); numpy.random.randint(0, 2**32 - 1, count)
    count: int = 0

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """All seeds, in order."""
        if self.numpy_seed is None:
            return self.list
        import numpy as np

        drawn = np.random.RandomState(self.numpy_seed).randint(0, 2**32 - 1, self.count, dtype=np.int64)
        return tuple(int(n) for n in drawn)


@dataclass(frozen=True)
class ClaimedCorpus:
    """A corpus of the claim. `subsets`: name -> utterances of the label set and, of these, those that are kept."""

    dataset: str
    labels: str | None = None
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"all": ()})
    seeds: tuple[int, ...] = ()  # where they are not the claim's


@dataclass(frozen=True)
class SplitRule:
    """How utterances become folds, which epoch is reported, and how folds become a score.

    `random`: a share `train` of the utterances trains, a share `validation` validates, the rest is tested; drawn anew
    for each seed. `kfold`: `folds` random folds, drawn anew for each seed. `protocol`: one of the corpus's own.
    `table`: a CSV file beside the claim with the columns utterance, fold, role; of its training part, the share
    `validation` validates, if the table names no validation part itself. A split without a validation part validates on
    its test part, as its paper did.
    """

    name: str
    rule: Literal["random", "kfold", "protocol", "table"]
    epoch: Literal["best on test", "best on validation", "last"]
    train: float = 0.0
    validation: float = 0.0
    folds: int = 0
    protocol: str = ""
    table: str = ""
    by: tuple[str, ...] = ("ua",)  #     the scores whose mean decides which epoch is best
    score: Literal["pooled", "mean of folds"] = "pooled"
    datasets: tuple[str, ...] = ()  #    only for these; empty: for all
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimedModel:
    """A model of the claim: its plug-in's name, the paper's name, and what the paper changes in the recipe."""

    name: str
    called: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    drop_shorter_than: float | None = None  # seconds; None: the claim's
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """The same with other settings, such as the sweep of a parameter."""

    name: str
    recipe: Mapping[str, Any]
    models: tuple[str, ...]
    subsets: tuple[str, ...] = ()  # empty: all
    splits: tuple[str, ...] = ()  #  empty: all


@dataclass(frozen=True)
class Published:
    """Published figures in percent: each is [mean] or [mean, SD]."""

    model: str
    split: str
    source: str
    dataset: str = ""  # may be left out where the claim has one corpus
    subset: str = "all"
    variant: str = ""
    wa: tuple[float, ...] = ()
    ua: tuple[float, ...] = ()
    macro_f1: tuple[float, ...] = ()
    weighted_f1: tuple[float, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A published claim with its protocol."""

    title: str
    paper: str
    sources: tuple[str, ...]
    corpora: tuple[ClaimedCorpus, ...]
    splits: tuple[SplitRule, ...]
    models: tuple[ClaimedModel, ...]
    seeds: Seeds
    differs: tuple[str, ...]
    drop_shorter_than: float = 0.0  # seconds; shorter utterances are in no part
    variants: tuple[Variant, ...] = ()
    published: tuple[Published, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)  # what the paper calls a score, where it is another name
    not_known: tuple[str, ...] = ()
    name: str = ""  #   of the file
    path: Path = FOLDER
    sha256: str = ""

    def model(self, name: str) -> ClaimedModel:
        """The model's entry; for a model that the claim does not name, one that changes nothing."""
        return next((m for m in self.models if m.name == name), ClaimedModel(name, differs=(STRANGER,)))

    def figures(self, model: str, split: str, dataset: str, subset: str, variant: str) -> Published | None:
        """What was published for it."""
        wanted = (model, split, dataset, subset, variant)
        rows = (p for p in self.published if (p.model, p.split, p.dataset, p.subset, p.variant) == wanted)
        return next(rows, None)


def names() -> list[str]:
    """The claims that come with sertbench, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
