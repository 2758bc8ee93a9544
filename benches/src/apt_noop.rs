//! A sync of a whole suite that finds nothing new: one request, and how long that takes.

use std::{fs, path::Path};

use reservoir_core::{
    clock::Timestamp,
    digest::Sha256Digest,
    openpgp::{Signer, SigningKey},
    testing::upstream::{Reply, Upstream},
};
use tempfile::TempDir;

use crate::{
    Effort, Result, apt_suite,
    binary::{Home, Reservoir},
    deb::Deb,
    table::{Table, time, verdict},
};

/// Most seconds that it may take.
const TARGET: f64 = 1.0;
const INDEX: &str = "dists/bookworm/main/binary-amd64/Packages.gz";

/// # Errors
/// When anything but one conditional request was made: then it was no such sync.
pub(crate) async fn run(reservoir: &Reservoir, effort: Effort) -> Result<Table> {
    let folder = TempDir::with_prefix("reservoir-bench")?;
    let packages = folder.path().join("Packages");
    let records = apt_suite::index(&packages, effort)? + 1;
    let upstream = Upstream::start().await;
    let home = reservoir.init()?;
    serve(&upstream, &packages, &home)?;
    let first = home.run(&["sync", "bookworm"])?;

    let (mut nothing, mut asked) = (f64::MAX, 0);
    for _ in 0..effort.rounds {
        let before = upstream.requests().len();
        nothing = nothing.min(home.run(&["sync", "bookworm"])?.seconds);
        let requests = upstream.requests();
        let conditional = requests[before..].iter().filter(|one| !one.header("if-none-match").is_empty());
        asked = requests.len() - before;
        if (asked, conditional.count()) != (1, 1) {
            return Err(format!("a sync of an unchanged suite made {asked} requests").into());
        }
    }
    let columns = ["", "requests", "time", "peak memory", "target"];
    let mut table = Table::new(format!("A sync of an unchanged suite of {records} packages"), &columns);
    let memory = format!("{} MiB", first.peak_memory >> 20);
    let none = String::new;
    table.row(["the first".into(), "3".into(), time(first.seconds), memory, none()]);
    let target = verdict(nothing < TARGET && asked == 1, "one request, 1 s");
    table.row(["nothing new".into(), asked.to_string(), time(nothing), none(), target]);
    table.note(format!(
        "Whole processes from start to end, the second row best of {}. Every package of the suite is known and judged \
         by the selection; the bytes of one are mirrored. A sync that finds nothing new ends before it looks at the \
         selection, so how many are mirrored makes no difference to it.",
        effort.rounds
    ));
    Ok(table)
}

/// The suite and one package of it; a repository that mirrors that package.
fn serve(upstream: &Upstream, packages: &Path, home: &Home) -> Result<()> {
    let deb = Deb::new("reservoir-benchmark", "1.0", "amd64");
    let bytes = deb.build();
    let mut text = fs::read_to_string(packages)?;
    text.push_str(&deb.stanza(&deb.pool(), &bytes));
    text.push_str("\n\n");
    upstream.route(format!("/{}", deb.pool()), Reply::ok(bytes));

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, text.as_bytes())?;
    let packed = packed.finish()?;
    let plain = INDEX.trim_end_matches(".gz").trim_start_matches("dists/bookworm/");
    let release = format!(
        "Origin: Example\nSuite: bookworm\nCodename: bookworm\nDate: {}\nArchitectures: amd64\nComponents: main\nSHA256:\n \
         {} {} {plain}\n {} {} {plain}.gz\n",
        Timestamp::now().to_jiff().strftime("%a, %d %b %Y %H:%M:%S UTC"),
        Sha256Digest::of(text.as_bytes()),
        text.len(),
        Sha256Digest::of(&packed),
        packed.len(),
    );
    let signer: Signer = SigningKey::generate("Benchmark <bench@example.com>")?.into();
    let inline = signer.clearsign(&release, Timestamp::now())?;
    upstream.route(format!("/{INDEX}"), Reply::ok(packed));
    upstream.route("/dists/bookworm/InRelease", Reply::ok(inline).etag("\"one\""));
    let keyring = home.folder().join("archive.asc");
    fs::write(&keyring, signer.armored_public()?)?;
    let document = format!(
        "[[registry]]\nname = \"archive\"\necosystem = \"apt\"\nurl = \"{}\"\nkeyring = \"{}\"\n\n\
         [[repository]]\nname = \"bookworm\"\necosystem = \"apt\"\nregistry = \"archive\"\nsuites = [\"bookworm\"]\n\
         components = [\"main\"]\narchitectures = [\"amd64\"]\npackages = [\"reservoir-benchmark\"]\n",
        upstream.url("/"),
        keyring.display(),
    );
    let file = home.folder().join("mirror.toml");
    fs::write(&file, document)?;
    home.run(&["apply", &file.display().to_string()]).map(drop)
}
