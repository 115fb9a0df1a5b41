//! The operators' listener: see [`crate::http::configure_admin`].

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer};

use super::CliError;
use crate::auth::{OperatorToken, TOKEN_FILE};
use crate::config::Config;
use crate::http::{self, AllowedHosts, Api};

/// How long an operator may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The operators' listener and its address.
pub struct OperatorListener {
    listener: TcpListener,
    /// The URL for operators, such as `http://127.0.0.1:8081`.
    pub url: String,
}

impl OperatorListener {
    /// Listens, unless the settings switch operators off.
    pub fn listen(config: &Config) -> Result<Option<Self>, CliError> {
        let address = config.admin.listen;
        let cannot_listen = |error: io::Error| {
            CliError::usage(format!("cannot listen on {address}: {error}; set another admin.listen"))
        };
        if !config.admin.enabled {
            return Ok(None);
        }
        let listener = TcpListener::bind(address).map_err(cannot_listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(cannot_listen)?);
        Ok(Some(Self { listener, url }))
    }

    /// Serves operators. The data directory must exist.
    pub fn serve(self, api: Api, config: &Config) -> Result<Server, CliError> {
        let path = config.admin.token_file.clone();
        let path = path.unwrap_or_else(|| config.storage.data_dir.join(TOKEN_FILE));
        let token = OperatorToken::open(&path).map_err(|error| {
            CliError::usage(format!("cannot use the operator's token in {}: {error}", path.display()))
        })?;
        let api = api.with_operator_token(token).answering_for(AllowedHosts::loopback());
        let keep_alive = config.limits.keep_alive.0;
        let app = move || {
            App::new().configure(http::configure_admin(api.clone())).default_service(http::not_found())
        };
        let server = HttpServer::new(app)
            .workers(1)
            .keep_alive(keep_alive)
            .client_request_timeout(HEAD_TIMEOUT)
            .shutdown_timeout(1)
            .disable_signals()
            .listen(self.listener)
            .map_err(CliError::failed)?;
        Ok(server.run())
    }
}
