//! What a shell and `man` are given.

use std::path::Path;
use std::process::Command;

use super::harness::{Broker, MUBROKER};

/// What bash offers for a line whose last word is begun, given the script and a broker's data folder.
fn completed(script: &str, data_dir: &Path, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let begun = words.last().expect("a line has a word");
    let ask = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; COMP_TYPE=9\n\
         _clap_complete_mubroker mubroker '{begun}' x; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let folder = Path::new(MUBROKER).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["-c", &ask]).env("PATH", format!("{}:{path}", folder.display()));
    let output = bash.env("MUBROKER_DATA_DIR", data_dir).output().expect("bash runs");
    let text = String::from_utf8(output.stdout).expect("names");
    text.lines().map(|line| line.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn bash_completes_commands_and_the_names_of_queues_that_there_are() {
    let many: String = (0..250).map(|n| format!("[queues.\"many.{n}\"]\n")).collect();
    let broker = Broker::start(&format!("{many}[queues.\"*\"]\n"));
    for queue in ["invoices", "inbox", "other"] {
        broker.run(&["send", "-q", queue, "1"], b"");
    }
    let script = broker.run(&["completions", "bash"], b"");
    let offered = |line: &str| completed(&script, &broker.data_dir(), line);
    let mut queues = offered("mubroker queue show in");
    queues.sort();
    assert_eq!(queues, ["inbox", "invoices"]);
    assert_eq!(offered("mubroker send -q o"), ["other"]);
    assert_eq!(offered("mubroker send -q many.24").len(), 11, "24, and 240 to 249");
    assert_eq!(offered("mubroker send -q many.").len(), 200, "more than a screen shows");
    assert_eq!(offered("mubroker message show o"), ["other"]);
    assert_eq!(offered("mubroker que"), ["queue"]);
    let all = offered("mubroker ");
    assert!(all.contains(&"doctor".to_owned()), "{all:?}");
    assert!(!all.iter().any(|word| word.starts_with("__")), "what is no command isn't offered");
}

#[test]
fn without_a_broker_no_names_are_offered_and_nothing_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let done = Command::new(MUBROKER).args(["completions", "bash"]).output();
    let script = String::from_utf8(done.expect("mubroker runs").stdout).expect("a script");
    assert!(completed(&script, folder.path(), "mubroker queue show in").is_empty());
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let done = Command::new(MUBROKER).args(["completions", shell]).output();
        assert!(!done.expect("mubroker runs").stdout.is_empty(), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("man1");
    let done = Command::new(MUBROKER).arg("man").arg(&dir).output();
    assert!(done.expect("mubroker runs").status.success());
    let page = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    assert!(page("mubroker.1").contains("Exit codes"), "exit codes are told");
    assert!(page("mubroker-send.1").contains("mubroker send"), "with examples");
    assert!(page("mubroker-message-edit.1").contains("EDITOR"));
    assert!(page("mubroker-__become.1").is_empty(), "what is no command has none");
}
