//! What sled has replaced, freed in time.
//!
//! sled frees what it replaces (pages, and the buffers of 8 MiB that its log is written through) once no thread
//! can be using it any more, and each thread keeps a list of up to 64 such things of its own before it says so.
//! A commit's threads make a few for each flush, the keeper's a few for each generation: in those lists were a
//! dozen of such buffers, some 80 MB.

/// Rounds after which all is freed that was given to [`free_replaced`], unless other threads are just reading.
const ROUNDS: usize = 3;

/// Gives this thread's list away, and frees what lists given away before had. Takes a microsecond or less.
pub(super) fn free_replaced() {
    ::sled::pin().flush();
}

/// The same, for a thread that has nothing to do for a while.
pub(super) fn free_all_replaced() {
    (0..ROUNDS).for_each(|_| free_replaced());
}
