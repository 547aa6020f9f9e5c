//! `mubroker serve`: start, stop, who holds the store, what is refused.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use mubroker::client::{Client, NewMessage};
use mubroker::model::{MessageId, MessageState, QueueName, Seq};
use nix::sys::signal::Signal;

use crate::daemon::{Daemon, folder, mubroker, serve};

/// The bound on a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_there_after_a_stop_and_a_start() {
    let folder = folder();
    let queue = QueueName::new("orders").unwrap();
    let daemon = Daemon::start(folder.path());
    let client = Client::connect(&daemon.clients).await.unwrap();
    for n in 1..=20u64 {
        let content = NewMessage::new(format!("{{\"n\":{n}}}")).id(&format!("m{n}")).build();
        let accepted = client.send(&queue, content.unwrap()).await.unwrap();
        assert_eq!(accepted.seq, Seq(n));
    }
    drop(client);
    let socket = daemon.socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner may connect");
    assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));
    assert!(!socket.exists(), "the socket's file is removed");

    let daemon = Daemon::start(folder.path());
    let admin = daemon.admin();
    let overview = admin.overview().await.unwrap();
    assert_eq!((overview.generation.0, overview.queue_count), (2, 1));
    assert_eq!(admin.queue(&queue).await.unwrap().depth, 20);
    let located = admin.locate(&MessageId::new("m7").unwrap()).await.unwrap();
    assert_eq!((located.seq, located.state), (Seq(7), MessageState::Ready));
    assert_eq!(&admin.payload(&queue, Seq(7), None).await.unwrap()[..], b"{\"n\":7}");
    assert_eq!(daemon.end(Signal::SIGINT, STOP_LIMIT).code(), Some(0));
}

#[test]
fn a_second_process_on_a_store_says_who_holds_it() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let second = serve(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("held by process {}", daemon.pid())), "{text}");
    assert!(daemon.socket().exists(), "the first one's socket is left alone");
}

#[test]
fn a_killed_daemons_socket_is_replaced_and_a_living_ones_is_not() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let socket = daemon.socket();
    daemon.end(Signal::SIGKILL, STOP_LIMIT);
    assert!(socket.exists());
    let daemon = Daemon::start(folder.path());
    assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));

    let _other = UnixListener::bind(&socket).unwrap();
    let refused = serve(folder.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("another broker listens there"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let folder = folder();
    let file = folder.path().join("mubroker.toml");
    std::fs::write(&file, "[listen]\nclient = 'tcp://127.0.0.1:0'\n").unwrap();
    let file = file.to_str().unwrap();
    for command in [vec!["serve", "--config", file], vec!["config", "check", "--config", file]] {
        let output = mubroker(&command);
        assert_eq!(output.status.code(), Some(4));
        let text = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "mubroker: {file}:2:1: unknown key `listen.client`; did you mean `listen.clients`?\n"
        );
        assert_eq!(text, expected);
    }
    assert_eq!(mubroker(&["config", "show"]).stdout, include_bytes!("../../config.example.toml"));
}
