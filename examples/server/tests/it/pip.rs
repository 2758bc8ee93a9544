//! pip, an old one and today's, with nothing but our index.

use super::support::{
    client::{self, Client},
    home::{Home, Run, Server},
    index::{File, Index, Style, tagged, wheel},
    web::get,
    wire::Wire,
};

fn pips() -> [Client; 2] {
    [client::pip_old(), client::pip()]
}

fn served(index: &Index, packages: &[&str], more: &str) -> (Home, Server) {
    let home = Home::with(&index.mirror(packages, more));
    home.sync("python", 0);
    let server = home.serve();
    (home, server)
}

/// pip reads sidecars, and one wheel of each project.
#[tokio::test(flavor = "multi_thread")]
async fn case_01_pip_installs_with_dependencies() {
    let index = Index::of(
        Style::Html,
        [
            wheel("alpha", "1.0", &["beta>=1"]),
            wheel("alpha", "2.0", &["beta>=1"]),
            wheel("beta", "1.0", &[]),
            wheel("beta", "1.5", &[]),
        ],
    )
    .await;
    let (_home, server) = served(&index, &["alpha", "beta"], "dependencies = true\nwhole = true");
    for pip in pips() {
        let wire = Wire::to(&server.base);
        pip.install(&wire.simple("python"), &["alpha"]).expect(0);
        assert_eq!(pip.installed(), ["alpha==2.0", "beta==1.5"]);
        let lines = wire.lines();
        let wheels = |ending: &str| lines.iter().filter(|line| line.ends_with(ending)).count();
        assert_eq!(wheels(".whl"), 2, "{lines:#?}");
        assert_eq!(wheels(".whl.metadata"), 2, "{lines:#?}");
        assert!(lines.contains(&"GET /python/simple/alpha/".to_owned()), "{lines:#?}");
        let requests = wire.requests();
        assert!(requests[0].contains("application/vnd.pypi.simple.v1+json"), "{requests:#?}");
    }
}

/// An index without core-metadata: pip reads the end of the wheel by ranges. The page is ours with the
/// attributes taken off; the files are served by us.
#[tokio::test(flavor = "multi_thread")]
async fn case_14_lazy_wheels_by_ranges() {
    use reservoir_core::testing::upstream::{Reply, Upstream};
    let big = super::support::dist::Wheel::new("alpha", "1.0")
        .with("alpha/data.bin", noise(200_000))
        .with_metadata(super::support::dist::metadata("alpha", "1.0", "Requires-Dist: beta\n"));
    let alpha = File::new("alpha-1.0-py3-none-any.whl", big.build());
    let index = Index::of(Style::Json, [alpha, wheel("beta", "1.0", &[])]).await;
    let (_home, server) = served(&index, &["alpha"], "dependencies = true");
    let wire = Wire::to(&server.base);
    let plain = Upstream::start().await;
    for project in ["alpha", "beta"] {
        let url = format!("{}{project}/", server.simple("python"));
        let page = get(&url, &[("accept", "text/html")]).await.text().to_owned();
        let page = page.replace("../../packages/", &format!("{}/python/packages/", wire.base()));
        let words = page.split(' ').filter(|word| !word.contains("metadata="));
        let stripped = words.collect::<Vec<_>>().join(" ");
        assert!(stripped.contains("href=") && !stripped.contains("metadata"), "{stripped}");
        plain.route(format!("/simple/{project}/"), Reply::ok(stripped).content_type("text/html"));
    }
    let simple = plain.url("/simple/").to_string();
    for (client, arguments) in
        [(client::pip(), &["--use-feature=fast-deps", "alpha"] as &[&str]), (client::uv(), &["alpha"])]
    {
        client.install(&simple, arguments).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
    }
    let lines = wire.lines();
    let ranges = lines.iter().filter(|line| line.ends_with("(range)")).count();
    assert!(ranges >= 2, "both clients read ranges: {lines:#?}");
}

/// Bytes that do not compress, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_yanked_files_only_for_exact_pins() {
    let index = Index::of(
        Style::Html,
        [wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[]).yanked("breaks <everything>")],
    )
    .await;
    let (home, server) = served(&index, &["alpha"], "yanked = true\nwhole = true");
    let simple = server.simple("python");
    let page = get(&format!("{simple}alpha/"), &[("accept", "text/html")]).await;
    assert!(page.text().contains("data-yanked=\"breaks &lt;everything&gt;\""), "{}", page.text());
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0"]);
        let run = client.install(&simple, &["alpha==2.0"]).expect(0);
        assert_eq!(client.installed(), ["alpha==2.0"]);
        assert!(run.all().contains("breaks <everything>"), "the reason is shown: {}", run.all());
    }
    // The registry takes it back; a sync clears it here.
    index.change("alpha", |project| project.files[1].yanked = None);
    home.sync("python", 0);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==2.0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_uploaded_before_a_date() {
    let index = Index::of(
        Style::Json,
        [
            wheel("alpha", "1.0", &[]).uploaded("2023-06-01T00:00:00Z"),
            wheel("alpha", "2.0", &[]).uploaded("2024-06-01T00:00:00.123456Z"),
        ],
    )
    .await;
    let (_home, server) = served(&index, &["alpha"], "whole = true");
    for (client, option) in [
        (client::pip(), "--uploaded-prior-to=2024-01-01T00:00:00Z"),
        (client::uv(), "--exclude-newer=2024-01-01T00:00:00Z"),
    ] {
        client.install(&server.simple("python"), &[option, "alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0"]);
    }
}

/// The connection breaks at half of the wheel; pip goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn case_30_an_interrupted_download_goes_on() {
    let big = super::support::dist::Wheel::new("alpha", "1.0").with("alpha/data.bin", noise(1 << 20));
    let index = Index::of(Style::Json, [File::new("alpha-1.0-py3-none-any.whl", big.build())]).await;
    let (_home, server) = served(&index, &["alpha"], "");
    let wire = Wire::to(&server.base);
    wire.cut_after(512 << 10);
    let pip = client::pip();
    pip.install(&wire.simple("python"), &["--resume-retries=3", "alpha"]).expect(0);
    assert_eq!(pip.installed(), ["alpha==1.0"]);
    assert!(wire.was_cut());
    let requests = wire.requests();
    let going_on = requests.iter().find(|head| head.to_lowercase().contains("\r\nrange:"));
    let going_on = going_on.unwrap_or_else(|| panic!("no range was asked for: {requests:#?}"));
    assert!(going_on.to_lowercase().contains("\r\nif-range:"), "{going_on}");
}

/// For each target environment, the file that pip chooses from everything is the file it finds in a mirror made
/// for this environment.
#[tokio::test(flavor = "multi_thread")]
async fn case_31_targets_take_what_pip_would_choose() {
    let tags = [
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp313-cp313t-manylinux_2_28_x86_64",
        "cp39-abi3-manylinux_2_28_x86_64",
        "1-cp39-abi3-manylinux_2_28_x86_64",
        "cp312-cp312-macosx_11_0_arm64",
        "cp312-cp312-win_amd64",
        "cp313-cp313-manylinux_2_28_aarch64",
        "py3-none-any",
    ];
    let index = Index::of(Style::Json, tags.map(|tags| tagged("alpha", "1.0", tags))).await;
    let (_all, everything) = served(&index, &["alpha"], "");
    let pip = client::pip();
    for (python, abi, platform) in [
        ("3.11", "cp311", "manylinux_2_28_x86_64"),
        ("3.11", "cp311", "manylinux_2_17_x86_64"),
        ("3.11", "cp311", "musllinux_1_2_x86_64"),
        ("3.13", "cp313t", "manylinux_2_28_x86_64"),
        ("3.14", "cp314", "manylinux_2_28_x86_64"),
        ("3.12", "cp312", "macosx_11_0_arm64"),
        ("3.12", "cp312", "win_amd64"),
        ("3.13", "cp313", "manylinux_2_28_aarch64"),
        ("3.8", "cp38", "manylinux_2_28_x86_64"),
    ] {
        let wanted = chosen(&pip, &everything, python, abi, platform);
        let threaded = if abi.ends_with('t') { "t" } else { "" };
        let target = format!("targets = [{{ python = \"{python}{threaded}\", platform = \"{platform}\" }}]");
        let (_home, server) = served(&index, &["alpha"], &target);
        let found = chosen(&pip, &server, python, abi, platform);
        assert_eq!(found, wanted, "python {python}, {abi}, {platform}");
    }
}

/// The file that pip downloads for an environment.
fn chosen(pip: &Client, server: &Server, python: &str, abi: &str, platform: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = pip.command();
    command.args([
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--python-version",
        python,
    ]);
    // An `abi3` wheel fits what comes after it; pip has to be told so.
    command.args(["--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]);
    for platform in platforms(platform) {
        command.args(["--platform", &platform]);
    }
    command.arg("--dest").arg(folder.path()).args(["--index-url", &server.simple("python"), "alpha"]);
    Run::of(&mut command).expect(0);
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    file.file_name().into_string().unwrap()
}

/// pip takes `--platform` by the letter; a machine with this glibc also takes all older ones.
fn platforms(platform: &str) -> Vec<String> {
    let Some((version, machine)) =
        platform.strip_prefix("manylinux_2_").and_then(|rest| rest.split_once('_'))
    else {
        return vec![platform.to_owned()];
    };
    let newest: u32 = version.parse().unwrap();
    (5..=newest).rev().map(|minor| format!("manylinux_2_{minor}_{machine}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_47_requirements_as_they_are_in_the_wild() {
    let index = Index::of(
        Style::Json,
        [
            wheel("alpha", "1.0", &["beta>=1.*", "gamma>=1,"]),
            wheel("beta", "1.5", &[]),
            wheel("gamma", "1.5", &[]),
            wheel("delta", "1.0", &["epsilon @ file:///etc/passwd"]),
        ],
    )
    .await;
    let home = Home::with(&index.mirror(&["alpha", "delta"], "dependencies = true"));
    let report = home.sync("python", 3);
    // Repaired, repaired, refused.
    let available = home.done(["list", "python", "--status", "AVAILABLE"]);
    for revision in ["alpha@1.0", "beta@1.5", "gamma@1.5"] {
        assert!(available.contains(revision), "{available}");
    }
    assert!(report.to_string().contains("direct reference"), "{report:#}");
    assert_eq!(index.count("/simple/epsilon"), 0);
}

/// A project that policy emptied answers an empty page, and clients stop there.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_project_stays_an_empty_page() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = served(&index, &["alpha"], "");
    home.done(["reject", "python", "alpha@1.0"]);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let simple = server.simple("python");
    assert_eq!(super::support::web::files(&simple, "alpha").await, Vec::<String>::new());
    for client in client::all() {
        let run = client.install(&simple, &["alpha"]);
        assert_ne!(run.code, 0);
        let text = run.all();
        assert!(
            text.contains("No matching distribution") || text.contains("there are no versions of alpha"),
            "{text}"
        );
    }
}
