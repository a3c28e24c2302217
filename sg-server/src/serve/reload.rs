//! SIGHUP: the certificate is read again.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use super::tls::Tls;

/// Runs until the process ends.
pub async fn on(mut hangup: Signal, tls: Option<Arc<Tls>>) {
    while hangup.recv().await.is_some() {
        let Some(tls) = &tls else {
            tracing::info!("SIGHUP: nothing to read again without TLS");
            continue;
        };
        match tls.reload() {
            Ok(()) => tracing::info!("new connections get the certificate that was read again"),
            Err(error) => tracing::error!("the certificate in use stays: {error:#}"),
        }
    }
}
