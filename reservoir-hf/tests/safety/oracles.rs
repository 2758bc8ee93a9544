//! The judgement of others on the same files: numpy, PyTorch and picklescan.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use reservoir_core::gate::Verdict;
use tempfile::TempDir;

use super::{files, rule, scan};

/// What numpy itself writes: arrays and scalars in every protocol are clean, objects with code are not.
const NUMPY: &str = r#"
import io, os, pickle, sys
import numpy as np

class Runs:
    def __reduce__(self):
        return compile, ("1", "x", "eval")

folder = sys.argv[1]
def put(name, data):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)

def saved(function, *args, **kwargs):
    out = io.BytesIO()
    function(out, *args, **kwargs)
    return out.getvalue()

plain = np.arange(12, dtype="f4").reshape(3, 4)
fields = np.zeros(3, dtype=[("a", "<f4"), ("b", "<i8", (2,)), ("c", "S10")])
for protocol in range(6):
    weights = {"w": plain, "f": np.asfortranarray(plain), "s": np.float32(1), "i": np.int64(2), "r": fields, "t": np.dtype("f8")}
    put(f"clean-{protocol}.pkl", pickle.dumps(weights, protocol=protocol))
    put(f"flagged-{protocol}.pkl", pickle.dumps(np.array([Runs()], dtype=object), protocol=protocol))
put("clean.npy", saved(np.save, plain))
put("clean-fields.npy", saved(np.save, fields))
put("clean-dates.npy", saved(np.save, np.zeros(2, "M8[ns]")))
put("clean-long-header.npy", saved(np.save, np.zeros(1, [(f"field{i}", "<f4") for i in range(3000)])))
put("clean.npz", saved(np.savez, a=plain, b=fields))
put("clean-compressed.npz", saved(np.savez_compressed, a=plain, b=np.zeros(100000)))
put("clean-objects.npy", saved(np.save, np.array([None, "text", 1], dtype=object)))
put("flagged.npy", saved(np.save, np.array([Runs()], dtype=object)))
put("flagged-field.npy", saved(np.save, np.array([(1, Runs())], dtype=[("a", "f4"), ("b", "O")])))
put("flagged.npz", saved(np.savez, a=plain, b=np.array([Runs()], dtype=object)))
put("flagged-compressed.npz", saved(np.savez_compressed, b=np.array([Runs()], dtype=object)))
"#;

#[tokio::test]
async fn arrays_of_numpy_itself_are_judged_right() {
    let python = std::env::var("RESERVOIR_TEST_NUMPY").expect("run by scripts/dev or scripts/test");
    let folder = TempDir::with_prefix("reservoir-numpy").unwrap();
    let made = Command::new(python).args(["-c", NUMPY]).arg(folder.path()).status().unwrap();
    assert!(made.success(), "numpy makes the files");
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let verdict = scan(fs::read(entry.path()).unwrap()).await;
        let is_right = if name.starts_with("clean") {
            verdict == Verdict::Clean
        } else {
            rule(&verdict).starts_with("pickle-")
        };
        if !is_right {
            wrong.push((name, verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// PyTorch is the oracle: what its weights-only loader takes is clean, and what it refuses is not, but for what version
/// 1.13 did not know yet.
#[tokio::test]
async fn files_of_pytorch_itself_are_judged_as_its_own_loader_does() {
    const NEWER: [&str; 5] =
        ["checkpoint-legacy.pt", "checkpoint.pt", "protocol-4.pt", "protocol-5.pt", "quantized.pt"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch");
    let verdicts: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("verdicts.json")).unwrap()).unwrap();
    let loads = verdicts["loads"].as_object().unwrap();
    assert!(loads.len() >= 14, "{verdicts:#}");
    let mut wrong = Vec::new();
    for (name, loads) in loads {
        let verdict = scan(fs::read(folder.join(name)).unwrap()).await;
        let is_clean = loads.as_bool().unwrap() || NEWER.contains(&name.as_str());
        if is_clean != (verdict == Verdict::Clean) {
            wrong.push((name, verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Says of each file in a folder whether picklescan finds a dangerous import; nothing where it gives up.
const PICKLESCAN: &str = r"
import json, logging, pathlib, sys
from picklescan.scanner import scan_file_path
logging.disable(logging.CRITICAL)
said = {}
for path in pathlib.Path(sys.argv[1]).iterdir():
    try:
        said[path.name] = scan_file_path(str(path)).infected_files > 0
    except Exception:
        said[path.name] = None
print(json.dumps(said))
";

/// Whatever picklescan calls infected is flagged here, whatever it is called.
#[tokio::test]
async fn what_picklescan_finds_is_found() {
    let python = std::env::var("RESERVOIR_TEST_NUMPY").expect("run by scripts/dev or scripts/test");
    let folder = TempDir::with_prefix("reservoir-picklescan").unwrap();
    let mut all = BTreeMap::new();
    for kind in ["flagged", "clean"] {
        for (name, bytes) in files(kind).into_iter().filter(|(_, bytes)| bytes.len() < 1 << 20) {
            let name = format!("{kind}-{name}.pt");
            fs::write(folder.path().join(&name), &bytes).unwrap();
            all.insert(name, bytes);
        }
    }
    let output = Command::new(python).args(["-c", PICKLESCAN]).arg(folder.path()).output().unwrap();
    let said: BTreeMap<String, Option<bool>> = serde_json::from_slice(&output.stdout).unwrap();
    let infected: Vec<&String> =
        said.iter().filter(|(_, found)| **found == Some(true)).map(|(name, _)| name).collect();
    assert!(infected.len() >= 40, "{said:?}");
    for name in infected {
        let verdict = scan(all[name].clone()).await;
        assert_ne!(verdict, Verdict::Clean, "{name}");
    }
}
