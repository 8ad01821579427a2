#!/usr/bin/env python3
"""Makes the golden files beside it with PyTorch (1.13 made those in the tree): outputs and gradients
of every attention mechanism, in double precision from float32 inputs, by torch's own autograd.

    python3 tests/attention/goldens/make_goldens.py

A file is a list of matrices: a line "name rows columns", then one line a row.
"""
import math
import os

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH, N, D, HEADS = 2, 9, 12, 3
WIDTH = D // HEADS


def values(*shape, scale=1.0):
    """Normal values that float32 holds exactly, as double leaves of the graph."""
    v = (torch.randn(*shape) * scale).float().double()
    return v.requires_grad_(True)


def write(name, matrices):
    with open(os.path.join(HERE, name + ".txt"), "w") as file:
        for key, m in matrices.items():
            m = m.detach().reshape(-1, m.shape[-1])
            file.write(f"{key} {m.shape[0]} {m.shape[1]}\n")
            for row in m.tolist():
                file.write(" ".join(f"{v:.9g}" for v in row) + "\n")


def heads_of(x):
    return x.reshape(BATCH, N, HEADS, WIDTH).transpose(1, 2)


def softmax_attention(q, k, v, allowed):
    """allowed [N, keys]; a row without a key gives zeros."""
    logits = q @ k.transpose(-1, -2) / math.sqrt(WIDTH)
    logits = logits.masked_fill(~allowed, -1e300)
    p = torch.softmax(logits, -1) * allowed.any(-1, keepdim=True)
    return p @ v


def layer(core, extra=None):
    """Q, K, V and output projections around core(x, q, k, v); everything that has a gradient."""
    leaves = {"x": values(BATCH, N, D)}
    for name in ("w_q", "w_k", "w_v", "w_o"):
        leaves[name] = values(D, D, scale=0.35)
    leaves.update(extra or {})
    x = leaves["x"]
    mixed = core(leaves, *(heads_of(x @ leaves[w]) for w in ("w_q", "w_k", "w_v")))
    out = mixed.transpose(1, 2).reshape(BATCH, N, D) @ leaves["w_o"]
    d_out = values(BATCH, N, D)
    out.backward(d_out.detach())
    return leaves, out, d_out


def save(name, leaves, out, d_out):
    matrices = {"out": out, "d_out": d_out}
    for key, leaf in leaves.items():
        matrices[key] = leaf
        matrices["d_" + key] = leaf.grad
    write(name, matrices)


def window(w):
    i = torch.arange(N)
    return (i[:, None] - i[None, :]).abs() <= w


def ragged():
    """The mask of goldens_test.cpp: i attends to j where i is even and (i + 1) divides j."""
    i, j = torch.arange(N)[:, None], torch.arange(N)[None, :]
    return (i % 2 == 0) & (j % (i + 1) == 0)


def blocks(size):
    """Every block to itself and to block 1."""
    i, j = torch.arange(N)[:, None] // size, torch.arange(N)[None, :] // size
    return (i == j) | (j == 1)


def local_global(local, blend):
    def core(leaves, q, k, v):
        nodes = torch.tensor([0, N - 1])
        near = softmax_attention(q, k, v, local)
        far = softmax_attention(q, k[:, :, nodes], v[:, :, nodes], torch.ones(N, 2, dtype=torch.bool))
        return blend(leaves, near, far, local.any(-1))
    return core


def convex(leaves, near, far, has_local):
    share = torch.sigmoid(leaves["gate"])[None, :, None, :] * has_local[None, None, :, None]
    return share * near + (1 - share) * far


def signed(leaves, near, far, _):
    return near + torch.tanh(leaves["gate"])[None, :, None, :] * far


def signed_per_node(leaves, near, far, _):
    g = leaves["x"] @ leaves["gate_weight"].T + leaves["gate_bias"]
    return near + torch.tanh(g).transpose(1, 2)[..., None] * far


def gate():
    return {"gate": values(HEADS, WIDTH)}


def node_gate():
    return {"gate_weight": values(HEADS, D, scale=0.35), "gate_bias": values(1, HEADS)}


def favor():
    """One head of linear attention; epsilon as the kernel's, with its shifts as constants."""
    n, d, count = 9, 6, 14
    leaves = {name: values(n, d, scale=0.7) for name in ("q", "k", "v")}
    omega = values(count, d)
    root = d ** -0.25

    def exponents(x):
        return root * x @ omega.T, (root * x).pow(2).sum(-1, keepdim=True) / 2

    dots, norms = exponents(leaves["q"])
    phi_q = torch.exp(dots - norms - (dots - norms).max(-1, keepdim=True).values.detach()) + 1e-6
    dots, norms = exponents(leaves["k"])
    phi_k = torch.exp(dots - norms - (dots - norms).max().detach()) + 1e-6
    weights = phi_q @ phi_k.T
    out = weights @ leaves["v"] / weights.sum(-1, keepdim=True)
    d_out = values(n, d)
    out.backward(d_out.detach())
    save("linear", {**leaves}, out, d_out)
    with open(os.path.join(HERE, "linear.txt"), "a") as file:
        file.write(f"omega {count} {d}\n")
        for row in omega.tolist():
            file.write(" ".join(f"{v:.9g}" for v in row) + "\n")


def main():
    torch.manual_seed(1)
    everyone = torch.ones(N, N, dtype=torch.bool)
    save("standard", *layer(lambda _, q, k, v: softmax_attention(q, k, v, everyone)))
    save("masked", *layer(lambda _, q, k, v: softmax_attention(q, k, v, ragged())))
    save("blocks", *layer(lambda _, q, k, v: softmax_attention(q, k, v, blocks(4))))
    save("window_convex", *layer(local_global(window(2), convex), gate()))
    save("window_signed", *layer(local_global(window(2), signed), gate()))
    save("mask_convex", *layer(local_global(ragged(), convex), gate()))
    save("mask_signed_per_node", *layer(local_global(ragged(), signed_per_node), node_gate()))
    favor()


if __name__ == "__main__":
    main()
