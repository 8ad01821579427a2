#!/usr/bin/python3
"""Reads a safetensors file with PyTorch, doubles every tensor, and writes it back; exit code 77
where PyTorch is missing.

    torch_tensors.py FROM TO
"""
import sys

sys.dont_write_bytecode = True
from torch_safetensors import load, save

tensors, metadata = load(sys.argv[1])
save(sys.argv[2], {name: 2 * tensor for name, tensor in tensors.items()}, metadata)
