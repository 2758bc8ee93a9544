//! What the commands about bundles print.

use schemars::JsonSchema;
use serde::Serialize;

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Serialize, JsonSchema)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        })*
    };
}

rows! {
    /// `key show`
    KeyOutput {
        /// Its short name, as `minisign` prints it.
        name: String,
        /// The public key, 64 hexadecimal digits.
        public: String,
        /// A minisign public key file.
        file: String,
    }
    /// One key in `key list`; also `key trust`, `key distrust`.
    TrustedKeyRow {
        /// Its short name, as `minisign` prints it.
        name: String,
        /// The public key, 64 hexadecimal digits.
        public: String,
        /// Whose it is.
        comment: String,
        /// What is asked of what it brings: `evidence`, `scanners`, `person`.
        accept: String,
        /// The short name of the key that it takes the place of.
        predecessor: Option<String>,
        /// Whether it is trusted now.
        trusted: bool,
    }
    /// `key list`
    KeysOutput {
        /// The oldest first.
        keys: Vec<TrustedKeyRow>,
    }
    /// `export`
    ExportOutput {
        /// The destination.
        site: String,
        /// Its stream.
        stream: String,
        /// The number of the bundle; absent when there was nothing new to send.
        sequence: Option<u64>,
        /// The digest of its header.
        bundle: Option<String>,
        /// Whether it was written, or only worked out.
        written: bool,
        /// `full` or `delta`.
        kind: String,
        /// Its refs.
        refs: Vec<CarriedRefRow>,
        /// Blobs in it.
        blobs: u64,
        /// Payload bytes.
        bytes: u64,
        /// Blobs of which only the pieces that changed are in it.
        patched: u64,
        /// Bytes that this saves.
        saved_bytes: u64,
        /// Bytes of records and lists.
        metadata_bytes: u64,
        /// What to write on the media.
        volumes: Vec<String>,
        /// Parity volumes beside them.
        parity_volumes: u32,
        /// Bytes of all of those.
        parity_bytes: u64,
        /// Payload bytes that an earlier run had written.
        resumed_at: u64,
        /// Revisions that travel as metadata only.
        metadata_only: u64,
        /// Those of them that were expected to have files.
        missing: Vec<String>,
    }
    /// A ref in a bundle.
    CarriedRefRow {
        /// The repository.
        repository: String,
        /// Its ecosystem.
        ecosystem: String,
        /// The ref.
        r#ref: String,
        /// The number of the snapshot where it was made.
        number: u64,
        /// The content root.
        content: String,
    }
    /// `load`
    LoadOutput {
        /// The bundles, in the order in which they were taken.
        bundles: Vec<LoadedRow>,
        /// Whether nothing was to be changed.
        dry_run: bool,
    }
    /// One bundle in `load`.
    LoadedRow {
        /// The stream.
        stream: String,
        /// What the sender calls this place.
        site: String,
        /// The number of the bundle.
        sequence: u64,
        /// The digest of its header.
        bundle: String,
        /// Whether it is applied now.
        applied: bool,
        /// Whether it was applied before.
        already: bool,
        /// Blobs in it.
        blobs: u64,
        /// Bytes of those that were not here.
        new_bytes: u64,
        /// Its repositories.
        repositories: Vec<LoadedRepositoryRow>,
        /// Volumes that are still to come.
        missing: Vec<VolumeRow>,
        /// Volumes that were damaged or lost, and made again from parity volumes.
        repaired: Vec<VolumeRow>,
        /// Refs that this place made itself and the sender too: they stay as they are here.
        kept_refs: Vec<String>,
        /// What was rolled back here, or promoted over, and is as the sender has it again.
        undone: Vec<String>,
        /// Revisions that wait for a person here.
        waiting: Vec<String>,
    }
    /// One repository in `load`.
    LoadedRepositoryRow {
        /// Its name.
        repository: String,
        /// Whether this load made it.
        created: bool,
        /// The snapshot that was published.
        snapshot: Option<u64>,
        /// Revisions that became AVAILABLE.
        admitted: u64,
    }
    /// One volume.
    VolumeRow {
        /// Its number, from 1.
        index: u32,
        /// What is written on its medium.
        label: String,
    }
    /// `inventory`
    InventoryOutput {
        /// Files written.
        files: Vec<String>,
        /// Bytes of the inventory.
        bytes: u64,
    }
    /// A scanner of the sender.
    ScannerRow {
        /// The scanner.
        scanner: String,
        /// The version of its rules.
        rules: String,
    }
    /// `bundle inspect`, `bundle verify`
    InspectOutput {
        /// The digest of its header.
        bundle: String,
        /// The short name of the key that signed it, which is trusted here.
        key: String,
        /// Whose key that is.
        signer: String,
        /// What is asked here of what that key brings: `evidence`, `scanners`, `person`.
        accept: String,
        /// The version of its format.
        format: String,
        /// The destination.
        site: String,
        /// The stream.
        stream: String,
        /// The number.
        sequence: u64,
        /// The number of the bundle that it follows.
        follows: Option<u64>,
        /// The digest of the header of that bundle.
        previous: Option<String>,
        /// `full` or `delta`.
        kind: String,
        /// The digests of the content that must be here already.
        base: Vec<String>,
        /// The digest of the policy by which its content was let in.
        policy: String,
        /// The rules of the scanners that judged it.
        scanners: Vec<ScannerRow>,
        /// Where the audit log of the sender stood: its last record.
        audit_seq: i64,
        /// The hash of that record.
        audit_hash: String,
        /// When it was made, RFC 3339.
        created: String,
        /// Until when it is taken, RFC 3339.
        expires: Option<String>,
        /// Its refs.
        refs: Vec<CarriedRefRow>,
        /// Blobs in it.
        blobs: u64,
        /// Payload bytes.
        bytes: u64,
        /// Blobs that travel as patches of blobs that are here.
        patched: u64,
        /// Lines of its records.
        records: u64,
        /// Volumes in all.
        volumes: u32,
        /// What is written on the media, in order.
        labels: Vec<String>,
        /// Parity volumes, in per cent of the payload.
        parity: Option<u32>,
        /// Volumes that are not here.
        missing: Vec<VolumeRow>,
        /// Whether it was written to its end.
        finished: bool,
        /// What is damaged, where parity volumes can make it good.
        damage: Option<String>,
        /// The volumes that `load` would make again.
        repairable: Vec<VolumeRow>,
        /// Whether it was applied here.
        already: bool,
        /// Why it would not be taken now.
        refused: Option<String>,
        /// Whether every byte was checked.
        verified: bool,
    }
}
