"""Reads a mirror by commit and by tag."""

import json
import sys
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

commit = json.loads(sys.argv[1])["commit"]
folder = Path(snapshot_download("org/m", revision=commit))
assert folder.name == commit
assert (folder / "model.bin").read_bytes() == bytes(range(256)) * 9000
tagged = Path(snapshot_download("org/m", revision="v1"))
assert sorted(p.name for p in tagged.iterdir()) == [".gitattributes", "config.json"]
data = Path(snapshot_download("org/d", repo_type="dataset"))
assert (data / "data" / "a b.csv").read_bytes() == b"a\n1\n"
assert len(HfApi().list_repo_commits("org/m")) == 3 or HfApi().list_repo_commits("org/m")[0].commit_id == commit
print("done")
