"""TurEV-DB: what file names say, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.turev import TurEV

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "Sound Source" / "Calm" / "1984_sk_eger.wav"
    path.parent.mkdir(parents=True)
    path.touch()

    assert list(TurEV().utterances(tmp_path)) == [
        Utterance(id="1984_sk_eger", path=path, label="calm", speaker="1984", text="eger", language="tr")
    ]


def test_the_word_with_a_number_is_the_word(tmp_path):
    (tmp_path / "7895_hl_ogul1.wav").touch()

    (found,) = TurEV().utterances(tmp_path)

    assert (found.id, found.text, found.label) == ("7895_hl_ogul", "ogul", "sad")
    assert found.id in TurEV().expected_ids()


def test_the_published_names_are_1735_with_the_published_counts():
    ids = TurEV().expected_ids()

    assert Counter(i[5:7] for i in ids) == {"kz": 487, "hl": 483, "sk": 408, "mt": 357}
    assert Counter(i[:7] for i in ids if i.startswith("1157")) == {"1157_kz": 77, "1157_hl": 73}


@pytest.mark.parametrize("stem", ["1985_sk_eger", "1984_sk_ege", "1984-sk-eger", "1984_sk_eger2"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of TurEV-DB\. Expected: "):
        list(TurEV().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "1984_nt_eger.wav").touch()

    with pytest.raises(CorpusError, match=r"1984_nt_eger\.wav: unknown label code 'nt'"):
        list(TurEV().utterances(tmp_path))
