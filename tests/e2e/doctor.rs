//! `mubroker doctor`: what it finds on a machine that is right, and on one that isn't.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::harness::{Broker, MUBROKER};

/// What it finds for a broker on this folder, by check; and its exit code.
fn doctor(data_dir: &Path, clients: &str) -> (Vec<Value>, Option<i32>) {
    let mut command = Command::new(MUBROKER);
    command.args(["doctor", "--json", "--data-dir"]).arg(data_dir);
    command.env("MUBROKER_LISTEN__CLIENTS", clients);
    command.env("MUBROKER_LISTEN__WORKERS", "tcp://127.0.0.1:0");
    let output = command.output().expect("mubroker runs");
    let findings = serde_json::from_slice(&output.stdout);
    (findings.expect("a JSON array"), output.status.code())
}

fn of<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str, &'a str) {
    let finding = findings.iter().find(|it| it["check"] == check).expect("it was looked at");
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    (text("state"), text("found"), text("advice"))
}

const FREE: &str = "tcp://127.0.0.1:0";

#[test]
fn a_machine_on_which_nothing_runs_yet_is_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let (findings, code) = doctor(&data_dir, FREE);
    assert_eq!(code, Some(0), "{findings:#?}");
    for check in [
        "configuration",
        "broker",
        "data folder",
        "store",
        "disk",
        "fsync",
        "clock",
        "open files",
        "address",
    ] {
        assert_ne!(of(&findings, check).0, "wrong", "{check}: {findings:#?}");
    }
    assert!(!data_dir.exists(), "it makes nothing");
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "what it measured with is gone");
}

#[test]
fn a_running_broker_is_asked_how_it_is() {
    let broker = Broker::start("");
    let text = broker.run(&["doctor"], b"");
    let pid = broker.get("/v1/overview").expect("it answers")["pid"].clone();
    assert!(text.contains(&format!("runs as process {pid}")), "{text}");
    assert!(text.contains("format 4, this version's"), "{text}");
    assert!(text.contains("the broker listens:"), "{text}");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = folder.path().join("store");
    std::fs::create_dir(&store).expect("a folder");
    std::fs::write(store.join("format"), "mubroker store format 99\n").expect("a store's format");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("its mode");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let clients = format!("tcp://{}", taken.local_addr().expect("its address"));
    let (findings, code) = doctor(folder.path(), &clients);
    assert_eq!(code, Some(1));
    let (state, found, advice) = of(&findings, "store");
    assert!(state == "wrong" && found.contains("99") && advice.contains("later"), "{findings:#?}");
    let (state, found, advice) = of(&findings, "data folder");
    assert!(state == "warning" && found.contains("755") && advice.contains("chmod 700"));
    let (state, found, advice) = of(&findings, "address");
    assert!(state == "wrong" && found.contains("listen.clients") && advice.contains("ss -ltnp"));
}

#[test]
fn a_configuration_that_is_refused_is_the_first_thing_to_mend() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mubroker.toml");
    std::fs::write(&file, "[listen]\nclient = 'x'\n").expect("the file");
    let output = Command::new(MUBROKER).args(["doctor", "--config"]).arg(&file).output();
    let output = output.expect("mubroker runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("WRONG    configuration:") && text.contains(":2:1"), "{text}");
}

#[test]
fn it_looks_at_this_machine_and_says_so_if_a_broker_elsewhere_is_named() {
    let broker = Broker::start("");
    let mut command = Command::new(MUBROKER);
    command.args(["doctor", "--json"]).env("MUBROKER_DATA_DIR", broker.data_dir());
    command.env("MUBROKER_URL", "https://nobody.invalid:8443");
    command.env("MUBROKER_LISTEN__CLIENTS", FREE).env("MUBROKER_LISTEN__WORKERS", FREE);
    let output = command.output().expect("mubroker runs");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a JSON array");
    let (state, found, _) = of(&findings, "broker elsewhere");
    assert!(state == "warning" && found.contains("https://nobody.invalid:8443 is not looked at"));
    assert!(of(&findings, "broker").1.contains("runs as process"), "{findings:#?}");
}

#[test]
fn a_door_where_others_may_read_tokens_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, key) = (folder.path().join("mubroker.toml"), folder.path().join("key"));
    let hash = "0".repeat(64);
    let configured = |auth: &str| {
        let text = format!(
            "data_dir = {:?}\n[listen]\nclients = \"tcp://*:0\"\nworkers = \"tcp://127.0.0.1:0\"\ncurve_key_file = \
             {key:?}\n[auth]\n{auth}\ntokens = [{{ name = 'a', hash = 'sha256:{hash}', role = 'admin' }}]\n",
            folder.path().join("data")
        );
        std::fs::write(&file, text).expect("the file");
        let output =
            Command::new(MUBROKER).args(["doctor", "--json", "--config"]).arg(&file).output();
        let stdout = output.expect("mubroker runs").stdout;
        serde_json::from_slice::<Vec<Value>>(&stdout).expect("a JSON array")
    };
    let findings = configured("");
    let (state, found, advice) = of(&findings, "encryption");
    assert!(state == "warning" && found.contains("listen.clients tcp://*:0 takes tokens in clear"));
    assert!(advice.contains("auth.curve_clients = true"), "{advice}");
    assert_ne!(of(&findings, "address").0, "wrong", "all interfaces are an address: {findings:#?}");
    let findings = configured("curve_clients = true");
    assert!(findings.iter().all(|it| it["check"] != "encryption"), "{findings:#?}");
}
