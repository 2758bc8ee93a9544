"""Makes files as PyTorch itself writes them, and asks its weights-only loader about each: make.py FOLDER.

Run by hand, with any PyTorch from 1.13 on (Debian's `python3-torch`); what it made is kept beside it, so that the tests
need no PyTorch. `verdicts.json` says of each file whether that loader takes it. Payloads compile a constant and no more.
"""

import json
import pathlib
import sys
import warnings

import torch

warnings.simplefilter("ignore")
OUT = pathlib.Path(sys.argv[1])
torch.manual_seed(4)


class Runs:
    def __reduce__(self):
        return compile, ("1", "x", "eval")


def save(name, what, **options):
    torch.save(what, OUT / f"{name}.pt", **options)


model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
model(torch.ones(2, 4)).sum().backward()
optimizer.step()
checkpoint = {
    "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "name": "tiny",
    "shape": torch.Size([2, 3]), "pair": (1, "two"), "set": None, "flags": [True, False],
}
save("state-dict", model.state_dict())
save("state-dict-legacy", model.state_dict(), _use_new_zipfile_serialization=False)
save("checkpoint", checkpoint)
save("checkpoint-legacy", checkpoint, _use_new_zipfile_serialization=False)
for protocol in [3, 4, 5]:
    save(f"protocol-{protocol}", model.state_dict(), pickle_protocol=protocol)
kinds = ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bfloat16", "bool", "complex64"]
save("dtypes", {kind: torch.ones(3).to(getattr(torch, kind)) for kind in kinds})
base = torch.arange(12.0)
save("views", {"whole": base, "part": base[3:7], "turned": base.reshape(3, 4).t(), "empty": base[:0]})
save("parameter", torch.nn.Parameter(torch.ones(3)))
save("sparse", torch.eye(3).to_sparse())
save("quantized", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
save("whole-module", model)
save("runs", {"weight": torch.ones(3), "hook": Runs()})
save("runs-legacy", {"weight": torch.ones(3), "hook": Runs()}, _use_new_zipfile_serialization=False)

verdicts = {}
for path in sorted(OUT.glob("*.pt")):
    try:
        torch.load(path, weights_only=True)
        verdicts[path.name] = True
    except Exception as error:
        print(path.name, str(error).splitlines()[0][:150])
        verdicts[path.name] = False
(OUT / "verdicts.json").write_text(json.dumps({"torch": torch.__version__, "loads": verdicts}, indent=1) + "\n")
