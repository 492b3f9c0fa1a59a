//! When to look again: at every change of the services and their tasks, and now and then in any
//! case.

use std::time::Duration;

use swarm_api::{Kind, WatchMessage, WatchRequest, WatchSelector};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::client::Client;

/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(30);
/// While a countdown runs.
const TICK: Duration = Duration::from_millis(200);
/// With a watch: against changes that it may have missed.
const RECHECK: Duration = Duration::from_secs(2);
/// Without one (between two leaders).
const POLL: Duration = Duration::from_millis(500);
/// A manager that cannot answer now must not hold up the polling.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(2);

/// The stream of changes of some services.
pub struct Changes {
    client: Client,
    request: WatchRequest,
    stream: Option<Streaming<WatchMessage>>,
}

impl Changes {
    /// Of the services with these ids.
    pub fn new(client: Client, services: Vec<String>) -> Self {
        let mut selectors = Vec::new();
        for id in services {
            let service =
                WatchSelector { kind: Kind::Service.into(), id: id.clone(), ..Default::default() };
            let tasks =
                WatchSelector { kind: Kind::Task.into(), service_id: id, ..Default::default() };
            selectors.extend([service, tasks]);
        }
        Changes { client, request: WatchRequest { selectors, after: 0 }, stream: None }
    }

    /// Opens the stream if there is none. Without one, [`Changes::next`] polls.
    pub async fn subscribe(&mut self) {
        if self.stream.is_some() {
            return;
        }
        let mut watch = self.client.watch();
        if let Ok(Ok(answer)) = timeout(SUBSCRIBE_WITHIN, watch.watch(self.request.clone())).await {
            self.stream = Some(answer.into_inner());
        }
    }

    /// Returns when it is time to look again.
    pub async fn next(&mut self, counting_down: bool) {
        let Some(stream) = &mut self.stream else {
            sleep(if counting_down { TICK } else { POLL }).await;
            return;
        };
        let longest = if counting_down { TICK } else { RECHECK };
        match timeout(longest, stream.message()).await {
            Ok(Ok(Some(_))) => {}
            Err(_) => return,
            // The stream is over: poll once, then open another.
            Ok(_) => {
                self.stream = None;
                sleep(POLL).await;
                return;
            }
        }
        sleep(SETTLE).await;
        while let Ok(Ok(Some(_))) = timeout(Duration::ZERO, stream.message()).await {}
    }
}
