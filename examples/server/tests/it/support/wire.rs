//! A wire between a client and our server that writes down what is asked, and can be cut.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Bytes of answers that are written down.
const ANSWERS: usize = 16 << 20;

/// A relay on a free port of the loopback. It lives as long as the test process; each connection ends with its
/// client.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: String,
    heads: Mutex<Vec<u8>>,
    /// What was answered, in the order of its pieces.
    answers: Mutex<Vec<u8>>,
    /// Cut the next answer that is longer, after so many bytes.
    cut: Mutex<Option<usize>>,
    was_cut: AtomicBool,
}

impl Wire {
    /// To the server at `base`, `http://127.0.0.1:PORT`.
    pub fn to(base: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = base.strip_prefix("http://").unwrap().to_owned();
        let state = Arc::new(State {
            server,
            heads: Mutex::default(),
            answers: Mutex::default(),
            cut: Mutex::default(),
            was_cut: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.unwrap(), Arc::clone(&shared));
                thread::spawn(move || relay(&client, &state));
            }
        });
        Self { port, state }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn simple(&self, repository: &str) -> String {
        format!("{}/{repository}/simple/", self.base())
    }

    /// Cuts the next answer that is longer than this.
    pub fn cut_after(&self, bytes: usize) {
        *self.state.cut.lock().unwrap() = Some(bytes);
    }

    pub fn was_cut(&self) -> bool {
        self.state.was_cut.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far, one text each.
    pub fn requests(&self) -> Vec<String> {
        let heads = self.state.heads.lock().unwrap();
        let text = String::from_utf8_lossy(&heads);
        text.split("\r\n\r\n").filter(|head| !head.is_empty()).map(str::to_owned).collect()
    }

    /// Whether any answer, head or body, has one of these words in it, in any case.
    pub fn has_answered(&self, words: &[&str]) -> Option<String> {
        let answers = self.state.answers.lock().unwrap();
        let text = String::from_utf8_lossy(&answers).to_ascii_lowercase();
        words.iter().find(|word| text.contains(*word)).map(|word| (*word).to_owned())
    }

    /// `METHOD PATH` of all requests so far, and whether they had a `Range`.
    pub fn lines(&self) -> Vec<String> {
        let line = |head: &String| {
            let mut words = head.lines().next().unwrap_or_default().split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let range = if head.to_lowercase().contains("\r\nrange:") { " (range)" } else { "" };
            format!("{method} {path}{range}")
        };
        self.requests().iter().map(line).collect()
    }
}

fn relay(client: &TcpStream, state: &Arc<State>) {
    let server = TcpStream::connect(&state.server).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let shared = Arc::clone(state);
    thread::spawn(move || {
        let mut own = Vec::new();
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            own.extend(&buffer[..count]);
            // Heads of two connections do not mix: each is written down when it is whole.
            if own.ends_with(b"\r\n\r\n") {
                shared.heads.lock().unwrap().append(&mut own);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client.try_clone().unwrap());
    let mut passed = 0;
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        passed += count;
        let mut answers = state.answers.lock().unwrap();
        let room = ANSWERS.saturating_sub(answers.len()).min(count);
        answers.extend_from_slice(&buffer[..room]);
        drop(answers);
        let mut cut = state.cut.lock().unwrap();
        if cut.is_some_and(|limit| passed > limit) {
            let keep = count.saturating_sub(passed - cut.take().unwrap());
            state.was_cut.store(true, Ordering::SeqCst);
            let _ = to.write_all(&buffer[..keep]);
            break;
        }
        drop(cut);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
