"""Published claims: the ones that are shipped, their splits, and each way to write a wrong one."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w

from sertbench import claim, claim_file, claim_splits, plugins
from sertbench.claim import SplitRule
from sertbench.corpus import Manifest, Utterance
from sertbench.errors import ClaimError
from sertbench.protocols import Split
from sertbench.replay_stamp import dishonest

GOOD = """
title = "A claim"
paper = "Nobody, Nowhere 2026"
sources = ["https://example.org"]
differs = ["everything"]
drop_shorter_than = 0.4
[seeds]
list = [3, 1]
[[corpora]]
dataset = "demo"
labels = "4class"
subsets = { all = [384, 300] }
[[splits]]
name = "half"
rule = "random"
train = 0.5
epoch = "best on test"
[[models]]
name = "cnn"
[[variants]]
name = "wide"
models = ["cnn"]
recipe = { mixup = 1.0 }
[[published]]
model = "cnn"
split = "half"
wa = [70.5, 1.0]
ua = [71]
source = "table 1"
"""


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", claim.names())
def test_a_shipped_claim_names_corpora_label_sets_subsets_and_protocols_that_exist(name):
    one = claim_file.load(name)

    for entry in one.corpora:
        corpus = plugins.load_corpus(entry.dataset).corpus
        label_set = corpus.label_set(entry.labels)
        assert set(entry.subsets) <= {"all", *corpus.subsets}
        for subset, counts in entry.subsets.items():
            known = label_set.counts if subset == "all" else label_set.subset_counts.get(subset, {})
            if counts and known:
                assert counts[0] == sum(known.values()), (entry.dataset, subset)
        for rule in one.splits:
            if rule.protocol and (not rule.datasets or entry.dataset in rule.datasets):
                assert rule.protocol in {p.name for p in corpus.protocols}
    for rule in one.splits:
        assert not rule.table or (one.path.parent / rule.table).is_file()
    assert all(row.source for row in one.published)
    assert one.sources
    assert one.differs


def test_the_glam_claim_holds_the_published_counts_and_figures():
    one = claim_file.load("glam-icassp22")

    assert one.corpora[0].subsets == {"improvised": (2659, 2236), "scripted": (2277, 2075), "all": (4936, 4311)}
    assert one.figures("glam", "80-20", "iemocap", "improvised", "").wa == (81.18, 1.47)
    assert one.figures("glam", "8-1-1", "iemocap", "all", "").ua == (72.56, 2.05)
    assert one.figures("glam", "80-20", "iemocap", "improvised", "mixup-3").weighted_f1 == (80.44, 1.45)
    assert one.figures("glam", "80-20", "iemocap", "all", "mixup-3") is None
    assert one.names == {"weighted_f1": "micro F1"}
    assert len(one.published) == 33
    assert round(one.model("glam").recipe["hop"] * 16000, 6) == 3199


@pytest.mark.parametrize("name", claim.names())
def test_a_shipped_claim_says_of_no_plugin_that_it_is_none(name):
    one, there = claim_file.load(name), set(plugins.names("models"))

    said = [text for text in one.not_known if "not a plug-in" in text or "not plug-ins" in text]
    assert bool(said) == (not any(model.name in there for model in one.models))


def test_the_released_seed_list_is_drawn_as_its_script_does():
    np.random.seed(2021)
    drawn = np.random.randint(0, 2**32 - 1, 100, dtype=np.int64)

    assert claim_file.load("glam-icassp22").seeds.numbers == tuple(drawn.tolist())


def test_a_claim_of_ones_own_is_read(tmp_path):
    one = claim_file.load(write(tmp_path, GOOD))

    assert (one.name, one.seeds.numbers, one.splits[0].train) == ("mine", (3, 1), 0.5)
    assert one.figures("cnn", "half", "demo", "all", "").ua == (71.0,)


def test_the_example_of_the_documentation_is_a_claim(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "replay.md").read_text(encoding="utf-8")
    example = page.partition("A claim is a TOML file")[2].partition("```toml")[2].partition("```")[0]

    one = claim_file.load(write(tmp_path, example))

    assert one.figures("glam", "80-20", "iemocap", "improvised", "").wa == (81.18, 1.47)


CHANGES = {
    "unknown key": (lambda c: c.update(titel="x"), "no key is called 'titel'. Did you mean 'title'"),
    "its own name": (lambda c: c.update(name="x"), "'name' is not for the file to say"),
    "missing key": (lambda c: c.pop("paper"), "paper is missing"),
    "wrong kind": (lambda c: c.update(title=3), "title = 3 is not accepted: expected a str"),
    "a table for a list": (lambda c: c.update(corpora={"a": 1}), "corpora = {'a': 1} is not accepted: expected a list"),
    "a number for a table": (lambda c: c.update(seeds=3), "seeds: expected a table"),
    "true for a number": (lambda c: c.update(drop_shorter_than=True), "drop_shorter_than = True is not accepted"),
    "no models": (lambda c: c.update(models=[], variants=[], published=[]), "models is empty"),
    "twice": (lambda c: c["models"].append({"name": "cnn"}), "models has cnn twice"),
    "no seeds": (lambda c: c["seeds"].update(list=[]), "seeds needs either a `list`"),
    "two seed rules": (lambda c: c["seeds"].update(numpy_seed=1, count=2), "seeds needs either a `list`"),
    "negative seed": (lambda c: c["seeds"].update(list=[-1]), "different whole numbers from 0"),
    "kept more": (lambda c: c["corpora"][0].update(subsets={"all": [3, 4]}), "subsets.all = [3, 4] is not accepted"),
    "one count": (lambda c: c["corpora"][0].update(subsets={"all": [3]}), "subsets.all = [3] is not accepted"),
    "unknown rule": (lambda c: c["splits"][0].update(rule="randon"), "no choice is called 'randon'. Did you mean"),
    "unknown epoch rule": (lambda c: c["splits"][0].update(epoch="best"), "no choice is called 'best'"),
    "rule lacks its share": (lambda c: c["splits"][0].pop("train"), "the rule 'random' needs 'train'"),
    "rule says too much": (lambda c: c["splits"][0].update(folds=3), "the rule 'random' does not use 'folds'"),
    "nothing to test": (lambda c: c["splits"][0].update(validation=0.5), "shares that leave some to test"),
    "nothing to validate": (
        lambda c: c["splits"][0].update(epoch="best on validation"),
        "needs a share of `validation`",
    ),
    "unknown score": (lambda c: c["splits"][0].update(by=["uar"]), "no score is called 'uar'"),
    "published for nothing": (lambda c: c["published"][0].update(model="cm"), "no model (published, entry 1)"),
    "figure of three": (lambda c: c["published"][0].update(wa=[1, 2, 3]), "figures are percent, [mean] or [mean, SD]"),
    "figure beyond 100": (lambda c: c["published"][0].update(wa=[170]), "figures are percent"),
    "variant of nothing": (lambda c: c["variants"][0].update(models=["x"]), "no model (variant 'wide')"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_wrong_claim_is_refused_with_the_reason(change, said, tmp_path):
    raw = tomllib.loads(GOOD)
    change(raw)

    with pytest.raises(ClaimError) as caught:
        claim_file.load(write(tmp_path, tomli_w.dumps(raw)))

    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"[[", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_refused(content, tmp_path):
    (tmp_path / "mine.toml").write_bytes(content)

    with pytest.raises(ClaimError, match="is not TOML"):
        claim_file.load(str(tmp_path / "mine.toml"))


def test_an_unknown_claim_gets_the_nearest_name_and_a_missing_file_its_reason(tmp_path):
    with pytest.raises(ClaimError, match="Did you mean 'glam-icassp22'"):
        claim_file.load("glam-icasp22")
    with pytest.raises(ClaimError, match="No such file"):
        claim_file.load(str(tmp_path / "none.toml"))


# --- splits


def people(n: int) -> list[Utterance]:
    return [Utterance(f"u{i:03}", Path("x.wav"), "a", f"s{i % 4}") for i in range(n)]


def rule(kind: str, **more) -> SplitRule:
    return SplitRule("x", kind, more.pop("epoch", "last"), **more)


def split(given: SplitRule, seed: int, n: int, folder: Path = Path()) -> Split:
    return claim_splits.split(given, seed, people(n), plugins.load_corpus("demo").corpus, folder)


@pytest.mark.parametrize("seed", [0, 2021, 2**32 - 1])
def test_the_random_split_is_the_releases_draw_and_drops_to_whole_numbers(seed):
    made = split(rule("random", train=0.8), seed, 103)

    (fold,) = made.folds
    np.random.seed(seed)
    assert fold.train == tuple(sorted(np.random.choice(range(103), int(103 * 0.8), replace=False).tolist()))
    assert (len(fold.train), len(fold.test)) == (82, 21)
    assert fold.val == fold.test
    assert not set(fold.train) & set(fold.test)


def test_a_three_way_split_trains_on_the_same_and_each_seed_draws_anew():
    two, three = split(rule("random", train=0.8), 5, 100), split(rule("random", train=0.8, validation=0.1), 5, 100)

    assert two.folds[0].train == three.folds[0].train
    assert (len(three.folds[0].val), len(three.folds[0].test)) == (10, 10)
    assert set(two.folds[0].test) == {*three.folds[0].val, *three.folds[0].test}
    assert split(rule("random", train=0.8), 6, 100).folds[0].train != two.folds[0].train
    assert split(rule("random", train=0.8), 6, 100).sha256 != two.sha256


def test_k_folds_are_scikit_learns_and_test_each_utterance_once():
    from sklearn.model_selection import KFold

    made = split(rule("kfold", folds=10), 46, 25)

    assert made.tested == tuple(range(25))
    wanted = [tuple(t.tolist()) for _, t in KFold(10, shuffle=True, random_state=46).split(np.arange(25))]
    assert [fold.test for fold in made.folds] == wanted


@pytest.mark.parametrize(
    ("given", "n", "said"),
    [
        (rule("kfold", folds=10), 4, "10 folds need 10 utterances"),
        (rule("random", train=0.1), 4, "no utterance to train"),
        (rule("random", train=0.8, validation=0.1), 9, "validation = 0.1 of 9 utterances is none"),
        (rule("kfold", folds=2, validation=0.2), 8, "validation = 0.2 of 4 utterances is none"),
        (rule("protocol", protocol="sesion"), 8, "no protocol of this corpus is called 'sesion'"),
    ],
)
def test_a_split_that_the_utterances_do_not_fit_is_refused(given, n, said):
    with pytest.raises(ClaimError, match=said):
        split(given, 0, n)


def table(folder: Path, rows: list[str], header: str = "utterance,fold,role") -> SplitRule:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    return rule("table", table="t.csv", validation=0.25)


def test_a_table_of_test_parts_trains_on_the_others_and_draws_its_validation_part(tmp_path):
    given = table(tmp_path, [f"u{i:03},{i % 2},test" for i in range(20)])

    a, b = split(given, 1, 20, tmp_path), split(given, 2, 20, tmp_path)

    assert a.tested == tuple(range(20))
    for fold in a.folds:
        assert (len(fold.train), len(fold.val), len(fold.test)) == (8, 2, 10)
        assert sorted(fold.train + fold.val + fold.test) == list(range(20))
    assert a.folds[0].val != b.folds[0].val


OWN = [f"u{i:03},0,{role}" for i, role in enumerate(("test", "test", "val", "val", "train", "train", "train", "train"))]


def test_a_table_that_names_its_validation_part_keeps_it(tmp_path):
    given = replace(table(tmp_path, OWN), validation=0.0, epoch="best on validation")
    (fold,) = split(given, 1, 8, tmp_path).folds
    assert (fold.train, fold.val, fold.test) == ((4, 5, 6, 7), (2, 3), (0, 1))

    with pytest.raises(ClaimError, match=r"validate in fold 0, and split .* would draw others"):
        split(replace(given, validation=0.25), 1, 8, tmp_path)


def test_the_best_epoch_on_validation_needs_a_validation_part_in_each_fold_of_a_table(tmp_path):
    rows = [*OWN, "u002,1,test", "u000,1,train"]
    given = replace(table(tmp_path, rows), validation=0.0)
    assert split(replace(given, epoch="last"), 1, 8, tmp_path).folds[1].val == (2,)
    with pytest.raises(ClaimError, match="fold 1 has no utterance that validates"):
        split(replace(given, epoch="best on validation"), 1, 8, tmp_path)


def test_an_epoch_that_is_chosen_on_the_test_speakers_is_told(tmp_path):
    """Neither training nor the test utterances show it: the speakers of the table's validation part are tested."""
    given = replace(table(tmp_path, OWN), validation=0.0, epoch="best on validation")
    people = tuple(Utterance(f"u{i:03}", Path("x.wav"), "a", "abccddee"[i]) for i in range(8))
    shared = tuple(replace(u, speaker="a") if u.id == "u002" else u for u in people)
    for utterances, told in ((people, []), (shared, ["the epoch is chosen on 50 % of the test speakers"])):
        data = Manifest("c", "l", "all", ("a",), utterances, (0,) * 8, ("0",) * 8, (1.0,) * 8)
        made = SimpleNamespace(manifest=data, split=split(given, 1, 8, tmp_path), model=plugins.load_model("svm"))
        assert dishonest(SimpleNamespace(plan=made, rule=given, dropped=(), n_before=8)) == told


def test_the_partner_of_a_test_speaker_in_training_is_told(tmp_path):
    """Ten speakers of five sessions, one tested in each fold: no speaker is shared, but each session is."""
    rows = [f"u{i:03},{i},test" for i in range(10)]
    given = replace(table(tmp_path, rows), validation=0.0)
    pairs = tuple(Utterance(f"u{i:03}", Path("x.wav"), "a", f"s{i}", session=f"{i // 2}") for i in range(10))
    alone = tuple(replace(u, session=None) for u in pairs)
    for utterances, told in ((pairs, ["100 % of the test part's recording sessions are in training"]), (alone, [])):
        data = Manifest("c", "l", "all", ("a",), utterances, (0,) * 10, ("0",) * 10, (1.0,) * 10)
        made = SimpleNamespace(manifest=data, split=split(given, 1, 10, tmp_path), model=plugins.load_model("cnn"))
        assert dishonest(SimpleNamespace(plan=made, rule=given, dropped=(), n_before=10)) == told


@pytest.mark.parametrize(("model", "told"), [("svm", True), ("cnn", False)])
def test_an_estimator_that_validates_on_the_test_part_is_told_whatever_the_epoch(model, told):
    """A network's last epoch looks at no validation part; a support vector machine takes the C that is best there."""
    people = tuple(Utterance(f"u{i:03}", Path("x.wav"), "a", f"s{i}") for i in range(8))
    data = Manifest("c", "l", "all", ("a",), people, (0,) * 8, ("0",) * 8, (1.0,) * 8)
    given = rule("kfold", folds=2)
    made = SimpleNamespace(manifest=data, split=split(given, 1, 8), model=plugins.load_model(model))
    said = dishonest(SimpleNamespace(plan=made, rule=given, dropped=(), n_before=8))
    assert said == ["the model chooses among its own candidates on the test part"] * told


TEST = [f"u{i:03},0,test" for i in range(4)] + [f"u{i:03},0,train" for i in range(4, 8)]


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        (TEST[:-1], "utterance,fold,role", "1 of the corpus are not in the table: u007"),
        ([*TEST, "u999,0,train"], "utterance,fold,role", "1 are not in the corpus: u999"),
        ([*TEST, TEST[0]], "utterance,fold,role", "line 10: u000 is in fold 0 already"),
        ([*TEST, "u000,1,test"], "utterance,fold,role", "tested in more than one fold: u000"),
        ([*TEST, "u000,1,dev"], "utterance,fold,role", "no role is called 'dev'"),
        (TEST, "id,fold,role", "its columns are id, fold, role; expected utterance, fold, role"),
        ([*TEST, "u000"], "utterance,fold,role", "no role is called 'None'"),
    ],
)
def test_a_wrong_table_is_refused(rows, header, said, tmp_path):
    with pytest.raises(ClaimError) as caught:
        split(table(tmp_path, rows, header), 0, 8, tmp_path)

    assert said in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(ClaimError, match=r"none\.csv cannot be read"):
        split(rule("table", table="none.csv"), 0, 8, tmp_path)


def test_emobox_tests_each_utterance_of_emodb_once_with_all_its_speakers_in_training(tmp_path):
    ids = sorted(plugins.load_corpus("emodb").corpus.expected_ids())
    emodb_folds = next(one for one in claim_file.load("emobox").splits if one.name == "emodb-folds")

    folds = split(emodb_folds, 0, len(ids), tmp_path).folds

    assert [len(fold.test) for fold in folds] == [107] * 5
    assert sorted(i for fold in folds for i in fold.test) == list(range(535))
    for fold in folds:
        assert len({ids[i][:2] for i in fold.test}) == 10
        assert {ids[i][:2] for i in fold.test} == {ids[i][:2] for i in fold.train}
