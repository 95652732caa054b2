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


def digest(tmp_path: Path, plugin: str, layers: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hash of a plug-in beside given shared blocks."""
    own, shared = tmp_path / "net.py", tmp_path / "layers.py"
    own.write_text(plugin)
    shared.write_text(layers)
    monkeypatch.setattr(identity, "BLOCKS", {"sertbench.layers": str(shared)})
    identity.file_code_sha256.cache_clear()
    try:
        return identity.file_code_sha256(str(own))
    finally:
        identity.file_code_sha256.cache_clear()


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
    before = digest(tmp_path, PLUGIN, LAYERS, monkeypatch)
    after = digest(tmp_path, PLUGIN.replace(old, new), LAYERS, monkeypatch)
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
    before = digest(tmp_path, PLUGIN, LAYERS, monkeypatch)
    after = digest(tmp_path, PLUGIN, LAYERS.replace(old, new), monkeypatch)
    assert (before == after) is same


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("import sertbench.layers", {"Inner", "Other"}),
        ("from sertbench import layers", {"Inner", "Other"}),
        ("from sertbench.layers import *", {"Inner", "Other"}),
        ("from sertbench.layers import Inner as Mine", {"Inner"}),
        ("from sertbench import more_layers, layers as blocks", {"Inner", "Other", "Third"}),
        ("import sertbench.more_layers as more, numpy", {"Third"}),
        ("from sertbench.more_layers import Third\nfrom sertbench.layers import Other", {"Other", "Third"}),
        ("from sertbench.model import Inner", set()),
        ("from . import layers", set()),
    ],
)
def test_imports_of_blocks_are_found(statement: str, names: set[str]) -> None:
    known = {"sertbench.layers": {"Inner", "Other"}, "sertbench.more_layers": {"Third"}}
    assert identity.imported_blocks(ast.parse(f"{statement}\n"), known) == names


def test_a_block_counts_across_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (
        "from sertbench.layers import Outer\n\n\nclass Third:\n    def run(self, x):\n        return Outer().run(x)\n"
    )
    plugin, one, two = tmp_path / "net.py", tmp_path / "layers.py", tmp_path / "more_layers.py"
    plugin.write_text("from sertbench.more_layers import Third\n")
    two.write_text(more)
    monkeypatch.setattr(identity, "BLOCKS", {"sertbench.layers": str(one), "sertbench.more_layers": str(two)})
    digests = []
    for layers in (
        LAYERS,
        LAYERS.replace("SCALE = 2", "SCALE = 3"),
        LAYERS.replace("        return x\n", "        return -x\n"),
    ):
        one.write_text(layers)
        identity.file_code_sha256.cache_clear()
        digests.append(identity.file_code_sha256(str(plugin)))
    identity.file_code_sha256.cache_clear()
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_every_module_of_blocks_is_known_and_names_each_block_once() -> None:
    assert {"sertbench.layers", "sertbench.attention_layers"} <= set(identity.BLOCKS)
    names = [name for path in identity.BLOCKS.values() for name in identity.definitions(identity.parse(path))]
    assert len(names) == len(set(names))


def test_networks_of_built_in_models_come_from_modules_of_blocks() -> None:
    """Whatever else of sertbench a model file imports holds no network, so its code need not be in a fit's identity."""
    others = {"sertbench.corpus", "sertbench.errors", "sertbench.feature_spec", "sertbench.model"}
    for path in (plugins.find("models", name).path for name in plugins.names("models")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sertbench"):
                assert node.module in others | set(identity.BLOCKS), f"{path.name} imports {node.module}"


def test_the_training_loop_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = tmp_path / "training.py"
    monkeypatch.setattr(identity.training, "__file__", str(loop))
    digests = []
    for code in ("RATE = 1  # one", "RATE = 1", "RATE = 2"):
        loop.write_text(code)
        digests.append(digest(tmp_path, PLUGIN, LAYERS, monkeypatch))
    assert digests[0] == digests[1] != digests[2]


def test_definitions_are_found_by_the_names_that_they_give() -> None:
    module = ast.parse("A = B = 1\nC: int = 2\nD, E = 3, 4\nif A:\n    G = 5\nclass H: pass\ndef i(): j = 1\n")
    assert set(identity.definitions(module)) == {"A", "B", "C", "D", "E", "G", "H", "i"}


def test_a_closure_of_names_that_lead_in_a_circle_ends() -> None:
    known = identity.definitions(ast.parse("def a(): return b()\ndef b(): return a()\ndef c(): return a()\n"))
    assert identity.closure({"a"}, known) == {"a", "b"}


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
    before = digest(tmp_path, HELPED + PLUGIN, LAYERS, monkeypatch)
    with (tmp_path / file).open("a") as text:
        text.write("B = 2\n")
    assert (digest(tmp_path, HELPED + PLUGIN, LAYERS, monkeypatch) == before) is same


def test_blocks_that_only_a_helper_uses_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocks.py").write_text("from sertbench.layers import Other\n")
    plugin = PLUGIN + "\nimport blocks\n"
    before = digest(tmp_path, plugin, LAYERS, monkeypatch)
    assert digest(tmp_path, plugin, LAYERS.replace("        return x\n", "        return -x\n"), monkeypatch) != before


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
