"""The leakage gate: what the roles of every fold share, looked at before any training.

Speakers, sessions, dialogues and texts must be kept apart where the protocol promises it. An utterance, its audio, a
copy of its audio and a recording that several utterances are cut from are never in two roles of a fold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sertbench.corpus import Manifest
from sertbench.errors import LeakError, ProtocolError, few, unknown
from sertbench.protocols import ROLES, Fold, Split

ROLE_PAIRS = (("train", "test"), ("val", "test"), ("train", "val"))
KEYS = ("speaker", "session", "dialogue", "text", "recording")  # fields of an utterance
FORBIDDEN = ("utterance", "recording", "audio", "near audio")  #  shared by roles in no protocol
PROMISES = ("all", "test")
_MOST_ROWS = 20


@dataclass(frozen=True)
class Overlap:
    """What two roles of a fold share under one key."""

    fold: str
    key: str  #                     a field of KEYS, "utterance", "audio" (identical) or "near audio" (a copy)
    roles: tuple[str, str]
    values: tuple[Any, ...]  #      what is shared; for audio, pairs of utterance ids, one of each role
    utterances: tuple[int, int]  #  how many are affected in each role
    forbidden: bool  #              something is shared that must not be


@dataclass(frozen=True)
class SplitFlags:
    """What a split is, derived from its folds. "Independent": the test part shares no value with the other two.

    A corpus that does not know the value of every utterance of a fold is not shown to be independent: False.
    """

    speaker_independent: bool
    text_independent: bool
    session_independent: bool
    val_speaker_overlap: bool  # training and validation share speakers in some fold
    val_is_test: bool  #          validation and test share utterances in some fold


def overlaps(
    manifest: Manifest, split: Split, promised: Mapping[str, str], near: Sequence[tuple[int, int]] = ()
) -> tuple[Overlap, ...]:
    """Compare the roles of every fold, pair by pair; where nothing is shared, `values` is empty.

    `promised` says which keys the protocol keeps apart: between "all" roles, or only from the "test" part. `near` are
    pairs of positions in the manifest whose audio is nearly identical (see `duplicates.near_duplicates`). A key that no
    utterance has a value for is left out, and two utterances without a value do not match.

    Raises ProtocolError for a promise that cannot be checked, and for folds that are no proper split of the manifest:
    unknown or misplaced utterances, an empty role, an utterance that no fold uses, or one that is tested twice.
    """
    columns = _columns(manifest)
    _check_promises(manifest, split, promised, columns)
    _check_folds(manifest, split)
    twins = [(i, j) for i, j in near if manifest.audio_sha256[i] != manifest.audio_sha256[j]]
    found = []
    for fold in split.folds:
        for roles in ROLE_PAIRS:
            for key, values in columns.items():
                forbidden = key in FORBIDDEN or promised.get(key) == "all" or (key in promised and "test" in roles)
                found.append(_shared_values(fold, roles, key, values, forbidden))
            found.append(_identical_audio(manifest, fold, roles))
            found.append(_audio(manifest, fold, roles, "near audio", _across(fold, roles, twins)))
    return tuple(found)


def enforce(overlaps: Sequence[Overlap], allow: bool) -> bool:
    """Tell whether roles share what they must not; without `allow`, raise LeakError with the table of it instead."""
    leaks = [o for o in overlaps if o.forbidden]
    if not leaks or allow:
        return bool(leaks)
    raise LeakError(
        f"the folds leak: in {len({o.fold for o in leaks})} of {len({o.fold for o in overlaps})} two roles share what "
        f"they must not. Nothing was trained.\n\n{_as_text(leaks)}\n\n"
        "Choose a protocol that keeps these apart, or remove the copies from the corpus. --allow-leak runs it all the "
        "same; the row is then stamped `leaky` and never ranked."
    )


def table(overlaps: Sequence[Overlap]) -> list[dict[str, Any]]:
    """The overlaps as JSON-able rows with the number of shared values in place of the values."""
    return [
        {
            "fold": o.fold,
            "key": o.key,
            "roles": list(o.roles),
            "shared": len(o.values),
            "utterances": list(o.utterances),
            "forbidden": o.forbidden,
        }
        for o in overlaps
    ]


def flags(manifest: Manifest, split: Split) -> SplitFlags:
    """What the folds are, whatever the protocol says of them."""

    def shared(key: str, one: str, other: str) -> bool:
        values = [getattr(u, key) for u in manifest.utterances]
        return any(_values(values, f.part(one)) & _values(values, f.part(other)) for f in split.folds)

    def independent(key: str) -> bool:
        used = {i for f in split.folds for role in ROLES for i in f.part(role)}
        known = all(getattr(manifest.utterances[i], key) is not None for i in used)
        return known and not shared(key, "train", "test") and not shared(key, "val", "test")

    return SplitFlags(
        speaker_independent=independent("speaker"),
        text_independent=independent("text"),
        session_independent=independent("session"),
        val_speaker_overlap=shared("speaker", "train", "val"),
        val_is_test=any(not set(f.val).isdisjoint(f.test) for f in split.folds),
    )


def flag_in_words(name: str, on: bool, table: Sequence[Mapping[str, Any]]) -> str:
    """A flag of a split as yes or no; not known, with the reason, where the corpus has no values or not for all.

    A key that no utterance has a value for is not in the `table` of the overlaps.
    """
    key = name.removesuffix("_independent").removeprefix("val_").removesuffix("_overlap")
    if on or key not in KEYS:
        return "yes" if on else "no"
    found = [o for o in table if o["key"] == key]
    if not found:
        return f"not known: the corpus names no {key}s"
    if name.endswith("_independent") and not any(o["shared"] for o in found if "test" in o["roles"]):
        return f"not known: not every utterance has a {key}"
    return "no"


def _check_promises(
    manifest: Manifest, split: Split, promised: Mapping[str, str], columns: Mapping[str, object]
) -> None:
    for key, between in promised.items():
        if key not in KEYS:
            raise ProtocolError(f"protocol {split.protocol} promises {unknown('key', key, KEYS)}")
        if between not in PROMISES:
            raise ProtocolError(f"protocol {split.protocol}, key {key!r}: {unknown('promise', between, PROMISES)}")
        if key not in columns:
            raise ProtocolError(
                f"protocol {split.protocol} promises to keep every {key} in one role, but {manifest.corpus} says of no "
                f"utterance which {key} it is. Choose a protocol without this promise."
            )


def _check_folds(manifest: Manifest, split: Split) -> None:
    """Refuse a split that is not a proper one of these utterances."""
    name = f"protocol {split.protocol}"
    if split.ids != tuple(u.id for u in manifest.utterances):
        raise ProtocolError(
            f"{name} was made for {len(split.ids)} other utterances than the {len(manifest)} of {manifest.corpus}, or "
            "in another order. Split the manifest's own utterances, sorted by id."
        )
    if not split.folds:
        raise ProtocolError(f"{name} has no folds.")
    named = Counter(fold.name for fold in split.folds)
    if same := [fold for fold, n in named.items() if n > 1]:  # fits, studies and scores are told apart by these names
        raise ProtocolError(f"{name} has several folds that are called {few(same)}. Give each a name of its own.")
    for fold in split.folds:
        for role in ROLES:
            part = fold.part(role)
            if not part:
                raise ProtocolError(f"{name}, fold {fold.name}: no utterance to {role}. Every role needs some.")
            if len(set(part)) < len(part) or min(part) < 0 or max(part) >= len(manifest):
                raise ProtocolError(
                    f"{name}, fold {fold.name}: its {role} part names an utterance twice, or a position outside "
                    f"0 ... {len(manifest) - 1}."
                )
    tested = Counter(i for fold in split.folds for i in fold.test)
    if twice := [split.ids[i] for i, n in tested.items() if n > 1]:
        raise ProtocolError(
            f"{name} tests {len(twice)} utterances in more than one fold: {few(twice)}. Each is scored once at most."
        )
    used = {i for fold in split.folds for role in ROLES for i in fold.part(role)}
    if unused := [split.ids[i] for i in range(len(manifest)) if i not in used]:
        raise ProtocolError(
            f"{name} uses {len(unused)} utterances in no fold: {few(unused)}. A protocol drops nothing silently: leave "
            "them out through the label set or the subset."
        )


def _columns(manifest: Manifest) -> dict[str, Sequence[Any]]:
    """Per key, the value of every utterance; keys without any value are left out."""
    columns: dict[str, Sequence[Any]] = {"utterance": [u.id for u in manifest.utterances]}
    for key in KEYS:
        values = [getattr(u, key) for u in manifest.utterances]
        if any(value is not None for value in values):
            columns[key] = values
    return columns


def _values(values: Sequence[Any], positions: Sequence[int]) -> set[Any]:
    return {values[i] for i in positions} - {None}


def _shared_values(fold: Fold, roles: tuple[str, str], key: str, values: Sequence[Any], forbidden: bool) -> Overlap:
    left, right = fold.part(roles[0]), fold.part(roles[1])
    shared = _values(values, left) & _values(values, right)
    affected = (sum(values[i] in shared for i in left), sum(values[i] in shared for i in right)) if shared else (0, 0)
    return Overlap(fold.name, key, roles, tuple(sorted(shared)), affected, forbidden and bool(shared))


def _identical_audio(manifest: Manifest, fold: Fold, roles: tuple[str, str]) -> Overlap:
    """Pairs of utterances with equal audio: each affected one with the first that it meets in the other role."""
    hashes = manifest.audio_sha256
    shared = _values(hashes, fold.part(roles[0])) & _values(hashes, fold.part(roles[1]))
    holders: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, role in enumerate(roles) if shared else ():
        for i in fold.part(role):
            if hashes[i] in shared:
                holders[hashes[i]][side].append(i)
    pairs = set()
    for left, right in holders.values():
        pairs |= {(i, right[0]) for i in left} | {(left[0], j) for j in right}
    return _audio(manifest, fold, roles, "audio", pairs)


def _across(fold: Fold, roles: tuple[str, str], pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """The pairs that have one end in each role, the first role's end first."""
    left, right = set(fold.part(roles[0])), set(fold.part(roles[1]))
    both = [*pairs, *((j, i) for i, j in pairs)]
    return {(i, j) for i, j in both if i in left and j in right}


def _audio(
    manifest: Manifest, fold: Fold, roles: tuple[str, str], key: str, pairs: Collection[tuple[int, int]]
) -> Overlap:
    """An overlap of audio; an utterance that is in both roles is a leak of its own, not a copy of itself."""
    pairs = sorted((i, j) for i, j in pairs if i != j)
    ids = tuple((manifest.utterances[i].id, manifest.utterances[j].id) for i, j in pairs)
    affected = len({i for i, _ in pairs}), len({j for _, j in pairs})
    return Overlap(fold.name, key, roles, ids, affected, bool(pairs))


def _as_text(leaks: Sequence[Overlap]) -> str:
    """The leaks as an aligned table."""
    rows = [("fold", "what", "between", "shared", "utterances", "for example")]
    for leak in leaks[:_MOST_ROWS]:
        pairs = leak.key in ("audio", "near audio")
        examples = [" = ".join(value) for value in leak.values] if pairs else leak.values
        rows.append(
            (
                leak.fold,
                leak.key,
                " and ".join(leak.roles),
                str(len(leak.values)),
                " and ".join(map(str, leak.utterances)),
                few(examples, 1 if pairs else 3),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(leaks) > _MOST_ROWS:
        lines.append(f"  ... and {len(leaks) - _MOST_ROWS} more rows")
    return "\n".join(lines)
