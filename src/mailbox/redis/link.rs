//! A connection to Redis on which nothing waits for longer than it may.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, Cmd, ConnectionInfo, IntoConnectionInfo as _, ServerError, TlsCertificates, Value,
};
use tokio::time::Instant;

use super::RedisOptions;

/// Bytes of commands that are sent before their answers are read, so that neither side's buffers fill while
/// the other one waits, and a slow Redis is noticed after so much.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Why Redis didn't do what it was asked: for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<redis::RedisError> for Fault {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            return Self("it does not answer in time".to_owned());
        }
        Self(error.to_string())
    }
}

/// Does the server refuse all writes for now? Then the probe of [`super::RedisPoller`] finds it as well.
pub(super) fn is_passing(error: &ServerError) -> bool {
    let codes = ["MISCONF", "READONLY", "LOADING", "OOM", "NOREPLICAS", "MASTERDOWN", "BUSY"];
    codes.contains(&error.code())
}

/// Why Redis can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RedisConfigError {
    /// The address is not one.
    #[error(
        "redis.url is not an address ({reason}); give redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH"
    )]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// The certificate of the authority can't be used.
    #[error("redis.ca_file {path:?} can't be used: {reason}")]
    Ca {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The password can't be read.
    #[error("redis.password_file {path:?} can't be read: {reason}")]
    Password {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
}

/// Knows where Redis is. Connects to nothing.
pub(super) fn client(options: &RedisOptions) -> Result<Client, RedisConfigError> {
    let url = |error: redis::RedisError| RedisConfigError::Url { reason: error.to_string() };
    let mut info: ConnectionInfo = options.url.as_str().into_connection_info().map_err(url)?;
    if let Some(path) = &options.password_file {
        let password = read_password(path)?;
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    let Some(path) = &options.ca_file else {
        return Client::open(info).map_err(url);
    };
    let ca = |reason: String| RedisConfigError::Ca { path: path.display().to_string(), reason };
    let pem = std::fs::read(path).map_err(|error| ca(error.to_string()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Client::build_with_tls(info, certificates).map_err(|error| ca(error.to_string()))
}

fn read_password(path: &Path) -> Result<String, RedisConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| RedisConfigError::Password {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// An open connection. After a [`Fault`] of its own it is out of step: dropped, never used again.
pub(super) struct Link {
    connection: redis::Connection,
    timeout: Duration,
    /// Its number at the server.
    pub(super) number: i64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.number)
    }
}

impl Link {
    /// Connects and logs in. Each answer is waited for `timeout` at most.
    pub(super) fn open(client: &Client, timeout: Duration) -> Result<Self, Fault> {
        let connection = client.get_connection_with_timeout(timeout)?;
        connection.set_write_timeout(Some(timeout))?;
        connection.set_read_timeout(Some(timeout))?;
        let mut link = Self { connection, timeout, number: 0 };
        if let Value::Int(number) = link.ask(redis::cmd("CLIENT").arg("ID"))? {
            link.number = number;
        }
        Ok(link)
    }

    /// The answer to one command; an error that the server tells is a fault too.
    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Value, Fault> {
        self.connection.send_packed_command(&command.get_packed_command())?;
        Ok(self.connection.recv_response()?.extract_error()?)
    }

    /// As [`Link::ask`], for a command that blocks at the server for up to `block`.
    pub(super) fn ask_blocking(&mut self, command: &Cmd, block: Duration) -> Result<Value, Fault> {
        self.connection.set_read_timeout(Some(self.timeout + block))?;
        let answer = self.ask(command);
        self.connection.set_read_timeout(Some(self.timeout))?;
        answer
    }

    /// The answers to commands in their order, as many as came within `limit`, which is for all of them
    /// together, and each within the timeout; then the fault, if not all did. Errors that the server tells are among the answers.
    ///
    /// Not the crate's pipeline: that one waits for each answer anew when one doesn't come.
    pub(super) fn ask_all(
        &mut self,
        commands: impl IntoIterator<Item = Cmd>,
        limit: Duration,
    ) -> (Vec<Value>, Option<Fault>) {
        let mut answers = Vec::new();
        let deadline = Instant::now() + limit;
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let (mut packed, mut count) = (Vec::new(), 0);
            while packed.len() < CHUNK_BYTES
                && let Some(command) = commands.next()
            {
                packed.extend_from_slice(&command.get_packed_command());
                count += 1;
            }
            if let Err(fault) = self.ask_chunk(&packed, count, deadline, &mut answers) {
                return (answers, Some(fault));
            }
        }
        (answers, None)
    }

    fn ask_chunk(
        &mut self,
        packed: &[u8],
        count: usize,
        deadline: Instant,
        answers: &mut Vec<Value>,
    ) -> Result<(), Fault> {
        if deadline <= Instant::now() {
            return Err(Fault("it is too slow".to_owned()));
        }
        self.connection.send_packed_command(packed)?;
        for _ in 0..count {
            answers.push(self.connection.recv_response()?);
        }
        Ok(())
    }
}
