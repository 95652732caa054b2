"""The ledger of what checkpoints were trained on, and what follows for a row."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from sertbench import board_rows, bundle, exposure, plugins, pretrained
from sertbench.errors import ConfigError
from sertbench.feature_spec import log_mel
from sertbench.pretrained_spec import ssl

ELSEWHERE = {  # corpora of pre-training that are not for emotion recognition, or that sertbench does not have
    "babel", "cmu_mosei", "commonvoice", "fisher", "gigaspeech", "librilight", "librispeech", "mead", "mls",
    "switchboard", "voxlingua107", "voxpopuli",
}  # fmt: skip


@pytest.fixture
def named(tiny_checkpoint, monkeypatch):
    """A function that gives the resolved features of a checkpoint as if it came from the hub under an id."""

    def get(hub_id: str):
        monkeypatch.setattr(pretrained, "fetch", lambda _: tiny_checkpoint("wav2vec2"))
        return pretrained.resolve(ssl(hub_id), "cpu")

    return get


def test_the_ledger_names_corpora_as_sertbench_does_and_its_sources():
    known = {*plugins.names("datasets"), *ELSEWHERE}
    for hub_id, entry in exposure.ledger().items():
        assert pretrained.HUB_ID.fullmatch(hub_id)
        assert set(entry) <= {"ids", "corpora", "labelled", "possible", "undisclosed", "source"}
        assert {*entry["corpora"], *entry.get("labelled", []), *entry.get("possible", [])} <= known
        assert len(entry["source"]) > 20
        assert entry["corpora"] or entry.get("undisclosed")


@pytest.mark.parametrize(
    ("hub_id", "corpus", "status"),
    [
        ("facebook/wav2vec2-base", "iemocap", "none"),
        ("emotion2vec/emotion2vec_base", "iemocap", "exposed"),
        ("emotion2vec/emotion2vec_base", "meld", "exposed"),
        ("emotion2vec/emotion2vec_base", "emodb", "none"),
        ("emotion2vec/emotion2vec_plus_large", "ravdess", "exposed"),
        ("emotion2vec/emotion2vec_plus_large", "demo", "undisclosed"),
        ("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "msp_podcast", "exposed"),
        ("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "iemocap", "none"),
        ("superb/hubert-large-superb-er", "iemocap", "exposed"),
        ("microsoft/wavlm-large", "iemocap", "none"),
        ("microsoft/wavlm-large", "msp_podcast", "possible"),
        ("facebook/wav2vec2-xls-r-300m", "emodb", "none"),
        ("facebook/wav2vec2-xls-r-300m", "urdu", "possible"),  # talk shows on YouTube, as is VoxLingua107's Urdu
        ("openai/whisper-small", "emodb", "undisclosed"),
        ("somebody/wav2vec2-base", "iemocap", "unknown"),
    ],
)
def test_known_checkpoints(named, hub_id, corpus, status):
    found = exposure.judge(named(hub_id), corpus)
    assert (found.status, found.cell) == (status, status)
    assert bool(found.unranked) == (status != "none")
    assert hub_id in found.details


def test_of_several_corpora_the_worst_counts(named):
    taught = named("superb/hubert-base-superb-er")

    def worst(features, *corpora):
        return exposure.worst([exposure.judge(features, corpus) for corpus in corpora]).status

    assert worst(taught, "emodb", "iemocap") == "exposed"
    assert worst(taught, "emodb", "ravdess") == "none"
    assert worst(None, "emodb") == ""


def test_features_without_a_checkpoint_have_no_exposure():
    for features in (None, log_mel()):
        assert exposure.judge(features, "iemocap").cell == exposure.judge(features, "iemocap").unranked == ""


@pytest.fixture
def declared(tiny_checkpoint, tmp_path):
    """A function that puts a declaration beside a checkpoint and gives the resolved features."""
    folder = Path(shutil.copytree(tiny_checkpoint("wav2vec2"), tmp_path / "wav2vec2-base"))

    def get(text: str):
        (folder / "exposure.toml").write_text(text)
        return pretrained.resolve(ssl(str(folder)), "cpu")

    return get


def test_the_name_of_a_folder_proves_nothing(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint("wav2vec2"), tmp_path / "wav2vec2-base")
    assert exposure.judge(pretrained.resolve(ssl(str(folder)), "cpu"), "iemocap").status == "unknown"


@pytest.mark.parametrize(
    ("text", "corpus", "cell"),
    [
        ('same_as = "facebook/wav2vec2-base"', "iemocap", "none (declared)"),
        ('same_as = "superb/hubert-base-superb-er"', "iemocap", "exposed (declared)"),
        ('corpora = []\nsource = "random weights"', "iemocap", "none (declared)"),
        ('corpora = ["emodb"]\nsource = "our training"', "emodb", "exposed (declared)"),
        ('corpora = []\nlabelled = ["emodb"]\nsource = "our training"', "emodb", "exposed (declared)"),
        ('corpora = []\npossible = ["meld"]\nsource = "podcasts"', "meld", "possible (declared)"),
        ('corpora = ["IEMOCAP"]\nsource = "our training"', "iemocap", "exposed (declared)"),
        ('corpora = []\nlabelled = ["MSP-Podcast"]\nsource = "our training"', "msp_podcast", "exposed (declared)"),
        ('corpora = ["csv"]\nsource = "our training"', "csv-calls", "exposed (declared)"),
        ('corpora = ["csv-calls"]\nsource = "our training"', "csv-calls", "exposed (declared)"),
        ('corpora = ["csv-calls"]\nsource = "our training"', "csv-others", "none (declared)"),
    ],
)
def test_the_owner_of_a_checkpoint_may_declare_what_it_heard(declared, text, corpus, cell):
    assert exposure.judge(declared(text), corpus).cell == cell


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("corpora = [", "cannot be read as TOML"),
        ('corpora = "librispeech"', "corpora is not accepted. Keys: corpora"),
        ("corpora = []", "say what the checkpoint was trained on and where that is written"),
        ('same_as = "mine/own"', "not in the ledger"),
        ('trained = ["x"]', "trained is not accepted"),
        ('corpora = [1]\nsource = "x"', "corpora is not accepted"),
        ('corpora = []\nlabelled = [""]\nsource = "x"', "labelled is not accepted"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(declared, text, said):
    with pytest.raises(ConfigError, match=said):
        exposure.judge(declared(text), "emodb")


@pytest.mark.parametrize(
    ("seen", "ranked"), [("", True), ("none", True), ("none (declared)", True), ("exposed", False)]
)
def test_a_row_that_was_heard_in_training_is_shown_and_not_ranked(made_bundle, tmp_path, seen, ranked):
    reason = exposure.Exposure(seen, "").unranked
    features = {"versions": {}, "licence": "", "label": "ssl:x@1:all", "exposure": seen, "exposure_unranked": reason}
    folder = made_bundle(tmp_path, features=features)
    row = board_rows.row_of(bundle.load_run(folder), folder)
    assert (row["ranked"], row["exposure"], row["features"]) == (ranked, seen, "ssl:x@1:all")
    assert bool(row["unranked_reason"]) != ranked
