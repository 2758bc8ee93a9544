"""Everything that a reader does with a Hub, by whatever huggingface_hub runs this.

The argument is a JSON document: what the mirror was made from. Prints `done` at the end; anything else is a failure.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

want = json.loads(sys.argv[1])
model, dataset, commit = want["model"], want["dataset"], want["commit"]
files = want["files"]
api = HfApi()


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def refused(kind, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except kind as error:
        return error
    raise AssertionError(f"{call} was not refused with {kind}")


# 1: the whole repository, byte for byte; the second time nothing new.
folder = Path(snapshot_download(model))
assert folder.name == commit, folder
found = {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file()}
assert found == {path: file["sha256"] for path, file in files.items()}, found
assert snapshot_download(model) == str(folder)
data = Path(snapshot_download(dataset, repo_type="dataset"))
assert {p.name for p in data.rglob("*") if p.is_file()} == set(want["dataset_files"])

# 2: by commit, branch, tag, pull request, a branch with a slash.
for revision in [commit, "main", "v1", "refs/pr/1", "dev/x"]:
    path = Path(hf_hub_download(model, "config.json", revision=revision))
    expected = commit if revision in [commit, "main"] else want["old"]
    assert expected in path.parts, (revision, path)

# 3: a missing file is remembered as missing.
refused(EntryNotFoundError, hf_hub_download, model, "no/such.json")
cache = folder.parent.parent
assert (cache / ".no_exist" / commit / "no" / "such.json").exists()

# 4: a missing revision, a missing repository.
refused(RevisionNotFoundError, hf_hub_download, model, "config.json", revision="nowhere")
refused(RepositoryNotFoundError, hf_hub_download, "org/nothing", "config.json")
refused(RepositoryNotFoundError, api.model_info, "org/nothing")

# 7: sizes and ids.
info = api.model_info(model, files_metadata=True)
assert info.sha == commit and info.id == model and info.private is False
assert info.pipeline_tag == "fill-mask" and "license:apache-2.0" in info.tags, info.tags
assert info.model_index or info.card_data, info
card = info.card_data if hasattr(info, "card_data") else info.cardData
assert card["license"] == "apache-2.0", card
assert {s.rfilename for s in info.siblings} == set(files)
for sibling in info.siblings:
    file = files[sibling.rfilename]
    assert (sibling.size, sibling.blob_id) == (file["size"], file["oid"]), sibling
    if file["lfs"]:
        assert sibling.lfs.sha256 == file["sha256"], sibling
assert api.repo_exists(model) and api.file_exists(model, "config.json")
assert not api.file_exists(model, "nothing.json")

# 8: a list of many files comes in pages.
many = list(api.list_repo_tree(want["many"], recursive=True))
assert len(many) == want["many_entries"], len(many)
assert len({entry.path for entry in many}) == len(many)
top = {entry.path for entry in api.list_repo_tree(model)}
assert top == {path.split("/")[0] for path in files}, top
inner = {entry.path for entry in api.list_repo_tree(model, "deep")}
assert inner == {"deep/er"}, inner
refused(EntryNotFoundError, lambda: list(api.list_repo_tree(model, "nothing")))

# 9: single paths with everything known of them.
paths = ["config.json", "model.safetensors", "no/such.json", "deep"]
by_path = {entry.path: entry for entry in api.get_paths_info(model, paths, expand=True)}
assert set(by_path) == set(paths) - {"no/such.json"}, by_path
assert by_path["config.json"].last_commit.title == "Second", by_path
assert by_path["model.safetensors"].security is not None

# 10, 11: refs and history.
refs = api.list_repo_refs(model, include_pull_requests=True)
assert {branch.name: branch.target_commit for branch in refs.branches} == {"main": commit, "dev/x": want["old"]}
assert [tag.name for tag in refs.tags] == ["v1"], refs
assert [request.ref for request in refs.pull_requests] == ["refs/pr/1"], refs
history = api.list_repo_commits(model)
assert [c.commit_id for c in history] == [commit, want["old"]], history
assert history[0].authors == ["somebody"] and history[0].title == "Second"

# 12: lists.
assert {m.id for m in api.list_models()} == {model, want["many"]}
assert [m.id for m in api.list_models(search="tin")] == [model]
assert {m.id for m in api.list_models(author="org")} == {model, want["many"]}
assert [m.id for m in api.list_models(filter=["fill-mask", "tiny"])] == [model]
assert [m.id for m in api.list_models(filter=["license:apache-2.0", "dataset:org/rows", "model-index"])] == [model]
assert [m.id for m in api.list_models(search="Rows accuracy")] == [model]
assert len(list(api.list_models(limit=1))) == 1
assert [d.id for d in api.list_datasets()] == [dataset]

# 15: a part of a file.
with HfFileSystem().open(f"{model}/model.safetensors", "rb") as file:
    assert hashlib.sha256(file.read(66)).hexdigest() == want["first_66"]

# Without the network, what was downloaded is enough.
os.environ["HF_HUB_OFFLINE"] = "1"
assert snapshot_download(model, local_files_only=True) == str(folder)
print("done")
