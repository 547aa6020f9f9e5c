//! sled's own files, read without sled and without changing them.
//!
//! Opening a database makes sled replay its log since its snapshot, and where it meets a wrong checksum it
//! silently leaves out the rest, and overwrites it with zeroes. So before sled opens a folder its log is
//! looked at here, and what sled can't read any more is got out of the raw bytes.
//!
//! What is read (sled 0.34.7, `pagecache/{logger,snapshot,iterator}.rs`, `serialization.rs`):
//! ```text
//! db       segments of a fixed size; at the start of each
//!          crc32 (4, of the 16 bytes after it, inverted), lsn (8), stable lsn (8), both ^ i64::MAX
//!          then messages: crc32 (4, of body and the rest of the header, inverted), kind (1),
//!          and as varints: body's length, lsn / segment size, page; then the body
//!          ended by a message of kind `cap`, or by less than 32 bytes
//! snap.N   stable lsn (8, + 1), active segment (varint, + 1), then for each page: 0, lsn, pointer (free)
//!          or how many parts, and for each lsn, pointer, size; length (8), crc32 (4)
//! ```
//! The place of a message in the log (its lsn) is its segment's plus its offset in it. All numbers are
//! little-endian; varints are sled's own. Nothing here trusts a length or a number that no checksum covers.

mod message;
mod page;
mod snapshot;
mod walk;

pub(super) use message::{Kind, RawMessage, SEGMENT_HEADER_BYTES};
pub(super) use page::{Page, Update};
pub(super) use snapshot::{Found, Snapshot};
pub(super) use walk::{Item, LogFile, SegmentStart};
