"""What `sertbench audit --json` found in a corpus, for its page in the report."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sertbench import svg
from sertbench.audit import Audit, Tally
from sertbench.audit_checks import SEVERITIES, Finding
from sertbench.errors import ConfigError, StorageError

BESIDE = "audits"  #  folder beside the leaderboards that is looked into without --audits
SCHEMA = 1
OPEN = ("utterances", "class")  # kinds of counts that are always shown; the others fold


def read_all(folder: Path | None, leaderboards: Path) -> dict[Path, Audit]:
    """The audits in a folder by their file; without a name, those that lie beside the leaderboards.

    Raises ConfigError for a named folder that is none, StorageError for a JSON file that is no audit.
    """
    place = folder or leaderboards / BESIDE
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--audits {folder} is no folder. `sertbench audit NAME --json {folder}/NAME.json` fills it")
    return {path: read(path) for path in sorted(place.glob("*.json"))}


def read(path: Path) -> Audit:
    """One audit; StorageError for anything else."""
    try:
        return of_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StorageError(
            f"{path} is not what `sertbench audit --json` writes ({reason}). Audit again, or move it away"
        ) from error


def of_json(found: Any) -> Audit:
    """The audit that `Audit.as_json` was made of. Raises ValueError, KeyError or TypeError for anything else."""
    if found["schema_version"] != SCHEMA:
        raise ValueError(f"schema_version is {found['schema_version']!r}, this sertbench reads {SCHEMA}")
    findings = [
        Finding(
            text(f["severity"]), text(f["code"]), text(f["message"]), text(f["remedy"]), tuple(map(text, f["files"]))
        )
        for f in found["findings"]
    ]
    if strange := [f.severity for f in findings if f.severity not in SEVERITIES]:
        raise ValueError(f"severity {strange[0]!r}")
    return Audit(
        corpus=text(found["corpus"]),
        root=text(found["root"]),
        label_set=text(found["label_set"]),
        findings=tuple(findings),
        tallies=tuple(
            Tally(text(t["kind"]), text(t["name"]), count(t["found"]),
                  None if t["published"] is None else count(t["published"]))
            for t in found["tallies"]
        ),
        histogram=tuple((measure(edge), count(n)) for edge, n in found["histogram"]),
        hints={text(name): measure(share) for name, share in found["hints"].items()},
        files=count(found["files"]),
        **{name: measure(found[name]) for name in ("hours", "megabytes", "seconds_reading", "seconds_comparing")},
    )  # fmt: skip


def text(value: Any) -> str:
    """A string, or TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def count(value: Any) -> int:
    """A number of things, or TypeError."""
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def measure(value: Any) -> float:
    """A finite number that is not negative, or TypeError."""
    if type(value) not in (int, float) or not (math.isfinite(value) and value >= 0):
        raise TypeError(f"{value!r} is no measure")
    return float(value)


def values(audit: Audit) -> dict[str, Any]:
    """What the template shows of an audit."""
    kinds = list(dict.fromkeys(t.kind for t in audit.tallies))
    counts = [(kind, [t for t in audit.tallies if t.kind == kind]) for kind in kinds]
    wrong = [t for t in audit.tallies if t.published not in (None, t.found)]
    compared = f"{len(wrong)} not as published" if wrong else "none differs from a published one"
    facts = [
        ("", "Verdict", audit.status), ("", "Audio files", f"{audit.files:,}"), ("", "Hours", f"{audit.hours:g}"),
        ("", "Label set counted", audit.label_set),
        ("", "Counts", compared),
    ]  # fmt: skip
    return {
        "facts": facts,
        "counts": [pair for pair in counts if pair[0] in OPEN],
        "more_counts": [pair for pair in counts if pair[0] not in OPEN],
        "findings": audit.findings,
        "bins": spans(audit.histogram),
        "chart": durations(audit.histogram) if audit.histogram else None,
        "hints": [(name, f"{100 * share:.0f} %") for name, share in audit.hints.items()],
    }


def spans(histogram: Sequence[tuple[float, int]]) -> list[tuple[str, int]]:
    """The bins of a histogram in words.

    >>> spans(((0.5, 3), (1.0, 4)))
    [('0.5 to 1 s', 3), ('from 1 s', 4)]
    """
    inner = [(f"{low:g} to {high:g} s", n) for (low, n), (high, _) in pairwise(histogram)]
    return [*inner, *((f"from {low:g} s", n) for low, n in histogram[-1:])]


def durations(histogram: Sequence[tuple[float, int]]) -> Markup:
    """How many utterances are how long: a bar per bin, named by the seconds from which it goes."""
    y = svg.Scale(0.0, float(max(1, *(n for _, n in histogram))), svg.HEIGHT - svg.BOTTOM, svg.TOP, whole=True)
    step = (svg.WIDTH - svg.LEFT - svg.RIGHT) / len(histogram)
    parts = []
    for value in y.ticks():
        parts.append(svg.tag("path", class_="grid", d=f"M{svg.LEFT} {y(value):.1f}H{svg.WIDTH - svg.RIGHT}"))
        label = svg.short(value)
        parts.append(svg.tag("text", label, class_="tick", x=svg.LEFT - 6, y=y(value) + 4, text_anchor="end"))
    for k, ((edge, n), (words, _)) in enumerate(zip(histogram, spans(histogram), strict=True)):
        left, top = svg.LEFT + k * step, y(n)
        bar = svg.tag("rect", class_="bar", x=left + 1, y=top, width=max(step - 2, 1.0), height=y.start - top)
        parts.append(svg.tag("g", svg.tag("title", f"{words}: {n} utterances"), bar))
        name = svg.short(edge)
        parts.append(svg.tag("text", name, class_="tick", x=left, y=y.start + 15, text_anchor="middle"))
    middle = (svg.LEFT + svg.WIDTH - svg.RIGHT) / 2
    parts.append(svg.tag("text", "seconds", class_="label", x=middle, y=y.start + 33, text_anchor="middle"))
    said = f"{sum(n for _, n in histogram)} utterances from {histogram[0][0]:g} s"
    return svg.picture("Durations", said, svg.WIDTH, svg.HEIGHT, *parts)
