"""`sertbench new`: what it writes works and passes; nothing is overwritten or hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sertbench import plugins, testing
from sertbench.cli import main


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
