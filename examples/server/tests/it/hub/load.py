"""Loads a tokenizer, a configuration, weights and tables."""

import os

import pandas
from datasets import load_dataset
from huggingface_hub import hf_hub_download
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("org/bert")
assert tokenizer("hello worlds")["input_ids"] == [2, 5, 6, 7, 3], tokenizer("hello worlds")
assert AutoConfig.from_pretrained("org/bert").hidden_size == 8
weights = load_file(hf_hub_download("org/bert", "model.safetensors"))
assert weights["embeddings"].shape == (2, 8) and weights["embeddings"][1, 7] == 15

assert load_dataset("org/rows", split="train")["b"][:] == ["x", "y"]
assert load_dataset("org/columns", split="train")["a"][:] == [1, 2, 3]
if os.environ["HF_HUB_OFFLINE"] == "0":
    part = "hf://datasets/org/columns/data/train-00000-of-00001.parquet"
    assert list(pandas.read_parquet(part)["a"]) == [1, 2, 3]
    assert [row["a"] for row in load_dataset("org/rows", split="train", streaming=True)] == [1, 2]
    assert [row["a"] for row in load_dataset("org/columns", split="train", streaming=True)] == [1, 2, 3]
print("done")
