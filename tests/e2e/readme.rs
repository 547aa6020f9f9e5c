//! The README tells what is so: its tour is run, its tables are made from the source.
//!
//! After a change on purpose: `MUBROKER_UPDATE=1 cargo test --test e2e readme` writes the tables anew.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use mubroker::admin::metrics::{METRICS, Metric};
use mubroker::auth::{Right, Role};
use mubroker::console::command::Mode;
use mubroker::console::keymap;
use mubroker::model::EVENT_TYPES;

use super::harness::{MUBROKER, PATIENCE, Running};

/// Lines of a command that may wait to be compared; the tour's print a few.
const MAX_LINES: usize = 1024;
/// Stands in the README for what differs from run to run.
const ANYTHING: char = '…';

#[test]
fn the_tour_does_what_it_says() {
    let readme = read();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut running = Vec::new();
    let steps = steps(block(&readme, "## Five minutes", "## From your language"));
    assert!(steps.len() > 5, "the tour was not found");
    for step in steps {
        let mut shell = shell(folder.path());
        let background = step.command.ends_with('&');
        let command = step.command.trim_end_matches('&');
        let exec = if background { "exec " } else { "" };
        shell.arg(format!("exec 2>&1; {exec}{command}"));
        let mut child = shell.spawn().expect("bash starts");
        let lines = lines_of(child.stdout.take().expect("piped"));
        let child = Running(child);
        compare(&step, &lines, background);
        if background {
            running.push(child);
        }
    }
}

/// Checks that a table of the README is what the source makes of it; with `MUBROKER_UPDATE` writes it.
fn assert_table(name: &str, expected: &str) {
    let (from, to) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"));
    let readme = read();
    let found = block(&readme, &from, &to);
    if found != expected && std::env::var_os("MUBROKER_UPDATE").is_some() {
        let updated =
            readme.replace(&format!("{from}{found}{to}"), &format!("{from}{expected}{to}"));
        std::fs::write(path(), updated).expect("the README can be written");
        return;
    }
    assert!(
        found == expected,
        "the README's table {name} is not what the source makes of it; MUBROKER_UPDATE=1 writes it"
    );
}

#[test]
fn the_key_table_is_the_consoles() {
    let mut table = "| key | where | what it does | name |\n|---|---|---|---|\n".to_owned();
    for row in keymap::TABLE.iter().filter(|row| !row.keys.is_empty()) {
        let keys: Vec<String> = row.keys.iter().map(|key| format!("`{}`", key.name())).collect();
        let modes = modes(row.modes);
        let name = row.name().map_or(String::new(), |name| format!("`{name}`"));
        table += &format!("| {} | {modes} | {} | {name} |\n", keys.join(" "), row.help);
    }
    assert_table("keys", &table);
}

#[test]
fn the_events_are_those_of_the_source() {
    let mut table = "| type | what it tells; its `details` |\n|---|---|\n".to_owned();
    for (kind, text) in EVENT_TYPES {
        table += &format!("| `{kind}` | {text} |\n");
    }
    assert_table("events", &table);
}

#[test]
fn the_metrics_are_those_of_the_source() {
    let mut table = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, help } in METRICS {
        let labels: Vec<String> =
            labels.split(',').filter(|it| !it.is_empty()).map(|it| format!("`{it}`")).collect();
        let labels = labels.join(", ");
        table += &format!("| `{name}` | {} | {labels} | {help} |\n", kind.as_str());
    }
    assert_table("metrics", &table);
}

#[test]
fn the_rights_of_roles_are_those_of_the_source() {
    let roles = Role::ALL.map(Role::name).join(" | ");
    let mut table =
        format!("| right | {roles} | what it is for |\n|---|{}---|\n", "---|".repeat(6));
    for right in Right::ALL {
        let has = Role::ALL.map(|role| if role.rights().contains(&right) { "x" } else { "" });
        table += &format!("| `{right}` | {} | {} |\n", has.join(" | "), right.allows());
    }
    assert_table("rights", &table);
}

/// Where a key works, in a few words.
fn modes(modes: &[Mode]) -> String {
    if modes.len() == Mode::ALL.len() {
        return "everywhere".to_owned();
    }
    let names: Vec<String> = modes.iter().map(|mode| format!("{mode:?}").to_lowercase()).collect();
    let lists = ["queues", "queue", "message", "workers", "journal", "events", "patterns"];
    if lists.iter().all(|list| names.iter().any(|name| name == list)) {
        let rest = names.iter().filter(|name| !lists.contains(&name.as_str())).cloned();
        return std::iter::once("screens".to_owned()).chain(rest).collect::<Vec<_>>().join(", ");
    }
    names.join(", ")
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let readme = read();
    let table = block(&readme, "## Exit codes", "## How fast");
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| code"));
    let codes: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).collect();
    assert_eq!(codes, ["| 0", "| 1", "| 2", "| 3", "| 4", "| 5", "| 6", "| 130"]);
    let help = Command::new(MUBROKER).arg("--help").output().expect("mubroker starts");
    let help =
        String::from_utf8_lossy(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for code in [
        "0 done",
        "1 failed",
        "2 wrong usage",
        "3 the store is held",
        "4 the configuration",
        "5 no broker",
        "6 the broker refused",
        "130 Ctrl-C",
    ] {
        assert!(help.contains(code), "{code} is not in --help");
    }
}

struct Step {
    command: String,
    output: Vec<String>,
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn read() -> String {
    std::fs::read_to_string(path()).expect("the README")
}

fn block<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{from:?} is in the README"));
    rest.split_once(to).unwrap_or_else(|| panic!("{to:?} comes after {from:?}")).0
}

/// The commands of all `console` blocks: `$ ` begins one, `> ` goes on with it, the rest is its output.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for part in text.split("```console\n").skip(1) {
        for line in part.split("```").next().unwrap_or_default().lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), output: Vec::new() });
                continue;
            }
            let step = steps.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ") {
                Some(more) if step.output.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => step.output.push(line.to_owned()),
            }
        }
    }
    steps
}

fn shell(folder: &Path) -> Command {
    let binary = Path::new(MUBROKER).parent().expect("a binary is in a folder");
    let search = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .current_dir(folder)
        .env("PATH", search)
        .env("HOME", folder)
        // Whatever else runs on this machine: ports of our own.
        .env("MUBROKER_LISTEN__CLIENTS", "tcp://127.0.0.1:0")
        .env("MUBROKER_LISTEN__WORKERS", "tcp://127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for name in ["XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
        shell.env_remove(name);
    }
    shell
}

fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = sync_channel(MAX_LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Each expected line must come; after a command that ended, nothing more.
fn compare(step: &Step, lines: &Receiver<String>, background: bool) {
    let mut seen = Vec::new();
    for expected in &step.output {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("`{}` said {seen:#?} and then not {expected:?}", step.command)
        });
        assert!(
            matches(expected, line.trim_end()),
            "`{}` said\n  {line}\nthe README says\n  {expected}\nbefore it: {seen:#?}",
            step.command
        );
        seen.push(line);
    }
    if !background && let Ok(more) = lines.recv_timeout(PATIENCE) {
        panic!("`{}` said more than the README: {more}", step.command);
    }
}

/// Whether `line` is `expected`, in which `…` stands for anything and spaces for any number of them.
fn matches(expected: &str, line: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, line) = (squeeze(expected), squeeze(line));
    let mut parts = expected.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn the_comparison_of_lines_knows_a_difference() {
    assert!(matches("a …  c", "a b c"));
    assert!(matches("… ago", "3 s ago"));
    assert!(!matches("a … c", "a b d"));
    assert!(!matches("a", "a b"));
    assert!(!matches("a b … c", "a c"));
}
