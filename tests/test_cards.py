"""Lists, cards and Croissant metadata: every corpus has them, and what they say follows from adapter and data."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sertbench import cards, cli, corpus_facts, croissant, listing, plugins
from sertbench.config import cache_folder
from sertbench.corpus import Utterance, build_manifest
from sertbench.protocol_rules import RANDOM10

CORPORA = {name: loaded.corpus for name, loaded in plugins.load_corpora().items()}


def shown(width: int) -> str:
    console = Console(width=width, color_system=None, record=True, file=(Path("/dev/null").open("w")))  # noqa: SIM115
    with console.file:
        listing.show(console, ("datasets",))
        return console.export_text()


def card(capsys, *arguments: object) -> str:
    assert cli.main(["card", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def demo() -> Path:
    return CORPORA["demo"].prepare(cache_folder())


# --- the list


def test_every_corpus_has_one_line_in_120_columns():
    lines = shown(120).splitlines()

    names = [line.split()[0] for line in lines[2 : 2 + len(CORPORA)]]
    assert names == sorted(CORPORA), "a line that wraps would begin with something else"
    assert " ".join(lines[1].split()) == "name language speakers classes utterances hours licence access ranked"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ravdess", r"ravdess +English +24 +8 +1,440 +1\.48 +CC BY-NC-SA 4\.0 +download +yes"),
        ("iemocap", r"iemocap +English +10 +4 +5,531 +6\.99 +signed licence +on request +yes"),
        ("savee", r"savee +English +4 +7 +480 +0\.51 +free for research +form +yes"),
        ("cafe", r"cafe +French +12 +7 +936 +1\.16 +CC BY-NC-SA 4\.0 +by hand +yes"),
        ("tess", r"tess +English +2 +7 +2,800 +1\.60 .* by hand +no"),
        ("nemo", r"nemo +Polish +9 +6 +4,481 +3\.07 +CC BY-NC-SA 4\.0 +download +yes"),
        ("msp_podcast", r"msp_podcast +English +- +8 +- +- +signed licence +on request +yes"),
    ],
)
def test_a_line_of_the_list(name, words):
    (line,) = [line for line in shown(160).splitlines() if line.startswith(f"{name} ")]

    assert re.search(words, line)


def test_the_list_says_why_some_are_not_ranked():
    text = shown(200)

    unranked = {name: c.unranked for name, c in CORPORA.items() if c.unranked} | {"demo": "synthetic"}
    assert set(unranked) == {"demo", "tess", "urdu"}
    for name, reason in unranked.items():
        assert f"not ranked: {name}, {reason}" in text


def test_listing_and_cards_import_nothing_heavy():
    heavy = "{'numpy', 'pandas', 'torch', 'soundfile', 'requests', 'pooch'}"
    code = (
        "import sys; from sertbench import cli; cli.main(['list', 'datasets']); cli.main(['card', 'emodb']); "
        f"print('heavy:', sorted({heavy} & set(sys.modules)))"
    )

    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[-1] == "heavy: []"


# --- facts


@pytest.mark.parametrize("name", [name for name, c in CORPORA.items() if not c.citation.startswith("none")])
def test_every_citation_can_be_taken_apart(name):
    parts = corpus_facts.cited(CORPORA[name])

    assert parts is not None, 'write it as "A. One, B. Two: Title. Venue, year"'
    assert all(re.match(r"([A-Z]\.[ -]?)+ ?[A-Z]", author) for author in parts.authors), parts.authors
    assert re.fullmatch(r"(19|20)\d\d", parts.year)
    entry = corpus_facts.bibtex(name, CORPORA[name])
    assert entry.count("{") == entry.count("}")
    assert f"year = {{{parts.year}}}" in entry


def test_a_title_may_hold_a_colon_and_vs():
    parts = corpus_facts.cited(CORPORA["urdu"])

    assert parts.title == "Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages"
    assert parts.authors == ("S. Latif", "A. Qayyum", "M. Usman", "J. Qadir")
    assert parts.year == "2018"


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("CC BY 4.0; for all", "CC BY 4.0"),
        ("signed licence (somewhere); no redistribution", "signed licence"),
        ("CC BY-NC or BY-NC-ND 4.0: sources differ", "CC BY-NC or BY-NC-ND 4.0"),
        ("MIT", "MIT"),
    ],
)
def test_the_name_of_a_licence(licence, name):
    corpus = type("Licensed", (type(CORPORA["emodb"]),), {"licence": licence})()

    assert corpus_facts.licence_name(corpus) == name


# --- Markdown


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_has_a_card_without_its_data(name):
    corpus = CORPORA[name]

    text = cards.markdown(name, corpus)

    assert text.startswith(f"# {name}\n")
    for words in (corpus.licence, corpus.access, corpus.layout, corpus.unranked):
        assert words in text
    for label_set in corpus.label_sets:
        assert f"`{label_set.name}`" in text
        for label, n in label_set.counts.items():
            assert f"{label} {n:,}" in text
    for protocol in corpus.protocols:
        assert f"`{protocol.name}`" in text
        assert protocol.summary in text
    assert ("sertbench download" in text) == bool(corpus.archives)
    assert ("```bibtex" in text) == (not corpus.citation.startswith("none"))
    assert "## Measured" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, "cells are missing"


def test_the_card_of_emodb_says_what_one_asks_first(capsys):
    text = card(capsys, "emodb")

    for words in (
        "Five women and five men",
        "| speakers | 10 (03 49, 08 58, 09 43,",
        "| `7class` (default) | 535 | angry 127, boredom 81,",
        "speaker: train, validation and test",
        "| channels | one channel is expected",
        "| ranked | yes |",
        "  year = {2005},",
    ):
        assert words in text


def test_many_speakers_are_summed_up(capsys):
    assert "| speakers | 91, of 76 to 82 utterances each |" in card(capsys, "cremad")


def test_known_duplicates_are_named(monkeypatch):
    corpus = CORPORA["emodb"]
    monkeypatch.setattr(type(corpus), "known_duplicates", (("a", "b"),), raising=False)

    assert "## Published twice\n\n- `a` = `b`\n" in cards.markdown("emodb", corpus)


def test_with_the_data_it_is_measured(demo, capsys):
    text = card(capsys, "demo", "--data", demo)

    measured = text.partition("## Measured")[2]
    assert "| utterances | 384 |" in measured
    assert re.search(r"\| hours \| 0\.13 \|", measured)
    assert re.search(r"\| seconds \| \d\.\d\d to \d\.\d\d, median \d\.\d\d \|", measured)
    assert len(re.findall(r"^\| (neutral|happy|sad|angry) \| 96 \|", measured, re.M)) == 4
    assert len(re.findall(r"^\| [fm]\d \| 48 \|", measured, re.M)) == 8
    assert re.search(r"`speaker4` \| 4 \| yes \| no \| no \|", measured)
    assert re.search(r"`random10` \| 10 \| no \| no \| yes \|", measured)
    assert "audio is there already | 0 |" in measured


def test_measured_figures_are_the_manifests(demo):
    manifest = build_manifest("demo", CORPORA["demo"], demo, CORPORA["demo"].label_set(None))

    text = cards.measured(CORPORA["demo"], manifest)

    minutes = [float(m) for m in re.findall(r"^\| [fm]\d \| 48 \| ([\d.]+) \|", text, re.M)]
    assert sum(minutes) == pytest.approx(sum(manifest.seconds) / 60, abs=0.5)
    assert manifest.sha256 in text


def test_a_protocol_that_does_not_fit_is_told_not_hidden(demo):
    corpus = CORPORA["demo"]
    manifest = build_manifest("demo", corpus, demo, corpus.label_set(None))
    few = type(manifest)(
        **{
            **vars_of(manifest),
            **{k: getattr(manifest, k)[:3] for k in ("utterances", "targets", "audio_sha256", "seconds")},
        }
    )

    text = cards.folds(corpus, few)

    assert "| `speaker4` | does not fit: " in text


def vars_of(manifest: object) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def test_what_a_corpus_does_not_tell_is_not_told_as_no(demo):
    corpus = CORPORA["demo"]
    manifest = build_manifest("demo", corpus, demo, corpus.label_set(None))
    silent = replace(manifest, utterances=tuple(replace(u, text=None) for u in manifest.utterances))

    assert "not known: the corpus names no texts" in cards.folds(corpus, silent)
    assert "not known" not in cards.folds(corpus, manifest)


def test_bars_in_cells_do_not_break_the_table():
    assert cards.table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


# --- Croissant


def references(node: object) -> list[str]:
    """Every {"@id": ...} that refers to something."""
    if isinstance(node, dict):
        if set(node) == {"@id"}:
            return [node["@id"]]
        return [r for key, value in node.items() if key != "@context" for r in references(value)]
    return [r for item in node for r in references(item)] if isinstance(node, list) else []


def identities(node: object) -> list[str]:
    """Every "@id" that something has."""
    if isinstance(node, dict):
        own = [node["@id"]] if "@id" in node and len(node) > 1 else []
        return own + [i for key, value in node.items() if key != "@context" for i in identities(value)]
    return [i for item in node for i in identities(item)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_has_croissant_metadata_without_its_data(name):
    made = croissant.metadata(name, CORPORA[name])

    assert made["@type"] == "sc:Dataset"
    assert made["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    needed = {"@context", "name", "description", "license"}
    if not (CORPORA[name].synthetic or CORPORA[name].tabular):  # these have no page, no authors and no date
        needed |= {"url", "creator", "datePublished"}
        assert made["url"].startswith("http")
    assert needed <= set(made)
    assert "recordSet" not in made
    for file in made.get("distribution", ()):
        assert file["@type"] == "cr:FileObject"
        assert {"md5", "sha256"} & set(file), "the format asks for one"
        assert {"@id", "name", "contentUrl", "encodingFormat"} <= set(file)


def test_metadata_goes_to_the_screen_as_json(capsys):
    made = json.loads(card(capsys, "nemo", "--format", "croissant"))

    assert made == croissant.metadata("nemo", CORPORA["nemo"])
    assert made["creator"] == [{"@type": "sc:Person", "name": "I. Christop"}]


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("ravdess", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ("subesco", "https://creativecommons.org/licenses/by/4.0/"),
        ("iemocap", CORPORA["iemocap"].licence),
    ],
)
def test_licences_have_an_address_where_there_is_one(name, licence):
    assert croissant.metadata(name, CORPORA[name])["license"] == licence


@pytest.mark.parametrize(("name", "free"), [("ravdess", True), ("iemocap", False), ("savee", False), ("csv", None)])
def test_nobodys_own_recordings_are_called_free(name, free):
    assert croissant.metadata(name, CORPORA[name]).get("isAccessibleForFree") is free


def test_the_manifest_becomes_a_csv_file_that_the_metadata_describes(demo, tmp_path, capsys):
    out = tmp_path / "cards" / "demo.json"
    card(capsys, "demo", "--data", demo, "--format", "croissant", "--out", out)

    made = json.loads(out.read_text(encoding="utf-8"))
    content = out.with_suffix(".csv").read_bytes()
    rows = list(csv.DictReader(content.decode().splitlines()))
    (file,) = made["distribution"]
    (records,) = made["recordSet"]

    assert sorted(p.name for p in out.parent.iterdir()) == ["demo.csv", "demo.json"], "no audio"
    assert (file["contentUrl"], file["contentSize"]) == ("demo.csv", f"{len(content)} B")
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    columns = [field["source"]["extract"]["column"] for field in records["field"]]
    assert columns == list(rows[0]) == ["id", "label", "speaker", "gender", "session", "text", "seconds", "sha256"]
    assert set(references(made)) <= set(identities(made))
    assert len(set(identities(made))) == len(identities(made))
    assert len(rows) == 384
    assert Counter(row["label"] for row in rows) == dict.fromkeys(("neutral", "happy", "sad", "angry"), 96)
    manifest = build_manifest("demo", CORPORA["demo"], demo, CORPORA["demo"].label_set(None))
    assert [row["sha256"] for row in rows] == list(manifest.audio_sha256)
    assert [float(row["seconds"]) for row in rows] == pytest.approx(list(manifest.seconds), abs=1e-6)


def test_odd_ids_survive_the_csv(demo):
    manifest = build_manifest("demo", CORPORA["demo"], demo, CORPORA["demo"].label_set(None))
    odd = Utterance('a,"b"\nü', Path("x.wav"), "happy", "s;1")
    one = type(manifest)(
        **{**vars_of(manifest), "utterances": (odd,), "targets": (1,), "audio_sha256": ("0",), "seconds": (1.0,)}
    )

    (row,) = csv.DictReader(croissant.table(one).decode().splitlines(keepends=True))

    assert (row["id"], row["label"], row["speaker"], row["gender"]) == ('a,"b"\nü', "happy", "s;1", "")


# --- what a user gets wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["card", "emdb"], "no dataset is called 'emdb'. Did you mean 'emodb'"),
        (["card", "emodb", "--data", "/nowhere/at/all"], "/nowhere/at/all (--data) does not exist"),
        (["card", "emodb", "--labels", "4class"], "add --data PATH"),
        (["card", "demo", "--data", ".", "--format", "croissant"], "`--out demo.json`"),
    ],
)
def test_mistakes_are_sentences(arguments, words, capsys):
    assert cli.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_label_set_that_does_not_exist(demo, capsys):
    assert cli.main(["card", "demo", "--data", str(demo), "--labels", "9class"]) == 2
    assert "no label set is called '9class'" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()

    assert cli.main(["card", "emodb", "--out", str(tmp_path / "file" / "card.md")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_metadata_and_manifest_must_not_be_one_file(demo, tmp_path, capsys):
    out = tmp_path / "demo.csv"

    assert cli.main(["card", "demo", "--data", str(demo), "--format", "croissant", "--out", str(out)]) == 2
    assert "Give the metadata another ending" in capsys.readouterr().err
    assert not out.exists()


def test_a_table_of_the_users_own(tmp_path, demo, capsys):
    sounds = sorted(demo.rglob("*.wav"))[:120]
    lines = ["path,label,speaker", *(f"{p},{p.stem.split('-')[2]},{p.stem.split('-')[0]}" for p in sounds)]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")

    text = card(capsys, "csv", "--data", tmp_path / "my.csv")

    assert "| utterances | 120 |" in text
    assert text.startswith("# csv\n\ncsv, a corpus of your own")


def test_no_protocol_means_no_promise():
    assert cards.kept_apart(RANDOM10) == "utterances only"
