//! What a client asked for. Kick-off parameters may name a patient, so a request lives in
//! the job's directory and in memory, never in the store or in a log (P12).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientId, ExportAccess, Level, Parameters, ProofSigner, TenantId};

/// What to export.
///
/// ```
/// use evanesce::{Kickoff, Level, Parameters};
///
/// let parameters = Parameters::default().with_types(&["Patient"]).unwrap();
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
/// use evanesce::{ExportAccess, ExportRequest, Kickoff, ResourceType};
///
/// let request = ExportRequest::new("default".parse()?, "me".parse()?, Kickoff::system(), jiff::Timestamp::now());
/// let patients = ExportAccess::of_types([(ResourceType::of("Patient").unwrap(), vec![])].into())?;
/// let request = ExportRequest { access: patients, ..request };
/// # Ok::<_, Box<dyn std::error::Error>>(())
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
    #[serde(default, skip_serializing_if = "ExportAccess::is_everything")]
    pub access: ExportAccess,
    /// What URLs of Binaries in its files are proved with; `None` if they need no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handout: Option<ProofSigner>,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// Bytes that the export was expected to write at the most when it was accepted; `None` if
    /// nobody could tell. Room is kept for them across a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<u64>,
}

impl ExportRequest {
    /// Creates a request that nobody has looked at yet; it may hold everything.
    pub fn new(tenant: TenantId, owner: ClientId, kickoff: Kickoff, submitted_at: Timestamp) -> Self {
        let (access, handout, estimate) = (ExportAccess::everything(), None, None);
        Self { tenant, owner, kickoff, access, handout, submitted_at, estimate }
    }

    /// Returns the level of the operation.
    pub fn level(&self) -> &Level {
        &self.kickoff.level
    }

    /// Returns the parameters of the kick-off.
    pub fn parameters(&self) -> &Parameters {
        &self.kickoff.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ResourceType;

    #[test]
    fn a_request_of_before_there_was_access_may_hold_everything_and_is_written_as_it_was() {
        let old = r#"{"tenant":"t","owner":"o","level":"system","types":["Patient"],"url":"","base_url":"","submitted_at":"1970-01-01T00:00:00Z"}"#;
        let mut request: ExportRequest = serde_json::from_str(old).unwrap();
        assert_eq!((&request.access, &request.handout), (&ExportAccess::everything(), &None));
        assert_eq!(serde_json::to_string(&request).unwrap(), old);
        let types = [(ResourceType::PATIENT, vec!["active=true".into()])];
        request.access = ExportAccess::of_types(types.into()).unwrap();
        request.handout = Some(ProofSigner::new(request.tenant.clone(), crate::job::JobId::random()));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ExportRequest>(&text).unwrap(), request);
    }

    /// A `request.json` as the versions wrote it that kept types, filters and elements as texts.
    const OF_TEXTS: &str = r#"{"tenant":"t","owner":"o","level":{"group":{"id":"g"}},"types":["Patient","Observation","Binary"],"since":"2026-01-01T00:00:00Z","until":"2026-06-01T00:00:00.5Z","type_filters":["Observation?code=http://loinc.org|8480-6,http://loinc.org|8462-4&date=ge2026-01-01","Patient?name:exact=a%26b\\,c"],"elements":["id","Patient.birthDate","Observation.value"],"patients":["p-1","p_2"],"provenances":"latest","organize_by":"patient","partial_manifests":true,"separate_status":true,"ignored":["x"],"url":"https://h/$export?x=%26","base_url":"https://h","access":{"types":{"Observation":["category=laboratory"],"Patient":[]},"groups":["g"]},"submitted_at":"1970-01-01T00:00:00Z","estimate":7}"#;

    #[test]
    fn p11_a_request_that_was_written_as_texts_is_read_and_written_back_letter_by_letter() {
        let request: ExportRequest = serde_json::from_str(OF_TEXTS).unwrap();
        let asked = request.parameters();
        assert_eq!(asked.types[1].as_str(), "Observation");
        let patient = r#"{"resourceType":"Patient","id":"1","name":[{"text":"a&b,c"}]}"#;
        assert!(asked.type_filters[1].matches(patient.as_bytes(), &crate::fhir::reference::BaseUrls::NONE));
        assert!(asked.elements.applies_to(ResourceType::PATIENT));
        let types = ["Observation", "Patient"].map(|name| ResourceType::of(name).unwrap());
        let types = types.into_iter().zip([vec!["category=laboratory".to_string()], vec![]]).collect();
        let access = ExportAccess::of_types(types).unwrap().of_groups(["g".to_string()].into());
        assert_eq!(request.access, access);
        assert_eq!(serde_json::to_string(&request).unwrap(), OF_TEXTS);
    }

    #[test]
    fn a_request_that_this_version_cannot_serve_is_not_read_as_another_one() {
        for (right, wrong) in [
            (r#""Patient","Observation","Binary""#, r#""Elephant""#),
            ("Observation?code=", "Observation?nonsense="),
            ("Patient.birthDate", "Patient.nonsense"),
        ] {
            assert!(OF_TEXTS.contains(right));
            assert!(
                serde_json::from_str::<ExportRequest>(&OF_TEXTS.replace(right, wrong)).is_err(),
                "{wrong}"
            );
        }
    }
}
