"""Folds: every utterance is tested once, nobody is on two sides, and a split is known by its hash."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sertbench.corpus import Utterance
from sertbench.errors import ProtocolError
from sertbench.protocols import ROLES, Fold, GroupFolds, Split


def utterances(speakers):
    return [Utterance(f"{i:03d}", Path(f"{i}.wav"), "calm", speaker) for i, speaker in enumerate(speakers)]


def folding(groups, **changes):
    return GroupFolds(**{"name": "speakers", "version": 1, "key": "speaker", "groups": groups, **changes})


@st.composite
def foldable(draw):
    """A protocol of 3 to 6 groups of 1 to 3 speakers, and utterances of theirs, at least one per group."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=3, max_size=6))
    groups = {f"g{k}": tuple(f"s{k}.{j}" for j in range(size)) for k, size in enumerate(sizes)}
    first = [members[0] for members in groups.values()]
    more = draw(st.lists(st.sampled_from([s for members in groups.values() for s in members]), max_size=20))
    return folding(groups), utterances(draw(st.permutations(first + more)))


@settings(max_examples=60, deadline=None)
@given(foldable())
def test_every_utterance_is_tested_in_exactly_one_fold_and_has_one_role_in_each(case):
    protocol, corpus = case

    split = protocol.split(corpus)

    everyone = list(range(len(corpus)))
    assert sorted(i for fold in split.folds for i in fold.test) == everyone
    for fold in split.folds:
        assert sorted(fold.train + fold.val + fold.test) == everyone
        assert all(list(fold.part(role)) == sorted(fold.part(role)) for role in ROLES)


@settings(max_examples=60, deadline=None)
@given(foldable())
def test_roles_share_no_speaker(case):
    protocol, corpus = case

    for fold in protocol.split(corpus).folds:
        train, val, test = ({corpus[i].speaker for i in fold.part(role)} for role in ROLES)
        assert len(train | val | test) == len(train) + len(val) + len(test)


@settings(max_examples=60, deadline=None)
@given(foldable())
def test_the_group_after_the_tested_one_validates(case):
    protocol, corpus = case
    names = list(protocol.groups)

    folds = protocol.split(corpus).folds

    assert [fold.name for fold in folds] == names
    for k, fold in enumerate(folds):
        assert {corpus[i].speaker for i in fold.val} <= set(protocol.groups[names[(k + 1) % len(names)]])


@settings(max_examples=60, deadline=None)
@given(foldable(), st.randoms())
def test_the_hash_depends_neither_on_the_order_of_the_utterances_nor_on_their_paths(case, random):
    protocol, corpus = case
    moved = [replace(u, path=Path("/elsewhere") / u.path) for u in corpus]
    random.shuffle(moved)

    assert protocol.split(moved).sha256 == protocol.split(corpus).sha256


@settings(max_examples=60, deadline=None)
@given(foldable(), st.data())
def test_the_hash_changes_when_one_utterance_changes_its_role(case, data):
    protocol, corpus = case
    split = protocol.split(corpus)
    k = data.draw(st.integers(0, len(split.folds) - 1), label="fold")
    role, other = data.draw(st.permutations(ROLES), label="from, to")[:2]
    fold = split.folds[k]
    moved = data.draw(st.sampled_from(fold.part(role)), label="position")

    changed = replace(
        fold,
        **{role: tuple(i for i in fold.part(role) if i != moved), other: tuple(sorted((*fold.part(other), moved)))},
    )
    folds = (*split.folds[:k], changed, *split.folds[k + 1 :])

    assert replace(split, folds=folds).sha256 != split.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda protocol, corpus: replace(protocol, version=2).split(corpus),
        lambda protocol, corpus: replace(protocol, name="others").split(corpus),
        lambda protocol, corpus: replace(protocol, groups={"x": ("a",), "b": ("b",), "c": ("c",)}).split(corpus),
        lambda protocol, corpus: protocol.split(corpus[:-1]),
        lambda protocol, corpus: protocol.split([replace(corpus[0], id="renamed"), *corpus[1:]]),
        lambda protocol, corpus: protocol.split([replace(corpus[0], speaker="c"), *corpus[1:]]),
    ],
    ids=["version", "name", "fold", "utterance left out", "id", "speaker"],
)
def test_the_hash_changes_with_whatever_the_split_is_about(change):
    protocol = folding({"a": ("a",), "b": ("b",), "c": ("c",)})
    corpus = utterances("aabbcc")

    assert change(protocol, corpus).sha256 != protocol.split(corpus).sha256


def test_another_field_can_be_the_key():
    protocol = folding({"1": ("Ses01",), "2": ("Ses02",), "3": ("Ses03",)}, name="session", key="session")
    corpus = [replace(u, session=f"Ses0{1 + i // 2}") for i, u in enumerate(utterances("abcdef"))]

    split = protocol.split(corpus)

    assert split.protocol == "session/1"
    assert [fold.test for fold in split.folds] == [(0, 1), (2, 3), (4, 5)]
    assert [fold.val for fold in split.folds] == [(2, 3), (4, 5), (0, 1)]
    assert protocol.promises == {"session": "all", "speaker": "all"}


def test_a_speaker_of_no_group_is_refused_with_the_known_ones():
    protocol = folding({"1": ("a",), "2": ("b",), "3": ("c",)})

    with pytest.raises(ProtocolError, match=r"'speakers' knows no group for speaker x, y\. It knows: a, b, c"):
        protocol.split(utterances("abcyx"))


def test_a_value_that_the_corpus_does_not_know_is_refused():
    with pytest.raises(ProtocolError, match="no group for session None"):
        folding({"1": ("a",), "2": ("b",), "3": ("c",)}, key="session").split(utterances("abc"))


def test_a_group_without_utterances_is_refused():
    with pytest.raises(ProtocolError, match=r"no utterance in group 3 \(an incomplete corpus\?\)"):
        folding({"1": ("a",), "2": ("b",), "3": ("c",)}).split(utterances("aabb"))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_groups_cannot_fill_three_roles(n):
    groups = {name: (name,) for name in "ab"[:n]}

    with pytest.raises(ProtocolError, match=f"{n} groups.*at least 3"):
        folding(groups).split(utterances(groups))


def test_a_speaker_of_two_groups_is_refused():
    with pytest.raises(ProtocolError, match="speaker b belongs to more than one group"):
        folding({"1": ("a", "b"), "2": ("b", "d"), "3": ("c",)}).split(utterances("abcd"))


def test_the_hash_is_that_of_the_table_of_utterance_fold_and_role():
    split = Split("p/1", ("u2", "u1"), (Fold("f", train=(0,), val=(), test=(1,)),))

    assert split.sha256 == hashlib.sha256(b'["p/1", [["u1", "f", "test"], ["u2", "f", "train"]]]').hexdigest()
