//! Any requests to the agent's API, in-process, over a data path that is none. Each is answered,
//! and failures say why; what the agent exports is a rules file, and what it stored starts the next
//! one as it was.
//!
//! Requests are text, apart by lines of `---`: a line with method and path, then the body. With
//! `toml` and perhaps a number after the path, the body is a rules file that is put into JSON, and the number
//! `confirm`. Two more lines stand for the world: `LINKS tap0 tap1` for the interfaces that are there,
//! `PASS 60` for seconds that pass.

#![no_main]

use std::{cell::OnceCell, thread};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sg_agent::{
    observe::interfaces::View,
    owner::{
        fake::{Clock, Fixture, interface},
        mailbox::{Mailbox, Request as Question, mailbox},
    },
    sources::unix_socket::routes,
};
use sg_api::Failure;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

const REQUESTS: usize = 16;

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fuzz_target!(|text: &str| {
    let requests: Vec<_> = text.split("\n---\n").take(REQUESTS).collect();
    let (agent, inbox) = mailbox();
    let clock = Clock::default();
    let owners = clock.clone();
    thread::scope(|scope| {
        // The owner has a thread of its own, as in the agent.
        scope.spawn(move || {
            let mut host = Fixture::new(interfaces("tap0 tap1 eth0"));
            host.kernel().clock = owners;
            inbox.run(&mut host.owner).expect("nobody stops it");
            restarted(&mut host);
        });
        RUNTIME.with(|runtime| {
            let runtime = runtime.get_or_init(|| {
                Builder::new_current_thread()
                    .enable_time()
                    .max_blocking_threads(1)
                    .build()
                    .expect("a runtime")
            });
            runtime.block_on(talk(agent, &clock, &requests));
        });
    });
});

async fn talk(agent: Mailbox, clock: &Clock, requests: &[&str]) {
    let mut router = routes(agent.clone());
    for request in requests {
        let (line, body) = request.split_once('\n').unwrap_or((request, ""));
        match line.split_once(' ') {
            Some(("LINKS", names)) => {
                // Nobody is there any more after a detach.
                let _ = agent.interfaces_changed(interfaces(names));
            }
            Some(("PASS", seconds)) => {
                let seconds = seconds.parse::<u16>().unwrap_or_default();
                clock.seconds_pass(seconds.into());
                // The owner looks at the time when it has been asked something.
                let _ = agent.ask(Question::Ping).await;
            }
            _ => {
                if let Some(request) = http(line, body) {
                    answered(&mut router, request).await;
                }
            }
        }
    }
}

fn interfaces(names: &str) -> View {
    (2..).zip(names.split(' ').take(8)).map(|(ifindex, name)| interface(ifindex, name)).collect()
}

/// `None` for what no HTTP server lets through.
fn http(line: &str, body: &str) -> Option<Request<Body>> {
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let body = match words.next() {
        Some("toml") => {
            let confirm = words.next().and_then(|word| word.parse::<i64>().ok());
            json!({ "file": "f", "text": body, "confirm": confirm }).to_string()
        }
        _ => body.to_owned(),
    };
    Request::builder().method(method).uri(path).body(Body::from(body)).ok()
}

async fn answered(router: &mut Router, request: Request<Body>) {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = router.call(request).await.unwrap_or_else(|never| match never {});
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    match status.as_u16() {
        // No body, by definition.
        200 | 400 | 404 | 409 | 413 | 422 | 503 if method == "HEAD" => {}
        200 if uri.path() == "/v1/export" => {
            if let Err(faults) = sg_policy::parse("export", &body) {
                panic!("the export is refused:\n{}", faults.render(false));
            }
        }
        200 => drop(serde_json::from_slice::<Value>(&body).expect("JSON")),
        // axum itself answers a query that is none in its own words.
        400 if uri.query().is_some() => {}
        400 | 404 | 409 | 413 | 422 | 503 => {
            let failure: Failure = serde_json::from_slice(&body).expect("a failure in JSON");
            assert!(!failure.error.is_empty());
        }
        other => panic!("{method} {uri}: {other} {}", String::from_utf8_lossy(&body)),
    }
}

/// The next agent on the state directory goes on where this one was.
fn restarted(host: &mut Fixture) {
    let before = host.owner.show();
    host.restart(interfaces("tap0 tap1 eth0"));
    let after = host.owner.show();
    assert_eq!(
        serde_json::to_value(&before.rules).expect("JSON"),
        serde_json::to_value(&after.rules).expect("JSON")
    );
}
