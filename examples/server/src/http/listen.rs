//! Connections: how many, how patient, and how they end.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1::Builder;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use reservoir_core::{Engine, Error, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{Options, guarded::Guarded};

/// Connections at a time; further ones wait in the operating system's queue. Below the 1024 files that a process
/// may have open by default.
const CONNECTIONS: usize = 800;
/// How long a client may take to send a request, and how long an idle connection is kept.
const HEADERS: Duration = Duration::from_secs(30);
/// Memory for the head of a request; a longer one is answered 431.
const HEAD_LIMIT: usize = 32 << 10;
/// How long running responses may take once the program is asked to end.
const GRACE: Duration = Duration::from_secs(30);
/// A pause when the operating system refuses a connection (no more files), instead of asking in a circle.
const PAUSE: Duration = Duration::from_millis(200);

/// A bound address, before anything is served on it.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
}

/// Binds an address; port 0 takes a free one.
pub(crate) async fn bind(listen: &str) -> Result<Listening> {
    let failed = || Error::io(format!("listen on `{listen}`"));
    let listener = TcpListener::bind(listen).await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    Ok(Listening { listener, address, options: Options::default() })
}

impl Listening {
    /// The address, with the port that was taken.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves so.
    pub(crate) fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Serves until `stop` ends, then lets running responses finish for a while.
    pub(crate) async fn serve(self, engine: Engine, stop: impl Future<Output = ()>) {
        let _fresh = engine.keep_serving_fresh();
        let service = TowerToHyperService::new(super::router(engine, self.options.clone()));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, stream) = tokio::select! {
                () = &mut stop => break,
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (place, stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let (watcher, service) = (graceful.watcher(), service.clone());
            tokio::spawn(async move {
                let builder = builder();
                let connection = builder.serve_connection(TokioIo::new(guard(stream)), service);
                // A client that breaks off is the client's affair.
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "connection ended");
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("some clients did not take their responses in time and were cut off");
        }
    }
}

fn guard(stream: TcpStream) -> Guarded<TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch Nagle's algorithm off");
    }
    Guarded::new(stream)
}

/// HTTP/1.1: what clients of package repositories speak without TLS; a proxy that ends TLS speaks it to us.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEAD_LIMIT);
    builder
}
