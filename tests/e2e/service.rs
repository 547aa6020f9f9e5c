//! The daemon under a service manager: what it tells it, and the unit that describes it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::daemon::{Daemon, folder, serve};
use super::harness::PATIENCE;

/// What comes next; `None` if nothing does.
fn hear(socket: &UnixDatagram) -> Option<String> {
    let mut text = [0; 4096];
    let length = socket.recv(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

#[test]
fn it_says_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let folder = folder();
    let path = folder.path().join("notify");
    let name = format!("mubroker-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an abstract name");
    for (socket, at) in [
        (UnixDatagram::bind(&path), path.display().to_string()),
        (UnixDatagram::bind_addr(&address), format!("@{name}")),
    ] {
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let mut command = serve(folder.path());
        command.env("NOTIFY_SOCKET", at).env("WATCHDOG_USEC", "30000");
        let daemon = Daemon::start_with(command, folder.path());
        let ready = hear(&socket).expect("READY");
        assert!(ready.starts_with("READY=1\n") && ready.contains(&daemon.clients), "{ready}");
        for _ in 0..3 {
            assert_eq!(hear(&socket).as_deref(), Some("WATCHDOG=1"));
        }
        let ended = daemon.end(Signal::SIGTERM, Duration::from_secs(5));
        assert_eq!(ended.code(), Some(0));
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a time limit");
        let rest: Vec<String> = std::iter::from_fn(|| hear(&socket)).collect();
        let last = rest.last().expect("STOPPING");
        assert!(last.starts_with("STOPPING=1\n"), "{rest:?}");
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_answered() {
    let folder = folder();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut command = serve(folder.path());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let daemon = Daemon::start_with(command, folder.path());
    assert!(hear(&socket).expect("READY").starts_with("READY=1"));
    daemon.end(Signal::SIGTERM, Duration::from_secs(5));
    assert!(hear(&socket).expect("STOPPING").starts_with("STOPPING=1"), "nothing was between");
}

#[test]
fn the_unit_starts_what_there_is_and_knows_its_exit_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/mubroker.service");
    let unit = std::fs::read_to_string(path).expect("the unit");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("{key} is not there")).to_owned()
    };
    let mut words: Vec<String> = value("ExecStart").split(' ').map(str::to_owned).collect();
    assert_eq!(words.remove(0), "/usr/local/bin/mubroker");
    use clap::Parser as _;
    let parsed = mubroker::cli::Cli::try_parse_from([vec!["mubroker".to_owned()], words].concat());
    assert!(parsed.is_ok_and(|cli| matches!(cli.command, Some(mubroker::cli::Command::Serve(_)))));
    let codes = [
        mubroker::cli::Exit::Usage as u8,
        mubroker::cli::Exit::StoreHeld as u8,
        mubroker::cli::Exit::Config as u8,
    ];
    assert_eq!(value("RestartPreventExitStatus"), codes.map(|code| code.to_string()).join(" "));
    assert_eq!((value("Type").as_str(), value("KillMode").as_str()), ("notify", "mixed"));
    let limit: u64 = value("LimitNOFILE").parse().expect("a number");
    assert!(limit >= 98_816, "what the log says is needed by default");
}
