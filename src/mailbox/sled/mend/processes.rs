//! Parts of processes: whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::codec::{hex, unseal};
use super::super::gather::Place;
use super::super::layout::{process_key, process_of};
use super::super::load::whole;
use super::{Mender, Value};
use crate::model::ProcessKey;

/// Which part of which process.
type Part = (ProcessKey, u16);

impl Mender<'_> {
    /// Each part with all of its chunks. What a process does without one of its parts is for its kind to say.
    pub(super) fn take_processes(&mut self) -> io::Result<()> {
        let mut parts: BTreeMap<Part, Vec<(&[u8], Place)>> = BTreeMap::new();
        for (key, place) in self.gathered.state_values(b'o') {
            // Out of damaged bytes a key may come that is none.
            let Ok((process, part, _)) = process_of(key) else { continue };
            parts.entry((process, part)).or_default().push((key, place));
        }
        let lost = self.gathered.lost().filter_map(|key| process_of(key).ok());
        let damaged: BTreeSet<Part> = lost.map(|(process, part, _)| (process, part)).collect();
        for ((process, part), chunks) in parts {
            let mut bytes = Vec::new();
            let mut is_whole = !damaged.contains(&(process.clone(), part));
            for (number, &(key, place)) in (0u16..).zip(&chunks) {
                is_whole &= process_of(key).is_ok_and(|(_, _, chunk)| chunk == number);
                bytes.extend_from_slice(unseal(key, &self.read(place)?).unwrap_or_default());
            }
            if is_whole && whole(&bytes).is_ok() {
                let kept = chunks.iter().map(|&(key, place)| (key.to_vec(), Value::Kept(place)));
                self.mended.state.extend(kept);
            } else if !damaged.contains(&(process.clone(), part)) {
                let key = hex(&process_key(&process, part));
                self.note(format!("part {part} of process {} (key {key}) is lost", process.id));
            }
        }
        Ok(())
    }
}
