//! Cutting and joining undo one another, and what comes between is right by itself.

use proptest::prelude::*;

use super::*;
use crate::cut::Cut;
use crate::layout::UDP;

/// A TCP frame as the kernel hands it over: payload, options of the header, checksum to be made.
fn superframe(v6: bool, options: usize, payload: &[u8], flags: u8, size: u16) -> (Header, Vec<u8>) {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let tcp = 20 + options + payload.len();
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((tcp as u16).to_be_bytes());
        frame.extend([TCP, 64]);
        frame.extend([0xfd; 16]);
        frame.extend([0xfc; 16]);
    } else {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(((tcp + 20) as u16).to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = Sum::default().add(&frame[ETHERNET..]).finish();
        put(&mut frame, ETHERNET + 10, &sum);
    }
    let at = frame.len();
    frame.extend([0x1f, 0x90, 0xc0, 0x00, 0xff, 0xff, 0xf0, 0x00, 0, 0, 0, 9]);
    frame.extend([(((20 + options) / 4) << 4) as u8, flags, 0x01, 0xf6, 0, 0, 0, 0]);
    frame.extend((0..options).map(|n| n as u8 + 1));
    frame.extend(payload);
    let (source, target) = addresses(&frame).unwrap();
    let partial = Sum::pseudo(source, target, TCP, tcp).partial();
    put(&mut frame, at + CHECKSUM, &partial);
    let header = Header {
        flags: NEEDS_CSUM,
        gso: if v6 { Gso::Tcp6 } else { Gso::Tcp4 },
        headers: (at + 20 + options) as u16,
        gso_size: size,
        csum_start: at as u16,
        csum_offset: CHECKSUM as u16,
    };
    (header, frame)
}

fn cut(header: Header, frame: &[u8]) -> Vec<Vec<u8>> {
    let cut = Cut::new(header, frame).unwrap();
    let write = |index| {
        let mut out = vec![0; cut.length(index)];
        cut.write(index, &mut out);
        out
    };
    (0..cut.count()).map(write).collect()
}

fn join<'a>(frames: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<(Header, Vec<u8>)> {
    let (mut join, mut joined) = (Join::default(), Vec::new());
    let mut out = |header: &Header, frame: &[u8]| joined.push((*header, frame.to_vec()));
    frames.into_iter().for_each(|frame| join.push(frame, &mut out));
    join.flush(&mut out);
    joined
}

fn is_right(frame: &[u8]) -> bool {
    let segment = Segment::of(frame).unwrap();
    let (source, target) = addresses(frame).unwrap();
    let tcp = &frame[segment.transport..segment.end];
    segment.end == frame.len() && Sum::pseudo(source, target, TCP, tcp.len()).add(tcp).is_right()
}

proptest! {
    #[test]
    fn joining_undoes_cutting(
        v6: bool, words in 0usize..10, length in 2000usize..60_000, size in 500u16..1400,
        push: bool,
    ) {
        let payload: Vec<u8> = (0..length).map(|n| ((n * 7) >> 3) as u8).collect();
        let flags = ACK | if push { PSH } else { 0 };
        let (header, frame) = superframe(v6, words * 4, &payload, flags, size);
        let frames = cut(header, &frame);
        prop_assert!(frames.iter().all(|f| is_right(f)));
        prop_assert_eq!(join(&frames), vec![(header, frame)]);
    }

    #[test]
    fn what_is_lost_or_reordered_is_never_joined_across_the_gap(
        keep in proptest::collection::vec(any::<bool>(), 40), swap in 0usize..39,
    ) {
        let payload: Vec<u8> = (0..40 * 100).map(|n| (n / 100) as u8).collect();
        let (header, frame) = superframe(false, 12, &payload, ACK, 100);
        let mut frames = cut(header, &frame);
        frames.swap(swap, swap + 1);
        let mut keep = keep.into_iter();
        frames.retain(|_| keep.next().unwrap());
        let again: Vec<Vec<u8>> = join(&frames)
            .iter()
            .flat_map(|(header, frame)| match header.gso {
                Gso::None => vec![frame.clone()],
                _ => cut(*header, frame),
            })
            .collect();
        let parts = |f: &Vec<u8>| (sequence(f, &Segment::of(f).unwrap()), f[66..].to_vec());
        prop_assert_eq!(
            again.iter().map(parts).collect::<Vec<_>>(),
            frames.iter().map(parts).collect::<Vec<_>>()
        );
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), head: [u8; 10], v6: bool,
    ) {
        let mut frame = superframe(v6, 0, &[], ACK, 10).1;
        frame.extend(&bytes);
        for (place, byte) in bytes.iter().enumerate().take(20) {
            let at = 12 + usize::from(*byte) % (frame.len() - 12);
            frame[at] = bytes[bytes.len() - 1 - place];
        }
        for frame in [&frame, &bytes] {
            join([frame]);
            if let Some(header) = Header::parse(&head) && Cut::new(header, frame).is_some() {
                cut(header, frame);
            }
        }
    }
}

/// A superframe's last segment is shorter, and may arrive alone when the others were lost or came
/// in another batch. Taken for a superframe's first, with its own length as the segments' size, it
/// gave what followed wrong sequence numbers, and no checksum told.
#[test]
fn a_short_last_segment_alone_keeps_its_sequence_number_and_ends_its_superframe() {
    let payload: Vec<u8> = (0..2 * 1000 + 300).map(|n| (n / 10) as u8).collect();
    let (header, frame) = superframe(false, 12, &payload, ACK, 1000);
    let mut frames = cut(header, &frame);
    let first = sequence(&frames[0], &Segment::of(&frames[0]).unwrap());
    let (_, mut next) = superframe(false, 12, &[7; 1000], ACK, 1000);
    put(&mut next, 34 + 4, &first.wrapping_add(2300).to_be_bytes());
    let next = cut(Header { gso: Gso::None, ..header }, &next).remove(0);
    let last = frames.pop().unwrap();
    let joined = join([&last, &next]);
    assert_eq!(joined.len(), 2, "a longer segment does not follow a shorter one");
    assert_eq!(joined[0].1, last);
    assert_eq!(sequence(&joined[0].1, &Segment::of(&last).unwrap()), first.wrapping_add(2000));
    assert_eq!(joined[1].1, next);
}

#[test]
fn a_segment_with_a_wrong_checksum_is_handed_on_as_it_is() {
    let (header, frame) = superframe(false, 0, &[5; 2000], ACK, 1000);
    let mut frames = cut(header, &frame);
    frames[1][60] ^= 1;
    let joined = join(&frames);
    assert_eq!(joined.len(), 2);
    assert_eq!(joined[1], (Header::default(), frames[1].clone()));
}

#[test]
fn flows_that_are_mixed_are_each_joined_in_their_order() {
    let (header, one) = superframe(false, 0, &[1; 3000], ACK, 1000);
    let (_, mut other) = superframe(false, 0, &[2; 3000], ACK, 1000);
    // Another port; the sum of the pseudo header does not change by it.
    other[35] = 0x91;
    let (a, b) = (cut(header, &one), cut(header, &other));
    let mixed: Vec<_> = a.iter().zip(&b).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(join(mixed), vec![(header, one), (header, other)]);
}

#[test]
fn only_the_last_segment_says_that_it_is_the_last() {
    let (header, frame) = superframe(false, 0, &[1; 2500], ACK | PSH | 0x01, 1000);
    let flags: Vec<u8> = cut(header, &frame).iter().map(|f| f[34 + 13]).collect();
    assert_eq!(flags, [ACK, ACK, ACK | PSH | 0x01]);
}

#[test]
fn datagrams_are_cut_with_lengths_and_checksums_of_their_own() {
    for v6 in [false, true] {
        let (mut header, mut frame) = superframe(v6, 0, &[], 0, 500);
        let at = usize::from(header.csum_start);
        frame.truncate(at);
        frame[if v6 { 20 } else { 23 }] = UDP;
        frame.extend([0x30, 0x39, 0, 53, 0, 0, 0, 0]);
        frame.extend([9; 1200]);
        (header.gso, header.csum_offset) = (Gso::Udp, 6);
        let frames = cut(header, &frame);
        let lengths: Vec<u16> = frames.iter().map(|f| word(f, at + 4)).collect();
        assert_eq!(lengths, [508, 508, 208]);
        for frame in &frames {
            let (source, target) = addresses(frame).unwrap();
            let udp = &frame[at..];
            assert!(Sum::pseudo(source, target, UDP, udp.len()).add(udp).is_right());
        }
    }
}
