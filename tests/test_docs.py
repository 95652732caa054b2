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

CHECKOUT = Path(__file__).parents[1]
PAGE = (CHECKOUT / "docs/add-a-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
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
            "sertbench": '-m sertbench.cli "$@"',
            "pytest": '-m pytest -p no:cacheprovider "$@"',
            "pip": f'-m pip {OFFLINE} {self.site} "$2"',
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


def steps(way: str) -> list[tuple[str, list[str]]]:
    """The blocks of one section: a file's text with nothing, or a command with the lines that are shown below it."""
    section = PAGE[PAGE.index(f"\n## {way}") :].partition("\n## ")[2].partition("\n## ")[0]
    found: list[tuple[str, list[str]]] = []
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL):
        if language != "console":
            found.append((text, []))
            continue
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line, []))
            else:
                found[-1][1].append(line)
    return found


def follow(workshop: Workshop, way: str) -> list[str]:
    """Follow a section step by step; gives the commands."""
    commands = []
    for text, shown in steps(way):
        if text.startswith("$ "):
            commands.append(text[2:])
            workshop.execute(text[2:], shown)
        else:
            workshop.write(text)
    return commands


def test_every_block_is_a_file_or_commands():
    assert len(BLOCKS) >= 10
    for language, text in BLOCKS:
        assert text.startswith("$ " if language == "console" else "# "), text
    assert PAGE.count("```") == 2 * len(BLOCKS), "a fence is not closed, or has no language"


def test_every_command_is_one_that_sertbench_has():
    commands = [line.split()[2:] for line in PAGE.splitlines() if line.startswith("$ sertbench ")]
    assert {command[0] for command in commands} == {"new", "check", "profile", "list", "run"}
    for command in commands:
        assert parser().parse_args(command).command == command[0]


def test_the_first_model_of_the_page_can_be_trained_and_is_as_large_as_it_says(tmp_path):
    """The slow test runs all of the contract; this is what breaks first when the interface changes."""
    file = tmp_path / "my_net.py"
    file.write_text(next(text for _, text in BLOCKS if text.startswith("# my_net.py")))
    cls = plugins.load_model(str(file)).cls
    for check in testing.checks(cls)[:8]:
        assert testing.run_check(cls, check) == ""
    assert f"{cls.n_parameters:,}" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("way", ["1.", "2.", "3."])
def test_the_page_step_by_step(tmp_path, way):
    workshop = Workshop(tmp_path)
    if way == "2.":
        workshop.write(next(text for language, text in BLOCKS if text.startswith("# my_net.py")))
    commands = follow(workshop, way)
    assert any(command.startswith("sertbench run") for command in commands)


def test_the_page_has_the_file_of_the_readme():
    """README shows one model too; it links here for the rest."""
    assert "docs/add-a-model.md" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
