//! The certificate that the admin API shows over TCP.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or has something else in it.
    #[error("{} has no {what} that can be read: {reason}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// `certificate` or `private key`, in PEM.
        what: &'static str,
        /// What is wrong. Nothing of the file.
        reason: String,
    },
    /// The two don't belong together, or are of a kind that isn't spoken.
    #[error("the certificate in {} and the key in {} can't be used", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// Files and what they held when they were last read.
#[derive(Debug)]
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(read(cert, key)?));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), config })
    }

    /// Reads the files again, for the connections to come. What can't be used changes nothing.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(read(&self.cert, &self.key)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let pem =
        |path: &Path, what, reason: String| TlsError::Pem { path: path.to_owned(), what, reason };
    let bad_cert = |reason| pem(cert, "certificate", reason);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad_cert(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_cert("there is none in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| pem(key, "private key", error.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring knows the versions of TLS that rustls has")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source })
}
