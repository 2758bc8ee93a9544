"""Makes a tiny model and a table, in the shapes that real ones have."""

import json
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
from safetensors.numpy import save_file

folder = Path("made")
folder.mkdir()
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s"]
(folder / "vocab.txt").write_text("\n".join(words) + "\n")
config = {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(words), "hidden_size": 8,
          "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 16}
(folder / "config.json").write_text(json.dumps(config))
(folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
save_file({"embeddings": numpy.arange(16, dtype=numpy.float32).reshape(2, 8)}, folder / "model.safetensors")
pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2, 3]}), folder / "rows.parquet")
print("made")
