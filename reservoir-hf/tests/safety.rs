//! The scanner of model files against its corpus, mutations of it, and the contract of scanners.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "safety/labels.rs"]
mod labels;
#[path = "safety/limits.rs"]
mod limits;
#[path = "safety/oracles.rs"]
mod oracles;

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::OnceLock};

use bytes::Bytes;
use proptest::prelude::*;
use reservoir_core::{
    catalog::VerdictRow,
    clock::Timestamp,
    ecosystem::{Inspection, PulledFile},
    gate::{Scanner as _, Subject, Verdict},
    path::ContentPath,
    store::{Blob, Store, StoreExt as _},
    testing::{
        memory::MemoryStore,
        scanner::{CleanFile, suite},
    },
};
use reservoir_hf::safety::{ModelFiles, labels, security_file_status};
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

#[tokio::test]
async fn noise_is_no_pickle() {
    for (name, bytes) in files("noise") {
        let verdict = scan(bytes).await;
        assert_eq!(verdict, Verdict::Clean, "{name}");
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
