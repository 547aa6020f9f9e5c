//! All metrics: the page, the README's table and the dashboard's test are made from these.

use super::exposition::{Kind, Metric};

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$labels:literal] $help:literal;)+) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)+
        /// All metrics, in the order of the page.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD = Gauge "mubroker_build_info" ["version"] "1, for the version that runs.";
    STORE_STATE = Gauge "mubroker_store_state" ["state"]
        "1 for the state that the store is in (ok, full, unavailable), 0 for the others. Publishing is refused in all but ok.";
    STORE_BYTES = Gauge "mubroker_store_bytes" [""] "What the store takes of its disk.";
    DISK_FREE = Gauge "mubroker_disk_free_bytes" [""] "Free on the store's disk.";
    DISK_SIZE = Gauge "mubroker_disk_size_bytes" [""] "The size of the store's disk.";
    COMMIT = Histogram "mubroker_commit_duration_seconds" [""]
        "From when the store's thread takes a batch until it is durable.";
    SYNC = Histogram "mubroker_sync_duration_seconds" [""]
        "Making what was written durable (fsync); one may be for several batches.";
    COMMIT_OPS = Histogram "mubroker_commit_operations" [""]
        "Operations in a batch: a message accepted, acknowledged or changed is one.";
    COMMIT_BYTES = Histogram "mubroker_commit_size_bytes" [""] "Bytes of a batch.";
    ACCEPTED = Counter "mubroker_messages_accepted_total" [""]
        "Messages put into queues: sent, published, replied, dead-lettered; no duplicates.";
    DELIVERED = Counter "mubroker_messages_delivered_total" [""] "Deliveries to workers, one for each attempt.";
    REDELIVERED = Counter "mubroker_messages_redelivered_total" [""] "Of these, not the message's first.";
    ACKED = Counter "mubroker_messages_acked_total" [""] "Messages done: acknowledged, or delivered where that is enough.";
    FAILED = Counter "mubroker_messages_failed_attempts_total" [""] "Attempts that failed.";
    DEDUPLICATED = Counter "mubroker_messages_deduplicated_total" [""] "Duplicates that were answered, and not put into their queues.";
    DEAD_LETTERED = Counter "mubroker_messages_dead_lettered_total" [""] "Messages and events that went to a dead-letter queue.";
    DROPPED = Counter "mubroker_messages_dropped_total" [""] "Messages ended by on_failure = \"drop\".";
    RESENT = Counter "mubroker_messages_resent_total" [""] "Messages sent to another worker too, for want of an answer.";
    STALE = Counter "mubroker_stale_answers_total" [""] "Late answers of workers to leases that were over.";
    LATE = Counter "mubroker_late_replies_total" [""] "Replies whose caller no longer waited.";
    MESSAGES = Gauge "mubroker_messages" ["state"] "Unfinished messages of all queues (ready, leased, waiting, scheduled, blocked).";
    MESSAGES_BYTES = Gauge "mubroker_messages_bytes" [""] "Header and payload bytes of these.";
    OLDEST = Gauge "mubroker_oldest_message_age_seconds" [""] "The age of the oldest of these; 0 if there is none.";
    QUEUES = Gauge "mubroker_queues" ["state"] "Queues by state (running, paused, blocked, draining).";
    HIDDEN = Gauge "mubroker_queues_without_series" [""] "Queues beyond the first 1000, which have no series of their own.";
    QUEUE_MESSAGES = Gauge "mubroker_queue_messages" ["queue,state"] "A queue's unfinished messages.";
    QUEUE_OLDEST = Gauge "mubroker_queue_oldest_message_age_seconds" ["queue"] "The age of the oldest of these; 0 if there is none.";
    QUEUE_BYTES = Gauge "mubroker_queue_bytes" ["queue"] "Header and payload bytes of these.";
    QUEUE_PAUSED = Gauge "mubroker_queue_paused" ["queue"] "1 if an operator has paused it.";
    QUEUE_WORKERS = Gauge "mubroker_queue_workers" ["queue"] "Connected workers that serve it.";
    QUEUE_ACCEPTED = Counter "mubroker_queue_accepted_total" ["queue"] "Messages put into it.";
    QUEUE_REDELIVERED = Counter "mubroker_queue_redelivered_total" ["queue"] "Deliveries of its messages to workers, but each one's first.";
    QUEUE_ACKED = Counter "mubroker_queue_acked_total" ["queue"] "Its messages that are done.";
    QUEUE_FAILED = Counter "mubroker_queue_failed_attempts_total" ["queue"] "Attempts at its messages that failed.";
    QUEUE_DEDUPLICATED = Counter "mubroker_queue_deduplicated_total" ["queue"] "Duplicates that were answered.";
    QUEUE_DEAD_LETTERED = Counter "mubroker_queue_dead_lettered_total" ["queue"] "Its messages that went to its dead-letter queue.";
    QUEUE_DROPPED = Counter "mubroker_queue_dropped_total" ["queue"] "Its messages that on_failure = \"drop\" ended.";
    WORKERS = Gauge "mubroker_workers" ["state"] "Connected workers (idle, busy, stuck, silent, draining).";
    POOL_PROCESSES = Gauge "mubroker_pool_processes" ["pool,state"] "Processes of a supervised worker (running, waiting, stopping, drained).";
    POOL_WANTED = Gauge "mubroker_pool_processes_wanted" ["pool"] "How many there are to be.";
    POOL_RESTARTS = Counter "mubroker_pool_restarts_total" ["pool"] "How often one has ended by itself.";
    GATHERS = Gauge "mubroker_gathers_running" [""] "Gathers that run.";
    CONNECTIONS = Gauge "mubroker_connections" ["door"] "Peers that are connected.";
    CONNECTED = Counter "mubroker_connections_accepted_total" ["door"] "Connections that completed their handshake.";
    BYTES_IN = Counter "mubroker_door_received_bytes_total" ["door"] "Bytes from peers.";
    BYTES_OUT = Counter "mubroker_door_sent_bytes_total" ["door"] "Bytes to peers.";
    LOST = Counter "mubroker_door_messages_lost_total" ["door"] "Messages that a slow or gone peer should have had.";
    NOT_TAKEN = Counter "mubroker_door_messages_refused_total" ["door"] "Messages that were refused; at clients and workers those that can't be read, or that their senders may not say.";
    REFUSED = Counter "mubroker_connections_refused_total" ["door,reason"] "Connections that were refused or cut off.";
    SPANS_EXPORTED = Counter "mubroker_spans_exported_total" [""] "Spans that the collector of traces has taken.";
    SPANS_DROPPED = Counter "mubroker_spans_dropped_total" [""] "Spans that were lost: too many waited, or the collector didn't take them.";
    CPU = Counter "process_cpu_seconds_total" [""] "User and system time of the broker's process.";
    RESIDENT = Gauge "process_resident_memory_bytes" [""] "Its resident memory.";
    OPEN_FILES = Gauge "process_open_fds" [""] "Its open files.";
    MAX_FILES = Gauge "process_max_fds" [""] "How many it may have.";
    STARTED = Gauge "process_start_time_seconds" [""] "When the broker started, since 1970.";
}
