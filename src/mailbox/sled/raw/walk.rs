//! Walking through a log file, a segment at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::message::{MAX_HEADER_BYTES, RawMessage, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Bytes of which checksums are worked out in one segment's damaged parts, to find where sound messages go
/// on: bytes that were made to look like headers can't keep the search busy for long.
const MAX_SEARCHED_BYTES: usize = 512 * 1024 * 1024;

/// Bytes that the system is told of at once: of more it may fetch the first ones only.
const EXPECTED_AT_ONCE: usize = 128 * 1024;

/// sled's log file. One segment of it is held in RAM.
#[derive(Debug)]
pub(in crate::mailbox::sled) struct LogFile {
    file: File,
    segment_bytes: usize,
    len: u64,
    buffer: Vec<u8>,
}

/// A segment's place in the file and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) struct SegmentStart {
    pub(in crate::mailbox::sled) offset: u64,
    /// `None`: its checksum is wrong.
    pub(in crate::mailbox::sled) header: Option<SegmentHeader>,
    /// There is nothing but zeroes where the header would be: never written, or given up by sled.
    pub(in crate::mailbox::sled) is_blank: bool,
}

/// What is met in a segment, in order; offsets are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) enum Item<'a> {
    /// A message with a right checksum, of this or (overwritten later) of an earlier use of the segment.
    Message { offset: u64, message: RawMessage<'a> },
    /// Bytes that are no sound message; a message that they seem to begin with, if its header makes sense.
    Bad { offset: u64, bytes: u64, like: Option<RawMessage<'a>> },
    /// Zeroes from here to the segment's or the file's end: nothing was written here.
    Blank { offset: u64 },
}

impl LogFile {
    /// Opens `<folder>/db` for reading.
    pub(in crate::mailbox::sled) fn open(folder: &Path, segment_bytes: usize) -> io::Result<Self> {
        let file = File::open(folder.join("db"))?;
        let len = file.metadata()?.len();
        Ok(Self { file, segment_bytes, len, buffer: Vec::new() })
    }

    /// The file's number: another one has another.
    pub(in crate::mailbox::sled) fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    pub(in crate::mailbox::sled) fn segment_bytes(&self) -> u64 {
        self.segment_bytes as u64
    }

    /// The file's length in bytes.
    pub(in crate::mailbox::sled) fn len(&self) -> u64 {
        self.len
    }

    /// Every segment that the file has, in the file's order.
    pub(in crate::mailbox::sled) fn segments(&self) -> io::Result<Vec<SegmentStart>> {
        let count = self.len.div_ceil(self.segment_bytes());
        (0..count).map(|at| self.start(at * self.segment_bytes())).collect()
    }

    fn start(&self, offset: u64) -> io::Result<SegmentStart> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let there = usize::try_from(self.len - offset).unwrap_or(usize::MAX).min(bytes.len());
        self.file.read_exact_at(&mut bytes[..there], offset)?;
        let header = SegmentHeader::decode(&bytes[..there]);
        Ok(SegmentStart { offset, header, is_blank: bytes == [0; SEGMENT_HEADER_BYTES] })
    }

    /// Reads a segment and tells what is in it. Messages whose number is above `max_number` are not
    /// believed.
    pub(in crate::mailbox::sled) fn walk(
        &mut self,
        start: SegmentStart,
        max_number: u64,
        mut each: impl FnMut(Item<'_>),
    ) -> io::Result<()> {
        self.read_segment(start)?;
        let own = start.header.map(|header| header.lsn / self.segment_bytes());
        let walk = Walk { bytes: &self.buffer, segment_bytes: self.segment_bytes, own, max_number };
        walk.run(start.offset, &mut each);
        Ok(())
    }

    /// Reads a segment and tells its own messages in order, up to the first that isn't sound or is of an earlier use of
    /// it, with their offsets in the file.
    pub(in crate::mailbox::sled) fn walk_own(
        &mut self,
        start: SegmentStart,
        mut each: impl FnMut(u64, RawMessage<'_>),
    ) -> io::Result<()> {
        let own = start.header.map(|header| header.lsn / self.segment_bytes());
        self.read_segment(start)?;
        let mut at = SEGMENT_HEADER_BYTES;
        while at + MAX_HEADER_BYTES <= self.segment_bytes && at < self.buffer.len() {
            let is_own = |message: &RawMessage<'_>| Some(message.number) == own;
            let here = RawMessage::decode(&self.buffer[at..], is_own);
            let Some(message) = here.filter(|message| message.is_sound) else { break };
            each(start.offset + at as u64, message);
            at += message.bytes;
        }
        Ok(())
    }

    fn read_segment(&mut self, start: SegmentStart) -> io::Result<()> {
        let there = self.len.saturating_sub(start.offset).min(self.segment_bytes());
        self.buffer.resize(usize::try_from(there).unwrap_or(self.segment_bytes), 0);
        self.file.read_exact_at(&mut self.buffer, start.offset)
    }

    /// Reads `len` bytes at `offset`.
    pub(in crate::mailbox::sled) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Has the system read so many bytes at `offset`, all at once, before they are asked for.
    pub(in crate::mailbox::sled) fn expect(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        for offset in (offset..end).step_by(EXPECTED_AT_ONCE) {
            let len = (end - offset).min(EXPECTED_AT_ONCE as u64);
            let range = i64::try_from(offset).ok().zip(i64::try_from(len).ok());
            if let Some((offset, len)) = range {
                // Advice: who doesn't take it makes the reads slower.
                let _ =
                    posix_fadvise(&self.file, offset, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            }
        }
    }

    /// Fills `bytes` with what stands at `offset`.
    pub(in crate::mailbox::sled) fn read_into(
        &self,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    segment_bytes: usize,
    /// The number that this segment's messages have, if its header says it.
    own: Option<u64>,
    max_number: u64,
}

impl<'a> Walk<'a> {
    fn run(&self, base: u64, each: &mut impl FnMut(Item<'a>)) {
        let mut at = SEGMENT_HEADER_BYTES;
        let mut budget = MAX_SEARCHED_BYTES;
        while at + MAX_HEADER_BYTES <= self.segment_bytes && at < self.bytes.len() {
            let offset = base + at as u64;
            let here = RawMessage::decode(&self.bytes[at..], |message| self.is_likely(message));
            if let Some(message) = here.filter(|message| message.is_sound) {
                each(Item::Message { offset, message });
                if message.kind == super::Kind::Cap
                    && self.own.is_none_or(|own| own == message.number)
                {
                    return;
                }
                at += message.bytes;
                continue;
            }
            if is_blank(&self.bytes[at..]) {
                return each(Item::Blank { offset });
            }
            let like = here.filter(|message| self.is_likely(message));
            let next = self.next_sound(at, like, &mut budget);
            each(Item::Bad { offset, bytes: (next - at) as u64, like });
            at = next;
        }
        // The file ends in the segment: sled reads zeroes there.
        if at == self.bytes.len() && at + MAX_HEADER_BYTES <= self.segment_bytes {
            each(Item::Blank { offset: base + at as u64 });
        }
    }

    fn is_likely(&self, message: &RawMessage<'_>) -> bool {
        message.number <= self.max_number
    }

    /// Where the next sound message after `at` begins; the end if there is none. The first place that is
    /// looked at is where the bad one says that it ends.
    fn next_sound(&self, at: usize, like: Option<RawMessage<'_>>, budget: &mut usize) -> usize {
        let end = self.bytes.len();
        let last = end.min((self.segment_bytes + 1).saturating_sub(MAX_HEADER_BYTES));
        let behind = like.map(|message| at + message.bytes).filter(|&behind| behind < last);
        if behind.is_some_and(|behind| self.is_sound_at(behind, budget)) {
            return behind.unwrap_or(end);
        }
        (at + 1..last).find(|&at| self.is_sound_at(at, budget)).unwrap_or(end)
    }

    fn is_sound_at(&self, at: usize, budget: &mut usize) -> bool {
        let message = RawMessage::decode(&self.bytes[at..], |message| {
            let affordable = self.is_likely(message) && *budget >= message.bytes;
            *budget -= if affordable { message.bytes } else { 0 };
            affordable
        });
        message.is_some_and(|message| message.is_sound)
    }
}

/// Is there nothing but zeroes? Most of a segment that was begun is looked at: so by comparing memory, not by bytes.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.split_first().is_none_or(|(first, rest)| *first == 0 && rest == &bytes[..rest.len()])
}
