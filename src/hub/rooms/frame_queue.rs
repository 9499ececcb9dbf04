//! The frames that wait to be sent to one peer, with their senders.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::PeerId;

/// The number of frames up to which an empty queue does not release memory. Bursts are rare, and most peers are idle.
const KEPT_CAPACITY: usize = 8;

/// The number of frames for which the first push allocates. Most peers receive one answer and are idle then.
const FIRST_CAPACITY: usize = 2;

/// The assumed memory of a queued frame in addition to its bytes.
pub(in crate::hub) const FRAME_OVERHEAD: usize = 96;

/// A frame that waits to be sent.
#[derive(Debug)]
pub(in crate::hub) struct QueuedFrame {
    pub(in crate::hub) bytes: Bytes,
    /// The peer that sent the content. The receiver for a message of the hub: an answer or the end of a link.
    sender: PeerId,
    /// When the frame was queued, on the hub's clock, in nanoseconds. A `u64` has half the size of a [`Duration`], and
    /// each peer reserves several frames.
    queued_at: u64,
}

/// A queue of frames that knows its cost.
#[derive(Debug, Default)]
pub(in crate::hub) struct FrameQueue {
    frames: VecDeque<QueuedFrame>,
    cost: usize,
}

impl QueuedFrame {
    pub(in crate::hub) fn new(bytes: Bytes, sender: PeerId, queued_at: Duration) -> Self {
        Self { bytes, sender, queued_at: queued_at.as_nanos() as u64 }
    }

    pub(in crate::hub) fn sender(&self) -> PeerId {
        self.sender
    }

    pub(in crate::hub) fn queued_at(&self) -> Duration {
        Duration::from_nanos(self.queued_at)
    }

    /// Returns the length of the frame plus [`FRAME_OVERHEAD`].
    pub(in crate::hub) fn cost(&self) -> usize {
        self.bytes.len() + FRAME_OVERHEAD
    }
}

impl FrameQueue {
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(in crate::hub) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns the sum of the costs of all frames.
    pub(in crate::hub) fn cost(&self) -> usize {
        self.cost
    }

    /// Returns when the first frame was queued.
    pub(in crate::hub) fn first_queued_at(&self) -> Option<Duration> {
        self.frames.front().map(QueuedFrame::queued_at)
    }

    pub(in crate::hub) fn push(&mut self, frame: QueuedFrame) {
        if self.frames.len() == self.frames.capacity() {
            let more = if self.frames.is_empty() { FIRST_CAPACITY } else { self.frames.len().max(KEPT_CAPACITY) };
            self.frames.reserve_exact(more);
        }
        self.cost += frame.cost();
        self.frames.push_back(frame);
    }

    pub(in crate::hub) fn pop(&mut self) -> Option<QueuedFrame> {
        let frame = self.frames.pop_front()?;
        self.cost -= frame.cost();
        Some(frame)
    }

    /// Moves all frames of `other` to the end.
    pub(in crate::hub) fn append(&mut self, other: &mut Self) {
        self.frames.append(&mut other.frames);
        self.cost += std::mem::take(&mut other.cost);
    }

    /// Moves all frames of `other` to the front. Costs a step for each frame of this queue, not of the other.
    pub(in crate::hub) fn prepend(&mut self, other: &mut Self) {
        other.append(self);
        std::mem::swap(self, other);
    }

    /// Removes all frames of one sender.
    pub(in crate::hub) fn discard(&mut self, sender: PeerId) {
        self.frames.retain(|frame| frame.sender != sender);
        self.cost = self.frames.iter().map(QueuedFrame::cost).sum();
    }

    /// Returns the peer that sent more than half of the queued frames plus `next`, by number or by cost.
    ///
    /// `others` is the weight of frames of unknown senders. The peer is found by the majority vote of Boyer and Moore, which needs no memory, and confirmed by a second pass.
    pub(in crate::hub) fn main_sender(&self, next: &QueuedFrame, by_number: bool, others: usize) -> Option<PeerId> {
        let frames = || self.frames.iter().chain([next]);
        let weight = |frame: &QueuedFrame| if by_number { 1 } else { frame.cost() };
        let (mut candidate, mut lead, mut total) = (next.sender, 0, others);
        for frame in frames() {
            let weight = weight(frame);
            total += weight;
            if frame.sender == candidate {
                lead += weight;
            } else if weight > lead {
                (candidate, lead) = (frame.sender, weight - lead);
            } else {
                lead -= weight;
            }
        }
        let sent: usize = frames().filter(|frame| frame.sender == candidate).map(weight).sum();
        (2 * sent > total).then_some(candidate)
    }

    /// Releases memory above a small capacity.
    pub(in crate::hub) fn shrink(&mut self) {
        self.frames.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
impl FromIterator<QueuedFrame> for FrameQueue {
    fn from_iter<I: IntoIterator<Item = QueuedFrame>>(frames: I) -> Self {
        let mut queue = Self::default();
        frames.into_iter().for_each(|frame| queue.push(frame));
        queue
    }
}

impl IntoIterator for FrameQueue {
    type Item = QueuedFrame;
    type IntoIter = std::collections::vec_deque::IntoIter<QueuedFrame>;

    fn into_iter(self) -> Self::IntoIter {
        self.frames.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sender: u64, bytes: usize) -> QueuedFrame {
        QueuedFrame::new(vec![0; bytes].into(), PeerId(sender), Duration::from_secs(sender))
    }

    fn queue(frames: &[(u64, usize)]) -> FrameQueue {
        frames.iter().map(|&(sender, bytes)| frame(sender, bytes)).collect()
    }

    fn senders(queue: FrameQueue) -> Vec<u64> {
        queue.into_iter().map(|frame| frame.sender.0).collect()
    }

    #[test]
    fn main_sender_sent_more_than_half_of_the_bytes_or_of_the_messages() {
        let frames = queue(&[(1, 1000), (2, 10), (2, 10), (3, 10)]);
        assert_eq!(frames.main_sender(&frame(2, 10), false, 0), Some(PeerId(1)));
        assert_eq!(frames.main_sender(&frame(2, 10), true, 0), Some(PeerId(2)));
        assert_eq!(frames.main_sender(&frame(3, 10), true, 0), None, "2 of 5 messages");
        assert_eq!(queue(&[(1, 500)]).main_sender(&frame(2, 500), false, 0), None, "exactly half");
        let others = 1000 + FRAME_OVERHEAD;
        assert_eq!(queue(&[]).main_sender(&frame(7, 1000), false, others), None, "half of the bytes");
        assert_eq!(queue(&[]).main_sender(&frame(7, 1001), false, others), Some(PeerId(7)));
        assert_eq!(queue(&[]).main_sender(&frame(7, 0), false, 0), Some(PeerId(7)));
    }

    /// Compares with a count of each sender, over all short queues of three senders with three sizes.
    #[test]
    fn main_sender_agrees_with_a_count_of_each_sender() {
        let choices = [(1, 10), (2, 10), (3, 10), (1, 500), (2, 200), (3, 300)];
        for n in 0..choices.len().pow(5) {
            let frames: Vec<_> = (0..5).map(|digit| choices[n / choices.len().pow(digit) % choices.len()]).collect();
            let (next, earlier) = frames.split_last().expect("five frames");
            for by_number in [false, true] {
                let weight = |&(_, bytes): &(u64, usize)| if by_number { 1 } else { bytes + FRAME_OVERHEAD };
                let total: usize = frames.iter().map(weight).sum();
                let sent = |sender| frames.iter().filter(|frame| frame.0 == sender).map(weight).sum::<usize>();
                let expected = (1..=3).find(|&sender| 2 * sent(sender) > total).map(PeerId);
                assert_eq!(queue(earlier).main_sender(&frame(next.0, next.1), by_number, 0), expected, "{frames:?}");
            }
        }
    }

    #[test]
    fn cost_is_the_sum_of_all_frames_after_each_operation() {
        let cost = |bytes, frames| bytes + frames * FRAME_OVERHEAD;
        let mut first = queue(&[(1, 10), (2, 20), (1, 30)]);
        assert_eq!(first.cost(), cost(60, 3));
        let mut second = queue(&[(3, 5)]);
        second.prepend(&mut first);
        assert_eq!((second.cost(), first.cost()), (cost(65, 4), 0));
        second.discard(PeerId(1));
        assert_eq!((second.cost(), second.len()), (cost(25, 2), 2));
        first.append(&mut second);
        assert_eq!(first.pop().map(|frame| frame.cost()), Some(cost(20, 1)));
        assert_eq!((first.cost(), second.cost()), (cost(5, 1), 0));
    }

    #[test]
    fn prepended_frames_come_first() {
        let mut later = queue(&[(3, 0), (4, 0)]);
        later.prepend(&mut queue(&[(1, 0), (2, 0)]));
        assert_eq!(later.first_queued_at(), Some(Duration::from_secs(1)));
        assert_eq!(senders(later), [1, 2, 3, 4]);
    }

    #[test]
    fn empty_queue_releases_its_memory() {
        let mut burst = queue(&[(1, 0); 200]);
        while burst.pop().is_some() {}
        burst.shrink();
        assert!(burst.frames.capacity() <= 2 * KEPT_CAPACITY, "{}", burst.frames.capacity());
    }

    #[test]
    fn queue_reserves_memory_for_two_frames_and_then_for_at_least_eight_more() {
        let mut frames = FrameQueue::default();
        let mut capacity_after_push = || {
            frames.push(frame(1, 0));
            frames.frames.capacity()
        };
        assert_eq!([(); 4].map(|()| capacity_after_push()), [2, 2, 10, 10]);
    }
}
