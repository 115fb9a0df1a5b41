//! Who may: SMART Backend Services (REQUIREMENTS section 9). Population applications, the
//! scopes that say what they may have, and the client's side of the token request.

mod application;
mod applications;
pub mod client;
mod operator;
mod public_keys;
mod registry;
pub mod revocation;
mod scopes;
mod watch;

pub use application::{Application, ClientKeys, Groups};
pub use applications::{Applications, Departed, Reload};
pub use operator::{OperatorToken, TOKEN_FILE};
pub use public_keys::{PublicKeysError, public_keys};
pub use registry::{Registry, RegistryError};
pub use scopes::{Coverage, Permission, ScopeError, Scopes};
pub use watch::Watch;
