//! The operators' listener: see [`crate::http::configure_admin`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::auth::{OperatorToken, TOKEN_FILE};
use crate::config::Config;
#[cfg(feature = "console")]
use crate::console::{self, Console};
use crate::http::{self, AllowedHosts, Api};
use crate::transport::{ListenError, listen};

/// How long an operator may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What names the address.
const SETTING: &str = "admin.listen";

/// The address of operators without a setting.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Takes a free port in place of the default one, if another program has that.
fn instead(error: ListenError) -> Result<TcpListener, ListenError> {
    if !error.is_in_use() {
        return Err(error);
    }
    let listener = listen(SocketAddr::new(DEFAULT_ADDRESS.ip(), 0), SETTING)?;
    tracing::warn!(
        default = %DEFAULT_ADDRESS,
        address = listener.local_addr().ok().map(tracing::field::display),
        "another program has the operators' default port: a free one is taken; set admin.listen to choose"
    );
    Ok(listener)
}

/// Returns the path of the file with the operator's token.
pub fn token_file(config: &Config) -> PathBuf {
    config.admin.token_file.clone().unwrap_or_else(|| config.storage.data_dir.join(TOKEN_FILE))
}

/// The operators' listener and its address.
pub struct OperatorListener {
    listener: TcpListener,
    /// The URL for operators, such as `http://127.0.0.1:8081`.
    pub url: String,
}

impl OperatorListener {
    /// Listens, unless the settings switch operators off. Without a setting, another server on the same
    /// machine may have the default port: then it takes a free one.
    pub fn listen(config: &Config) -> Result<Option<Self>, CliError> {
        if !config.admin.enabled {
            return Ok(None);
        }
        let listener = match config.admin.listen {
            Some(address) => listen(address, SETTING),
            None => listen(DEFAULT_ADDRESS, SETTING).or_else(instead),
        };
        let listener = listener.map_err(CliError::usage)?;
        let url = format!("http://{}", listener.local_addr().map_err(CliError::usage)?);
        Ok(Some(Self { listener, url }))
    }

    /// Serves operators. The data directory must exist. The token ends what would otherwise go on until the
    /// operators leave: fire it before the server is stopped.
    pub fn serve(self, api: Api, config: &Config) -> Result<(Server, CancellationToken), CliError> {
        let path = token_file(config);
        let token = OperatorToken::open(&path).map_err(|error| {
            CliError::usage(format!("cannot use the operator's token in {}: {error}", path.display()))
        })?;
        let hosts = AllowedHosts::of_operators(&config.admin);
        #[cfg(feature = "console")]
        let console = Console::new(&api, token.clone());
        #[cfg(feature = "console")]
        let closing = console.closing();
        #[cfg(not(feature = "console"))]
        let closing = CancellationToken::new();
        let api = api.with_operator_token(token).answering_for(hosts);
        let keep_alive = config.limits.keep_alive.0;
        let app = move || {
            let app = App::new().configure(http::configure_admin(api.clone()));
            #[cfg(feature = "console")]
            let app = app.configure(console::configure(console.clone())).route("/", console::home());
            app.default_service(http::not_found())
        };
        let server = HttpServer::new(app)
            .workers(1)
            .keep_alive(keep_alive)
            .client_request_timeout(HEAD_TIMEOUT)
            .shutdown_timeout(1)
            .disable_signals()
            .listen(self.listener)
            .map_err(CliError::failed)?;
        Ok((server.run(), closing))
    }
}
