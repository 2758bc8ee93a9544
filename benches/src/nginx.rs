//! nginx over a folder of files, as an administrator who cares for speed would set it up.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::Result;

/// Where Debian puts it, which is not in the path of ordinary users.
const PROGRAMS: [&str; 2] = ["/usr/sbin/nginx", "nginx"];

/// A running nginx with two workers, ended when dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    program: &'static str,
    folder: TempDir,
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) address: String,
}

/// The version as `nginx -v` prints it.
pub(crate) fn version() -> Result<String> {
    let output = Command::new(find()?).arg("-v").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.trim().trim_start_matches("nginx version: ").to_owned())
}

fn find() -> Result<&'static str> {
    let works = |program: &&str| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok();
    PROGRAMS.into_iter().find(works).ok_or_else(|| "nginx is needed: apt-get install nginx-light".into())
}

impl Nginx {
    /// Serves `files`, by their names. A `NAME.gz` beside `NAME` is sent to those who accept gzip.
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Result<Self> {
        Self::start_with(|root| {
            for (name, bytes) in files {
                fs::write(root.join(name), bytes)?;
            }
            Ok(String::new())
        })
    }

    /// Serves what `fill` puts into a folder; what it returns stands in the configuration of the server.
    pub(crate) fn start_with(fill: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let program = find()?;
        let folder = TempDir::with_prefix("reservoir-bench-nginx")?;
        let root = folder.path().join("files");
        fs::create_dir(&root)?;
        let locations = fill(&root)?;
        // Freed when dropped; nobody else asks for ephemeral ports in this moment.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, configure(folder.path(), &address.to_string(), &locations))?;
        let child = command(program, folder.path(), &configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let nginx = Self { program, child, address: format!("http://{address}"), folder };
        let patience = Instant::now();
        while TcpStream::connect(address).is_err() {
            if patience.elapsed() > Duration::from_secs(10) {
                let log = fs::read_to_string(nginx.folder.path().join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not start: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// The master; the workers are its children.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("nginx.conf")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let stopped = command(self.program, self.folder.path(), &self.configuration())
            .args(["-s", "stop"])
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn command(program: &str, folder: &Path, configuration: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(configuration).arg("-e").arg(folder.join("error.log"));
    command
}

fn configure(folder: &Path, address: &str, locations: &str) -> String {
    // `user` matters to root only: the workers must be able to read the folder.
    format!(
        "daemon off;
user root;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 100000000;
    open_file_cache max=100 inactive=1h;
    gzip_static on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {address} reuseport; root {folder}/files;
{locations} }}
}}
",
        folder = folder.display(),
    )
}
