"""The rules beside GroupFolds: each keeps what it promises, and folds the published corpora into the right sizes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sertbench.datasets.demo import Demo
from sertbench.datasets.emodb import EmoDB
from sertbench.datasets.iemocap import Iemocap
from sertbench.datasets.ravdess import Ravdess

from sertbench.corpus import Utterance
from sertbench.errors import ProtocolError
from sertbench.protocol_rules import (
    BlockFolds,
    OfficialSplit,
    PartnerFolds,
    RandomFolds,
    SharedValidation,
    SpeakerFolds,
    shuffled,
)
from sertbench.protocols import ROLES, GroupFolds
from sertbench.selection import select

# --- each rule on a small corpus: in each of 4 sessions 2 speakers say 6 scripted and 2 improvised texts, twice

SESSIONS = {session: (session,) for session in "1234"}
PAIRS = {session: (f"f{session}", f"m{session}") for session in SESSIONS}
SCRIPTS = {"a": ("a1", "a2"), "b": ("b1", "b2"), "c": ("c1", "c2")}
IMPROVISED = ("i1", "i2")
TEXTS = {**SCRIPTS, "i": IMPROVISED}
PARTS = {"a": "train", "i": "train", "b": "val", "c": "test"}

CORPUS = [
    Utterance(
        id=f"{speaker}-{text}-{take}",
        path=Path(f"{speaker}-{text}-{take}.wav"),
        label="calm",
        speaker=speaker,
        session=speaker[1],
        text=text,
        partition=PARTS[text[0]],
    )
    for speaker, text, take in product(sum(PAIRS.values(), ()), sum(TEXTS.values(), ()), "12")
]

RULES = {
    p.name: p
    for p in (
        GroupFolds("refit", 1, "session", SESSIONS, refit=True),
        GroupFolds("texts", 1, "text", TEXTS, keeps=()),
        SpeakerFolds("speakers", 1, groups=3),
        SharedValidation("shared-validation", 1, "session", SESSIONS),
        SharedValidation("two-texts", 1, "text", {"1": sum(SCRIPTS.values(), ()), "2": IMPROVISED}, keeps=(),
                         drawn="speaker"),
        PartnerFolds("partner", 1, tuple(PAIRS.values())),
        BlockFolds("blocks", 1, "speaker", PAIRS, TEXTS),
        BlockFolds("blocks-shared-texts", 1, "speaker", PAIRS, {"1": (*TEXTS["a"], *TEXTS["b"]), "2":
                   (*TEXTS["c"], *TEXTS["i"])}, shared_texts=True),
        BlockFolds("scripts", 1, "session", SESSIONS, SCRIPTS, shared_texts=True, untested=IMPROVISED),
        BlockFolds("scripts-apart", 1, "session", SESSIONS, SCRIPTS, untested=IMPROVISED),
        RandomFolds("random-two-tenths", 1, test_tenths=2, n_folds=1),
        RandomFolds("random-five", 1, test_tenths=2, n_folds=5),
        RandomFolds("random-ten", 1, test_tenths=1, n_folds=10),
        OfficialSplit("official", 1, promises={"text": "all"}),
    )
}  # fmt: skip
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
some = settings(max_examples=10, deadline=None)


@st.composite
def parts_of_the_corpus(draw):
    """The small corpus without some of its utterances, but with one at least of each speaker and script."""
    kept = draw(st.integers(0, 2 ** len(CORPUS) - 1), label="kept")  # one bit for each utterance
    return [u for i, u in enumerate(CORPUS) if kept >> i & 1 or u.id.endswith("1-1")]


def part(split, fold, role, key="id"):
    """The values of a field that a role of a fold has."""
    by_id = {u.id: u for u in CORPUS}
    return {getattr(by_id[split.ids[i]], key) for i in fold.part(role)}


@each_rule
@some
@given(corpus=parts_of_the_corpus())
def test_each_fold_has_three_roles_that_share_nothing_promised(rule, corpus):
    split = rule.split(corpus)

    assert split.protocol == f"{rule.name}/1"
    assert split.folds
    for fold in split.folds:
        assert all(list(fold.part(role)) == sorted(set(fold.part(role))) != [] for role in ROLES)
        for key, between in {"id": "all", **rule.promises}.items():
            train, val, test = (part(split, fold, role, key) for role in ROLES)
            assert test.isdisjoint(train | val)
            assert between == "test" or train.isdisjoint(val)


@each_rule
@some
@given(corpus=parts_of_the_corpus())
def test_what_is_covered_is_tested_once_and_everything_is_used(rule, corpus):
    split = rule.split(corpus)

    everything = list(range(len(corpus)))
    assert len(set(split.tested)) == len(split.tested)
    assert (list(split.tested) == everything) == (rule.covers == "all")
    assert sorted({i for fold in split.folds for role in ROLES for i in fold.part(role)}) == everything
    assert len({fold.name for fold in split.folds}) == len(split.folds)


@each_rule
@some
@given(corpus=parts_of_the_corpus(), random=st.randoms())
def test_neither_order_nor_paths_change_a_split(rule, corpus, random):
    moved = [replace(u, path=Path("/elsewhere") / u.path) for u in corpus]
    random.shuffle(moved)

    assert rule.split(moved).sha256 == rule.split(corpus).sha256


@each_rule
def test_another_version_is_another_hash(rule):
    assert replace(rule, version=2).split(CORPUS).sha256 != rule.split(CORPUS).sha256


def test_a_draw_is_the_same_everywhere_and_forever():
    assert shuffled("abcdef", "seed") == ["e", "f", "b", "a", "c", "d"]
    assert shuffled("fedcba", "seed") == shuffled("abcdefa", "seed")
    assert shuffled("abcdef", "another seed") != shuffled("abcdef", "seed")


def test_refitting_changes_the_name_and_not_the_folds():
    plain = GroupFolds("plain", 1, "session", SESSIONS)

    split = RULES["refit"].split(CORPUS)

    assert (RULES["refit"].refit, plain.refit) == (True, False)
    assert split.folds == plain.split(CORPUS).folds
    assert split.sha256 != plain.split(CORPUS).sha256


def test_a_fifth_of_what_is_not_tested_validates_with_speakers_that_train():
    split = RULES["shared-validation"].split(CORPUS)

    assert [fold.name for fold in split.folds] == list(SESSIONS)
    for fold in split.folds:
        assert part(split, fold, "test", "session") == {fold.name}
        assert (len(fold.train), len(fold.val), len(fold.test)) == (77, 19, 32)
        assert part(split, fold, "val", "speaker") & part(split, fold, "train", "speaker")


def test_each_fold_and_each_version_has_a_draw_of_its_own():
    rule = RULES["shared-validation"]

    first, *_, last = rule.split(CORPUS).folds
    drawn_anew, *_ = replace(rule, version=2).split(CORPUS).folds

    both = {i for i, u in enumerate(CORPUS) if u.session in "23"}
    assert set(first.val) & both != set(last.val) & both
    assert drawn_anew.val != first.val


def test_whole_speakers_can_be_drawn():
    split = RULES["two-texts"].split(CORPUS)

    for fold in split.folds:
        assert len(part(split, fold, "val", "speaker")) == 2  # a fifth of eight, rounded
        assert part(split, fold, "val", "speaker").isdisjoint(part(split, fold, "train", "speaker"))
        assert part(split, fold, "test", "speaker") == {u.speaker for u in CORPUS}


def test_the_partner_alone_validates_and_never_trains():
    split = RULES["partner"].split(CORPUS)

    assert [fold.name for fold in split.folds] == ["f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4"]
    for fold in split.folds:
        assert part(split, fold, "test", "speaker") == {fold.name}
        assert part(split, fold, "val", "speaker") == set(PAIRS[fold.name[1]]) - {fold.name}
        assert part(split, fold, "train", "session") == set(SESSIONS) - {fold.name[1]}


def test_a_block_is_tested_and_the_block_after_it_validates():
    split = RULES["blocks"].split(CORPUS)

    fold = split.folds[-1]
    assert len(split.folds) == 16
    assert fold.name == "4_i"
    assert (part(split, fold, "test", "speaker"), part(split, fold, "test", "text")) == ({"f4", "m4"}, {"i1", "i2"})
    assert (part(split, fold, "val", "speaker"), part(split, fold, "val", "text")) == ({"f1", "m1"}, {"a1", "a2"})
    assert part(split, fold, "train", "speaker") == {"f2", "m2", "f3", "m3"}
    assert part(split, fold, "train", "text") == {"b1", "b2", "c1", "c2"}


def test_with_shared_texts_all_but_the_tested_ones_train_and_validate():
    split = RULES["blocks-shared-texts"].split(CORPUS)

    assert len(split.folds) == 8
    for fold in split.folds:
        texts = part(split, fold, "train", "text")
        assert texts == part(split, fold, "val", "text") == {u.text for u in CORPUS} - part(split, fold, "test", "text")


def test_improvised_turns_train_and_validate_but_are_never_tested():
    split = RULES["scripts"].split(CORPUS)

    assert len(split.folds) == 12
    for fold in split.folds:
        session, script = fold.name.split("_")
        assert part(split, fold, "test", "text") == set(SCRIPTS[script])
        assert part(split, fold, "test", "session") == {session}
        others = {u.text for u in CORPUS} - set(SCRIPTS[script])
        assert part(split, fold, "train", "text") == part(split, fold, "val", "text") == others


def test_ten_random_folds_validate_each_utterance_once_too():
    folds = RULES["random-ten"].split(CORPUS).folds

    assert sorted(i for fold in folds for i in fold.val) == list(range(len(CORPUS)))
    assert [fold.val for fold in folds] == [fold.test for fold in (*folds[1:], folds[0])]


def test_the_published_parts_are_the_roles():
    split = RULES["official"].split(CORPUS)

    (fold,) = split.folds
    assert {role: part(split, fold, role, "partition") for role in ROLES} == {role: {role} for role in ROLES}


# --- what cannot be folded


@pytest.mark.parametrize(
    ("rule", "corpus", "said"),
    [
        ("scripts", [u for u in CORPUS if u.text in IMPROVISED], "'scripts', fold 1_a: no utterance to test"),
        ("scripts", [replace(CORPUS[0], text="d1"), *CORPUS[1:]], "no group for text d1. It knows: a1, a2, b1, b2"),
        ("blocks", [replace(CORPUS[0], text=None), *CORPUS[1:]], "'blocks' knows no group for text None"),
        ("partner", [replace(CORPUS[0], speaker="x"), *CORPUS[1:]], "'partner' knows no group for speaker x"),
        ("partner", [u for u in CORPUS if u.speaker != "m1"], "'partner', fold f1: no utterance to val"),
        ("shared-validation", CORPUS[:96], r"no utterance in group 4 \(an incomplete corpus\?\)"),
        ("random-ten", CORPUS[:9], "fold 1: no utterance to test"),
        ("official", [replace(CORPUS[0], partition="dev"), *CORPUS[1:]], "for 1 utterances: f1-a1-1"),
        ("official", [replace(u, partition=None) for u in CORPUS], "for 128 utterances: f1-a1-1, .* and 120 more"),
        ("official", [u for u in CORPUS if u.partition != "val"], "fold official: no utterance to val"),
    ],
)
def test_what_does_not_fit_is_refused(rule, corpus, said):
    with pytest.raises(ProtocolError, match=said):
        RULES[rule].split(corpus)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (PartnerFolds("p", 1, (("f1", "m1"), ("f2", "m1"))), "speaker m1 belongs to more than one group"),
        (PartnerFolds("p", 1, (("f1", "m1"),)), "1 groups by speaker; it needs at least 2"),
        (SharedValidation("p", 1, "session", {"1": ("1",)}), "1 groups by session; it needs at least 2"),
        (replace(RULES["shared-validation"], share=0.001), "fold 1: no utterance to val"),
        (BlockFolds("p", 1, "session", {"1": ("1",), "2": ("2",)}, TEXTS), "2 groups by session; it needs at least 3"),
        (BlockFolds("p", 1, "session", SESSIONS, TEXTS, untested=("i1",)), "text i1 belongs to more than one group"),
        (BlockFolds("p", 1, "speaker", PAIRS, {"1": (*TEXTS["a"], *TEXTS["b"]), "2": (*TEXTS["c"], *TEXTS["i"])}),
         "fold 1_1: no utterance to train"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(rule, said):
    with pytest.raises(ProtocolError, match=said):
        rule.split(CORPUS)


# --- the protocols of the built-in corpora, at full size

# Turns of IEMOCAP's 4 classes per session: those of the woman, and of these and the man's together per text.
TURNS = {
    "1": (528, {"impro01": 521, "script01_1": 209, "script02_1": 177, "script03_1": 178}),
    "2": (481, {"impro02": 530, "script01_2": 154, "script02_2": 165, "script03_2": 174}),
    "3": (522, {"impro03": 627, "script01_3": 246, "script02_1": 147, "script03_1": 131}),
    "4": (528, {"impro04": 534, "script01_1": 177, "script02_2": 131, "script03_2": 189}),
    "5": (590, {"impro08": 731, "script01_2": 195, "script02_1": 131, "script03_1": 184}),
}


def by_name(corpus, utterances):
    """The split of each of a corpus's protocols."""
    return {p.name: p.split(utterances) for p in corpus.protocols}


def sizes(split):
    """Utterances per fold: (train, val, test)."""
    return [(len(fold.train), len(fold.val), len(fold.test)) for fold in split.folds]


@pytest.fixture(scope="module")
def iemocap():
    """As many turns of each session, talker and script as IEMOCAP has, with made-up numbers."""
    turns = []
    for session, (women, counts) in TURNS.items():
        texts = [text for text, n in counts.items() for _ in range(n)]
        for k, text in enumerate(texts):
            talker = "F" if k < women else "M"
            id_ = f"Ses0{session}F_{text}_{talker}{k:04d}"
            style = "improvised" if text.startswith("impro") else "scripted"
            turn = Utterance(id_, Path(f"{id_}.wav"), "sad", session + talker, session=session, text=text, style=style)
            turns.append(turn)
    return turns


@pytest.fixture(scope="module")
def acted(tmp_path_factory):
    """The utterances of the corpora that are known by their names, in the default label set."""
    found = {}
    for corpus in (Demo, EmoDB, Ravdess):
        root = tmp_path_factory.mktemp("tree")
        for stem in corpus().expected_ids():
            (root / f"{stem}.wav").touch()
        found[corpus] = select(corpus(), corpus.__name__, root, corpus.label_sets[0], "all")
    return found


SESSION_FOLDS = [(3423, 1023, 1085), (3357, 1151, 1023), (3349, 1031, 1151), (3259, 1241, 1031), (3205, 1085, 1241)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("session5", SESSION_FOLDS),
        ("session5-refit", SESSION_FOLDS),
        (
            "session5-sharedval",
            [(3557, 889, 1085), (3606, 902, 1023), (3504, 876, 1151), (3600, 900, 1031), (3432, 858, 1241)],
        ),
        (
            "speaker10-compat",
            [(4446, 557, 528), (4446, 528, 557), (4508, 542, 481), (4508, 481, 542), (4380, 629, 522),
             (4380, 522, 629), (4500, 503, 528), (4500, 528, 503), (4290, 651, 590), (4290, 590, 651)],
        ),
        (
            "script-disjoint",
            [(2805, 869, 209), (3014, 858, 177), (2919, 849, 178), (2776, 905, 154), (2918, 1004, 165),
             (2806, 1020, 174), (2791, 854, 246), (2876, 900, 147), (2813, 842, 131), (2650, 1046, 177),
             (2770, 1110, 131), (2776, 1057, 189), (2628, 876, 195), (2762, 908, 131), (2711, 907, 184)],
        ),
        ("random80-20", [(3872, 553, 1106)]),
        ("random811", [(4425, 553, 553)]),
        ("random10", [(4425, 553, 553)] * 8 + [(4424, 554, 553), (4424, 553, 554)]),
    ],
)  # fmt: skip
def test_iemocap_is_folded_into_the_right_sizes(iemocap, name, expected):
    split = by_name(Iemocap, iemocap)[name]

    assert sizes(split) == expected


def test_every_scripted_turn_of_iemocap_is_tested_once_without_its_script(iemocap):
    split = by_name(Iemocap, iemocap)["script-disjoint"]

    assert [iemocap[i] for i in split.tested] == [u for u in iemocap if u.style == "scripted"]
    assert len(split.tested) == 2588
    for fold in split.folds:
        script = fold.name.split("_")[1]
        assert not any(iemocap[i].text.startswith(script) for i in (*fold.train, *fold.val))


@pytest.mark.parametrize("style", Iemocap.subsets)
def test_a_subset_of_iemocap_is_folded_as_it_is_in_the_whole(iemocap, style):
    subset = [u for u in iemocap if u.style == style]

    whole, part = Iemocap.protocols[0].split(iemocap), Iemocap.protocols[0].split(subset)

    for fold, smaller in zip(whole.folds, part.folds, strict=True):
        for role in ROLES:
            kept = [whole.ids[i] for i in fold.part(role) if iemocap[i].style == style]
            assert [part.ids[i] for i in smaller.part(role)] == kept


def test_improvised_turns_alone_cannot_be_script_disjoint(iemocap):
    subset = [u for u in iemocap if u.style == "improvised"]

    with pytest.raises(ProtocolError, match="a subset that it cannot fold"):
        next(p for p in Iemocap.protocols if p.name == "script-disjoint").split(subset)


def test_scripted_turns_alone_are_script_disjoint_too(iemocap):
    subset = [u for u in iemocap if u.style == "scripted"]

    split = next(p for p in Iemocap.protocols if p.name == "script-disjoint").split(subset)

    assert list(split.tested) == list(range(2588))


@pytest.mark.parametrize(
    ("corpus", "name", "n_folds", "train", "val", "test"),
    [
        (Demo, "text4", 4, {192}, {96}, {96}),
        (Demo, "speaker-text16", 16, {96}, {24}, {24}),
        (EmoDB, "text5", 5, {314, 318, 321, 324, 328}, {100, 103, 107, 111, 114}, {100, 103, 107, 111, 114}),
        (Ravdess, "text2", 2, {570}, {150}, {720}),
        (Ravdess, "speaker-text12", 12, {480}, {120}, {120}),
        (Ravdess, "random10", 10, {1152}, {144}, {144}),
    ],
)
def test_acted_corpora_are_folded_into_the_right_sizes(acted, corpus, name, n_folds, train, val, test):
    split = by_name(corpus, acted[corpus])[name]

    assert len(split.folds) == n_folds
    assert [set(column) for column in zip(*sizes(split), strict=True)] == [train, val, test]


def test_emodb_blocks_are_small_but_keep_speakers_and_sentences_apart(acted):
    split = by_name(EmoDB, acted[EmoDB])["speaker-text25"]

    train, val, test = zip(*sizes(split), strict=True)
    assert len(split.folds) == 25
    assert (min(train), sum(train), max(train)) == (181, 4815, 211)
    assert (min(val), sum(val), max(val)) == (min(test), sum(test), max(test)) == (16, 535, 30)


PINNED = {
    Demo: {
        "speaker4/1": "c8b4ad7316ad",
        "text4/1": "3e04a67ddac8",
        "speaker-text16/1": "2c3878a60024",
        "random10/1": "4196b8d3a214",
    },
    EmoDB: {
        "speaker5/1": "b64d3c905e34",
        "speaker10/1": "0b63295a6386",
        "text5/1": "e4117ef2d821",
        "speaker-text25/1": "002cab3abea2",
        "random10/1": "71e55ff25435",
    },
    Ravdess: {
        "speaker6/1": "0a6e9bf6729d",
        "text2/1": "78ba6d6f9c45",
        "speaker-text12/1": "50d16599e882",
        "random10/1": "e3bd93ad7b5a",
    },
}


@pytest.mark.parametrize("corpus", [Demo, EmoDB, Ravdess])
def test_published_folds_do_not_change_unless_their_version_does(acted, corpus):
    splits = by_name(corpus, acted[corpus]).values()

    assert {split.protocol: split.sha256[:12] for split in splits} == PINNED[corpus]


def test_listing_protocols_loads_no_numerical_library():
    code = "import sys, sertbench.protocol_rules; print({'numpy', 'torch', 'pandas'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
