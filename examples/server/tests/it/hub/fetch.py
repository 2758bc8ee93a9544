"""What larger libraries ask of a Hub before they load a model, in their own calls of huggingface_hub.

diffusers, sentence-transformers and vLLM need PyTorch to be imported at all; these are the requests of their fetch phases.
"""

from pathlib import Path

from huggingface_hub import HfApi, HfFileSystem, file_exists, hf_hub_download, list_repo_files, model_info, snapshot_download
from huggingface_hub.utils import EntryNotFoundError

# diffusers: DiffusionPipeline.download
info = model_info("org/pipeline", revision=None)
names = {sibling.rfilename for sibling in info.siblings}
index = hf_hub_download("org/pipeline", "model_index.json", revision=info.sha)
assert Path(index).read_text().startswith("{")
folder = Path(snapshot_download(
    "org/pipeline", revision=info.sha,
    allow_patterns=["unet/*.safetensors", "*.json", "*/*.json"], ignore_patterns=["*.bin", "*.onnx"],
))
found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
assert found == {"model_index.json", "unet/config.json", "unet/model.safetensors"}, found
assert "unet/model.bin" in names

# sentence-transformers: SentenceTransformer(…)
assert file_exists("org/sentences", "modules.json")
for name in ["config_sentence_transformers.json", "README.md"]:
    try:
        hf_hub_download("org/sentences", name)
    except EntryNotFoundError:
        assert name == "config_sentence_transformers.json"
assert (Path(snapshot_download("org/sentences", allow_patterns=["1_Pooling/**"])) / "1_Pooling/config.json").exists()

# vLLM: --model org/pipeline
files = HfFileSystem().glob("org/pipeline/**/*.safetensors")
assert files == ["org/pipeline/unet/model.safetensors"], files
assert [name for name in list_repo_files("org/pipeline") if name.endswith(".safetensors")] == ["unet/model.safetensors"]
assert (Path(snapshot_download("org/pipeline", allow_patterns=["*.safetensors"])) / "unet/model.safetensors").exists()
assert HfApi().get_paths_info("org/pipeline", ["params.json"]) == []
print("done")
