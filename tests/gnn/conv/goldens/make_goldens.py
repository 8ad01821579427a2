#!/usr/bin/python3
"""Writes conv_*.txt: forward outputs and gradients of GCN, GAT and GATv2 layers written by hand in
PyTorch (Debian's python3-torch), in float64 on float32 inputs. Run in this folder to make them anew.

Each file: lines of "name rows cols", then the values. edges holds (row, column) pairs, x, the
parameters under PyG's names, d_out (the loss is sum(out * d_out)), out, and d_<name> for x and
every parameter.
"""
import torch

torch.manual_seed(7)
N, IN, OUT = 7, 5, 3
# Node 6 has no edge but the self loop; node 0 receives from all.
EDGES = sorted({(0, j) for j in range(6)} | {(1, 0), (1, 3), (2, 4), (3, 1), (3, 2), (4, 0), (5, 2)}
               | {(i, i) for i in range(N)})
ROW = torch.tensor([i for i, _ in EDGES])
COL = torch.tensor([j for _, j in EDGES])


def rand(*shape):
    return torch.randn(*shape).float().double().requires_grad_(True)


def softmax(logits):
    """Over the edges of a row, per head."""
    e = torch.exp(logits - logits.max())
    sums = torch.zeros(N, logits.shape[1], dtype=torch.float64).index_add(0, ROW, e)
    return e / sums[ROW]


def gather(weights, values, concat):
    """sum_j weights[e, h] values[j, h, :] at each row."""
    out = torch.zeros(N, *values.shape[1:], dtype=torch.float64)
    out = out.index_add(0, ROW, weights[:, :, None] * values[COL])
    return out.reshape(N, -1) if concat else out.mean(1)


def gcn(p, improved=False):
    loops = (ROW == COL).double() * (2.0 if improved else 1.0)
    a = torch.where(ROW == COL, loops, torch.ones(len(ROW), dtype=torch.float64))
    degree = torch.zeros(N, dtype=torch.float64).index_add(0, ROW, a)
    w = a / torch.sqrt(degree[ROW] * degree[COL])
    h = p["x"] @ p["lin.weight"].T
    return torch.zeros(N, OUT, dtype=torch.float64).index_add(0, ROW, w[:, None] * h[COL]) + p["bias"]


def gat(p, heads, concat):
    h = (p["x"] @ p["lin_src.weight"].T).reshape(N, heads, OUT)
    logits = (h * p["att_src"]).sum(-1)[COL] + (h * p["att_dst"]).sum(-1)[ROW]
    logits = torch.nn.functional.leaky_relu(logits, 0.2)
    return gather(softmax(logits), h, concat) + p["bias"]


def gatv2(p, heads, concat, shared):
    left = (p["x"] @ p["lin_l.weight"].T + p["lin_l.bias"]).reshape(N, heads, OUT)
    right = left if shared else (p["x"] @ p["lin_r.weight"].T + p["lin_r.bias"]).reshape(N, heads, OUT)
    s = torch.nn.functional.leaky_relu(left[COL] + right[ROW], 0.2)
    return gather(softmax((s * p["att"]).sum(-1)), left, concat) + p["bias"]


def write(name, layer, parameters):
    p = {"x": rand(N, IN), **parameters}
    out = layer(p)
    d_out = rand(*out.shape).detach()
    (out * d_out).sum().backward()
    entries = {"edges": torch.tensor(EDGES), **p, "d_out": d_out, "out": out,
               **{"d_" + k: v.grad for k, v in p.items()}}
    with open(f"conv_{name}.txt", "w") as file:
        for key, value in entries.items():
            value = value.detach()
            value = value.reshape(1, -1) if value.dim() == 1 else value
            file.write(f"{key} {value.shape[0]} {value.shape[1]}\n")
            for row in value.tolist():
                file.write(" ".join(f"{x:.9g}" for x in row) + "\n")


def gat_parameters(heads, concat):
    return {"lin_src.weight": rand(heads * OUT, IN), "att_src": rand(heads, OUT),
            "att_dst": rand(heads, OUT), "bias": rand(1, heads * OUT if concat else OUT)}


def gatv2_parameters(heads, concat, shared):
    p = {"lin_l.weight": rand(heads * OUT, IN), "lin_l.bias": rand(1, heads * OUT)}
    if not shared:
        p |= {"lin_r.weight": rand(heads * OUT, IN), "lin_r.bias": rand(1, heads * OUT)}
    return p | {"att": rand(heads, OUT), "bias": rand(1, heads * OUT if concat else OUT)}


write("gcn", gcn, {"lin.weight": rand(OUT, IN), "bias": rand(1, OUT)})
write("gcn_improved", lambda p: gcn(p, True), {"lin.weight": rand(OUT, IN), "bias": rand(1, OUT)})
write("gat_concat", lambda p: gat(p, 2, True), gat_parameters(2, True))
write("gat_mean", lambda p: gat(p, 3, False), gat_parameters(3, False))
write("gatv2_concat", lambda p: gatv2(p, 2, True, False), gatv2_parameters(2, True, False))
write("gatv2_mean_shared", lambda p: gatv2(p, 3, False, True), gatv2_parameters(3, False, True))
