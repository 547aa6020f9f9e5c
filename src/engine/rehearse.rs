//! What a repair would come to, without doing it.

use crate::model::{Repair, RepairRefusal};

use super::Engine;
use super::repair::{Decided, Decision};

impl Engine {
    /// Whether this repair would be done now, or why not. Of many, each is asked as if it came alone: what one would take
    /// of another's room isn't seen.
    pub fn rehearse(&self, repair: &Repair) -> Result<(), RepairRefusal> {
        if self.done_before(repair)?.is_some() {
            return Ok(());
        }
        let Decided { at, before, decision } = self.decided(repair)?;
        match decision {
            Decision::Leave(destination) => self.check_relocation(at, repair, before, destination),
            Decision::Change(_) => Ok(()),
        }
    }
}
