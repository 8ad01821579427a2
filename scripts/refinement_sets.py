#!/usr/bin/python3
"""Makes validation sets for label-free refinement: sets where smoothing should help, and sets where it hurts.

    scripts/refinement_sets.py OUT [--from DIR]... [--only NAME,...]

Needs python3-numpy. Every set is a folder OUT/<name> as bench_quality reads them: base.npy, queries.npy and
base_labels.npy with query_labels.npy, or qrels.txt. Everything is seeded.

made:      Gaussian mixtures, manifolds and pairs (this file says of each what it is).
text:      this machine's manual pages and package lists as latent-semantic vectors, where there are any.
pictures:  Fashion-MNIST's training pictures, where dataset-fashion-mnist is installed.
held out:  --from DIR takes rows of DIR's base.npy as queries, with their base_labels.npy. DIR's own queries are not read.
"""
import argparse
import glob
import gzip
import os
import pathlib
import re
import subprocess
import sys
import zlib

import numpy as np

QUERIES = 400
MADE, OTHER = {}, {}


def made(function):
    MADE[function.__name__] = function
    return function


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def save(folder, base, queries, base_labels=None, query_labels=None, qrels=None):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "base.npy", base.astype(np.float32))
    np.save(folder / "queries.npy", queries.astype(np.float32))
    if qrels is None:
        np.save(folder / "base_labels.npy", np.asarray(base_labels, np.int32))
        np.save(folder / "query_labels.npy", np.asarray(query_labels, np.int32))
    else:
        (folder / "qrels.txt").write_text("".join(f"{q} 0 {d} 1\n" for q, d in qrels))
    print(f"{folder.name}: {len(base)} x {base.shape[1]}, {len(queries)} queries", flush=True)


def split(x, labels, rng, queries=QUERIES):
    """Random rows become the queries."""
    order = rng.permutation(len(x))
    q, b = order[:queries], order[queries:]
    return dict(base=x[b], queries=x[q], base_labels=labels[b], query_labels=labels[q])


def gaussians(rng, sizes, dim, spread, centres=None, noise=1.0):
    """Rows around one centre a class: `noise` per direction, centres `spread` apart of it."""
    if centres is None:
        centres = rng.standard_normal((len(sizes), dim))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return spread * centres[labels] + noise * rng.standard_normal((len(labels), dim)), labels


# ---- made sets: friendly

@made
def clusters_apart(rng):
    """40 classes whose neighbourhoods hardly mix."""
    x, y = gaussians(rng, [100] * 40, 64, 0.8)
    return split(x, y, rng)


@made
def clusters_touching(rng):
    """40 classes, a third of the nearest neighbours are of another."""
    x, y = gaussians(rng, [100] * 40, 64, 0.4)
    return split(x, y, rng)


@made
def subspaces(rng):
    """Every class varies along 6 directions of its own, under noise."""
    parts = []
    for _ in range(30):
        basis = np.linalg.qr(rng.standard_normal((200, 6)))[0]
        parts.append(rng.standard_normal((120, 6)) @ basis.T * 3 + 0.25 * rng.standard_normal((120, 200)))
    return split(np.vstack(parts), np.repeat(np.arange(30), 120), rng)


@made
def curves(rng):
    """Every class is a closed curve, as views of a turning object are."""
    parts = []
    for _ in range(30):
        t = rng.uniform(0, 2 * np.pi, 100)
        waves = np.stack([f(k * t) for k in (1, 2, 3) for f in (np.sin, np.cos)], 1)
        centre = 0.6 * rng.standard_normal(128)
        parts.append(centre + waves @ rng.standard_normal((6, 128)) * 0.5 + 0.1 * rng.standard_normal((100, 128)))
    return split(np.vstack(parts), np.repeat(np.arange(30), 100), rng)


# ---- made sets: hard

@made
def several_modes(rng):
    """20 classes of 8 modes each that lie anywhere: most of a class is far from the query."""
    x, mode = gaussians(rng, [25] * 160, 96, 0.5)
    return split(x, mode % 20, rng)


@made
def unbalanced(rng):
    """Class sizes fall as 1 / rank, from 600 to 6."""
    sizes = np.maximum(600 / np.arange(1, 101), 6).astype(int)
    x, y = gaussians(rng, sizes, 96, 0.45)
    return split(x, y, rng)


@made
def scarce(rng):
    """100 classes of 4 among 20 of 150; only the scarce ones are asked for."""
    x, y = gaussians(rng, [150] * 20 + [5] * 100, 96, 0.45)
    asked = np.array([np.flatnonzero(y == c)[0] for c in range(20, 120)])
    rest = np.setdiff1d(np.arange(len(x)), asked)
    return dict(base=x[rest], queries=x[asked], base_labels=y[rest], query_labels=y[asked])


@made
def fine_classes(rng):
    """20 groups of 12 classes that differ in few directions."""
    groups, _ = gaussians(rng, [1] * 20, 128, 1.0, noise=0)
    centres = np.repeat(groups, 12, 0)
    centres[:, :16] += 0.9 * rng.standard_normal((240, 16))
    x, y = gaussians(rng, [16] * 240, 128, 1.0, centres, noise=0.7)
    return split(x, y, rng)


@made
def no_structure(rng):
    """Directions drawn evenly, 64-d; classes are the cells of 60 random directions."""
    x = unit(rng.standard_normal((4400, 64)))
    return split(x, (x @ unit(rng.standard_normal((60, 64))).T).argmax(1), rng)


@made
def random_labels(rng):
    """Clusters whose labels mean nothing."""
    x, _ = gaussians(rng, [100] * 40, 64, 0.6)
    return split(x, rng.integers(0, 40, len(x)), rng)


@made
def half_random_labels(rng):
    """Clusters where half of the labels mean nothing."""
    x, y = gaussians(rng, [100] * 40, 64, 0.6)
    return split(x, np.where(rng.random(len(x)) < 0.5, rng.integers(0, 40, len(x)), y), rng)


@made
def hubs(rng):
    """A skewed cloud: few rows are near everything. 60 classes that overlap."""
    x, y = gaussians(rng, [70] * 60, 300, 0.25)
    return split(x * np.exp(0.5 * rng.standard_normal((len(x), 1))) + 1.5, y, rng)


@made
def gradual(rng):
    """No classes: 12 hidden directions under 150 of noise; relevant are the 20 hidden nearest."""
    hidden = rng.standard_normal((4000, 12))
    x = hidden @ rng.standard_normal((12, 150)) / np.sqrt(12) + 0.8 * rng.standard_normal((4000, 150))
    q, b = np.arange(QUERIES), np.arange(QUERIES, 4000)
    near = ((hidden[q, None] - hidden[None, b]) ** 2).sum(2).argsort(1)[:, :20]
    return dict(base=x[b], queries=x[q], qrels=[(i, d) for i in q for d in near[i]])


def pairs(rng, centres, spread, blur, per=40, dim=100, rank=None):
    """Known items: a query is one base row under noise, and only that row is relevant."""
    x, _ = gaussians(rng, [per] * centres, dim, spread)
    if rank:
        x = x[:, :rank] @ rng.standard_normal((rank, dim))
    asked = rng.permutation(len(x))[:QUERIES]
    queries = x[asked] + blur * x.std() * rng.standard_normal((QUERIES, dim))
    return dict(base=x, queries=queries, qrels=list(enumerate(asked)))


@made
def pairs_clear(rng):
    """Known items in clusters, slight noise."""
    return pairs(rng, 100, 0.6, 1.2)


@made
def pairs_blurred(rng):
    """Known items in clusters, noise stronger than the rows themselves."""
    return pairs(rng, 100, 0.6, 2.5)


@made
def pairs_flat(rng):
    """Known items without clusters, strong noise."""
    return pairs(rng, 1, 0, 2.5, per=4000)


@made
def pairs_few_directions(rng):
    """Known items on few directions, noise on all."""
    return pairs(rng, 60, 0.5, 2.5, per=70, dim=300, rank=24)


@made
def twins(rng):
    """Groups of 4 near-duplicates within broad clusters; the three others are relevant."""
    x, _ = gaussians(rng, [30] * 40, 100, 0.6)
    group = np.repeat(np.arange(len(x)), 4)
    copies = x[group] + 1.5 * rng.standard_normal((len(group), 100))
    asked = rng.permutation(len(x))[:QUERIES] * 4
    rest = np.setdiff1d(np.arange(len(copies)), asked)
    return dict(base=copies[rest], queries=copies[asked], base_labels=group[rest], query_labels=group[asked])


@made
def other_queries(rng):
    """40 classes; the queries come from elsewhere: scaled directions and a common shift."""
    x, y = gaussians(rng, [100] * 40, 64, 0.5)
    parts = split(x, y, rng)
    parts["queries"] = parts["queries"] * rng.uniform(0.5, 1.5, 64) + 0.7 * rng.standard_normal(64)
    return parts


@made
def noisy_queries(rng):
    """40 classes; the queries carry noise as strong as the classes' spread."""
    x, y = gaussians(rng, [100] * 40, 64, 0.6)
    parts = split(x, y, rng)
    parts["queries"] = parts["queries"] + rng.standard_normal(parts["queries"].shape)
    return parts


@made
def between_queries(rng):
    """Questions that lie between two clusters and belong to one row of either."""
    x, y = gaussians(rng, [40] * 80, 100, 0.6)
    a, b = rng.permutation(len(x))[:2 * QUERIES].reshape(2, QUERIES)
    queries = x[a] + x[b] + 0.3 * rng.standard_normal((QUERIES, 100))
    return dict(base=x, queries=queries, qrels=[p for q in range(QUERIES) for p in ((q, a[q]), (q, b[q]))])


# ---- text

def words(text):
    return re.findall(r"[a-z][a-z0-9]{2,}", text.lower())


def latent(documents, questions, rank, most_terms=6000):
    """TF-IDF and a truncated SVD of the documents; the questions are projected."""
    rng = np.random.default_rng(1)
    counts = {}
    tokens = [words(d) for d in documents]
    for document in tokens:
        for word in set(document):
            counts[word] = counts.get(word, 0) + 1
    terms = sorted((w for w, c in counts.items() if 2 < c < 0.2 * len(documents)), key=lambda w: (-counts[w], w))
    place = {w: i for i, w in enumerate(terms[:most_terms])}
    idf = np.log(len(documents) / np.array([counts[w] for w in place]))

    def table(rows):
        x = np.zeros((len(rows), len(place)), np.float32)
        for i, row in enumerate(rows):
            for word in row:
                if word in place:
                    x[i, place[word]] += 1
        return unit(np.log1p(x) * idf.astype(np.float32))

    x = table(tokens)
    sketch = rng.standard_normal((x.shape[1], rank + 20)).astype(np.float32)
    for _ in range(3):
        sketch = np.linalg.qr(x.T @ (x @ sketch))[0]
    _, _, v = np.linalg.svd(x @ sketch, full_matrices=False)
    basis = (sketch @ v[:rank].T).astype(np.float32)
    return x @ basis, table([words(q) for q in questions]) @ basis


def kept(base, queries):
    """Rows that have any term at all."""
    return np.linalg.norm(base, axis=1) > 1e-6, np.linalg.norm(queries, axis=1) > 1e-6


def text_set(documents, questions, rank, labels=None, qrels=None):
    base, queries = latent(documents, questions, rank)
    b, q = kept(base, queries)
    if labels is not None:
        return dict(base=unit(base[b]), queries=unit(queries[q]), base_labels=labels[0][b], query_labels=labels[1][q])
    to_base, to_query = np.cumsum(b) - 1, np.cumsum(q) - 1
    pairs_kept = [(to_query[i], to_base[d]) for i, d in qrels if q[i] and b[d]]
    return dict(base=unit(base[b]), queries=unit(queries[q]), qrels=pairs_kept)


def manual_pages(most, sections="12358"):
    """(name, one line, body, names under SEE ALSO) of English manual pages."""
    pages = []
    files = sorted(f for s in sections for f in glob.glob(f"/usr/share/man/man{s}/*.gz"))
    rng = np.random.default_rng(2)
    for file in (files[i] for i in rng.permutation(len(files))):
        try:
            text = gzip.open(file).read(60000).decode("utf8", "ignore")
        except OSError:
            continue
        if len(text) < 1500:
            continue
        plain = re.sub(r"\\f.|\\[&(*][a-zA-Z]{0,2}|\\-", lambda m: "-" if m[0] == "\\-" else "", text)
        parts = re.split(r"(?m)^\.S[Hh] +", plain)
        by_name = {p.split("\n", 1)[0].strip('" ').upper(): p.split("\n", 1)[-1] for p in parts[1:]}
        line = re.search(r"-+ +(.+)", by_name.get("NAME", ""))
        if not line or "DESCRIPTION" not in by_name:
            continue
        body = re.sub(r"(?m)^['.]\S+", " ", "\n".join(v for k, v in by_name.items() if k not in ("NAME", "SEE ALSO")))
        also = set(re.findall(r"([\w.+:-]{2,})(?:\\fR|\s)?\(?\s?\(?[1-8]", by_name.get("SEE ALSO", "")))
        pages.append((os.path.basename(file).split(".")[0], line[1], body[:8000], also,
                      os.path.basename(file).split(".")[1][:1]))
        if len(pages) == most:
            break
    return pages


def packages():
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout.decode("utf8", "ignore")
    for block in text.split("\n\n"):
        yield {m[1]: re.sub(r"\n ", " ", m[2]) for m in re.finditer(r"(?m)^([\w-]+): (.*(?:\n .*)*)", block)}


def other(function):
    OTHER[function.__name__] = function
    return function


@other
def man_lines(rng):
    """A page's one-line summary looks for the page (the line is not in it)."""
    pages = manual_pages(6000)
    asked = rng.permutation(len(pages))[:QUERIES]
    return text_set([p[2] for p in pages], [pages[i][1] for i in asked], 300, qrels=list(enumerate(asked)))


@other
def man_see_also(rng):
    """A page looks for the pages it cites or is cited by."""
    pages = manual_pages(6000)
    links = {i: set() for i in range(len(pages))}
    where = {}
    for i, p in enumerate(pages):
        where.setdefault(p[0], i)
    for i, p in enumerate(pages):
        for name in p[3]:
            if name in where and where[name] != i:
                links[i].add(where[name])
                links[where[name]].add(i)
    asked = np.array([i for i in rng.permutation(len(pages)) if links[i]][:QUERIES])
    rest = np.setdiff1d(np.arange(len(pages)), asked)
    row = {d: i for i, d in enumerate(rest)}
    qrels = [(q, row[d]) for q, i in enumerate(asked) for d in sorted(links[i]) if d in row]
    return text_set([pages[i][2] for i in rest], [pages[i][2] for i in asked], 300, qrels=qrels)


@other
def man_halves(rng):
    """The first half of a page looks for the second."""
    pages = [p for p in manual_pages(6000) if len(p[2]) > 2000]
    asked = rng.permutation(len(pages))[:QUERIES]
    half = [len(p[2]) // 2 for p in pages]
    return text_set([p[2][h:] for p, h in zip(pages, half)], [pages[i][2][:min(half[i], 1000)] for i in asked], 200,
                    qrels=list(enumerate(asked)))


def package_rows(rng, most=9000):
    rows = [p for p in packages() if "Description" in p and "Section" in p]
    seen, unique = set(), []
    for p in rows:
        if p["Package"] not in seen:
            seen.add(p["Package"])
            unique.append(p)
    return [unique[i] for i in rng.permutation(len(unique))[:most]]


@other
def package_sections(rng):
    """A package's summary looks for packages of its archive section."""
    rows = package_rows(rng)
    sections = {s: i for i, s in enumerate(sorted({p["Section"] for p in rows}))}
    labels = np.array([sections[p["Section"]] for p in rows])
    text = [p["Package"].replace("-", " ") + " " + p["Description"] for p in rows]
    return text_set(text[QUERIES:], text[:QUERIES], 200, labels=(labels[QUERIES:], labels[:QUERIES]))


@other
def package_sources(rng):
    """A package's summary looks for the packages built from the same source."""
    rows = package_rows(rng, 60000)
    source = {}
    for p in rows:
        source.setdefault(p.get("Source", p["Package"]).split()[0], []).append(p)
    groups = [g[:6] for g in source.values() if len(g) >= 3]
    groups = [groups[i] for i in rng.permutation(len(groups))[:1500]]
    text = [[p["Description"] + " " + p["Package"].replace("-", " ") for p in g] for g in groups]
    asked = rng.permutation(len(groups))[:QUERIES]
    taken = set(asked.tolist())
    base, owner = [], []
    for i, g in enumerate(text):
        for t in g[1 if i in taken else 0:]:
            base.append(t)
            owner.append(i)
    return text_set(base, [text[i][0] for i in asked], 200, labels=(np.array(owner), asked))


@other
def package_names(rng):
    """A package's name looks for its summary."""
    rows = [p for p in package_rows(rng) if len(words(p["Package"].replace("-", " "))) > 1]
    return text_set([p["Description"] for p in rows], [p["Package"].replace("-", " ") for p in rows[:QUERIES]], 200,
                    qrels=[(i, i) for i in range(QUERIES)])


@other
def package_tags(rng):
    """A tagged package looks for those that share at least three of its tags, rare ones."""
    rows = [p for p in package_rows(rng, 60000) if "Tag" in p][:6000]
    tags = [set(t.strip() for t in p["Tag"].split(",")) for p in rows]
    count = {}
    for t in tags:
        for one in t:
            count[one] = count.get(one, 0) + 1
    rare = [{one for one in t if count[one] < 0.1 * len(rows)} for t in tags]
    asked = [i for i in range(len(rows)) if len(rare[i]) >= 3][:QUERIES]
    taken = set(asked)
    rest = [i for i in range(len(rows)) if i not in taken]
    qrels = [(q, b) for q, i in enumerate(asked) for b, j in enumerate(rest) if len(rare[i] & rare[j]) >= 3]
    text = [p["Package"].replace("-", " ") + " " + p["Description"] for p in rows]
    return text_set([text[i] for i in rest], [text[i] for i in asked], 200, qrels=qrels)


# ---- pictures

def fashion(rng, rows):
    folder = pathlib.Path("/usr/share/datasets/fashion-mnist")
    x = np.frombuffer(gzip.open(folder / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16).reshape(-1, 784)
    y = np.frombuffer(gzip.open(folder / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    some = rng.permutation(len(x))[:rows]
    return x[some].astype(np.float32), y[some].astype(np.int32)


@other
def fashion_tops(rng):
    """T-shirt, pullover, coat, shirt: four kinds hard to tell apart."""
    x, y = fashion(rng, 12000)
    tops = np.isin(y, [0, 2, 4, 6])
    return split(x[tops], y[tops], rng)


@other
def fashion_noisy(rng):
    """A picture under strong noise looks for itself."""
    x, _ = fashion(rng, 6000)
    return dict(base=x, queries=x[:QUERIES] + 300 * rng.standard_normal((QUERIES, 784)),
                qrels=[(i, i) for i in range(QUERIES)])


@other
def fashion_moved(rng):
    """Pictures moved by two pixels look for pictures of their kind."""
    x, y = fashion(rng, 8000)
    parts = split(x, y, rng)
    moved = np.roll(parts["queries"].reshape(-1, 28, 28), (2, 1), (1, 2))
    parts["queries"] = moved.reshape(QUERIES, -1)
    return parts


@other
def fashion_unbalanced(rng):
    """Kinds from 2,000 pictures to 30."""
    x, y = fashion(rng, 40000)
    sizes = (2000 * 0.63 ** np.arange(10)).astype(int)
    rows = np.concatenate([np.flatnonzero(y == c)[:s] for c, s in enumerate(sizes)])
    return split(x[rows], y[rows], rng)


# ---- held out rows of other folders

def held_out(folder, rng):
    """A quarter of the base, at most QUERIES rows, asks for the rest."""
    x = np.load(folder / "base.npy").astype(np.float32)
    y = np.load(folder / "base_labels.npy")
    return split(x, y, rng, min(QUERIES, len(x) // 4))


def held_out_pairs(folder, rng):
    """Base rows under noise look for themselves."""
    x = unit(np.load(folder / "base.npy").astype(np.float32))
    asked = rng.permutation(len(x))[:QUERIES]
    noise = rng.standard_normal((len(asked), x.shape[1])) * x.std(0)
    queries = x[asked] + 2.5 * noise
    return dict(base=x, queries=queries, qrels=list(enumerate(asked)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--from", dest="folders", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    makers = {**MADE, **OTHER}
    for folder in args.folders:
        if (folder / "base_labels.npy").exists():
            makers[folder.name + "_held_out"] = lambda rng, f=folder: held_out(f, rng)
        makers[folder.name + "_pairs"] = lambda rng, f=folder: held_out_pairs(f, rng)
    only = set(filter(None, args.only.split(",")))
    for name, maker in makers.items():
        if only and name not in only:
            continue
        try:
            save(args.out / name, **maker(np.random.default_rng(zlib.crc32(name.encode()))))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: left out, {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
