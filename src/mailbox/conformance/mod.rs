//! What every mailbox must do, as one suite: `conformance!(name, open)` for what holds while it is open,
//! `durable_conformance!(name, open)` for what must be there after it was closed and opened again.
//! `open` makes a mailbox in a folder.

pub(crate) mod durable;
pub(crate) mod journal;
mod kind;
pub(crate) mod live;
pub(crate) mod sample;

/// One `#[test]` for each behaviour of [`live`].
macro_rules! conformance {
    ($(#[$attr:meta])* $name:ident, $open:expr) => {
        conformance!(@tests [$(#[$attr])*] $name, live, $open, [
            messages_come_back_in_order_with_the_same_bytes
            a_batch_may_hold_many_queues
            reading_starts_anywhere_in_a_long_queue
            reading_stops_at_the_count_and_at_the_bytes
            finishing_out_of_order_leaves_the_others
            a_record_comes_with_its_message_until_that_is_finished
            the_newest_revision_is_read_and_earlier_ones_stay
            an_undone_revision_is_not_the_newest
            journal_pages_go_back_and_filter
            repairs_kept_are_bounded_oldest_out_first
            an_id_is_found_while_it_waits_or_is_remembered
            a_reused_id_is_found_at_its_newest_place
            reads_go_on_while_batches_come
            a_message_that_is_edited_is_read_as_of_one_commit
            a_large_message_may_be_read_while_it_is_finished
            big_and_empty_payloads_are_kept
            bytes_that_are_not_text_are_kept
            an_inconsistent_batch_changes_nothing
            many_queues_are_kept_apart
            a_removed_queue_is_gone_and_the_others_are_as_they_were
            a_batch_of_everything_is_taken
            appending_while_another_thread_syncs_is_allowed
        ]);
    };
    (@tests $attrs:tt $name:ident, $suite:ident, $open:expr, [$($test:ident)+]) => {
        mod $name {
            $(conformance!(@test $attrs $suite, $open, $test);)+
        }
    };
    (@test [$(#[$attr:meta])*] $suite:ident, $open:expr, $test:ident) => {
        #[test]
        $(#[$attr])*
        fn $test() {
            let folder = tempfile::tempdir().unwrap();
            let open = $open;
            crate::mailbox::conformance::$suite::$test(&|| open(folder.path()));
        }
    };
}

/// One `#[test]` for each behaviour of [`durable`].
macro_rules! durable_conformance {
    ($(#[$attr:meta])* $name:ident, $open:expr) => {
        conformance!(@tests [$(#[$attr])*] $name, durable, $open, [
            a_restart_keeps_messages_records_and_the_generation_rises
            a_restart_keeps_floors_and_places_of_empty_queues
            a_restart_keeps_the_window_of_finished_messages
            a_restart_keeps_removed_queues_away
            a_restart_keeps_subscriptions
            a_restart_keeps_processes_with_all_of_their_parts
            a_restart_keeps_revisions_journal_and_repairs
            a_restart_counts_bytes_and_the_oldest
            many_restarts_with_work_between_lose_nothing
            finished_messages_stay_finished_after_maintenance_and_restart
        ]);
    };
}

/// Of a mailbox that bounds its journal: what holds while it is open.
macro_rules! journal_conformance {
    ($(#[$attr:meta])* $name:ident, $open:expr) => {
        conformance!(@tests [$(#[$attr])*] $name, journal, $open, [
            the_oldest_entries_go_and_the_newest_stay
            the_history_of_a_message_stays_until_it_is_finished
            a_message_that_is_repaired_for_ever_does_not_fill_the_journal
        ]);
    };
}

/// The same, of one that is closed and opened again.
macro_rules! durable_journal_conformance {
    ($(#[$attr:meta])* $name:ident, $open:expr) => {
        conformance!(@tests [$(#[$attr])*] $name, journal, $open, [
            a_restart_goes_on_from_what_the_journal_has_kept
        ]);
    };
}

mod memory {
    use super::journal::KEPT;
    use crate::mailbox::MemoryMailbox;

    fn open(_: &std::path::Path) -> MemoryMailbox {
        MemoryMailbox::keeping_journal(KEPT)
    }

    conformance!(suite, super::open);
    journal_conformance!(journal, super::open);
}

mod sled {
    use crate::mailbox::{SledMailbox, SledOptions};

    fn open(path: &std::path::Path) -> SledMailbox {
        SledMailbox::open(&path.join("store"), SledOptions::default()).unwrap()
    }

    conformance!(live, super::open);
    durable_conformance!(durable, super::open);
    // Notes are the layer's that keeps payloads in Redis, which reads its own.
    conformance!(@tests [] notes, durable, super::open, [
        a_restart_keeps_the_last_note_of_each_queue
    ]);
}

/// Each kind of queue of a [`crate::mailbox::RoutedMailbox`].
mod routed {
    use std::path::Path;
    use std::sync::Arc;

    use super::journal::KEPT;
    use super::kind::OfKind;
    use crate::mailbox::{MemoryMailbox, RoutedMailbox, SledMailbox, SledOptions};
    use crate::model::MailboxKind;

    fn open(path: &Path, kind: MailboxKind, ram: Arc<MemoryMailbox>) -> OfKind<RoutedMailbox> {
        let sled = SledMailbox::open(&path.join("store"), SledOptions::default()).unwrap();
        OfKind::new(RoutedMailbox::reopened(sled, ram).keeping_journal(KEPT), kind)
    }

    fn fresh(kind: MailboxKind) -> impl Fn(&Path) -> OfKind<RoutedMailbox> {
        move |path| open(path, kind, Arc::default())
    }

    /// The store is closed and opened again within the process.
    fn reopened(kind: MailboxKind) -> impl Fn(&Path) -> OfKind<RoutedMailbox> {
        let ram = Arc::default();
        move |path| open(path, kind, Arc::clone(&ram))
    }

    mod file {
        conformance!(live, super::super::fresh(crate::model::MailboxKind::File));
        durable_conformance!(durable, super::super::fresh(crate::model::MailboxKind::File));
        journal_conformance!(journal, super::super::fresh(crate::model::MailboxKind::File));
        durable_journal_conformance!(kept, super::super::fresh(crate::model::MailboxKind::File));
    }

    mod memory {
        conformance!(live, super::super::fresh(crate::model::MailboxKind::Memory));
        durable_conformance!(reopened, super::super::reopened(crate::model::MailboxKind::Memory));
        journal_conformance!(journal, super::super::fresh(crate::model::MailboxKind::Memory));
        durable_journal_conformance!(
            kept,
            super::super::reopened(crate::model::MailboxKind::Memory)
        );
    }

    mod mixed {
        conformance!(live, super::super::fresh(crate::model::MailboxKind::Mixed));
        durable_conformance!(reopened, super::super::reopened(crate::model::MailboxKind::Mixed));
        journal_conformance!(journal, super::super::fresh(crate::model::MailboxKind::Mixed));
        durable_journal_conformance!(
            kept,
            super::super::reopened(crate::model::MailboxKind::Mixed)
        );
    }
}
