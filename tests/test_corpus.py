"""Choosing utterances, finding a corpus, and the manifest; with a corpus of six files that the tests make."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertbench import audio
from sertbench.corpus import Corpus, LabelSet, Utterance, audio_files, build_manifest, locate, wav_files
from sertbench.errors import AudioError, ConfigError, CorpusError
from sertbench.selection import select

IDS = ("amy-1-h", "amy-2-n", "amy-3-x", "bob-1-h", "bob-2-n", "bob-3-x")
MAPPING = {"neutral": "calm", "happy": "glad"}


class Tiny(Corpus):
    """Six files of two speakers."""

    citation = "nobody 1900"
    licence = "as you like it"
    access = "Ask nobody."
    language = "none"
    layout = "six wav files such as amy-1-h.wav"
    labels = {"h": "happy", "n": "neutral", "x": "unclear"}  # noqa: RUF012
    label_sets = (
        LabelSet("two", MAPPING, {"calm": 2, "glad": 2}, {"amy": 2, "bob": 2}, {"read": {"calm": 0, "glad": 2}}),
        LabelSet("all", {**MAPPING, "unclear": "unclear"}),
    )
    protocols = ()
    subsets = ("read", "free")

    def utterances(self, root: Path) -> Iterator[Utterance]:
        for path in reversed(wav_files(root)):
            speaker, number, code = path.stem.split("-")
            style = "read" if number == "1" else "free"
            yield Utterance(path.stem, path, self.label_of(code, path), speaker, style=style)

    def expected_ids(self) -> frozenset[str]:
        return frozenset(IDS)


def make(root: Path, ids: tuple[str, ...] = IDS) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for n, stem in enumerate(ids):
        soundfile.write(root / f"{stem}.wav", np.full(800 * (n + 1), n + 1, dtype=np.int16), 16_000)
    return root


def chosen(root: Path, label_set: str | None = None, subset: str = "all") -> list[str]:
    corpus = Tiny()
    return [u.id for u in select(corpus, "tiny", root, corpus.label_set(label_set), subset)]


# --- select


def test_utterances_come_sorted_and_only_those_of_the_label_set(tmp_path):
    root = make(tmp_path)

    assert chosen(root) == ["amy-1-h", "amy-2-n", "bob-1-h", "bob-2-n"]
    assert chosen(root, "all") == list(IDS)


def test_a_subset_is_checked_against_its_own_counts(tmp_path):
    assert chosen(make(tmp_path), subset="read") == ["amy-1-h", "bob-1-h"]


def test_a_subset_of_which_no_counts_are_published_still_comes_from_a_whole_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "expected_ids", frozenset)  # as of a corpus whose names are known from its tables alone
    assert chosen(make(tmp_path), subset="free") == ["amy-2-n", "bob-2-n"]
    (tmp_path / "amy-2-n.wav").unlink()

    with pytest.raises(CorpusError, match=r"3 utterances instead of 4; calm: 1 instead of 2, speaker amy: 1 instead"):
        chosen(tmp_path, subset="free")


def test_an_unknown_subset_and_an_unknown_label_set_name_the_known_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no subset is called 'raed'\. Did you mean .read.*\? Known: all, free, read"
    ):
        chosen(make(tmp_path), subset="raed")
    with pytest.raises(ConfigError, match=r"no label set is called 'tow'\. Did you mean 'two'"):
        Tiny.label_set("tow")


def test_missing_and_extra_files_are_named_together(tmp_path):
    root = make(tmp_path, (*IDS[1:], "cleo-1-h"))

    with pytest.raises(CorpusError, match=r"tiny \(6 utterances\)\. 1 missing: amy-1-h; 1 extra: cleo-1-h\.") as caught:
        chosen(root)

    assert str(caught.value).endswith("Get it again: Ask nobody.")


def test_two_files_with_one_id_are_both_named(tmp_path):
    make(tmp_path)
    make(tmp_path / "copy", IDS[:1])

    with pytest.raises(CorpusError, match="1 utterance found more than once") as caught:
        chosen(tmp_path)

    assert str(tmp_path / "amy-1-h.wav") in str(caught.value)
    assert str(tmp_path / "copy" / "amy-1-h.wav") in str(caught.value)


def test_counts_that_differ_are_told_per_class_and_speaker(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "expected_ids", lambda _: frozenset())
    root = make(tmp_path, ("amy-1-h", "amy-2-n", "bob-1-h", "cleo-1-h"))

    with pytest.raises(CorpusError, match="4 utterances instead of 4") as caught:
        chosen(root)

    for fault in (
        "calm: 1 instead of 2",
        "glad: 3 instead of 2",
        "speaker bob: 1 instead of 2",
        "speaker cleo: not in",
    ):
        assert fault in str(caught.value)


def test_an_unknown_code_names_the_file_and_the_codes(tmp_path):
    with pytest.raises(CorpusError, match=r"amy-1-q\.wav: unknown label code 'q'\. Known codes: h \(happy\), n"):
        chosen(make(tmp_path, ("amy-1-q",)))


def test_a_folder_without_utterances_is_told_what_was_expected(tmp_path):
    with pytest.raises(CorpusError, match=r"holds no utterance of tiny\. Expected: six wav files"):
        chosen(tmp_path)


def test_wav_files_are_found_at_any_depth_but_no_hidden_ones(tmp_path):
    for name in ("b/deep/x.wav", "a.WAV", "b/._x.wav", "b/x.txt", ".part.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert wav_files(tmp_path) == [tmp_path / "a.WAV", tmp_path / "b" / "deep" / "x.wav"]


def test_audio_files_are_all_that_can_be_decoded_or_of_the_endings_named(tmp_path):
    for name in ("b/x.FLAC", "a.wav", "c.mp3", "d.ogg", "e.opus", "b/._x.flac", "f.mp4", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert [p.name for p in audio_files(tmp_path)] == ["a.wav", "x.FLAC", "c.mp3", "d.ogg", "e.opus"]
    assert audio_files(tmp_path, (".mp4",)) == [tmp_path / "f.mp4"]


def test_audio_files_come_in_the_order_of_their_paths_and_links_to_folders_stay_closed(tmp_path):
    for name in ("b/a.wav", "b.wav", "b-c/x.wav", "a/z/q.wav", "a/z.wav", "B/x.wav", "a0.wav", "ä.wav", "a/é/x.wav"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "tree" / "c.wav").symlink_to(tmp_path / "tree" / "b.wav")
    (tmp_path / "tree" / "d").symlink_to(tmp_path / "tree", target_is_directory=True)

    found = wav_files(tmp_path / "tree")

    assert found == sorted(path for path in (tmp_path / "tree").rglob("*.wav"))
    assert len(found) == 10


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    closed = tmp_path / "b"
    closed.mkdir()
    scandir = os.scandir

    def refuse(folder):
        if Path(folder) == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # who runs the tests may be root, whom no folder refuses

    with pytest.raises(CorpusError, match=rf"{closed} cannot be read: Permission denied"):
        wav_files(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "file.wav"])
def test_what_is_no_folder_holds_no_files(tmp_path, name):
    (tmp_path / "file.wav").touch()

    assert wav_files(tmp_path / name) == []


def test_classes_keep_the_order_of_the_mapping():
    merged = LabelSet("m", {"neutral": "b", "happy": "a", "excited": "a", "calm": "b"})

    assert merged.classes == ("b", "a")


# --- locate


def test_data_comes_before_the_shelf(tmp_path, monkeypatch):
    mine, shelf = make(tmp_path / "mine"), tmp_path / "shelf"
    make(shelf / "tiny")
    monkeypatch.setenv("SERTBENCH_DATA", str(shelf))

    assert locate("tiny", Tiny(), mine, tmp_path) == mine
    assert locate("tiny", Tiny(), None, tmp_path) == shelf / "tiny"


def test_a_corpus_that_makes_itself_is_made_when_none_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SERTBENCH_DATA", str(tmp_path / "shelf"))
    monkeypatch.setattr(Tiny, "prepare", lambda _, cache: make(cache / "made"))

    assert locate("tiny", Tiny(), None, tmp_path) == tmp_path / "made"


def test_without_the_corpus_both_ways_to_name_it_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SERTBENCH_DATA", raising=False)
    with pytest.raises(
        CorpusError, match=r"where is tiny\? Type `--data PATH`, or `export SERTBENCH_DATA=PARENT`"
    ) as caught:
        locate("tiny", Tiny(), None, tmp_path)
    assert "Ask nobody." in str(caught.value)
    assert "as you like it" in str(caught.value)

    monkeypatch.setenv("SERTBENCH_DATA", str(tmp_path / "shelf"))
    with pytest.raises(CorpusError, match=r"shelf/tiny does not exist"):
        locate("tiny", Tiny(), None, tmp_path)


def test_data_must_be_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()

    for name, fault in (("gone", "does not exist"), ("file", "is a file, not a folder"), ("empty", "is empty")):
        with pytest.raises(CorpusError, match=rf"{name} \(--data\) {fault}.*six wav files"):
            locate("tiny", Tiny(), tmp_path / name, tmp_path)


def test_the_home_of_a_user_who_is_not_known_is_an_error_in_words(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match="--data: '~nobody-here/tiny' begins with a user that this machine does not"):
        locate("tiny", Tiny(), Path("~nobody-here/tiny"), tmp_path)
    monkeypatch.setenv("SERTBENCH_DATA", "~nobody-here")
    with pytest.raises(CorpusError, match=r"\$SERTBENCH_DATA: '~nobody-here' begins with a user"):
        locate("tiny", Tiny(), None, tmp_path)


def test_the_data_of_a_tabular_corpus_must_be_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "tabular", True)
    (tmp_path / "table.csv").touch()

    assert locate("tiny", Tiny(), tmp_path / "table.csv", tmp_path) == tmp_path / "table.csv"
    for name, fault in (("gone.csv", "does not exist"), ("", "is a folder, not a table")):
        with pytest.raises(CorpusError, match=rf"\(--data\) {fault}\. For tiny"):
            locate("tiny", Tiny(), tmp_path / name, tmp_path)


def test_a_published_corpus_is_the_same_wherever_it_lies(tmp_path):
    corpus = Tiny()

    assert corpus.at(tmp_path) is corpus
    assert corpus.title == ""


# --- manifest


def manifest(root: Path, cache: Path | None = None, label_set: str | None = None, subset: str = "all", **more):
    corpus = Tiny()
    return build_manifest("tiny", corpus, root, corpus.label_set(label_set), subset, cache, **more)


def test_a_manifest_ties_utterances_to_classes_and_audio(tmp_path):
    built = manifest(make(tmp_path))

    assert (built.corpus, built.label_set, built.subset, built.classes) == ("tiny", "two", "all", ("calm", "glad"))
    assert [u.id for u in built.utterances] == ["amy-1-h", "amy-2-n", "bob-1-h", "bob-2-n"]
    assert built.targets == (1, 0, 1, 0)
    assert built.seconds == (0.05, 0.1, 0.2, 0.25)
    assert built.audio_sha256[1] == audio.probe(tmp_path / "amy-2-n.wav").sha256
    assert built.index["bob-1-h"] == 2
    assert len(built) == 4


def test_the_hash_of_a_manifest_is_the_same_wherever_the_files_lie(tmp_path):
    assert manifest(make(tmp_path / "here")).sha256 == manifest(make(tmp_path / "there")).sha256


def test_the_hash_of_a_manifest_depends_on_audio_labels_and_choice(tmp_path):
    root = make(tmp_path / "a")
    first = manifest(root)
    changed = make(tmp_path / "b")
    soundfile.write(changed / "amy-1-h.wav", np.full(800, 99, dtype=np.int16), 16_000)
    other_speaker = dataclasses.replace(first.utterances[0], speaker="bob")

    hashes = {
        first.sha256,
        manifest(changed).sha256,
        manifest(root, label_set="all").sha256,
        manifest(root, subset="read").sha256,
        dataclasses.replace(first, targets=(0, 0, 1, 0)).sha256,
        dataclasses.replace(first, utterances=(other_speaker, *first.utterances[1:])).sha256,
    }

    assert len(hashes) == 6


def test_the_second_manifest_decodes_nothing_and_tells_progress(tmp_path, monkeypatch):
    root, told = make(tmp_path / "tiny"), []
    first = manifest(root, tmp_path / "cache")
    monkeypatch.setattr(audio, "probe", lambda *_: pytest.fail("decoded again"))

    assert manifest(root, tmp_path / "cache", on_progress=told.append) == first
    assert told == [4]


def test_audio_outside_the_label_set_is_not_opened(tmp_path):
    root = make(tmp_path)
    (root / "amy-3-x.wav").write_bytes(b"")

    assert len(manifest(root)) == 4
    with pytest.raises(AudioError, match=r"1 of 6 audio files cannot be used: .*amy-3-x\.wav: empty"):
        manifest(root, label_set="all")
