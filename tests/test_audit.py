"""Every planted fault is found and named; a corpus without faults is clean; nothing in the folder is changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from sertbench.datasets.iemocap import Iemocap
from sertbench.datasets.ravdess import Ravdess

from sertbench import audio, audit, audit_checks, audit_files, audit_shortcuts, exclusions
from sertbench.audit import Audit
from sertbench.cli import main
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import ConfigError, CorpusError
from sertbench.protocols import GroupFolds

RATE = 16000
LABELS = {"a": "angry", "s": "sad"}


class Small(Corpus):
    """Small: two labels, four speakers, six takes each: 48 files such as w1_a_3.wav."""

    citation = licence = access = language = "none"
    layout = "files such as w1_a_3.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "2class",
            {"angry": "angry", "sad": "sad"},
            counts={"angry": 24, "sad": 24},
            speakers=dict.fromkeys(("w1", "w2", "m1", "m2"), 12),
        ),
    )
    protocols = (GroupFolds("speaker4", 1, "speaker", {s: (s,) for s in ("w1", "w2", "m1", "m2")}),)

    def utterances(self, root):
        for path in wav_files(root):
            try:
                speaker, code, _ = path.stem.split("_")
            except ValueError:
                raise CorpusError(f"{path} is not named like a file of Small.") from None
            gender = "female" if speaker[0] == "w" else "male"
            yield Utterance(path.stem, path, self.label_of(code, path), speaker, gender)

    def expected_ids(self):
        return frozenset(f"{s}_{c}_{n}" for s in ("w1", "w2", "m1", "m2") for c in "as" for n in range(6))


def babble(seed: int, seconds: float = 1.5) -> np.ndarray:
    """Noise in syllables of irregular length and level: no two are alike."""
    rng = np.random.default_rng(seed)
    shape = np.concatenate(
        [np.full(rng.integers(800, 3200), rng.choice((0.003, 1.0)) * rng.uniform(0.3, 1)) for _ in range(40)]
    )[: round(seconds * RATE)]
    shape = np.convolve(shape, np.hanning(400) / np.hanning(400).sum(), "same")
    noise = soxr.resample(rng.standard_normal(len(shape)), 4000, RATE)[: len(shape)]
    colour = np.convolve(noise, rng.standard_normal(24), "same")
    return (0.4 * shape * colour / np.abs(colour).max()).astype(np.float32)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    for k, name in enumerate(sorted(Small().expected_ids())):
        soundfile.write(root / f"{name}.wav", babble(k, rng.uniform(1.2, 2.5)), RATE)
    return root


@pytest.fixture
def root(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "small"))


def examined(root: Path, corpus: Corpus | None = None, **more) -> Audit:
    return audit.audit("small", corpus or Small(), root, **more)


def found(report: Audit) -> dict[str, audit_checks.Finding]:
    return {f.code: f for f in report.findings}


def test_a_corpus_without_faults_is_clean_and_is_left_as_it_is(root):
    before = {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).digest()) for p in root.rglob("*")}

    report = examined(root)

    assert (report.status, report.findings, report.files) == ("clean", (), 48)
    assert {(t.kind, t.name): (t.found, t.published) for t in report.tallies} == {
        ("utterances", "all labels"): (48, 48),
        ("utterances", "2class, all"): (48, 48),
        ("class", "angry"): (24, 24),
        ("class", "sad"): (24, 24),
        **{("speaker", s): (12, 12) for s in ("w1", "w2", "m1", "m2")},
        ("gender", "female"): (24, None),
        ("gender", "male"): (24, None),
    }
    assert sum(n for _, n in report.histogram) == 48
    assert report.hours == pytest.approx(sum(soundfile.info(p).duration for p in before) / 3600, abs=5e-4)
    assert {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).digest()) for p in root.rglob("*")} == before


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def silence(path: Path) -> None:
    soundfile.write(path, np.full(RATE, 0.2), RATE)  # an offset is not a sound


def click(path: Path) -> None:
    wave = np.zeros(2 * RATE)
    wave[5000:5400] = 0.5 * np.sin(np.arange(400))
    soundfile.write(path, wave, RATE)


def nan(path: Path) -> None:
    wave = babble(99)
    wave[1000:1003] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")


PLANTED = {
    "lfs-pointer": ("error", lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")),
    "web-page": ("error", lambda p: p.write_text("<!DOCTYPE html><html><body>404</body></html>")),
    "text": ("error", lambda p: p.write_text("Not Found")),
    "apple-double": ("error", lambda p: p.write_bytes(b"\x00\x05\x16\x07" + bytes(60))),
    "truncated": ("error", half),
    "empty-file": ("error", lambda p: p.write_bytes(b"")),
    "no-samples": ("error", lambda p: soundfile.write(p, np.zeros(0), RATE)),
    "not-finite": ("error", nan),
    "channels": ("error", lambda p: soundfile.write(p, np.stack([babble(98)] * 2, 1), RATE)),
    "undecodable": ("error", lambda p: p.write_bytes(bytes(range(256)) * 40)),
    "silent": ("warning", silence),
    "near-empty": ("warning", click),
    "clipped": ("warning", lambda p: soundfile.write(p, np.clip(20 * babble(97), -1, 1), RATE)),
    "rate": ("warning", lambda p: soundfile.write(p, babble(96), 22050)),
    "long": ("warning", lambda p: soundfile.write(p, babble(95, 1.0).repeat(40), RATE)),
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_file_is_found_and_named(root, code):
    severity, plant = PLANTED[code]
    plant(root / "w2_s_4.wav")

    report = examined(root)

    (finding,) = [f for f in report.findings if f.severity != "note"]
    assert (finding.code, finding.severity, finding.files) == (code, severity, ("w2_s_4.wav",))
    assert report.status == ("unusable" if severity == "error" else "warnings")


def test_a_folder_that_cannot_be_opened_and_a_dead_link_are_found(root):
    (root / "w2_s_4.wav").unlink()
    (root / "w2_s_4.wav").symlink_to("nowhere.wav")

    assert found(examined(root))["missing"].files == ("w2_s_4.wav",)


def test_missing_and_extra_files_are_named_with_the_counts_that_are_wrong(root):
    (root / "w1_a_0.wav").unlink()
    soundfile.write(root / "w3_a_9.wav", babble(77), RATE)

    report = found(examined(root))

    assert report["missing"].files == ("w1_a_0",)
    assert report["extra"].files == ("w3_a_9",)
    assert "speaker w1 11 instead of 12" in report["counts"].message


def test_every_file_that_the_adapter_refuses_is_named_and_the_others_are_still_examined(root):
    (root / "w1_a_0.wav").rename(root / "w1_x_0.wav")  # an unknown code
    (root / "m1_a_0.wav").rename(root / "take one.wav")
    (root / "m2_a_0.wav").rename(root / "take two.wav")
    silence(root / "w2_s_4.wav")

    report = examined(root)

    refusals = {f.files: f.message for f in report.findings if f.code == "refused"}
    assert set(refusals) == {("w1_x_0.wav",), ("take one.wav", "take two.wav")}
    assert "unknown label code 'x'. Known codes: a (angry), s (sad)" in refusals["w1_x_0.wav",]
    assert found(report)["missing"].files == ("m1_a_0", "m2_a_0", "w1_a_0")
    assert found(report)["silent"].files == ("w2_s_4.wav",)
    assert report.files == 48


def test_another_corpus_altogether_still_gives_a_report(tmp_path):
    for k in range(60):
        soundfile.write(tmp_path / f"noise{k}.wav", babble(k), RATE)

    report = examined(tmp_path)

    assert report.status == "unusable"
    assert "more than 50 files are refused" in " ".join(f.message for f in report.findings)
    assert report.files == 60


def test_a_nested_copy_of_the_tree_is_named(root):
    shutil.copytree(root, root / "again")

    report = found(examined(root))

    assert len(report["nested-copy"].files) == 96
    assert "again/w1_a_0.wav" in report["nested-copy"].files
    assert "copy" not in report
    assert "copies-differ" not in report


def test_files_swapped_in_one_of_two_copies_are_named(root):
    shutil.copytree(root, root / "again")
    (root / "again/w1_a_0.wav").rename(root / "x")
    (root / "again/m1_s_1.wav").rename(root / "again/w1_a_0.wav")
    (root / "x").rename(root / "again/m1_s_1.wav")

    assert found(examined(root))["copies-differ"].files == ("m1_s_1", "w1_a_0")


def test_a_copied_file_is_named_with_its_original(root):
    shutil.copy(root / "w1_a_0.wav", root / "m1_s_1.wav")

    assert found(examined(root))["copy"].files == ("m1_s_1.wav = w1_a_0.wav",)


def test_a_published_duplicate_is_a_note(root, monkeypatch):
    shutil.copy(root / "w1_a_0.wav", root / "w1_a_1.wav")
    monkeypatch.setattr(Small, "known_duplicates", (("w1_a_1", "w1_a_0"),))

    report = examined(root)

    assert report.status == "clean"
    assert found(report)["published-copy"].files == ("w1_a_0.wav = w1_a_1.wav",)


def test_a_clip_that_was_published_silent_is_a_note_and_others_are_not(root, monkeypatch):
    for name in ("w1_a_0", "w1_a_1"):
        soundfile.write(root / f"{name}.wav", np.zeros(RATE), RATE)
    monkeypatch.setattr(Small, "known_silent", ("w1_a_0",))

    report = examined(root)

    assert found(report)["published-silent"].files == ("w1_a_0.wav",)
    assert found(report)["silent"].files == ("w1_a_1.wav",)


CHANGES = {
    "cut": lambda wave: (wave[1920:], RATE),
    "cut at both ends": lambda wave: (wave[1600:-1600], RATE),
    "quieter": lambda wave: (0.1 * wave, RATE),
    "another rate": lambda wave: (soxr.resample(wave, RATE, 44100), 44100),
    "telephone": lambda wave: (soxr.resample(wave, RATE, 8000), 8000),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_named_with_its_original(root, change):
    wave, rate = CHANGES[change](babble(50, 3.0))
    soundfile.write(root / "w1_a_0.wav", babble(50, 3.0), RATE)
    soundfile.write(root / "m1_s_1.wav", wave, rate)

    assert found(examined(root))["near-copy"].files == ("m1_s_1.wav = w1_a_0.wav",)


def test_all_planted_copies_are_named_and_nothing_else(root):
    paths = wav_files(root)
    for k in (3, 11):
        soundfile.write(paths[k + 20], soxr.resample(audio.load(paths[k])[1440:], RATE, 11025), 11025)

    named = found(examined(root))["near-copy"].files

    assert named == tuple(f"{paths[k].name} = {paths[k + 20].name}" for k in (3, 11))


def test_files_of_one_length_are_named_as_the_work_of_a_program(root):
    for k, path in enumerate(wav_files(root)):
        soundfile.write(path, babble(k, 2.0), RATE)

    assert "48 of 48 files have exactly 32000 samples" in found(examined(root))["one-length"].message


class Deadly(type(Path())):
    """A path that ends the process that is handed it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_many_files_are_read_by_processes_whose_death_loses_nothing(root, monkeypatch):
    def told(paths):
        counted = []
        found = [vars_of(h) for h in audit_files.listen_all(paths, "mono", counted.append)]
        assert counted == list(range(1, len(paths) + 1))
        return found

    def vars_of(heard):
        return {f.name: getattr(heard, f.name) for f in fields(heard)} | {"course": heard.course.tolist()}

    paths = wav_files(root)[:6]
    alone = told(paths)
    monkeypatch.setattr(audit_files, "MANY", 1)
    assert told(paths) == alone
    assert told([*paths[:3], Deadly(paths[3]), *paths[4:]]) == alone


def test_twins_and_unused_audio_are_notes(root, monkeypatch):
    (root / "._w1_a_0.wav").write_bytes(b"\x00\x05\x16\x07")
    soundfile.write(root / "session.flac", babble(1), RATE)

    report = examined(root)

    assert report.status == "clean"
    assert found(report)["twins"].files == ("._w1_a_0.wav",)
    assert found(report)["unused"].files == ("session.flac",)


def test_names_that_are_no_text_are_printed_all_the_same(root, capsysbinary):
    (root / "w1_a_0.wav").rename(root / os.fsdecode(b"w1_a_\xff\n.wav"))

    report = examined(root)

    assert found(report)["missing"].files == ("w1_a_0",)
    json.dumps(report.as_json()).encode("utf-8")
    assert all(name.isprintable() for f in report.findings for name in (*f.files, f.message))


# --- shortcuts


def test_a_rate_for_each_label_is_a_shortcut(root):
    for path in root.glob("*_a_*.wav"):
        soundfile.write(path, audio.load(path), 22050)

    report = examined(root)

    assert report.hints["sample rate"] == 1
    assert "the sample rate alone tells 100% of the label" in " ".join(f.message for f in report.findings)


def test_speakers_with_one_label_are_named():
    def turn(k: int, speaker: str, label: str) -> Utterance:
        return Utterance(str(k), Path(str(k)), label, speaker)

    turns = [turn(k, "x", "angry") for k in range(9)] + [turn(k, "y", ("angry", "sad")[k % 2]) for k in range(10, 20)]
    report = audit_shortcuts.findings(turns, Small.label_sets[0], {}, synthetic=False)
    assert [(f.code, f.severity, f.files) for f in report] == [
        ("one-label", "warning", ("x",)),
        ("one-speaker", "warning", ("sad",)),
    ]


def test_a_speaker_with_two_genders_is_named(root):
    class Mixed(Small):
        """Small, with a line that calls a woman a man."""

        def utterances(self, root):
            for u in super().utterances(root):
                yield replace(u, gender="male") if u.id == "w1_a_0" else u

    warning = found(examined(root, Mixed()))["two-genders"]

    assert (warning.severity, warning.files) == ("warning", ("w1: female 11, male 1",))


def test_measures_of_what_tells_a_label():
    labels = ["a", "a", "b", "b"]
    assert audit_shortcuts.between(labels, [1, 1, 5, 5]) == pytest.approx(1)
    assert audit_shortcuts.between(labels, [1, 5, 1, 5]) == pytest.approx(0)
    assert audit_shortcuts.between(labels, [3, 3, 3, 3]) == 0
    assert audit_shortcuts.told(labels, [1, 1, 2, 2]) == pytest.approx(1)
    assert audit_shortcuts.told(labels, [1, 2, 1, 2]) == pytest.approx(0)


# --- IEMOCAP and RAVDESS


@pytest.fixture
def iemocap(tmp_path) -> Path:
    """Five sessions of eight turns, each as long as its annotation says."""
    root = tmp_path / "IEMOCAP_full_release"
    for n in range(1, 6):
        dialogue, lines, start = f"Ses0{n}F_impro01", [], 1.0
        for k in range(8):
            length = 1.3 + 0.4 * k + 0.04 * n
            turn = f"{dialogue}_{'FM'[k % 2]}{k:03d}"
            path = root / f"Session{n}/sentences/wav/{dialogue}/{turn}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, babble(100 * n + k, length), RATE)
            lines.append(f"[{start:.4f} - {start + length:.4f}]\t{turn}\tneu\t[2.5000, 2.5000, 2.5000]\n")
            start += length
        folder = root / f"Session{n}/dialog/EmoEvaluation"
        folder.mkdir(parents=True)
        (folder / f"{dialogue}.txt").write_text("".join(lines))
    return root


def without_counts(report: Audit) -> dict[str, audit_checks.Finding]:
    return {code: f for code, f in found(report).items() if code != "counts"}  # 40 turns are not 10,039


def test_turns_that_are_as_long_as_annotated_are_fine(iemocap):
    assert without_counts(examined(iemocap, Iemocap())) == {}


def test_swapped_turns_of_iemocap_are_named(iemocap):
    folder = iemocap / "Session2/sentences/wav/Ses02F_impro01"
    a, b = folder / "Ses02F_impro01_F002.wav", folder / "Ses02F_impro01_M007.wav"
    a.rename(iemocap / "x")
    b.rename(a)
    (iemocap / "x").rename(b)

    report = without_counts(examined(iemocap, Iemocap()))

    where = "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01"
    assert set(report) == {"swapped"}
    assert report["swapped"].files == (f"{where}_F002.wav = {where}_M007.wav",)


def test_wavs_renamed_by_glam_are_named(iemocap):
    for path in iemocap.glob("Session1/sentences/wav/*/*.wav"):
        path.rename(path.with_name(path.name.replace("_", "-")))

    report = examined(iemocap, Iemocap())

    assert "8 files renamed, as the preparation scripts of GLAM and AACNN do" in found(report)["refused"].message
    assert report.status == "unusable"
    assert report.files == 40  # all audio is looked at all the same


def test_an_unreadable_label_file_is_said_and_the_audio_is_examined(iemocap):
    (table,) = iemocap.glob("Session3/dialog/EmoEvaluation/*.txt")
    table.write_text(table.read_text().replace("neu", "neu\tagain", 1))
    silence(next(iemocap.glob("Session4/sentences/wav/*/*_M001.wav")))

    report = found(examined(iemocap, Iemocap()))

    assert "cannot read the line" in report["refused"].message
    assert len(report["silent"].files) == 1


def test_a_turn_with_two_labels_is_refused(iemocap):
    (table,) = iemocap.glob("Session3/dialog/EmoEvaluation/*.txt")
    table.write_text(table.read_text() + table.read_text().splitlines()[0].replace("neu", "ang") + "\n")

    assert "Ses03F_impro01_F000 has a label already" in found(examined(iemocap, Iemocap()))["refused"].message


def test_a_ravdess_file_with_an_unknown_code_is_named(tmp_path):
    soundfile.write(tmp_path / "03-01-09-01-01-01-01.wav", babble(1), RATE)

    (refusal,) = [f for f in examined(tmp_path, Ravdess()).findings if f.code == "refused"]

    assert refusal.files == ("03-01-09-01-01-01-01.wav",)
    assert "unknown label code '09'" in refusal.message


# --- the command


ADAPTER = """
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds


class Small(Corpus):
    \"\"\"Small: two labels.\"\"\"

    citation = licence = access = language = layout = "none"
    labels = {"a": "angry", "s": "sad"}
    label_sets = (LabelSet("2class", {"angry": "angry", "sad": "sad"}, counts={"angry": 24, "sad": 24}),)
    protocols = (GroupFolds("speaker4", 1, "speaker", {s: (s,) for s in ("w1", "w2", "m1", "m2")}),)

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker)

    def expected_ids(self):
        return frozenset(f"{s}_{c}_{n}" for s in ("w1", "w2", "m1", "m2") for c in "as" for n in range(6))
"""


@pytest.fixture
def command(root, tmp_path):
    (tmp_path / "small.py").write_text(ADAPTER)
    return ["audit", str(tmp_path / "small.py"), "--data", str(root)]


def test_the_exit_status_says_how_it_ended(command, root, capsys):
    assert main(command) == 0
    assert "small: clean" in capsys.readouterr().out
    silence(root / "w1_a_0.wav")
    assert main(command) == 1
    assert "small: warnings (1 warning)" in capsys.readouterr().out
    half(root / "w1_a_0.wav")
    assert main(command) == 3
    assert "small: unusable (1 error)" in capsys.readouterr().out
    assert main([*command[:-1], str(root / "nowhere")]) == 2


def test_the_screen_names_a_few_files_and_the_json_all(command, root, tmp_path, capsys):
    for path in sorted(root.iterdir())[:9]:
        half(path)

    assert main([*command, "--json", str(tmp_path / "out.json")]) == 3

    out = capsys.readouterr().out
    assert "and 4 more (--json FILE names all)" in out
    assert "m1_a_4.wav" in out
    assert "m1_a_5.wav" not in out
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["status"], len(report["findings"][0]["files"])) == ("unusable", 9)
    assert str(tmp_path) not in (tmp_path / "out.json").read_text()  # it may be published


def test_what_is_accepted_as_missing_is_left_out_and_listed(command, root, tmp_path, capsys):
    half(root / "w1_a_0.wav")
    (root / "m2_s_5.wav").unlink()
    (root / "m1_a_1.wav").rename(root / "m1_zz_1.wav")
    names = tmp_path / "names.txt"
    names.write_text("# broken\nw1_a_0\n\nm2_s_5\nm1_zz_1.wav\nm1_a_1\n")

    assert main([*command, "--accept-missing", str(names)]) == 0

    out = capsys.readouterr().out
    assert "note  left-out  4: left out by --accept-missing" in out
    assert "45 audio files" in out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("w1_a_0\nw9_a_0\n", "names w9_a_0, which the corpus"),
        ("# nothing\n", "names nothing"),
        ("../../etc/passwd\n", "which the corpus"),
        ("a" * 5000 + "\n", "which the corpus"),
    ],
)
def test_exclusions_that_cannot_be_are_refused(command, tmp_path, content, words, capsys):
    (tmp_path / "names.txt").write_text(content)

    assert main([*command, "--accept-missing", str(tmp_path / "names.txt")]) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_label_set_is_a_mistake_in_the_command(root):
    with pytest.raises(ConfigError, match="no label set is called '9class'"):
        examined(root, labels="9class")


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("/data/a/b.wav", "/data", "a/b.wav"),
        ("/data/b.wav", "/data", "b.wav"),
        ("/data/../other/b.wav", "/data", "../other/b.wav"),
        ("a/b.wav", ".", "a/b.wav"),
        ("b.wav", ".", "b.wav"),
        ("../b.wav", "a", "../../b.wav"),
    ],
)
def test_a_file_is_named_from_the_corpus_folder(path, folder, name):
    assert exclusions.name_from(Path(path), Path(folder)) == name


def test_names_are_told_from_where_one_is_now(tmp_path, monkeypatch):
    for here in ("one", "two"):
        (tmp_path / here).mkdir()
        monkeypatch.chdir(tmp_path / here)
        assert exclusions.name_from(tmp_path / "one" / "b.wav", Path()) == (
            "b.wav" if here == "one" else "../one/b.wav"
        )
