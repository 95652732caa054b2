"""What every built-in corpus adapter must keep, and what each reads from the names of its published layout."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import pkgutil
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest

from sertbench import datasets
from sertbench.corpus import Corpus, Utterance, locate
from sertbench.errors import CorpusError, SertbenchError
from sertbench.protocol_rules import OfficialSplit
from sertbench.protocols import ROLES
from sertbench.selection import select

NAMES = sorted(module.name for module in pkgutil.iter_modules(datasets.__path__))


def adapters(name: str) -> list[type[Corpus]]:
    module = importlib.import_module(f"sertbench.datasets.{name}")
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    return [c for c in classes if issubclass(c, Corpus) and c.__module__ == module.__name__]


def adapter(name: str) -> Corpus:
    return adapters(name)[0]()


# --- complete corpora, made of empty files: names and annotations are all that an adapter reads


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def fill(folder: Path, names: Iterable[str]) -> None:
    """Make empty audio files, as links to the first: of 80,000 files, each takes many times as long as a link."""
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = (folder / name for name in names)
    first.touch()
    for path in others:
        with suppress(FileExistsError):
            path.hardlink_to(first)


def by_expected_ids(name: str, root: Path) -> None:
    """A tree for a corpus whose file names are its ids."""
    ids = adapter(name).expected_ids()
    assert ids, f"{name} tells no expected_ids: add a function that makes its complete tree to TREES"
    fill(root, (f"{stem}.wav" for stem in ids))


RATERS = "C-E2:\tNeutral;\t()\nC-F1:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n"


def annotate(session: Path, rows: list[tuple[str, str]], spoken: bool = True) -> None:
    """Write turns and their consensus lines, as IEMOCAP_full_release has them, with three raters' lines below each."""
    dialogues: dict[str, list[str]] = {}
    said: dict[str, list[str]] = {}
    for turn, code in rows:
        dialogue = turn.rpartition("_")[0]
        block = f"[6.2901 - 8.2357]\t{turn}\t{code}\t[2.5000, 3.5000, 4.0000]\n{RATERS}"
        dialogues.setdefault(dialogue, ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]).append(block)
        said.setdefault(dialogue, []).append(f"{turn} [006.2901-008.2357]: He said: [LAUGHTER]: no.\n")
    for dialogue, blocks in dialogues.items():
        for folder, lines in (("EmoEvaluation", blocks), ("transcriptions", [*said[dialogue], "M: sorry\n"])):
            path = touch(session / "dialog" / folder / f"{dialogue}.txt")
            path.write_text("\n".join(lines))
        if spoken:
            turns = [turn for turn, _ in rows if turn.rpartition("_")[0] == dialogue]
            fill(session / "sentences" / "wav" / dialogue, (f"{turn}.wav" for turn in turns))


def whole_iemocap(root: Path) -> None:
    """Turns with made-up numbers whose counts per class, style and talker are all the published ones."""
    corpus = adapter("iemocap")
    merged, base, excited = (corpus.label_set(name).speakers for name in ("4class", "4class-haponly", "4class-exconly"))
    pools = {
        "hap": [["hap", "impro"]] * 284 + [["hap", "script"]] * 311,
        "exc": [["exc", "impro"]] * 663 + [["exc", "script"]] * 378,
        "rest": [["neu", "impro"]] * 1099 + [["neu", "script"]] * 609 + [["sad", "impro"]] * 608
        + [["sad", "script"]] * 476 + [["ang", "impro"]] * 289 + [["ang", "script"]] * 814,
        "fru": [["fru", "impro"]] * 900 + [["fru", "script"]] * 949,
    }  # fmt: skip
    for pool in pools.values():
        random.Random(0).shuffle(pool)
    piles = {name: iter(pool) for name, pool in pools.items()}
    rows: dict[str, list[tuple[str, str]]] = {}
    for talker, total in merged.items():
        shares = {"exc": total - base[talker], "hap": total - excited[talker], "fru": 185}
        shares["rest"] = total - shares["exc"] - shares["hap"]
        turns = chain.from_iterable(islice(piles[name], share) for name, share in shares.items())
        for n, (code, style) in enumerate(turns):
            scene = "impro01" if style == "impro" else f"script0{1 + n % 3}_1"
            rows.setdefault(talker[0], []).append((f"Ses0{talker[0]}F_{scene}_{talker[1]}{n:03d}", code))
    for session, its_rows in rows.items():
        annotate(root / f"Session{session}", its_rows)


TREES: dict[str, Callable[[Path], None]] = {"iemocap": whole_iemocap}
for file in sorted((Path(__file__).parent / "corpus_trees").glob("*.py")):  # one per corpus: build(root, fill)
    made = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(f"tree_{file.stem}", file))
    spec.loader.exec_module(made)
    TREES[file.stem] = partial(made.build, fill=fill)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The complete tree of a corpus, made once."""
    made: dict[str, Path] = {}

    def tree(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "tree"
            TREES.get(name, partial(by_expected_ids, name))(made[name])
        return made[name]

    return tree


@pytest.fixture(scope="module")
def read(whole):
    """The utterances of a complete corpus, whose tree is read once."""
    found: dict[str, list[Utterance]] = {}

    def utterances(name: str) -> list[Utterance]:
        if name not in found:
            found[name] = list(adapter(name).utterances(whole(name)))
        return found[name]

    return utterances


@pytest.fixture(scope="module")
def chosen(whole, read):
    """What `select` gives for a complete corpus."""

    def selected(name: str, label_set: str | None = None, subset: str = "all") -> list[Utterance]:
        corpus = adapter(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(corpus, "utterances", lambda _: iter(read(name)))
            return select(corpus, name, whole(name), corpus.label_set(label_set), subset)

    return selected


# --- the contract


@pytest.mark.parametrize("name", NAMES)
def test_a_file_defines_one_corpus_and_describes_it(name):
    found = adapters(name)

    assert len(found) == 1, f"datasets/{name}.py must define exactly one subclass of Corpus, not {found}"
    module = sys.modules[found[0].__module__]
    assert module.__doc__, f"datasets/{name}.py must begin with a docstring: what, who, how large"
    assert found[0].__doc__, "the class docstring's first line is what `sertbench download` shows"
    for field in ("citation", "licence", "access", "language", "layout"):
        assert getattr(found[0], field, "").strip(), f"{found[0].__name__}.{field} must say something"


@pytest.mark.parametrize("name", NAMES)
def test_label_sets_are_sound(name):
    corpus = adapter(name)

    assert len({s.name for s in corpus.label_sets}) == len(corpus.label_sets) >= 1
    for label_set in corpus.label_sets:
        unknown = set(label_set.mapping) - set(corpus.labels.values())
        assert not unknown, f"{label_set.name} maps {unknown}, which no code of `labels` gives"
        assert len(label_set.classes) >= 2
        if label_set.counts:
            assert set(label_set.counts) == set(label_set.classes)
        if label_set.speakers:
            assert sum(label_set.speakers.values()) == sum(label_set.counts.values())
        if label_set.subset_counts:
            assert set(label_set.subset_counts) == set(corpus.subsets)
            for label, n in label_set.counts.items():
                assert sum(counts[label] for counts in label_set.subset_counts.values()) == n


@pytest.mark.parametrize("name", NAMES)
def test_a_complete_corpus_is_accepted_in_every_label_set_and_subset(name, chosen):
    corpus = adapter(name)

    for label_set in corpus.label_sets:
        for subset in ("all", *corpus.subsets):
            found = chosen(name, label_set.name, subset)

            assert {label_set.mapping[u.label] for u in found} == set(label_set.classes)
            assert [u.id for u in found] == sorted({u.id for u in found})
            assert all(u.speaker and u.gender in {"female", "male", None} for u in found)


@pytest.mark.parametrize("name", NAMES)
def test_protocols_test_what_they_say_once_and_keep_apart_what_they_promise(name, chosen):
    corpus = adapter(name)

    assert len({p.name for p in corpus.protocols}) == len(corpus.protocols) >= 1
    first = corpus.protocols[0]
    strict = "test" if corpus.unranked else "all"  # with two speakers, none is left to validate alone
    assert isinstance(first, OfficialSplit) or (
        first.covers == "all" and first.promises["speaker"] in {"all", strict}
    ), "the default is the strictest, or the split that the corpus publishes"
    for protocol in corpus.protocols:
        assert protocol.summary
        assert protocol.version >= 1
        for label_set in corpus.label_sets:
            found = chosen(name, label_set.name)

            split = protocol.split(found)

            assert len(split.tested) == len(set(split.tested))
            assert (len(split.tested) == len(found)) == (protocol.covers == "all")
            for fold in split.folds:
                for key, between in {"id": "all", **protocol.promises}.items():
                    train, val, test = ({getattr(found[i], key) for i in fold.part(role)} for role in ROLES)
                    assert train
                    assert val
                    assert test.isdisjoint(train | val)
                    assert between == "test" or train.isdisjoint(val)
                assert {label_set.mapping[found[i].label] for i in fold.train} == set(label_set.classes)


@pytest.mark.parametrize("name", [name for name in NAMES if adapter(name).expected_ids()])
def test_a_missing_file_is_named(name, whole):
    corpus, root = adapter(name), whole(name)
    gone = min(corpus.expected_ids())
    (file,) = root.rglob(f"{gone}.wav")
    aside = file.rename(file.with_suffix(".aside"))

    try:
        with pytest.raises(CorpusError, match=re.escape(f"1 missing: {gone}")):
            select(corpus, name, root, corpus.label_set(None), "all")
    finally:
        aside.rename(file)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_and_a_wrong_one_are_refused(name, tmp_path):
    corpus = adapter(name)
    empty, wrong = tmp_path / "empty", tmp_path / "wrong"
    empty.mkdir()
    touch(wrong / "music" / "track 01.wav")

    for root in (empty, wrong):
        with pytest.raises(CorpusError, match="Expected: "):
            select(corpus, name, root, corpus.label_set(None), "all")


@pytest.mark.parametrize("name", NAMES)
def test_macos_twins_are_no_utterances(name, whole, read):
    corpus, root = adapter(name), whole(name)
    before = len(read(name))
    folders = list(islice(os.walk(corpus.home(root)), 20))
    twins = [Path(folder, f"._{name}") for folder, _, names in folders for name in sorted(names)[:5]]
    assert twins
    for twin in twins:
        twin.write_bytes(b"\x00\x05\x16\x07Mac OS X")

    after = len(list(corpus.utterances(root)))

    for twin in twins:
        twin.unlink()
    assert after == before


def test_adapters_import_nothing_heavy():
    heavy = "{'numpy', 'scipy', 'soundfile', 'torch', 'pandas', 'sklearn'}"
    code = "; ".join(f"import sertbench.datasets.{name}" for name in NAMES)

    run = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.strip() == "[]", "import it inside the function that needs it"


@pytest.mark.parametrize("name", [name for name in NAMES if not adapter(name).synthetic])
def test_who_lacks_the_corpus_is_told_how_to_get_it(name, tmp_path):
    corpus = adapter(name)

    with pytest.raises(CorpusError) as caught:
        locate(name, corpus, None, tmp_path)

    for words in (corpus.access, corpus.licence, corpus.layout, "--data", "SERTBENCH_DATA"):
        assert words in str(caught.value)


# --- EMO-DB


def only(corpus: Corpus, root: Path) -> Utterance:
    (utterance,) = corpus.utterances(root)
    return utterance


def test_emodb_reads_the_file_name(tmp_path):
    path = touch(tmp_path / "wav" / "13b09Ec.wav")

    assert only(adapter("emodb"), tmp_path) == Utterance(
        id="13b09Ec", path=path, label="disgust", speaker="13", gender="female", text="b09", language="de"
    )


def test_emodb_names_are_the_published_ones():
    names = " ".join(sorted(adapter("emodb").expected_ids()))

    digest = hashlib.sha256(names.encode()).hexdigest()  # of the file names of the published archive

    assert digest == "95d0c5301f341062977520861a6fc900d800434f2ba3cd03631d774c88c25512"


def test_emodb_counts_of_the_corpus_follow_from_its_names(whole):
    found = list(adapter("emodb").utterances(whole("emodb")))

    assert len(found) == 535
    assert Counter(u.gender for u in found) == {"female": 302, "male": 233}
    assert len({u.text for u in found}) == 10
    assert "disgust" not in {u.label for u in found if u.speaker == "08"}


def test_every_emodb_fold_has_a_woman_a_man_and_all_emotions(chosen):
    found = chosen("emodb")

    for fold in adapter("emodb").protocols[0].split(found).folds:
        tested = [found[i] for i in fold.test]
        assert {u.gender for u in tested} == {"female", "male"}
        assert len({u.label for u in tested}) == 7


def test_emodb_names_an_extra_file(tmp_path):
    corpus = adapter("emodb")
    by_expected_ids("emodb", tmp_path / "wav")
    touch(tmp_path / "wav" / "03a01Ff.wav")

    with pytest.raises(CorpusError, match=r"1 extra: 03a01Ff.*bilderbar"):
        select(corpus, "emodb", tmp_path, corpus.label_set(None), "all")


def test_emodb_refuses_an_unknown_emotion_letter_and_a_foreign_name(tmp_path):
    corpus = adapter("emodb")
    odd = touch(tmp_path / "03a01Xa.wav")
    with pytest.raises(CorpusError, match=r"03a01Xa\.wav: unknown label code 'X'\. Known codes: W \(angry\)"):
        list(corpus.utterances(tmp_path))

    odd.rename(tmp_path / "17a01Fa.wav")
    with pytest.raises(CorpusError, match=r"17a01Fa\.wav is not named like a file of EMO-DB"):
        list(corpus.utterances(tmp_path))


# --- RAVDESS


def test_ravdess_reads_the_file_name(tmp_path):
    path = touch(tmp_path / "Actor_12" / "03-01-05-02-01-02-12.wav")

    assert only(adapter("ravdess"), tmp_path) == Utterance(
        id="03-01-05-02-01-02-12",
        path=path,
        label="angry",
        speaker="12",
        gender="female",
        text="01",
        transcript="Kids are talking by the door",
        intensity="strong",
        language="en",
    )


def test_ravdess_odd_actors_are_men_and_folds_are_balanced(chosen):
    found = chosen("ravdess")

    assert len(found) == 1440
    assert {u.gender for u in found if int(u.speaker) % 2} == {"male"}
    for fold in adapter("ravdess").protocols[0].split(found).folds:
        talkers = {(found[i].speaker, found[i].gender) for i in fold.test}
        assert Counter(gender for _, gender in talkers) == {"female": 2, "male": 2}


def test_a_nested_second_copy_of_ravdess_is_refused_not_counted_twice(tmp_path):
    corpus = adapter("ravdess")
    by_expected_ids("ravdess", tmp_path / "audio_speech_actors_01-24")
    touch(tmp_path / "Actor_07" / "03-01-03-01-02-01-07.wav")

    with pytest.raises(CorpusError, match=r"1 utterance found more than once .*Point --data at one"):
        select(corpus, "ravdess", tmp_path, corpus.label_set(None), "all")


@pytest.mark.parametrize("stem", ["03-02-03-01-02-01-07", "01-01-03-01-02-01-07"])
def test_ravdess_songs_and_video_sound_are_refused(tmp_path, stem):
    touch(tmp_path / "Actor_07" / f"{stem}.wav")

    with pytest.raises(CorpusError, match=rf"1 files that are song or video.*{stem}.*Audio_Speech_Actors_01-24"):
        list(adapter("ravdess").utterances(tmp_path))


# --- what is accepted as missing


@pytest.mark.parametrize("name", ["csv", "emodb", "iemocap", "meld", "msp_improv", "msp_podcast"])
def test_an_utterance_can_be_left_out_by_name_whether_its_file_is_there_or_not(name, whole, chosen):
    corpus, root, everything = adapter(name), whole(name), chosen(name)
    left_out = everything[1]
    by_id, by_path = (left_out.id,), (left_out.path.relative_to(corpus.home(root)).as_posix(),)
    rest = [u for u in everything if u != left_out]

    def selected(*said: str) -> list[Utterance]:
        return select(corpus, name, root, corpus.label_set(None), "all", said)

    assert selected(*by_id) == selected(*by_path) == rest
    aside = left_out.path.rename(left_out.path.with_suffix(".aside"))
    try:
        with pytest.raises(CorpusError, match=re.escape(left_out.path.stem.removeprefix("MSP-IMPROV-"))):
            selected()
        assert selected(*by_id) == rest
        if name == "meld":  # a path does not tell which split's turn is missing: its id must be said
            with pytest.raises(SertbenchError):
                selected(*by_path)
        else:
            assert selected(*by_path) == rest
        with pytest.raises(SertbenchError):
            selected(everything[0].id)
    finally:
        aside.rename(left_out.path)


# --- IEMOCAP


def small_iemocap(root: Path, rows: list[tuple[str, str]], spoken: bool = True) -> Path:
    """Five sessions with one turn of each talker, and `rows` in the first one."""
    for session in "12345":
        default = [(f"Ses0{session}F_impro01_{talker}000", "neu") for talker in "FM"]
        annotate(root / f"Session{session}", default)
    extra = [(f"Ses01F_impro01_{talker}000", "neu") for talker in "FM"]
    annotate(root / "Session1", [*extra, *rows], spoken)
    return root


def test_the_iemocap_talker_is_the_letter_of_the_last_group(tmp_path):
    root = small_iemocap(tmp_path, [("Ses01F_script01_1b_M012", "exc")])

    (turn,) = [u for u in adapter("iemocap").utterances(root) if u.id.endswith("M012")]

    assert turn == Utterance(
        id="Ses01F_script01_1b_M012",
        path=root / "Session1/sentences/wav/Ses01F_script01_1b/Ses01F_script01_1b_M012.wav",
        label="excited",
        speaker="1M",
        gender="male",
        session="1",
        dialogue="Ses01F_script01_1b",
        text="script01_1",
        transcript="He said: [LAUGHTER]: no.",
        style="scripted",
        language="en",
        valence=2.5,
        arousal=3.5,
        dominance=4.0,
        annotated_seconds=8.2357 - 6.2901,
    )


@pytest.mark.parametrize(
    ("dialogue", "text", "style"),
    [
        ("Ses01M_impro05a", "impro05", "improvised"),
        ("Ses01M_impro08b", "impro08", "improvised"),
        ("Ses01F_impro04", "impro04", "improvised"),
        ("Ses01M_script03_2", "script03_2", "scripted"),
    ],
)
def test_iemocap_parts_of_a_scene_are_one_text(tmp_path, dialogue, text, style):
    root = small_iemocap(tmp_path, [(f"{dialogue}_F100", "sad")])

    (turn,) = [u for u in adapter("iemocap").utterances(root) if u.label == "sad"]

    assert (turn.text, turn.style, turn.dialogue, turn.speaker) == (text, style, dialogue, "1F")


def test_iemocap_counts(chosen):
    def count(label_set, subset="all"):
        return len(chosen("iemocap", label_set, subset))

    assert [count("4class", s) for s in ("all", "improvised", "scripted")] == [5531, 2943, 2588]
    assert [count("4class-haponly", s) for s in ("all", "improvised", "scripted")] == [4490, 2280, 2210]
    assert [count("4class-exconly", s) for s in ("all", "improvised", "scripted")] == [4936, 2659, 2277]
    assert [count("5class"), count("6class")] == [7380, 7380]


def test_iemocap_published_counts_are_wrong_for_who_mistakes_the_talker(whole, monkeypatch):
    corpus = adapter("iemocap")
    truth = type(corpus).utterance

    def by_view(self, turn, path, line, transcript):
        u = truth(self, turn, path, line, transcript)
        return Utterance(id=u.id, path=u.path, label=u.label, speaker=u.session + turn[5])

    monkeypatch.setattr(type(corpus), "utterance", by_view)

    with pytest.raises(CorpusError, match=r"speaker 1F: 1085 instead of 528"):
        select(corpus, "iemocap", whole("iemocap"), corpus.label_set(None), "all")


def test_iemocap_is_found_in_the_folder_above_it(tmp_path):
    small_iemocap(tmp_path / "IEMOCAP_full_release", [])

    assert len(list(adapter("iemocap").utterances(tmp_path))) == 10


def test_an_iemocap_session_that_is_not_there_is_named(tmp_path):
    (small_iemocap(tmp_path, []) / "Session4").rename(tmp_path / "elsewhere")

    with pytest.raises(CorpusError, match="has no Session4"):
        list(adapter("iemocap").utterances(tmp_path))


def test_iemocap_raters_own_files_are_not_read(tmp_path):
    root = small_iemocap(tmp_path, [])
    for folder in ("Categorical", "Attribute", "Self-evaluation"):
        path = touch(root / "Session1/dialog/EmoEvaluation" / folder / "Ses01F_impro01_e2_cat.txt")
        path.write_text("[6.2901 - 8.2357]\tSes01F_impro01_F077\tang\t[2.5000, 2.5000, 2.5000]\n")

    assert len(list(adapter("iemocap").utterances(root))) == 10


def test_iemocap_does_without_transcriptions(tmp_path):
    root = small_iemocap(tmp_path, [])
    for path in root.glob("Session*/dialog/transcriptions/*.txt"):
        path.unlink()

    assert {u.transcript for u in adapter("iemocap").utterances(root)} == {None}


def test_an_iemocap_label_without_audio_and_audio_without_a_label_are_both_named(tmp_path):
    root = small_iemocap(tmp_path, [("Ses01F_impro01_F042", "ang")], spoken=False)
    touch(root / "Session3/sentences/wav/Ses03M_impro02/Ses03M_impro02_M001.wav")

    with pytest.raises(
        CorpusError, match=r"1 labelled turns have no wav file: Ses01F_impro01_F042; 1 wav files have no label"
    ) as caught:
        list(adapter("iemocap").utterances(root))

    assert "Ses03M_impro02_M001.wav" in str(caught.value)


def test_an_iemocap_tree_renamed_by_other_code_is_refused(tmp_path):
    root = small_iemocap(tmp_path, [])
    wav = root / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"
    wav.rename(wav.with_name("Ses02F-impro01-01-01-F000.wav"))

    with pytest.raises(CorpusError, match=r"1 file renamed.*Ses02F-impro01-01-01-F000.*Unpack"):
        list(adapter("iemocap").utterances(root))


def test_iemocap_lines_that_cannot_be_read_are_refused_not_dropped(tmp_path):
    root = small_iemocap(tmp_path, [])
    path = root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text(path.read_text() + "[1.0 - 2.0]\tSes01F_impro01_F009\tneu\n")

    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt: cannot read the line '\[1\.0 - 2\.0\]"):
        list(adapter("iemocap").utterances(root))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (("Ses01F_impro01_F009", "bor"), r"unknown label code 'bor'\. Known codes: ang \(angry\)"),
        (("Ses01F_impro01_FXX9", "neu"), "'Ses01F_impro01_FXX9' is not a turn of IEMOCAP"),
        (("Ses06F_impro01_F009", "neu"), "'Ses06F_impro01_F009' is not a turn of IEMOCAP"),
    ],
)
def test_iemocap_codes_and_names_that_do_not_exist_are_refused(tmp_path, row, fault):
    root = small_iemocap(tmp_path, [row])

    with pytest.raises(CorpusError, match=fault):
        list(adapter("iemocap").utterances(root))
