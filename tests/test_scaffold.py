"""`sertbench new`: what it writes works and passes; nothing is overwritten or hidden."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sertbench import plugins, testing
from sertbench.cli import main
from sertbench.corpus import select


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_model_is_two_files_and_says_what_to_type_next(here, capsys):
    assert main(["new", "model", "my_net"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["my_net.py", "test_my_net.py"]
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "  sertbench check my_net.py",
        "  pytest test_my_net.py",
        "  sertbench run --model my_net.py --dataset demo --trials 0 --seeds 1 --epochs 2",
    ]
    loaded = plugins.load_model("my_net.py")
    assert (loaded.cls.__name__, loaded.cls.paper) == ("MyNet", "unpublished")


def test_a_new_model_keeps_the_contract(here):
    main(["new", "model", "my_net"])
    found = {result.name: result.message for result in testing.check_plugin("my_net.py")}
    assert set(found.values()) == {""}
    assert {"learns", "search_space", "bf16"} <= set(found)


def test_a_new_corpus_is_two_files_and_says_what_to_type_next(here, capsys):
    assert main(["new", "corpus", "my_corpus"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["my_corpus.py", "test_my_corpus.py"]
    assert capsys.readouterr().out.splitlines() == [
        "wrote my_corpus.py and test_my_corpus.py. Next:",
        "  sertbench check my_corpus.py",
        "  pytest test_my_corpus.py",
        "  sertbench audit my_corpus.py --data FOLDER",
        "  sertbench run --model cnn --dataset my_corpus.py --data FOLDER --trials 0 --seeds 1 --epochs 2",
    ]
    assert type(plugins.load_corpus("my_corpus.py").corpus).__name__ == "MyCorpus"


def test_a_new_corpus_keeps_the_contract_and_reads_what_it_says(here):
    main(["new", "corpus", "my_corpus"])
    found = {result.name: result.message for result in testing.check_corpus("my_corpus.py")}
    assert set(found.values()) == {""}
    adapter = plugins.load_corpus("my_corpus.py").corpus
    (here / "data").mkdir()
    for name in adapter.expected_ids():
        (here / "data" / f"{name}.wav").touch()
    chosen = select(adapter, "my_corpus", here / "data", adapter.label_set(None), "all")
    assert len(chosen) == 120
    assert {u.text for u in chosen} == set("12345")
    for protocol in adapter.protocols:
        assert protocol.split(chosen).folds


@pytest.mark.slow
def test_the_test_of_a_new_corpus_finds_what_is_broken_later(here):
    main(["new", "corpus", "my_corpus"])
    assert outcome("test_my_corpus.py") == (0, set())
    file = here / "my_corpus.py"
    text = file.read_text()
    for right, wrong, failing in (
        ('speaker=parts["speaker"],', 'speaker=parts["sentence"],', {"test_counts_are_those_published"}),
        ("raise CorpusError(f", "continue  # (f", {"test_a_file_that_is_not_of_the_corpus_is_named"}),
        ("dict.fromkeys(LABELS.values(), 30)", "dict.fromkeys(LABELS.values(), 31)", {"test_contract"}),
    ):
        assert right in text
        file.write_text(text.replace(right, wrong))
        status, failed = outcome("test_my_corpus.py")
        assert status == 1
        assert failing <= failed


def outcome(test: str) -> tuple[int, set[str]]:
    """Exit status and failed tests of a pytest of its own."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, set(re.findall(r"^FAILED \S+::(\w+)", done.stdout, flags=re.M))


@pytest.mark.slow
def test_its_test_finds_what_is_broken_later(here):
    main(["new", "model", "my_net"])
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_net.py"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    whole = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert whole.returncode == 0, whole.stdout
    file = here / "my_net.py"
    file.write_text(file.read_text().replace("self.classify(pooled)", "self.classify(pooled).softmax(1)"))
    broken = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert broken.returncode == 1
    assert "remove the softmax" in broken.stdout


def test_nothing_is_overwritten(here, capsys):
    (here / "test_mine.py").write_text("mine")
    assert main(["new", "model", "mine"]) == 2
    assert "test_mine.py is there already, and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["test_mine.py"]
    assert main(["new", "model", "mine", "--dir", "a/b"]) == 0
    assert (here / "a/b/mine.py").exists()


def test_a_corpus_does_not_take_a_name_that_is_there(here, capsys):
    assert main(["new", "corpus", "ravdess"]) == 2
    assert "'ravdess' is taken by dataset ravdess (built in)" in capsys.readouterr().err
    assert main(["new", "corpus", "my-corpus"]) == 2
    assert "cannot be the name of a corpus" in capsys.readouterr().err
    assert main(["new", "corpus", "mine"]) == 0
    assert main(["new", "corpus", "mine"]) == 2
    assert "mine.py is there already, and is not overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("glam", "'glam' is taken by model glam (built in). Choose another name, e.g. my_glam"),
        ("emodb", "'emodb' is taken by dataset emodb (built in)"),
        ("torch", "would hide the Python package 'torch'"),
        ("random", "would hide the Python package 'random'"),
        ("class", "letters, digits and underscores"),
        ("2net", "letters, digits and underscores"),
        ("my-net", "letters, digits and underscores"),
        ("_net", "letters, digits and underscores"),
        ("../net", "letters, digits and underscores"),
        ("net.py", "letters, digits and underscores"),
        ("", "letters, digits and underscores"),
        ("n\u00e4tz", "letters, digits and underscores"),
        ("test_net", "letters, digits and underscores"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_writes_nothing(here, capsys, name, said):
    assert main(["new", "model", name]) == 2
    assert said in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_is_one_sentence(here, capsys):
    (here / "file").write_text("")
    assert main(["new", "model", "mine", "--dir", "file"]) == 2
    assert capsys.readouterr().err.startswith("sertbench: error: file")
