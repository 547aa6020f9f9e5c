//! `mubroker token new|ls|revoke`

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Exit;
use super::failure::Failure;
use super::output::{Column, json, print, table};
use super::target::Target;
use crate::admin::dto::TokenView;
use crate::auth::{CurvePublic, Grants, Right, Role, Secret, Token, token_name};
use crate::model::QueuePatterns;

/// Make, list and revoke tokens: who may come in from elsewhere, and what for
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token, and the line for [auth] tokens; it is shown this once, and nothing keeps it
    New(NewArgs),
    /// List the configured tokens, and whether they were revoked
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// A token counts no more: at once, and after a restart
    Revoke {
        /// Which
        name: String,
    },
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Who will use it: the journal says so
    #[arg(long, value_parser = token_name)]
    name: String,
    /// viewer, operator, editor, admin, producer or worker
    #[arg(long)]
    role: Role,
    /// For which queues: names, or beginnings of names like eu.* [default: all]
    #[arg(
        long,
        value_name = "QUEUES",
        value_delimiter = ',',
        default_value = "*",
        hide_default_value = true
    )]
    queues: Vec<String>,
    /// Rights of the role that it is not to have, like cancel
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',')]
    without: Vec<Right>,
    /// The holder's public key for CURVE, which proves as much as the token
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    curve_key: Option<CurvePublic>,
    /// As a JSON object: `token`, and `config`, the line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: TokenArgs) -> Result<Exit, Failure> {
    match args.command {
        TokenCommand::New(new) => make(new)?,
        TokenCommand::Ls { json: true } => json(&args.target.admin()?.tokens().await?)?,
        TokenCommand::Ls { json: false } => print(&list(&args.target.admin()?.tokens().await?))?,
        TokenCommand::Revoke { name } => {
            args.target.admin()?.revoke_token(&name).await?;
            print(&format!("{name} is revoked; take its line out of [auth] tokens\n"))?;
        }
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Made<'a> {
    token: &'a str,
    config: &'a str,
}

fn make(args: NewArgs) -> Result<(), Failure> {
    let NewArgs { name, role, queues, without, curve_key, json: as_json } = args;
    let usage = |reason: String| Failure::new(reason).exit(Exit::Usage);
    let queues =
        QueuePatterns::parse(&queues).map_err(|reason| usage(format!("--queues: {reason}")))?;
    if let Some(right) = without.iter().find(|right| !role.rights().contains(right)) {
        return Err(usage(format!("--without: the role {role} has not the right {right} anyway")));
    }
    let secret = Secret::new().map_err(|error| Failure::new(error.to_string()))?;
    let line = line(&Token {
        name,
        hash: secret.hash(),
        curve_key,
        grants: Grants { role, without, queues },
    });
    if as_json {
        return json(&Made { token: secret.reveal(), config: &line });
    }
    print(&format!(
        "the token, which is shown this once:\n{}\n\nits line for the broker's [auth] tokens = [ … ], which count \
         after `kill -HUP`:\n{line}\n",
        secret.reveal()
    ))
}

/// As it stands in the configuration.
fn line(Token { name, hash, curve_key, grants }: &Token) -> String {
    // None of these has what TOML escapes.
    let list = |texts: Vec<String>| {
        texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
    };
    let without = grants.without.iter().map(|right| right.name().to_owned()).collect::<Vec<_>>();
    let without = match without.is_empty() {
        true => String::new(),
        false => format!(", without = [{}]", list(without)),
    };
    // Z85 has no quotes and no backslash.
    let curve_key = match curve_key {
        None => String::new(),
        Some(key) => format!(", curve_key = \"{key}\""),
    };
    format!(
        "{{ name = \"{name}\", hash = \"{hash}\", role = \"{}\", queues = [{}]{without}{curve_key} }},",
        grants.role,
        list(grants.queues.texts())
    )
}

fn list(tokens: &[TokenView]) -> String {
    let columns = [
        Column("NAME", 32),
        Column("ROLE", 8),
        Column("WITHOUT", 24),
        Column("QUEUES", 40),
        Column("STATE", 8),
    ];
    let row = |token: &TokenView| {
        vec![
            token.name.clone(),
            token.role.clone(),
            token.without.join(", "),
            token.queues.join(", "),
            if token.revoked { "revoked" } else { "counts" }.to_owned(),
        ]
    };
    table(&columns, &tokens.iter().map(row).collect::<Vec<_>>())
}
