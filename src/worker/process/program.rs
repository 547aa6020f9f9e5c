//! A command line that is there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tokio::process::Command;

use super::launcher::Launcher;

/// Why a command can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no command line.
    #[error("no command: give the program to run")]
    Empty,
    /// The program isn't there, or can't be run by this user.
    #[error("command {} is not an executable file, nor is there one of that name in PATH", .0.display())]
    NotFound(PathBuf),
}

/// A program and its arguments, and how it is started.
#[derive(Debug, Clone)]
pub struct Program {
    program: OsString,
    args: Vec<OsString>,
    launcher: Option<Launcher>,
}

/// The variable by which a worker is given its token; what it starts has no use for it.
pub(crate) const TOKEN: &str = "MUBROKER_TOKEN";

impl Program {
    /// Checks that the program is there.
    pub fn new(command: impl IntoIterator<Item = OsString>) -> Result<Self, ProgramError> {
        let mut command = command.into_iter();
        let program = command.next().filter(|p| !p.is_empty()).ok_or(ProgramError::Empty)?;
        if !is_command(Path::new(&program)) {
            return Err(ProgramError::NotFound(program.into()));
        }
        Ok(Self { program, args: command.collect(), launcher: None })
    }

    /// The same, which ends with this process, however that ends.
    #[must_use]
    pub fn with_launcher(self, launcher: Launcher) -> Self {
        Self { launcher: Some(launcher), ..self }
    }

    /// As it was given.
    pub fn path(&self) -> &Path {
        Path::new(&self.program)
    }

    /// Not yet started; leads a process group of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = match &self.launcher {
            Some(launcher) => launcher.command(&self.program, &self.args),
            None => {
                let mut command = Command::new(&self.program);
                command.args(&self.args).process_group(0);
                command
            }
        };
        // The worker's own.
        command.env_remove(TOKEN);
        command
    }
}

/// As `execvp` looks it up: a path is taken as it is, a name is looked for in `PATH`.
fn is_command(program: &Path) -> bool {
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if program.components().count() > 1 || program.is_absolute() {
        return runs(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_is_refused_at_the_start() {
        for name in ["no-such-command-anywhere", "/etc/passwd", "./no-such-file"] {
            let error = Program::new([OsString::from(name)]).expect_err("not a command");
            assert!(matches!(error, ProgramError::NotFound(_)), "{name}: {error:?}");
        }
        assert!(matches!(Program::new([]), Err(ProgramError::Empty)));
    }
}
