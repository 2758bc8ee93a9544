//! key, export, load, inventory, bundle: what crosses the gap.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use reservoir_core::{
    Base, Engine, Error, ExportOptions, Exported, Inspected, Loaded, Medium, Result,
    bundle::{BundleKey, CarriedRef, Kind, StreamKey, Target, inventory},
    catalog::{Accept, TrustedKey},
    name::Actor,
};

use super::{input, repository};
use crate::{
    cli::{BundleCommand, Cli, ExportArgs, KeyCommand, STANDARD},
    home::Home,
    output::bundle::{
        CarriedRefRow, ExportOutput, InspectOutput, InventoryOutput, KeyOutput, KeysOutput, LoadOutput,
        LoadedRepositoryRow, LoadedRow, ScannerRow, TrustedKeyRow, VolumeRow,
    },
    print, progress,
};

/// The largest key or signature file, in bytes.
const KEY_FILE: u64 = 4096;

pub(crate) async fn key(
    cli: &Cli,
    home: &Home,
    engine: &Engine,
    command: &KeyCommand,
    actor: &Actor,
) -> Result<u8> {
    Ok(match command {
        KeyCommand::Show => {
            let key = home.bundle_key()?.public();
            print(cli, &KeyOutput { name: key.name(), public: key.to_string(), file: key.to_file() })
        }
        KeyCommand::Rotate => print(cli, &rotate(home)?),
        KeyCommand::List => {
            let keys = engine.catalog().trusted_keys().await?;
            print(cli, &KeysOutput { keys: keys.iter().map(|key| row(key, true)).collect() })
        }
        KeyCommand::Trust { file, accept, comment } => {
            print(cli, &trust(engine, file, accept.as_deref(), comment.clone(), actor).await?)
        }
        KeyCommand::Distrust { name } => print(cli, &distrust(engine, name, actor).await?),
    })
}

/// Puts a new key in the place of the old one, which signs it.
fn rotate(home: &Home) -> Result<KeyOutput> {
    let old = home.bundle_key()?;
    let new = StreamKey::generate()?;
    let file = new.public().to_file();
    let signature =
        old.sign(file.as_bytes(), &format!("the key that takes the place of {}", old.public().name()));
    home.replace_bundle_key(&new, &old, &file, &signature)?;
    Ok(KeyOutput { name: new.public().name(), public: new.public().to_string(), file })
}

async fn trust(
    engine: &Engine,
    file: &Path,
    accept: Option<&str>,
    comment: Option<String>,
    actor: &Actor,
) -> Result<TrustedKeyRow> {
    let text = input::read_text(file, KEY_FILE)?;
    let public = BundleKey::from_file(&text)?;
    let known = engine.catalog().trusted_keys().await?;
    let mut before = known.iter().find(|key| key.public == public);
    // A key that the one before has signed takes over its streams.
    let beside = PathBuf::from(format!("{}.minisig", file.display()));
    let mut predecessor = None;
    if beside.exists() {
        let signature = input::read_carried_text(&beside, KEY_FILE)?;
        let keys: Vec<BundleKey> = known.iter().map(|key| key.public).collect();
        let signer = BundleKey::verify_any(&keys, "the new key", text.as_bytes(), &signature)?;
        predecessor = Some(signer);
        before = before.or_else(|| known.iter().find(|key| key.public == signer));
    }
    let key = TrustedKey {
        public,
        comment: comment.or_else(|| before.map(|key| key.comment.clone())).unwrap_or_default(),
        accept: match accept {
            Some(accept) => accept.parse()?,
            None => before.map_or_else(Accept::default, |key| key.accept),
        },
        predecessor,
        added_at: engine.catalog().clock().now(),
    };
    engine.catalog().trust_key(&key, actor).await?;
    Ok(row(&key, true))
}

async fn distrust(engine: &Engine, name: &str, actor: &Actor) -> Result<TrustedKeyRow> {
    let keys = engine.catalog().trusted_keys().await?;
    let found =
        keys.iter().find(|key| key.public.name() == name.to_uppercase() || key.public.to_string() == name);
    let key = found.ok_or_else(|| Error::not_found("trusted key", name))?;
    engine.catalog().distrust_key(&key.public, actor).await?;
    Ok(row(key, false))
}

fn row(key: &TrustedKey, trusted: bool) -> TrustedKeyRow {
    TrustedKeyRow {
        name: key.public.name(),
        public: key.public.to_string(),
        comment: key.comment.clone(),
        accept: key.accept.to_string(),
        predecessor: key.predecessor.map(|key| key.name()),
        trusted,
    }
}

pub(crate) async fn export(cli: &Cli, engine: &Engine, arguments: &ExportArgs, actor: Actor) -> Result<u8> {
    let options = ExportOptions {
        repositories: arguments.repos.iter().map(|name| repository(name)).collect::<Result<_>>()?,
        site: arguments.to.clone(),
        base: base(arguments)?,
        volume_size: arguments.volume_size.as_deref().map(size).transpose()?,
        whole_blobs: arguments.whole,
        parity: arguments.parity,
        expires: arguments.expires.map(|days| Duration::from_secs(days.saturating_mul(86400))),
    };
    if arguments.dry_run {
        let report = engine.plan_export(options).await?;
        return Ok(print(cli, &exported(report, false)));
    }
    let target = if cli.gives_stream() {
        if std::io::stdout().is_terminal() {
            return Err(Error::invalid(
                "-",
                "is standard output, which is a terminal; send it to a program or a file",
            ));
        }
        Target::Stream(Box::new(std::io::stdout()))
    } else {
        Target::Folder(arguments.out.clone())
    };
    let task = engine.export(options, target, actor).await?;
    let report = progress::follow(engine, task, cli.json).await?;
    Ok(print(cli, &exported(report, true)))
}

fn base(arguments: &ExportArgs) -> Result<Base> {
    Ok(match (arguments.full, arguments.since, &arguments.have) {
        (true, ..) => Base::Nothing,
        (_, Some(sequence), _) => Base::Since(sequence),
        (_, _, Some(file)) => {
            let signature = PathBuf::from(format!("{}.minisig", file.display()));
            let signature = input::read_carried_text(&signature, KEY_FILE)?;
            Base::Inventory(input::read_carried(file, inventory::LIMIT as u64)?, signature)
        }
        _ => Base::Ledger,
    })
}

/// `25GB`, `4480MiB`, `700000000`.
fn size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000 * 1000,
        "g" | "gb" => 1000 * 1000 * 1000,
        "t" | "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        unit => {
            return Err(Error::invalid(
                "--volume-size",
                format!("`{unit}` is no unit; use MB, GB, MiB, GiB"),
            ));
        }
    };
    let count: u64 =
        digits.parse().map_err(|_| Error::invalid("--volume-size", format!("`{text}` is no size")))?;
    count.checked_mul(unit).ok_or_else(|| Error::invalid("--volume-size", format!("`{text}` is too large")))
}

pub(crate) async fn load(
    cli: &Cli,
    engine: &Engine,
    paths: &[PathBuf],
    dry_run: bool,
    actor: Actor,
) -> Result<u8> {
    let medium = match paths {
        [path] if path == Path::new(STANDARD) => Medium::Stream(Box::new(std::io::stdin())),
        paths if paths.iter().any(|path| path == Path::new(STANDARD)) => {
            let detail = "is a stream on standard input, and comes alone; load the folders by themselves";
            return Err(Error::invalid(format!("`{STANDARD}`"), detail));
        }
        paths => Medium::Paths(paths.to_vec()),
    };
    let task = engine.load(medium, dry_run, actor).await?;
    let bundles = progress::follow(engine, task, cli.json).await?;
    Ok(print(cli, &LoadOutput { bundles: bundles.into_iter().map(loaded).collect(), dry_run }))
}

pub(crate) async fn inventory(engine: &Engine, out: &Path) -> Result<InventoryOutput> {
    let (document, signature) = engine.inventory().await?;
    let beside = PathBuf::from(format!("{}.minisig", out.display()));
    for (path, bytes) in [(out, &document[..]), (&beside, signature.as_bytes())] {
        std::fs::write(path, bytes).map_err(Error::io(format!("write `{}`", path.display())))?;
    }
    let files = [out, &beside].map(|path| path.display().to_string()).to_vec();
    Ok(InventoryOutput { files, bytes: document.len() as u64 })
}

pub(crate) async fn bundle(engine: &Engine, command: &BundleCommand) -> Result<InspectOutput> {
    match command {
        BundleCommand::Inspect { path } => Ok(inspected(engine.inspect_bundle(path.clone()).await?, false)),
        BundleCommand::Verify { path } => Ok(inspected(engine.verify_bundle(path.clone()).await?, true)),
    }
}

fn kind(full: bool) -> String {
    if full { "full".into() } else { "delta".into() }
}

fn refs(refs: Vec<CarriedRef>) -> Vec<CarriedRefRow> {
    let row = |carried: CarriedRef| CarriedRefRow {
        repository: carried.repository.to_string(),
        ecosystem: carried.ecosystem.to_string(),
        r#ref: carried.reference.to_string(),
        number: carried.number,
        content: carried.snapshot.to_string(),
    };
    refs.into_iter().map(row).collect()
}

fn volumes(missing: Vec<(u32, String)>) -> Vec<VolumeRow> {
    missing.into_iter().map(|(index, label)| VolumeRow { index, label }).collect()
}

fn exported(report: Exported, written: bool) -> ExportOutput {
    ExportOutput {
        site: report.site,
        stream: report.stream.to_string(),
        sequence: report.sequence,
        bundle: report.bundle.map(|bundle| bundle.to_string()),
        written: written && report.sequence.is_some(),
        kind: kind(report.full),
        refs: refs(report.refs),
        blobs: report.blobs,
        bytes: report.bytes,
        patched: report.patched.0,
        saved_bytes: report.patched.1,
        metadata_bytes: report.metadata_bytes,
        volumes: report.volumes,
        parity_volumes: report.parity,
        parity_bytes: report.parity_bytes,
        resumed_at: report.resumed_at,
        metadata_only: report.metadata_only,
        missing: report.missing,
    }
}

fn loaded(report: Loaded) -> LoadedRow {
    let repository = |row: reservoir_core::LoadedRepository| LoadedRepositoryRow {
        repository: row.repository.to_string(),
        created: row.created,
        snapshot: row.snapshot,
        admitted: row.admitted,
    };
    LoadedRow {
        stream: report.stream.to_string(),
        site: report.site,
        sequence: report.sequence,
        bundle: report.bundle.map(|bundle| bundle.to_string()).unwrap_or_default(),
        applied: report.applied,
        already: report.already,
        blobs: report.blobs,
        new_bytes: report.new_bytes,
        repositories: report.repositories.into_iter().map(repository).collect(),
        missing: volumes(report.missing),
        repaired: volumes(report.repaired),
        kept_refs: report.kept_refs,
        undone: report.undone,
        waiting: report.waiting,
    }
}

fn inspected(report: Inspected, verified: bool) -> InspectOutput {
    let header = report.header;
    let all_refs = header.all_refs().cloned().collect();
    let verified = verified && report.damage.is_none();
    let labels = (1..=header.volumes.count).map(|index| header.label(index)).collect();
    let scanner = |(scanner, rules)| ScannerRow { scanner, rules };
    let scanners = header.scanner_data.into_iter().map(scanner).collect();
    InspectOutput {
        bundle: report.bundle.to_string(),
        key: report.signer.public.name(),
        signer: report.signer.comment,
        accept: report.signer.accept.to_string(),
        format: header.format,
        site: header.site,
        stream: header.stream.to_string(),
        sequence: header.sequence,
        follows: header.follows,
        previous: header.previous.map(|previous| previous.to_string()),
        kind: kind(header.kind == Kind::Full),
        base: header.base.iter().map(ToString::to_string).collect(),
        policy: header.policy.to_string(),
        scanners,
        audit_seq: header.audit_checkpoint.seq,
        audit_hash: header.audit_checkpoint.hash.to_string(),
        created: header.created.to_string(),
        expires: header.expires.map(|expires| expires.to_string()),
        refs: refs(all_refs),
        blobs: header.objects.lines,
        bytes: header.volumes.payload,
        patched: header.patches.len() as u64,
        records: header.records.lines,
        volumes: header.volumes.count,
        labels,
        parity: header.parity,
        missing: volumes(report.missing),
        finished: report.finished,
        damage: report.damage,
        repairable: volumes(report.repairable),
        already: report.already,
        refused: report.refused,
        verified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [("700", 700), ("25GB", 25_000_000_000), ("4480MiB", 4480 << 20), ("1k", 1000)] {
            assert_eq!(size(text).unwrap(), bytes);
        }
        for text in ["", "GB", "1.5GB", "-1", "5XB", "99999999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
