//! What is exported, from where, into which folder and with how much patience.

use std::path::PathBuf;
use std::time::Duration;

use crate::fhir::Level;
use crate::receipts::ReceiptKey;
use crate::smart::ClientKey;

/// What to export, and how. [`ExportOptions::new`] gives the defaults.
///
/// ```
/// use evanesce::Level;
/// use evanesce::client::ExportOptions;
///
/// let mut options = ExportOptions::new("https://fhir.example.org/r4/default", "export");
/// options.level = Level::Group { id: "diabetics".into() };
/// options.parameters = vec![("_type".into(), "Patient,Condition".into())];
/// assert_eq!(options.parallel, 4);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportOptions {
    /// The base URL of the FHIR server.
    pub base: String,
    /// The folder for the files. It must be new, empty, or hold this very export.
    pub out: PathBuf,
    /// Which export. Default: the system's.
    pub level: Level,
    /// Parameters of the kick-off, by name and value. `_type` and `_elements` become one list each.
    pub parameters: Vec<(String, String)>,
    /// References of the patients to export (`Patient/123`); they make the kick-off a POST.
    pub patients: Vec<String>,
    /// What the server should do about parameters that it does not support. Default: what it does.
    pub handling: ParameterHandling,
    /// How the client says who it is. Default: not at all.
    pub credentials: Credentials,
    /// A PEM file of certificate authorities to trust in place of the public ones.
    pub authorities: Option<PathBuf>,
    /// URLs whose origins get the token as the server's own does.
    pub trusted: Vec<String>,
    /// Whether plain http is spoken to other machines. Default: only https is.
    pub insecure_http: bool,
    /// How many files are loaded at once, 1 to 64. Default 4.
    pub parallel: usize,
    /// Whether an export that is in the folder is thrown away and another one begun.
    pub restart: bool,
    /// Whether the files of OperationOutcomes, which say what the server left out or ignored, are not
    /// loaded.
    pub leave_errors: bool,
    /// Whether the server is asked to delete the export when all is loaded and verified. A receipt that it offers
    /// is waited for as long as there is patience, checked, and kept as `receipt.json`.
    pub delete_after: bool,
    /// The public key with which the receipt must hold. Without one it is checked with the key that the server
    /// serves, and a receipt that does not come is no failure.
    pub receipt_key: Option<ReceiptKey>,
    /// What becomes of the export at the server when the signal stops it here.
    pub on_stop: StopPolicy,
    /// How long the same thing may fail, again and again, before the export is given up. Default 5
    /// minutes.
    pub patience: Duration,
    /// How long the whole may take. Default 24 hours.
    pub timeout: Duration,
}

/// What a server should do about parameters that it does not support (K-5).
///
/// ```
/// assert_eq!(evanesce::client::ParameterHandling::default(), evanesce::client::ParameterHandling::Unsaid);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParameterHandling {
    /// Whatever it does.
    #[default]
    Unsaid,
    /// Ignore them, and say so in an error file (`handling=lenient`).
    Lenient,
    /// Refuse the export (`handling=strict`).
    Strict,
}

/// What becomes of the export at the server when the client is stopped.
///
/// ```
/// assert_eq!(evanesce::client::StopPolicy::default(), evanesce::client::StopPolicy::Cancel);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopPolicy {
    /// The server is asked to cancel it (DELETE).
    #[default]
    Cancel,
    /// It goes on. The same options go on with it later.
    Keep,
}

/// How a client says who it is. The debug output shows no secret.
///
/// ```
/// use evanesce::client::Credentials;
///
/// assert!(!format!("{:?}", Credentials::Token("secret".into())).contains("secret"));
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// With an access token that is there already.
    Token(String),
    /// With an access token in a file, which is read anew when the server refuses it.
    TokenFile(PathBuf),
    /// With tokens for signed assertions (SMART Backend Services).
    Backend(Box<BackendClient>),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::TokenFile(_) => "TokenFile",
            Self::Backend(_) => "Backend",
        })
    }
}

/// A client of SMART Backend Services.
///
/// ```
/// use evanesce::client::{BackendClient, ClientKey, SigningAlgorithm};
///
/// let (key, _) = ClientKey::generate(SigningAlgorithm::Es384, None)?;
/// let client = BackendClient::new("acme-analytics", key);
/// assert_eq!(client.scope, "system/*.rs");
/// # Ok::<_, evanesce::client::ClientKeyError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackendClient {
    /// The name that the client is registered with.
    pub client_id: String,
    /// Its private key.
    pub key: ClientKey,
    /// What tokens should allow. Default `system/*.rs`.
    pub scope: String,
    /// The token endpoint. Default: the one that the server's `smart-configuration` names.
    pub token_url: Option<String>,
}

impl BackendClient {
    /// Returns a client with the usual scope.
    pub fn new(client_id: impl Into<String>, key: ClientKey) -> Self {
        Self { client_id: client_id.into(), key, scope: "system/*.rs".into(), token_url: None }
    }
}

impl ExportOptions {
    /// Returns the options of a system export from `base` into the folder `out`.
    pub fn new(base: impl Into<String>, out: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            out: out.into(),
            level: Level::System,
            parameters: Vec::new(),
            patients: Vec::new(),
            handling: ParameterHandling::Unsaid,
            credentials: Credentials::None,
            authorities: None,
            trusted: Vec::new(),
            insecure_http: false,
            parallel: 4,
            restart: false,
            leave_errors: false,
            delete_after: false,
            receipt_key: None,
            on_stop: StopPolicy::Cancel,
            patience: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(24 * 60 * 60),
        }
    }
}
