"""`--accept-missing` leaves out exactly what it names: nothing beside it, and nothing that stays in after all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sertbench.datasets.csv import Csv
from sertbench.datasets.msp_podcast import MspPodcast
from sertbench.datasets.ravdess import Ravdess
from sertbench.datasets.savee import Savee

from sertbench import audit_checks, audit_tree, exclusions
from sertbench.cli import main
from sertbench.corpus import Corpus
from sertbench.errors import ConfigError, CorpusError
from sertbench.selection import select


def chosen(corpus: Corpus, root: Path, *excluded: str) -> list[str]:
    return [u.id for u in select(corpus, "corpus", root, corpus.label_set(None), "all", excluded)]


def audited(corpus: Corpus, root: Path, *excluded: str) -> dict[str, tuple[str, ...]]:
    tree = audit_tree.read(corpus, root, excluded)
    return {f.code: f.files for f in audit_checks.tree_findings(tree, "corpus")}


@pytest.fixture
def savee(tmp_path) -> Path:
    for name in Savee().expected_ids():
        path = tmp_path / name.replace("_", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_name(path.name + ".wav").touch()
    return tmp_path


def test_a_path_leaves_out_the_utterance_whatever_its_id_is(savee):
    """The id is DC_a01, which the path does not tell."""
    ids = chosen(Savee(), savee, "DC/a01.wav")

    assert Savee().expected_ids() - set(ids) == {"DC_a01"}
    assert set(audited(Savee(), savee, "DC/a01.wav")) == {"left-out"}


def test_another_file_that_is_called_alike_is_still_missed(savee):
    (savee / "DC" / "a01.wav").unlink()
    (savee / "JE" / "a01.wav").unlink()

    with pytest.raises(CorpusError, match="1 missing: JE_a01"):
        chosen(Savee(), savee, "DC_a01")
    assert audited(Savee(), savee, "DC_a01")["missing"] == ("JE_a01",)


@pytest.fixture
def table(tmp_path) -> Path:
    paths = [f"{speaker}/{n}.wav" for speaker in ("ann", "bea") for n in range(3)] + ["0.wav"]
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    lines = [f"{path},{'glad' if '0' in path else 'calm'},{path[0]}" for path in paths]
    (tmp_path / "my.csv").write_text("\n".join(["path,label,speaker", *lines]) + "\n")
    return tmp_path / "my.csv"


@pytest.mark.parametrize("other", ["bea/0.wav", "0.wav"])
def test_a_line_of_a_table_is_not_left_out_for_the_name_of_another(table, other):
    (table.parent / "ann" / "0.wav").unlink()
    with exclusions.reading(table.parent, ["ann/0.wav"]):
        corpus = Csv().at(table)
    assert len(chosen(corpus, table, "ann/0.wav")) == 6
    (table.parent / other).unlink()

    with pytest.raises(CorpusError, match=f"1 file that cannot be found: {re.escape(other)}"):
        chosen(corpus, table, "ann/0.wav")


def test_a_class_of_which_every_line_is_left_out_is_none(table):
    table.write_text(table.read_text().replace("ann/0.wav,glad", "ann/0.wav,cross"))

    with exclusions.reading(table.parent, ["ann/0.wav"]):
        corpus = Csv().at(table)

    assert corpus.label_set(None).classes == ("calm", "glad")
    assert len(chosen(corpus, table, "ann/0.wav")) == 6


def test_a_table_of_which_every_line_is_left_out_is_refused(table, capsys):
    names = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    for name in names:
        (table.parent / name).unlink()
    (table.parent / "names.txt").write_text("\n".join(names))

    flags = ["--data", str(table), "--accept-missing", str(table.parent / "names.txt")]
    assert main(["audit", "csv", *flags]) == 3
    assert "every line is left out by --accept-missing" in capsys.readouterr().out
    assert main(["run", "--model", "duration", "--dataset", "csv", *flags, "--dry-run"]) == 2
    assert "every line is left out by --accept-missing" in capsys.readouterr().err


@pytest.mark.parametrize("before", ["", "Ravdess/", "Actor_02/"])
def test_a_path_that_is_told_from_elsewhere_is_refused(tmp_path, before):
    """It would be in the record of the run as left out, and the utterance in its training or test part."""
    for name in Ravdess().expected_ids():
        folder = tmp_path / f"Actor_{name[-2:]}"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.wav").touch()
    name = "03-01-01-01-01-01-01"
    right = f"Actor_01/{name}.wav"
    wrong = f"{before}{name}.wav" if before == "Actor_02/" else before + right if before else str(tmp_path / right)

    assert name not in chosen(Ravdess(), tmp_path, right)
    with pytest.raises(ConfigError, match="does not know"):
        chosen(Ravdess(), tmp_path, wrong)
    with pytest.raises(ConfigError, match="does not know"):
        audited(Ravdess(), tmp_path, wrong)
    (tmp_path / right).unlink()
    assert name not in chosen(Ravdess(), tmp_path, right)


def test_a_turn_of_msp_podcast_is_left_out_by_its_id_and_by_its_path(tmp_path):
    columns = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    rows = [f"MSP-PODCAST_0001_000{n}.wav,{c},4,4,4,1,Female,Train" for n, c in enumerate("NHSN")]
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels" / "labels_consensus.csv").write_text("\n".join([columns, *rows]) + "\n")
    (tmp_path / "Audios").mkdir()
    for n in range(3):
        (tmp_path / "Audios" / f"MSP-PODCAST_0001_000{n}.wav").touch()

    for name in ("MSP-PODCAST_0001_0003", "Audios/MSP-PODCAST_0001_0003.wav"):
        assert len(chosen(MspPodcast(), tmp_path, name)) == 3
    with pytest.raises(CorpusError, match="1 labelled turns have no wav file"):
        chosen(MspPodcast(), tmp_path)
