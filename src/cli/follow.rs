//! Follows the changes of the file of applications in a running server, and ends the jobs of
//! deactivated applications if `auth.on_deactivation` says so. SIGHUP makes it look at once.

use std::io;
use std::time::Duration;

use actix_web::rt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::CliError;
use crate::Evanesce;
use crate::auth::{Applications, ReloadOutcome, Watch, revocation};
use crate::config::{AuthConfig, Config, OnDeactivation};

/// How often the file and the owners of jobs are checked, whatever the events say.
const POLL: Duration = Duration::from_secs(10);

/// Opens the applications of the settings, if there are any.
pub fn open(config: &Config) -> Result<Option<Applications>, CliError> {
    let tenants = Some(config.tenant_ids().into_iter().collect());
    let open = |path| Applications::open(path, tenants).map_err(CliError::usage);
    config.auth.applications.as_deref().map(open).transpose()
}

/// Follows as long as the process lives, on the actix system of the caller.
pub fn start(applications: Applications, auth: &AuthConfig, evanesce: &Evanesce) -> io::Result<()> {
    let (tell, told) = mpsc::unbounded_channel();
    let watch = Watch::start(applications.clone(), POLL, move |reload| {
        // The task lives as long as the process.
        let _ = tell.send(reload);
    })?;
    let mut hangup = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        while hangup.recv().await.is_some() {
            watch.reload_soon();
        }
    });
    if auth.on_deactivation == OnDeactivation::Cancel {
        rt::spawn(cancel(applications, evanesce.clone(), told));
    }
    Ok(())
}

/// Ends the jobs of deactivated applications: those from before this start, those of now, and, a
/// little later, a job that was accepted at that very moment.
async fn cancel(
    applications: Applications,
    evanesce: Evanesce,
    mut told: mpsc::UnboundedReceiver<ReloadOutcome>,
) {
    let mut poll = tokio::time::interval(POLL);
    loop {
        let departed = tokio::select! {
            reload = told.recv() => match reload {
                Some(ReloadOutcome::Taken { departed }) => departed,
                Some(ReloadOutcome::Refused { .. } | ReloadOutcome::Unchanged) => continue,
                None => return,
            },
            _ = poll.tick() => revocation::departed_owners(&evanesce, &applications).await,
        };
        revocation::cancel_jobs(&evanesce, &departed).await;
    }
}
