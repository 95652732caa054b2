"""What is shipped is what is in the checkout, it runs from elsewhere, and it stays out of other packages' way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PIP = [sys.executable, "-P", "-m", "pip", "--quiet", "--disable-pip-version-check"]
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def run(*command: str | Path, cwd: Path, **environment: str | Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=env, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the checkout, so that building leaves nothing in the real one."""
    folder = tmp_path_factory.mktemp("copy")
    for item in CHECKOUT.iterdir():
        if item.is_file():
            shutil.copy(item, folder)
        elif item.name in ("sertbench", "models", "datasets", "leaderboards", "tests"):
            shutil.copytree(item, folder / item.name, ignore=NOT_SHIPPED)
    return folder


@pytest.fixture(scope="module")
def wheel(copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, ".", cwd=copy)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel, unpacked by pip into a folder to be put on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("installed")
    done = run(*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_the_three_folders_and_nothing_else(copy, wheel):
    expected = {
        f"{shipped}/{path.relative_to(copy / folder).as_posix()}"
        for folder, shipped in [
            ("sertbench", "sertbench"),
            ("models", "sertbench/models"),
            ("datasets", "sertbench/datasets"),
        ]
        for path in (copy / folder).rglob("*")
        if path.is_file()
    }

    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert files == expected, "a folder inside models/ or datasets/, or an unusual file, needs a line in pyproject.toml"
    assert {"sertbench/py.typed", "sertbench/models/glam.py", "sertbench/datasets/__init__.py"} <= files


def test_the_installed_command_lists_every_built_in_from_elsewhere(installed, tmp_path):
    listed = run(installed / "bin/sertbench", "list", "models", cwd=tmp_path, PYTHONPATH=installed, COLUMNS="200")
    where = "from sertbench import plugins; print(*(s.path for s in plugins.sources('models').values()), sep='\\n')"

    paths = run(sys.executable, "-P", "-c", where, cwd=tmp_path, PYTHONPATH=installed).stdout.split()

    assert listed.returncode == 0, listed.stderr
    names = {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}
    assert names >= {path.stem for path in (installed / "sertbench/models").glob("[!_]*.py")}
    assert {Path(path).parent for path in paths} == {installed / "sertbench/models"}, "these must be the wheel's files"


@pytest.mark.slow
def test_the_installed_command_runs_the_demo(installed, tmp_path):
    options = ["--model", "cnn", "--dataset", "demo", "--trials", "0", "--seeds", "1", "--epochs", "1"]

    done = run(installed / "bin/sertbench", "run", *options, cwd=tmp_path, PYTHONPATH=installed)

    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.rglob("run.json")), "the run leaves its bundle in the current folder"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list", "models"], ["list", "datasets"], ["list", "claims"]],
    ids=" ".join,
)
def test_help_and_lists_import_no_torch(arguments, tmp_path):
    code = f"""
import sys
from sertbench.cli import main
try:
    status = main({arguments})
except SystemExit as end:
    status = end.code
print(status or 0, "torch" in sys.modules, file=sys.stderr)
"""

    done = run(sys.executable, "-P", "-c", code, cwd=tmp_path)

    assert done.stdout.strip()
    assert done.stderr.strip() == "0 False"


@pytest.mark.parametrize("name", ["models", "datasets"])
def test_a_bare_import_from_the_checkout_is_refused_with_the_way_out(name):
    done = run(sys.executable, "-c", f"import {name}", cwd=CHECKOUT, PYTHONSAFEPATH="")

    assert done.returncode == 1
    assert f"ImportError: this is sertbench's folder of {'corpora' if name == 'datasets' else name}" in done.stderr
    assert f"write `import sertbench.{name}`" in done.stderr


@pytest.mark.parametrize("name", ["models", "datasets"])
def test_a_bare_import_finds_the_package_of_that_name_even_after_ours(name, tmp_path):
    (tmp_path / f"{name}.py").write_text("OWNER = 'somebody else'\n")
    code = f"import sertbench.{name}, {name}; print({name}.OWNER)"

    done = run(sys.executable, "-P", "-c", code, cwd=CHECKOUT, PYTHONPATH=tmp_path)

    assert done.stdout.strip() == "somebody else", done.stderr
