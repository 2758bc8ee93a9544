"""What differs when the Hub is reached by https: errors without a code would be told by their address, lists go on."""

import json
import os
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

want = json.loads(sys.argv[1])
model = want["model"]
api = HfApi()
assert os.environ["HF_ENDPOINT"].startswith("https://")


def refused(kind, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except kind:
        return
    raise AssertionError(f"{call} was not refused with {kind}")


refused(RevisionNotFoundError, hf_hub_download, model, "config.json", revision="nowhere")
refused(RepositoryNotFoundError, hf_hub_download, "org/nothing", "config.json")
refused(RepositoryNotFoundError, api.model_info, "org/nothing")
refused(EntryNotFoundError, hf_hub_download, model, "no/such.json")
assert Path(snapshot_download(model)).name == want["commit"]
assert want["old"] in Path(hf_hub_download(model, "config.json", revision="refs/pr/1")).parts
many = list(api.list_repo_tree(want["many"], recursive=True))
assert len(many) == want["many_entries"], len(many)
assert {m.id for m in api.list_models()} == {model, want["many"]}
print("done")
