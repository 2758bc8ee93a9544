//! TLS in front of our server, as sites have it: nginx with a certificate of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A running nginx; killed, by its process id, when dropped.
#[derive(Debug)]
pub struct Tls {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Tls {
    /// In front of the server at `base`.
    pub fn before(base: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(folder.path())
            .output()
            .expect("openssl is installed by scripts/test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Freed when dropped; nobody else asks for ephemeral ports in this moment.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = folder.path().display();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/error.log;\n\
             events {{}}\nhttp {{\n  access_log off;\n  proxy_temp_path {place}/proxy;\n  \
             client_body_temp_path {place}/body;\n  fastcgi_temp_path {place}/f;\n  uwsgi_temp_path {place}/u;\n  \
             scgi_temp_path {place}/s;\n  server {{\n    listen 127.0.0.1:{port} ssl;\n    \
             ssl_certificate {place}/certificate.pem;\n    ssl_certificate_key {place}/key.pem;\n    \
             location / {{\n      proxy_pass {base};\n      proxy_http_version 1.1;\n      \
             proxy_set_header Host $http_host;\n      proxy_set_header X-Forwarded-Proto https;\n    }}\n  }}\n}}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, configuration).unwrap();
        let program = ["/usr/sbin/nginx", "nginx"]
            .into_iter()
            .find(|program| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok())
            .expect("nginx is installed by scripts/test");
        let child = Command::new(program)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tls = Self { folder, child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(tls.folder.path().join("error.log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(20), "nginx does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        tls
    }

    pub fn base(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate that clients have to trust.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
