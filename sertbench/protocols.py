"""Protocols: named, versioned, hashed splits. A split is a table of (utterance, fold, role); making one is pure.

Adapters name their protocols as data: `protocols = (GroupFolds("speaker5", 1, key="speaker", groups=...), ...)`. Here
is the contract and the rule of the headline tables; `sertbench.protocol_rules` has the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar
from typing import Protocol as Interface

from sertbench.corpus import Utterance
from sertbench.errors import ProtocolError, few

ROLES = ("train", "val", "test")


@dataclass(frozen=True)
class Fold:
    """One fold: its name, and for each role the positions of its utterances in the manifest, ascending."""

    name: str
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    def part(self, role: str) -> tuple[int, ...]:
        """The positions of a role."""
        positions: tuple[int, ...] = getattr(self, role)
        return positions


@dataclass(frozen=True)
class Split:
    """All folds of a protocol over given utterances."""

    protocol: str  # name/version, e.g. "session5/1"
    ids: tuple[str, ...]
    folds: tuple[Fold, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of the table of (utterance id, fold, role): the same table is the same hash on any machine."""
        rows = ((self.ids[i], fold.name, role) for fold in self.folds for role in ROLES for i in fold.part(role))
        return table_sha256(self.protocol, rows)

    @cached_property
    def tested(self) -> tuple[int, ...]:
        """Positions of the utterances that are tested, ascending; one that two folds test is there twice."""
        return tuple(sorted(i for fold in self.folds for i in fold.test))


def table_sha256(protocol: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Hash of a protocol's name/version and its table of (utterance id, fold, role), in any order."""
    return hashlib.sha256(json.dumps([protocol, sorted(rows)]).encode()).hexdigest()


class Protocol(Interface):
    """What an adapter may list under `protocols`."""

    @property
    def name(self) -> str:
        """Short name, as typed after --protocol."""

    @property
    def version(self) -> int:
        """Raised whenever the folds it gives change."""

    @property
    def summary(self) -> str:
        """One line for `sertbench list protocols`."""

    @property
    def promises(self) -> Mapping[str, str]:
        """Fields that roles do not share: field -> "all" pairs of roles, or only pairs with the "test" part."""

    @property
    def covers(self) -> str:
        """What the folds test, each utterance once: "all", or only "some" of them, by the protocol's definition."""

    @property
    def refit(self) -> bool:
        """Whether the final fits of a fold learn from training and validation part together.

        They do so after selection: the hyperparameters and, per seed, the number of epochs are chosen as always, on
        the validation part; then a fit starts anew on both parts and stops after exactly that many epochs of the same
        schedule, having looked at no validation score. It is this fit that predicts the test part.
        """

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold utterances (sorted by id). Raises ProtocolError if they do not fit."""


def build_split(protocol: Protocol, utterances: Sequence[Utterance], folds: Iterable[Fold]) -> Split:
    """The split that a protocol's rule has made. Raises ProtocolError for a fold that lacks one of its roles."""
    made = Split(f"{protocol.name}/{protocol.version}", tuple(u.id for u in utterances), tuple(folds))
    for fold in made.folds:
        for role in ROLES:
            if not fold.part(role):
                raise ProtocolError(
                    f"protocol {protocol.name!r}, fold {fold.name}: no utterance to {role} "
                    "(an incomplete corpus, or a subset that it cannot fold?). `sertbench list protocols` shows others."
                )
    return made


def groups_of(
    protocol: Protocol, key: str, groups: Mapping[str, Collection[str]], utterances: Iterable[Utterance], least: int
) -> list[str]:
    """The group of each utterance by its value of the field `key`.

    Raises ProtocolError for fewer than `least` groups, and for a value that belongs to no group or to several.
    """
    if len(groups) < least:
        raise ProtocolError(f"protocol {protocol.name!r} has {len(groups)} groups by {key}; it needs at least {least}")
    holders = Counter(value for values in groups.values() for value in values)
    if shared := [value for value, n in holders.items() if n > 1]:
        raise ProtocolError(f"protocol {protocol.name!r}: {key} {few(shared)} belongs to more than one group")
    group_of = {value: name for name, values in groups.items() for value in values}
    values = [getattr(u, key) for u in utterances]
    if strangers := sorted({str(v) for v in values if v not in group_of}):
        raise ProtocolError(
            f"protocol {protocol.name!r} knows no group for {key} {few(strangers)}. "
            f"It knows: {few(sorted(group_of), 30)}"
        )
    return [group_of[v] for v in values]


def members_of(
    protocol: Protocol, key: str, groups: Mapping[str, Collection[str]], utterances: Iterable[Utterance], least: int
) -> dict[str, list[int]]:
    """The positions of each group's utterances. Raises ProtocolError as `groups_of` does, and for an empty group."""
    names = groups_of(protocol, key, groups, utterances, least)
    members = {name: [i for i, of in enumerate(names) if of == name] for name in groups}
    if empty := [name for name, m in members.items() if not m]:
        raise ProtocolError(f"protocol {protocol.name!r}: no utterance in group {few(empty)} (an incomplete corpus?)")
    return members


@dataclass(frozen=True)
class GroupFolds:
    """Leave-one-group-out with a cyclic validation group.

    Fold k tests group k, validates on group (k mod K) + 1 and trains on the others; a group is a set of values of the
    utterance field `key` (P1 of the IEMOCAP literature with key="session"; identical rotation to EMO-SUPERB's). With
    key="text", keeps=() the folds are text-disjoint instead, and every speaker is in all roles.
    """

    covers: ClassVar[str] = "all"

    name: str
    version: int
    key: str  #                               an Utterance field: "speaker", "session", "text"
    groups: Mapping[str, tuple[str, ...]]  #  group name -> values of the key
    summary: str = ""
    keeps: tuple[str, ...] = ("speaker",)  #  fields that the groups keep apart beside the key
    refit: bool = False  #                    see Protocol.refit; the folds are the same, so give it a name of its own

    @property
    def promises(self) -> Mapping[str, str]:
        """No role shares a group with another, nor a value of what the groups keep apart."""
        return dict.fromkeys((self.key, *self.keeps), "all")

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; every value of the key must belong to exactly one group."""
        members = members_of(self, self.key, self.groups, utterances, least=3)
        names, folds = list(members), []
        for k, name in enumerate(names):
            val = names[(k + 1) % len(names)]
            train = sorted(i for other in names if other not in (name, val) for i in members[other])
            folds.append(Fold(name, tuple(train), tuple(members[val]), tuple(members[name])))
        return build_split(self, utterances, folds)
