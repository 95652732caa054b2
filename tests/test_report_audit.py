"""Audits on the corpora's pages: what `sertbench audit --json` wrote, all of it; names that would do harm are text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sertbench import report_audit
from sertbench.audit import Audit, Tally
from sertbench.audit_checks import Finding
from sertbench.cli import main
from sertbench.errors import ConfigError, StorageError

SCRIPT, IMAGE = "<script>alert(1)</script>", "<img src=x onerror='alert(2)'>"
FOUND = Audit(
    corpus="one",
    root="/home/somebody/one",
    label_set="3class",
    findings=(
        Finding("error", "missing", f"{SCRIPT} is missing", IMAGE, (SCRIPT, "../../up", "b" * 300)),
        Finding("note", "rate", "44.1 kHz"),
    ),
    tallies=(
        Tally("utterances", "all labels", 71, 72),
        Tally("class", IMAGE, 24, 24),
        Tally("class", "sad", 23),
        *(Tally("speaker", f"s{k}", k, k) for k in range(30)),
    ),
    histogram=((0.5, 3), (1, 60), (1.5, 0), (2, 8)),
    hints={"duration": 0.25, "speaker": 0.0},
    files=71,
    hours=0.031,
    megabytes=3.4,
    seconds_reading=0.1,
    seconds_comparing=0.2,
)


@pytest.fixture
def boards(tmp_path: Path, made_bundle) -> list[str]:
    """The arguments that name boards of the corpora `one` and `two`."""
    for name in ("one", "two"):
        made_bundle(tmp_path / "runs", "cnn", name)
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    return arguments


def write(path: Path, audit: Audit, **changes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**audit.as_json(), **changes}), encoding="utf-8")


def test_an_audit_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "one.json", FOUND)
    assert report_audit.read(tmp_path / "one.json") == replace(FOUND, root="one")  # of its folder the name alone


def test_what_the_command_writes_stands_on_the_page(tmp_path: Path, made_bundle, capsys) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,label,speaker"]
    for k in range(24):
        soundfile.write(tmp_path / f"{k}.wav", 0.1 * rng.normal(size=8000 + 400 * k), 16000)
        lines.append(f"{k}.wav,{'ab'[k % 2]},s{k % 3}")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    made_bundle(tmp_path / "runs", "cnn", "csv-mine")
    arguments = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    main(["leaderboard", *arguments])
    assert main(["audit", "csv", "--data", str(tmp_path / "mine.csv"), "--json", str(tmp_path / "audits/a.json")]) < 2
    out = tmp_path / "report"
    assert main(["report", *arguments, "--audits", str(tmp_path / "audits"), "--out", str(out)]) == 0
    page = (out / "corpora/csv-mine.html").read_text(encoding="utf-8")
    assert "Audit of the audio" in page
    assert "<dd>24</dd>" in page
    assert "0.5 to 1 s: 20 utterances" in page
    assert str(tmp_path) not in page, "where the corpus lay is nobody's business"
    assert "is not shown" not in capsys.readouterr().out


def test_all_of_an_audit_is_shown_and_harmful_names_are_text(tmp_path: Path, boards: list[str], capsys) -> None:
    write(tmp_path / "boards/audits/one.json", FOUND)
    write(tmp_path / "boards/audits/three.json", replace(FOUND, corpus="three"))
    assert main(["report", *boards, "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert "three.json is not shown: there is no board of three" in printed
    page = (tmp_path / "report/corpora/one.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "../../up" in page
    assert "unusable" in page
    assert "1 not as published" in page
    assert len(re.findall(r'<th scope="row">s\d+</th>', page)) == 30, "every speaker"
    assert "25 %" in page
    assert "1 to 1.5 s: 60 utterances" in page
    assert "/home/somebody" not in page
    other = (tmp_path / "report/corpora/two.html").read_text(encoding="utf-8")
    assert "Audit of the audio" not in other


def test_two_audits_of_a_corpus_are_both_shown(tmp_path: Path, boards: list[str]) -> None:
    for labels in ("3class", "2class"):
        write(tmp_path / f"boards/audits/{labels}.json", replace(FOUND, label_set=labels))
    assert main(["report", *boards, "--out", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report/corpora/one.html").read_text(encoding="utf-8").count("Audit of the audio") == 2


def test_an_empty_corpus_has_no_picture(tmp_path: Path, boards: list[str]) -> None:
    write(tmp_path / "boards/audits/one.json", replace(FOUND, histogram=(), hints={}, findings=(), tallies=()))
    assert main(["report", *boards, "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report/corpora/one.html").read_text(encoding="utf-8")
    assert "<p>Nothing.</p>" in page
    assert "<h3>Durations</h3>" not in page


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"findings": [{"severity": "fatal", "code": "x", "message": "y", "remedy": "", "files": []}]},
        {"findings": [{"severity": "note", "code": "x", "message": 7, "remedy": "", "files": []}]},
        {"findings": "none"},
        {"tallies": [{"kind": "class", "name": "sad", "found": -1, "published": None}]},
        {"tallies": [{"kind": "class", "name": "sad", "found": "many", "published": None}]},
        {"histogram": [[float("nan"), 1]]},
        {"histogram": [1, 2]},
        {"hints": ["duration"]},
        {"hours": None},
    ],
)
def test_what_is_no_audit_is_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path / "odd.json", FOUND, **changes)
    with pytest.raises(StorageError, match=r"odd\.json is not what `sertbench audit --json` writes"):
        report_audit.read_all(tmp_path, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "\udcff", "[" * 100_000])
def test_what_is_no_json_of_an_audit_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StorageError, match=r"odd\.json"):
        report_audit.read_all(tmp_path, tmp_path)


def test_a_folder_that_is_not_there_is_said_only_if_it_was_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--audits"):
        report_audit.read_all(tmp_path / "nowhere", tmp_path)
    assert report_audit.read_all(None, tmp_path) == {}


def test_the_bars_are_as_high_as_their_counts() -> None:
    drawn = str(report_audit.durations(((0.5, 10), (1, 20), (1.5, 0))))
    heights = [float(part.split('"')[1]) for part in drawn.split(" height=")[1:]]
    assert heights[0] * 2 == pytest.approx(heights[1], abs=0.2)
    assert heights[2] == 0
