//! Where frames, messages and commands begin and end in a stream of bytes, and whether they are allowed.
//! Pure; it looks at frame headers only, so it costs little next to moving the bytes.

use super::counters::Refusal;
use super::greeting::{COMMAND, LONG, MORE, command};
use crate::net::frames::header;

/// A command's body at most: PING has a time and 16 bytes.
pub(super) const MAX_COMMAND_BYTES: usize = 512;
/// PING's context at most, by RFC 37.
const MAX_CONTEXT_BYTES: usize = 16;

/// Bounds of what comes from a peer.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct FrameLimits {
    /// Frames of one message.
    pub(super) frames: usize,
    /// Bytes of one message, bodies only.
    pub(super) bytes: u64,
}

/// Goes through one direction of a connection.
#[derive(Debug)]
pub(super) struct Scanner {
    limits: FrameLimits,
    /// Bytes of the current frame's body that are still to come.
    body_left: u64,
    /// The current message's frames so far; 0 between messages.
    frames: usize,
    /// The current message's declared bytes so far.
    bytes: u64,
    /// The current frame has MORE.
    more: bool,
}

/// What a piece of the stream holds.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Scanned {
    /// So many bytes from the beginning belong to messages and may be passed on.
    pub(super) pass: usize,
    /// Messages that end within them.
    pub(super) messages: u64,
    /// After them stands a whole command: so long is its header, and so long its body.
    pub(super) command: Option<(usize, usize)>,
}

impl Scanner {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self { limits, body_left: 0, frames: 0, bytes: 0, more: false }
    }

    /// The declared bytes of the message that is under way; 0 between messages.
    pub(super) fn open_bytes(&self) -> u64 {
        if self.between_messages() { 0 } else { self.bytes }
    }

    /// Whether no message is under way.
    pub(super) fn between_messages(&self) -> bool {
        self.frames == 0
    }

    /// Looks at `input`, which goes on where the last call's `pass` (and command) ended. What is neither
    /// passed nor a command is the beginning of a header or a command and must be given again with more.
    pub(super) fn scan(&mut self, input: &[u8]) -> Result<Scanned, Refusal> {
        self.scan_until(input, |_| false)
    }

    /// The same up to the end of one message, which must have no more bytes than these: what it says decides on the next.
    pub(super) fn scan_one(&mut self, input: &[u8], bytes: u64) -> Result<Scanned, Refusal> {
        let allowed = std::mem::replace(&mut self.limits.bytes, bytes);
        let scanned = self.scan_until(input, |out| out.messages > 0);
        self.limits.bytes = allowed;
        scanned
    }

    fn scan_until(
        &mut self,
        input: &[u8],
        is_enough: impl Fn(&Scanned) -> bool,
    ) -> Result<Scanned, Refusal> {
        let mut out = Scanned::default();
        loop {
            if is_enough(&out) {
                return Ok(out);
            }
            let rest = input.get(out.pass..).unwrap_or_default();
            if self.body_left > 0 {
                let here = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(rest.len());
                self.body_left -= here as u64;
                out.pass += here;
                if self.body_left > 0 {
                    return Ok(out);
                }
                self.end_frame(&mut out);
                continue;
            }
            let Some((flags, header, body)) = read_header(rest)? else { return Ok(out) };
            if flags & COMMAND != 0 {
                if flags & MORE != 0 {
                    return Err(Refusal::Flags);
                }
                let body = usize::try_from(body).unwrap_or(usize::MAX);
                if body > MAX_COMMAND_BYTES {
                    return Err(Refusal::Command);
                }
                if rest.len() >= header + body {
                    out.command = Some((header, body));
                }
                return Ok(out);
            }
            self.begin_frame(flags & MORE != 0, body)?;
            out.pass += header;
            if body == 0 {
                self.end_frame(&mut out);
            }
        }
    }

    fn begin_frame(&mut self, more: bool, body: u64) -> Result<(), Refusal> {
        self.frames += 1;
        if self.frames > self.limits.frames {
            return Err(Refusal::MessageFrames);
        }
        self.bytes = self.bytes.saturating_add(body);
        if self.bytes > self.limits.bytes {
            return Err(Refusal::MessageBytes);
        }
        self.body_left = body;
        self.more = more;
        Ok(())
    }

    fn end_frame(&mut self, out: &mut Scanned) {
        if !self.more {
            self.frames = 0;
            self.bytes = 0;
            out.messages += 1;
        }
    }
}

/// Flags, header length and body length; `None` if the header isn't all there.
fn read_header(input: &[u8]) -> Result<Option<(u8, usize, u64)>, Refusal> {
    match input.first() {
        Some(flags) if flags & !(MORE | LONG | COMMAND) != 0 => Err(Refusal::Flags),
        _ => Ok(header(input)),
    }
}

/// A command in traffic.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// Answer with this context; `ttl` is how long the peer lets us be silent, in tenths of a second,
    /// and how long it may be silent itself before it counts as gone; 0 for no such time.
    Ping { ttl: u16, context: &'a [u8] },
    /// The answer to a PING.
    Pong,
    /// What begins so is wanted from now on (ZMTP 3.1; before, it was a message).
    Subscribe(&'a [u8]),
    /// Or no more.
    Cancel(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads a command's body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        if let Some(rest) = body.strip_prefix(b"\x04PING") {
            let (ttl, context) = rest.split_first_chunk().ok_or(Refusal::Command)?;
            if context.len() > MAX_CONTEXT_BYTES {
                return Err(Refusal::Command);
            }
            return Ok(Self::Ping { ttl: u16::from_be_bytes(*ttl), context });
        }
        if let Some(prefix) = body.strip_prefix(b"\x09SUBSCRIBE") {
            return Ok(Self::Subscribe(prefix));
        }
        if let Some(prefix) = body.strip_prefix(b"\x06CANCEL") {
            return Ok(Self::Cancel(prefix));
        }
        if body.starts_with(b"\x04PONG") { Ok(Self::Pong) } else { Err(Refusal::Command) }
    }
}

/// A PONG frame with a PING's context.
pub(super) fn pong(context: &[u8]) -> Vec<u8> {
    let body = [b"\x04PONG", context].concat();
    command(&body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { frames: 3, bytes: 1000 };

    fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if body.len() > 255 {
            out.push(flags | LONG);
            out.extend((body.len() as u64).to_be_bytes());
        } else {
            out.extend([flags, u8::try_from(body.len()).unwrap()]);
        }
        out.extend(body);
        out
    }

    fn refusal(input: &[u8]) -> Refusal {
        Scanner::new(LIMITS).scan(input).unwrap_err()
    }

    #[test]
    fn messages_and_commands_are_told_apart() {
        let message = [frame(MORE, b"a"), frame(0, &[7; 300])].concat();
        let input = [&message[..], &pong(b"x"), &message].concat();
        let mut scanner = Scanner::new(LIMITS);
        let scanned = scanner.scan(&input).unwrap();
        let pass = message.len();
        let command = Some((2, 6));
        assert_eq!(scanned, Scanned { pass, messages: 1, command });
        let scanned = scanner.scan(&input[pass + 8..]).unwrap();
        assert_eq!(scanned, Scanned { pass, messages: 1, command: None });
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_its_header_alone() {
        let mut huge = vec![LONG];
        huge.extend((1_u64 << 62).to_be_bytes());
        assert_eq!(refusal(&huge), Refusal::MessageBytes);
        assert_eq!(
            refusal(&[LONG | MORE, 255, 255, 255, 255, 255, 255, 255, 255]),
            Refusal::MessageBytes
        );
        assert_eq!(
            refusal(&[frame(MORE, &[0; 600]), frame(0, &[0; 600])].concat()),
            Refusal::MessageBytes
        );
        assert_eq!(refusal(&frame(MORE, b"").repeat(4)), Refusal::MessageFrames);
        assert_eq!(refusal(&[0b1000, 0]), Refusal::Flags);
        assert_eq!(refusal(&[COMMAND | MORE, 0]), Refusal::Flags);
        assert_eq!(refusal(&frame(COMMAND, &[0; 513])), Refusal::Command);
    }

    #[test]
    fn one_message_is_bounded_by_itself_and_the_next_is_left() {
        let input = [frame(MORE, b"a"), frame(0, &[7; 20]), frame(0, &[7; 900])].concat();
        let mut scanner = Scanner::new(LIMITS);
        let scanned = scanner.scan_one(&input, 21).unwrap();
        assert_eq!(scanned, Scanned { pass: 3 + 22, messages: 1, command: None });
        let rest = &input[25..];
        assert_eq!(scanner.scan(rest).unwrap().pass, rest.len(), "no more than for all");
        assert_eq!(Scanner::new(LIMITS).scan_one(&input, 20), Err(Refusal::MessageBytes));
        assert_eq!(Scanner::new(LIMITS).scan_one(rest, 899), Err(Refusal::MessageBytes));
    }

    #[test]
    fn pings_are_read_and_answered() {
        let ping = Command::Ping { ttl: 300, context: b"abc" };
        assert_eq!(Command::read(b"\x04PING\x01\x2cabc"), Ok(ping));
        assert_eq!(pong(b"abc"), b"\x04\x08\x04PONGabc");
        assert_eq!(Command::read(b"\x04PONGabc"), Ok(Command::Pong));
        assert_eq!(Command::read(b"\x09SUBSCRIBEa"), Ok(Command::Subscribe(b"a")));
        assert_eq!(Command::read(b"\x06CANCEL"), Ok(Command::Cancel(b"")));
        for bad in [&b"\x04PING\x01"[..], b"\x05READY", b"", b"\x04PING\0\0seventeen bytes!!"] {
            assert_eq!(Command::read(bad), Err(Refusal::Command));
        }
    }

    proptest! {
        /// However the stream is cut into reads, the same bytes are passed and the same commands found.
        #[test]
        fn cuts_do_not_matter(
            messages in prop::collection::vec(prop::collection::vec(0..400_usize, 1..3), 1..6),
            cuts in prop::collection::vec(1..50_usize, 1..200),
        ) {
            let mut input = Vec::new();
            let mut plain = Vec::new();
            for frames in &messages {
                for (i, &len) in frames.iter().enumerate() {
                    let more = if i + 1 < frames.len() { MORE } else { 0 };
                    let bytes = frame(more, &vec![i as u8; len]);
                    input.extend(&bytes);
                    plain.extend(bytes);
                }
                input.extend(pong(b"between"));
            }
            let mut scanner = Scanner::new(LIMITS);
            let (mut passed, mut held, mut found, mut commands) = (Vec::new(), Vec::new(), 0, 0);
            let mut cuts = cuts.into_iter().cycle();
            let mut rest = &input[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = later;
                held.extend_from_slice(now);
                loop {
                    let scanned = scanner.scan(&held).unwrap();
                    found += scanned.messages;
                    passed.extend(held.drain(..scanned.pass));
                    let Some((header, body)) = scanned.command else { break };
                    commands += 1;
                    held.drain(..header + body);
                }
            }
            prop_assert_eq!(passed, plain);
            prop_assert_eq!((found, commands), (messages.len() as u64, messages.len()));
            prop_assert!(held.is_empty() && scanner.between_messages());
        }

        #[test]
        fn random_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Scanner::new(LIMITS).scan(&input);
            let _ = Command::read(&input);
        }
    }
}
