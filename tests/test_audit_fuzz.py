"""Malformed audio, label files, tables and file names: a SertbenchError each time, never another exception or count.

The default is some hundred examples; `pytest -m slow` tries several thousand.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sertbench.datasets.csv import Csv
from sertbench.datasets.emodb import EmoDB
from sertbench.datasets.iemocap import Iemocap
from sertbench.datasets.ravdess import Ravdess

from sertbench import audio, audit, audit_files, audit_tree, exclusions
from sertbench.audit_checks import FAULTS
from sertbench.errors import AudioError, CorpusError, SertbenchError
from sertbench.selection import select

RATE, SAMPLES = 16000, 400
KINDS = (
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAVEX", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
)


def fuzz(few: int, many: int):
    """Run a property with `few` examples, and as a slow test with `many`."""

    def decorate(check):
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
        def test(examples, request, tmp_path):
            quiet = list(HealthCheck)
            fixed = examples == few  # the slow run tries others each time
            settings(
                max_examples=examples, deadline=None, database=None, derandomize=fixed, suppress_health_check=quiet
            )(check)(tmp_path)

        return test

    return decorate


def encoded(form: str, subtype: str) -> bytes:
    wave = 0.3 * np.sin(np.arange(SAMPLES) / 5)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=form, subtype=subtype)
    return file.getvalue()


FILES = [encoded(*kind) for kind in KINDS]


@st.composite
def damaged(draw, content: bytes, within: int) -> bytes:
    """Bytes with up to four changes in the first `within`: overwritten, inserted, removed, or cut off at the end."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(within, len(data))))
        match draw(st.sampled_from(("over", "number", "in", "out", "cut"))):
            case "over":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "number":
                data[at : at + 4] = struct.pack("<I", draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65535))))
            case "in":
                data[at:at] = draw(st.binary(max_size=12))
            case "out":
                del data[at : at + draw(st.integers(1, 12))]
            case "cut":
                del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@fuzz(120, 3000)
@given(content=st.sampled_from(FILES).flatmap(lambda c: damaged(c, 96)) | st.binary(max_size=300))
def test_audio_is_decoded_or_refused(folder: Path, content: bytes):
    path = folder / "damaged.wav"
    path.write_bytes(content)
    heard = audit_files.listen(path, "mean")
    try:
        wave, info = audio.load(path, "mean"), audio.probe(path, "mean")
    except AudioError:
        assert heard.fault in FAULTS
        assert str(path) in heard.message
        return
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    assert 0 < len(wave) < 200 * len(content) * RATE
    assert (heard.seconds, heard.rate, heard.channels, heard.sha256) == (
        info.seconds,
        info.rate,
        info.channels,
        info.sha256,
    )
    assert heard.samples * info.channels <= 8 * len(content)  # no codec of these has less than a bit per sample


@fuzz(40, 600)
@given(kind=st.sampled_from(range(4)), kept=st.floats(0, 1, exclude_max=True))
def test_a_wav_that_was_cut_off_is_never_taken_for_a_shorter_one(folder: Path, kind: int, kept: float):
    whole = FILES[kind]
    start = whole.index(b"data") + 8
    (length,) = struct.unpack("<I", whole[start - 4 : start])
    (folder / "cut.wav").write_bytes(whole[: int(kept * (start + length))])

    with pytest.raises(AudioError):
        audio.load(folder / "cut.wav")


LINES = [
    f"[{n}.0000 - {n}.9000]\tSes0{s}F_impro01_{t}00{n}\tneu\t[2.5000, 2.5000, 2.5000]"
    for s in range(1, 6)
    for n, t in ((1, "F"), (2, "M"))
]


def iemocap_tree(root: Path) -> None:
    for s in range(1, 6):
        lines = [line for line in LINES if f"Ses0{s}" in line]
        for line in lines:
            wav = root / f"Session{s}/sentences/wav/Ses0{s}F_impro01/{line.split()[3]}.wav"
            wav.parent.mkdir(parents=True, exist_ok=True)
            wav.touch()
        folder = root / f"Session{s}/dialog/EmoEvaluation"
        folder.mkdir(parents=True)
        (folder / f"Ses0{s}F_impro01.txt").write_text("% [START_TIME - END_TIME]\n\n" + "\n".join(lines))


@fuzz(25, 900)
@given(content=damaged("\n".join(LINES[:2]).encode(), 200) | st.text().map(lambda t: t.encode("utf-8", "replace")))
def test_label_files_of_iemocap_are_read_whole_or_refused(folder: Path, content: bytes):
    root = folder / "iemocap"
    if not root.exists():
        iemocap_tree(root)
    (root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").write_bytes(content)
    corpus = Iemocap()
    try:
        turns = list(corpus.utterances(root))
    except CorpusError:
        assert audit_tree.read(corpus, root).refused
        return
    assert sorted(u.id for u in turns) == sorted(line.split()[3] for line in LINES)
    assert all(u.label in Iemocap.labels.values() for u in turns)
    with pytest.raises(CorpusError, match=r"utterances instead of|once"):  # 10 turns are not 5531
        select(corpus, "iemocap", root, corpus.label_set(None), "all")


TABLE = b"path,label,speaker,gender\na.wav,angry,x,female\nb.wav,sad,y,\nc.wav,sad,x,female\n"
cells = st.sampled_from(
    ["a.wav", "b.wav", "./a.wav", "../t/c.wav", "x" * 300 + ".wav", "a\0.wav", "sad", "", '"', "female"]
)
tables = st.lists(st.lists(cells | st.text(max_size=5), max_size=5).map(",".join), max_size=5).map(
    lambda rows: "\n".join(["path,label,speaker", *rows]).encode("utf-8", "replace")
)


@fuzz(50, 1000)
@given(content=damaged(TABLE, len(TABLE)) | tables | st.binary(max_size=80))
def test_tables_are_read_whole_or_refused(folder: Path, content: bytes):
    root = folder / "t"
    root.mkdir(exist_ok=True)
    for name in "abc":
        soundfile.write(root / f"{name}.wav", np.sin(np.arange(800) / 5), RATE)
    table = root / "table.csv"
    table.write_bytes(content)
    corpus = Csv()
    report = audit.audit("csv", corpus, table)
    try:
        made = corpus.at(table)
        found = select(made, "csv", table, made.label_set(None), "all")
    except SertbenchError:
        assert report.status == "unusable"
        return
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(found) == sum(any(cell.strip() for cell in row) for row in rows) - 1
    assert report.tallies[0].found == len(found)


stems = st.one_of(
    st.sampled_from(sorted(Ravdess().expected_ids())[:4] + sorted(EmoDB().expected_ids())[:4]),
    st.from_regex(r"0[1-3]-0[12]-[0-9]{2}-0[12]-0[12]-0[12]-[0-9]{2}", fullmatch=True),
    st.from_regex(r"[0-9]{2}[ab][0-9]{2}[A-Z][a-z]", fullmatch=True),
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20),
    st.binary(min_size=1, max_size=12).map(os.fsdecode),
)


@fuzz(50, 900)
@given(names=st.lists(stems, min_size=1, max_size=6, unique=True), corpus=st.sampled_from([Ravdess(), EmoDB()]))
def test_file_names_are_understood_or_refused(folder: Path, names: list[str], corpus):
    root = folder / "names"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name in names:
        try:
            (root / f"{name}.wav").touch()
        except (OSError, ValueError):  # not a name on this system
            assume(False)
    visible = [path for path in root.iterdir() if not path.name.startswith(".")]

    tree = audit_tree.read(corpus, root)

    assert all(u.label in corpus.labels.values() and u.id == u.path.stem for u in tree.utterances)
    if tree.whole:
        assert len(tree.utterances) + len(tree.refused) == len(visible)
    else:
        assert any("song" in words for _, words in tree.refused)
    report = audit.audit("x", corpus, root)
    assert report.status == "unusable"
    assert all(name.isprintable() for f in report.findings for name in (*f.files, f.message))
    with pytest.raises(SertbenchError):
        select(corpus, "x", root, corpus.label_set(None), "all")


@fuzz(40, 600)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")))
def test_lists_of_exclusions_are_read_or_refused(folder: Path, content: bytes):
    path = folder / "names.txt"
    path.write_bytes(content)
    try:
        names = exclusions.read(path)
    except SertbenchError:
        return
    assert names
    (folder / "again.txt").write_text(exclusions.write(names), encoding="utf-8")
    assert exclusions.read(folder / "again.txt") == names
    with pytest.raises(SertbenchError):
        audit_tree.read(EmoDB(), folder, [*names, "no such name"])
