"""Loads the tiny models by name, whole: `transformers`, `sentence-transformers` and `diffusers` with PyTorch."""

import numpy
import torch
from diffusers import DDPMPipeline
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("org/bert")
model = AutoModel.from_pretrained("org/bert").eval()
words = tokenizer("hello worlds", return_tensors="pt")
assert words["input_ids"].tolist() == [[2, 5, 6, 7, 3]], words
with torch.no_grad():
    expected = model(**words).last_hidden_state.mean(dim=1)[0].numpy()
sentences = SentenceTransformer("org/sentences", device="cpu")
assert numpy.allclose(sentences.encode("hello worlds"), expected, atol=1e-5), "the same weights, the same vector"
pipeline = DDPMPipeline.from_pretrained("org/pipeline")
image = pipeline(num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
assert image.shape == (1, 4, 4, 1), image.shape
print("done")
