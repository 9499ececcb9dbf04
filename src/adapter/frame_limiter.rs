//! A byte stream that fails once its peer exceeds the WebSocket frame rate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::hub::TokenBucket;

/// A byte stream that limits the rate of the WebSocket frames that it reads.
///
/// tungstenite reports a fragmented message only after its last fragment, and fragments may be empty. Without this
/// limit a peer could keep the server busy with millions of fragments per second that never become a message.
pub(super) struct FrameLimiter<S> {
    socket: S,
    frames: FrameCounter,
    bucket: TokenBucket,
    per_second: u32,
    start: Instant,
    limit_exceeded: bool,
}

/// The cause of the [`io::Error`] of a read that exceeded a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameLimitExceeded {
    #[error("WebSocket frame rate limit exceeded")]
    Rate,
    #[error("WebSocket frame of 4 GiB or more")]
    Length,
}

impl<S> FrameLimiter<S> {
    pub(super) fn new(socket: S, per_second: u32) -> Self {
        Self {
            socket,
            frames: FrameCounter::default(),
            bucket: TokenBucket::default(),
            per_second,
            start: Instant::now(),
            limit_exceeded: false,
        }
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), FrameLimitExceeded> {
        let frames = self.frames.count(bytes)?;
        // Most reads of a large message contain no frame header; these need no clock.
        if frames == 0 || self.bucket.try_take(frames, self.per_second, self.start.elapsed()) {
            Ok(())
        } else {
            Err(FrameLimitExceeded::Rate)
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameLimiter<S> {
    /// Fails once with [`FrameLimitExceeded`]. Later reads are not limited: the caller discards them.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if !self.limit_exceeded
            && let Err(exceeded) = self.check(&buffer.filled()[before..])
        {
            self.limit_exceeded = true;
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other(exceeded)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameLimiter<S> {
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

/// Counts the frames (RFC 6455 section 5.2) in a sequence of bytes that arrives in arbitrary pieces.
#[derive(Debug, Default)]
struct FrameCounter {
    /// The received part of the current header. A header has 2 bytes, up to 8 of an extended length and 4 of a mask.
    header: [u8; 14],
    /// The length of that part.
    len: usize,
    /// The number of payload bytes still to be skipped.
    payload: u64,
}

impl FrameCounter {
    /// Returns the number of headers that end within these bytes.
    ///
    /// Fails if a header announces a payload of 4 GiB or more. No setting allows such a message, and tungstenite would
    /// read a shorter length on a 32-bit target.
    fn count(&mut self, mut bytes: &[u8]) -> Result<usize, FrameLimitExceeded> {
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
                u32::try_from(self.payload).map_err(|_| FrameLimitExceeded::Length)?;
            }
        }
        Ok(frames)
    }

    /// Returns the length of the current header, or 2 until its first two bytes are known.
    fn header_len(&self) -> usize {
        if self.len < 2 {
            return 2;
        }
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + self.extended_len().len() + mask
    }

    /// Returns the payload length in a complete header.
    fn payload_len(&self) -> u64 {
        match self.extended_len() {
            [] => u64::from(self.header[1] & 0x7f),
            extended => extended.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        }
    }

    /// Returns the bytes of the extended length. They are empty if the length fits into seven bits.
    fn extended_len(&self) -> &[u8] {
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

    /// Returns a masked frame, as a client sends it.
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
    fn each_frame_is_counted_once_in_chunks_of_any_size() {
        let lengths = [0, 1, 125, 126, 0, 127, 0xffff, 0, 0x1_0000, 0, 70_000, 3];
        let bytes: Vec<_> = lengths.iter().flat_map(|&length| frame(length)).collect();
        for chunk in [1, 2, 3, 7, 4096, bytes.len()] {
            let mut frames = FrameCounter::default();
            let count: usize = bytes.chunks(chunk).map(|chunk| frames.count(chunk).expect("short frames")).sum();
            assert_eq!(count, lengths.len(), "in chunks of {chunk}");
            assert_eq!((frames.len, frames.payload), (0, 0));
        }
    }

    #[test]
    fn unmasked_frames_and_invalid_bytes_are_counted() {
        assert_eq!(FrameCounter::default().count(&[0x82, 0, 0x82, 1, 9, 0x82, 126, 0, 2, 9, 9]), Ok(3));
        let mut frames = FrameCounter::default();
        for _ in 0..100 {
            // Must not panic.
            let _: Result<usize, FrameLimitExceeded> = frames.count(&[0xff; 1000]);
        }
    }

    #[test]
    fn payload_of_4_gib_exceeds_the_limit() {
        for (length, expected) in [(u64::from(u32::MAX), Ok(1)), (1 << 32, Err(FrameLimitExceeded::Length))] {
            let mut header = vec![0x82, 0x80 | 127];
            header.extend(length.to_be_bytes());
            header.extend([1, 2, 3, 4]);
            assert_eq!(FrameCounter::default().count(&header), expected, "{length} bytes");
        }
    }
}
