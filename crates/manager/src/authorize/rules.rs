//! Whom each call of each service is for: the one list, checked before any service hears of a call. What is not in it is
//! nobody's.

use super::Audience;

/// Whom the call at `path` (`/swarm.v1.SERVICE/METHOD`) is for; `None`: there is no such call.
pub fn audience(path: &str) -> Option<Audience> {
    let (service, call) = path.strip_prefix("/swarm.v1.")?.split_once('/')?;
    match service {
        "Control" => control(call),
        "Snapshots" => one(call, &["SaveSnapshot"], Audience::Operators),
        "Watch" => one(call, &["Watch"], Audience::Operators),
        "Logs" => one(call, &["SubscribeLogs"], Audience::Operators),
        "NodeCa" => match call {
            "GetRootCa" | "IssueCertificate" => Some(Audience::Anyone),
            "RenewCertificate" => Some(Audience::Nodes),
            _ => None,
        },
        // Who has no valid certificate proves something else.
        "NodeRecovery" => one(call, &["RecoverCertificate"], Audience::Anyone),
        "Dispatcher" => {
            let calls = [
                "Session",
                "Heartbeat",
                "UpdateTaskStatus",
                "Assignments",
                "NetworksApplied",
                "AwaitDrained",
            ];
            one(call, &calls, Audience::Nodes)
        }
        "LogBroker" => one(call, &["ListenSubscriptions", "PublishLogs"], Audience::Nodes),
        "Raft" => {
            let calls = ["Append", "Vote", "InstallSnapshot", "TransferLeader"];
            one(call, &calls, Audience::Peers)
        }
        "RaftMembership" => match call {
            // The joiner has just been promoted.
            "Join" => Some(Audience::Peers),
            "Leave" => Some(Audience::Operators),
            _ => None,
        },
        "Whereabouts" => one(call, &["Announce"], Audience::Nodes),
        "NodeControl" => {
            let calls = ["Info", "Init", "Join", "Leave", "Reach", "Unlock", "ListSnapshots"];
            one(call, &calls, Audience::Host)
        }
        "Images" => {
            let calls = [
                "ListImages",
                "ResolveImage",
                "PullImage",
                "LoadImage",
                "ImportImage",
                "TagImage",
                "RemoveImage",
            ];
            one(call, &calls, Audience::Host)
        }
        "Volumes" => one(call, &["ListVolumes", "CreateVolume", "RemoveVolume"], Audience::Host),
        "Peer" => one(call, &["FindImage", "FetchBlob"], Audience::Nodes),
        _ => None,
    }
}

/// Everything at the door is for operators, and named, so that a new call is nobody's until somebody says whose it is.
fn control(call: &str) -> Option<Audience> {
    const NOUNS: [&str; 7] = ["Cluster", "Node", "Service", "Task", "Network", "Secret", "Config"];
    const VERBS: [&str; 5] = ["Get", "Create", "Update", "Remove", "List"];
    const OTHERS: [&str; 4] = ["RotateRootCa", "GetUnlockKey", "GetRecoveryKey", "GetAddressUsage"];
    let known = OTHERS.contains(&call)
        || VERBS.iter().any(|verb| {
            let noun = call.strip_prefix(verb).unwrap_or_default();
            NOUNS.contains(&noun)
                || NOUNS.iter().any(|n| *verb == "List" && noun == format!("{n}s"))
        });
    known.then_some(Audience::Operators)
}

fn one(call: &str, calls: &[&str], audience: Audience) -> Option<Audience> {
    calls.contains(&call).then_some(audience)
}
