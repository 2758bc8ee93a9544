"""Makes commits by the Hub's own calls, then the same ones by git: the ids must be equal."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, snapshot_download

api = HfApi()
api.create_repo("org/m")
weights = bytes(range(256)) * 5000
api.create_commit("org/m", [
    CommitOperationAdd("README.md", b"# M\n"),
    CommitOperationAdd("a/b.txt", b"one"),
    CommitOperationAdd("a-b", b""),
    CommitOperationAdd("a.txt", "\u00e9\n".encode()),
    CommitOperationAdd("deep/er/w \u00fc.bin", weights),
], commit_message="Add much", commit_description="in several\nlines")
api.create_commit("org/m", [
    CommitOperationDelete("a/"),
    CommitOperationCopy("deep/er/w \u00fc.bin", "w.bin"),
    CommitOperationAdd("a.txt", b"two"),
], commit_message="Change")

work = Path("work")
environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd()), "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(*arguments, **more):
    run = subprocess.run(["git", *arguments], cwd=work, env={**environment, **more}, check=True, capture_output=True)
    return run.stdout.decode().strip()


work.mkdir()
git("init", "--quiet", "--initial-branch=main")
history = api.list_repo_commits("org/m")
assert len(history) == 3, history
for commit in reversed(history):
    for old in work.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    info = api.model_info("org/m", revision=commit.commit_id, files_metadata=True)
    folder = Path(snapshot_download("org/m", revision=commit.commit_id))
    for sibling in info.siblings:
        data = (folder / sibling.rfilename).read_bytes()
        if sibling.lfs:
            digest = hashlib.sha256(data).hexdigest()
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
        place = work / sibling.rfilename
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        assert git("hash-object", sibling.rfilename) == sibling.blob_id, sibling
    git("add", "--all")
    tree = git("write-tree")
    for entry in api.list_repo_tree("org/m", recursive=True, revision=commit.commit_id):
        if hasattr(entry, "tree_id"):
            assert git("rev-parse", f"{tree}:{entry.path}") == entry.tree_id, entry
            listed = git("-c", "core.quotePath=false", "ls-tree", "-z", entry.tree_id)
            made = subprocess.run(["git", "mktree", "-z"], cwd=work, env=environment, check=True, capture_output=True,
                                  input=listed.encode())
            assert made.stdout.decode().strip() == entry.tree_id, entry
    who = {"NAME": commit.authors[0], "EMAIL": commit.authors[0] + "@localhost",
           "DATE": f"{int(commit.created_at.timestamp())} +0000"}
    who = {f"GIT_{role}_{key}": value for role in ["AUTHOR", "COMMITTER"] for key, value in who.items()}
    message = commit.title + ("\n\n" + commit.message if commit.message else "")
    git("commit", "--quiet", "--allow-empty", "-m", message, **who)
    assert git("rev-parse", "HEAD") == commit.commit_id, (git("cat-file", "-p", "HEAD"), commit)
print("done")
