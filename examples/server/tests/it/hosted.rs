//! Uploads: twine, uv and forms by hand, into a hosted repository and beside a mirror or a cache.

use std::{fmt::Write as _, fs, io::Write as _, net::TcpStream, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use reservoir_core::{digest::Sha256Digest, testing::upstream::Reply};
use serde_json::json;

use super::support::{
    client::{self, alone},
    home::{Home, Run, Server},
    index::{File, Index, Style, big, page_path, sdist, wheel},
    web::{JSON, ask, file_url, files, get, page},
};

const HOSTED: &str = "[[repository]]\nname = \"python\"\necosystem = \"pypi\"\nmode = \"hosted\"\n";

/// Fields of a form, in order.
type Fields<'f> = &'f [(&'f str, &'f str)];

fn writable(home: &Home) -> Server {
    home.serve_with(&["--allow-anonymous-writes"])
}

pub(super) fn hosted(more: &str) -> (Home, Server) {
    let home = Home::with(&format!("{HOSTED}{more}"));
    let server = writable(&home);
    (home, server)
}

fn twine(server: &Server, path: &str, dists: &[&File]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut twine = alone("RESERVOIR_TEST_TWINE", folder.path());
    twine.args(["upload", "--non-interactive", "--disable-progress-bar", "--verbose"]);
    twine.args(["--username", "__token__", "--password", "secret"]);
    twine.args(["--repository-url", &server.url(path)]).args(written(folder.path(), dists));
    Run::of(&mut twine)
}

fn uv_publish(server: &Server, path: &str, check: bool, dists: &[&File]) -> Run {
    let uv = client::uv();
    let mut publish = uv.command();
    publish.args([
        "publish",
        "--trusted-publishing",
        "never",
        "--username",
        "__token__",
        "--password",
        "secret",
    ]);
    publish.args(["--publish-url", &server.url(path)]);
    if check {
        publish.args(["--check-url", &server.simple("python")]);
    }
    Run::of(publish.args(written(uv.path(), dists)))
}

fn written(folder: &Path, dists: &[&File]) -> Vec<std::path::PathBuf> {
    let write = |file: &&File| {
        let path = folder.join(&file.name);
        fs::write(&path, &file.bytes).unwrap();
        path
    };
    dists.iter().map(write).collect()
}

/// A form as it is sent: the fields in this order; `content` is the file.
pub(super) async fn post(server: &Server, fields: Fields<'_>, file: &File) -> (u16, String) {
    let mut body = Vec::new();
    for (name, value) in fields {
        let is_file = *name == "content";
        let file_name = if is_file { format!("; filename=\"{}\"", file.name) } else { String::new() };
        let head = format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(if is_file { &file.bytes } else { value.as_bytes() });
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--cut--\r\n");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(server.url("/python/legacy/")).body(body);
    let response = request.header("content-type", "multipart/form-data; boundary=cut").send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_and_22_twine_uploads_with_and_without_the_slash() {
    let (home, server) = hosted("");
    let (alpha, beta) = (wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0+local.1", &[]));
    twine(&server, "/python/legacy/", &[&alpha, &sdist("alpha", "1.0")]).expect(0);
    twine(&server, "/python/legacy", &[&beta]).expect(0);
    let simple = server.simple("python");
    let page = page(&simple, "alpha").await;
    assert_eq!(page["versions"], json!(["1.0"]));
    for file in page["files"].as_array().unwrap() {
        assert!(file["upload-time"].is_string() && file["size"].is_u64(), "{page:#}");
    }
    assert!(page["files"][0]["core-metadata"]["sha256"].is_string(), "{page:#}");
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0+local.1"]);
    }
    let history = home.done(["history", "python", "alpha@1.0"]);
    assert!(history.contains("anonymous") && history.contains("AVAILABLE"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_uv_publishes_and_skips_what_is_there() {
    let (_home, server) = hosted("");
    let dists = [&wheel("alpha", "1.0", &[]), &sdist("alpha", "1.0")];
    for path in ["/python/legacy/", "/python/legacy"] {
        uv_publish(&server, path, true, &dists).expect(0);
    }
    let run = uv_publish(&server, "/python/legacy/", true, &dists).expect(0);
    assert!(run.all().contains("already exists, skipping"), "{}", run.all());
    // Without a look before: the same bytes are no mistake.
    uv_publish(&server, "/python/legacy/", false, &dists).expect(0);
    twine(&server, "/python/legacy/", &dists).expect(0);
    assert_eq!(files(&server.simple("python"), "alpha").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_other_bytes_are_refused_in_words_that_clients_know() {
    let (home, server) = hosted("");
    let (first, second) = (wheel("alpha", "1.0", &[]), wheel("alpha", "1.0", &["beta"]));
    twine(&server, "/python/legacy/", &[&first]).expect(0);
    let run = twine(&server, "/python/legacy/", &[&second]);
    assert!(run.code != 0 && run.all().contains("File already exists"), "{}", run.all());
    let run = uv_publish(&server, "/python/legacy/", false, &[&second]);
    assert!(run.code != 0 && run.all().contains("File already exists"), "{}", run.all());
    let (status, text) = post(&server, &[(":action", "file_upload"), ("content", "")], &second).await;
    assert!(status == 400 && text.starts_with("File already exists"), "{status} {text}");
    let listed = page(&server.simple("python"), "alpha").await;
    assert_eq!(listed["files"][0]["hashes"]["sha256"], Sha256Digest::of(&first.bytes).to_string());
    home.done(["verify", "--deep"]);
}

/// What a publisher says of a file, as clients send it.
pub(super) fn attestations(file: &File) -> String {
    let sha256 = Sha256Digest::of(&file.bytes).to_string();
    let statement = json!({ "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": file.name, "digest": { "sha256": sha256 } }] });
    let one = json!({
        "version": 1,
        "verification_material": { "certificate": "MII", "transparency_entries": [{}] },
        "envelope": { "statement": BASE64_STANDARD.encode(statement.to_string()), "signature": "MEU" },
    });
    json!([one]).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_fields_come_in_any_order() {
    let (_home, server) = hosted("");
    let file = wheel("alpha", "1.0", &[]);
    let sha256 = Sha256Digest::of(&file.bytes).to_string();
    let attestations = attestations(&file);
    let fields = [
        ("content", ""),
        ("classifiers", "One"),
        ("version", "1.0"),
        ("classifiers", "Two"),
        ("requires_python", ""),
        ("sha256_digest", &sha256),
        ("name", "Alpha"),
        ("protocol_version", "1"),
        ("filetype", "bdist_wheel"),
        (":action", "file_upload"),
        ("attestations", &attestations),
    ];
    let (status, text) = post(&server, &fields, &file).await;
    assert_eq!((status, text.trim()), (200, "OK"));
    // What was sent is kept, and shown where it is looked for.
    let listed = page(&server.simple("python"), "alpha").await;
    let url = listed["files"][0]["provenance"].as_str().expect("it has attestations");
    let base: url::Url = format!("{}alpha/", server.simple("python")).parse().unwrap();
    let document = get(base.join(url).unwrap().as_str(), &[]).await;
    assert_eq!(document.json()["attestation_bundles"][0]["attestations"].to_string(), {
        let sent: serde_json::Value = serde_json::from_str(&attestations).unwrap();
        sent.to_string()
    });
    // Attestations of another file, and what is none, are refused with their file.
    let other = wheel("alpha", "2.0", &[]);
    for wrong in [attestations.as_str(), "{}", "[{\"version\": 1}]", "["] {
        let fields = [(":action", "file_upload"), ("content", ""), ("attestations", wrong)];
        let (status, text) = post(&server, &fields, &other).await;
        assert_eq!(status, 400, "{text}");
    }
    assert_eq!(files(&server.simple("python"), "alpha").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_what_does_not_agree_is_refused_and_takes_nobodys_place() {
    let (home, server) = hosted("");
    let file = wheel("alpha", "1.0", &[]);
    let sha256 = "0".repeat(64);
    let renamed = |name: &str| File { name: name.to_owned(), ..file.clone() };
    let action = (":action", "file_upload");
    let cases: [(Fields<'_>, File, &str); 10] = [
        (&[action, ("content", ""), ("sha256_digest", &sha256)], file.clone(), "upload-differs"),
        (&[("blake2_256_digest", &sha256), action, ("content", "")], file.clone(), "upload-differs"),
        (&[action, ("content", ""), ("name", "beta")], file.clone(), "upload-differs"),
        (&[action, ("content", ""), ("version", "2.0")], file.clone(), "upload-differs"),
        (&[action, ("content", ""), ("filetype", "sdist")], file.clone(), "upload-differs"),
        (&[action, ("content", "")], renamed("beta-1.0-py3-none-any.whl"), "wheel-dist-info"),
        (&[action, ("content", "")], renamed("alpha-2.0-py3-none-any.whl"), "wheel-dist-info"),
        (&[action, ("content", "")], renamed("..%2falpha-1.0.tar.gz"), "filename-hostile"),
        (&[action], file.clone(), "upload-form"),
        (&[("content", ""), (":action", "submit")], file.clone(), "upload-form"),
    ];
    for (fields, file, rule) in cases {
        let (status, text) = post(&server, fields, &file).await;
        assert!(status == 400 && text.contains(rule), "{rule}: {status} {text}");
    }
    assert_eq!(home.json(["list", "python"]).1["revisions"], json!([]), "nothing of it is known");
    for requires in ["!!!", "beta >>> 1"] {
        let (status, text) =
            post(&server, &[action, ("content", "")], &wheel("alpha", "1.0", &[requires])).await;
        assert!(status == 400 && text.contains("requirement"), "{requires}: {status} {text}");
    }
    let (status, _) = post(&server, &[action, ("content", "")], &file).await;
    assert_eq!(status, 200, "the name was not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_27_without_leave_nobody_writes() {
    let home = Home::with(HOSTED);
    let server = home.serve();
    let file = wheel("alpha", "1.0", &[]);
    for run in
        [twine(&server, "/python/legacy/", &[&file]), uv_publish(&server, "/python/legacy/", false, &[&file])]
    {
        assert!(run.code != 0 && run.all().contains("403"), "{}", run.all());
        assert!(run.all().contains("allow-anonymous-writes"), "{}", run.all());
    }
    assert_eq!(get(&format!("{}alpha/", server.simple("python")), &[]).await.status, 404);
    let run = home.run(["serve", "--listen", "0.0.0.0:0", "--allow-anonymous-writes"]).expect(2);
    assert!(run.stderr.contains("loopback"), "{}", run.stderr);
}

/// Killed in the middle of an upload: nothing of it is there, and the same upload then goes through.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_leaves_nothing() {
    let (home, server) = hosted("");
    let file = wheel("alpha", "1.0", &[]);
    let host = server.base.strip_prefix("http://").unwrap().to_owned();
    let mut connection = TcpStream::connect(&host).unwrap();
    let part = format!(
        "--cut\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\r\n",
        file.name
    );
    let length = part.len() + file.bytes.len() + "\r\n--cut--\r\n".len();
    let head = format!(
        "POST /python/legacy/ HTTP/1.1\r\nhost: {host}\r\ncontent-type: multipart/form-data; boundary=cut\r\n\
         content-length: {length}\r\n\r\n{part}"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&file.bytes[..file.bytes.len() / 2]).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.end("KILL");
    let server = writable(&home);
    let simple = server.simple("python");
    assert_eq!(get(&format!("{simple}alpha/"), &[]).await.status, 404);
    twine(&server, "/python/legacy/", &[&file]).expect(0);
    assert_eq!(files(&simple, "alpha").await, [file.name.as_str()]);
    home.done(["verify", "--deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_wait_for_a_person() {
    let (home, server) = hosted("approval = \"manual\"\n");
    let run = twine(&server, "/python/legacy/", &[&wheel("alpha", "1.0", &[])]).expect(0);
    assert!(run.all().contains("waits for a person"), "{}", run.all());
    let simple = server.simple("python");
    assert_eq!(get(&format!("{simple}alpha/"), &[("accept", JSON)]).await.status, 404);
    home.done(["approve", "python", "alpha@1.0"]);
    home.done(["publish", "python"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client::uv().install(&simple, &["alpha"]).expect(0);
}

/// What was yanked installs when it is asked for by its number, and not otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn yanks_are_taken_back() {
    let (home, server) = hosted("");
    twine(&server, "/python/legacy/", &[&wheel("alpha", "1.0", &[]), &wheel("alpha", "2.0", &[])]).expect(0);
    home.done(["yank", "python", "alpha@2.0", "--reason", "it <is> broken"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let simple = server.simple("python");
    assert_eq!(page(&simple, "alpha").await["files"][1]["yanked"], "it <is> broken");
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0"]);
        let run = client.install(&simple, &["alpha==2.0"]).expect(0);
        assert!(run.all().contains("it <is> broken"), "{}", run.all());
    }
    home.done(["yank", "python", "alpha@2.0"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(page(&simple, "alpha").await["files"][1]["yanked"], true);
    home.done(["unyank", "python", "alpha@2.0"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let uv = client::uv();
    uv.install(&simple, &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==2.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_folder_are_put_there_by_a_command() {
    let home = Home::with(HOSTED);
    let folder = tempfile::tempdir().unwrap();
    let good = [&wheel("alpha", "1.0", &[]), &sdist("beta", "2.0"), &wheel("alpha", "1.1", &[])];
    written(folder.path(), &good);
    let wrong = wheel("gamma", "1.0", &[]);
    fs::write(folder.path().join("delta-1.0-py3-none-any.whl"), &wrong.bytes).unwrap();
    fs::write(folder.path().join("notes.txt"), "no package").unwrap();
    let (code, report) = home.json(["upload", "python", folder.path().to_str().unwrap()]);
    assert_eq!(code, 3, "{report:#}");
    let mut told = String::new();
    for alarm in report["alarms"].as_array().unwrap() {
        writeln!(told, "{alarm}").unwrap();
    }
    assert!(told.contains("wheel-dist-info") && told.contains("filename-kind"), "{told}");
    assert_eq!(report["alarms"].as_array().unwrap().len(), 2, "{told}");
    let server = home.serve();
    assert_eq!(files(&server.simple("python"), "alpha").await.len(), 2);
    assert_eq!(files(&server.simple("python"), "beta").await, ["beta-2.0.tar.gz"]);
    // The same again is nothing new.
    fs::remove_file(folder.path().join("notes.txt")).unwrap();
    fs::remove_file(folder.path().join("delta-1.0-py3-none-any.whl")).unwrap();
    let (code, report) = home.json(["upload", "python", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    assert!(report["published"].is_null(), "{report:#}");
}

/// Case 20. The same name outside is never asked for, whatever it offers.
#[tokio::test(flavor = "multi_thread")]
async fn case_20_internal_names_win_beside_a_mirror() {
    let index = Index::of(
        Style::Json,
        [wheel("inner", "9.0", &[]), wheel("outer", "1.0", &[]), wheel("top", "1.0", &["inner"])],
    )
    .await;
    let config = index.mirror(&["outer", "top"], "hosted = true\ndependencies = true");
    let home = Home::with(&config);
    let server = writable(&home);
    let simple = server.simple("python");
    // Before anything was mirrored.
    twine(&server, "/python/legacy/", &[&wheel("inner", "1.0", &["outer"])]).expect(0);
    home.sync("python", 0);
    assert_eq!(index.count("/simple/inner/"), 0, "nobody outside hears of the name");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(files(&simple, "inner").await, ["inner-1.0-py3-none-any.whl"]);
    for client in client::all() {
        // A hosted package and a mirrored one, from one address.
        client.install(&simple, &["inner", "top"]).expect(0);
        assert_eq!(client.installed(), ["inner==1.0", "outer==1.0", "top==1.0"]);
    }
    // A name that was mirrored before becomes internal with its first upload.
    twine(&server, "/python/legacy/", &[&wheel("outer", "0.1", &[])]).expect(0);
    assert_eq!(files(&simple, "outer").await, ["outer-0.1-py3-none-any.whl"]);
    let asked = index.count("/simple/outer/");
    home.sync("python", 0);
    assert_eq!(index.count("/simple/outer/"), asked);
    assert_eq!(files(&simple, "outer").await, ["outer-0.1-py3-none-any.whl"]);
    home.done(["verify", "--deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_internal_names_win_beside_a_cache() {
    let index = Index::of(
        Style::Json,
        [
            wheel("inner", "9.0", &[]),
            wheel("outer", "1.0", &[]),
            wheel("known", "1.0", &[]),
            wheel("listed", "1.0", &[]),
        ],
    )
    .await;
    let home = Home::with(&index.cache("hosted = true\nfold_every = \"1s\"\ncache_size = \"1KiB\""));
    let server = writable(&home);
    let simple = server.simple("python");
    assert_eq!(get(&format!("{simple}mine/"), &[]).await.status, 404);
    // Looked up before, and here: what is uploaded then wins all the same.
    let known = file_url(&simple, "known", "known-1.0-py3-none-any.whl").await;
    assert_eq!(get(&known, &[]).await.status, 200);
    // As a client remembers it for minutes, and a lock file for ever.
    let listed = file_url(&simple, "listed", "listed-1.0-py3-none-any.whl").await;
    let uploads = [
        &wheel("inner", "1.0", &["outer"]),
        &wheel("known", "0.1", &[]),
        &wheel("listed", "0.1", &[]),
        &wheel("mine", "1.0", &[]),
    ];
    twine(&server, "/python/legacy/", &uploads).expect(0);
    assert_eq!(index.count("/simple/inner/"), 0, "nobody outside hears of the name");
    assert_eq!(files(&simple, "mine").await, ["mine-1.0-py3-none-any.whl"]);
    assert_eq!(files(&simple, "known").await, ["known-0.1-py3-none-any.whl"]);
    for client in client::all() {
        client.install(&simple, &["inner", "known"]).expect(0);
        assert_eq!(client.installed(), ["inner==1.0", "known==0.1", "outer==1.0"]);
    }
    let asked = index.upstream.requests().len();
    for address in [&listed, &format!("{listed}.metadata")] {
        assert_eq!(get(address, &[]).await.status, 404);
    }
    // What was here is served for a while to who has its address, and never fetched again.
    get(&known, &[]).await;
    assert_eq!(index.upstream.requests().len(), asked, "nobody outside is asked");
    assert_eq!(files(&simple, "known").await, ["known-0.1-py3-none-any.whl"]);
    assert_eq!(files(&simple, "listed").await, ["listed-0.1-py3-none-any.whl"]);
    // A full cache lets go of what it can fetch again, never of what was uploaded.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(get(&format!("{simple}inner/"), &[]).await.status, 200);
    client::uv().install(&simple, &["inner"]).expect(0);
    assert_eq!(index.count("/simple/inner/"), 0);
}

/// What was on its way from outside when its name became internal does not arrive.
#[tokio::test(flavor = "multi_thread")]
async fn case_20_a_name_becomes_internal_while_its_files_and_pages_arrive() {
    let (slow, late) = (big("slow", "1.0", 1 << 20), wheel("late", "1.0", &[]));
    let index = Index::of(Style::Json, [slow.clone(), late.clone()]).await;
    let drip = Reply::ok(slow.bytes.clone()).drip(64 << 10, Duration::from_millis(200));
    index.upstream.route(slow.path(), drip);
    let page = json!({ "meta": { "api-version": "1.1" }, "name": "late", "versions": ["1.0"], "files": [
        { "filename": late.name, "url": format!("{}{}", index.base(), late.path()),
          "hashes": { "sha256": Sha256Digest::of(&late.bytes).to_string() }, "size": late.bytes.len() },
    ]});
    let page = Reply::ok(page.to_string()).content_type(JSON).delay(Duration::from_millis(2500));
    index.upstream.route(page_path("late"), page);
    let home = Home::with(&index.cache("hosted = true"));
    let server = writable(&home);
    let simple = server.simple("python");
    let url = file_url(&simple, "slow", &slow.name).await;
    let [wheel_of, page_of] = [url.clone(), format!("{simple}late/")]
        .map(|url| tokio::spawn(async move { ask(Method::GET, &url, &[]).await.ok() }));
    // Both have begun.
    for _ in 0..200 {
        if index.count(&slow.path()) > 0 && index.count("/simple/late/") > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((index.count(&slow.path()), index.count("/simple/late/")), (1, 1));
    twine(&server, "/python/legacy/", &[&wheel("slow", "0.1", &[]), &wheel("late", "0.1", &[])]).expect(0);
    assert!(wheel_of.await.unwrap().is_none_or(|answer| answer.status != 200), "it never ends well");
    page_of.await.unwrap();
    for name in ["slow", "late"] {
        assert_eq!(files(&simple, name).await, [format!("{name}-0.1-py3-none-any.whl")]);
    }
    assert_eq!(get(&url, &[]).await.status, 404);
    home.done(["publish", "python"]);
    let (_, listed) = home.json(["list", "python", "--status", "AVAILABLE"]);
    let listed = listed["revisions"].as_array().unwrap();
    assert!(listed.iter().all(|row| row["revision"] == "0.1"), "{listed:#?}");
    client::uv().install(&simple, &["slow", "late"]).expect(0);
}

/// What a repository takes from no registry says nothing of what is uploaded to it.
#[tokio::test(flavor = "multi_thread")]
async fn filters_are_for_what_comes_from_outside() {
    let index = Index::of(Style::Json, [wheel("outer", "1.0", &[]).uploaded("2020-01-01T00:00:00Z")]).await;
    let filters = "hosted = true\nexclude_newer = \"7d\"\nmax_size = 150000";
    let home = Home::with(&index.cache(filters));
    let server = writable(&home);
    let simple = server.simple("python");
    let ours = [&big("inner", "1.0", 200 << 10), &wheel("needy", "1.0", &["inner", "outer"])];
    twine(&server, "/python/legacy/", &ours).expect(0);
    assert_eq!(files(&simple, "inner").await, ["inner-1.0-py3-none-any.whl"]);
    let client = client::uv();
    client.install(&simple, &["needy"]).expect(0);
    assert_eq!(client.installed(), ["inner==1.0", "needy==1.0", "outer==1.0"]);
}

/// A home that lost its catalog knows its internal names again.
#[tokio::test(flavor = "multi_thread")]
async fn internal_names_outlive_the_catalog() {
    let index = Index::of(Style::Json, [wheel("inner", "9.0", &[]), wheel("outer", "1.0", &[])]).await;
    let home = Home::with(&index.cache("hosted = true"));
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &[&wheel("inner", "1.0", &[])]);
    home.done(["upload", "python", folder.path().to_str().unwrap()]);
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        // Which of them are there depends on how the last process ended.
        let _ = fs::remove_file(home.path().join(name));
    }
    home.done(["rebuild"]);
    home.apply(&index.cache("hosted = true")).expect(0);
    let server = home.serve();
    assert_eq!(files(&server.simple("python"), "inner").await, ["inner-1.0-py3-none-any.whl"]);
    assert_eq!(index.count("/simple/inner/"), 0, "nobody outside hears of the name");
}

#[test]
fn only_python_takes_uploads_beside_a_registry() {
    let home = Home::new();
    for (ecosystem, keys) in
        [("apt", "suites = [\"stable\"]"), ("hf", "models = [\"org/m\"]"), ("hf", "mode = \"cache\"")]
    {
        let run = home.apply(&format!(
            "[[registry]]\nname = \"upstream\"\necosystem = \"{ecosystem}\"\nurl = \"http://127.0.0.1:9/\"\n\n\
             [[repository]]\nname = \"files\"\necosystem = \"{ecosystem}\"\nregistry = \"upstream\"\nhosted = true\n\
             {keys}\n"
        ));
        let told = format!("key `hosted`: {ecosystem} takes no uploads beside a mirror or a cache");
        assert!(run.code == 2 && run.stderr.contains(&told), "{}", run.stderr);
    }
}
