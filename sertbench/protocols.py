"""Protocols: named, versioned, hashed splits. A split is a table of (utterance, fold, role); making one is pure.

Adapters name their protocols as data: `protocols = (GroupFolds("speaker5", 1, key="speaker", groups=...), ...)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold utterances (sorted by id). Raises ProtocolError if they do not fit."""


@dataclass(frozen=True)
class GroupFolds:
    """Leave-one-group-out with a cyclic validation group.

    Fold k tests group k, validates on group (k mod K) + 1 and trains on the others; a group is a set of values of the
    utterance field `key` (P1 of the IEMOCAP literature with key="session"; identical rotation to EMO-SUPERB's).
    """

    name: str
    version: int
    key: str  #                               an Utterance field: "speaker", "session"
    groups: Mapping[str, tuple[str, ...]]  #  group name -> values of the key
    summary: str = ""

    @property
    def promises(self) -> Mapping[str, str]:
        """No role shares a group or a speaker with another."""
        return {self.key: "all", "speaker": "all"}

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; every value of the key must belong to exactly one group."""
        group_of = {value: name for name, values in self.groups.items() for value in values}
        values = [getattr(u, self.key) for u in utterances]
        strangers = sorted({str(v) for v in values if v not in group_of})
        if strangers:
            raise ProtocolError(
                f"protocol {self.name!r} knows no group for {self.key} {few(strangers)}. "
                f"It knows: {few(sorted(group_of), 30)}"
            )
        members = {name: [i for i, v in enumerate(values) if group_of[v] == name] for name in self.groups}
        empty = [name for name, m in members.items() if not m]
        if empty:
            raise ProtocolError(f"protocol {self.name!r}: no utterance in group {few(empty)} (an incomplete corpus?)")
        names = list(self.groups)
        folds = []
        for k, name in enumerate(names):
            val = names[(k + 1) % len(names)]
            train = sorted(i for other in names if other not in (name, val) for i in members[other])
            folds.append(Fold(name, tuple(train), tuple(members[val]), tuple(members[name])))
        return Split(f"{self.name}/{self.version}", tuple(u.id for u in utterances), tuple(folds))
