//! A socket whose WebSocket frames are counted before anybody puts messages together of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::hub::TokenBucket;

/// A byte stream that gives nothing more once its peer has sent more frames in a second than it may.
///
/// tungstenite swallows the fragments of a message without a word, empty ones too: millions a second of them are no
/// message, no bytes and no end of work.
pub(super) struct Metered<S> {
    socket: S,
    frames: Frames,
    bucket: TokenBucket,
    per_second: u32,
    start: Instant,
    flooded: bool,
}

impl<S> Metered<S> {
    pub(super) fn new(socket: S, per_second: u32) -> Self {
        let (frames, bucket) = (Frames::default(), TokenBucket::default());
        Self { socket, frames, bucket, per_second, start: Instant::now(), flooded: false }
    }

    /// Whether the peer has sent too much. What comes after that is not counted: it is only swallowed.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }

    fn allows(&mut self, bytes: &[u8]) -> bool {
        let frames = self.frames.count(bytes);
        let now: Duration = if frames > 0 { self.start.elapsed() } else { return true };
        self.bucket.try_take(frames, self.per_second, now)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if !self.flooded && !self.allows(&buffer.filled()[before..]) {
            self.flooded = true;
            // Whoever polls looks at that next.
            buffer.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Where in a frame (RFC 6455 section 5.2) the bytes have got to.
#[derive(Debug, Default)]
struct Frames {
    /// What of the header has come: two bytes, the longer lengths, and the mask.
    header: [u8; 14],
    len: usize,
    /// What of the payload is to come.
    payload: u64,
}

impl Frames {
    /// How many headers end within these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut frames = 0;
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len() as u64);
                self.payload -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            let taken = bytes.len().min(self.header_len() - self.len);
            self.header[self.len..][..taken].copy_from_slice(&bytes[..taken]);
            self.len += taken;
            bytes = &bytes[taken..];
            if self.len == self.header_len() {
                (self.payload, self.len) = (self.payload_len(), 0);
                frames += 1;
            }
        }
        frames
    }

    /// How long the header is, as far as can be said yet.
    fn header_len(&self) -> usize {
        if self.len < 2 {
            return 2;
        }
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + self.extended().len() + mask
    }

    /// The payload's length, of a whole header.
    fn payload_len(&self) -> u64 {
        match self.extended() {
            [] => u64::from(self.header[1] & 0x7f),
            longer => longer.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        }
    }

    /// Where a length stands that is too long for seven bits.
    fn extended(&self) -> &[u8] {
        match self.header[1] & 0x7f {
            126 => &self.header[2..4],
            127 => &self.header[2..10],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it.
    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0x82];
        match payload {
            0..=125 => frame.push(0x80 | payload as u8),
            126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    #[test]
    fn each_frame_is_counted_once_however_it_is_cut() {
        let lengths = [0, 1, 125, 126, 0, 127, 0xffff, 0, 0x1_0000, 0, 70_000, 3];
        let bytes: Vec<_> = lengths.iter().flat_map(|&length| frame(length)).collect();
        for chunk in [1, 2, 3, 7, 4096, bytes.len()] {
            let mut frames = Frames::default();
            let count: usize = bytes.chunks(chunk).map(|chunk| frames.count(chunk)).sum();
            assert_eq!(count, lengths.len(), "in chunks of {chunk}");
            assert_eq!((frames.len, frames.payload), (0, 0));
        }
    }

    #[test]
    fn frames_without_a_mask_and_of_any_bytes_are_counted_too() {
        assert_eq!(Frames::default().count(&[0x82, 0, 0x82, 1, 9, 0x82, 126, 0, 2, 9, 9]), 3);
        let mut frames = Frames::default();
        for _ in 0..100 {
            frames.count(&[0xff; 1000]);
        }
    }
}
