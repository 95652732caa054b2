"""The rules of protocols beside GroupFolds: those of the literature to compare with, and stricter ones.

Where something is drawn at random, it is put in the order of the SHA-256 of "<protocol>/<version>/<fold>/<id>" (see
`shuffled`): the draw is the same in every version of Python, on every machine and in any order of the input.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import ClassVar

from sertbench.corpus import Utterance
from sertbench.errors import ProtocolError, few
from sertbench.protocols import ROLES, Fold, GroupFolds, Split, build_split, groups_of, members_of

TENTHS = 10
UNTESTED = ""  # the group of the texts that are in no block


def shuffled(names: Iterable[str], seed: str) -> list[str]:
    """The names, once each, in an order that only they and `seed` decide."""
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def ascending(name: str, train: Iterable[int], val: Iterable[int], test: Iterable[int]) -> Fold:
    """A fold with the positions of each role in order."""
    return Fold(name, tuple(sorted(train)), tuple(sorted(val)), tuple(sorted(test)))


def following(names: Collection[str], name: str) -> str:
    """The name after `name`; after the last one the first."""
    cycle = list(names)
    return cycle[(cycle.index(name) + 1) % len(cycle)]


@dataclass(frozen=True)
class SpeakerFolds:
    """GroupFolds for a corpus whose speakers are not known beforehand: `groups` of them, with alike many utterances.

    The speaker with the most utterances comes first; each goes to the group that has the fewest so far. With fewer
    speakers than `groups` each is a group of its own. What is grouped is what the run is about, so another label set or
    subset may have other groups.
    """

    covers: ClassVar[str] = "all"
    refit: ClassVar[bool] = False
    promises: ClassVar[Mapping[str, str]] = {"speaker": "all"}

    name: str
    version: int
    groups: int
    summary: str = ""

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Group the speakers and fold the utterances. Raises ProtocolError for fewer than three speakers."""
        spoken = sorted(Counter(u.speaker for u in utterances).items(), key=lambda row: (-row[1], row[0]))
        if len(spoken) < len(ROLES):
            raise ProtocolError(
                f"protocol {self.name!r} needs at least three speakers, one to train, one to validate and one to test; "
                f"there are {len(spoken)}: {few(speaker for speaker, _ in spoken)}. With fewer, no score says anything "
                "about other people."
            )
        groups: dict[str, tuple[str, ...]] = {str(k + 1): () for k in range(min(self.groups, len(spoken)))}
        sizes = dict.fromkeys(groups, 0)
        for speaker, count in spoken:
            least = min(sizes, key=sizes.__getitem__)
            groups[least] += (speaker,)
            sizes[least] += count
        return GroupFolds(self.name, self.version, "speaker", groups).split(utterances)


@dataclass(frozen=True)
class SharedValidation:
    """Leave-one-group-out as SUPERB, emotion2vec and EmoBox do it: validation and training share the other groups.

    Fold k tests group k; of the other groups' utterances a random `share` validates and the rest trains. The test part
    is clean, but the epoch and the hyperparameters are selected on speakers that the model has learnt. Where there are
    two groups only, such as two texts, training and validation cannot but share one: let whole speakers be `drawn`.
    """

    covers: ClassVar[str] = "all"
    refit: ClassVar[bool] = False

    name: str
    version: int
    key: str  #                               as in GroupFolds
    groups: Mapping[str, tuple[str, ...]]
    summary: str = ""
    keeps: tuple[str, ...] = ("speaker",)
    share: float = 0.2
    drawn: str = "id"  #                      what is drawn: utterances, or whole values of another field

    @property
    def promises(self) -> Mapping[str, str]:
        """The test part shares no group with the other two, nor a value of what the groups keep apart."""
        return dict.fromkeys((self.key, *self.keeps), "test")

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; every value of the key must belong to exactly one group."""
        members = members_of(self, self.key, self.groups, utterances, least=2)
        folds = []
        for name, test in members.items():
            value_of = {i: getattr(utterances[i], self.drawn) for k in members if k != name for i in members[k]}
            drawn = shuffled(value_of.values(), f"{self.name}/{self.version}/{name}")
            chosen = set(drawn[: round(self.share * len(drawn))])
            val = [i for i, value in value_of.items() if value in chosen]
            folds.append(ascending(name, value_of.keys() - set(val), val, test))
        return build_split(self, utterances, folds)


@dataclass(frozen=True)
class PartnerFolds:
    """Leave-one-speaker-out where the conversation partner validates, as in the literature's ten folds of IEMOCAP.

    Each fold tests one speaker of a pair, validates on the other and trains on all other pairs. Validation and test
    share dialogue, room and channel. Since the partner does not train, both folds of a pair have the training part of
    one fold by pairs, whose row gives the scores per speaker as well.
    """

    covers: ClassVar[str] = "all"
    refit: ClassVar[bool] = False

    name: str
    version: int
    pairs: tuple[tuple[str, str], ...]
    summary: str = ""

    @property
    def promises(self) -> Mapping[str, str]:
        """No role shares a speaker with another."""
        return {"speaker": "all"}

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; every speaker must be of exactly one pair."""
        pairs = {"-".join(pair): pair for pair in self.pairs}
        members = members_of(self, "speaker", pairs, utterances, least=2)
        folds = []
        for name, pair in pairs.items():
            train = [i for other in pairs if other != name for i in members[other]]
            for speaker in pair:
                test = [i for i in members[name] if utterances[i].speaker == speaker]
                val = [i for i in members[name] if utterances[i].speaker != speaker]
                folds.append(ascending(speaker, train, val, test))
        return build_split(self, utterances, folds)


@dataclass(frozen=True)
class BlockFolds:
    """Group and text held out together: one fold for each block of a group of speakers or sessions and one of texts.

    The fold of group k and texts g tests the utterances of both. Nothing else of group k and no other utterance of
    texts g is used. Group k + 1 validates, with texts g + 1 alone; the other groups train, without these texts: so each
    two roles differ in speakers and in texts. With `shared_texts`, group k + 1 validates and the others train with all
    texts but g: more data for both, and the only way where there are two texts; the test part is as clean.
    """

    refit: ClassVar[bool] = False

    name: str
    version: int
    key: str  #                               "speaker" or "session"
    groups: Mapping[str, tuple[str, ...]]
    texts: Mapping[str, tuple[str, ...]]  #   name -> values of Utterance.text
    summary: str = ""
    shared_texts: bool = False  #             training and validation have the same texts
    untested: tuple[str, ...] = ()  #         texts that are never tested and, but for those of group k, train (and,
    #                                         with shared_texts, validate): improvised turns

    @property
    def covers(self) -> str:
        """All utterances but those of the texts that are never tested."""
        return "some" if self.untested else "all"

    @property
    def promises(self) -> Mapping[str, str]:
        """No role shares a group or a speaker; the test part shares no text."""
        return {self.key: "all", "speaker": "all", "text": "test" if self.shared_texts else "all"}

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; every value of the key, and every text, must belong to exactly one group."""
        groups = groups_of(self, self.key, self.groups, utterances, least=3)
        texts = groups_of(self, "text", {**self.texts, UNTESTED: self.untested}, utterances, least=2)
        folds = []
        for group, text in product(self.groups, self.texts):
            next_group, next_text = following(self.groups, group), following(self.texts, text)
            parts: dict[str, list[int]] = {role: [] for role in ROLES}
            for i, (its_group, its_text) in enumerate(zip(groups, texts, strict=True)):
                if its_group == group or its_text == text:
                    if (its_group, its_text) == (group, text):
                        parts["test"].append(i)
                elif its_group == next_group:
                    if self.shared_texts or its_text == next_text:
                        parts["val"].append(i)
                elif self.shared_texts or its_text != next_text:
                    parts["train"].append(i)
            folds.append(ascending(f"{group}_{text}", **parts))
        return build_split(self, utterances, folds)


@dataclass(frozen=True)
class RandomFolds:
    """Folds by utterance, drawn at random: nothing is kept apart. Only to show what this does to published figures.

    The utterances are cut into tenths, once for all folds. Fold k tests its `test_tenths`, validates on the tenth after
    them and trains on the others. The code bases that split like this select on the test part; here is a validation
    part to select on, taken from the training part.
    """

    refit: ClassVar[bool] = False

    name: str
    version: int
    test_tenths: int
    n_folds: int
    summary: str = ""

    @property
    def covers(self) -> str:
        """All utterances, if there are as many folds as it takes."""
        return "all" if self.n_folds * self.test_tenths == TENTHS else "some"

    @property
    def promises(self) -> Mapping[str, str]:
        """Nothing is kept apart."""
        return {}

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Fold the utterances; there must be ten at least."""
        position, n = {u.id: i for i, u in enumerate(utterances)}, len(utterances)
        drawn = [position[id_] for id_ in shuffled(position, f"{self.name}/{self.version}/all")]
        tenths = [drawn[j * n // TENTHS : (j + 1) * n // TENTHS] for j in range(TENTHS)]
        folds = []
        for k in range(self.n_folds):
            turn = [tenths[(k * self.test_tenths + j) % TENTHS] for j in range(TENTHS)]
            test, val, train = turn[: self.test_tenths], turn[self.test_tenths], turn[self.test_tenths + 1 :]
            folds.append(ascending(str(k + 1), chain(*train), val, chain(*test)))
        return build_split(self, utterances, folds)


RANDOM10 = RandomFolds(
    "random10",
    version=1,
    test_tenths=1,
    n_folds=10,
    summary="speaker-dependent, never ranked: 10 random folds of utterances; the next validates",
)


@dataclass(frozen=True)
class OfficialSplit:
    """The split that the corpus publishes, in one fold: `Utterance.partition` is the role.

    What it keeps apart is the corpus's affair: name it in `promises` and it is checked.
    """

    covers: ClassVar[str] = "some"
    refit: ClassVar[bool] = False

    name: str
    version: int
    summary: str = ""
    promises: Mapping[str, str] = field(default_factory=dict)

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """Put each utterance into its published part. Raises ProtocolError for one that has none."""
        if strangers := [u.id for u in utterances if u.partition not in ROLES]:
            raise ProtocolError(
                f"protocol {self.name!r}: the corpus gives no part (train, val or test) for {len(strangers)} "
                f"utterances: {few(strangers)}. Leave them out through the label set, or choose another protocol."
            )
        parts = {role: [i for i, u in enumerate(utterances) if u.partition == role] for role in ROLES}
        return build_split(self, utterances, [ascending("official", **parts)])
