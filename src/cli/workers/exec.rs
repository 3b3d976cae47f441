//! `runner workers exec`: a command on all hosts, outputs folded.

use futures::future::join_all;

use super::{ExecArguments, explain, in_groups};
use crate::cli::output::{print, print_error};
use crate::error::{Fault, Kind};
use crate::fleet::Fleet;
use crate::fleet::ranges::fold;
use crate::transport::{Executed, Transport};

/// Runs it everywhere at once, and prints when all have ended.
pub(super) async fn run(arguments: &ExecArguments, fleet: &Fleet, transport: &Transport) -> anyhow::Result<()> {
    let command = command_line(&arguments.command)?;
    let ends = join_all(fleet.hosts.iter().map(|host| transport.exec(host, &command))).await;
    let mut done = Vec::new();
    let mut troubles = Vec::new();
    for (name, end) in fleet.names().into_iter().zip(ends) {
        match end {
            Ok(executed) => done.push((name, executed)),
            Err(error) => troubles.push((name, error)),
        }
    }
    print(|out| out.write_all(&outputs(&done)))?;
    print_error(&(errors(&done) + &explain(&troubles)))?;
    let failed = done.iter().filter(|(_, executed)| executed.code != 0).map(|(name, _)| name);
    let failed: Vec<&String> = failed.chain(troubles.iter().map(|(name, _)| name)).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let text = format!("the command failed on {} of {} workers: {}", failed.len(), fleet.hosts.len(), fold(failed));
    Err(Fault::new(Kind::TaskFailed, text).into())
}

/// One argument is for the shell as it is, as with ssh; several are words, so that quotes that were typed stay quotes.
fn command_line(words: &[String]) -> Result<String, Fault> {
    match words {
        [line] => Ok(line.clone()),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| Fault::usage("a command line cannot have a NUL in it")),
    }
}

/// What the hosts said, equal outputs once, below the hosts' names.
fn outputs(done: &[(String, Executed)]) -> Vec<u8> {
    let mut text = Vec::new();
    let spoke: Vec<_> = done.iter().filter(|(_, executed)| !executed.stdout.is_empty()).collect();
    for (group, (_, executed)) in in_groups(&spoke, |(_, executed)| &executed.stdout) {
        text.extend_from_slice(format!("{}:\n", fold(group.iter().map(|(name, _)| name))).as_bytes());
        text.extend_from_slice(&executed.stdout);
        if !executed.stdout.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

/// What they said on stderr, and how those ended that failed.
fn errors(done: &[(String, Executed)]) -> String {
    let mut text = String::new();
    let spoke: Vec<_> = done.iter().filter(|(_, done)| !done.stderr.is_empty() || done.code != 0).collect();
    for (group, (_, executed)) in in_groups(&spoke, |(_, executed)| (&executed.stderr, executed.code)) {
        let hosts = fold(group.iter().map(|(name, _)| name));
        let end = if executed.code == 0 { String::new() } else { format!(" {}", ending(executed.code)) };
        text.push_str(&format!("{hosts}:{end}\n"));
        if !executed.stderr.is_empty() {
            text.push_str(&format!("{}\n", executed.stderr));
        }
    }
    text
}

fn ending(code: i32) -> String {
    match code {
        127 => "exit code 127 (command not found)".to_owned(),
        129..=192 => format!("exit code {code} (signal {})", code - 128),
        code => format!("exit code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(name: &str, code: i32, stdout: &str, stderr: &str) -> (String, Executed) {
        (name.to_owned(), Executed { code, stdout: stdout.into(), stderr: stderr.into() })
    }

    #[test]
    fn equal_outputs_are_folded() {
        let done = [
            done("node1", 0, "a\n", ""),
            done("node2", 3, "b", "oh"),
            done("node3", 0, "a\n", ""),
            done("node4", 3, "", "oh"),
            done("node5", 137, "", ""),
        ];
        assert_eq!(String::from_utf8_lossy(&outputs(&done)), "node[1,3]:\na\nnode2:\nb\n");
        assert_eq!(errors(&done), "node[2,4]: exit code 3\noh\nnode5: exit code 137 (signal 9)\n");
    }

    #[test]
    fn words_stay_words_and_a_line_stays_a_line() {
        let check = |words: &[&str], line: &str| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(command_line(&words).as_deref(), Ok(line), "{words:?}");
        };
        check(&["echo $HOME; ls"], "echo $HOME; ls");
        check(&["ls", "-l", "a b"], "ls -l 'a b'");
    }
}
