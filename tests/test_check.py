"""`sertbench check` as one meets it: names, files, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertbench import testing
from sertbench.cli import main

NET = """
from torch import nn
from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe

class {name}(NeuralModel):
    \"\"\"A linear layer.\"\"\"

    paper = "unpublished"
    recipe = Recipe(features=log_mel(8, n_fft=256, hop_length=200), window=0.3, hop=0.1, learning_rate=0.02)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.classify = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        return self.classify(x.mean(2)){end}
"""
CORPUS = """
from sertbench.corpus import Corpus

class Mine(Corpus):
    \"\"\"Ten people.\"\"\"

    def utterances(self, root):
        yield from ()
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sound_file_passes_and_the_next_step_is_named(here, capsys):
    (here / "mine.py").write_text(NET.format(name="Mine", end=""))
    assert main(["check", "mine.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine: 16 checks"
    assert [line[:5] for line in lines[1:17]] == ["ok   "] * 16
    assert "ok   learns         16 items are learnt by heart" in lines
    assert lines[17].startswith("all 16 checks passed (")
    assert lines[18] == "next: sertbench run --model mine.py --dataset demo --trials 0 --seeds 1 --epochs 2"


def test_a_fault_is_told_in_full_with_status_1(here, capsys):
    (here / "mine.py").write_text(NET.format(name="Mine", end=".softmax(1)"))
    assert main(["check", "mine.py:Mine"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL logits"))
    assert "remove the softmax at its end" in lines[at + 1]
    assert lines[-1].startswith("1 of 16 checks failed, 10 not run (")


@pytest.mark.parametrize(
    ("old", "new", "clause", "said"),
    [
        (
            "return self.classify",
            "import sys; sys.exit(3); return self.classify",
            "output_shape",
            "SystemExit: 3 (a plug-in must not end the program",
        ),
        (
            "super().__init__(input_shape, n_classes)",
            "pass",
            "builds",
            "begin __init__ with super().__init__(input_shape",
        ),
    ],
)
def test_an_error_that_does_not_say_what_to_do_is_told_with_it(here, capsys, old, new, clause, said):
    (here / "mine.py").write_text(NET.format(name="Mine", end="").replace(old, new))
    assert main(["check", "mine.py"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL"))
    assert lines[at].split()[1] == clause
    assert said in lines[at + 1]
    assert lines[-1].startswith("1 of 16 checks failed")


def test_a_corpus_is_known_by_its_class(here, capsys):
    (here / "mine.py").write_text(CORPUS)
    assert main(["check", "mine.py"]) == 1
    said = capsys.readouterr().out
    assert f"mine.py: {len(testing.corpus_checks())} checks" in said
    assert "Mine.citation is missing" in said


def test_built_ins_are_checked_by_name(capsys):
    assert main(["check", "emodb"]) == 0
    assert main(["check", "majority"]) == 0
    assert "next:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "spec", "said"),
    [
        ("x = (\n", "mine.py", "mine.py, line 1: SyntaxError: '(' was never closed"),
        ("\nimport nowhere_to_be_found\n", "mine.py", "mine.py, line 2: ModuleNotFoundError"),
        ("x = 1\n", "mine.py", "mine.py defines no model: subclass sertbench.model.NeuralModel"),
        (NET.format(name="A", end="") + NET.format(name="B", end=""), "mine.py", "mine.py:A or "),
        (NET.format(name="A", end=""), "mine.py:B", "has no class 'B' that subclasses"),
        (NET.format(name="A", end=""), "yours.py", "yours.py cannot be read: No such file"),
        (NET.format(name="A", end=""), "./mine", "path/to/file.py[:Class]"),
        ("", "galm", "Did you mean 'glam'"),
        ("", "mine", "A file of your own: path/to/file.py"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence_with_status_2(here, capsys, text, spec, said):
    (here / "mine.py").write_text(text)
    assert main(["check", spec]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sertbench: error: ")
    assert said in err
