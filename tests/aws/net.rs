//! The client of HTTP/1.1: connections that last, and whatever may be wrong with them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use quickstep::internal::net::{
    AddressFilter, Client, Error, ErrorKind, Limits, Request, is_private,
};
use quickstep::server::{ServerOptions, Tls};
use tokio::runtime::Runtime;

use super::scripted::{Deed, PATIENCE, Scripted, answer};
use crate::client::Host;

const BYTES_MAX: usize = 1_000_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn post(url: &str) -> Request {
    let body = Bytes::from_static(b"0123456789");
    hyper::Request::post(url).body(body).unwrap()
}

async fn send(client: &Client, url: &str) -> Result<(u16, Bytes), Error> {
    let answer = client.send(post(url), PATIENCE, BYTES_MAX).await?;
    Ok((answer.status().as_u16(), answer.into_body()))
}

#[test]
fn one_connection_serves_one_call_after_the_other() {
    let server = Scripted::start(|n, _| Deed::Answer(answer(200 + n as u16 % 2, "", b"body")));
    let client = Client::default();
    let runtime = runtime();
    runtime.block_on(async {
        for n in 0..20 {
            let (status, body) = send(&client, &server.url()).await.unwrap();
            assert_eq!((status, &*body), (200 + n % 2, &b"body"[..]));
        }
    });
    assert_eq!(server.accepted(), 1);
    assert_eq!(client.idle_connections(), 1);
    let request = &server.requests()[0];
    assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("host: {}\r\n", server.address)),
        "{request}"
    );
    drop(client);
    server.wait_all_closed();
}

#[test]
fn connections_have_a_bound() {
    // Three requests at a time are waited for, and there are never more.
    let (barrier, under_way, most) = (Barrier::new(3), AtomicUsize::new(0), Arc::default());
    let seen: Arc<AtomicUsize> = Arc::clone(&most);
    let server = Scripted::start(move |_, _| {
        let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(now, Ordering::SeqCst);
        barrier.wait();
        under_way.fetch_sub(1, Ordering::SeqCst);
        Deed::Answer(answer(200, "", b""))
    });
    let limits = Limits {
        connections_max: 3,
        idle_max: 2,
        ..Limits::default()
    };
    let client = Client::builder().limits(limits).build();
    runtime().block_on(async {
        let calls: Vec<_> = (0..99)
            .map(|_| {
                let (client, url) = (client.clone(), server.url());
                tokio::spawn(async move { send(&client, &url).await.map(|(status, _)| status) })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 200);
        }
    });
    // The last two to leave the barrier may be overtaken by those that come next.
    let most = most.load(Ordering::SeqCst);
    assert!((3..=5).contains(&most), "{most}");
    assert!(client.idle_connections() <= 2);
    drop(client);
    server.wait_all_closed();
}

#[test]
fn idle_connections_are_closed() {
    let server = Scripted::always(Deed::Answer(answer(200, "", b"")));
    let limits = Limits {
        idle_time_max: Duration::from_millis(20),
        ..Limits::default()
    };
    let client = Client::builder().limits(limits).build();
    let runtime = runtime();
    runtime.block_on(async { send(&client, &server.url()).await.unwrap() });
    // The client is there still, and so is its runtime.
    server.wait_closed(1);
    assert_eq!(client.idle_connections(), 0);
    runtime.block_on(async { send(&client, &server.url()).await.unwrap() });
    assert_eq!(server.accepted(), 2);
    server.wait_closed(1);
}

#[test]
fn a_connection_that_the_server_has_closed_is_replaced() {
    let server = Scripted::always(Deed::End(answer(200, "", b"x")));
    let client = Client::default();
    let runtime = runtime();
    for n in 1..=5 {
        runtime.block_on(async { send(&client, &server.url()).await.unwrap() });
        server.wait_closed(1);
        // What the server has done reaches the client a little later.
        while client.idle_connections() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(server.accepted(), n);
    }
}

#[test]
fn a_dropped_call_ends_its_connection() {
    for deed in [
        Deed::Stall(Vec::new()),
        Deed::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()),
    ] {
        let server = Scripted::always(deed);
        let client = Client::default();
        runtime().block_on(async {
            let url = server.url();
            let call = send(&client, &url);
            let seen = async {
                while server.requests().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                result = call => panic!("{result:?}"),
                () = seen => {}
            }
            let server = tokio::task::spawn_blocking(move || server.wait_all_closed());
            server.await.unwrap();
        });
        assert_eq!(client.idle_connections(), 0);
    }
}

#[test]
fn failures_have_kinds() {
    let large = answer(200, "", &vec![b'x'; BYTES_MAX + 1]);
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.extend(vec![b'x'; BYTES_MAX + 1]);
    let mut heads = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..10_000 {
        heads.extend(format!("x-{n}: {n}\r\n").into_bytes());
    }
    for (deed, kind, text) in [
        (
            Deed::End(Vec::new()),
            ErrorKind::Reset,
            "closed the connection",
        ),
        (Deed::Reset(Vec::new()), ErrorKind::Reset, ""),
        (
            Deed::End(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
            ErrorKind::Reset,
            "",
        ),
        (
            Deed::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
            ErrorKind::Reset,
            "",
        ),
        (Deed::End(b"HTTP/1.1 200".to_vec()), ErrorKind::Reset, ""),
        (
            Deed::End(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
            ErrorKind::Garbage,
            "what is not HTTP",
        ),
        (
            Deed::End(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            ErrorKind::Garbage,
            "",
        ),
        (Deed::Stall(heads), ErrorKind::Garbage, ""),
        (
            Deed::Stall(large),
            ErrorKind::TooLarge,
            "exceeds 1000000 bytes",
        ),
        (
            Deed::Stall(endless),
            ErrorKind::TooLarge,
            "exceeds 1000000 bytes",
        ),
    ] {
        let shown = format!("{deed:?}").chars().take(80).collect::<String>();
        let server = Scripted::always(deed);
        let client = Client::default();
        let error = runtime().block_on(async {
            let result = send(&client, &server.url()).await;
            result.unwrap_err()
        });
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        assert!(error.to_string().contains(text), "{shown}: {error}");
        assert_eq!(client.idle_connections(), 0, "{shown}");
        server.wait_all_closed();
    }
}

#[test]
fn a_call_has_an_end() {
    let limit = Duration::from_millis(50);
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let server = Scripted::always(Deed::Stall(bytes.to_vec()));
        let client = Client::default();
        let error = runtime().block_on(async {
            let result = client.send(post(&server.url()), limit, BYTES_MAX).await;
            result.unwrap_err()
        });
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        server.wait_all_closed();
    }
}

#[test]
fn who_does_not_listen_or_must_not_be_called() {
    // The port was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Scripted::always(Deed::Answer(answer(200, "", b"")));
    let filter = AddressFilter::new(|address| !is_private(address));
    let careful = Client::builder().filter(filter).build();
    let port = server.address.port();
    runtime().block_on(async {
        let error = send(&Client::default(), &format!("http://{free}/"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        // A name leads to the same addresses, and so does another way of writing one.
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let url = format!("http://{host}:{port}/");
            let error = send(&careful, &url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{url}: {error}");
        }
        let link_local = Client::builder()
            .filter(AddressFilter::no_link_local())
            .build();
        for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]"] {
            let error = send(&link_local, &format!("http://{host}/"))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{host}: {error}");
        }
        let error = send(&Client::default(), "http://no-such-host.invalid/")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unresolved, "{error}");
    });
}

#[test]
fn who_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // It goes once the client has, so that what it said is not lost to a reset.
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let url = format!("https://{address}/");
    let error = runtime().block_on(async {
        let result = send(&Client::default(), &url).await;
        result.unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    server.join().unwrap();
}

#[test]
fn who_proves_who_it_is_and_who_does_not() {
    let folder = std::env::temp_dir().join(format!("quickstep-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name);
    for name in ["right", "wrong"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        std::fs::write(path(&format!("{name}.key")), key).unwrap();
    }
    let host = Host::start(ServerOptions {
        tls: Some(Tls::open(&path("right.pem"), &path("right.key")).unwrap()),
        ..ServerOptions::default()
    });
    let port = host.addr.port();
    let runtime = runtime();
    let get = |authorities: &str, name: &str| {
        let client = Client::builder().authorities(&path(authorities)).build();
        let url = format!("https://{name}:{port}/healthz");
        let request = hyper::Request::get(url).body(Bytes::new()).unwrap();
        let result = runtime.block_on(client.send(request, PATIENCE, BYTES_MAX));
        result.map(|answer| answer.status().as_u16())
    };
    assert_eq!(get("right.pem", "localhost").unwrap(), 200);
    for (authorities, name, why) in [
        (
            "wrong.pem",
            "localhost",
            "failed to set up TLS with localhost: ",
        ),
        (
            "right.pem",
            "127.0.0.1",
            "failed to set up TLS with 127.0.0.1: ",
        ),
        (
            "right.key",
            "localhost",
            "there are no certificates of authorities",
        ),
        ("missing.pem", "localhost", "failed to read authorities in "),
    ] {
        let error = get(authorities, name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().starts_with(why), "{error}");
    }
    drop(host);
    std::fs::remove_dir_all(&folder).unwrap();
}
