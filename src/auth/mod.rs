//! Who may: SMART Backend Services (REQUIREMENTS section 9). Population applications, and the
//! scopes that say what they may have.

mod application;
mod operator;
mod registry;
mod scopes;

pub use application::{Application, ClientKeys, Groups};
pub use operator::{OperatorToken, TOKEN_FILE};
pub use registry::{Registry, RegistryError};
pub use scopes::{Coverage, Permission, ScopeError, Scopes};
