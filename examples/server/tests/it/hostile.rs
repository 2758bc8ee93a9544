//! Registries that mean harm: what they send is refused with a reason, and nothing of it is kept or followed.

use std::time::{Duration, Instant};

use reservoir_core::testing::upstream::{Reply, Upstream};

use super::support::{
    dist::{Wheel, metadata, tar_gz},
    home::Home,
    index::{File, Index, Style, page_path, wheel},
    raw_zip::RawZip,
    web::files,
};

#[tokio::test(flavor = "multi_thread")]
async fn case_37_names_and_addresses_that_lead_astray() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let trap = Upstream::start().await;
    trap.route("/trap.whl", Reply::ok("trapped"));
    let long = format!("alpha-{}-py3-none-any.whl", "1".repeat(5000));
    let file = |name: &str| File::new(name, b"hostile".to_vec());
    let local = trap.url("/trap.whl").to_string().replace("127.0.0.1", "localhost");
    for hostile in [
        file("../../x-1-py3-none-any.whl"),
        file("C:\\x-1-py3-none-any.whl"),
        file("alpha-1.1\0-py3-none-any.whl"),
        file(&long),
        file("alpha-2.0-py3-none-any.whl").at("javascript:alert(1)"),
        file("alpha-2.1-py3-none-any.whl").at("file:///etc/passwd"),
        file("alpha-2.2-py3-none-any.whl").at("gopher://example.com/x"),
        file("alpha-2.3-py3-none-any.whl").at("http://user:password@example.com/x.whl"),
        file("alpha-2.4-py3-none-any.whl").at("http://169.254.169.254/latest/meta-data/x.whl"),
        file("alpha-2.5-py3-none-any.whl").at(local),
        file("alpha-2.6-py3-none-any.whl").at("http://[::ffff:169.254.169.254]/x.whl"),
    ] {
        index.add("alpha", hostile);
    }
    let home = Home::with(&index.mirror(&["alpha"], "whole = true"));
    let (status, report) = home.json(["sync", "python"]);
    assert!([0, 3].contains(&status), "{report:#}");
    let serving = home.serve();
    let listed = files(&serving.simple("python"), "alpha").await;
    assert_eq!(listed, ["alpha-1.0-py3-none-any.whl"], "{report:#}");
    assert_eq!(trap.connections(), 0, "{report:#}");
    assert!(!report.to_string().contains("password@"), "{report:#}");
    let refused = report["skipped"].as_array().unwrap().len() + report["failed"].as_array().unwrap().len();
    assert!(refused >= 11, "each is told: {report:#}");
}

/// Pages that grow without end, and one that is nested without end. Each is an alarm of its project alone.
#[tokio::test(flavor = "multi_thread")]
async fn case_38_pages_that_never_end() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let json = "application/vnd.pypi.simple.v1+json";
    let anchors = "<a href=x>x</a>".repeat(5_000_000);
    let nested = format!("{{\"files\":{}", "[".repeat(100_000));
    let hostile = [
        ("bomb", Reply::gzip_bomb(200 << 20).content_type("text/html")),
        ("nested", Reply::ok(nested).content_type(json)),
        ("anchors", Reply::ok(anchors).content_type("text/html")),
        ("type", Reply::ok("\u{1}").content_type("application/x-shockwave-flash")),
    ];
    let mut packages = vec!["alpha"];
    for (project, reply) in hostile {
        index.upstream.route(page_path(project), reply);
        packages.push(project);
    }
    let home = Home::with(&index.mirror(&packages, ""));
    let start = Instant::now();
    let (run, peak) = home.peak(["--json", "sync", "python"]);
    let report: serde_json::Value = serde_json::from_str(&run.expect(3).stdout).unwrap();
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    assert!(peak < 256 << 10, "{peak} KiB");
    let alarms = report["alarms"].as_array().unwrap();
    assert_eq!(alarms.len(), 4, "{report:#}");
    assert_eq!(report["admitted"], 1, "the honest project is served: {report:#}");
}

/// Archives that two readers read differently, or that reach out of their folder: each refused with the name of
/// its rule, none stored as available.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_to_43_hostile_archives_are_refused_by_rule() {
    let index = Index::json().await;
    let mut packages = Vec::new();
    for (name, bytes) in hostile_wheels() {
        index.add(name, File::new(format!("{name}-1.0-py3-none-any.whl"), bytes));
        packages.push(name);
    }
    for (name, bytes) in hostile_sdists() {
        index.add(name, File::new(format!("{name}-1.0.tar.gz"), bytes));
        packages.push(name);
    }
    let home = Home::with(&index.mirror(&packages, ""));
    let report = home.sync("python", 3);
    let failed = report["failed"].as_array().unwrap();
    let mut told: Vec<String> = failed
        .iter()
        .map(|row| {
            let reason = row["reason"].as_str().unwrap();
            let rule = reason.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
            format!("{:<18} {}", row["artifact"].as_str().unwrap(), rule.map_or(reason, |(rule, _)| rule))
        })
        .collect();
    told.sort();
    assert_eq!(told.len(), packages.len(), "{report:#}");
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(told.join("\n")) });
    assert!(home.done(["list", "python", "--status", "AVAILABLE"]).is_empty());
}

fn hostile_wheels() -> Vec<(&'static str, Vec<u8>)> {
    let good = |name| Wheel::new(name, "1.0");
    let raw = |name, change: &dyn Fn(&mut RawZip)| {
        let mut zip = RawZip::of(&good(name).members());
        change(&mut zip);
        (name, zip.build())
    };
    vec![
        raw("localname", &|zip| zip.members[0].local.name = b"other/__init__.py".to_vec()),
        raw("localcrc", &|zip| zip.members[0].local.crc ^= 1),
        raw("bothcrc", &|zip| zip.members[0].both(|header| header.crc ^= 1)),
        raw("unlisted", &|zip| zip.members[0].listed = false),
        raw("count", &|zip| zip.count += 1),
        raw("before", &|zip| zip.before = b"#!/bin/sh\n".to_vec()),
        raw("after", &|zip| zip.after = b"more".to_vec()),
        raw("method", &|zip| zip.members[0].both(|header| header.method = 12)),
        raw("encrypted", &|zip| zip.members[0].both(|header| header.flags |= 1)),
        raw("badname", &|zip| zip.members[0].both(|header| header.name = b"a\xff\xfe.py".to_vec())),
        raw("control", &|zip| zip.members[0].both(|header| header.name = b"a\x07.py".to_vec())),
        raw("traversal", &|zip| zip.members[0].both(|header| header.name = b"../../etc/x".to_vec())),
        raw("absolute", &|zip| zip.members[0].both(|header| header.name = b"/etc/x".to_vec())),
        raw("duplicate", &|zip| {
            let mut twin = zip.members[0].clone();
            twin.data = b"two = 2\n".to_vec();
            zip.members.push(twin);
            zip.count += 1;
        }),
        raw("truncated", &|zip| zip.members.truncate(2)),
        (
            "twoinfos",
            good("twoinfos").with("other-1.0.dist-info/METADATA", metadata("other", "1.0", "")).build(),
        ),
        ("noinfo", good("noinfo").without("noinfo-1.0.dist-info/METADATA").build()),
        ("othername", good("othername").with_metadata(metadata("victim", "1.0", "")).build()),
        ("otherversion", good("otherversion").with_metadata(metadata("otherversion", "2.0", "")).build()),
        ("latin", good("latin").with_metadata(b"Metadata-Version: 2.1\nName: latin\xe9\n").build()),
        ("hugemeta", good("hugemeta").with_metadata(vec![b'a'; 500 << 20]).build()),
        ("recordup", good("recordup").with_record("../../etc/passwd,,\n").build()),
        ("recordfalse", good("recordfalse").with_record("recordfalse/__init__.py,sha256=AAAA,8\n").build()),
        ("nozip", b"not a zip at all".to_vec()),
        raw("symlink", &|zip| {
            zip.members[0].data = b"../../../etc/passwd".to_vec();
            zip.members[0].mode = 0o120_777;
        }),
    ]
}

/// A name of a hundred million bytes, in an extended header that packs to a hundred kilobytes.
fn pax_bomb(name: &str) -> Vec<u8> {
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let size = 100_000_000;
    let mut header = tar::Header::new_ustar();
    header.set_path("PaxHeaders/x").unwrap();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(size);
    header.set_cksum();
    let value = std::io::Read::take(std::io::repeat(b'a'), size - 16);
    let record = std::io::Read::chain(&b"100000000 path="[..], std::io::Read::chain(value, &b"\n"[..]));
    builder.append(&header, record).unwrap();
    let info = metadata(name, "1.0", "").into_bytes();
    let mut header = tar::Header::new_ustar();
    header.set_size(info.len() as u64);
    builder.append_data(&mut header, format!("{name}-1.0/PKG-INFO"), info.as_slice()).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// An sdist whose dependencies only a build would tell is let in, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn case_43_an_sdist_that_needs_a_build_is_flagged() {
    let index = Index::json().await;
    for (name, dynamic) in [("static", ""), ("dynamic", "Dynamic: Requires-Dist\n")] {
        let info = format!("Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n{dynamic}");
        let bytes = tar_gz(&[(format!("{name}-1.0/PKG-INFO"), info.into_bytes())]);
        index.add(name, File::new(format!("{name}-1.0.tar.gz"), bytes));
    }
    let home = Home::with(&index.mirror(&["static", "dynamic"], "sdists = true"));
    home.sync("python", 0);
    for (name, labels) in [("static", vec![]), ("dynamic", vec!["needs-build"])] {
        let (_, shown) = home.json(["show", "python", name]);
        assert_eq!(shown["revisions"][0]["files"][0]["labels"], serde_json::json!(labels), "{shown:#}");
        assert_eq!(home.done(["show", "python", name]).contains("needs build"), !labels.is_empty());
    }
}

fn hostile_sdists() -> Vec<(&'static str, Vec<u8>)> {
    let info = |name: &str| (format!("{name}-1.0/PKG-INFO"), metadata(name, "1.0", "").into_bytes());
    let special = |name: &str, kind: tar::EntryType, link: &str| {
        let mut builder =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let (path, bytes) = info(name);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_entry_type(kind);
        header.set_path(format!("{name}-1.0/x")).unwrap();
        if !link.is_empty() {
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    };
    vec![
        ("tarup", tar_gz(&[info("tarup"), ("tarup-1.0/../../x".to_owned(), b"x".to_vec())])),
        ("tarlink", special("tarlink", tar::EntryType::Link, "../../../etc/passwd")),
        ("tarsymlink", special("tarsymlink", tar::EntryType::Symlink, "/etc/passwd")),
        ("tardevice", special("tardevice", tar::EntryType::Block, "")),
        ("tarother", tar_gz(&[("other-1.0/PKG-INFO".to_owned(), metadata("other", "1.0", "").into_bytes())])),
        ("targarbage", b"not a tar at all".to_vec()),
        ("tarpax", pax_bomb("tarpax")),
    ]
}
