//! Expressions about tracked flows: where they came in, which direction a packet has, how long a
//! silent one is remembered.

use super::{BASE_TRANSPORT, EQUAL, FIRST, META_IIFNAME, META_OIFNAME, NOT_EQUAL, Rule, padded};

const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const CT_ZONE: u32 = 17;
/// The packet is the first of its flow.
const STATE_NEW: u32 = 1 << 3;
const DIRECTION_ORIGINAL: u8 = 0;
const DIRECTION_REPLY: u8 = 1;
const META_MARK: u32 = 3;
const META_IIFTYPE: u32 = 8;
/// Link type of everything with Ethernet frames.
const ETHERNET: u16 = 1;
const BASE_LINK: u32 = 0;
pub(super) const TCP_FLAGS_OFFSET: u32 = 13;
pub(super) const TCP_SYN: u8 = 0x02;
const OBJECT_TIMEOUT: u32 = 7;

impl Rule {
    /// Came in by a link whose name is not this.
    pub fn not_entering(self, name: &str) -> Self {
        self.meta(META_IIFNAME, 0).compare(NOT_EQUAL, 0, &padded(name))
    }

    /// Goes out by a link whose name is not this.
    pub fn not_leaving(self, name: &str) -> Self {
        self.meta(META_OIFNAME, 0).compare(NOT_EQUAL, 0, &padded(name))
    }

    /// First packet of its flow.
    pub fn first(self) -> Self {
        let state = self.tracked(CT_STATE).mask(&STATE_NEW.to_ne_bytes());
        state.compare(NOT_EQUAL, 0, &[0; 4])
    }

    /// Of the direction from the server to the client.
    pub fn answer(self) -> Self {
        self.tracked(CT_DIRECTION).compare(EQUAL, 0, &[DIRECTION_REPLY])
    }

    /// TCP that opens no connection.
    pub fn tcp_not_opening(self) -> Self {
        let flags = self.tcp().payload(BASE_TRANSPORT, TCP_FLAGS_OFFSET, 1, 0);
        flags.mask_byte(TCP_SYN).compare(EQUAL, 0, &[0])
    }

    /// Source address, as the client knows it, is in the set.
    pub fn source_in_set(self, set: &str) -> Self {
        self.source(0).in_set(set)
    }

    /// Flows that begin with this packet are told apart from others with the same addresses and
    /// ports by this number. Before connection tracking only.
    pub fn enter(self, number: u16) -> Self {
        self.load(0, &number.to_ne_bytes()).set_zone()
    }

    /// Same, by the number that the map has for the hardware address of the sender.
    pub fn enter_by_sender(self, map: &str) -> Self {
        let ethernet = self.meta(META_IIFTYPE, 0).compare(EQUAL, 0, &ETHERNET.to_ne_bytes());
        ethernet.payload(BASE_LINK, 6, 6, 0).lookup(map, None, Some(FIRST)).set_zone()
    }

    /// Marks the packet with the number of its flow.
    pub fn mark_by_entry(self) -> Self {
        self.tracked(CT_ZONE).set_mark()
    }

    /// Takes the packet's mark off.
    pub fn unmark(self) -> Self {
        self.load(0, &[0; 4]).set_mark()
    }

    /// The flow is forgotten when it was silent as long as the timeout says. For its first packet.
    pub fn lasting(self, timeout: &str) -> Self {
        self.expression("objref", |body| {
            body.number(1, OBJECT_TIMEOUT);
            body.string(2, timeout);
        })
    }

    pub(super) fn tracked(self, key: u32) -> Self {
        self.expression("ct", |body| {
            body.number(1, FIRST);
            body.number(2, key);
        })
    }

    fn set_zone(self) -> Self {
        self.expression("ct", |body| {
            body.number(2, CT_ZONE);
            body.attribute(3, &[DIRECTION_ORIGINAL]);
            body.number(4, FIRST);
        })
    }

    fn set_mark(self) -> Self {
        self.expression("meta", |body| {
            body.number(2, META_MARK);
            body.number(3, FIRST);
        })
    }

    pub(super) fn mask_byte(self, mask: u8) -> Self {
        self.expression("bitwise", |body| {
            body.number(1, FIRST);
            body.number(2, FIRST);
            body.number(3, 1);
            body.nested(4, |value| value.attribute(1, &[mask]));
            body.nested(5, |value| value.attribute(1, &[0]));
        })
    }
}
