//! Commands run inside a running container, without a terminal: health checks, and whoever wants
//! a command's output.

use super::client::{Answer, Call, CallError};
use super::lifecycle::call_error;
use super::{Engine, Entry};
use crate::spec::{ExecResult, ExecSpec};
use crate::wire::Request;
use crate::{EngineError, Phase};

/// Output kept when the caller names no limit, in bytes.
const DEFAULT_OUTPUT: usize = 64 << 10;
/// Exit code of a command that was killed for taking too long, as `timeout(1)` has it.
const TIMED_OUT: i32 = 124;

impl Engine {
    /// Runs a command to its end. A command that cannot be run is an error with its exit code.
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> Result<ExecResult, EngineError> {
        let entry = self.entry(id)?;
        if *entry.phase.borrow() != Phase::Running {
            let (container, state) = (entry.record.name.clone(), entry.phase.borrow().word());
            return Err(EngineError::WrongState { container, state, operation: "exec" });
        }
        self.run_command(&entry, spec).await
    }

    pub(super) async fn run_command(
        &self,
        entry: &Entry,
        spec: ExecSpec,
    ) -> Result<ExecResult, EngineError> {
        let request =
            Request::Exec { args: spec.cmd, env: spec.env, workdir: spec.workdir, user: spec.user };
        let limit = if spec.max_output == 0 { DEFAULT_OUTPUT } else { spec.max_output };
        let mut output = Vec::new();
        let ended = {
            let run = self.run_dir(&entry.record.id);
            let exchange = collect(&run, &request, limit, &mut output);
            match spec.timeout {
                // Dropping the connection makes the shim kill the command.
                Some(timeout) => tokio::time::timeout(timeout, exchange).await.ok(),
                None => Some(exchange.await),
            }
        };
        match ended {
            Some(Ok(code)) => Ok(ExecResult { code, output, timed_out: false }),
            Some(Err(error)) => Err(call_error(entry, error)),
            None => Ok(ExecResult { code: TIMED_OUT, output, timed_out: true }),
        }
    }
}

async fn collect(
    run: &std::path::Path,
    request: &Request,
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<i32, CallError> {
    let mut call = Call::open(run, request).await?;
    loop {
        match call.next().await? {
            Answer::Output(bytes) => {
                let room = limit.saturating_sub(output.len()).min(bytes.len());
                output.extend_from_slice(&bytes[..room]);
            }
            Answer::Exit(status) => return Ok(status.code),
            Answer::Ok | Answer::State(_) => {}
        }
    }
}
