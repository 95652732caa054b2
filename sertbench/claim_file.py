"""Reading the file of a claim, strictly: a key that is unknown, missing or of the wrong kind is an error."""

from __future__ import annotations

import hashlib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sertbench.claim import FOLDER, SCORES, Claim, SplitRule, names
from sertbench.errors import UNKNOWN_USER, ClaimError, unknown


def load(spec: str) -> Claim:
    """A claim by its name or by the path of its file. Raises ClaimError for whatever is wrong with it."""
    try:
        path = Path(spec).expanduser() if spec.endswith(".toml") or "/" in spec else FOLDER / f"{spec}.toml"
    except RuntimeError:
        raise ClaimError(f"the claim {spec} cannot be read: {UNKNOWN_USER}") from None
    if path.parent == FOLDER and path.stem not in names():
        raise ClaimError(f"{unknown('claim', spec, names())}. A file of your own: path/to/my_claim.toml")
    try:
        content = path.read_bytes()
        raw = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ClaimError(f"the claim {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
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
    hints = type_hints(cls)
    values = {key: convert(hints[key], value, f"{where}: {key}") for key, value in raw.items()}
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [n for n in required if n not in values]:
        raise ClaimError(f"{where}: {', '.join(missing)} is missing")
    return cls(**values, **(facts or {}))


type_hints = cache(get_type_hints)


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
    may = {*needs, "validation"} if split.rule in ("random", "kfold", "table") else set(needs)
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
    if split.epoch == "best on validation" and split.rule in ("random", "kfold") and not split.validation:
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
