"""Puts a model with two commits and a dataset into a hosted Hub; prints the first commit."""

from huggingface_hub import HfApi

api = HfApi()
api.create_repo("org/m")
first = api.upload_file(repo_id="org/m", path_or_fileobj=b"{}", path_in_repo="config.json")
api.upload_file(repo_id="org/m", path_or_fileobj=bytes(range(256)) * 9000, path_in_repo="model.bin")
api.create_tag("org/m", tag="v1", revision=first.oid)
api.create_repo("org/d", repo_type="dataset")
api.upload_file(repo_id="org/d", repo_type="dataset", path_or_fileobj=b"a\n1\n", path_in_repo="data/a b.csv")
print(api.model_info("org/m").sha)
