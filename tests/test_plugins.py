"""Plug-ins from all three places, and every way in which one can be wrong. Each test writes its plug-in as text."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from sertbench import plan, plugin_text, plugins
from sertbench.config import RunConfig
from sertbench.errors import PluginError
from sertbench.model import NeuralModel

CHECKOUT = Path(__file__).parents[1]

MODEL = '''
"""Somebody's network."""
from __future__ import annotations

import dataclasses

from sertbench.model import NeuralModel, Recipe


@dataclasses.dataclass
class Block:
    width: int = 8


class Mine(NeuralModel):
    """Two layers and no attention.

    More about it.
    """

    paper = "A. Author, Two layers, " "2024"
    family = "CNN"
    year = 2000 + 24
    recipe = Recipe()
    block = Block()
'''

CORPUS = '''
from sertbench.corpus import Corpus


class {name}(Corpus):
    """{summary}"""

    def utterances(self, root):
        yield from ()
'''


def corpus(name: str = "Mine", summary: str = "Ten people reading.") -> str:
    return CORPUS.format(name=name, summary=summary)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def install(site: Path, name: str, version: str, entry_points: str, files: dict[str, str]) -> None:
    """Lay an installed package down in `site`, as pip would."""
    write(site / f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(site / f"{name}-{version}.dist-info/entry_points.txt", entry_points)
    for file, text in files.items():
        write(site / file, text)


# A file of one's own, anywhere


def test_a_file_is_loaded_by_its_path(tmp_path, monkeypatch):
    path = write(tmp_path / "far/away/mine.py", MODEL)
    monkeypatch.chdir(tmp_path)

    loaded = plugins.load_model("far/away/mine.py")

    assert issubclass(loaded.cls, NeuralModel)
    assert loaded.cls.__name__ == "Mine"
    assert (loaded.name, loaded.spec, loaded.origin) == ("mine", str(path), f"file {path}")
    assert loaded.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(path.parent.iterdir()) == [path], "loading a file must leave nothing beside it"


def test_a_file_is_described_without_being_run(tmp_path):
    path = write(tmp_path / "mine.py", MODEL + "\nraise RuntimeError('this file was run')\n")

    source = plugins.find("models", str(path))

    assert source.summary == "Two layers and no attention."
    assert source.paper == "A. Author, Two layers, 2024"
    assert source.family == "CNN"
    assert source.year == 0, "2000 + 24 is not a literal"


def test_loading_twice_gives_one_class_until_the_file_changes(tmp_path):
    path = write(tmp_path / "mine.py", corpus("Before"))
    first, again = plugins.load_corpus(str(path)), plugins.load_corpus(str(path))
    write(path, corpus("After_"))

    changed = plugins.load_corpus(str(path))

    assert type(first.corpus) is type(again.corpus)
    assert type(changed.corpus).__name__ == "After_"
    assert changed.source_sha256 != first.source_sha256


def test_files_of_one_name_in_two_folders_coexist(tmp_path):
    left = write(tmp_path / "left/mine.py", corpus())
    right = write(tmp_path / "right/mine.py", corpus())

    loaded = [plugins.load_corpus(str(path)).corpus for path in (left, right)]

    assert type(loaded[0]) is not type(loaded[1])
    assert type(loaded[0]).__module__ != type(loaded[1]).__module__


def test_a_spawned_process_loads_the_same_class_from_the_same_spec(tmp_path):
    here = plugins.load_corpus(str(write(tmp_path / "mine.py", corpus())))

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(plugins.load_corpus, here.spec).result()

    assert there.source_sha256 == here.source_sha256
    assert type(there.corpus) is type(here.corpus), "an instance made in the worker is one of our class"


def test_one_of_two_classes_is_chosen_by_its_name(tmp_path):
    path = write(tmp_path / "two.py", corpus("First") + corpus("Second", "Twenty people singing."))

    loaded = plugins.load_corpus(f"{path}:Second")

    assert type(loaded.corpus).__name__ == "Second"
    assert (loaded.name, loaded.spec) == ("two.Second", f"{path}:Second")
    assert plugins.find("datasets", f"{path}:Second").summary == "Twenty people singing."


def test_private_bases_and_imported_classes_are_not_candidates(tmp_path):
    text = "from sertbench.model import Estimator, NeuralModel\n" + corpus("_Base")
    path = write(tmp_path / "mine.py", text + 'class Mine(_Base):\n    """The one."""\n')

    loaded = plugins.load_corpus(str(path))

    assert type(loaded.corpus).__name__ == "Mine"
    assert plugins.find("datasets", str(path)).summary == "The one."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (corpus("One") + corpus("Two"), r"defines 2 classes: name one of them, .*mine\.py:One or .*mine\.py:Two"),
        ("x = 1", r"mine\.py defines no dataset: subclass sertbench\.corpus\.Corpus there"),
        ("a = 1\nb = (\n", r"mine\.py, line 2: SyntaxError: '\(' was never closed"),
        ("\nimport nowhere_to_be_found\n", r"mine\.py, line 2: ModuleNotFoundError: No module named 'nowhere_to"),
        ("from sertbench.corpus import Korpus", r"line 1: ImportError: cannot import name 'Korpus'"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"mine\.py, line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", r"mine\.py, line 1: SystemExit: 2"),
        ("import sys\nsys.exit()", r"mine\.py, line 2: SystemExit \(a plug-in must not end the program"),
        (
            "from sertbench.corpus import Corpus\nclass Mine(Corpus):\n    pass\n",
            r"mine\.py: Mine must define utterances",
        ),
        (
            corpus() + "\n    def __init__(self, root):\n        self.root = root\n",
            r"Mine\(\) fails: .*missing 1 required positional argument: 'root'\. It must need no arguments",
        ),
        (
            corpus() + "\n    def __init__(self):\n        raise ValueError('no')\n",
            r"Mine\(\) fails: .*mine\.py, line 12: ValueError: no\. It must need no arguments",
        ),
        ("x = " + "-" * 100_000 + "1", "cannot be loaded: .*mine.py.*: (Memory|Recursion|Syntax)Error"),
    ],
    ids=[
        "two",
        "none",
        "syntax",
        "module",
        "name",
        "error",
        "exit",
        "exit-without-words",
        "abstract",
        "constructor",
        "failing",
        "nested",
    ],
)
def test_a_broken_file_is_one_sentence_with_its_place(tmp_path, text, message):
    path = write(tmp_path / "mine.py", text)

    with pytest.raises(PluginError, match=message):
        plugins.load_corpus(str(path))


@pytest.mark.parametrize("statement", ["import blocks", "from blocks import A", "from .blocks import A"])
def test_a_helper_beside_a_file_is_refused_with_the_ways_out(tmp_path, statement):
    write(tmp_path / "blocks.py", "A = 1\n")
    path = write(tmp_path / "mine.py", f"{statement}\n{corpus()}")

    with pytest.raises(PluginError, match=r"a plug-in that is given by its path is one file.*PYTHONPATH="):
        plugins.load_corpus(str(path))


def test_a_helper_on_the_path_counts_in_the_hash_of_the_plugin(tmp_path, monkeypatch):
    helper = write(tmp_path / "helper_of_mine.py", "A = 1\n")
    path = write(tmp_path / "mine.py", f"import helper_of_mine\n{corpus()}")
    monkeypatch.syspath_prepend(tmp_path)
    before = plugins.load_corpus(str(path)).source_sha256
    write(helper, "A = 2\n")

    assert plugins.load_corpus(str(path)).source_sha256 != before


@pytest.mark.parametrize(
    "statement",
    [
        "import {0}\nB = {0}.A\n", "from {0} import A as B\n", "from {0}.deep import A as B\n",
        "from {0} import deep\nB = deep.A\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("both", [False, True])
def test_an_edited_helper_is_what_runs_in_a_process_that_had_imported_it(tmp_path, monkeypatch, statement, both):
    name = f"own_of_{tmp_path.name.replace('-', '_')}"
    helper = tmp_path / (f"{name}/deep.py" if "deep" in statement else f"{name}.py")
    helper.parent.mkdir(exist_ok=True)
    write(helper, "A = 1\n")
    path = write(tmp_path / "mine.py", statement.format(name) + corpus())
    monkeypatch.syspath_prepend(tmp_path)

    def value(loaded: plugins.LoadedCorpus) -> int:
        return sys.modules[type(loaded.corpus).__module__].B

    first = plugins.load_corpus(str(path))
    assert value(first) == 1

    write(helper, "A = 1 + 1\n")
    if both:
        write(path, path.read_text() + "\nC = 0\n")
    again = plugins.load_corpus(str(path))

    assert value(again) == 2
    assert first.source_sha256 != again.source_sha256


def test_what_a_plugin_imports_is_parsed_once_per_content(tmp_path, monkeypatch):
    """A model is loaded several times for each fit, and may bring a repository of helpers with it."""
    parsed = []
    plain = plugin_text.parse

    def parse(source, name="<unknown>"):
        parsed.append(source)
        return plain(source, name)

    monkeypatch.setattr(plugin_text, "parse", parse)
    path, helper = tmp_path / "one.py", tmp_path / "its_helper.py"
    path.write_text("import its_helper  # of this test alone\n")
    helper.write_text("import its_other\n")
    (tmp_path / "its_other.py").write_text("x = 'of this test alone'\n")

    assert plugin_text.helpers(path) == (helper, tmp_path / "its_other.py")
    assert plugin_text.helpers(path) == (helper, tmp_path / "its_other.py")
    assert len(parsed) == 3

    helper.write_text("'no longer, in this test alone'\n")
    assert plugin_text.helpers(path) == (helper,)
    assert len(parsed) == 4


def test_a_module_that_failed_halfway_is_run_again(tmp_path):
    path = write(
        tmp_path / "mine.py", "from pathlib import Path\nPath(__file__).with_suffix('.ok').read_text()\n" + corpus()
    )
    with pytest.raises(PluginError, match=r"mine\.py, line 2: FileNotFoundError"):
        plugins.load_corpus(str(path))
    write(tmp_path / "mine.ok", "now it is there")

    assert plugins.load_corpus(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{folder}/nope.py", r"dataset file .*/nope\.py cannot be read: No such file or directory"),
        ("{folder}/mine.txt", r"mine\.txt is not a Python file: a dataset is given by its name or as path/to/file\.py"),
        ("{folder}", r"is not a Python file"),
        ("~nobody-at-all/x.py", r"dataset file ~nobody-at-all/x.py cannot be read: it begins with a user that this"),
        ("{folder}/circle.py", r"dataset file .*circle.py cannot be read: .*(loop|symbolic links)"),
        ("{folder}/mine.py:Yours", r"mine\.py has no class 'Yours' that subclasses sertbench\.corpus\.Corpus"),
        ("{folder}/mine.py:Path", r"mine\.py has no class 'Path' that subclasses sertbench\.corpus\.Corpus"),
    ],
)
def test_a_spec_that_leads_nowhere_says_what_is_accepted(tmp_path, spec, message):
    write(tmp_path / "mine.py", "from pathlib import Path\n" + corpus())
    write(tmp_path / "mine.txt", corpus())
    (tmp_path / "circle.py").symlink_to("circle.py")

    with pytest.raises(PluginError, match=message):
        plugins.load_corpus(spec.format(folder=tmp_path))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(PluginError, match=r"no model is called 'galm'\. Did you mean 'glam'.*path/to/my_model\.py"):
        plugins.load_model("galm")


def test_a_file_beside_us_does_not_hide_a_registered_name(tmp_path, monkeypatch):
    write(tmp_path / "glam", "not Python")
    write(tmp_path / "models/glam.py", MODEL)
    monkeypatch.chdir(tmp_path)

    assert plugins.find("models", "glam").origin == "built in"


# Another package, through its entry points


def test_an_entry_point_is_listed_unimported_and_loaded_by_name(tmp_path, monkeypatch):
    entry_points = (
        "[sertbench.datasets]\nacme_calls = acme_one.corpora.calls\n[sertbench.models]\nacme = acme_one:Best\n"
    )
    files = {
        "acme_one/__init__.py": MODEL.replace("Mine", "Best"),
        "acme_one/corpora/__init__.py": "",
        "acme_one/corpora/calls.py": corpus(summary="Calls to a hotline."),
    }
    install(tmp_path, "acme_one", "1.2", entry_points, files)
    monkeypatch.syspath_prepend(tmp_path)

    source = plugins.sources("datasets")["acme_calls"]
    listed_model = plugins.sources("models")["acme"]
    imported_by_listing = {m for m in sys.modules if m.startswith("acme_one")}
    loaded = plugins.load_corpus("acme_calls")

    assert (source.origin, source.summary) == ("package acme_one 1.2", "Calls to a hotline.")
    assert (listed_model.summary, listed_model.family) == ("Two layers and no attention.", "CNN")
    assert imported_by_listing == set()
    assert (loaded.name, loaded.spec, loaded.origin) == ("acme_calls", "acme_calls", "package acme_one 1.2")
    assert loaded.source_sha256 == hashlib.sha256((tmp_path / "acme_one/corpora/calls.py").read_bytes()).hexdigest()
    assert plugins.load_model("acme").cls.__name__ == "Best"


def test_a_class_that_a_package_only_reexports_is_hashed_where_it_is_written(tmp_path, monkeypatch):
    files = {"acme_two/__init__.py": "from acme_two.calls import Mine\n", "acme_two/calls.py": corpus()}
    install(tmp_path, "acme_two", "1", "[sertbench.datasets]\nacme_two = acme_two:Mine\n", files)
    monkeypatch.syspath_prepend(tmp_path)

    loaded = plugins.load_corpus("acme_two")

    assert loaded.source_sha256 == hashlib.sha256((tmp_path / "acme_two/calls.py").read_bytes()).hexdigest()


def test_an_entry_point_to_nothing_is_still_listed_and_says_so_when_loaded(tmp_path, monkeypatch):
    install(tmp_path, "acme_three", "1", "[sertbench.datasets]\nacme_three = acme_three.gone\n", {})
    monkeypatch.syspath_prepend(tmp_path)

    assert plugins.sources("datasets")["acme_three"].summary == ""
    with pytest.raises(PluginError, match=r"package acme_three 1 \(acme_three\.gone\): ModuleNotFoundError: No module"):
        plugins.load_corpus("acme_three")


@pytest.mark.parametrize("value", [":Mine", "", "acme_odd.:Mine", "acme odd"])
def test_an_entry_point_that_names_no_module_hides_nothing(tmp_path, monkeypatch, value):
    """One such package ended every command in a traceback."""
    install(tmp_path, "acme_odd", "1", f"[sertbench.datasets]\nacme_odd = {value}\n", {"acme_odd.py": corpus()})
    monkeypatch.syspath_prepend(tmp_path)

    assert {"acme_odd", "emodb"} <= set(plugins.sources("datasets"))
    with pytest.raises(PluginError, match=r"dataset 'acme_odd' cannot be loaded: package acme_odd 1 \("):
        plugins.load_corpus("acme_odd")


def test_a_name_claimed_by_two_packages_names_both(tmp_path, monkeypatch):
    install(tmp_path, "acme_four", "1", "[sertbench.datasets]\ncalls = acme_four\n", {})
    install(tmp_path, "acme_five", "2", "[sertbench.datasets]\ncalls = acme_five\n", {})
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PluginError, match="two datasets are called 'calls'") as caught:
        plugins.names("datasets")

    assert "package acme_four 1" in str(caught.value)
    assert "package acme_five 2" in str(caught.value)


def test_a_package_cannot_take_the_name_of_a_built_in(tmp_path, monkeypatch):
    install(tmp_path, "acme_six", "1", "[sertbench.models]\nglam = acme_six\n", {"acme_six.py": MODEL})
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(
        PluginError, match=r"two models are called 'glam': built in \(.*glam\.py\) and package acme_six 1"
    ):
        plugins.load_model("glam")


# A file dropped into a checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout, installed in editable mode into `site` beside it; the real tree is never touched."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("sertbench", "models", "datasets"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", folder / "site", "--editable", folder], check=True, capture_output=True)
    return folder


def run_in(checkout: Path, code: str, *sites: str) -> list:
    """Run code with the checkout's installation and, after it, the packages of `sites`; give what `answer` then is."""
    places = [str(checkout / "site"), *sites]
    start = f"import json, site\nfor place in {places}: site.addsitedir(place)\nfrom sertbench import plugins\n"
    script = f"{start}{code}\nprint(json.dumps(answer))"
    # -I -S: without our own environment, where another editable sertbench is installed.
    command = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout.parent, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_dropped_into_the_checkout_is_a_plugin_at_once(checkout):
    write(checkout / "models/dropped.py", MODEL)
    write(checkout / "models/_helper.py", MODEL)
    write(checkout / "datasets/dropped.py", corpus(summary="Dropped."))

    # No third-party package is within reach here: neither listing nor a corpus needs one.
    models, listed, name, path = run_in(
        checkout,
        "loaded = plugins.load_corpus('dropped')\n"
        "answer = [plugins.names('models'), plugins.sources('datasets')['dropped'].summary,"
        " type(loaded.corpus).__name__, str(plugins.find('models', 'dropped').path)]",
    )

    assert set(models) >= {"glam", "dropped"}
    assert "_helper" not in models
    assert (listed, name) == ("Dropped.", "Mine")
    assert path == str(checkout / "models/dropped.py")


@pytest.mark.slow
def test_a_dropped_model_loads_with_torch_within_reach(checkout):
    path = write(checkout / "models/dropped.py", MODEL)

    module, sha256 = run_in(
        checkout,
        "loaded = plugins.load_model('dropped')\nanswer = [loaded.cls.__module__, loaded.source_sha256]",
        sysconfig.get_path("purelib"),
    )

    assert module == "sertbench.models.dropped"
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_broken_file_in_the_checkout_is_listed_and_hides_nothing(checkout):
    write(checkout / "datasets/broken.py", "class Broken(\n")

    known, summary, message = run_in(
        checkout,
        "from sertbench.errors import PluginError\n"
        "listed = plugins.sources('datasets')\n"
        "try: plugins.load_corpus('broken')\n"
        "except PluginError as error: answer = [list(listed), listed['broken'].summary, str(error)]",
    )

    assert set(known) >= {path.stem for path in (checkout / "datasets").glob("[!_]*.py")}
    assert "line 1" in summary
    assert f"{checkout}/datasets/broken.py, line 1: SyntaxError" in message


# Listing


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from sertbench import plugins; plugins.sources('models'); plugins.sources('datasets'); "
        "print(sorted({'torch', 'numpy', 'sertbench.models.glam'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_the_built_ins_are_the_files_and_each_says_what_it_is(kind):
    found = {name: s for name, s in plugins.sources(kind).items() if s.origin == "built in"}

    assert set(found) == {path.stem for path in (CHECKOUT / kind).glob("[!_]*.py")}
    assert [name for name, s in found.items() if not s.summary] == []


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("", r"Mine\.recipe is None: set `recipe = Recipe\("),
        ("recipe = Recipe", r"Mine\.recipe is <class .*>: set"),
        ("recipe = Recipe(features='log_mel')", r"Mine\.recipe: features = 'log_mel': make one with"),
        ("recipe = Recipe(window='3', hop='1')", r"Mine\.recipe: window = '3': must be"),
    ],
)
@pytest.mark.parametrize("trials", [0, 1])
def test_a_model_whose_recipe_is_none_is_told_before_a_corpus_is_read(tmp_path, recipe, said, trials):
    """A model without a recipe ended `run` in a traceback; `check` told what is missing."""
    path = write(tmp_path / "mine.py", MODEL.replace("recipe = Recipe()", recipe))
    asked = RunConfig(model=str(path), dataset="demo", trials=trials)

    with pytest.raises(PluginError, match=said):
        plan.refuse_unready(asked, plugins.load_model(str(path)))


@pytest.mark.parametrize("missing", ["()", "None"])
def test_a_corpus_without_label_sets_or_protocols_is_told_so(tmp_path, missing):
    text = corpus() + f"\n    label_sets = {missing}\n    protocols = {missing}\n"
    mine = plugins.load_corpus(str(write(tmp_path / "mine.py", text))).corpus

    with pytest.raises(PluginError, match=r"Mine\.label_sets is empty"):
        mine.label_set(None)
    with pytest.raises(PluginError, match="mine has no protocol"):
        plan.find_protocol(mine, "mine", None)
