//! Authorization by SMART Backend Services (REQUIREMENTS section 9): population applications, the
//! scopes that they may have, and the authority that issues tokens for their assertions.

mod access;
mod access_token;
mod application;
mod applications;
mod assertion;
mod authority;
mod client_keys;
mod fetch;
mod folder;
mod known_tokens;
mod operator;
mod public_keys;
mod registry;
mod replay;
mod replay_file;
#[cfg(feature = "cli")]
pub mod revocation;
mod scopes;
mod signing_keys;
mod watch;

pub use access_token::{AccessTokenClaims, TokenError, TokenIssuer};
pub use application::{Application, ClientKeys, Groups};
pub use applications::{Applications, DeactivatedApplication, ReloadOutcome};
pub use assertion::AssertionError;
pub use authority::{Authority, AuthorityError, IssuedToken, TokenDenied};
#[cfg(feature = "cli")]
pub(crate) use fetch::KeyFetcher;
#[cfg(feature = "otlp")]
pub(crate) use fetch::authorities;
pub use operator::OperatorToken;
#[cfg(feature = "cli")]
pub use operator::TOKEN_FILE;
pub use public_keys::{PublicKeysError, public_keys};
pub use registry::{Registry, RegistryError};
pub use scopes::{Permission, ScopeCoverage, ScopeError, Scopes};
pub use watch::Watch;
