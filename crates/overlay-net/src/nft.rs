//! nftables: transactions on this crate's one table of a namespace. `rule` encodes expressions,
//! `host` and `network` say what the rules are. Nothing of other tables is ever touched.

pub(crate) mod host;
pub(crate) mod network;
mod rule;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::error::{Context, Result};
use crate::netns::NetNs;
use crate::table::Protocol;
use crate::wire::{Buffer, FLAG_ACK, FLAG_APPEND, FLAG_CREATE, Socket, attributes, blocking};

/// The one table, of family `ip` (and `ip6` in networks that have IPv6), in every namespace this
/// crate manages.
pub(crate) const TABLE: &str = "swarmd";

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FAMILY_NONE: u8 = 0;
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
/// Netfilter subsystem a batch is for.
const BATCH_FOR: u16 = 10;

const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;
const GET_GENERATION: u16 = SUBSYSTEM | 16;
const NEW_OBJECT: u16 = SUBSYSTEM | 18;
const DELETE_OBJECT: u16 = SUBSYSTEM | 20;

/// A timeout of tracked flows, and the place in it of TCP connections that are open.
const OBJECT_TIMEOUT: u32 = 7;
const TIMEOUT_TCP_ESTABLISHED: u16 = 3;

/// An attribute list's length is 16 bits; this many elements stay well below it.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// Note for `nft list`: the keys of this set are in the machine's byte order.
const HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];
const SET_ANONYMOUS: u32 = 1;
const SET_CONSTANT: u32 = 2;
const SET_MAP: u32 = 8;

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub kind: &'static str,
    pub point: u32,
    pub priority: i32,
}

pub(crate) const PREROUTING: u32 = 0;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;

/// Types that `nft list` prints; lengths in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    id: u32,
    length: u32,
}

pub(crate) const ADDRESS: Type = Type { id: 7, length: 4 };
pub(crate) const ADDRESS6: Type = Type { id: 8, length: 16 };
const PROTOCOL: Type = Type { id: 12, length: 4 };
const PORT: Type = Type { id: 13, length: 4 };
const INTEGER: Type = Type { id: 4, length: 4 };
pub(crate) const HARDWARE_ADDRESS: Type = Type { id: 9, length: 6 };
/// Number of a way in; in the machine's byte order.
pub(crate) const ENTRY: Type = Type { id: 4, length: 2 };
pub(crate) const VERDICT: Type = Type { id: 0xffff_ff00, length: 16 };
pub(crate) const ADDRESS_ADDRESS: Type = ADDRESS.then(ADDRESS);
pub(crate) const ADDRESS6_ADDRESS6: Type = ADDRESS6.then(ADDRESS6);
pub(crate) const PROTOCOL_PORT: Type = PROTOCOL.then(PORT);
pub(crate) const ADDRESS_PORT: Type = ADDRESS.then(PORT);
pub(crate) const ADDRESS_PROTOCOL_PORT: Type = ADDRESS.then(PROTOCOL).then(PORT);

impl Type {
    const fn then(self, next: Self) -> Self {
        Self { id: self.id << 6 | next.id, length: self.length + next.length }
    }
}

/// What an element of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    None,
    Value(Vec<u8>),
    Jump(String),
}

/// One element of a set or map.
pub(crate) type Element = (Vec<u8>, Data);

/// A transaction: all of it or nothing.
#[derive(Debug)]
pub(crate) struct Batch {
    buffer: Buffer,
    sequence: u32,
    last: usize,
    sets: u32,
    family: u8,
}

impl Batch {
    pub fn new() -> Self {
        let mut buffer = Buffer::default();
        buffer.message(BATCH_BEGIN, 0, 0, (FAMILY_NONE, BATCH_FOR), |_| {});
        Self { buffer, sequence: 0, last: 0, sets: 0, family: FAMILY_IPV4 }
    }

    /// What `work` adds is about the table of IPv6.
    pub fn six(&mut self, work: impl FnOnce(&mut Self)) {
        self.family = FAMILY_IPV6;
        work(self);
        self.family = FAMILY_IPV4;
    }

    pub fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Makes the table anew, empty, whether it was there or not.
    pub fn reset_table(&mut self) {
        let name = |body: &mut Buffer| body.string(1, TABLE);
        self.push(NEW_TABLE, FLAG_CREATE, name);
        self.push(DELETE_TABLE, 0, name);
        self.push(NEW_TABLE, FLAG_CREATE, name);
    }

    /// Deletes the table, whether it was there or not.
    pub fn drop_table(&mut self) {
        let name = |body: &mut Buffer| body.string(1, TABLE);
        self.push(NEW_TABLE, FLAG_CREATE, name);
        self.push(DELETE_TABLE, 0, name);
    }

    pub fn chain(&mut self, name: &str, hook: Option<Hook>) {
        self.push(NEW_CHAIN, FLAG_CREATE, |body| {
            body.string(1, TABLE);
            body.string(3, name);
            if let Some(hook) = hook {
                body.nested(4, |nested| {
                    nested.number(1, hook.point);
                    nested.number(2, hook.priority as u32);
                });
                body.string(7, hook.kind);
            }
        });
    }

    /// Deletes the rules of a chain; it must exist.
    pub fn flush_chain(&mut self, name: &str) {
        self.push(DELETE_RULE, 0, |body| {
            body.string(1, TABLE);
            body.string(2, name);
        });
    }

    pub fn delete_chain(&mut self, name: &str) {
        self.push(DELETE_CHAIN, 0, |body| {
            body.string(1, TABLE);
            body.string(3, name);
        });
    }

    pub fn rule(&mut self, chain: &str, rule: &rule::Rule) {
        self.push(NEW_RULE, FLAG_CREATE | FLAG_APPEND, |body| {
            body.string(1, TABLE);
            body.string(2, chain);
            body.nested(4, |list| list.raw(rule.bytes()));
        });
    }

    /// Adds a timeout of silent TCP connections, in seconds.
    pub fn timeout(&mut self, name: &str, seconds: u32) {
        self.push(NEW_OBJECT, FLAG_CREATE, |body| {
            body.string(1, TABLE);
            body.string(2, name);
            body.number(3, OBJECT_TIMEOUT);
            body.nested(4, |data| {
                data.attribute(2, &[Protocol::Tcp.number()]);
                data.nested(3, |policy| policy.number(TIMEOUT_TCP_ESTABLISHED, seconds));
            });
        });
    }

    /// Deletes a timeout that no rule names any more.
    pub fn delete_timeout(&mut self, name: &str) {
        self.push(DELETE_OBJECT, 0, |body| {
            body.string(1, TABLE);
            body.string(2, name);
            body.number(3, OBJECT_TIMEOUT);
        });
    }

    /// Adds a named set, or a map when `data` is given.
    pub fn set(&mut self, name: &str, key: Type, data: Option<Type>) {
        self.new_set(name, key, data, 0);
    }

    /// Adds an unnamed map from 0, 1, … to addresses; returns its id for [`rule::Rule::pick`].
    pub fn numbered(&mut self, addresses: &[Ipv4Addr]) -> u32 {
        let addresses: Vec<_> = addresses.iter().map(|a| a.octets().to_vec()).collect();
        self.numbered_as(ADDRESS, &addresses)
    }

    /// The same, to values of any kind.
    pub fn numbered_as(&mut self, kind: Type, values: &[Vec<u8>]) -> u32 {
        let id = self.new_set(rule::UNNAMED, INTEGER, Some(kind), SET_ANONYMOUS | SET_CONSTANT);
        let elements: Vec<Element> = (0_u32..)
            .zip(values)
            .map(|(n, value)| (n.to_ne_bytes().to_vec(), Data::Value(value.clone())))
            .collect();
        self.change_elements(NEW_ELEMENTS, FLAG_CREATE, rule::UNNAMED, Some(id), &elements);
        id
    }

    pub fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.change_elements(NEW_ELEMENTS, FLAG_CREATE, set, None, elements);
    }

    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.change_elements(DELETE_ELEMENTS, 0, set, None, elements);
    }

    fn new_set(&mut self, name: &str, key: Type, data: Option<Type>, flags: u32) -> u32 {
        self.sets += 1;
        let id = self.sets;
        self.push(NEW_SET, FLAG_CREATE, |body| {
            body.string(1, TABLE);
            body.string(2, name);
            body.number(3, flags | if data.is_some() { SET_MAP } else { 0 });
            body.number(4, key.id);
            body.number(5, key.length);
            if let Some(data) = data {
                body.number(6, data.id);
                body.number(7, data.length);
            }
            body.number(10, id);
            if key.id == INTEGER.id {
                body.attribute(13, &HOST_ORDER);
            }
        });
        id
    }

    fn change_elements(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        id: Option<u32>,
        elements: &[Element],
    ) {
        for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.push(kind, flags, |body| {
                body.string(1, TABLE);
                body.string(2, set);
                if let Some(id) = id {
                    body.number(4, id);
                }
                body.nested(3, |list| part.iter().for_each(|e| element(list, e)));
            });
        }
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Buffer)) {
        self.sequence += 1;
        self.last = self.buffer.len();
        self.buffer.message(kind, flags, self.sequence, (self.family, 0), body);
    }

    /// Sends the transaction and waits for its end.
    fn commit(mut self, socket: &Socket) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.buffer.finish(self.last, self.sequence);
        let end = self.sequence + 1;
        self.buffer.message(BATCH_END, 0, end, (FAMILY_NONE, BATCH_FOR), |_| {});
        socket.send(&self.buffer)?;
        socket.receive(self.sequence, |_| {})
    }
}

fn element(list: &mut Buffer, (key, data): &Element) {
    list.nested(1, |body| {
        body.nested(1, |value| value.attribute(1, key));
        match data {
            Data::None => {}
            Data::Value(bytes) => body.nested(2, |value| value.attribute(1, bytes)),
            Data::Jump(chain) => body.nested(2, |value| rule::jump(value, chain)),
        }
    });
}

/// The nftables of one namespace, with the generation its own last transaction left.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    socket: Arc<Socket>,
    generation: Option<u32>,
}

impl Firewall {
    pub async fn open(ns: &NetNs) -> Result<Self> {
        Ok(Self { socket: Arc::new(Socket::netfilter(ns).await?), generation: None })
    }

    /// True when nobody changed any rule of the namespace since this last committed.
    pub async fn is_untouched(&self) -> Result<bool> {
        let Some(known) = self.generation else { return Ok(false) };
        let socket = Arc::clone(&self.socket);
        let now = blocking(move || generation(&socket)).await?;
        Ok(now.context(|| "read the rules' generation".to_owned())? == known)
    }

    /// Commits a transaction; on failure nothing is changed and the next apply starts anew.
    pub async fn commit(&mut self, batch: Batch, what: impl Fn() -> String) -> Result<()> {
        self.generation = None;
        let socket = Arc::clone(&self.socket);
        let done = blocking(move || {
            let before = generation(&socket)?;
            batch.commit(&socket)?;
            let after = generation(&socket)?;
            // Somebody else's transaction in between must be looked at.
            io::Result::Ok((after == before.wrapping_add(1)).then_some(after))
        });
        self.generation = done.await?.context(what)?;
        Ok(())
    }
}

fn generation(socket: &Socket) -> io::Result<u32> {
    let mut request = Buffer::default();
    request.message(GET_GENERATION, FLAG_ACK, 1, (FAMILY_NONE, 0), |_| {});
    let answer = socket.ask(&request, 1)?;
    let id = attributes(&answer).find(|(kind, _)| *kind == 1);
    let id = id.and_then(|(_, value)| <[u8; 4]>::try_from(value).ok());
    id.map(u32::from_be_bytes).ok_or_else(|| io::Error::other("no generation in the answer"))
}

/// Key of a map by protocol and port.
fn port_key(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol.number(), 0, 0, 0, high, low, 0, 0]
}

/// An address and a port as the data of a map.
fn address_port(address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut bytes = address.octets().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2]);
    bytes
}
