"""Leaderboards for papers: Markdown, and LaTeX with booktabs. A caption has the protocol, n and the interval."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from sertbench.leaderboard import BOARDS, TABLE, Row, key_of, text_of

COLUMNS = ("Rank", "Model", "UAR", "95 % interval", "Seed SD", "WA", "Macro F1", "Weighted F1", "Parameters", "Trials")
INTERVAL = "95 % intervals by a delete-one jackknife over speakers and seeds with Student's t"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
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
    notes += " Equal ranks: not told apart." * any(text_of(r["rank"]) for r in rows)
    return (
        f"{first['corpus']}, label set {first['label_set']}{subset}.{board[first['board']]} "
        f"Protocol {first['protocol']} ({first['protocol_sha256'][:8]}), {first['n_folds']} folds, "
        f"n = {first['n_utt_scored']} utterances, {runs}. "
        f"UAR in percent, pooled over the test folds, mean over seeds; {INTERVAL}.{notes}"
    )


def cells(row: Row) -> list[str]:
    """One line of a table, in the order of `COLUMNS`."""
    t = {name: text_of(value) for name, value in row.items()}
    reason = t["unranked_reason"]
    name = t["model"] + (f" ({reason})" if reason and reason not in ("diagnostic", "synthetic corpus") else "")
    interval = f"[{t['uar_ci95_lo']}, {t['uar_ci95_hi']}]"
    size = f"{int(t['n_params']):,}" if t["n_params"] not in ("", "0") else "-"
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
        out += ["| " + " | ".join(map(safe_markdown, cells(row))) + " |" for row in members]
        out.append("")
    return "\n".join(out)


def safe_markdown(text: str) -> str:
    """Text that Markdown shows as it is, HTML included."""
    return MARKDOWN.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex(rows: Sequence[Row]) -> str:
    r"""LaTeX tables; the document needs `\usepackage{booktabs}`."""
    out = ["% \\usepackage{booktabs}"]
    for number, (first, members) in enumerate(sections(rows), start=1):
        label = re.sub(r"[^a-z0-9]+", "-", f"{first['corpus']}-{first['board']}-{number}".lower()).strip("-")
        out += [
            r"\begin{table}[t]", r"\centering", rf"\caption{{{safe_latex(caption(first, members))}}}",
            rf"\label{{tab:{label}}}", rf"\begin{{tabular}}{{rl{'r' * (len(COLUMNS) - 2)}}}", r"\toprule",
            " & ".join(map(safe_latex, COLUMNS)) + r" \\", r"\midrule",
            *(" & ".join("--" if c == "-" else safe_latex(c) for c in cells(row)) + r" \\" for row in members),
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]  # fmt: skip
    return "\n".join(out)


def safe_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(LATEX.get(c, c) for c in text)
