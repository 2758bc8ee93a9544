"""Downloads a file over a wire that breaks once; old clients have to be asked again."""

import hashlib

from huggingface_hub import hf_hub_download

try:
    path = hf_hub_download("org/tiny", "model.safetensors")
except Exception as error:
    assert "Broken" in repr(error) or "broken" in repr(error) or "Incomplete" in repr(error), repr(error)
    path = hf_hub_download("org/tiny", "model.safetensors")
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
