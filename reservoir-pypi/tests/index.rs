//! The pages that clients read: what is on them, byte for byte, and when they are written.

mod support;

use reservoir_core::snapshot::Edit;
use serde_json::{Value, json};
use support::site::Site;

const WHEEL: &str = "alpha/alpha-1.0-py3-none-any.whl";

fn put(site: &Site, path: &str, revision: &str, bytes: &str, attributes: Value) -> Edit {
    Edit::Put(Box::new(site.entry(path, revision, bytes, attributes)))
}

fn plain(site: &Site, path: &str, revision: &str) -> Edit {
    put(site, path, revision, path, json!({}))
}

/// Every kind of file that a page can hold.
fn alpha(site: &Site) -> Vec<Edit> {
    vec![
        put(
            site,
            "alpha/alpha-1!0.5.tar.gz",
            "1!0.5",
            "epoch",
            json!({ "yanked": "", "upload-time": "not a time", "requires-python": "" }),
        ),
        put(
            site,
            "alpha/alpha-1.0+cu121-py3-none-any.whl",
            "1.0+cu121",
            "local!",
            json!({ "yanked": false }),
        ),
        put(
            site,
            WHEEL,
            "1.0",
            "wheel",
            json!({ "requires-python": ">=3.8,<4", "upload-time": "2024-01-02T03:04:05.678Z" }),
        ),
        put(site, &format!("{WHEEL}.metadata"), "1.0", "Name: alpha\n", json!({})),
        put(
            site,
            "alpha/alpha-1.10.tar.gz",
            "1.10",
            "ten",
            json!({ "yanked": "\"><script>alert('1')</script>&\u{7}\n", "requires-python": "<'3\">" }),
        ),
        put(site, "alpha/alpha-1.9.tar.gz", "1.9", "nine..", json!({ "yanked": true, "upload-time": null })),
    ]
}

#[tokio::test]
async fn a_page_says_all_and_escapes_all() {
    let mut site = Site::default();
    let edits = alpha(&site);
    let written = site.publish(edits).await;
    insta::assert_debug_snapshot!("written", written);
    let json = site.published("simple/alpha/index.json").await;
    let value: Value = serde_json::from_str(&json).unwrap();
    insta::assert_json_snapshot!("alpha_json", value);
    insta::assert_snapshot!("alpha_html", site.published("simple/alpha/index.html").await);
    insta::assert_snapshot!("root_json", site.published("simple/index.json").await);
    insta::assert_snapshot!("root_html", site.published("simple/index.html").await);
}

/// Case 7: what uv drops a whole page over.
#[tokio::test]
async fn json_pages_keep_to_the_schema() {
    let mut site = Site::default();
    let edits = alpha(&site);
    site.publish(edits).await;
    let page: Value = serde_json::from_str(&site.published("simple/alpha/index.json").await).unwrap();
    assert_eq!(page["meta"], json!({ "api-version": "1.4" }));
    assert_eq!(page["versions"], json!(["1.0", "1.0+cu121", "1.9", "1.10", "1!0.5"]));
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 5);
    for file in files {
        for (key, value) in file.as_object().unwrap() {
            let right = match key.as_str() {
                "filename" | "requires-python" => value.as_str().is_some_and(|text| !text.is_empty()),
                "url" => value.as_str().is_some_and(|text| text.starts_with("../../packages/")),
                "upload-time" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "size" => value.is_u64(),
                "yanked" => value.is_boolean() || value.as_str().is_some_and(|text| !text.is_empty()),
                "provenance" => value.as_str().is_some_and(|text| text.starts_with("../../integrity/")),
                "hashes" | "core-metadata" => {
                    let hashes = value.as_object().unwrap();
                    hashes.len() == 1 && hashes["sha256"].as_str().is_some_and(|text| text.len() == 64)
                }
                _ => false,
            };
            assert!(right, "{key}: {value}");
        }
        for key in ["filename", "url", "hashes", "size", "yanked"] {
            assert!(file.get(key).is_some(), "{key} is missing");
        }
    }
}

/// Case 15: what is advertised is the digest of what is served.
#[tokio::test]
async fn a_sidecar_is_advertised_only_beside_its_own_file() {
    let mut site = Site::default();
    let metadata = site.entry(&format!("{WHEEL}.metadata"), "1.0", "Name: alpha\n", json!({}));
    let digest = metadata.blob.sha256.to_string();
    let edits = vec![
        plain(&site, WHEEL, "1.0"),
        Edit::Put(Box::new(metadata)),
        plain(&site, "alpha/alpha-2.0-py3-none-any.whl", "2.0"),
        put(&site, "alpha/alpha-3.0-py3-none-any.whl.metadata", "3.0", "orphan", json!({})),
    ];
    site.publish(edits).await;
    let page: Value = serde_json::from_str(&site.published("simple/alpha/index.json").await).unwrap();
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 2, "an orphaned sidecar is no file");
    assert_eq!(files[0]["core-metadata"]["sha256"], digest.as_str());
    assert_eq!(files[1].get("core-metadata"), None);
}

/// PEP 740: only for the file that the document speaks of, and never as a file itself.
#[tokio::test]
async fn provenance_is_advertised_only_for_its_own_file() {
    let mut site = Site::default();
    let local = "alpha/alpha-1.0+b-py3-none-any.whl";
    let owner = site.entry(local, "1.0+b", local, json!({}));
    let subject = json!({ "subject_sha256": owner.blob.sha256.to_string() });
    let edits = vec![
        Edit::Put(Box::new(owner)),
        put(&site, &format!("{local}.metadata"), "1.0+b", "Name: alpha\n", json!({})),
        put(&site, &format!("{local}.provenance"), "1.0+b", "{1}", subject.clone()),
        plain(&site, WHEEL, "1.0"),
        put(&site, &format!("{WHEEL}.provenance"), "1.0", "{2}", subject),
        plain(&site, "alpha/alpha-2.0.tar.gz", "2.0"),
        put(&site, "alpha/alpha-2.0.tar.gz.provenance", "2.0", "{3}", json!({})),
        put(&site, "alpha/alpha-3.0.tar.gz.provenance", "3.0", "{4}", json!({})),
    ];
    site.publish(edits).await;
    let page: Value = serde_json::from_str(&site.published("simple/alpha/index.json").await).unwrap();
    let shown: Vec<_> = page["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["filename"].as_str().unwrap(), file.get("provenance").and_then(Value::as_str)))
        .collect();
    let encoded = "../../integrity/alpha/1.0%2Bb/alpha-1.0%2Bb-py3-none-any.whl/provenance";
    let sdist = "../../integrity/alpha/2.0/alpha-2.0.tar.gz/provenance";
    assert_eq!(
        shown,
        [
            ("alpha-1.0+b-py3-none-any.whl", Some(encoded)),
            ("alpha-1.0-py3-none-any.whl", None),
            ("alpha-2.0.tar.gz", Some(sdist)),
        ]
    );
    assert!(page["files"][0].get("core-metadata").is_some());
    let html = site.published("simple/alpha/index.html").await;
    assert_eq!(html.matches("<a href").count(), 3);
    assert_eq!(html.matches("data-provenance=").count(), 2);
    assert!(html.contains(&format!("data-provenance=\"{sdist}\"")), "{html}");
}

/// PEP 792.
#[tokio::test]
async fn the_project_status_is_on_the_page() {
    let mut site = Site::default();
    let archived = json!({ "project-status": "archived", "project-status-reason": "moved \"&\" gone" });
    let edits = vec![
        plain(&site, "alpha/alpha-1.0.tar.gz", "1.0"),
        put(&site, "alpha/alpha-2.0.tar.gz", "2.0", "two", archived),
        put(&site, "beta/beta-1.tar.gz", "1", "beta", json!({ "project-status": "deprecated" })),
        put(&site, "gamma/gamma-1.tar.gz", "1", "gamma", json!({ "project-status": "no such word" })),
    ];
    site.publish(edits).await;
    for (project, status, meta) in [
        ("alpha", json!({ "status": "archived", "reason": "moved \"&\" gone" }), 2),
        ("beta", json!({ "status": "deprecated" }), 1),
        ("gamma", Value::Null, 0),
    ] {
        let page = site.published(&format!("simple/{project}/index.json")).await;
        assert_eq!(serde_json::from_str::<Value>(&page).unwrap()["project-status"], status, "{project}");
        let html = site.published(&format!("simple/{project}/index.html")).await;
        assert_eq!(html.matches("pypi:project-status").count(), meta, "{html}");
        if project == "alpha" {
            let reason = r#"<meta name="pypi:project-status-reason" content="moved &quot;&amp;&quot; gone">"#;
            assert!(html.contains(reason), "{html}");
        }
    }
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let mut site = Site::default();
    // `a-b/` stands before `a/` in the order of paths.
    let edits = vec![plain(&site, "a-b/a_b-1.tar.gz", "1"), plain(&site, "a/a-1.tar.gz", "1")];
    let first = site.publish(edits).await;
    assert_eq!(first.len(), 12, "four files for each project and for the list: {first:?}");

    let edits = vec![plain(&site, "a/a-2.tar.gz", "2")];
    let second = site.publish(edits).await;
    let pages: Vec<String> =
        ["html.gz", "html.zst", "json.gz", "json.zst"].map(|end| format!("simple/a/index.{end}")).into();
    assert_eq!(second, pages, "the list of projects did not change");

    assert_eq!(site.publish(Vec::new()).await, Vec::<String>::new());

    let edits = vec![plain(&site, "a.txt/a-1.tar.gz", "1")];
    let third = site.publish(edits).await;
    assert_eq!(third.len(), 8, "{third:?}");
    let list: Value = serde_json::from_str(&site.published("simple/index.json").await).unwrap();
    assert_eq!(list["projects"], json!([{ "name": "a-b" }, { "name": "a.txt" }, { "name": "a" }]));
}

/// Case A.5.8: an empty page, or uv would go on to its next index.
#[tokio::test]
async fn a_project_stays_when_its_last_file_goes() {
    let mut site = Site::default();
    let edits = vec![plain(&site, WHEEL, "1.0"), plain(&site, "beta/beta-1.tar.gz", "1")];
    site.publish(edits).await;
    let edits = vec![Edit::Remove(WHEEL.parse().unwrap())];
    let written = site.publish(edits).await;
    assert_eq!(written.len(), 4, "{written:?}");
    let page: Value = serde_json::from_str(&site.published("simple/alpha/index.json").await).unwrap();
    assert_eq!((&page["files"], &page["versions"]), (&json!([]), &json!([])));
    assert!(site.published("simple/index.html").await.contains("alpha/"));
}

#[tokio::test]
async fn an_empty_repository_has_an_empty_list() {
    let mut site = Site::default();
    assert_eq!(site.publish(Vec::new()).await.len(), 4);
    let list: Value = serde_json::from_str(&site.published("simple/index.json").await).unwrap();
    assert_eq!(list["projects"], json!([]));
}

#[tokio::test]
async fn the_same_contents_give_the_same_bytes() {
    let mut roots = Vec::new();
    for whole in [true, false] {
        let mut site = Site::default();
        let edits = alpha(&site);
        if whole {
            site.publish(edits).await;
        } else {
            for edit in edits {
                site.publish(vec![edit]).await;
            }
        }
        let (_, publication) = site.line.tip.as_ref().unwrap();
        let mut digests = Vec::new();
        for page in ["alpha/index.json.gz", "alpha/index.html.zst", "index.json.zst", "index.html.gz"] {
            digests.push(publication.get(&format!("simple/{page}")).await.unwrap().unwrap().blob.sha256);
        }
        roots.push(digests);
    }
    assert_eq!(roots[0], roots[1]);
}

#[tokio::test]
async fn pages_of_thousands_of_files_are_whole() {
    let mut site = Site::default();
    let edits = (1000..5000)
        .map(|n| plain(&site, &format!("alpha/alpha-{n}-py3-none-any.whl"), &n.to_string()))
        .collect();
    site.publish(edits).await;
    let page: Value = serde_json::from_str(&site.published("simple/alpha/index.json").await).unwrap();
    assert_eq!(page["files"].as_array().unwrap().len(), 4000);
    assert_eq!(page["versions"][3999], "4999");
    assert_eq!(site.published("simple/alpha/index.html").await.matches("<a href").count(), 4000);
}
