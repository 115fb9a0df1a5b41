//! What a client asked for. Kick-off parameters may name a patient, so a request lives in
//! the job's directory and in memory, never in the store or in a log (P12).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Access, ClientId, Handout, Parameters, TenantId};

/// Which `$export` operation was called.
///
/// ```
/// let level = evanesce::Level::Group { id: "diabetics".into() };
/// assert_ne!(level, evanesce::Level::Patient);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `{base}/$export`: everything.
    System,
    /// `{base}/Patient/$export`: the compartments of all patients and what they refer to (K-10).
    Patient,
    /// `{base}/Group/{id}/$export`: the same of the group's members.
    Group {
        /// The id of the Group resource, or [`ALL_PATIENTS`].
        id: String,
    },
}

/// The group that is always there: every patient (K-15).
pub const ALL_PATIENTS: &str = "All_Patients";

/// What to export.
///
/// ```
/// use evanesce::{Kickoff, Level, Parameters};
///
/// let parameters = Parameters { types: vec!["Patient".into()], ..Parameters::default() };
/// let kickoff = Kickoff { parameters, ..Kickoff::new(Level::Patient) };
/// assert_ne!(kickoff, Kickoff::system());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kickoff {
    /// The operation.
    pub level: Level,
    /// What of it.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// The full kick-off URL as received, for the manifest's `request` (MF-2, C7); a host that
    /// has none may leave it empty.
    pub url: String,
    /// The base URL that clients see, without a slash at the end: relative URLs of attachments
    /// are made absolute with it (O-4). Empty leaves them as they are.
    #[serde(default)]
    pub base_url: String,
}

impl Kickoff {
    /// Everything that a level has.
    pub fn new(level: Level) -> Self {
        Self { level, parameters: Parameters::default(), url: String::new(), base_url: String::new() }
    }

    /// Everything the exporter has.
    pub fn system() -> Self {
        Self::new(Level::System)
    }
}

/// One export request, as accepted at the kick-off.
///
/// ```
/// use evanesce::{Access, ExportRequest, Kickoff};
///
/// let request = ExportRequest::new("default".parse()?, "me".parse()?, Kickoff::system(), jiff::Timestamp::now());
/// let patients = Access::of_types([("Patient".into(), vec![])].into());
/// let request = ExportRequest { access: patients, ..request };
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Whose data.
    pub tenant: TenantId,
    /// Who asked, and alone may see the job (P10).
    pub owner: ClientId,
    /// What to export.
    #[serde(flatten)]
    pub kickoff: Kickoff,
    /// What of that it may hold, whatever was asked for.
    #[serde(default, skip_serializing_if = "Access::is_everything")]
    pub access: Access,
    /// What URLs of Binaries in its files are proved with; `None` if they need no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handout: Option<Handout>,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// Bytes that the export was expected to write at the most when it was accepted; `None` if
    /// nobody could tell. Room is kept for them across a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<u64>,
}

impl ExportRequest {
    /// A request that nobody has looked at yet; it may hold everything.
    pub fn new(tenant: TenantId, owner: ClientId, kickoff: Kickoff, submitted_at: Timestamp) -> Self {
        let (access, handout, estimate) = (Access::everything(), None, None);
        Self { tenant, owner, kickoff, access, handout, submitted_at, estimate }
    }

    /// The operation.
    pub fn level(&self) -> &Level {
        &self.kickoff.level
    }

    /// What of it is asked for.
    pub fn parameters(&self) -> &Parameters {
        &self.kickoff.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_before_there_was_access_may_hold_everything_and_is_written_as_it_was() {
        let old = r#"{"tenant":"t","owner":"o","level":"system","types":["Patient"],"url":"","base_url":"","submitted_at":"1970-01-01T00:00:00Z"}"#;
        let mut request: ExportRequest = serde_json::from_str(old).unwrap();
        assert_eq!((&request.access, &request.handout), (&Access::everything(), &None));
        assert_eq!(serde_json::to_string(&request).unwrap(), old);
        request.access = Access::of_types([("Patient".into(), vec!["active=true".into()])].into());
        request.handout = Some(Handout::new(request.tenant.clone(), crate::job::JobId::random()));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ExportRequest>(&text).unwrap(), request);
    }
}
