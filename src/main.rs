//! The binary: reads the command line, runs it, and says once what went wrong.

use std::io::Write;
use std::panic::{PanicHookInfo, catch_unwind, set_hook};
use std::process::ExitCode;

use runner::cli::{self, Cli};
use runner::error::{Kind, exit_code};
use runner::report::printable;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    set_hook(panic_hook(cli.survives_panics()));
    match catch_unwind(|| cli::run(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            say(&format!("{error:#}"));
            ExitCode::from(exit_code(&error))
        }
        // The hook has spoken.
        Err(_) => ExitCode::from(Kind::Bug.exit_code()),
    }
}

/// A driver without one of its threads would wait for it forever, so it ends at once; a worker reports the attempt as
/// failed and goes on.
fn panic_hook(survives: bool) -> Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> {
    Box::new(move |panic| {
        say(&format!("this is a bug of runner {}: {panic}", env!("CARGO_PKG_VERSION")));
        if !survives {
            std::process::exit(i32::from(Kind::Bug.exit_code()));
        }
    })
}

/// Says it on stderr, if anybody listens.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    for (line, before) in text.lines().zip(std::iter::once("runner: ").chain(std::iter::repeat("  "))) {
        let _nobody = writeln!(stderr, "{before}{}", printable(line));
    }
}
