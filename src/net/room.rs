//! Room for bytes that are under way, as a semaphore counts it.

/// The unit: a semaphore counts to 2^61, but acquires at most 2^32 at once.
pub(super) const ROOM_UNIT_BYTES: usize = 1024;

/// How many units so many bytes take.
pub(super) fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX)
}
