//! How fast model files are judged, and in how much memory: against `sha256sum` and picklescan on the same bytes.
//!
//! ```text
//! cargo bench -p reservoir-hf --bench model_scan [MEBIBYTES]
//! ```
//!
//! picklescan is taken from the virtual environment in `RESERVOIR_TEST_NUMPY` (the path of its `python`), where there
//! is one. Each file is scanned in a process of its own, from a store on disk, verified as always.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports to a person")]

use std::{
    env, fs,
    io::{BufWriter, Write as _},
    path::Path,
    process::Command,
    time::Instant,
};

use reservoir_core::{
    ecosystem::Inspection,
    gate::{Scanner as _, Subject, Verdict},
    store::{Blob, ObjectBlobs, ObjectStoreOptions, PutOptions, Store},
};
use reservoir_hf::safety::ModelFiles;

/// Set for the process that scans: the folder with store and blob.
const SCAN: &str = "RESERVOIR_BENCH_SCAN";
const ROUNDS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(folder) = env::var(SCAN) {
        runtime.block_on(scan(Path::new(&folder)));
        return;
    }
    let mebibytes = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(256);
    println!("| file | MiB | scan MiB/s | MiB/CPU s | peak RSS MiB | of sha256sum | of picklescan |");
    println!("|---|---|---|---|---|---|---|");
    for (name, shape) in [("pickle of many small values", "dense"), ("state dict (ZIP of tensors)", "torch")]
    {
        runtime.block_on(measure(name, shape, mebibytes));
    }
}

async fn measure(name: &str, shape: &str, mebibytes: usize) {
    let folder = tempfile::TempDir::with_prefix("reservoir-bench").unwrap();
    let file = folder.path().join("model.bin");
    write(&file, shape, mebibytes);
    let size = fs::metadata(&file).unwrap().len() as f64 / f64::from(1 << 20);
    let copy = folder.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    let blob = open(folder.path()).await.put_file(&copy, PutOptions::default()).await.unwrap();
    fs::write(folder.path().join("blob.json"), serde_json::to_vec(&blob).unwrap()).unwrap();

    let (mut ours, mut processor, mut peak, mut theirs) = (f64::MAX, f64::MAX, 0.0_f64, f64::MAX);
    for _ in 0..ROUNDS {
        let output = Command::new(env::current_exe().unwrap()).env(SCAN, folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut figures = text.split_whitespace().map(|figure| figure.parse::<f64>().unwrap());
        ours = ours.min(figures.next().unwrap());
        processor = processor.min(figures.next().unwrap());
        peak = peak.max(figures.next().unwrap());
        let started = Instant::now();
        assert!(Command::new("sha256sum").arg(&file).output().unwrap().status.success());
        theirs = theirs.min(started.elapsed().as_secs_f64());
    }
    let picklescan = env::var("RESERVOIR_TEST_NUMPY").ok().and_then(|python| {
        let pickle = folder.path().join(if shape == "dense" { "model.pkl" } else { "model.pt" });
        fs::rename(&file, &pickle).unwrap();
        let program = Path::new(&python).with_file_name("picklescan");
        let started = Instant::now();
        let ran = Command::new(program).arg("--path").arg(&pickle).output().ok()?;
        ran.status.success().then(|| started.elapsed().as_secs_f64())
    });
    println!(
        "| {name} | {size:.0} | {:.0} | {:.0} | {peak:.0} | {:.0} % | {} |",
        size / ours,
        size / processor,
        theirs / ours * 100.0,
        picklescan.map_or("not there".into(), |seconds| format!("{:.0} x", seconds / ours)),
    );
}

async fn open(folder: &Path) -> ObjectBlobs {
    reservoir_core::store::open(
        &format!("file://{}", folder.join("store").display()),
        ObjectStoreOptions::default(),
    )
    .await
    .unwrap()
}

/// Scans the blob and prints seconds, seconds of the processor and the largest resident size in MiB.
async fn scan(folder: &Path) {
    let store = open(folder).await;
    let blob: Blob = serde_json::from_slice(&fs::read(folder.join("blob.json")).unwrap()).unwrap();
    let subject = Subject {
        ecosystem: &"hf".parse().unwrap(),
        artifact: &"org/tiny".parse().unwrap(),
        revision: &"main".parse().unwrap(),
        path: &"org/tiny/model.bin".parse().unwrap(),
        blob: &blob,
        store: &store,
        inspection: &Inspection::default(),
    };
    let (started, processor) = (Instant::now(), processor_seconds());
    let verdict = ModelFiles::default().scan(&subject).await.unwrap();
    let (seconds, processor) = (started.elapsed().as_secs_f64(), processor_seconds() - processor);
    assert_eq!(verdict, Verdict::Clean);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{seconds} {processor} {}", kibibytes / 1024.0);
}

/// User and system time of this process (proc(5)), in hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// A pickle of a dictionary from words to lists of numbers, or a ZIP as PyTorch writes it with one large storage.
fn write(path: &Path, shape: &str, mebibytes: usize) {
    let mut out = BufWriter::new(fs::File::create(path).unwrap());
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    let total = mebibytes << 20;
    if shape == "dense" {
        out.write_all(b"\x80\x04}\x94").unwrap();
        let mut written = 0;
        while written < total {
            let mut batch = b"(".to_vec();
            for _ in 0..1000 {
                let word = format!("{:x}", next());
                batch.extend([0x8c, word.len() as u8]);
                batch.extend(word.as_bytes());
                batch.extend(b"\x94](");
                for _ in 0..4 {
                    batch.push(b'G');
                    batch.extend(next().to_be_bytes());
                    batch.extend([b'K', next() as u8]);
                }
                batch.extend(b"e");
            }
            batch.push(b'u');
            out.write_all(&batch).unwrap();
            written += batch.len();
        }
        out.write_all(b".").unwrap();
    } else {
        // Plain stored members by a library: sizes are in front of the data.
        out.flush().unwrap();
        let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file("archive/data.pkl", options).unwrap();
        archive.write_all(b"\x80\x02ccollections\nOrderedDict\n)R.").unwrap();
        archive.start_file("archive/data/0", options.large_file(false)).unwrap();
        for _ in 0..total / 65536 {
            let block: Vec<u8> = (0..8192).flat_map(|_| next().to_le_bytes()).collect();
            archive.write_all(&block).unwrap();
        }
        archive.finish().unwrap();
    }
}
