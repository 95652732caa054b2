"""Leaderboards for papers: Markdown, and LaTeX with booktabs. A caption has the protocol, n and the interval."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby

from sertbench.board_rows import BOARDS, TABLE, Row, fewer_seeds, key_of, provisional_in_words, text_of

COLUMNS = ("Rank", "Model", "UAR", "95 % interval", "Seed SD", "WA", "Macro F1", "Weighted F1", "Parameters", "Trials")
LATEX_COLUMNS = (*COLUMNS[:-2], "Params", "Trials")  # heads in two lines, and short: a page is narrow
INTERVAL = "95 % intervals by a delete-one jackknife over speakers and seeds with Student's t"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\char34}", "`": r"\textasciigrave{}", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}",
    "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}", "−": "$-$", "±": r"$\pm$",
    "×": r"$\times$", "→": r"$\rightarrow$", "°": r"$^{\circ}$", "µ": r"$\mu$",
}  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c",
    "\u0304": "=", "\u0307": ".", "\u0306": "u", "\u030a": "r", "\u030b": "H", "\u0328": "k", "\u0323": "d",
}  # fmt: skip
LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=[?!])(?=`)|(?<=')(?=')")  # what TeX would join to another character
MARKDOWN = re.compile(r"([\\`*_\[\]|~#$])")


def sections(rows: Sequence[Row]) -> list[tuple[Row, list[Row]]]:
    """The tables of some leaderboards, each with its first row; main, replication and diagnostic are kept apart."""

    def where(row: Row) -> tuple[tuple[str, ...], int]:
        return key_of(row, TABLE), BOARDS.index(row["board"])

    groups = (list(members) for _, members in groupby(sorted(rows, key=where), where))
    return [(members[0], members) for members in groups]


def caption(first: Mapping[str, str], rows: Sequence[Row]) -> str:
    """What a reader must know of a table to read it."""
    board = {"main": "", "replication": " Replication of published protocols.", "diagnostic": " Diagnostics."}
    seeds = sorted({int(r["n_seeds"]) for r in rows})
    runs = "1 seed" if seeds == [1] else f"{'-'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"
    subset = "" if first["subset"] == "all" else f", {first['subset']} only"
    notes = " Synthetic corpus: the scores say nothing about people." * (text_of(first["synthetic"]) == "1")
    notes += f" {said}" if (said := provisional_in_words(rows)) else ""
    notes += " Equal ranks: not told apart." * any(text_of(r["rank"]) for r in rows)
    return (
        f"{first['corpus']}, label set {first['label_set']}{subset}.{board[first['board']]} "
        f"Protocol {first['protocol']} ({first['protocol_sha256'][:8]}), {first['n_folds']} folds, "
        f"n = {first['n_utt_scored']} utterances, {runs}. "
        f"UAR in percent, pooled over the test folds, mean over seeds; {INTERVAL}.{notes}"
    )


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """One line of the table of `rows`, in the order of `COLUMNS`.

    What tells two rows of a model apart is said, and which rows are of fewer seeds than others.
    """
    t = {name: text_of(value) for name, value in row.items()}
    reason = t["unranked_reason"]
    others = {text_of(r["features"]) for r in rows if text_of(r["model"]) == t["model"]}
    name = f"{t['model']}, {t['features']}" if len(others) > 1 else t["model"]
    name += f", {few}" if (few := fewer_seeds(row, rows)) else ""
    name += f" ({reason})" if reason and reason not in ("diagnostic", "synthetic corpus") else ""
    interval = f"[{t['uar_ci95_lo']}, {t['uar_ci95_hi']}]"
    size = f"{int(n):,}" if (n := t["n_params"]).isdecimal() and int(n) else "-"
    return [
        t["rank"] or "-", " ".join(name.split()), t["uar_pooled_mean"], interval, t["uar_pooled_seed_sd"] or "-",
        t["wa"], t["macro_f1"], t["weighted_f1"], size, t["hpo_trials"],
    ]  # fmt: skip


def markdown(rows: Sequence[Row]) -> str:
    """GitHub-flavoured Markdown, one table per board."""
    out = []
    for first, members in sections(rows):
        out += [f"**{safe_markdown(caption(first, members))}**", ""]
        out += ["| " + " | ".join(COLUMNS) + " |", "|--:|:--|" + "--:|" * (len(COLUMNS) - 2)]
        out += ["| " + " | ".join(map(safe_markdown, cells(row, members))) + " |" for row in members]
        out.append("")
    return "\n".join(out)


def safe_markdown(text: str) -> str:
    """Text that Markdown shows as it is, HTML included."""
    return MARKDOWN.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex(rows: Sequence[Row]) -> str:
    r"""LaTeX tables; the document needs `\usepackage{booktabs}`. In a paper of two columns they span both."""
    parts = [name.rpartition(" ") for name in LATEX_COLUMNS]
    head = [" & ".join(safe_latex(part[k]) for part in parts) + r" \\" for k in (0, 2)]
    out = ["% \\usepackage{booktabs}"]
    for number, (first, members) in enumerate(sections(rows), start=1):
        label = re.sub(r"[^a-z0-9]+", "-", f"{first['corpus']}-{first['board']}-{number}".lower()).strip("-")
        out += [
            r"\begin{table*}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
            rf"\caption{{{safe_latex(caption(first, members))}}}", rf"\label{{tab:{label}}}\vspace{{4pt}}",
            rf"\begin{{tabular}}{{@{{}}rl{'r' * (len(LATEX_COLUMNS) - 2)}@{{}}}}", r"\toprule", *head, r"\midrule",
            *(" & ".join("--" if c == "-" else safe_latex(c) for c in cells(row, members)) + r" \\" for row in members),
            r"\bottomrule", r"\end{tabular}", r"\end{table*}", "",
        ]  # fmt: skip
    return "\n".join(out)


def safe_latex(text: str) -> str:
    """Text that any LaTeX prints as it is; a character that it has no glyph for becomes its code, [U+03B1]."""
    plain = LIGATURES.sub("\0", " ".join(text.split()))
    return "".join("{}" if c == "\0" else LATEX.get(c) or (c if " " <= c <= "~" else accented(c)) for c in plain)


def accented(c: str) -> str:
    r"""A letter beyond ASCII in TeX's words.

    >>> accented("é"), accented("α")
    ("\\'{e}", '[U+03B1]')
    """
    parts = unicodedata.normalize("NFD", c)
    letter, marks = parts[0], parts[1:]
    if letter.isascii() and letter.isalpha() and marks in ACCENTS:
        return rf"\{ACCENTS[marks]}{{{letter}}}"
    return f"[U+{ord(c):04X}]"
