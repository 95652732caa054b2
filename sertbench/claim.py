"""Published claims: a paper's own protocol as data, so that `sertbench replay` can do it again.

A claim is a TOML file, `sertbench/claims/<name>.toml` or any file given by its path: which corpus, label set and
utterances, how it was split, which epoch was reported, which models with which settings, the published figures with
their source, and what differs from the honest protocol, in a line each. `README.md` shows the format; this module reads
it, strictly: a key that is unknown, missing or of the wrong kind is an error. It is light, so that listing is quick.
"""

from __future__ import annotations

import hashlib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sertbench.errors import ClaimError, unknown

SCORES = {"wa": "WA", "ua": "UA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}  # name here -> on the screen
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
    `validation` validates. A split without a validation part validates on its test part, as its paper did.
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
        """The model's entry; for a model that the claim does not name, one without changes."""
        return next((m for m in self.models if m.name == name), ClaimedModel(name))

    def figures(self, model: str, split: str, dataset: str, subset: str, variant: str) -> Published | None:
        """What was published for it."""
        wanted = (model, split, dataset, subset, variant)
        rows = (p for p in self.published if (p.model, p.split, p.dataset, p.subset, p.variant) == wanted)
        return next(rows, None)


def names() -> list[str]:
    """The claims that come with sertbench, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(spec: str) -> Claim:
    """A claim by its name or by the path of its file. Raises ClaimError for whatever is wrong with it."""
    path = Path(spec).expanduser() if spec.endswith(".toml") or "/" in spec else FOLDER / f"{spec}.toml"
    if path.parent == FOLDER and path.stem not in names():
        raise ClaimError(f"{unknown('claim', spec, names())}. A file of your own: path/to/my_claim.toml")
    try:
        content = path.read_bytes()
        raw = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ClaimError(f"the claim {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimError(f"the claim {path} is not TOML: {error}") from error
    for name in ("name", "path", "sha256"):
        if name in raw:
            raise ClaimError(f"{path}: {name!r} is not for the file to say: a claim's name is that of its file")
    facts = {"name": path.stem, "path": path.resolve(), "sha256": hashlib.sha256(content).hexdigest()}
    claim: Claim = build(Claim, raw, str(path), facts)
    check(claim)
    return completed(claim)


def build(cls: Any, raw: object, where: str, facts: Mapping[str, Any] | None = None) -> Any:
    """A dataclass from a TOML table. Raises ClaimError for unknown and missing keys and values of the wrong kind."""
    if not isinstance(raw, dict):
        raise ClaimError(f"{where}: expected a table with {', '.join(f.name for f in fields(cls))}; got {raw!r}")
    known = {f.name: f for f in fields(cls) if f.name not in (facts or {})}
    for key in raw:
        if key not in known:
            raise ClaimError(f"{where}: {unknown('key', key, known)}")
    hints = get_type_hints(cls)
    values = {key: convert(hints[key], value, f"{where}: {key}") for key, value in raw.items()}
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [n for n in required if n not in values]:
        raise ClaimError(f"{where}: {', '.join(missing)} is missing")
    return cls(**values, **(facts or {}))


def convert(hint: Any, value: object, where: str) -> Any:
    """A TOML value as the type that a field asks for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return build(hint, value, where)
    if origin in (Union, types.UnionType):
        return convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise ClaimError(f"{where} = {value!r} is not accepted: {unknown('choice', str(value), arguments)}")
    if origin is tuple and isinstance(value, list):
        return tuple(convert(arguments[0], item, f"{where}[{i + 1}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = "a list" if origin is tuple else "a table" if origin is not None else f"a {hint.__name__}"
    raise ClaimError(f"{where} = {value!r} is not accepted: expected {wanted}")


def check(claim: Claim) -> None:
    """Refuse a claim whose parts do not fit together."""
    where = str(claim.path)
    for kind, found in (
        ("corpora", [c.dataset for c in claim.corpora]),
        ("splits", [s.name for s in claim.splits]),
        ("models", [m.name for m in claim.models]),
        ("variants", [v.name for v in claim.variants]),
    ):
        if not found and kind != "variants":
            raise ClaimError(f"{where}: {kind} is empty")
        if twice := sorted({n for n in found if found.count(n) > 1}):
            raise ClaimError(f"{where}: {kind} has {', '.join(twice)} twice")
    seeds = claim.seeds
    if bool(seeds.list) == (seeds.numpy_seed is not None) or (seeds.numpy_seed is not None and seeds.count < 1):
        raise ClaimError(f"{where}: seeds needs either a `list`, or `numpy_seed` with a `count` of at least 1")
    for numbers in (seeds.list, *(c.seeds for c in claim.corpora)):
        if any(not 0 <= n < 2**32 for n in numbers) or len(set(numbers)) < len(numbers):
            raise ClaimError(f"{where}: seeds must be different whole numbers from 0 to {2**32 - 1}; got {numbers}")
    for corpus in claim.corpora:
        for subset, counts in corpus.subsets.items():
            if len(counts) not in (0, 2) or (counts and not 0 < counts[1] <= counts[0]):
                raise ClaimError(
                    f"{where}: corpora, {corpus.dataset}, subsets.{subset} = {list(counts)} is not accepted: expected "
                    "[utterances, of these kept], or [] where no count is published"
                )
    for score in (*claim.names, *(by for s in claim.splits for by in s.by)):
        refuse(where, "score", score, SCORES)
    for split in claim.splits:
        check_split(split, where)
    check_references(claim, where)


def check_split(split: SplitRule, where: str) -> None:
    """Refuse a split rule that lacks what its rule needs, or says what only another rule uses."""
    needs = {"random": ("train",), "kfold": ("folds",), "protocol": ("protocol",), "table": ("table",)}[split.rule]
    may = {*needs, "validation"} if split.rule in ("random", "table") else set(needs)
    for name in ("train", "validation", "folds", "protocol", "table"):
        said = bool(getattr(split, name))
        if said != (name in needs) and not (said and name in may):
            verb = "needs" if name in needs else "does not use"
            raise ClaimError(f"{where}: split {split.name!r}: the rule {split.rule!r} {verb} {name!r}")
    if not 0 <= split.validation < 1 or not 0 <= split.train < 1 or split.train + split.validation >= 1:
        raise ClaimError(f"{where}: split {split.name!r}: train and validation are shares that leave some to test")
    if split.rule == "kfold" and split.folds < 2:
        raise ClaimError(f"{where}: split {split.name!r}: folds = {split.folds} is not accepted: expected 2 or more")
    if not split.by:
        raise ClaimError(f"{where}: split {split.name!r}: by is empty: name one of {', '.join(SCORES)}")
    if split.epoch == "best on validation" and split.rule in ("random", "table", "kfold") and not split.validation:
        raise ClaimError(f"{where}: split {split.name!r}: best on validation needs a share of `validation`")


def check_references(claim: Claim, where: str) -> None:
    """Refuse variants and figures of models, splits, corpora or subsets that the claim does not have."""
    models, splits = [m.name for m in claim.models], [s.name for s in claim.splits]
    datasets = [c.dataset for c in claim.corpora]
    subsets = {s for c in claim.corpora for s in c.subsets}
    for split in claim.splits:
        for name in split.datasets:
            refuse(where, f"corpus (split {split.name!r})", name, datasets)
    for variant in claim.variants:
        said = f"variant {variant.name!r}"
        for kind, chosen, known in (
            ("model", variant.models, models),
            ("subset", variant.subsets, subsets),
            ("split", variant.splits, splits),
        ):
            for name in chosen:
                refuse(where, f"{kind} ({said})", name, known)
    for i, row in enumerate(claim.published, 1):
        said = f"published, entry {i}"
        refuse(where, f"model ({said})", row.model, models)
        refuse(where, f"split ({said})", row.split, splits)
        refuse(where, f"subset ({said})", row.subset, subsets)
        if row.variant:
            refuse(where, f"variant ({said})", row.variant, [v.name for v in claim.variants])
        if row.dataset or len(datasets) > 1:
            refuse(where, f"corpus ({said})", row.dataset, datasets)
        figures = [getattr(row, score) for score in SCORES]
        if not any(figures) or any(len(f) > 2 or any(not 0 <= x <= 100 for x in f) for f in figures):
            raise ClaimError(f"{where}: {said}: figures are percent, [mean] or [mean, SD], one of {', '.join(SCORES)}")


def refuse(where: str, kind: str, name: str, known: Any) -> None:
    """ClaimError for a name that is not known."""
    if name not in known:
        raise ClaimError(f"{where}: {unknown(kind, name, known)}")


def completed(claim: Claim) -> Claim:
    """The claim with the corpus of each published figure named."""
    only = claim.corpora[0].dataset
    return replace(claim, published=tuple(replace(p, dataset=p.dataset or only) for p in claim.published))
