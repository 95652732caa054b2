"""The ways in which `sertbench stress` disturbs speech: names, units, strengths. Light: no numpy.

What each does to a waveform stands in `disturbances`, under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sertbench.errors import ConfigError, unknown


@dataclass(frozen=True)
class Kind:
    """One way to disturb. `lowest` and `highest` are the strengths that it accepts."""

    name: str
    group: str  #                    kinds of a group share a chart
    unit: str  #                     of the strength, as it stands behind the number
    strengths: tuple[float, ...]  #  tried unless told otherwise, from mild to hard
    lowest: float
    highest: float
    text: str
    drawn: bool = False  #           random: another draw is another waveform
    neutral: float | None = None  #  the strength that changes nothing; None: there is none

    def shown(self, strength: float) -> str:
        """A strength with its unit."""
        return f"{strength:g} {self.unit}" if self.unit else "on"


SNR = (20.0, 10.0, 0.0)  # dB
ON = ((1.0,), 1.0, 1.0)
LOSS = (5.0, 10.0, 20.0)  # percent

KINDS = {
    kind.name: kind
    for kind in (
        Kind("white", "noise", "dB SNR", SNR, -30, 60, "white noise", drawn=True),
        Kind("pink", "noise", "dB SNR", SNR, -30, 60, "noise whose power falls 3 dB per octave", drawn=True),
        Kind("babble", "noise", "dB SNR", SNR, -30, 60, "six voices of other speakers of the corpus", drawn=True),
        Kind("hum", "noise", "dB SNR", SNR, -30, 60, "mains hum, 50 Hz and its harmonics up to 1 kHz", drawn=True),
        Kind("own", "noise", "dB SNR", SNR, -30, 60, "the recordings of --noise FOLDER", drawn=True),
        Kind("reverb", "reverb", "s RT60", (0.3, 0.6, 1.2), 0.05, 10, "a room, at its critical distance", drawn=True),
        Kind("telephone", "line", "", *ON, "300 to 3400 Hz at 8 kHz"),
        Kind("mulaw", "line", "", *ON, "G.711 mu-law, 8 kHz, 8 bit"),
        Kind("alaw", "line", "", *ON, "G.711 A-law, 8 kHz, 8 bit"),
        Kind("mp3", "codec", "kbit/s", (32.0, 16.0, 8.0), 8, 160, "MP3, constant bit rate"),
        Kind("opus", "codec", "kbit/s", (32.0, 16.0, 8.0), 6, 256, "Opus, variable bit rate"),
        Kind("vorbis", "vorbis", "quality", (4.0, 0.0), 0, 10, "Ogg Vorbis, by its quality"),
        Kind("gain", "gain", "dB", (-20.0, -10.0, 10.0, 20.0), -80, 60, "another level; nothing is clipped", neutral=0),
        Kind("clip", "clip", "% clipped", (1.0, 5.0, 20.0), 0, 90, "the loudest samples cut off", neutral=0),
        Kind("pad", "pad", "s", (0.5, 1.0, 2.0), 0, 60, "digital silence before and after", neutral=0),
        Kind("pitch", "pitch", "semitones", (-4.0, -2.0, 2.0, 4.0), -12, 12, "pitch shift, formants too", neutral=0),
        Kind("tempo", "tempo", "%", (-30.0, -15.0, 15.0, 30.0), -75, 300, "slower or faster, same pitch", neutral=0),
        Kind("loss", "packets", "% of packets", LOSS, 0, 100, "20 ms packets lost, silence instead", True, 0),
        Kind("repeat", "packets", "% of packets", LOSS, 0, 100, "20 ms packets lost, the last one again", True, 0),
    )
}
FALLING = ("noise", "codec", "vorbis")  # groups whose smaller strengths disturb more
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS.values()))


@dataclass(frozen=True)
class Cell:
    """One disturbance of one strength; `draw` counts the draws of a random one."""

    kind: str
    strength: float
    draw: int = 0
    source: str = ""  # what tells the user's noise recordings from others

    @property
    def stem(self) -> str:
        """Its name as a file; `parsed` reads it."""
        return f"{self.kind}{f'-{self.source}' * bool(self.source)}_{self.strength:g}_{self.draw}"

    @property
    def shown(self) -> str:
        """What is done, in words."""
        return self.kind if self.kind not in KINDS else f"{self.kind} {KINDS[self.kind].shown(self.strength)}"


CLEAN = Cell("clean", 0.0)


def parsed(stem: str) -> Cell | None:
    """The cell of a file's name; None for a name that no cell has."""
    name, _, rest = stem.partition("_")
    kind, _, source = name.partition("-")
    strength, _, draw = rest.partition("_")
    try:
        cell = Cell(kind, float(strength), int(draw), source)
    except ValueError:
        return None
    return cell if kind in KINDS and cell.stem == stem else None


def described() -> str:
    """All kinds, for --help."""
    return "; ".join(f"{k.name} ({k.text}; {k.unit or 'on'})" for k in KINDS.values())


def chosen(text: str | None, *, own: bool) -> list[str]:
    """The kinds that `--kinds` names, in the order of the table; groups stand for their kinds.

    All without `--kinds`, `own` only with a folder of noise. ConfigError for a name that nobody knows.
    """
    if text is None:
        return [name for name in KINDS if name != "own" or own]
    wanted: set[str] = set()
    for part in filter(None, (p.strip() for p in text.split(","))):
        if part == "own" and not own:
            raise ConfigError("--kinds own: name the folder with your noise recordings with --noise FOLDER")
        found = members(part, "--kinds")
        wanted |= {name for name in found if name != "own" or own}
    if not wanted:
        raise ConfigError(f"--kinds {text!r} names nothing. Known: {', '.join(KINDS)}")
    return [name for name in KINDS if name in wanted]


def members(name: str, flag: str) -> list[str]:
    """The kind of that name, or the kinds of the group."""
    found = [name] if name in KINDS else [k.name for k in KINDS.values() if k.group == name]
    if not found:
        raise ConfigError(f"{flag}: {unknown('disturbance', name, {*KINDS, *GROUPS})}")
    return found


def strengths(kinds: Sequence[str], texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The strengths of each kind: its own ones, or those of `--strengths KIND=A,B` or, for one unit, `A,B`.

    ConfigError for what is no number, out of range, or not among the kinds.
    """
    result = {name: KINDS[name].strengths for name in kinds}
    for text in texts:
        name, equals, values = text.rpartition("=")
        if equals:
            asked = [k for k in members(name, "--strengths") if k in kinds]
            if not asked:
                raise ConfigError(f"--strengths {text}: {name} is not among the kinds asked for: {', '.join(kinds)}")
        else:
            asked = list(kinds)
            units = {KINDS[k].unit for k in kinds}
            if len(units) > 1:
                raise ConfigError(
                    f"--strengths {text}: {', '.join(kinds)} have no common unit. Type --strengths KIND={values}, once "
                    "for each, or name kinds of one unit with --kinds"
                )
        for kind in asked:
            result[kind] = tuple(dict.fromkeys(numbers(text, values, KINDS[kind])))
    return result


def numbers(text: str, values: str, kind: Kind) -> Iterator[float]:
    """The numbers of a list, each within what the kind accepts."""
    accepted = f"expected numbers from {kind.lowest:g} to {kind.highest:g} ({kind.unit or 'on'}), such as "
    accepted += f"{kind.name}={','.join(f'{s:g}' for s in kind.strengths)}"
    for part in values.split(","):
        try:
            value = float(part)
        except ValueError:
            raise ConfigError(f"--strengths {text}: {part!r} is not a number; {accepted}") from None
        if not kind.lowest <= value <= kind.highest:
            raise ConfigError(f"--strengths {text}: {value:g} is not possible for {kind.name}; {accepted}")
        yield value + 0.0  # no minus zero in a file's name


def cells(by_kind: Mapping[str, Sequence[float]], draws: int, source: str = "") -> list[Cell]:
    """All that is to be done, in order; one draw of what is not random. `source` is that of the user's recordings."""
    return [
        Cell(kind, strength, draw, source if kind == "own" else "")
        for kind, values in by_kind.items()
        for strength in values
        for draw in range(draws if KINDS[kind].drawn else 1)
    ]
