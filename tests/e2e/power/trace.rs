//! What `tests/c/recorder.c` wrote: the calls of one process that changed a folder, in their order.

use std::ops::Range;
use std::path::Path;

/// A recorded file's or folder's number in its file system.
pub(crate) type Inode = u64;

/// One call. Paths are as the recorder made them: absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A file was opened to be made if it is not there.
    Opened {
        inode: Inode,
        path: String,
    },
    Written {
        inode: Inode,
        at: u64,
        bytes: Range<usize>,
    },
    Truncated {
        inode: Inode,
        size: u64,
    },
    Zeroed {
        inode: Inode,
        at: u64,
        len: u64,
    },
    Renamed {
        from: String,
        to: String,
    },
    Linked {
        from: String,
        to: String,
    },
    Unlinked {
        path: String,
    },
    MadeFolder {
        inode: Inode,
        path: String,
    },
    RemovedFolder {
        path: String,
    },
    SyncBegun {
        number: u64,
        inode: Inode,
        is_data: bool,
    },
    SyncEnded {
        number: u64,
    },
    /// `sync_file_range`: promises nothing.
    Range,
    /// Bytes went into a socket.
    Sent {
        socket: Inode,
        bytes: Range<usize>,
    },
}

/// The calls, and the bytes that they wrote.
#[derive(Debug)]
pub(crate) struct Trace {
    bytes: Vec<u8>,
    pub(crate) events: Vec<Event>,
}

/// kind and length (4 bytes each), inode, two numbers (8 bytes each), in the machine's order.
const HEAD_BYTES: usize = 32;

impl Trace {
    /// Reads a trace whose process has ended by itself.
    pub(crate) fn read(path: &Path) -> Self {
        Self::of(std::fs::read(path).expect("the trace can be read"))
    }

    fn of(bytes: Vec<u8>) -> Self {
        let mut events = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let head = &bytes[at..at + HEAD_BYTES];
            let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("4"));
            let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("8"));
            let data = at + HEAD_BYTES..at + HEAD_BYTES + word(4) as usize;
            at = data.end;
            let text =
                || std::str::from_utf8(&bytes[data.clone()]).expect("a path is text").to_owned();
            let two = || {
                let (from, to) =
                    text().split_once('\0').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
                Some((from, to))
            };
            let (inode, a, b) = (long(8), long(16), long(24));
            // The numbers of `enum kind` in the recorder.
            events.push(match word(0) {
                1 => Event::Opened { inode, path: text() },
                2 => Event::Written { inode, at: a, bytes: data },
                3 => Event::Truncated { inode, size: a },
                4 => Event::Zeroed { inode, at: a, len: b },
                5 => two().map(|(from, to)| Event::Renamed { from, to }).expect("two paths"),
                6 => two().map(|(from, to)| Event::Linked { from, to }).expect("two paths"),
                7 => Event::Unlinked { path: text() },
                8 => Event::MadeFolder { inode, path: text() },
                9 => Event::RemovedFolder { path: text() },
                10 => Event::SyncBegun { number: a, inode, is_data: b == 1 },
                11 => Event::SyncEnded { number: a },
                12 => Event::Range,
                13 => Event::Sent { socket: inode, bytes: data },
                14 => panic!("{}: a call that can't be replayed", text()),
                other => panic!("record {} is of unknown kind {other}", events.len()),
            });
        }
        Self { bytes, events }
    }

    /// What a call wrote.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

/// A trace made by hand, record by record.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<u8>);

impl Script {
    fn record(mut self, kind: u32, inode: Inode, a: u64, data: &[u8]) -> Self {
        let len = u32::try_from(data.len()).expect("a short one");
        self.0.extend([kind.to_ne_bytes(), len.to_ne_bytes()].concat());
        self.0.extend([inode, a, 0].map(u64::to_ne_bytes).concat());
        self.0.extend(data);
        self
    }

    pub(crate) fn opened(self, inode: Inode, path: &str) -> Self {
        self.record(1, inode, 0, path.as_bytes())
    }

    pub(crate) fn written(self, inode: Inode, at: u64, bytes: &[u8]) -> Self {
        self.record(2, inode, at, bytes)
    }

    pub(crate) fn renamed(self, from: &str, to: &str) -> Self {
        self.record(5, 0, 0, format!("{from}\0{to}").as_bytes())
    }

    pub(crate) fn sync_begun(self, inode: Inode, number: u64) -> Self {
        self.record(10, inode, number, &[])
    }

    pub(crate) fn sync_ended(self, inode: Inode, number: u64) -> Self {
        self.record(11, inode, number, &[])
    }

    /// A whole sync of what was not synced before under this number.
    pub(crate) fn synced(self, inode: Inode, number: u64) -> Self {
        self.sync_begun(inode, number).sync_ended(inode, number)
    }

    pub(crate) fn trace(self) -> Trace {
        Trace::of(self.0)
    }
}
