//! Hosted models when several people change them, and when somebody has to decide.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use reservoir_core::{
    catalog::{Catalog, CatalogOptions},
    lifecycle::{ArtifactLifecycle as _, NewRevision, Status, Transition},
    name::Actor,
};

use super::{
    hub::HOSTED,
    hub_models::answered,
    support::{
        home::{Home, Run, Server},
        hub_client::{self, HubClient},
        web::get,
    },
};

/// Runs a script with `api`, and `pickle(name)`, bytes that would run a program.
fn python(client: &HubClient, server: &Server, script: &str) -> Run {
    let script = format!(
        "from huggingface_hub import HfApi\nfrom huggingface_hub.errors import HfHubHTTPError\napi = HfApi()\n\
         def pickle(name):\n    return b\"cos\\nsystem\\n(S'true'\\ntR.\" + name.encode()\n\
         def put(data, path, **more):\n    return api.upload_file(repo_id='org/m', path_or_fileobj=data, \
         path_in_repo=path, **more)\n\
         def refused(call, reason):\n    try:\n        call()\n    except HfHubHTTPError as error:\n        \
         assert error.response.status_code == 409 and reason in str(error), error\n    else:\n        \
         raise SystemExit('let through')\n{script}"
    );
    client.script(&server.url("/hub"), &script).expect(0)
}

/// A copy that has to be judged again may have to wait: the model stays where it is then, and as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_loses_nothing() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let run = python(&client, &server, "api.create_repo('org/m')\nprint(put(pickle('a'), 'a.bin').oid)");
    let waiting = run.stdout.trim();
    let rename = "refused(lambda: api.move_repo('org/m', 'org/n'), 'waits for approval')";
    python(&client, &server, rename);
    home.done(["approve", "hub", &format!("org/m@{waiting}"), "--reason", "as an example"]);
    let file = server.url("/hub/org/m/resolve/main/a.bin");
    answered(&file, 200).await;
    python(&client, &server, "refused(lambda: api.move_repo('org/m', 'org/n'), '`org/m` stays')");
    assert_eq!(get(&file, &[]).await.status, 200);
    assert_eq!(get(&server.url("/hub/api/models/org/n"), &[]).await.status, 404);
    // Without the file that has to be judged by a person, all of it moves at once.
    let moved = python(
        &client,
        &server,
        "api.create_repo('org/plain')\n\
         for name in 'abc':\n    api.upload_file(repo_id='org/plain', path_or_fileobj=name.encode(), path_in_repo=name)\n\
         before = [commit.commit_id for commit in api.list_repo_commits('org/plain')]\n\
         api.move_repo('org/plain', 'org/moved')\n\
         assert before == [commit.commit_id for commit in api.list_repo_commits('org/moved')]\n\
         assert not api.repo_exists('org/plain')\nprint(len(before))",
    );
    assert_eq!(moved.stdout.trim(), "4");
    // And back, with what changed meanwhile; never over another one, be it one whose commits are the same in part.
    python(
        &client,
        &server,
        "api.create_tag('org/moved', tag='v1')\napi.move_repo('org/moved', 'org/plain')\n\
         assert [ref.name for ref in api.list_repo_refs('org/plain').tags] == ['v1']\n\
         api.move_repo('org/plain', 'org/moved')\napi.create_repo('org/plain')\n\
         refused(lambda: api.move_repo('org/plain', 'org/moved'), 'is there already')\n\
         assert len(api.list_repo_commits('org/moved')) == 4",
    );
}

/// What a rename that was interrupted left under the new name may have been refused there: the old one is all there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_onto_a_refused_commit_loses_nothing() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    let run = python(&client, &server, "api.create_repo('org/m')\nprint(put(b'a', 'a').oid)");
    let commit = run.stdout.trim();
    let url = format!("sqlite:{}", home.path().join("catalog.sqlite").display());
    let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
    let hub = catalog.repository(&"hub".parse().unwrap()).await.unwrap().id;
    let there = NewRevision { artifact: "org/n".parse().unwrap(), revision: commit.parse().unwrap() };
    let tester: Actor = "tester".parse().unwrap();
    for told in ["too heavy", "is REJECTED as one of `org/n`", "is REJECTED as one of `org/n`"] {
        let id = catalog.register(hub, std::slice::from_ref(&there), &tester).await.unwrap()[0];
        let found = catalog.revision(id).await.unwrap();
        let way = [Status::Scanned, Status::Pulling, Status::Pulled, Status::Rejected];
        let steps = way.windows(2).map(|step| Transition {
            revision: id,
            from: step[0],
            attempt: found.attempt,
            to: step[1],
            actor: tester.clone(),
            reason: "too heavy".into(),
        });
        if found.status == Status::Scanned {
            catalog.transition(&steps.collect::<Vec<_>>(), None).await.unwrap();
        }
        let rename = format!("refused(lambda: api.move_repo('org/m', 'org/n'), '{told}')");
        python(&client, &server, &rename);
        assert_eq!(get(&server.url("/hub/org/m/resolve/main/a"), &[]).await.status, 200);
    }
    // Nor does trying lift the refusal.
    let id = catalog.register(hub, std::slice::from_ref(&there), &tester).await.unwrap()[0];
    assert_eq!(catalog.revision(id).await.unwrap().status, Status::Rejected);
    catalog.close().await;
}

/// Git counts seconds: the same change of two branches in one second is two commits here, so that both move.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_change_of_two_branches_moves_both() {
    let home = Home::with(HOSTED);
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let script = "api.create_repo('org/m')\napi.create_branch('org/m', branch='dev')\n\
                  commits = [put(b'x', 'x', revision=branch, commit_message='x').oid for branch in ['main', 'dev']]\n\
                  assert len(set(commits)) == 2, commits\n\
                  refs = {ref.name: ref.target_commit for ref in api.list_repo_refs('org/m').branches}\n\
                  assert [refs['main'], refs['dev']] == commits, (refs, commits)\n\
                  asked = [put(b'y', 'y', create_pr=True, commit_message='y').pr_num for _ in range(2)]\n\
                  assert asked == [1, 2], asked\n\
                  refs = api.list_repo_refs('org/m', include_pull_requests=True).pull_requests\n\
                  assert len({ref.target_commit for ref in refs}) == 2, refs\n\
                  files = api.list_repo_tree('org/m', expand=True, recursive=True)\n\
                  print({file.path: file.last_commit.title for file in files})";
    let run = python(&hub_client::newest(), &server, script);
    assert_eq!(run.stdout.trim(), "{'.gitattributes': 'initial commit', 'x': 'x'}", "who brought each file");
    let tree = server.url("/hub/api/models/org/m/tree/main?cursor=3");
    assert_eq!(get(&tree, &[]).await.status, 400, "no cursor that was given out");
}

/// What was decided and is not published yet counts: a second commit waits, a second tag joins the first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_yet_is_not_left_behind() {
    let home = Home::with(&format!("{HOSTED}publish = \"manual\"\n"));
    let server = home.serve_with(&["--allow-anonymous-writes"]);
    let client = hub_client::newest();
    python(&client, &server, "api.create_repo('org/m')");
    home.done(["publish", "hub"]);
    answered(&server.url("/hub/api/models/org/m"), 200).await;
    python(
        &client,
        &server,
        "api.create_tag('org/m', tag='one')\napi.create_tag('org/m', tag='two')\n\
         refused(lambda: api.create_tag('org/m', tag='one'), 'is there already')\n\
         put(b'a', 'a')\nrefused(lambda: put(b'b', 'b'), 'waits to be published')",
    );
    home.done(["publish", "hub"]);
    answered(&server.url("/hub/org/m/resolve/main/a"), 200).await;
    python(
        &client,
        &server,
        "assert sorted(ref.name for ref in api.list_repo_refs('org/m').tags) == ['one', 'two']\nput(b'b', 'b')",
    );
    home.done(["publish", "hub"]);
    answered(&server.url("/hub/org/m/resolve/main/b"), 200).await;
    assert_eq!(get(&server.url("/hub/org/m/resolve/main/a"), &[]).await.status, 200);
    // What was rolled back is not waited for.
    let snapshots = home.json(["log", "hub"]).1;
    let before = snapshots["snapshots"][1]["number"].to_string();
    home.done(["rollback", "hub", &before]);
    answered(&server.url("/hub/org/m/resolve/main/b"), 404).await;
    python(&client, &server, "put(b'c', 'c')");
    home.done(["publish", "hub"]);
    answered(&server.url("/hub/org/m/resolve/main/c"), 200).await;
    assert_eq!(get(&server.url("/hub/org/m/resolve/main/b"), &[]).await.status, 404);
}

/// A body that comes after its answer could have been given leaves the connection as it is: a client that keeps
/// connections would be cut off in its next request, or in this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_body_ends_no_connection() {
    let home = Home::with(HOSTED);
    let server = home.serve();
    let address = server.base.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for _ in 0..3 {
        let body = "{\"content\": \"---\\nlicense: mit\\n---\\n\", \"repoType\": \"model\"}";
        let head = format!(
            "POST /hub/api/validate-yaml HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\"warnings\":[]}") {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the connection ended after {answer:?}");
            answer += std::str::from_utf8(&piece[..read]).unwrap();
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
