//! The patient compartment of FHIR R4 (CompartmentDefinition/patient): the elements of a resource
//! in which a reference to a patient makes it part of that patient's record (K-10). The facts are
//! the standard's: its search parameters, written as the paths of their expressions.

use std::sync::LazyLock;

use super::ResourceType;

/// The types that can be in a patient's compartment, and the elements that put them there. A
/// Patient is in its own compartment as well.
const PATHS: &[(&str, &[&str])] = &[
    ("Account", &["subject"]),
    ("AdverseEvent", &["subject"]),
    ("AllergyIntolerance", &["patient", "recorder", "asserter"]),
    ("Appointment", &["participant.actor"]),
    ("AppointmentResponse", &["actor"]),
    ("AuditEvent", &["agent.who", "entity.what"]),
    ("Basic", &["subject", "author"]),
    ("BodyStructure", &["patient"]),
    ("CarePlan", &["subject", "activity.detail.performer"]),
    ("CareTeam", &["subject", "participant.member"]),
    ("ChargeItem", &["subject"]),
    ("Claim", &["patient", "payee.party"]),
    ("ClaimResponse", &["patient"]),
    ("ClinicalImpression", &["subject"]),
    ("Communication", &["subject", "sender", "recipient"]),
    ("CommunicationRequest", &["subject", "sender", "recipient", "requester"]),
    ("Composition", &["subject", "author", "attester.party"]),
    ("Condition", &["subject", "asserter"]),
    ("Consent", &["patient"]),
    ("Coverage", &["policyHolder", "subscriber", "beneficiary", "payor"]),
    ("CoverageEligibilityRequest", &["patient"]),
    ("CoverageEligibilityResponse", &["patient"]),
    ("DetectedIssue", &["patient"]),
    ("DeviceRequest", &["subject", "performer"]),
    ("DeviceUseStatement", &["subject"]),
    ("DiagnosticReport", &["subject"]),
    ("DocumentManifest", &["subject", "author", "recipient"]),
    ("DocumentReference", &["subject", "author"]),
    ("Encounter", &["subject"]),
    ("EnrollmentRequest", &["candidate"]),
    ("EpisodeOfCare", &["patient"]),
    ("ExplanationOfBenefit", &["patient", "payee.party"]),
    ("FamilyMemberHistory", &["patient"]),
    ("Flag", &["subject"]),
    ("Goal", &["subject"]),
    ("Group", &["member.entity"]),
    ("ImagingStudy", &["subject"]),
    ("Immunization", &["patient"]),
    ("ImmunizationEvaluation", &["patient"]),
    ("ImmunizationRecommendation", &["patient"]),
    ("Invoice", &["subject", "recipient"]),
    ("List", &["subject", "source"]),
    ("MeasureReport", &["subject"]),
    ("Media", &["subject"]),
    ("MedicationAdministration", &["subject", "performer.actor"]),
    ("MedicationDispense", &["subject", "receiver"]),
    ("MedicationRequest", &["subject"]),
    ("MedicationStatement", &["subject"]),
    ("MolecularSequence", &["patient"]),
    ("NutritionOrder", &["patient"]),
    ("Observation", &["subject", "performer"]),
    ("Patient", &["link.other"]),
    ("Person", &["link.target"]),
    ("Procedure", &["subject", "performer.actor"]),
    ("Provenance", &["target"]),
    ("QuestionnaireResponse", &["subject", "author"]),
    ("RelatedPerson", &["patient"]),
    ("RequestGroup", &["subject", "action.participant"]),
    ("ResearchSubject", &["individual"]),
    ("RiskAssessment", &["subject"]),
    ("Schedule", &["actor"]),
    ("ServiceRequest", &["subject", "performer"]),
    ("Specimen", &["subject"]),
    ("SupplyDelivery", &["patient"]),
    ("SupplyRequest", &["deliverTo"]),
    ("Task", &["for", "focus"]),
    ("VisionPrescription", &["patient"]),
];

/// Elements that put a resource into no compartment, but name its owner (a Device) or its members
/// (a List). Such a resource must not reveal other patients (P15).
const BESIDE: &[(&str, &str, PatientRole)] =
    &[("Device", "patient", PatientRole::Owner), ("List", "entry.item", PatientRole::Member)];

/// Types that are not a single patient's record, but name patients side by side. An export holds such
/// a resource only if it holds all patients that it names (P15).
const PEERS: &[&str] = &[
    "Account",
    "Appointment",
    "AuditEvent",
    "Communication",
    "CommunicationRequest",
    "List",
    "Provenance",
    "Schedule",
];

/// What a patient at the end of a path is to the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatientRole {
    /// The owner of the resource.
    Owner,
    /// A patient whom the resource mentions.
    Member,
}

/// A step on the path from a resource to its deciding references.
#[derive(Debug, Default)]
pub struct CompartmentPath {
    children: Vec<(&'static str, CompartmentPath)>,
    /// Set where the path ends: at a Reference, or an array of them.
    pub end: Option<PatientRole>,
}

impl CompartmentPath {
    /// Returns the elements to look into.
    pub fn children(&self) -> &[(&'static str, CompartmentPath)] {
        &self.children
    }

    fn add(&mut self, path: &'static str, end: PatientRole) {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let at = self.children.iter().position(|(name, _)| *name == first).unwrap_or_else(|| {
            self.children.push((first, Self::default()));
            self.children.len() - 1
        });
        match rest {
            Some(rest) => self.children[at].1.add(rest, end),
            None => self.children[at].1.end = Some(end),
        }
    }
}

/// The paths of each type, by its index. A type that names no patient has none.
static NODES: LazyLock<Vec<CompartmentPath>> = LazyLock::new(|| {
    let mut nodes: Vec<CompartmentPath> = ResourceType::all().map(|_| CompartmentPath::default()).collect();
    let owners = PATHS
        .iter()
        .flat_map(|(name, paths)| paths.iter().map(move |path| (*name, *path, PatientRole::Owner)));
    for (name, path, end) in owners.chain(BESIDE.iter().copied()) {
        let resource_type = ResourceType::of(name).expect("the tables name types of R4");
        nodes[usize::from(resource_type.index())].add(path, end);
    }
    nodes
});

/// Returns whether resources of that type name patients side by side, as an Appointment does (P15).
pub fn names_peers(resource_type: ResourceType) -> bool {
    PEERS.contains(&resource_type.as_str())
}

/// Returns the paths that start at a resource of that type.
pub fn ways(resource_type: ResourceType) -> &'static CompartmentPath {
    &NODES[usize::from(resource_type.index())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_types_of_the_compartment_have_ways() {
        for resource_type in ResourceType::all() {
            let has_ways = !ways(resource_type).children().is_empty();
            let in_table = PATHS.iter().any(|(name, _)| *name == resource_type.as_str());
            assert_eq!(has_ways, in_table || resource_type == ResourceType::DEVICE, "{resource_type:?}");
            assert_eq!(in_table, resource_type.is_in_compartment(), "{resource_type:?}");
        }
        assert_eq!(PATHS.len(), 67);
    }

    #[test]
    fn p15_peers_and_members_are_of_types_of_the_compartment() {
        for name in PEERS.iter().chain(&["List"]) {
            assert!(ResourceType::of(name).unwrap().is_in_compartment(), "{name}");
        }
        let list = ways(ResourceType::of("List").unwrap());
        let end = |name: &str| {
            let (_, node) = list.children().iter().find(|(child, _)| *child == name).unwrap();
            node.end.or_else(|| node.children()[0].1.end)
        };
        assert_eq!((end("subject"), end("entry")), (Some(PatientRole::Owner), Some(PatientRole::Member)));
        assert_eq!(ways(ResourceType::DEVICE).children()[0].1.end, Some(PatientRole::Owner));
    }

    #[test]
    fn paths_of_several_steps_share_their_beginnings() {
        let audit = ways(ResourceType::of("AuditEvent").unwrap());
        let names: Vec<_> = audit.children().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["agent", "entity"]);
        assert!(audit.end.is_none() && audit.children()[0].1.end.is_none());
        assert_eq!(audit.children()[0].1.children()[0].0, "who");
        assert_eq!(audit.children()[0].1.children()[0].1.end, Some(PatientRole::Owner));
    }
}
