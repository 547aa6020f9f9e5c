//! The tokens that count now.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use super::curve_key::CurvePublic;
use super::grants::Grants;
use super::token::{MAX_TOKEN_BYTES, NoToken, Secret, Token, TokenHash};

/// Revoked tokens that are remembered; beyond, what the configuration has no more is forgotten first.
const MAX_REVOKED: usize = 4096;

/// The configured tokens without the revoked ones. Shared by all doors; a change counts at once.
#[derive(Debug)]
pub struct Access {
    known: RwLock<Known>,
    changes: watch::Sender<u64>,
    file: PathBuf,
    /// One writes the file at a time. Nobody else waits for that: a disk may hang.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: Vec<Arc<Token>>,
    /// The broker's own, for what it starts itself.
    own: Vec<Arc<Token>>,
    /// By hash as it is written; the name is for people.
    revoked: BTreeMap<String, String>,
}

/// Why tokens can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file of revoked tokens can't be read or written.
    #[error("the file of revoked tokens {} can't be {verb}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else. Nobody knows then what was revoked, so it is no way to go on.
    #[error("{}:{line}: no revoked token; a line is a hash and a name", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// There is no token of this name.
    #[error("there is no token {name:?}; `mubroker token ls` shows those there are")]
    NoSuchToken {
        /// The name.
        name: String,
    },
    /// Too many were revoked that are still configured.
    #[error("{MAX_REVOKED} tokens are revoked; remove those from [auth] tokens first")]
    TooMany,
}

/// A token as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The token.
    pub token: Arc<Token>,
    /// Whether it counts no more.
    pub is_revoked: bool,
}

impl Access {
    /// These tokens, without those that `file` says are revoked; there need not be a file.
    pub fn open(tokens: Vec<Token>, file: PathBuf) -> Result<Self, AccessError> {
        let revoked = read(&file)?;
        let tokens = tokens.into_iter().map(Arc::new).collect();
        let known = RwLock::new(Known { tokens, own: Vec::new(), revoked });
        Ok(Self { known, changes: watch::Sender::new(0), file, writing: Mutex::default() })
    }

    /// Whose secret this is. Each token is compared, in constant time.
    pub fn holder(&self, secret: &str) -> Option<Arc<Token>> {
        if secret.len() > MAX_TOKEN_BYTES {
            return None;
        }
        self.of_hash(&TokenHash::of(secret))
    }

    /// The token as it is now: it may have been revoked, or have other rights since a reload.
    pub fn now(&self, token: &Token) -> Option<Arc<Token>> {
        self.of_hash(&token.hash)
    }

    fn of_hash(&self, hash: &TokenHash) -> Option<Arc<Token>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // All are looked at, wherever the right one stands.
        let pick =
            |found, token| if (token as &Arc<Token>).hash == *hash { Some(token) } else { found };
        let found: Option<&Arc<Token>> = known.tokens.iter().chain(&known.own).fold(None, pick);
        found.filter(|token| !known.is_revoked(token)).cloned()
    }

    /// Makes a token that counts for as long as this lives, is not listed, and that nobody is told but who gets this one.
    pub fn own(&self, name: &str, grants: Grants) -> Result<Secret, NoToken> {
        let secret = Secret::new()?;
        let token = Token { name: name.to_owned(), hash: secret.hash(), curve_key: None, grants };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.own.push(Arc::new(token));
        Ok(secret)
    }

    /// Whether any is configured.
    pub fn has_any(&self) -> bool {
        !self.known.read().unwrap_or_else(PoisonError::into_inner).tokens.is_empty()
    }

    /// How often tokens have changed: while it is the same, so is what [`Access::now`] says.
    pub fn change(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Whose key for CURVE this is.
    pub fn of_key(&self, key: &CurvePublic) -> Option<Arc<Token>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.tokens.iter().find(|token| token.curve_key.as_ref() == Some(key));
        found.filter(|token| !known.is_revoked(token)).cloned()
    }

    /// All that are configured.
    pub fn list(&self) -> Vec<Listed> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let listed = |token: &Arc<Token>| Listed {
            token: Arc::clone(token),
            is_revoked: known.is_revoked(token),
        };
        known.tokens.iter().map(listed).collect()
    }

    /// What the configuration has now; what is revoked stays so.
    pub fn replace(&self, tokens: Vec<Token>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tokens = tokens.into_iter().map(Arc::new).collect();
        drop(known);
        self.changes.send_modify(|change| *change += 1);
    }

    /// The tokens of this name count no more, at once and for ever: it is on disk when this returns. Gives how many there
    /// were. Blocks while it is written.
    pub fn revoke(&self, name: &str) -> Result<usize, AccessError> {
        self.revoke_with(name, |revoked| write(&self.file, revoked))
    }

    fn revoke_with(
        &self,
        name: &str,
        write: impl FnOnce(&BTreeMap<String, String>) -> Result<(), AccessError>,
    ) -> Result<usize, AccessError> {
        // Else an earlier list could take a later one's place.
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let of_name = known.tokens.iter().filter(|token| token.name == name);
        let hashes: Vec<String> = of_name.map(|token| token.hash.to_string()).collect();
        if hashes.is_empty() {
            return Err(AccessError::NoSuchToken { name: name.to_owned() });
        }
        let mut revoked = known.revoked.clone();
        revoked.extend(hashes.iter().map(|hash| (hash.clone(), name.to_owned())));
        if revoked.len() > MAX_REVOKED {
            let configured: Vec<String> =
                known.tokens.iter().map(|token| token.hash.to_string()).collect();
            revoked.retain(|hash, _| configured.contains(hash));
        }
        if revoked.len() > MAX_REVOKED {
            return Err(AccessError::TooMany);
        }
        // It counts even if it can't be written; the error says that it will count again after a restart.
        known.revoked.clone_from(&revoked);
        drop(known);
        self.changes.send_modify(|change| *change += 1);
        let written = write(&revoked);
        drop(writing);
        written.map(|()| hashes.len())
    }

    /// Tells of each change: who is connected by a token then asks [`Access::now`] again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Known {
    fn is_revoked(&self, token: &Token) -> bool {
        self.revoked.contains_key(&token.hash.to_string())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, AccessError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => {
            return Err(AccessError::File { path: path.to_owned(), verb: "read", source });
        }
    };
    let mut revoked = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let found = line.split_once(' ').filter(|(hash, _)| hash.parse::<TokenHash>().is_ok());
        let Some((hash, name)) = found else {
            return Err(AccessError::Line { path: path.to_owned(), line: number + 1 });
        };
        revoked.insert(hash.to_owned(), name.to_owned());
    }
    Ok(revoked)
}

/// As a whole, so that a crash leaves the old one or the new one.
fn write(path: &Path, revoked: &BTreeMap<String, String>) -> Result<(), AccessError> {
    let written = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        for (hash, name) in revoked {
            writeln!(file, "{hash} {name}")?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|source| AccessError::File { path: path.to_owned(), verb: "written", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> (Secret, Token) {
        let secret = Secret::new().expect("randomness");
        let hash = secret.hash();
        (secret, Token { name: name.to_owned(), hash, curve_key: None, grants: Grants::all() })
    }

    #[test]
    fn a_token_counts_until_it_is_revoked_and_stays_so_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("revoked-tokens");
        let ((secret, anna), (other, bert)) = (token("anna"), token("bert"));
        let tokens = vec![anna.clone(), bert];
        let access = Access::open(tokens.clone(), file.clone()).expect("no file yet");
        let held = access.holder(secret.reveal()).expect("anna's");
        assert_eq!(held.name, "anna");
        assert!(access.holder("mub_").is_none() && access.holder(&"x".repeat(4096)).is_none());
        let mut changes = access.changes();
        changes.mark_unchanged();
        assert_eq!(access.revoke("anna").expect("written"), 1);
        assert!(changes.has_changed().expect("open"));
        assert!(access.holder(secret.reveal()).is_none() && access.now(&anna).is_none());
        assert!(access.holder(other.reveal()).is_some());
        assert!(matches!(access.revoke("carl"), Err(AccessError::NoSuchToken { .. })));
        let own = access.own("supervised", Grants::all()).expect("randomness");
        access.replace(tokens.clone());
        assert_eq!(access.holder(own.reveal()).expect("the broker's own").name, "supervised");
        assert_eq!(access.list().len(), 2, "it is not listed");

        let again = Access::open(tokens, file).expect("the file is read");
        assert!(again.holder(secret.reveal()).is_none());
        let revoked: Vec<bool> = again.list().iter().map(|listed| listed.is_revoked).collect();
        assert_eq!(revoked, [true, false]);
        let (newer, token) = token("anna");
        again.replace(vec![token]);
        assert!(again.holder(newer.reveal()).is_some(), "another token of the name");
        assert!(again.holder(other.reveal()).is_none(), "no more configured");
    }

    #[test]
    fn nobody_waits_for_the_disk_while_a_revocation_is_written() {
        let ((secret, anna), (other, bert)) = (token("anna"), token("bert"));
        let access = Access::open(vec![anna, bert], PathBuf::from("/nowhere")).expect("no file");
        let changes = access.change();
        let written = access.revoke_with("anna", |revoked| {
            assert_eq!(revoked.len(), 1);
            assert!(access.known.try_write().is_ok(), "others look at the tokens meanwhile");
            assert!(access.holder(secret.reveal()).is_none() && access.change() > changes);
            assert!(access.holder(other.reveal()).is_some());
            Ok(())
        });
        assert_eq!(written.expect("written"), 1);
    }

    #[test]
    fn a_file_that_can_not_be_read_is_no_reason_to_trust_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("revoked-tokens");
        std::fs::write(&file, "sha256:12 anna\n").expect("written");
        let error = Access::open(Vec::new(), file).expect_err("refused").to_string();
        assert!(error.ends_with("revoked-tokens:1: no revoked token; a line is a hash and a name"));
    }

    #[test]
    fn what_can_not_be_written_is_revoked_all_the_same_and_told() {
        let (secret, anna) = token("anna");
        let file = PathBuf::from("/proc/none/revoked-tokens");
        let access = Access::open(vec![anna], file).expect("no file");
        assert!(matches!(access.revoke("anna"), Err(AccessError::File { verb: "written", .. })));
        assert!(access.holder(secret.reveal()).is_none());
    }
}
