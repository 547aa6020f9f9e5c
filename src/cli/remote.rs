//! A broker on another machine: its address, a token, whom to trust.

use std::path::PathBuf;

use clap::Args;

use super::Exit;
use super::failure::Failure;
use crate::admin::client::AdminClient;
use crate::auth::Secret;
use crate::config::TOKEN;
use crate::model::with_causes;

/// What stands for `--url` where no other broker is named.
const URL: &str = "MUBROKER_URL";

/// A broker elsewhere, and who asks it.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RemoteArgs {
    /// The admin API of a broker elsewhere: https://HOST:PORT or http://HOST:PORT [env: MUBROKER_URL]
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// A file with the token for it; else the variable MUBROKER_TOKEN has it
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// For https: the certificate of the authority that signed the broker's (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

impl RemoteArgs {
    /// The address, if one elsewhere is meant; `is_named`: a broker is named otherwise.
    pub(super) fn url(&self, is_named: bool) -> Option<String> {
        let variable = || std::env::var(URL).ok().filter(|url| !url.is_empty() && !is_named);
        self.url.clone().or_else(variable)
    }

    /// A client of the admin API there, if one elsewhere is meant.
    pub(super) fn admin(
        &self,
        is_named: bool,
        via: &'static str,
    ) -> Result<Option<AdminClient>, Failure> {
        let Some(url) = self.url(is_named) else { return Ok(None) };
        if is_named {
            let text = "--url names a broker elsewhere; leave out --admin and --data-dir, which name one here";
            return Err(Failure::new(text).exit(Exit::Usage));
        }
        let token = self.token()?.ok_or_else(|| {
            Failure::new(format!("{url} needs a token"))
                .advice(format!(
                    "give it by --token-file or {TOKEN}; `mubroker token new` makes one"
                ))
                .exit(Exit::Usage)
        })?;
        let client = AdminClient::remote(&url, self.ca_file.as_deref(), token, via);
        client.map(Some).map_err(|error| Failure::new(with_causes(&error)).exit(Exit::Usage))
    }

    /// The token that was given, if one was. What it is isn't told.
    pub(super) fn token(&self) -> Result<Option<Secret>, Failure> {
        let (text, from) = match &self.token_file {
            Some(file) => {
                let from = file.display().to_string();
                let text = std::fs::read_to_string(file);
                (
                    text.map_err(|error| Failure::io(&format!("the token file {from}"), &error))?,
                    from,
                )
            }
            None => match std::env::var(TOKEN) {
                Ok(text) if !text.is_empty() => (text, TOKEN.to_owned()),
                Ok(_) | Err(_) => return Ok(None),
            },
        };
        let wrong = |error| Failure::new(format!("{from}: {error}")).exit(Exit::Usage);
        text.parse().map(Some).map_err(wrong)
    }
}
