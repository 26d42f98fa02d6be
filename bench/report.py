"""The report: a table on stdout, a picture and the raw figures in bench/results/."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape

from bench.figures import Row

BETTER = "less is better (of req/s, more)"
RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The size of this machine, for who reads the figures elsewhere."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def show(rows: list[Row]) -> None:
    """Print the table, and keep it with its picture."""
    text = table(rows)
    print(f"\n{text}\n\n{machine()}. Medians; ratio = wherry ÷ peer, {BETTER}.")
    if missing := sorted({row.missing for row in rows if row.missing}):
        print("Not measured:\n" + "\n".join(f"  {reason}" for reason in missing))
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    figures = {"machine": machine(), "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}
    (RESULTS / f"{stamp}.json").write_text(json.dumps(figures, indent=1))
    (RESULTS / f"{stamp}.md").write_text(f"{text}\n\n{machine()}\n")
    (RESULTS / f"{stamp}.svg").write_text(picture(rows))
    print(f"Kept as {RESULTS / stamp}.json, .md and .svg")


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    header = ("what", "wherry", "peer", "took", "ratio", "budget", "")
    lines = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = "|".join("-" * (width + 2) for width in widths)
    shown = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join([shown[0], f"|{rule}|", *shown[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    budget = ""
    if row.budget is not None:
        budget = f"{'≥' if row.better_more else '≤'} {row.budget:.3g} x"
    if row.limit is not None and row.wherry is not None:
        budget = f"≤ {row.limit:g} {row.wherry.unit}"
    return (
        row.name,
        str(row.wherry or "-"),
        row.peer_name or "-",
        str(row.peer or "-"),
        "-" if row.ratio is None else f"{row.ratio:.2f} x",
        budget,
        {True: "kept", False: "MISSED", None: ""}[row.kept],
    )


def picture(rows: list[Row]) -> str:
    """Bars of wherry's share of each peer's figure, on a logarithmic scale, as SVG."""
    shown = [row for row in rows if row.ratio is not None]
    left, width, step, top = 380, 460, 34, 54
    low, high = 0.02, 4.0

    def x(ratio: float) -> float:
        share = (math.log(ratio) - math.log(low)) / (math.log(high) - math.log(low))
        return left + width * min(max(share, 0), 1)

    height = top + step * len(shown) + 34
    bottom = top + step * len(shown)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">wherry ÷ peer, logarithmic: {BETTER}</text>',
    ]
    for mark in (0.05, 0.1, 0.25, 0.5, 1, 2):
        at, colour = f"{x(mark):.1f}", "#444" if mark == 1 else "#ddd"
        out.append(
            f'<line x1="{at}" x2="{at}" y1="{top - 8}" y2="{bottom}" stroke="{colour}"/>'
            f'<text x="{at}" y="{top - 14}" text-anchor="middle" fill="#666">{mark:g}</text>'
        )
    for number, row in enumerate(shown):
        assert row.ratio is not None
        y = top + step * number
        colour = "#c0392b" if row.kept is False else "#2a7f62"
        out.append(
            f'<text x="{left - 10}" y="{y + 12}" text-anchor="end">{escape(row.name)}</text>'
            f'<text x="{left - 10}" y="{y + 25}" text-anchor="end" font-size="10" fill="#777">'
            f"{escape(f'{row.wherry} · {row.peer_name}: {row.peer}')}</text>"
            f'<rect x="{left}" y="{y + 3}" width="{max(x(row.ratio) - left, 1):.1f}" height="18" '
            f'fill="{colour}"/>'
            f'<text x="{x(row.ratio) + 6:.1f}" y="{y + 17}">{row.ratio:.2f}</text>'
        )
        if row.budget is not None:
            at = f"{x(row.budget):.1f}"
            out.append(
                f'<line x1="{at}" x2="{at}" y1="{y}" y2="{y + 24}" stroke="#e08e0b" '
                'stroke-width="3"/>'
            )
    out.append(
        f'<text x="{left}" y="{height - 10}" fill="#666">orange: the budget · {escape(machine())}'
        "</text></svg>"
    )
    return "\n".join(out)
