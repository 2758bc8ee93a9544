//! `serve` as a process: starting, ending, and clients that do not behave.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::support::{
    home::{Home, Server},
    index::{Index, Style, wheel},
    web::{files, get},
};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_healthy_at_once_and_ends_when_asked() {
    for signal in ["TERM", "INT"] {
        let home = Home::new();
        let server = home.serve();
        let health = get(&server.url("/healthz"), &[]).await;
        assert_eq!(health.status, 200, "{}", health.text());
        assert_eq!(health.json()["serving"], true);
        assert!(get(&server.url("/metrics"), &[]).await.text().contains("reservoir_serving 1"));
        assert_eq!(server.end(signal), Some(0), "SIG{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_what_is_not_reading_is_405() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], ""));
    home.sync("python", 0);
    let server = home.serve();
    for path in ["/", "/nothing", "/api/x", "/python/nothing", "/python@99/simple/", "/python/packages/../x"]
    {
        let answer = get(&server.url(path), &[]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let post = super::support::web::ask(http::Method::POST, &server.simple("python"), &[]).await.unwrap();
    assert_eq!(post.status, 405);
}

fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
    stream
}

/// What the server sends until it hangs up.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset counts as hanging up.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_head_without_end_is_refused() {
    let home = Home::new();
    let server = home.serve();
    let mut stream = raw(&server);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").unwrap();
    let filler = format!("x-filler: {}\r\n", "y".repeat(1000));
    let mut sent = 0;
    while sent < 1 << 20 && stream.write_all(filler.as_bytes()).is_ok() {
        sent += filler.len();
    }
    let answer = rest(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(!answer.contains("200 OK"));
}

/// Clients that never finish a request, or never begin one, are hung up on; others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dawdles_is_hung_up_on() {
    let home = Home::new();
    let server = home.serve();
    let waiting: Vec<_> =
        ["", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow:", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"]
            .into_iter()
            .map(|sent| {
                let mut stream = raw(&server);
                stream.write_all(sent.as_bytes()).unwrap();
                tokio::task::spawn_blocking(move || {
                    let start = Instant::now();
                    (sent, rest(&mut stream), start.elapsed())
                })
            })
            .collect();
    assert_eq!(get(&server.url("/healthz"), &[]).await.status, 200);
    for client in waiting {
        let (sent, answer, waited) = client.await.unwrap();
        assert_eq!(answer.contains("200 OK"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
        assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(45), "{sent:?}: {waited:?}");
    }
}

/// Commands of another process are seen by a server that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_commands_share_a_home() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::new();
    let server = home.serve();
    assert_eq!(get(&server.simple("python"), &[]).await.status, 404);
    home.apply(&index.mirror(&["alpha"], "")).expect(0);
    home.sync("python", 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(files(&server.simple("python"), "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
}

/// `schedule` makes a server sync by itself; here a cron expression of every second.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_syncs_by_itself() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], "schedule = \"* * * * * *\""));
    let server = home.serve();
    let start = Instant::now();
    loop {
        let page = get(&format!("{}alpha/", server.simple("python")), &[]).await;
        if page.status == 200 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "no sync came: {}", page.status);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(home.done(["task", "list"]).contains("succeeded"));
}
