"""Uploads a file in parts, and what goes wrong with them."""

import hashlib
import json
import os
import random
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils import HfHubHTTPError, get_session

api = HfApi()
api.create_repo("org/large")
data = random.Random(1).randbytes(95_000_000)
big = Path("big.bin")
big.write_bytes(data)
api.upload_file(repo_id="org/large", path_or_fileobj=str(big), path_in_repo="big.bin")
big.unlink()
got = Path(hf_hub_download("org/large", "big.bin"))
assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(data).digest()

before = api.model_info("org/large").sha
objects = os.environ["HF_ENDPOINT"] + "/org/large.git/info/lfs/objects/"
session = get_session()
first = session.put(objects + "0" * 64 + "/parts/1", data=b"one") if hasattr(session, "adapters") else session.put(objects + "0" * 64 + "/parts/1", content=b"one")
etag = first.headers["etag"]
for oid, parts in [
    ("0" * 64, [{"partNumber": 1, "etag": etag}]),
    (hashlib.sha256(b"one").hexdigest(), [{"partNumber": 2, "etag": etag}]),
    (hashlib.sha256(b"one").hexdigest(), [{"partNumber": 1, "etag": hashlib.sha256(b"never").hexdigest()}]),
]:
    answer = session.post(objects + oid + "/parts", json={"oid": oid, "parts": parts})
    assert answer.status_code in (400, 422), answer.status_code
assert api.model_info("org/large").sha == before
print("done")
