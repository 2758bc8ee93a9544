//! Models beyond serving: put where programs use them, selected by a list, shown to who decides.

use std::{fs, os::unix::fs::MetadataExt as _};

use reservoir_core::testing::upstream::Reply;
use serde_json::Value;

use super::{
    backends::bucket,
    support::{
        home::Home,
        hub::{Hub, lfs, noise, regular, safetensors},
        web::get,
    },
};

const CARD: &str = "---\nlicense: mit\nmodel-index:\n- name: tiny\n  results:\n  - task:\n      type: \
                    text-classification\n    dataset:\n      name: IMDB\n      type: imdb\n    metrics:\n    - type: \
                    accuracy\n      value: 0.93\n---\n# Tiny\n";
/// `os.system("true")`, as protocol 0 has it.
const EVIL: &[u8] = b"cos\nsystem\n(S'true'\ntR.";

async fn hub() -> Hub {
    let mut hub = Hub::start().await;
    hub.commit(
        "org/tiny",
        "First",
        [
            ("README.md", regular(CARD)),
            ("config.json", regular("{\"architectures\": [\"Bert\"]}")),
            ("deep/er/\u{e9} b.txt", regular("text")),
            ("left.out", regular("by patterns")),
            ("model.safetensors", lfs(safetensors(&noise(9_000_000, 1)))),
        ],
    );
    hub.commit("org/evil", "First", [("model.bin", lfs(EVIL)), ("config.json", regular("{}"))]);
    hub
}

fn mirror(hub: &Hub, keys: &str) -> String {
    format!(
        "[[registry]]\nname = \"upstream\"\necosystem = \"hf\"\nurl = \"{}\"\n\n[[repository]]\nname = \"hub\"\n\
         ecosystem = \"hf\"\nregistry = \"upstream\"\n{keys}\nignore_patterns = [\"left.out\"]\n",
        hub.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_put_into_a_folder_whole_or_not_at_all() {
    let hub = hub().await;
    let home = Home::with(&mirror(&hub, "models = [\"org/tiny\"]"));
    home.sync("hub", 0);
    let files = &hub.get("org/tiny", hub.head("org/tiny")).files;
    for how in ["clone", "copy", "hardlink"] {
        let place = home.path().join("models").join(how);
        let to = place.to_str().unwrap();
        let (code, done) = home.json(["materialize", "hub", "org/tiny@main", to, "--files", how]);
        assert_eq!(
            (code, &done["files"], &done["absent"][0]),
            (0, &4.into(), &"left.out".into()),
            "{done:#}"
        );
        for (path, file) in files.iter().filter(|(path, _)| *path != "left.out") {
            assert!(fs::read(place.join(path)).unwrap() == file.bytes, "{how} {path}");
        }
        let links = fs::metadata(place.join("model.safetensors")).unwrap().nlink();
        assert_eq!(links, if how == "hardlink" { 2 } else { 1 });
        assert!(home.run(["materialize", "hub", "org/tiny@main", to]).code != 0, "something is there");
    }
    // Writing to a clone or a copy changes nothing here.
    fs::write(home.path().join("models/clone/config.json"), "changed").unwrap();
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
    // Damaged bytes go nowhere, and nothing is left of the attempt.
    let blob = home.blob(&files["model.safetensors"].sha256().to_string());
    let mut rotten = fs::read(&blob).unwrap();
    rotten[5_000_000] ^= 1;
    fs::write(&blob, rotten).unwrap();
    for how in ["clone", "copy", "hardlink"] {
        let place = home.path().join("again").join(how);
        let run = home.run(["materialize", "hub", "org/tiny@main", place.to_str().unwrap(), "--files", how]);
        assert!(run.code != 0 && !place.exists(), "{run:?}");
        assert_eq!(fs::read_dir(home.path().join("again")).unwrap().count(), 0, "{how}");
    }
    // Without files there is nothing to put, and what is known stays known.
    home.done(["cleanup", "hub", "org/tiny@main"]);
    assert_ne!(home.run(["materialize", "hub", "org/tiny@main", "nowhere"]).code, 0);
    let (_, shown) = home.json(["show", "hub", "org/tiny"]);
    assert_eq!(shown["revisions"][0]["status"], "SCANNED");
    assert_eq!(shown["revisions"][0]["files"].as_array().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_put_below_a_prefix_of_a_bucket() {
    let hub = hub().await;
    let home = Home::with(&mirror(&hub, "models = [\"org/tiny\"]"));
    home.sync("hub", 0);
    let to = bucket(&home, "S3S");
    let (code, done) = home.json(["materialize", "hub", "org/tiny@main", &to]);
    assert_eq!((code, &done["files"]), (0, &4.into()), "{done:#}");
    let again = home.run(["materialize", "hub", "org/tiny@main", &to]);
    assert!(again.code != 0 && again.stderr.contains("not empty"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_a_list_is_served_or_told_with_its_line() {
    let mut hub = hub().await;
    hub.commit("org/away", "First", [("config.json", regular("{}"))]);
    let config = hub.file("org/away", hub.head("org/away"), "config.json");
    hub.upstream.route(config, Reply::status(404));
    let home = Home::with(&mirror(&hub, ""));
    let list = "displayName,path,network_arch,is_backbone\nTiny,hf_model://org/tiny,bert,True\n\
                Theirs,ngc://nvidia/tao/x:1.0,vit,True\nNobody,hf_model://org/nobody,x,False\n\
                Evil,hf_model://org/evil,x,False\nAway,hf_model://org/away,x,False\n";
    let file = home.write("models.csv", list);
    let (code, told) = home.json(["import-list", file.to_str().unwrap()]);
    assert_eq!(code, 3, "{told:#}");
    let lines = |key: &str| -> Vec<u64> {
        let rows = told[key].as_array().unwrap().iter();
        rows.map(|row| row["line"].as_u64().unwrap()).collect()
    };
    assert_eq!((lines("served"), lines("refused")), (vec![2], vec![3, 4, 5, 6]), "{told:#}");
    let reason = |at: usize| told["refused"][at]["reason"].as_str().unwrap().to_owned();
    assert!(reason(0).contains("ngc://") && reason(1).contains("org/nobody"), "{told:#}");
    assert!(reason(2).contains("NEEDS_APPROVAL") && reason(3).contains("FAILED"), "{told:#}");
    let text = home.run(["import-list", file.to_str().unwrap(), "--repo", "hub"]);
    assert!(
        text.code == 3 && text.stdout.contains("line 3") && text.stdout.contains("1 of 5 rows"),
        "{text:?}"
    );
    let nonsense = home.write("other.csv", "a,b\n1,2\n");
    assert!(home.run(["import-list", nonsense.to_str().unwrap()]).code != 0);
}

/// What a person sees before deciding, and what clients see of what scanners said.
#[tokio::test(flavor = "multi_thread")]
async fn cards_and_verdicts_are_shown() {
    let hub = hub().await;
    let home = Home::with(&mirror(&hub, "models = [\"org/tiny\", \"org/evil\"]"));
    home.sync("hub", 3);
    let shown = home.done(["show", "hub", "org/tiny@main"]);
    for fact in
        ["license: [\"mit\"]", "text-classification on IMDB: accuracy 0.93", "architectures: [\"Bert\"]"]
    {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    home.done(["approve", "hub", "org/evil@main", "--reason", "as an example"]);
    let server = home.serve();
    let tree = async |repo: &str| -> Value {
        let url = server.url(&format!("/hub/api/models/{repo}/tree/main?recursive=true&expand=true"));
        get(&url, &[]).await.json()
    };
    let of = |tree: &Value, path: &str| {
        let mut items = tree.as_array().unwrap().iter();
        items.find(|item| item["path"] == path).unwrap()["securityFileStatus"].clone()
    };
    let tiny = tree("org/tiny").await;
    assert_eq!(of(&tiny, "model.safetensors")["status"], "safe");
    assert_eq!(of(&tiny, "left.out")["status"], "unscanned", "nobody looked at it");
    let evil = of(&tree("org/evil").await, "model.bin");
    assert_eq!(evil["status"], "unsafe", "{evil:#}");
    let import = &evil["pickleImportScan"]["pickleImports"][0];
    assert_eq!((&import["module"], &import["name"]), (&"os".into(), &"system".into()));
    let found = get(&server.url("/hub/api/models?filter=license:mit"), &[]).await.json();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
    // Case 48: what was cleaned up is not there, and comes back as it was.
    home.done(["cleanup", "hub", "org/tiny@main"]);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let url = server.url("/hub/org/tiny/resolve/main/config.json");
    assert!(matches!(get(&url, &[]).await.status, 403 | 404));
    home.sync("hub", 0);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let file = &hub.get("org/tiny", hub.head("org/tiny")).files["config.json"];
    assert_eq!(get(&url, &[]).await.header("etag"), format!("\"{}\"", file.oid()));
}
