#!/usr/bin/python3
"""Writes a model for vectors of 8 dimensions as PyTorch makes it: a metric to 4 and one GNN layer
of 2 heads, with an example of what the layer computes. Exit code 77 where PyTorch is missing.

    torch_model.py TO
"""
import sys

sys.dont_write_bytecode = True
from torch_safetensors import save, torch

DIM, RANK, HEADS, SCALE = 8, 4, 2, 12.5


def attend(x, keys, layer):
    """One row x [RANK] over rows keys [n, RANK], heads side by side."""
    split = lambda rows: rows.reshape(len(rows), HEADS, RANK // HEADS).transpose(0, 1)
    q, k, v = split(x[None] @ layer["w_q"]), split(keys @ layer["w_k"]), split(keys @ layer["w_v"])
    attention = torch.softmax(SCALE * q @ k.transpose(1, 2), -1)
    return (attention @ v).reshape(RANK)


torch.manual_seed(5)
layer = {name: torch.randn(RANK, RANK) for name in ("w_q", "w_k", "w_v", "w_o")}
layer["gate"] = torch.randn(HEADS, RANK // HEADS)
rows = torch.nn.functional.normalize(torch.randn(7, RANK), dim=1)
mixed = attend(rows[0], rows[1:], layer)
mixed = mixed + torch.tanh(layer["gate"]).reshape(RANK) * attend(rows[0], rows[1:3], layer)
tensors = {
    "projection.mean": torch.randn(DIM),
    "projection.weight": torch.randn(RANK, DIM),
    "scale": torch.tensor([9.0]),
    "check.x": rows,
    "check.y": torch.nn.functional.normalize(rows[0] + mixed @ layer["w_o"], dim=0),
}
tensors.update({"layers.0." + name: value for name, value in layer.items()})
metadata = {"format": "halo.gnn.1", "view": "torch", "unit_input": "true",
            "gnn_heads": str(HEADS), "gnn_scale": str(SCALE), "gnn_window": "6"}
save(sys.argv[1], tensors, metadata)
