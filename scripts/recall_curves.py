#!/usr/bin/env python3
"""Draws recall-QPS curves as SVG from what bench_index wrote. Needs only Python.

  bench_index --data DIR --benchmark_filter=search/ --benchmark_out=search.json
  scripts/recall_curves.py search.json [more.json ...] docs/figures

One file a data set and number of threads, "recall-<data set>.svg" for one thread and "recall-<data set>-2-threads.svg"
for two: recall@10 across (stretched towards 1), queries a second up (logarithmic), one curve a library, one point an ef;
medians of the repetitions in all files.
"""
import html
import json
import math
import pathlib
import statistics
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 150, 40, 50
COLOURS = {"hnswlib": "#888888", "faiss_hnsw": "#c08a3e", "faiss_hnsw_sq8": "#8f5fae",
           "halo_f32": "#4f9dd0", "halo_auto": "#c8342c"}
RECALLS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)


def read_curves(paths):
    """{(set, threads): {library: {ef: [(recall, qps), ...]}}} of the plain repetitions."""
    curves = {}
    for run in [run for path in paths for run in json.loads(pathlib.Path(path).read_text())["benchmarks"]]:
        parts = run["name"].split("/")
        if parts[0] != "search" or run.get("run_type") == "aggregate" or run.get("error_occurred"):
            continue
        library, data_set, ef, threads = parts[1], parts[2], parts[3], parts[4]
        points = curves.setdefault((data_set, threads.split(":")[1]), {}).setdefault(library, {})
        points.setdefault(int(ef.split(":")[1]), []).append((run["recall"], run["qps"]))
    return curves


def medians(points):
    return [(statistics.median(r for r, _ in runs), statistics.median(q for _, q in runs))
            for _, runs in sorted(points.items())]


def stretch(recall):
    return -math.log10(max(1 - recall, 1e-4))


def draw(title, libraries):
    lines = {name: medians(points) for name, points in libraries.items()}
    recalls = [r for points in lines.values() for r, _ in points]
    speeds = [q for points in lines.values() for _, q in points]
    low, high = stretch(min(recalls)), stretch(max(recalls))
    slow, fast = math.log10(min(speeds)), math.log10(max(speeds))
    span = (max(high - low, 1e-6), max(fast - slow, 1e-6))

    def x(recall):
        return LEFT + (stretch(recall) - low) / span[0] * (WIDTH - LEFT - RIGHT)

    def y(qps):
        return HEIGHT - BOTTOM - (math.log10(qps) - slow) / span[1] * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{html.escape(title)}</text>',
           f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">recall@10</text>',
           f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">'
           'queries a second</text>']
    for recall in RECALLS:
        if min(recalls) <= recall <= max(recalls):
            at = f"{x(recall):.1f}"
            out.append(f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
            out.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{recall:g}</text>')
    for exponent in range(math.floor(slow), math.ceil(fast) + 1):
        for step in (1, 2, 5):
            qps = step * 10 ** exponent
            if slow <= math.log10(qps) <= fast:
                at = f"{y(qps):.1f}"
                out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#e4e4e4"/>')
                out.append(f'<text x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{qps:,.0f}</text>')
    for row, (name, points) in enumerate(sorted(lines.items(), key=lambda line: -line[1][0][1])):
        colour = COLOURS.get(name, "#333333")
        path = " ".join(f"{x(r):.1f},{y(q):.1f}" for r, q in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(r):.1f}" cy="{y(q):.1f}" r="2.6" fill="{colour}"/>' for r, q in points]
        at = TOP + 10 + 20 * row
        out.append(f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 34}" y1="{at}" y2="{at}" '
                   f'stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 40}" y="{at}" dy="4">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[-1])
    if folder.suffix == ".json":
        sys.exit(f"{folder}: the last argument is the folder for the figures")
    curves = read_curves(sys.argv[1:-1])
    if not curves:
        sys.exit("no searches in these files")
    folder.mkdir(parents=True, exist_ok=True)
    for (data_set, threads), libraries in sorted(curves.items()):
        title = f"{data_set}, {threads} thread{'s' if threads != '1' else ''}"
        tail = "" if threads == "1" else f"-{threads}-threads"
        file = folder / f"recall-{data_set.replace('_', '-')}{tail}.svg"
        file.write_text(draw(title, libraries))
        print(file)


if __name__ == "__main__":
    main()
