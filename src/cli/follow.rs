//! What a server does about its file of applications: it follows the changes of the file, and
//! of those that went it ends the jobs, if `auth.on_deactivation` says so. SIGHUP makes it look
//! at once.

use std::io;
use std::time::Duration;

use actix_web::rt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::CliError;
use crate::Evanesce;
use crate::auth::{Applications, Reload, Watch, revocation};
use crate::config::{Auth, Config, OnDeactivation};

/// How often the file is looked at, and the owners of jobs, whatever the events say.
const POLL: Duration = Duration::from_secs(10);

/// The applications of the settings, if there are any.
pub fn open(config: &Config) -> Result<Option<Applications>, CliError> {
    let tenants = Some(config.tenant_ids().into_iter().collect());
    let open = |path| Applications::open(path, tenants).map_err(CliError::usage);
    config.auth.applications.as_deref().map(open).transpose()
}

/// Follows as long as the process lives. Runs on the actix system of the caller.
pub fn start(applications: Applications, auth: &Auth, evanesce: &Evanesce) -> io::Result<()> {
    let (tell, told) = mpsc::unbounded_channel();
    let watch = Watch::start(applications.clone(), POLL, move |reload| {
        // The task is there as long as the process.
        let _ = tell.send(reload);
    })?;
    let mut hangup = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        while hangup.recv().await.is_some() {
            watch.look();
        }
    });
    if auth.on_deactivation == OnDeactivation::Cancel {
        rt::spawn(cancel(applications, evanesce.clone(), told));
    }
    Ok(())
}

/// Ends the jobs of applications that went: before this start, now, and, should one have been
/// accepted at the very moment, a little later.
async fn cancel(applications: Applications, evanesce: Evanesce, mut told: mpsc::UnboundedReceiver<Reload>) {
    let mut poll = tokio::time::interval(POLL);
    loop {
        let departed = tokio::select! {
            reload = told.recv() => match reload {
                Some(Reload::Taken { departed }) => departed,
                Some(Reload::Refused { .. } | Reload::Unchanged) => continue,
                None => return,
            },
            _ = poll.tick() => revocation::departed_owners(&evanesce, &applications).await,
        };
        revocation::cancel_jobs(&evanesce, &departed).await;
    }
}
