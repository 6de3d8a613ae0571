//! Executions of a machine whose one task is a function of Lambda, called over HTTP at an endpoint of the bench's own.
//!
//! `cargo bench --bench services [-- EXECUTIONS]`. The endpoint is a process of its own, on the second core where there is
//! `taskset`, and `quickstep run` has the first. The endpoint reads each request whole and answers with its body; what it
//! manages alone is measured first, with requests that cost nothing to make. With `--test` a few executions show that all
//! outputs are right.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

const DEFINITION: &str = r#"{"StartAt": "Call", "States": {"Call": {"Type": "Task",
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:echo", "End": true}}}"#;

/// Answers each request with its body, on one thread, until the process is ended.
fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let echo = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await;
                let body: Bytes = body
                    .map(http_body_util::Collected::to_bytes)
                    .unwrap_or_default();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            tokio::task::spawn_local(
                hyper::server::conn::http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), echo),
            );
        }
    });
}

/// A command on one core, where that can be had.
fn on_core(core: &str, program: &str) -> Command {
    let has_taskset = Command::new("taskset").arg("-V").output().is_ok();
    let cores = std::thread::available_parallelism().unwrap().get();
    if !has_taskset || cores < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]);
    command
}

struct Endpoint(Child, String);

impl Drop for Endpoint {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn endpoint() -> Endpoint {
    let own = std::env::current_exe().unwrap();
    let mut child = on_core("1", own.to_str().unwrap())
        .arg("--endpoint")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut addr = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut addr)
        .unwrap();
    Endpoint(child, addr.trim().to_owned())
}

/// Requests a second that the endpoint answers on one connection, 64 at a time.
fn endpoint_alone(addr: &str, requests: usize) -> f64 {
    const AT_A_TIME: usize = 64;
    let one = "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{\"id\":1234}";
    let batch = one.repeat(AT_A_TIME);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    // The first answer tells how long they all are.
    stream.write_all(one.as_bytes()).unwrap();
    let mut first = [0; 4096];
    let length = stream.read(&mut first).unwrap();
    let mut answers = vec![0; length * AT_A_TIME];
    let began = Instant::now();
    for _ in 0..requests / AT_A_TIME {
        stream.write_all(batch.as_bytes()).unwrap();
        stream.read_exact(&mut answers).unwrap();
    }
    requests as f64 / began.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--endpoint") {
        return serve();
    }
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let mut numbers = arguments
        .iter()
        .filter_map(|argument| argument.parse().ok());
    let executions: usize = numbers
        .next()
        .unwrap_or(if is_test { 500 } else { 200_000 });
    let folder = std::env::temp_dir().join(format!("quickstep-services-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (definition, events) = (folder.join("m.asl.json"), folder.join("events.ndjson"));
    fs::write(&definition, DEFINITION).unwrap();
    let lines: String = (0..executions)
        .map(|n| format!("{{\"id\":{n}}}\n"))
        .collect();
    fs::write(&events, &lines).unwrap();
    let endpoint = endpoint();
    if !is_test {
        let alone = endpoint_alone(&endpoint.1, executions);
        println!("endpoint alone: {alone:.0} requests/s");
    }
    let outputs = folder.join("outputs.ndjson");
    let began = Instant::now();
    let status = on_core("0", env!("CARGO_BIN_EXE_quickstep"))
        .args(["run", "--quiet", "--workers", "1", "--in-flight", "256"])
        .arg("--endpoint")
        .arg(format!("lambda=http://{}", endpoint.1))
        .args([&definition, &events])
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any")
        .stdout(File::create(&outputs).unwrap())
        .status()
        .unwrap();
    let elapsed = began.elapsed().as_secs_f64();
    assert!(status.success());
    assert_eq!(
        fs::read_to_string(&outputs).unwrap(),
        lines,
        "every event comes back, in order"
    );
    fs::remove_dir_all(&folder).unwrap();
    println!(
        "{executions} executions in {elapsed:.2} s: {:.0}/s",
        executions as f64 / elapsed
    );
}
