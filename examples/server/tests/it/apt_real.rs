//! The real thing: the archive that this machine's apt is configured with, under the keys that it trusts, and nothing
//! else.

use std::process::Command;

use super::{
    apt_cases::root,
    support::{
        home::{Home, Run},
        root::{Root, Run as Clean},
        web::get,
    },
};

/// The suite and component that this machine's apt reads first.
fn configured() -> (String, String) {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CODENAME) $(COMPONENT)", "Created-By: Packages"])
        .output()
        .expect("a Debian or Ubuntu machine is needed");
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.lines().next().expect("apt has an archive").split(' ').collect();
    (words[0].to_owned(), words[1].to_owned())
}

fn repository(suite: &str, component: &str, more: &str) -> String {
    format!(
        "[[registry]]\nname = \"archive\"\necosystem = \"apt\"\nurl = \"system\"\n\n\
         [[repository]]\nname = \"mirror\"\necosystem = \"apt\"\nregistry = \"archive\"\nsuites = [\"{suite}\"]\n\
         components = [\"{component}\"]\narchitectures = [\"amd64\"]\n{more}\n"
    )
}

fn real(home: &Home, arguments: &[&str]) -> serde_json::Value {
    let run = Run::of(home.command().arg("--json").args(arguments)).expect(0);
    serde_json::from_str(&run.stdout).unwrap()
}

/// What maintainer scripts find in every system.
fn shell(root: &Root) {
    let inside = |arguments: &[&str]| {
        let run = Clean::of(as_root("chroot").arg(root.path()).args(arguments));
        assert_eq!(run.code, 0, "{}", run.text);
    };
    inside(&["/bin/busybox", "--install", "-s", "/bin"]);
    root.write("dev/null", "");
}

/// Maintainer scripts are run within the root, which not everybody may.
fn as_root(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    command.arg(program);
    command
}

/// Two packages with all that they need, under our signature, installed into a root that has nothing else; they run.
#[tokio::test(flavor = "multi_thread")]
async fn real_packages_and_all_they_need_are_installed_into_an_empty_root() {
    let (suite, component) = configured();
    let more =
        "packages = [\"hello\", \"jq\", \"busybox-static\"]\ndependencies = true\nmax_import = \"100MiB\"";
    let home = Home::with(&repository(&suite, &component, more));
    let report = real(&home, &["sync", "mirror"]);
    assert!(report["admitted"].as_u64().unwrap() >= 7, "{report:#}");
    let (code, checked) = home.json(["check", "mirror"]);
    assert_eq!(code, 0, "{checked:#}");
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    assert!(root.known().contains(&"libc6".to_owned()), "{:?}", root.known());
    root.get(&["install", "busybox-static"]).clean();
    shell(&root);
    root.get(&["install", "hello", "jq"]).clean();
    let said = Clean::of(as_root("chroot").arg(root.path()).arg("/usr/bin/hello"));
    assert!(said.clean().contains("world"));
    let said = Clean::of(as_root("chroot").arg(root.path()).args(["/usr/bin/jq", "-n", "1 + 1"]));
    assert_eq!(said.clean(), "2\n");
    let again = real(&home, &["sync", "mirror"]);
    assert_eq!((&again["fetched_files"], &again["published"]), (&0.into(), &serde_json::Value::Null));
}

/// A whole suite as the archive signed it, believed by the archive's own keys.
#[tokio::test(flavor = "multi_thread")]
async fn case_a31_a_real_suite_is_mirrored_verbatim() {
    let (suite, component) = configured();
    let more = "view = \"verbatim\"\nmax_import = \"500MiB\"";
    let home = Home::with(&repository(&format!("{suite}-updates"), &component, more));
    real(&home, &["sync", "mirror"]);
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    let known = root.known();
    let name = known.iter().find(|name| *name == "tzdata").or(known.first()).expect("updates has packages");
    root.get(&["download", name]).clean();
    let release = get(&server.url(&format!("/mirror/dists/{suite}-updates/InRelease")), &[]).await;
    assert!(release.text().starts_with("-----BEGIN PGP SIGNED MESSAGE-----"));
    let text = root.update().clean();
    assert!(text.contains("Hit:1"), "{text}");
}

/// Nothing is mirrored ahead: the whole suite is there, and what somebody installs is brought.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_the_archive_of_this_machine() {
    let (suite, component) = configured();
    let home = Home::with(&repository(&suite, &component, "mode = \"cache\""));
    let server = home.serve();
    let root = root(&home, &server).await;
    root.update().clean();
    assert!(root.known().len() > 1000);
    root.get(&["install", "busybox-static"]).clean();
    shell(&root);
    root.get(&["install", "hello"]).clean();
    let said = Clean::of(as_root("chroot").arg(root.path()).arg("/usr/bin/hello"));
    assert!(said.clean().contains("world"));
}
