"""The pages of docs/ do what they say: their files are written and their commands executed, from top to bottom.

A fenced block that begins with `# path` is a file. In a `console` block, lines that begin with `$ ` are commands, and
the lines below one must be found in what it prints, `…` standing for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from sertbench import plugins, testing
from sertbench.cli import parser
from sertbench.selection import select

CHECKOUT = Path(__file__).parents[1]
MODEL, CORPUS = ((CHECKOUT / f"docs/add-a-{what}.md").read_text(encoding="utf-8") for what in ("model", "corpus"))
PAGES = {"model": MODEL, "corpus": CORPUS}
PIP = "--quiet --disable-pip-version-check"
OFFLINE = f"{PIP} install --no-index --no-deps --no-build-isolation --target"


class Workshop:
    """A folder with a copy of the checkout in `checkout/`, whose sertbench is the one that commands find."""

    def __init__(self, folder: Path) -> None:
        self.here, self.site, bin_ = folder / "here", folder / "site", folder / "bin"
        package = self.site / "sertbench"
        for place in (self.here, bin_, self.site):
            place.mkdir()
        for name in ("sertbench", "models", "datasets"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, self.here / "checkout" / name, ignore=ignore)
        shutil.copytree(self.here / "checkout/sertbench", package, symlinks=True)
        for name in ("models", "datasets"):  # as pyproject.toml maps them
            (package / name).symlink_to(self.here / "checkout" / name)
        commands = {
            "sertbench": '-m sertbench "$@"',
            "pytest": '-m pytest -p no:cacheprovider "$@"',
            "pip": f'-m pip {OFFLINE} {self.site} "$2"',
            "python": '"$@"',
        }
        for name, arguments in commands.items():
            (bin_ / name).write_text(f"#!/bin/sh\nexec {sys.executable} -P {arguments}\n")
            (bin_ / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def write(self, text: str) -> None:
        """Write the file of a block."""
        path = self.here / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def execute(self, command: str, shown: list[str]) -> None:
        """Execute a command as it stands on the page; it must succeed and print what is shown there."""
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, cwd=self.here, env=self.environment, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
        for line in shown:
            wanted = re.sub(r"([*?[])", r"[\1]", " ".join(line.split())).replace("…", "*")
            wanted = f"*{wanted}*"
            found = any(fnmatchcase(seen, wanted) for seen in printed) or fnmatchcase(" ".join(printed), wanted)
            assert found, f"$ {command}\nshould print: {line}\nbut printed:\n{done.stdout}"


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def file_of(page: str, name: str) -> str:
    """The text of a file of a page."""
    return next(text for _, text in blocks(page) if text.startswith(f"# {name}\n"))


def steps(section: str) -> list[tuple[str, list[str]]]:
    """The blocks of a section: a file's text with nothing, or a command with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for language, text in blocks(section):
        if language != "console":
            found.append((text, []))
            continue
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line, []))
            else:
                found[-1][1].append(line)
    return found


def section(page: str, way: str) -> str:
    """A section of a page by the beginning of its heading; "": what stands before the first."""
    before, _, _ = page.partition("\n## ")
    return page[page.index(f"\n## {way}") :].partition("\n## ")[2].partition("\n## ")[0] if way else before


def follow(workshop: Workshop, text: str) -> list[str]:
    """Follow a section step by step; gives the commands."""
    commands = []
    for step, shown in steps(text):
        if step.startswith("$ "):
            commands.append(step[2:])
            workshop.execute(step[2:], shown)
        else:
            workshop.write(step)
    return commands


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_a_file_or_commands(name):
    page = PAGES[name]
    assert len(blocks(page)) >= 10
    for language, text in blocks(page):
        assert text.startswith("$ " if language == "console" else "# "), text
    assert page.count("```") == 2 * len(blocks(page)), "a fence is not closed, or has no language"


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("model", {"new", "check", "profile", "list", "run"}),
        ("corpus", {"audit", "card", "check", "list", "new", "run"}),
    ],
)
def test_every_command_is_one_that_sertbench_has(name, used):
    lines = [line.partition(" 2>&1")[0] for line in PAGES[name].splitlines() if line.startswith("$ sertbench ")]
    commands = [line.split()[2:] for line in lines]
    assert {command[0] for command in commands} == used
    for command in commands:
        assert parser().parse_args(command).command == command[0]


def test_the_first_model_of_the_page_can_be_trained_and_is_as_large_as_it_says(tmp_path):
    """The slow test runs all of the contract; this is what breaks first when the interface changes."""
    file = tmp_path / "my_net.py"
    file.write_text(file_of(MODEL, "my_net.py"))
    cls = plugins.load_model(str(file)).cls
    for check in testing.checks(cls)[:8]:
        assert testing.run_check(cls, check) == ""
    assert f"{cls.n_parameters:,}" in MODEL


def test_the_corpus_of_the_page_keeps_the_contract_and_is_what_its_script_makes(tmp_path, monkeypatch):
    """As with the model: the slow test executes the page, this one breaks first."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "greetings.py"
    file.write_text(file_of(CORPUS, "greetings.py"))
    assert [result.message for result in testing.check_corpus(str(file)) if not result.passed] == []
    exec(file_of(CORPUS, "make_greetings.py"), {})
    adapter = plugins.load_corpus(str(file)).corpus
    made = select(adapter, "greetings", tmp_path / "greetings", adapter.label_set(None), "all")
    assert len(made) == 144
    assert len(adapter.protocols[0].split(made).folds) == 3
    exec(file_of(CORPUS, "make_table.py"), {})
    table = plugins.load_corpus("csv").corpus.at(tmp_path / "greetings.csv")
    assert [u.speaker for u in select(table, "csv", tmp_path / "greetings.csv", table.label_set(None), "all")] == [
        u.speaker for u in made
    ]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["1.", "2.", "3."])
def test_the_page_of_models_step_by_step(tmp_path, way):
    workshop = Workshop(tmp_path)
    if way == "2.":
        workshop.write(file_of(MODEL, "my_net.py"))
    commands = follow(workshop, section(MODEL, way))
    assert any(command.startswith("sertbench run") for command in commands)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["1.", "2.", "3."])
def test_the_page_of_corpora_step_by_step(tmp_path, way):
    workshop = Workshop(tmp_path)
    follow(workshop, section(CORPUS, ""))
    if way == "3.":
        workshop.write(file_of(CORPUS, "greetings.py"))
    commands = follow(workshop, section(CORPUS, way))
    assert any(command.startswith("sertbench run") for command in commands)


def test_the_readme_leads_to_the_pages():
    """README shows one model too; it links here for the rest."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert all(f"docs/add-a-{name}.md" in readme for name in PAGES)
