"""Everything that an author does with a hosted Hub, by whatever huggingface_hub runs this."""

import hashlib
import json
import re
import sys
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    snapshot_download,
)
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

repo = json.loads(sys.argv[1])["repo"]
api = HfApi()


def refused(kind, status, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except kind as error:
        assert status is None or error.response.status_code == status, (status, error)
        return error
    raise AssertionError(f"{call} was not refused with {kind}")


def is_sha(text):
    return re.fullmatch("[0-9a-f]{40}", text) is not None


def files(revision=None):
    return set(api.list_repo_files(repo, revision=revision))


# 25: make a repository, twice.
url = api.create_repo(repo)
assert url.repo_id == repo, url
refused(HfHubHTTPError, 409, api.create_repo, repo)
api.create_repo(repo, exist_ok=True)
assert files() == {".gitattributes"}
# Nobody is kept out before there is access control, and nobody is told that they are.
api.create_repo("org/closed", private=True)
assert api.model_info("org/closed").private is False


def tensors(data):
    header = json.dumps({"x": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


# 22, 29: a folder with small text, a card and a large file.
folder = Path("upload")
(folder / "deep/er").mkdir(parents=True)
content = {
    "README.md": b"---\nlicense: mit\ntags: [uploaded]\n---\n# Mine\n",
    "config.json": b"{}",
    "deep/er/text.txt": "small é\n".encode(),
    "empty.txt": b"",
    "model.safetensors": tensors(bytes(range(256)) * (3 << 12)),
}
for name, data in content.items():
    (folder / name).write_bytes(data)
first = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="All of it")
oid = first.oid if hasattr(first, "oid") else api.model_info(repo).sha
assert is_sha(oid), oid
assert files() == set(content) | {".gitattributes"}
info = api.model_info(repo, files_metadata=True)
assert info.sha == oid and "license:mit" in info.tags and "uploaded" in info.tags
lfs = {s.rfilename: s.lfs for s in info.siblings}
assert lfs["model.safetensors"].sha256 == hashlib.sha256(content["model.safetensors"]).hexdigest()
assert not lfs["config.json"]
down = Path(snapshot_download(repo))
assert down.name == oid
for name, data in content.items():
    assert (down / name).read_bytes() == data, name

# 30: the same again changes nothing; a known large file needs no upload.
api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Again")
assert api.model_info(repo).sha == oid
api.upload_file(repo_id=repo, path_or_fileobj=content["model.safetensors"], path_in_repo="copy/again.safetensors")

# 27: add, copy, delete; a pull request.
change = api.create_commit(
    repo,
    [
        CommitOperationAdd("new.txt", b"new"),
        CommitOperationCopy("model.safetensors", "copied.safetensors"),
        CommitOperationDelete("empty.txt"),
        CommitOperationDelete("deep/"),
    ],
    commit_message="Change",
    commit_description="in many ways",
)
assert is_sha(change.oid)
after = set(content) - {"empty.txt", "deep/er/text.txt"} | {".gitattributes", "new.txt", "copied.safetensors", "copy/again.safetensors"}
assert files() == after, files()
assert (Path(snapshot_download(repo)) / "copied.safetensors").read_bytes() == content["model.safetensors"]
request = api.create_commit(repo, [CommitOperationAdd("pr.txt", b"pr")], commit_message="Ask", create_pr=True)
assert request.pr_revision == "refs/pr/1" and request.pr_num == 1, request
assert "pr.txt" in files("refs/pr/1") and "pr.txt" not in files()
assert "empty.txt" in files(oid), "old commits stay"
titles = [c.title for c in api.list_repo_commits(repo)]
assert titles[0] == "Change" and titles[-1] == "initial commit", titles

# 28: of two commits on one parent the second is refused.
parent = api.model_info(repo).sha
api.create_commit(repo, [CommitOperationAdd("a.txt", b"a")], commit_message="a", parent_commit=parent)
before = files()
refused(HfHubHTTPError, 412, api.create_commit, repo, [CommitOperationAdd("b.txt", b"b")], commit_message="b", parent_commit=parent)
assert files() == before

# 26: branches and tags.
api.create_branch(repo, branch="b/x", revision=oid)
refused(HfHubHTTPError, 409, api.create_branch, repo, branch="b/x")
api.create_branch(repo, branch="b/x", exist_ok=True)
api.upload_file(repo_id=repo, path_or_fileobj=b"on a branch", path_in_repo="branch.txt", revision="b/x")
assert "branch.txt" in files("b/x") and "branch.txt" not in files()
api.create_tag(repo, tag="v1", revision=oid, tag_message="one")
refused(HfHubHTTPError, 409, api.create_tag, repo, tag="v1")
refs = api.list_repo_refs(repo)
assert {b.name for b in refs.branches} == {"main", "b/x"} and refs.tags[0].target_commit == oid
api.delete_tag(repo, tag="v1")
api.delete_branch(repo, branch="b/x")
refs = api.list_repo_refs(repo)
assert {b.name for b in refs.branches} == {"main"} and not refs.tags
refused(RevisionNotFoundError, 404, api.model_info, repo, revision="b/x")

# 25: another name; away with it. A dataset by the same routes.
head = api.model_info(repo).sha
api.move_repo(repo, repo + "-moved")
assert api.model_info(repo + "-moved").sha == head
refused(RepositoryNotFoundError, 404, api.model_info, repo)
api.delete_repo(repo + "-moved")
refused(RepositoryNotFoundError, 404, api.model_info, repo + "-moved")
assert {m.id for m in api.list_models()} == {"org/closed"}
api.create_repo(repo, repo_type="dataset")
api.upload_file(repo_id=repo, repo_type="dataset", path_or_fileobj=b"a,b\n1,2\n", path_in_repo="data/train.csv")
assert "data/train.csv" in api.list_repo_files(repo, repo_type="dataset")
print("done")
