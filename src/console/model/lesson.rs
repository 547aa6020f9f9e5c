//! The demo's lesson: at each step of the first repair, what comes next. Nothing of it depends on what was typed.

use super::{Model, Overlay, Stage};
use crate::console::command::{Command, Mode, Screen};

impl Model {
    /// What the demo says now, in the place of the outcome; nothing while an act has one.
    pub fn lesson(&self) -> Option<String> {
        let is_lesson = self.setup.banner.is_some();
        let is_told = |stage: &Stage| !matches!(stage, Stage::Note);
        if !is_lesson || self.acts.last.as_ref().is_some_and(|act| is_told(&act.stage)) {
            return None;
        }
        if self.banner().is_none() && self.edit.is_none() {
            let hint = |command, text| self.setup.keys.hint(Mode::Queues, command, text);
            let keys = [
                hint(Command::Help, " {} keys,"),
                hint(Command::Palette, " {} all,"),
                hint(Command::Go(Screen::Events), " {} events"),
            ];
            let keys = keys.concat();
            let soon = format!("a queue blocks soon; meanwhile:{}", keys.trim_end_matches(','));
            return self.queues.loaded.then_some(soon);
        }
        let mode = self.mode();
        let (command, text) = match mode {
            Mode::Queues => (Command::Enter, "1 of 5: {}. invoices stands still, its head failed"),
            Mode::Queue => (Command::Enter, "2 of 5: {}. The first one holds up all behind it"),
            Mode::Message => {
                (Command::Edit, "3 of 5: {} edits it in place; the fault stands above")
            }
            Mode::Editor => {
                (Command::Review, "4 of 5: mend the field, then {}; nothing is sent yet")
            }
            Mode::Review => match self.overlay {
                Overlay::Review(ref review) if review.unchanged => {
                    (Command::Dismiss, "4 of 5: nothing has changed yet. {}, and mend it")
                }
                _ => (Command::NextField, "5 of 5: {} to Retry with this, then Enter"),
            },
            Mode::Workers
            | Mode::Journal
            | Mode::Events
            | Mode::Patterns
            | Mode::Find
            | Mode::Difference
            | Mode::Filter
            | Mode::Palette
            | Mode::Leave
            | Mode::Many
            | Mode::Agree
            | Mode::Bulk
            | Mode::File
            | Mode::Quit
            | Mode::Help => return None,
        };
        // Of a step whose command has no key nothing is said.
        Some(self.setup.keys.hint(mode, command, text)).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use crate::console::fixtures::Stage;

    #[test]
    fn the_demo_leads_through_a_repair_and_leaves_its_outcome_alone() {
        let mut stage = Stage::failing((60, 15), |setup| setup.banner = Some("DEMO".to_owned()));
        for (keys, says) in [
            (&[][..], "1 of 5"),
            (&["<Enter>"], "2 of 5"),
            (&["<Enter>"], "3 of 5"),
            (&["e"], "4 of 5"),
            (&[" ", "^s"], "5 of 5"),
        ] {
            stage.keys(keys);
            let screen = stage.screen();
            assert!(screen.contains(says), "{says}: {screen}");
            assert!(screen.lines().all(|line| line.chars().count() <= 60));
        }
        stage.keys(&["<Tab>", "<Enter>"]);
        assert!(!stage.screen().contains("of 5"), "{}", stage.screen());
        let mut other = Stage::failing((80, 24), |_| {});
        other.keys(&["<Enter>"]);
        assert!(!other.screen().contains("of 5"));
    }
}
