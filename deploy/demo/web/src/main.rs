//! The web program of the demo stack: counts visits in redis and says which task has answered.
//!
//! `demo-web` serves on port 8000: `/` is the page, `/healthz` says that the program runs.
//! `demo-web check` asks `/healthz` and exits with 0 or 1: the health check of its container, which
//! has no other program. Not part of the cluster; it only runs on it.
#![forbid(unsafe_code)]

mod redis;

use std::convert::Infallible;
use std::env;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// Where the program listens, and where its health check asks.
const PORT: u16 = 8000;
/// A client must send its request within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that run when the program is told to end may take this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the environment says about this task.
struct Settings {
    task: String,
    node: String,
    hostname: String,
    redis: String,
    secret_file: String,
}

impl Settings {
    fn from_environment() -> Self {
        let var = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname");
        Self {
            task: var("TASK_NAME", "unknown"),
            node: var("NODE_NAME", "unknown"),
            hostname: hostname.map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned()),
            redis: var("REDIS", "redis:6379"),
            secret_file: var("SECRET_FILE", "/run/secrets/web_secret"),
        }
    }

    /// What the page says about the secret: never its content.
    async fn secret(&self) -> String {
        match tokio::fs::read(&self.secret_file).await {
            Ok(content) => format!("{} bytes in {}", content.len(), self.secret_file),
            Err(error) => format!("cannot read {}: {error}", self.secret_file),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        None => serve().await,
        Some("check") => check().await,
        Some(other) => Err(io::Error::other(format!("unknown argument \"{other}\""))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-web: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, then finishes what runs.
async fn serve() -> io::Result<()> {
    let settings = Arc::new(Settings::from_environment());
    // As the first process of its container it gets no signal that it has not asked for.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    println!("task {} on node {} listens on port {PORT}", settings.task, settings.node);
    let drain = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        // A client that has gone before it was accepted is no reason to stop.
        let Ok((stream, _)) = accepted else { continue };
        let settings = settings.clone();
        let service = service_fn(move |request| answer(settings.clone(), request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = drain.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection has failed: {error}");
            }
        });
    }
    println!("task {} ends", settings.task);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain.shutdown()).await;
    Ok(())
}

async fn answer(
    settings: Arc<Settings>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, "/") => page(&settings).await,
        (&Method::GET, path) => (StatusCode::NOT_FOUND, format!("there is no page {path}\n")),
        (method, _) => (StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for here\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn page(settings: &Settings) -> (StatusCode, String) {
    let (status, visits) = match redis::increment(&settings.redis, "visits").await {
        Ok(count) => (StatusCode::OK, count.to_string()),
        Err(error) => {
            let reason = format!("unknown: redis at {}: {error}", settings.redis);
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    };
    let Settings { task, node, hostname, .. } = settings;
    let secret = settings.secret().await;
    let text = format!(
        "visits: {visits}\ntask: {task}\nnode: {node}\nhostname: {hostname}\nsecret: {secret}\n"
    );
    (status, text)
}

/// Asks the program in this container whether it is well.
async fn check() -> io::Result<()> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).await?;
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(CHECK_TIMEOUT, ask).await??;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(io::Error::other("/healthz does not answer with status 200")),
    }
}
