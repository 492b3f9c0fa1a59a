//! The replicated command as it is sent and kept: a [`RaftCommand`], written straight from the
//! changed objects, which the tables share and which need not be copied for it.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};
use swarm_api::store_action::{Action as Act, Remove};
use swarm_api::{Object, RaftCommand, StoreAction};

use crate::{Action, Change, record};

/// Keys of fields, as in `proto/`: number and wire type 2 (bytes) or 0 (integer).
const COMMAND_ACTIONS: u8 = 1 << 3 | 2;
const ACTION_CREATE: u8 = 1 << 3 | 2;
const ACTION_UPDATE: u8 = 2 << 3 | 2;
const ACTION_BASED_ON: u8 = 4 << 3;

/// The command that makes these changes at `index`.
pub(crate) fn encode(
    changes: &[Change],
    request_ids: &[String],
    index: u64,
    proposed_at_ns: i64,
) -> Bytes {
    let mut out = Vec::new();
    for change in changes {
        match (change.action, &change.old) {
            (Action::Removed, _) => put_removal(&mut out, &change.object),
            (_, None) => put_object(&mut out, ACTION_CREATE, &change.object, 0),
            (_, Some(old)) => {
                put_object(&mut out, ACTION_UPDATE, &change.object, record::version(old));
            }
        }
    }
    // Messages that follow each other are one.
    let request_ids = request_ids.to_vec();
    let rest = RaftCommand { actions: Vec::new(), request_ids, proposed_at_ns, index };
    out.extend_from_slice(&rest.encode_to_vec());
    out.into()
}

fn put_object(out: &mut Vec<u8>, key: u8, object: &Object, based_on: u64) {
    let length = object.encoded_len();
    let mut size = 1 + encoded_len_varint(length as u64) + length;
    if based_on != 0 {
        size += 1 + encoded_len_varint(based_on);
    }
    out.push(COMMAND_ACTIONS);
    encode_varint(size as u64, out);
    out.push(key);
    encode_varint(length as u64, out);
    object.encode_raw(out);
    if based_on != 0 {
        out.push(ACTION_BASED_ON);
        encode_varint(based_on, out);
    }
}

fn put_removal(out: &mut Vec<u8>, object: &Object) {
    let (kind, id) = (record::kind(object) as i32, record::id(object).to_owned());
    let action = StoreAction { action: Some(Act::Remove(Remove { kind, id })), based_on: 0 };
    out.push(COMMAND_ACTIONS);
    encode_varint(action.encoded_len() as u64, out);
    action.encode_raw(out);
}
