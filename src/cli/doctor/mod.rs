//! `mubroker doctor`

mod disk;
mod doors;
mod surroundings;

use clap::Args;
use serde::Serialize;

use super::Exit;
use super::failure::Failure;
use super::output::{json, print};
use super::target::Target;
use crate::admin::dto::Overview;
use crate::config::Config;
use crate::console::text::clean::clean;
use crate::model::with_causes;

/// Look at this machine as a broker needs it, and say what to do: configuration, folders, disk, fsync, clock, limits,
/// ports, the store's version, and the broker that runs
#[derive(Debug, Args)]
#[command(
    after_help = "It is for the machine on which it runs; a broker elsewhere (--url, MUBROKER_URL) it doesn't look at, and says so. \
                        It changes nothing, but writes a small file into the data folder and removes it. It ends with 1 if anything is \
                        wrong, 0 if there are warnings only.\n\nExamples:\n  mubroker doctor\n  \
                        mubroker doctor --config /etc/mubroker.toml --json"
)]
pub struct DoctorArgs {
    /// As a JSON array: check, state (ok, warning, wrong), found, advice
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Warning,
    Wrong,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        }
    }
}

/// What was looked at, how it is, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), advice: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warning, advice: Some(advice.into()), ..Self::ok(check, found) }
    }

    fn wrong(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Wrong, advice: Some(advice.into()), ..Self::ok(check, found) }
    }
}

pub(super) async fn run(args: DoctorArgs) -> Result<Exit, Failure> {
    let findings = match args.target.load() {
        Ok(config) => look(&args.target, &config).await?,
        Err(failure) => {
            let advice =
                "`mubroker config show` prints a file with every key; nothing else was looked at";
            vec![Finding::wrong("configuration", failure.text, advice)]
        }
    };
    if args.json {
        json(&findings)?;
    } else {
        print(&text(&findings))?;
    }
    let is_wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    Ok(if is_wrong { Exit::Failed } else { Exit::Done })
}

async fn look(target: &Target, config: &Config) -> Result<Vec<Finding>, Failure> {
    // Whoever doesn't answer may not run, or hang: the check says which.
    let asked = Target::here(config).overview().await;
    let running: Option<&Overview> = asked.as_ref().ok();
    let mut findings = vec![match config.check_files() {
        Ok(()) => Finding::ok("configuration", "every setting is right"),
        Err(error) => {
            let advice = "a broker of this user would not start; run this as the broker's user";
            Finding::wrong("configuration", with_causes(&error), advice)
        }
    }];
    if let Some(url) = target.elsewhere() {
        let found = format!("{url} is not looked at: all that follows is of this machine");
        let advice = "run doctor where that broker runs; `mubroker queue ls` shows its queues";
        findings.push(Finding::warning("broker elsewhere", found, advice));
    }
    findings.push(surroundings::broker(&config.admin.socket, &asked));
    findings.extend(of_disk(config, running));
    findings.push(surroundings::open_files(config));
    findings.extend(doors::all(config, running));
    findings.extend(doors::in_clear(config));
    Ok(findings)
}

/// After one that hangs the others aren't tried: they would, too.
fn of_disk(config: &Config, running: Option<&Overview>) -> Vec<Finding> {
    type Look = Box<dyn FnOnce() -> Finding + Send>;
    let (data_dir, running) = (config.data_dir.clone(), running.cloned());
    let at = || data_dir.clone();
    let (folder, store, sync, of_clock, config) = (at(), at(), at(), at(), config.clone());
    let looks: [(&'static str, Look); 5] = [
        (disk::FOLDER, Box::new(move || disk::folder(&folder))),
        (disk::STORE_CHECK, Box::new(move || disk::store(&store))),
        (disk::ROOM, Box::new(move || disk::room(&config))),
        (disk::SYNC, Box::new(move || disk::sync(&sync))),
        (surroundings::CLOCK, Box::new(move || surroundings::clock(&of_clock, running.as_ref()))),
    ];
    let mut findings = Vec::new();
    for (check, look) in looks {
        match disk::within(disk::LIMIT, check, look) {
            Ok(finding) => findings.push(finding),
            Err(hangs) => {
                findings.push(hangs);
                break;
            }
        }
    }
    findings
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { check, state, found, advice } in findings {
        out += &format!("{:<8} {check}: {}\n", state.as_str(), clean(found));
        if let Some(advice) = advice {
            out += &format!("         {}\n", clean(advice));
        }
    }
    out
}
