"""What of the code is in a fit's identity: the plug-in, the blocks that it uses, the loop - and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

import pytest

from sertbench import identity, plugins
from sertbench.plugin_text import helpers

LAYERS = '''
"""Blocks."""
SCALE = 2


class Inner:
    """Used by Outer."""
    def run(self, x):
        return SCALE * x


class Outer:
    def run(self, x):
        return Inner().run(x)


class Other:
    def run(self, x):
        return x
'''
PLUGIN = '''
"""A model."""
from sertbench.layers import Outer


class Net:
    def forward(self, x):
        return Outer().run(x)  # the sum
'''


def digest(tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch, **modules: str) -> str:
    """The hash of a plug-in, with the text of some modules of sertbench replaced."""
    own = tmp_path / "net.py"
    own.write_text(plugin)
    for name, text in modules.items():
        (tmp_path / f"_{name}.py").write_text(text)
    real = identity.file_of
    replaced = {f"sertbench.{name}": str(tmp_path / f"_{name}.py") for name in modules}
    monkeypatch.setattr(identity, "file_of", lambda module: replaced.get(module) or real(module))
    identity.file_code_sha256.cache_clear()
    try:
        return identity.file_code_sha256(str(own))
    finally:
        identity.file_code_sha256.cache_clear()
        monkeypatch.setattr(identity, "file_of", real)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# the sum", "# another comment", True),
        ('"""A model."""', '"""A better docstring."""', True),
        ("return Outer().run(x)", "return Outer().run(x) + 1", False),
        ("from sertbench.layers import Outer", "from sertbench.layers import Outer, Other", False),
    ],
)
def test_a_plugin_counts_by_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, same: bool
) -> None:
    before = digest(tmp_path, PLUGIN, monkeypatch, layers=LAYERS)
    after = digest(tmp_path, PLUGIN.replace(old, new), monkeypatch, layers=LAYERS)
    assert (before == after) is same


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("        return x\n", "        return -x\n", True),  # of Other, which the plug-in does not use
        ('"""Used by Outer."""', '"""Used."""', True),
        ("return Inner().run(x)", "return -Inner().run(x)", False),
        ("return SCALE * x", "return x * SCALE", False),  # two steps away
        ("SCALE = 2", "SCALE = 3", False),  # three steps away
    ],
)
def test_a_shared_block_counts_if_the_plugin_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, same: bool
) -> None:
    assert old in LAYERS
    before = digest(tmp_path, PLUGIN, monkeypatch, layers=LAYERS)
    after = digest(tmp_path, PLUGIN, monkeypatch, layers=LAYERS.replace(old, new))
    assert (before == after) is same


@pytest.mark.parametrize(
    "statement",
    [
        "import sertbench.layers",
        "import sertbench.layers as blocks",
        "from sertbench import layers",
        "from sertbench.layers import *",
    ],
)
def test_a_plugin_that_imports_all_blocks_depends_on_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    plugin = f"{statement}\n"
    before = digest(tmp_path, plugin, monkeypatch, layers=LAYERS)
    for old, new in (("        return x\n", "        return -x\n"), ("SCALE = 2", "SCALE = 3")):
        assert digest(tmp_path, plugin, monkeypatch, layers=LAYERS.replace(old, new)) != before


SEQUENCES = '''
"""More blocks, some of which use those of another module."""
from sertbench.layers import Outer as Wrapped
from sertbench.audio import peak
from sertbench import scores


class Step:
    def run(self, x):
        return Wrapped().run(x)


class Lazy:
    def run(self, x):
        from sertbench.layers import Other

        return Other().run(x)


class Loud:
    def run(self, x):
        return peak(x)


class Scored:
    def run(self, x):
        return scores.score(x)


class Alone:
    def run(self, x):
        return x
'''
AUDIO = "def peak(x):\n    return floor(x)\ndef floor(x):\n    return x\ndef cut(x):\n    return x\n"


@pytest.mark.parametrize(
    ("block", "module", "old", "new", "same"),
    [
        ("Step", "sequence_layers", "Wrapped().run(x)", "-Wrapped().run(x)", False),
        ("Step", "layers", "SCALE = 2", "SCALE = 3", False),  # in another module, four steps away
        ("Step", "layers", "        return x\n", "        return -x\n", True),  # of Other, which Step does not use
        ("Step", "audio", "return floor(x)", "return -floor(x)", True),
        ("Wrapped", "layers", "SCALE = 2", "SCALE = 3", False),  # handed on from where it was imported
        ("Lazy", "layers", "        return x\n", "        return -x\n", False),  # imported inside the block
        ("Loud", "audio", "def floor(x):\n    return x", "def floor(x):\n    return -x", False),
        ("Loud", "audio", "def cut(x):\n    return x", "def cut(x):\n    return -x", True),
        ("Scored", "scores", "LEAST = 1", "LEAST = 2", False),  # a module that is imported as a whole
        ("Alone", "layers", "SCALE = 2", "SCALE = 3", True),
        ("Alone", "sequence_layers", "return peak(x)", "return -peak(x)", True),
    ],
)
def test_a_block_is_followed_into_the_modules_that_its_own_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str, module: str, old: str, new: str, same: bool
) -> None:
    plugin = f"from sertbench.sequence_layers import {block}\n"
    texts = {"layers": LAYERS, "sequence_layers": SEQUENCES, "audio": AUDIO, "scores": "LEAST = 1\ndef score(x): 0\n"}
    assert old in texts[module]
    before = digest(tmp_path, plugin, monkeypatch, **texts)
    texts[module] = texts[module].replace(old, new)
    assert (digest(tmp_path, plugin, monkeypatch, **texts) == before) is same


def test_what_a_relative_import_takes_counts_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, blocks = (
        "from sertbench.sequence_layers import Step\n",
        SEQUENCES.replace("from sertbench.layers", "from .layers"),
    )
    before = digest(tmp_path, plugin, monkeypatch, layers=LAYERS, sequence_layers=blocks)
    changed = LAYERS.replace("SCALE = 2", "SCALE = 3")
    assert digest(tmp_path, plugin, monkeypatch, layers=changed, sequence_layers=blocks) != before


def test_a_name_of_the_package_that_is_no_module_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = "from sertbench import __version__\nclass Step:\n    version = __version__\n"
    plugin = "from sertbench.sequence_layers import Step\n"
    assert digest(tmp_path, plugin, monkeypatch, sequence_layers=blocks)


@pytest.mark.parametrize("module", ["training", "network", "optimisation", "recording", "compute"])
def test_the_training_loop_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    loop = tmp_path / "loop.py"
    monkeypatch.setattr(getattr(identity, module), "__file__", str(loop))
    digests = []
    for code in ("RATE = 1  # one", "RATE = 1", "RATE = 2"):
        loop.write_text(code)
        digests.append(digest(tmp_path, PLUGIN, monkeypatch, layers=LAYERS))
    assert digests[0] == digests[1] != digests[2]


def test_definitions_are_found_by_the_names_that_they_give() -> None:
    module = ast.parse("A = B = 1\nC: int = 2\nD, E = 3, 4\nif A:\n    G = 5\nclass H: pass\ndef i(): j = 1\n")
    assert set(identity.definitions(module)) == {"A", "B", "C", "D", "E", "G", "H", "i"}


def test_a_closure_of_names_that_lead_in_a_circle_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "round.py").write_text("def a(): return b()\ndef b(): return a()\ndef c(): return a()\n")
    monkeypatch.setattr(identity, "file_of", lambda _: str(tmp_path / "round.py"))
    assert set(identity.closure([("sertbench.round", "a")])) == {("sertbench.round", "a"), ("sertbench.round", "b")}


def test_networks_of_built_in_models_come_from_modules_of_blocks() -> None:
    """Whatever else of sertbench a model file imports holds no network, so its code need not be in a fit's identity."""
    others = {"sertbench.corpus", "sertbench.errors", "sertbench.feature_spec", "sertbench.model"}
    for path in (plugins.find("models", name).path for name in plugins.names("models")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sertbench"):
                assert node.module in others | identity.BLOCKS, f"{path.name} imports {node.module}"


HELPED = """
import math
import blocks
from parts.conv import Conv
"""


@pytest.mark.parametrize(
    ("file", "same"),
    [("blocks.py", False), ("parts/conv.py", False), ("parts/__init__.py", False), ("parts/deep.py", False),
     ("other.py", True), ("math.py", True)],
)  # fmt: skip
def test_the_authors_own_files_count_as_far_as_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, same: bool
) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("blocks.py", "parts/__init__.py", "parts/deep.py", "other.py", "math.py"):
        (tmp_path / name).write_text("A = 1\n")
    (tmp_path / "parts/conv.py").write_text("from . import deep\n")
    before = digest(tmp_path, HELPED + PLUGIN, monkeypatch, layers=LAYERS)
    with (tmp_path / file).open("a") as text:
        text.write("B = 2\n")
    assert (digest(tmp_path, HELPED + PLUGIN, monkeypatch, layers=LAYERS) == before) is same


def test_blocks_that_only_a_helper_uses_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocks.py").write_text("from sertbench.layers import Other\n")
    plugin = PLUGIN + "\nimport blocks\n"
    before = digest(tmp_path, plugin, monkeypatch, layers=LAYERS)
    changed = LAYERS.replace("        return x\n", "        return -x\n")
    assert digest(tmp_path, plugin, monkeypatch, layers=changed) != before


def test_helpers_of_a_package_are_found_by_their_full_name_and_by_dots(tmp_path: Path) -> None:
    """As in an installed package; a file that only has the name of a module of the library is none."""
    files = {
        "acme/__init__.py": "",
        "acme/models/__init__.py": "",
        "acme/models/net.py": "import csv, torch\nfrom acme.blocks import conv\nfrom ..tools import f\nfrom . import same",  # noqa: E501
        "acme/models/same.py": "import acme.more",
        "acme/models/csv.py": "",
        "acme/blocks/__init__.py": "",
        "acme/blocks/conv.py": "from acme.models import net",
        "acme/tools.py": "",
        "acme/more.py": "",
        "acme/unused.py": "",
        "torch.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path / "acme").as_posix() for path in helpers(tmp_path / "acme/models/net.py")}
    modules = {"models/same.py", "blocks/conv.py", "tools.py", "more.py"}
    assert found == modules | {"__init__.py", "models/__init__.py", "blocks/__init__.py"}


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_built_in_plugins_are_one_file_each(kind: Literal["models", "datasets"]) -> None:
    assert {s.name: helpers(s.path) for s in plugins.sources(kind).values() if s.path and helpers(s.path)} == {}
