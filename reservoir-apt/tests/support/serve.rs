//! A repository on the loopback, for real clients: routing and answers are the engine's own.

use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderName, Method};
use reservoir_core::serve::Router;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::RwLock,
    task::AbortHandle,
};

use super::site::Site;

/// Stops when dropped.
pub struct Served {
    pub site: Arc<RwLock<Site>>,
    pub base: String,
    log: Arc<Mutex<Vec<String>>>,
    accepting: AbortHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Served {
    pub async fn start(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/{}/", listener.local_addr().unwrap(), site.config.name);
        let site = Arc::new(RwLock::new(site));
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (shared, lines) = (Arc::clone(&site), Arc::clone(&log));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (site, log) = (Arc::clone(&shared), Arc::clone(&lines));
                tokio::spawn(async move { connection(stream, &site, &log).await });
            }
        });
        Self { site, base, log, accepting: task.abort_handle() }
    }

    /// Requests since the last call, as `STATUS PATH`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

async fn connection(stream: TcpStream, site: &RwLock<Site>, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut words = line.split_ascii_whitespace();
        let (method, target): (Method, String) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let mut headers = HeaderMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.append(name.parse::<HeaderName>().ok()?, value.trim().parse().ok()?);
        }
        let site = site.read().await;
        let route = Router::new([site.config.name.clone()]).route(&target);
        let response = match route {
            Ok(route) => site.respond(&route.request(method, None, headers)).await,
            Err(error) => reservoir_core::serve::problem(&error),
        };
        drop(site);
        log.lock().unwrap().push(format!("{} {target}", response.status.as_u16()));
        let mut head = format!("HTTP/1.1 {}\r\n", response.status);
        for (name, value) in &response.headers {
            head += &format!("{name}: {}\r\n", value.to_str().ok()?);
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
        let mut body = response.body.into_stream();
        while let Some(chunk) = body.try_next().await.ok()? {
            stream.write_all(&chunk).await.ok()?;
        }
        stream.flush().await.ok()?;
    }
}
