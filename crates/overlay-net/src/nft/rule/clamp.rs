//! Expressions that keep TCP within what the way can carry.

use super::track::{TCP_FLAGS_OFFSET, TCP_SYN};
use super::{BASE_TRANSPORT, EQUAL, FIRST, Rule};

const TCP_RST: u8 = 0x04;
const ROUTE_TCP_MSS: u32 = 3;
const TO_NETWORK_ORDER: u32 = 1;
const IN_TCP_OPTIONS: u32 = 1;
const OPTION_MSS: u8 = 2;

impl Rule {
    /// Of the two segments that open a connection: what they say is the largest segment becomes no
    /// more than fits on the routes of both directions.
    pub fn clamp_mss(self) -> Self {
        let flags = self.tcp().payload(BASE_TRANSPORT, TCP_FLAGS_OFFSET, 1, 0);
        let opening = flags.mask_byte(TCP_SYN | TCP_RST).compare(EQUAL, 0, &[TCP_SYN]);
        let fitting = opening.expression("rt", |body| {
            body.number(1, FIRST);
            body.number(2, ROUTE_TCP_MSS);
        });
        let ordered = fitting.expression("byteorder", |body| {
            body.number(1, FIRST);
            body.number(2, FIRST);
            body.number(3, TO_NETWORK_ORDER);
            body.number(4, 2);
            body.number(5, 2);
        });
        ordered.expression("exthdr", |body| {
            body.number(7, FIRST);
            body.attribute(2, &[OPTION_MSS]);
            body.number(3, 2);
            body.number(4, 2);
            body.number(6, IN_TCP_OPTIONS);
        })
    }
}
