"""What `sertbench list models` says of a file without running it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from sertbench import cli, listing, plugin_text, plugins

MODEL = """
class Net(NeuralModel):
    \"\"\"Two layers.\"\"\"
    paper = "A. Author, Two layers, Venue 2024"
    family = "MLP"
    year = 2024
    n_parameters = 1_234_567
    recipe = {recipe}
"""


def facts(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "net.py"
    path.write_text(text)
    return plugin_text.facts(path, ("NeuralModel",))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("Recipe(features=mfcc(26), window=1.8, hop=0.2)", "mfcc 26, 1.8 s / 0.2 s"),
        ("Recipe(features=mfcc(n_mfcc=13, top_db=None), epochs=3)", "mfcc 13, whole"),
        ("Recipe(features=log_mel(), window=None, hop=None)", "log_mel 64, whole"),
        ("Recipe(features=log_spectrogram(n_fft=1024))", "log_spectrogram 513, whole"),
        ("Recipe(features=FeatureSpec('mfcc', n_mfcc=20))", "mfcc 20, whole"),
        ("Recipe(features=log_mel(BANDS), window=2.0, hop=1.0)", "log_mel(BANDS)"),
        ("Recipe(features=mine.bands(7))", "mine.bands(7)"),
        ("Recipe(features=log_mel(1, 2, 3, 4, 5))", "log_mel(1, 2, 3, 4, 5)"),
        ("Recipe(features=log_mel(8), window=LENGTH)", "log_mel(8)"),
        ("Recipe()", ""),
    ],
)
def test_features_are_read_from_the_text(tmp_path, recipe, said):
    assert facts(tmp_path, MODEL.format(recipe=recipe))["features"] == said


@pytest.mark.parametrize("recipe", ["Other.recipe", "replace(Other.recipe, epochs=3)", "RECIPE"])
def test_a_recipe_from_elsewhere_says_nothing_wrong(tmp_path, recipe):
    assert not facts(tmp_path, MODEL.format(recipe=recipe)).get("features")


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        ("Zhu & Li, Global-Aware Fusion, ICASSP 2022", "Zhu & Li, ICASSP 2022"),
        ("Kong et al., PANNs: Nets, and more, IEEE/ACM TASLP 2020", "Kong et al., IEEE/ACM TASLP 2020"),
        ("Ma, Ng & Yu, One, Two, ICASSP 2017", "Ma et al., ICASSP 2017"),
        ("Ma, Cats & dogs and what else there is to hear, ICASSP 2017", "Ma, ICASSP 2017"),
        ("unpublished", "unpublished"),
        ("Somebody, 2024", "Somebody, 2024"),
        ("", ""),
    ],
)
def test_a_paper_is_named_by_authors_and_venue(paper, said):
    assert plugin_text.short(paper) == said


def shown(width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        listing.show(console, ["models"])
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "sentence"), [(200, True), (160, False), (120, False)])
def test_models_stand_in_a_line_each_with_what_one_compares(width, sentence):
    lines = shown(width)
    glam = next(line for line in lines if line.startswith("glam "))
    for cell in ("CNN + gMLP", "2022", "904,078", "mfcc 26, 1.8 s / 0.2 s", "Zhu & Li, ICASSP 2022", "built in"):
        assert cell in glam
    assert ("what it is" in "\n".join(lines)) is sentence
    assert next(line for line in lines if line.startswith("majority ")).count(" - ") >= 2


def test_a_file_that_cannot_be_read_says_so_at_any_width(tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text("class Broken(\n")
    source = plugins.Source("broken", "models", "broken", "built in", "broken", broken, **plugin_text.facts(broken, ()))
    monkeypatch.setattr(plugins, "sources", lambda _: {"broken": source})
    for width in (100, 160, 200):
        assert "cannot be read" in " ".join(shown(width))


@pytest.mark.parametrize(
    ("typed", "name", "expected"),
    [
        ("predict RUN --csv a.wav b.wav", "files", ["a.wav", "b.wav"]),
        ("predict --csv RUN a.wav --fold 1 b.wav", "files", ["a.wav", "b.wav"]),
        ("profile glam --help-me", None, None),
        ("publish --runs r one two", "run", ["one", "two"]),
        ("report emodb --out x ravdess", "corpora", ["emodb", "ravdess"]),
        ("profile", None, None),
        ("list --nonsense", None, None),
    ],
)
def test_flags_may_stand_among_names(typed, name, expected, capsys):
    if name is None:
        with pytest.raises(SystemExit) as stop:
            cli.parser().parse_args(typed.split())
        assert stop.value.code == 2
        assert "usage: sertbench" in capsys.readouterr().err
    else:
        assert getattr(cli.parser().parse_args(typed.split()), name) == expected


def test_a_source_is_read_although_another_thread_of_a_library_reads_one(monkeypatch):
    """CPython 3.11 raises SystemError then; see `plugin_text.parse`."""
    real, stumbles = plugin_text.ast.parse, iter([True, True])

    def parse(source, **more):
        if next(stumbles, False):
            raise SystemError("AST constructor recursion depth mismatch")
        return real(source, **more)

    monkeypatch.setattr(plugin_text.ast, "parse", parse)
    assert len(plugin_text.parse(b"x = 1\ny = 2\n").body) == 2
    with pytest.raises(SyntaxError):
        plugin_text.parse(b"x =")
