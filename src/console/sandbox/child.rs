//! The sandbox's inside: reads a program, then payloads, and says what it makes of each.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::frames::{self, DONE, FORCED, Frame, JQ, PATCH, PAYLOAD, REFUSED};
use crate::admin::dto::MAX_PAYLOAD_BYTES;
use crate::console::text::rework::Rework;

/// For the calls of an expression: some hundred thousand of them. A thread's own has a guard, so that its end is told.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// What a process has in addresses before it does anything, where that can't be asked.
const USUAL_BYTES: u64 = 256 * 1024 * 1024;

/// Answers until `input` ends, then ends this process, whatever the program is at. It may build values of so many bytes.
///
/// Returns only with an error: the limits can't be set, or `input` can't be read. A program that takes too much memory
/// or stack ends the process by SIGABRT, and the reason is on standard error.
pub fn serve(
    memory_bytes: u64,
    mut input: impl Read,
    mut output: impl Write + Send + 'static,
) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // What an operator's own limit leaves, where that is less.
    let (_, most) = getrlimit(Resource::RLIMIT_AS)?;
    let addresses = (addresses_in_use() + STACK_BYTES as u64 + memory_bytes).min(most);
    setrlimit(Resource::RLIMIT_AS, addresses, addresses)?;
    let (given, to_do) = sync_channel(1);
    thread::Builder::new().name("program".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        // After a panic nothing more is said, and who waits must hear of it.
        if catch_unwind(AssertUnwindSafe(|| work(&to_do, &mut output))).is_err() {
            std::process::abort();
        }
    })?;
    while let Some(frame) = frames::read(&mut input)? {
        if given.send(frame).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

/// The size of this process's addresses in bytes: programs and libraries count, too.
fn addresses_in_use() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = size.and_then(|size| size.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map_or(USUAL_BYTES, |kilobytes| kilobytes * 1024)
}

/// Until nobody asks, or nobody reads the answers.
fn work(to_do: &Receiver<Frame>, output: &mut impl Write) {
    let Ok(program) = to_do.recv() else { return };
    let rework = match program_of(program) {
        Ok(rework) => rework,
        Err(why) => return drop(frames::write(output, REFUSED, why.as_bytes())),
    };
    let mut said = frames::write(output, DONE, b"");
    while said.is_ok() {
        let Ok(frame) = to_do.recv() else { return };
        said = match made(&rework, frame) {
            Ok(new) => frames::write(output, DONE, &new),
            Err(why) => frames::write(output, REFUSED, why.as_bytes()),
        };
    }
}

fn program_of((kind, bytes): Frame) -> Result<Rework, String> {
    match kind {
        JQ => Rework::jq(std::str::from_utf8(&bytes).map_err(|error| error.to_string())?),
        PATCH => Rework::patch(&bytes),
        _ => Err(frames::bad("a frame's kind").to_string()),
    }
}

fn made(rework: &Rework, (kind, payload): Frame) -> Result<Vec<u8>, String> {
    let force = match kind {
        PAYLOAD => false,
        FORCED => true,
        _ => return Err(frames::bad("a frame's kind").to_string()),
    };
    let new = rework.apply(&payload, force).map_err(|error| error.to_string())?;
    match new.len() {
        0..=MAX_PAYLOAD_BYTES => Ok(new),
        len => Err(format!("it gives {len} bytes; a payload has at most {MAX_PAYLOAD_BYTES}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to these frames.
    fn answers(asked: Vec<Frame>) -> Vec<(u8, String)> {
        let (given, to_do) = sync_channel(asked.len());
        for frame in asked {
            given.send(frame).unwrap();
        }
        drop(given);
        let mut output = Vec::new();
        work(&to_do, &mut output);
        let mut output = &output[..];
        std::iter::from_fn(|| frames::read(&mut output).unwrap())
            .map(|(kind, bytes)| (kind, String::from_utf8(bytes).unwrap()))
            .collect()
    }

    #[test]
    fn a_program_is_read_once_and_each_payload_gets_its_own_answer() {
        let asked = vec![
            (JQ, b".a += 1".to_vec()),
            (PAYLOAD, br#"{ "a":1, "b": 1.10 }"#.to_vec()),
            (PAYLOAD, b"{".to_vec()),
            (PAYLOAD, br#"{"a":1,"a":2}"#.to_vec()),
            (FORCED, br#"{"a":1,"a":2}"#.to_vec()),
            (b'?', Vec::new()),
            (PAYLOAD, br#"{"a":2}"#.to_vec()),
        ];
        let said = answers(asked);
        assert_eq!(said[0], (DONE, String::new()));
        assert_eq!(said[1], (DONE, r#"{ "a":2, "b": 1.10 }"#.to_owned()));
        assert!(said[2].0 == REFUSED && said[2].1.contains("not JSON"), "{:?}", said[2]);
        assert!(said[3].0 == REFUSED && said[3].1.contains("twice"), "{:?}", said[3]);
        assert_eq!(said[4], (DONE, r#"{"a":3}"#.to_owned()));
        assert_eq!(said[5].0, REFUSED);
        assert_eq!(said[6], (DONE, r#"{"a":3}"#.to_owned()));
        assert_eq!(said.len(), 7);
    }

    #[test]
    fn what_is_no_program_is_told_and_nothing_is_done() {
        for (kind, program, told) in [
            (JQ, &b".a |"[..], "is expected at its end"),
            (JQ, b"\xff", "utf-8"),
            (PATCH, b"{}", "a list of operations"),
            (b'?', b".", "kind"),
        ] {
            let said = answers(vec![(kind, program.to_vec()), (PAYLOAD, b"1".to_vec())]);
            assert!(said.len() == 1 && said[0].0 == REFUSED, "{said:?}");
            assert!(said[0].1.contains(told), "{said:?}");
        }
    }

    #[test]
    fn a_result_that_no_payload_holds_is_refused_with_its_size() {
        let said = answers(vec![(JQ, b". * 20000000".to_vec()), (PAYLOAD, b"\"x\"".to_vec())]);
        let told = (REFUSED, "it gives 20000002 bytes; a payload has at most 16777216".to_owned());
        assert_eq!(said[1], told);
    }
}
