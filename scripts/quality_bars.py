#!/usr/bin/env python3
"""Draws plain search, refined search and the best baseline of each set as SVG. Needs only Python.

  bench_quality --json --data DIR ... > quality.json
  scripts/quality_bars.py quality.json docs/figures/quality.svg

mAP@100 in per cent; the thin line on a bar of `auto` is the 95% paired-bootstrap interval of its difference to plain.
The best baseline is chosen for every set on its own, so it has an advantage no single method has.
"""
import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 50, 20, 70, 50
BAR, GAP, MEASURE = 26, 4, "mAP@100"
COLOURS = {"plain": "#888888", "auto": "#c8342c", "best baseline": "#4f9dd0"}
LABELS = {"plain": "plain search", "auto": "halo, refined (auto)", "best baseline": "best of six published re-ranking methods"}


def bars_of(data_set):
    """[(kind, per cent, low, high, name)] of one set."""
    plain, auto = data_set["methods"][0], data_set["methods"][1]
    best = max((m for m in data_set["methods"] if m["baseline"]), key=lambda m: m[MEASURE])
    interval = auto["d " + MEASURE]
    low, high = (100 * (plain[MEASURE] + interval[end]) for end in ("low", "high"))
    return [("plain", 100 * plain[MEASURE], None, None, "plain"),
            ("auto", 100 * auto[MEASURE], low, high, "auto"),
            ("best baseline", 100 * best[MEASURE], None, None, best["method"])]


def draw(sets):
    tallest = max(high or value for s in sets for _, value, _, high, _ in bars_of(s))
    top = 10 * (int(tallest / 10) + 1)

    def y(value):
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">Retrieval quality on labels and judgements, mAP@100</text>']
    at = LEFT
    for kind, colour in COLOURS.items():
        out.append(f'<rect x="{at}" y="38" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{at + 17}" y="48">{LABELS[kind]}</text>')
        at += 40 + 6.6 * len(LABELS[kind])
    for value in range(0, top + 1, 10):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(value):.1f}" dy="4" text-anchor="end">{value}</text>')
    step = (WIDTH - LEFT - RIGHT) / len(sets)
    for i, data_set in enumerate(sets):
        bars = bars_of(data_set)
        start = LEFT + step * (i + 0.5) - (len(bars) * (BAR + GAP) - GAP) / 2
        for j, (kind, value, low, high, name) in enumerate(bars):
            x, middle = start + j * (BAR + GAP), start + j * (BAR + GAP) + BAR / 2
            out.append(f'<rect x="{x:.1f}" y="{y(value):.1f}" width="{BAR}" height="{y(0) - y(value):.1f}" '
                       f'fill="{COLOURS[kind]}"><title>{data_set["name"]}, {name}: {value:.1f}</title></rect>')
            if low is not None:
                out.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" '
                           'stroke="#222222"/>')
            out.append(f'<text x="{middle:.1f}" y="{y(high or value) - 4:.1f}" text-anchor="middle" '
                       f'font-size="10">{value:.1f}</text>')
        out.append(f'<text x="{LEFT + step * (i + 0.5):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{data_set["name"]}</text>')
        out.append(f'<text x="{LEFT + step * (i + 0.5):.1f}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle" '
                   f'font-size="10" fill="#666666">{bars[2][4]}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    file = pathlib.Path(sys.argv[2])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(draw(json.loads(pathlib.Path(sys.argv[1]).read_text())["sets"]))
    print(file)


if __name__ == "__main__":
    main()
