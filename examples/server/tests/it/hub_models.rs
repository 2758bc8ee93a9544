//! Models beyond serving: put where programs use them, selected by a list, shown to who decides.

use std::{fs, os::unix::fs::MetadataExt as _};

use reservoir_core::testing::upstream::Reply;
use serde_json::{Value, json};

use super::{
    backends::bucket,
    hub::HOSTED,
    support::{
        home::Home,
        hub::{Hub, lfs, noise, regular, safetensors},
        hub_client,
        web::{Answer, get},
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
        // What the patterns left out is told, and is as it was asked for.
        assert_eq!(
            (code, &done["files"], &done["left_out"][0], &done["absent"]),
            (0, &4.into(), &"left.out".into(), &json!([])),
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

/// What a killed process left beside its destination is gone once the next has filled it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_removed_by_the_next() {
    let hub = hub().await;
    let home = Home::with(&mirror(&hub, "models = [\"org/tiny\"]"));
    home.sync("hub", 0);
    let parent = home.path().join("models");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&parent).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // One that was done before it could be killed is no example.
    for attempt in 0..50 {
        let name = format!("m{attempt}");
        let to = parent.join(&name);
        let arguments = ["materialize", "hub", "org/tiny@main", to.to_str().unwrap(), "--files", "copy"];
        let mut command = home.command();
        let mut child = command.args(arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if names().iter().any(|left| left.starts_with(&format!(".{name}."))) {
                child.kill().unwrap();
                child.wait().unwrap();
                break;
            }
        }
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
            continue;
        }
        assert_eq!(names().len(), 1, "{:?}", names());
        home.done(arguments);
        assert_eq!(names(), [name]);
        return;
    }
    panic!("none of fifty was killed in time");
}

/// A revision of a cache of which nobody asked for all files is told to be here in part: the first of those that are
/// not, and how many.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_of_a_revision_is_told() {
    let mut hub = Hub::start().await;
    let names: Vec<String> = (0..30).map(|number| format!("left/{number:02}.out")).collect();
    let left = names.iter().map(|name| (name.as_str(), regular("by patterns")));
    hub.commit("org/tiny", "First", left.chain([("config.json", regular("{}"))]));
    let cache = mirror(&hub, "mode = \"cache\"").replace("ignore_patterns = [\"left.out\"]\n", "");
    let home = Home::with(&cache);
    let server = home.serve();
    assert_eq!(get(&server.url("/hub/org/tiny/resolve/main/config.json"), &[]).await.status, 200);
    drop(server);
    let run = home.run(["materialize", "hub", "org/tiny@main", home.path().join("x").to_str().unwrap()]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stdout.contains("left/09.out") && !run.stdout.contains("left/10.out"), "{run:?}");
    assert!(run.stdout.contains("30 of 31 files"), "{run:?}");
    // A model may have a file of the name that our list has in buckets; in a folder there is no list.
    let list = home.path().join("y");
    hub.commit("org/list", "First", [(".reservoir.json", regular("{}"))]);
    let home = Home::with(&mirror(&hub, "models = [\"org/list\"]"));
    home.sync("hub", 0);
    home.done(["materialize", "hub", "org/list@main", list.to_str().unwrap()]);
    assert_eq!(fs::read(list.join(".reservoir.json")).unwrap(), b"{}");
    let to = bucket(&home, "S3S");
    let run = home.run(["materialize", "hub", "org/list@main", &to]);
    assert!(run.code != 0 && run.stderr.contains("`.reservoir.json` is not supported"), "{run:?}");
    assert_eq!(object(&to, "S3S", ".reservoir.json").0, "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_put_below_a_prefix_of_a_bucket() {
    put_below_a_prefix("S3S").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_put_below_a_prefix_of_garage() {
    put_below_a_prefix("GARAGE").await;
}

async fn put_below_a_prefix(server: &str) {
    let hub = {
        let mut hub = hub().await;
        let odd = [
            ("deep/er/\u{e9} b.txt", regular("text")),
            ("deep/100% a~b#c[1]{2}+=&!$'(),;:@?.txt", regular("odd")),
            ("\u{d55c}\u{ae00}.json", regular("{}")),
            ("model.safetensors", lfs(safetensors(&noise(9_000_000, 1)))),
        ];
        hub.commit("org/odd", "First", odd);
        hub
    };
    let home = Home::with(&mirror(&hub, "models = [\"org/odd\"]"));
    home.sync("hub", 0);
    let to = bucket(&home, server);
    let (code, done) = home.json(["materialize", "hub", "org/odd@main", &to]);
    assert_eq!((code, &done["files"]), (0, &4.into()), "{done:#}");
    let again = home.run(["materialize", "hub", "org/odd@main", &to]);
    assert!(again.code != 0 && again.stderr.contains("not empty"), "{again:?}");
    // Every object is what the commit has, and the list that is written last says so.
    let files = &hub.get("org/odd", hub.head("org/odd")).files;
    let whole = |to: &str| {
        let (status, list) = object(to, server, ".reservoir.json");
        assert_eq!(status, "200", "{}", String::from_utf8_lossy(&list));
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["files"].as_array().unwrap().len(), 4, "{list:#}");
        for listed in list["files"].as_array().unwrap() {
            let path = listed["path"].as_str().unwrap();
            assert!(object(to, server, path).1 == files[path].bytes, "{path}");
            assert_eq!(listed["sha256"], files[path].sha256().to_string());
        }
    };
    whole(&to);
    // Without the list nobody takes it for whole: damaged bytes end before it.
    let blob = home.blob(&files["model.safetensors"].sha256().to_string());
    let good = fs::read(&blob).unwrap();
    let mut rotten = good.clone();
    rotten[5_000_000] ^= 1;
    fs::write(&blob, rotten).unwrap();
    let mut elsewhere: url::Url = to.parse().unwrap();
    elsewhere.set_path(&format!("{}-again", elsewhere.path()));
    let materialize = || home.run(["materialize", "hub", "org/odd@main", elsewhere.as_str()]);
    assert_ne!(materialize().code, 0);
    for name in [".reservoir.json", "model.safetensors"] {
        assert_eq!(object(elsewhere.as_str(), server, name).0, "404", "{name}");
    }
    // Once they are good again the next attempt goes on, whatever the first had put.
    fs::write(&blob, good).unwrap();
    materialize().expect(0);
    whole(elsewhere.as_str());
    // As after one that was killed: what is there is kept, what is missing comes, and the list after it.
    for name in [".reservoir.json", "deep/er/\u{e9} b.txt"] {
        assert_eq!(ask_s3("DELETE", elsewhere.as_str(), server, name).0, "204", "{name}");
        assert_eq!(object(elsewhere.as_str(), server, name).0, "404", "{name}");
    }
    materialize().expect(0);
    whole(elsewhere.as_str());
}

/// Asks for an object, and prints the status and the bytes of the answer. It signs the very path that it asks for, which curl does not where
/// something in it is escaped.
const ASK_S3: &str = r#"
import datetime, hashlib, hmac, http.client, sys, urllib.parse
method, host, path, region, key, secret = sys.argv[1:]
path = urllib.parse.quote(path, safe="/-_.~")
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
headers = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
names = ";".join(headers)
lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
request = f"{method}\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
parts = [now[:8], region, "s3", "aws4_request"]
scope = "/".join(parts)
text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
signing = ("AWS4" + secret).encode()
for part in parts:
    signing = hmac.digest(signing, part.encode(), "sha256")
signature = hmac.digest(signing, text.encode(), "sha256").hex()
headers["authorization"] = (
    f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}")
connection = http.client.HTTPConnection(host, timeout=60)
connection.request(method, path, headers=headers)
answer = connection.getresponse()
sys.stdout.buffer.write(str(answer.status).encode() + answer.read())
"#;

/// The status and bytes of an object, by other means than ours.
fn object(destination: &str, server: &str, name: &str) -> (String, Vec<u8>) {
    ask_s3("GET", destination, server, name)
}

fn ask_s3(method: &str, destination: &str, server: &str, name: &str) -> (String, Vec<u8>) {
    let url: url::Url = destination.parse().unwrap();
    let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let secret = |name: &str| std::env::var(format!("RESERVOIR_TEST_{server}_{name}")).unwrap();
    let output = std::process::Command::new("python3")
        .args(["-c", ASK_S3, method, query("endpoint").strip_prefix("http://").unwrap()])
        .arg(format!("/{}{}/{name}", url.host_str().unwrap(), url.path()))
        .args([query("region"), secret("KEY"), secret("SECRET")])
        .output()
        .expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (status, bytes) = output.stdout.split_at(3);
    (String::from_utf8(status.to_vec()).unwrap(), bytes.to_vec())
}

/// What a model needs elsewhere is listed, whether it is pulled or not; pulled when it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_needs_is_listed_and_pulled_when_asked_for() {
    let mut hub = Hub::start().await;
    let adapter = "{\"base_model_name_or_path\": \"org/base\", \"revision\": \"v1\"}";
    let code =
        "{\"auto_map\": {\"AutoModel\": \"org/code--modeling.Model\"}, \"tokenizer_name\": \"org/words\"}";
    hub.commit(
        "org/adapter",
        "First",
        [("adapter_config.json", regular(adapter)), ("config.json", regular(code))],
    );
    let old = hub.commit("org/base", "First", [("config.json", regular("{}"))]);
    hub.set_ref("org/base", "refs/tags/v1", old);
    hub.commit("org/base", "Second", [("config.json", regular("{\"new\": 1}"))]);
    hub.commit("org/code", "First", [("modeling.py", regular("x = 1\n"))]);
    hub.commit("org/words", "First", [("tokenizer.json", regular("{}"))]);
    let home = Home::with(&mirror(&hub, "models = [\"org/adapter\"]"));
    home.sync("hub", 0);
    let needs = "needs: [\"org/base@v1\",\"org/code\",\"tokenizer:org/words\"]";
    let shown = home.done(["show", "hub", "org/adapter@main"]);
    assert!(shown.replace(", ", ",").contains(needs), "{shown}");
    let (code, _) = home.json(["show", "hub", "org/base@v1"]);
    assert_ne!(code, 0, "listed, and not here");
    home.apply(&mirror(&hub, "models = [\"org/adapter\"]\ndependencies = true")).expect(0);
    home.sync("hub", 0);
    for needed in ["org/base@v1", "org/code@main", "org/words@main"] {
        assert!(home.done(["history", "hub", needed]).contains("AVAILABLE"), "{needed}");
    }
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
    // Case 48: what was cleaned up is as if it had never been here, and comes back as it was.
    home.done(["cleanup", "hub", "org/tiny@main"]);
    let url = server.url("/hub/org/tiny/resolve/main/config.json");
    let gone = answered(&url, 404).await;
    assert_eq!(gone.header("x-error-code"), "RepoNotFound", "{}", gone.text());
    assert!(gone.json()["error"].as_str().unwrap().contains("is not here"), "{}", gone.text());
    home.sync("hub", 0);
    let file = &hub.get("org/tiny", hub.head("org/tiny")).files["config.json"];
    assert_eq!(answered(&url, 200).await.header("etag"), format!("\"{}\"", file.oid()));
}

/// The answer, once it has this status: another process decided, and servers look every half second.
pub(super) async fn answered(url: &str, status: u16) -> Answer {
    for _ in 0..100 {
        let answer = get(url, &[]).await;
        if answer.status == status {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{url} is not {status} after ten seconds")
}

/// Case 45, of what is uploaded: a pickle that runs something waits for a person with its whole commit, and the branch
/// stays where it was; let in, it is shown as unsafe; refused, it is gated with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_could_run_waits_for_a_person() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let hub = server.url("/hub");
    let python = |script: &str| client.script(&hub, script).expect(0).stdout.trim().to_owned();
    let upload = |name: &str| {
        python(&format!(
            "from huggingface_hub import HfApi\napi = HfApi()\napi.create_repo('org/m', exist_ok=True)\n\
             print(api.upload_file(repo_id='org/m', path_or_fileobj=b'cos\\nsystem\\n(S\\'true\\'\\ntR.' + b'{name}', \
             path_in_repo='{name}').oid)"
        ))
    };
    let info = server.url("/hub/api/models/org/m");
    let commit = upload("one.bin");
    let before = get(&info, &[]).await.json();
    assert_ne!(before["sha"], commit);
    assert_eq!(before["siblings"].as_array().unwrap().len(), 1, "{before:#}");
    let file = |commit: &str, name: &str| server.url(&format!("/hub/org/m/resolve/{commit}/{name}"));
    assert_eq!(get(&file(&commit, "one.bin"), &[]).await.status, 404, "not let in yet");
    home.done(["approve", "hub", &format!("org/m@{commit}"), "--reason", "an example"]);
    assert_eq!(answered(&file(&commit, "one.bin"), 200).await.status, 200);
    assert_eq!(get(&info, &[]).await.json()["sha"], commit);
    let tree = server.url("/hub/api/models/org/m/tree/main?expand=true");
    let tree = get(&tree, &[]).await.json();
    let item = tree.as_array().unwrap().iter().find(|item| item["path"] == "one.bin").unwrap();
    assert_eq!(item["securityFileStatus"]["status"], "unsafe", "{item:#}");
    let whole = get(&format!("{info}?securityStatus=true"), &[]).await.json()["securityRepoStatus"].clone();
    let expected =
        json!({ "scansDone": true, "filesWithIssues": [{ "path": "one.bin", "level": "unsafe" }] });
    assert_eq!(whole, expected);
    let second = upload("two.bin");
    // Of two that wait on one parent, the one let in later would leave the other out of the branch.
    let upload_third = "from huggingface_hub import HfApi\nHfApi().upload_file(repo_id='org/m', path_or_fileobj=b'3', \
                        path_in_repo='three.txt')";
    let told = client.script(&hub, upload_third).expect(1);
    assert!(told.stderr.contains(&format!("the commit {second} waits for approval")), "{}", told.stderr);
    let pull_request = |name: &str| {
        python(&format!(
            "from huggingface_hub import HfApi\nprint(HfApi().upload_file(repo_id='org/m', create_pr=True, \
             path_or_fileobj=b'cos\\nsystem\\n(S\\'true\\'\\ntR.' + b'{name}', path_in_repo='{name}').pr_url)"
        ))
    };
    assert!(pull_request("four.bin").ends_with("/1"));
    assert!(pull_request("five.bin").ends_with("/2"), "the first of them waits too");
    home.done(["reject", "hub", &format!("org/m@{second}"), "--reason", "it runs a program"]);
    let refused = answered(&file(&second, "two.bin"), 403).await;
    assert_eq!(refused.header("x-error-code"), "GatedRepo");
    assert!(refused.text().contains("it runs a program"), "{}", refused.text());
    assert_eq!(get(&info, &[]).await.json()["sha"], commit, "the branch stays");
    python(upload_third);
}

/// A commit that was let in and then refused stays listed, with those before it; its files answer 403 with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_stays_listed() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let hub = server.url("/hub");
    let python = |script: &str| client.script(&hub, script).expect(0).stdout;
    let made = python(
        "from huggingface_hub import HfApi\napi = HfApi()\napi.create_repo('org/m')\n\
         for name in 'abc':\n    print(api.upload_file(repo_id='org/m', path_or_fileobj=name.encode(), \
         path_in_repo=name).oid)",
    );
    let commits: Vec<&str> = made.lines().collect();
    let [_, second, third] = commits[..] else { panic!("{made}") };
    let file = |commit: &str, name: &str| server.url(&format!("/hub/org/m/resolve/{commit}/{name}"));
    home.done(["reject", "hub", &format!("org/m@{second}"), "--reason", "not ours"]);
    let refused = answered(&file(second, "b"), 403).await;
    assert_eq!(refused.header("x-error-code"), "GatedRepo");
    assert!(refused.text().contains("not ours"), "{}", refused.text());
    assert_eq!(get(&file(third, "b"), &[]).await.status, 200, "judged anew with the commit after it");
    let told = python(&format!(
        "from huggingface_hub import HfApi\nfrom huggingface_hub.errors import GatedRepoError\napi = HfApi()\n\
         print([commit.title for commit in api.list_repo_commits('org/m')])\n\
         print([(file.path, file.security.safe) for file in api.list_repo_tree('org/m', revision='{second}', \
         expand=True)])\n\
         print(api.model_info('org/m').sha, [file.rfilename for file in \
         api.model_info('org/m', revision='{second}').siblings])\n\
         try:\n    api.hf_hub_download('org/m', 'a', revision='{second}')\n\
         except GatedRepoError as error:\n    print('not ours' in str(error))"
    ));
    let expected = format!(
        "['Upload c with huggingface_hub', 'Upload b with huggingface_hub', 'Upload a with huggingface_hub', \
         'initial commit']\n\
         [('.gitattributes', False), ('a', False), ('b', False)]\n\
         {third} ['.gitattributes', 'a', 'b']\nTrue\n"
    );
    assert_eq!(told, expected);
    // Nothing else is left of a repository: it still says why.
    let all = python(
        "from huggingface_hub import HfApi\nprint(*[c.commit_id for c in HfApi().list_repo_commits('org/m')])",
    );
    for commit in all.split_whitespace().filter(|commit| *commit != second) {
        home.done(["reject", "hub", &format!("org/m@{commit}"), "--reason", "none of it"]);
    }
    let refused = answered(&file("main", "c"), 403).await;
    assert!(refused.text().contains("none of it"), "{}", refused.text());
    assert_eq!(get(&server.url("/hub/api/models/org/m/tree/main"), &[]).await.status, 200);
    let list = async || get(&server.url("/hub/api/models"), &[]).await.json().as_array().unwrap().len();
    for _ in 0..100 {
        if list().await == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it is listed ten seconds after all of it was refused")
}
