//! The table as the document that users read.

use std::fmt::Write;

use super::{Key, Status, keys};

const INTRODUCTION: &str = "\
# Compose files

`swarmctl stack deploy -c FILE NAME` reads the format of the Compose specification. Nothing is dropped in silence: a key that
is not supported, or that nobody knows, refuses the file with its name, line and column. A few keys mean nothing on a
cluster; they are ignored with a warning. Keys that begin with `x-` are yours.

This table is made from the one that the program itself checks by; a test compares them. `*` stands for a name of your own,
`[]` for the items of a list.

## How files are read
- Several `-c` are merged from left to right: later scalars win, maps are merged, lists are appended; ports with the same
  published port, volumes with the same target, and secrets and configs with the same source are replaced; so are `command`,
  `entrypoint`, `healthcheck.test` and a network's `aliases`. The tag `!reset` removes a key, `!override` replaces it whole.
- Paths are relative to the first file's folder.
- Variables come from the environment and from a `.env` file next to the first file; the environment wins.
  `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`, `${VAR?message}`, `${VAR:+other}`, `${VAR+other}`;
  defaults may hold variables; `$$` is a dollar sign. A variable that is not set is empty, with a warning. As in Docker's
  `stack deploy`, an unbraced name takes a tail that looks like a default: write `${TAG}-x`, not `$TAG-x`.
- Env files: `KEY=value` lines; `'…'` is literal, `\"…\"` knows `\\n` and the like; a key alone takes its value from the environment.
- A published port with an address needs `mode: host` and `host_ip`: in ingress mode every node publishes the port.
- `restart: \"no\"` sets no policy, as in Docker; to run tasks once, write `deploy.restart_policy.condition: none`.

## Keys
| Key | | Remark |
|---|---|---|
";

/// The support matrix, as in `docs/compose.md`.
pub fn support_matrix() -> String {
    let mut text = INTRODUCTION.to_owned();
    for Key { path, status, note } in keys() {
        let status = match status {
            Status::Supported => "yes",
            Status::Ignored => "ignored",
            Status::Refused => "**refused**",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{path}` | {status} | {note} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    /// `UPDATE_EXPECT=1` writes it anew.
    #[test]
    fn the_document_shows_the_table() {
        expect_file!["../../../../docs/compose.md"].assert_eq(&super::support_matrix());
    }
}
