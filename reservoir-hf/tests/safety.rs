//! The scanner of model files against its corpus, mutations of it, and the contract of scanners.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use proptest::prelude::*;
use reservoir_core::{
    catalog::VerdictRow,
    clock::Timestamp,
    ecosystem::{Inspection, PulledFile},
    gate::{Scanner as _, Subject, Verdict},
    path::ContentPath,
    store::{Blob, ObjectStoreOptions, PutOptions, Store, StoreExt as _},
    testing::{
        memory::MemoryStore,
        scanner::{CleanFile, suite},
    },
};
use reservoir_hf::safety::{Limits, ModelFiles, labels, security_file_status};
use tempfile::TempDir;

/// The files that `corpus/make.py` makes, by kind and name: once for this process, and nothing of them stays on the
/// disk, as a static is never dropped.
fn corpus() -> &'static BTreeMap<String, BTreeMap<String, Bytes>> {
    static CORPUS: OnceLock<BTreeMap<String, BTreeMap<String, Bytes>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let folder = TempDir::with_prefix("reservoir-corpus").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/make.py");
        let made = Command::new("python3").arg(script).arg(folder.path()).status();
        assert!(made.unwrap().success(), "python3 makes the corpus");
        let kinds = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        kinds
            .filter(|kind| kind.file_type().unwrap().is_dir())
            .map(|kind| {
                let files = fs::read_dir(kind.path()).unwrap().map(|file| {
                    let file = file.unwrap();
                    (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap().into())
                });
                (kind.file_name().into_string().unwrap(), files.collect())
            })
            .collect()
    })
}

fn files(kind: &str) -> BTreeMap<String, Bytes> {
    corpus()[kind].clone()
}

async fn scan_with(scanner: ModelFiles, bytes: Bytes) -> Verdict {
    let store = MemoryStore::new();
    let blob = store.put_bytes(bytes).await.unwrap();
    scan_stored(scanner, &store, &blob).await
}

async fn scan_stored(scanner: ModelFiles, store: &dyn Store, blob: &Blob) -> Verdict {
    let subject = Subject {
        ecosystem: &"hf".parse().unwrap(),
        artifact: &"org/tiny".parse().unwrap(),
        revision: &"main".parse().unwrap(),
        path: &"org/tiny/file".parse().unwrap(),
        blob,
        store,
        inspection: &Inspection::default(),
    };
    scanner.scan(&subject).await.unwrap()
}

async fn scan(bytes: impl Into<Bytes>) -> Verdict {
    scan_with(ModelFiles::default(), bytes.into()).await
}

/// The rule of a finding, or `incomplete`, or `clean`.
fn rule(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::Finding { rule, .. } => rule,
        Verdict::Incomplete { .. } => "incomplete",
    }
}

/// What must be refused but cannot be looked into.
const CLOSED: &[&str] = &[
    "bomb.gz",
    "gguf-unknown-tensor-type.gguf",
    "gguf-version-9.gguf",
    "rar.pt",
    "seven-zip.pt",
    "too-deep",
    "zip-lzma.pt",
];

#[tokio::test]
async fn everything_that_could_run_is_flagged() {
    let files = files("flagged");
    assert!(files.len() >= 100, "{}", files.len());
    let mut missed = Vec::new();
    for (name, bytes) in files {
        let verdict = scan(bytes).await;
        let is_closed = matches!(verdict, Verdict::Incomplete { .. });
        if verdict == Verdict::Clean || is_closed != CLOSED.contains(&name.as_str()) {
            missed.push((name, verdict));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test]
async fn weights_and_texts_are_clean() {
    let files = files("clean");
    assert!(files.len() >= 40, "{}", files.len());
    let mut refused = Vec::new();
    for (name, bytes) in files {
        let verdict = scan(bytes).await;
        if verdict != Verdict::Clean {
            refused.push((name, verdict));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

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

#[tokio::test]
async fn noise_is_no_pickle() {
    for (name, bytes) in files("noise") {
        let verdict = scan(bytes).await;
        assert_eq!(verdict, Verdict::Clean, "{name}");
    }
}

/// The largest resident size of this process so far, in bytes (proc(5)). Each test has a process of its own (nextest).
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A pickle of 192 MiB with a word remembered every few bytes is judged in less memory than a third of it.
#[tokio::test]
async fn a_large_pickle_needs_little_memory() {
    let folder = TempDir::with_prefix("reservoir-large").unwrap();
    let url = format!("file://{}", folder.path().join("store").display());
    let store = reservoir_core::store::open(&url, ObjectStoreOptions::default()).await.unwrap();
    let mut batch = b"(".to_vec();
    for number in 0..20_000_u32 {
        batch.extend(b"\x8c\x08");
        batch.extend(format!("{number:08}").as_bytes());
        batch.extend(b"\x94](K\x01G\x3f\xf0\0\0\0\0\0\0e");
    }
    batch.push(b'u');
    let batch = Bytes::from(batch);
    let pieces = std::iter::once(Bytes::from_static(b"\x80\x04}\x94"))
        .chain(std::iter::repeat_n(batch.clone(), (192 << 20) / batch.len()))
        .chain([Bytes::from_static(b".")]);
    let pieces = futures::stream::iter(pieces.map(Ok)).boxed();
    let blob = store.put(pieces, PutOptions::default()).await.unwrap();
    assert_eq!(scan_stored(ModelFiles::default(), &store, &blob).await, Verdict::Clean);
    let peak = peak_memory();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

#[tokio::test]
async fn malformed_headers_are_found_in_under_a_second() {
    let files = files("malformed");
    assert!(files.len() >= 45, "{}", files.len());
    let mut accepted = Vec::new();
    for (name, bytes) in files {
        let started = Instant::now();
        let verdict = scan(bytes).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{name} took {:?}", started.elapsed());
        let expected = if name.ends_with("gguf") { "gguf-malformed" } else { "safetensors-malformed" };
        if rule(&verdict) != expected {
            accepted.push((name, verdict));
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[tokio::test]
async fn headers_have_two_limits() {
    let header = |bytes: usize| {
        let json = [&b"{"[..], &vec![b' '; bytes - 2], b"}"].concat();
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    };
    for (bytes, expected) in
        [(25_000_000, "clean"), (25_000_001, "incomplete"), (100_000_001, "safetensors-malformed")]
    {
        let file = header(bytes);
        assert_eq!(rule(&scan(file).await), expected, "{bytes}");
    }
}

#[tokio::test]
async fn the_gravest_thing_names_the_finding() {
    let files = files("flagged");
    let expected = [
        ("protocol-0", "pickle-dangerous-import"),
        ("unknown-library", "pickle-unknown-import"),
        ("computed-name", "pickle-computed-name"),
        ("memo-confusion", "pickle-computed-name"),
        ("build-on-class", "pickle-build"),
        ("ext1", "pickle-opcode"),
        ("trailing-bytes", "pickle-trailing-bytes"),
        ("torchscript.pt", "torchscript-code"),
        ("keras-lambda.keras", "keras-code"),
        ("keras-escaped.h5", "keras-code"),
        ("zip-orphan.pt", "pickle-dangerous-import"),
        ("zip-other-offset.pt", "zip-ambiguous"),
        ("zip-after-prefix.bin", "zip-polyglot"),
        ("torch-forged-descriptor.pt", "zip-ambiguous"),
        ("safetensors-zip-tail.safetensors", "safetensors-malformed"),
        ("gguf-zip-tail.gguf", "gguf-malformed"),
        ("safetensors-zip-in-data.safetensors", "zip-polyglot"),
        ("elf", "executable"),
    ];
    for (name, expected) in expected {
        let verdict = scan(files[name].clone()).await;
        assert_eq!(rule(&verdict), expected, "{name}: {verdict:?}");
    }
}

#[tokio::test]
async fn the_finding_says_where_and_what() {
    let verdict = scan(files("flagged")["torch-in-tar-gz.nemo"].clone()).await;
    let Verdict::Finding { detail, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(
        detail,
        "`contents!model_weights.ckpt!archive/data.pkl` imports `posix.system`; imports `posix:system` (dangerous)"
    );
}

#[tokio::test]
async fn limits_make_a_look_incomplete() {
    let files = files("clean");
    let torch = files["torch-many.pt"].clone();
    let few = Limits { members: 50, ..Limits::default() };
    let shallow = Limits { depth: 0, ..Limits::default() };
    for limits in [few, shallow] {
        let verdict = scan_with(ModelFiles::with_limits(limits), torch.clone()).await;
        assert!(matches!(verdict, Verdict::Incomplete { .. }), "{verdict:?}");
        let rules = ModelFiles::with_limits(limits).rules().await.unwrap();
        assert_ne!(rules, ModelFiles::default().rules().await.unwrap());
    }
}

#[tokio::test]
async fn what_is_cut_short_is_never_clean() {
    let files = files("clean");
    for name in
        ["torch-state-dict.pt", "nemo.tar.gz", "arrays.npz", "model.gguf", "model.safetensors", "data.txt.xz"]
    {
        let whole = &files[name];
        for at in (32..whole.len() - 1).step_by(whole.len() / 40 + 1) {
            let verdict = scan(whole.slice(..at)).await;
            assert_ne!(verdict, Verdict::Clean, "{name} cut at {at} of {}", whole.len());
        }
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_scanners() {
    let file = CleanFile {
        ecosystem: "hf".parse().unwrap(),
        artifact: "org/tiny".parse().unwrap(),
        revision: "main".parse().unwrap(),
        path: "org/tiny/model.safetensors".parse().unwrap(),
        bytes: files("clean")["torch-state-dict.pt"].clone(),
    };
    suite(&ModelFiles::default(), &file).await;
}

#[tokio::test]
async fn verdicts_become_the_fields_of_the_hub() {
    let row = |scanner: &str, verdict| VerdictRow {
        scanner: scanner.into(),
        rules: "1".into(),
        verdict,
        at: Timestamp::now(),
    };
    let flagged = scan(files("flagged")["torch.pt"].clone()).await;
    let status = security_file_status(&[row("integrity", Verdict::Clean), row(ModelFiles::ID, flagged)]);
    assert_eq!(status["status"], "unsafe");
    assert_eq!(status["avScan"]["status"], "unscanned");
    let pickles = &status["pickleImportScan"];
    assert_eq!(pickles["status"], "unsafe");
    let import = serde_json::json!({ "module": "posix", "name": "system", "safety": "dangerous" });
    assert_eq!(pickles["pickleImports"], serde_json::json!([import]));

    let clean = security_file_status(&[row(ModelFiles::ID, Verdict::Clean), row("clamav", Verdict::Clean)]);
    assert_eq!(
        [&clean["status"], &clean["avScan"]["status"], &clean["pickleImportScan"]["status"]],
        ["safe", "safe", "safe"]
    );
    let virus = Verdict::Finding { rule: "Eicar".into(), detail: "a virus".into() };
    assert_eq!(
        security_file_status(&[row(ModelFiles::ID, Verdict::Clean), row("clamav", virus)])["status"],
        "unsafe"
    );
    // What a scanner said by older rules gives way, and what another found is not hidden by our not looking.
    let virus = Verdict::Finding { rule: "Eicar".into(), detail: "a virus".into() };
    let corrected = [
        row(ModelFiles::ID, Verdict::Clean),
        VerdictRow { rules: "2".into(), ..row("clamav", Verdict::Clean) },
        row("clamav", virus.clone()),
    ];
    assert_eq!(security_file_status(&corrected)["status"], "safe");
    assert_eq!(security_file_status(&[row("clamav", virus)])["status"], "unsafe");
    assert_eq!(security_file_status(&[row("clamav", Verdict::Clean)])["status"], "unscanned");
    let cut = Verdict::Incomplete { reason: "cut".into() };
    assert_eq!(security_file_status(&[row(ModelFiles::ID, cut)])["status"], "error");
    assert_eq!(security_file_status(&[])["status"], "unscanned");
}

async fn labels_of(path: &str, bytes: impl Into<Bytes>) -> reservoir_core::Result<Vec<String>> {
    let store = MemoryStore::new();
    let blob = store.put_bytes(bytes.into()).await.unwrap();
    let path: ContentPath = path.parse().unwrap();
    let file = PulledFile {
        artifact: &"org/tiny".parse().unwrap(),
        revision: &"main".parse().unwrap(),
        path: &path,
        attributes: &BTreeMap::new(),
        blob: &blob,
        store: &store,
    };
    labels(&file).await
}

#[tokio::test]
async fn code_that_runs_when_asked_for_is_a_label() {
    let expected: [(&str, &str, &[&str]); 7] = [
        ("org/tiny/modeling.py", "print()", &["code:python"]),
        ("org/tiny/demo.ipynb", "{}", &["code:notebook"]),
        ("org/tiny/requirements.txt", "x", &["code:requirements"]),
        (
            "org/tiny/config.json",
            r#"{"auto_map": {"AutoModel": "other/repo--model.Net"}}"#,
            &["code:auto_map"],
        ),
        ("org/tiny/tokenizer_config.json", r#"{"chat_template": "{{ x }}"}"#, &["template:jinja"]),
        ("org/tiny/chat_template.jinja", "{{ x }}", &["template:jinja"]),
        ("org/tiny/README.md", "text", &[]),
    ];
    for (path, text, labels) in expected {
        assert_eq!(labels_of(path, text).await.unwrap(), labels, "{path}");
    }
}

/// Fields of protocol buffers: numbers of variable length, and bytes.
mod message {
    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint(&mut out, field << 3);
        varint(&mut out, value);
        out
    }

    pub(super) fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint(&mut out, field << 3 | 2);
        varint(&mut out, content.len() as u64);
        out.extend_from_slice(content);
        out
    }
}

/// An ONNX model of one node, with a tensor that says where it lies, in the field of a graph within an attribute.
fn onnx(domain: &str, place: Option<&str>) -> Vec<u8> {
    use message::{bytes, number};
    let tensor = place.map_or_else(
        || bytes(9, &[0; 64]),
        |place| {
            let pair = [bytes(1, b"location"), bytes(2, place.as_bytes())].concat();
            [bytes(13, &pair), number(14, 1)].concat()
        },
    );
    let inner = bytes(5, &tensor);
    let attribute = [bytes(1, b"body"), bytes(6, &inner), number(20, 5)].concat();
    let node = [bytes(4, b"If"), bytes(7, domain.as_bytes()), bytes(5, &attribute)].concat();
    [number(1, 8), bytes(7, &bytes(1, &node)), bytes(8, &number(2, 18))].concat()
}

#[tokio::test]
async fn onnx_files_tell_what_they_need() {
    let labels = async |bytes: Vec<u8>| labels_of("org/tiny/model.onnx", bytes).await;
    for (domain, place, expected) in [
        ("", None, &[][..]),
        ("com.microsoft", None, &[]),
        ("", Some("model.onnx_data"), &["onnx:external-data"]),
        ("", Some("deep/er/weights.bin"), &["onnx:external-data"]),
        ("ai.example.ops", None, &["code:onnx-operators"]),
    ] {
        assert_eq!(labels(onnx(domain, place)).await.unwrap(), expected, "{domain} {place:?}");
    }
    // What a model brings along as functions is no library of somebody else.
    let function = message::bytes(25, &message::bytes(10, b"ai.example.ops"));
    assert_eq!(
        labels([onnx("ai.example.ops", None), function].concat()).await.unwrap(),
        Vec::<String>::new()
    );
    for place in ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b", ""] {
        let refused = labels(onnx("", Some(place))).await.unwrap_err().to_string();
        assert!(refused.contains("onnx-external-path"), "{place:?}: {refused}");
    }
    let whole = onnx("", None);
    let cut = whole[..whole.len() - 3].to_vec();
    let mut deep = message::bytes(1, b"");
    for _ in 0..200 {
        deep = message::bytes(1, &message::bytes(5, &message::bytes(6, &deep)));
    }
    for bytes in [cut, message::bytes(7, &deep), b"text".to_vec(), Vec::new()] {
        assert_eq!(labels(bytes).await.unwrap(), ["onnx:unreadable"]);
    }
}

#[tokio::test]
async fn saved_models_tell_what_they_do_beside_computing() {
    use message::bytes;
    let node = |operator: &str| [bytes(1, b"node"), bytes(2, operator.as_bytes())].concat();
    let model = |graph: Vec<u8>| [message::number(1, 1), bytes(2, &bytes(2, &graph))].concat();
    let labels = async |bytes: Vec<u8>| labels_of("org/tiny/saved_model.pb", bytes).await.unwrap();
    assert_eq!(labels(model(bytes(1, &node("MatMul")))).await, ["code:savedmodel"]);
    assert_eq!(
        labels(model([bytes(1, &node("ReadFile")), bytes(1, &node("MatMul"))].concat())).await,
        ["code:savedmodel", "code:tensorflow-files"]
    );
    let function = bytes(1, &[bytes(1, b"signature"), bytes(3, &node("PyFunc"))].concat());
    assert_eq!(labels(model(bytes(2, &function))).await, ["code:savedmodel", "code:tensorflow-python"]);
    assert_eq!(labels(b"text".to_vec()).await, ["code:savedmodel"]);
    let keras = |text: &str| labels_of("org/tiny/keras_metadata.pb", text.to_owned());
    assert_eq!(keras("{\"class_name\": \"Lambda\"}").await.unwrap(), ["code:keras-lambda"]);
    assert_eq!(keras("{\"class_name\": \"Dense\"}").await.unwrap(), Vec::<String>::new());
}

/// A template within a GGUF file is as much code as one beside it.
#[tokio::test]
async fn templates_in_gguf_files_are_told() {
    let gguf = |key: &str, text: &str| {
        let string = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let counts = [0_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        [b"GGUF\x03\0\0\0".to_vec(), counts, string(key), 8_u32.to_le_bytes().to_vec(), string(text)].concat()
    };
    for (key, expected) in [
        ("tokenizer.chat_template", &["template:jinja"][..]),
        ("tokenizer.chat_template.tool_use", &["template:jinja"]),
        ("tokenizer.ggml.model", &[]),
    ] {
        let found = labels_of("org/tiny/model.gguf", gguf(key, "{{ x }}")).await.unwrap();
        assert_eq!(found, expected, "{key}");
    }
}

#[tokio::test]
async fn a_name_that_promises_safe_weights_must_keep_it() {
    for name in ["model.safetensors", "model.gguf"] {
        let good = files("clean")[name].clone();
        assert_eq!(labels_of(&format!("org/tiny/{name}"), good).await.unwrap(), Vec::<String>::new());
        for bytes in [Bytes::new(), Bytes::from_static(b"text"), files("flagged")["protocol-0"].clone()] {
            let refused = labels_of(&format!("org/tiny/{name}"), bytes).await.unwrap_err();
            assert!(refused.to_string().contains("malformed"), "{refused}");
        }
    }
}

fn scan_now(bytes: Vec<u8>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(scan(bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        scan_now(bytes);
    }

    #[test]
    fn no_operations_make_it_panic(
        operations in prop::collection::vec(prop::sample::select(&b".(012FIJKMNPQRSTUVXabcdeghijlopqrstu})]GBC\x80\
            \x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\n\0\x01"[..]), 0..400),
        declared in any::<bool>(),
    ) {
        let head: &[u8] = if declared { b"\x80\x04" } else { b"" };
        scan_now([head, &operations].concat());
    }

    /// A pickle that runs something stays flagged behind any values that Python accepts before it.
    #[test]
    fn nothing_before_it_hides_a_call(values in prop::collection::vec(any::<i32>(), 0..50), text in "[ -~]{0,300}") {
        let mut bytes = b"\x80\x04".to_vec();
        for value in values {
            bytes.push(b'J');
            bytes.extend(value.to_le_bytes());
            bytes.push(b'\x94');
        }
        bytes.push(b'X');
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(b"\x94\x8c\x02os\x8c\x06system\x93)R.");
        let verdict = scan_now(bytes);
        prop_assert_eq!(rule(&verdict), "pickle-dangerous-import");
    }

    #[test]
    fn no_mutation_makes_it_panic(which in any::<prop::sample::Index>(), edits in prop::collection::vec(
        (any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let all: Vec<Bytes> = ["flagged", "clean", "malformed"].into_iter()
            .flat_map(|kind| files(kind).into_values().filter(|bytes| (1..200_000).contains(&bytes.len()))).collect();
        let mut bytes = which.get(&all).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        scan_now(bytes.clone());
        bytes.truncate(cut.index(bytes.len()));
        scan_now(bytes);
    }

    #[test]
    fn no_message_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), edit in any::<(u16, u8)>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut model = onnx("ai.example.ops", Some("x"));
        let at = usize::from(edit.0) % model.len();
        model[at] = edit.1;
        for bytes in [bytes, model] {
            let _ = runtime.block_on(labels_of("org/tiny/model.onnx", bytes.clone()));
            let _ = runtime.block_on(labels_of("org/tiny/saved_model.pb", bytes));
        }
    }
}
