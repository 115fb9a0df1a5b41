//! The resource types of FHIR R4 (4.0.1) and what a bulk export does with each: the facts of the
//! standard's compartment definition `patient`, K-10 and K-11.

/// The role of a resource type in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExportRole {
    /// In the patient compartment: part of a Patient-level export (K-10).
    Compartment,
    /// Referred to by compartment resources: part of a Patient-level export as well (K-10, K-17).
    Reference,
    /// Travels inside others and never has a file (K-11).
    Contained,
    /// Part of a system-level export only.
    Other,
}

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use ExportRole::*;

use super::{Level, UnknownType};

/// All concrete resource types, in alphabetical order.
const TYPES: &[(&str, ExportRole)] = &[
    ("Account", Compartment),
    ("ActivityDefinition", Other),
    ("AdverseEvent", Compartment),
    ("AllergyIntolerance", Compartment),
    ("Appointment", Compartment),
    ("AppointmentResponse", Compartment),
    ("AuditEvent", Compartment),
    ("Basic", Compartment),
    ("Binary", Contained),
    ("BiologicallyDerivedProduct", Other),
    ("BodyStructure", Compartment),
    ("Bundle", Contained),
    ("CapabilityStatement", Other),
    ("CarePlan", Compartment),
    ("CareTeam", Compartment),
    ("CatalogEntry", Other),
    ("ChargeItem", Compartment),
    ("ChargeItemDefinition", Other),
    ("Claim", Compartment),
    ("ClaimResponse", Compartment),
    ("ClinicalImpression", Compartment),
    ("CodeSystem", Other),
    ("Communication", Compartment),
    ("CommunicationRequest", Compartment),
    ("CompartmentDefinition", Other),
    ("Composition", Compartment),
    ("ConceptMap", Other),
    ("Condition", Compartment),
    ("Consent", Compartment),
    ("Contract", Other),
    ("Coverage", Compartment),
    ("CoverageEligibilityRequest", Compartment),
    ("CoverageEligibilityResponse", Compartment),
    ("DetectedIssue", Compartment),
    ("Device", Reference),
    ("DeviceDefinition", Other),
    ("DeviceMetric", Other),
    ("DeviceRequest", Compartment),
    ("DeviceUseStatement", Compartment),
    ("DiagnosticReport", Compartment),
    ("DocumentManifest", Compartment),
    ("DocumentReference", Compartment),
    ("EffectEvidenceSynthesis", Other),
    ("Encounter", Compartment),
    ("Endpoint", Reference),
    ("EnrollmentRequest", Compartment),
    ("EnrollmentResponse", Other),
    ("EpisodeOfCare", Compartment),
    ("EventDefinition", Other),
    ("Evidence", Other),
    ("EvidenceVariable", Other),
    ("ExampleScenario", Other),
    ("ExplanationOfBenefit", Compartment),
    ("FamilyMemberHistory", Compartment),
    ("Flag", Compartment),
    ("Goal", Compartment),
    ("GraphDefinition", Other),
    ("Group", Compartment),
    ("GuidanceResponse", Other),
    ("HealthcareService", Reference),
    ("ImagingStudy", Compartment),
    ("Immunization", Compartment),
    ("ImmunizationEvaluation", Compartment),
    ("ImmunizationRecommendation", Compartment),
    ("ImplementationGuide", Other),
    ("InsurancePlan", Other),
    ("Invoice", Compartment),
    ("Library", Other),
    ("Linkage", Other),
    ("List", Compartment),
    ("Location", Reference),
    ("Measure", Other),
    ("MeasureReport", Compartment),
    ("Media", Compartment),
    ("Medication", Reference),
    ("MedicationAdministration", Compartment),
    ("MedicationDispense", Compartment),
    ("MedicationKnowledge", Other),
    ("MedicationRequest", Compartment),
    ("MedicationStatement", Compartment),
    ("MedicinalProduct", Other),
    ("MedicinalProductAuthorization", Other),
    ("MedicinalProductContraindication", Other),
    ("MedicinalProductIndication", Other),
    ("MedicinalProductIngredient", Other),
    ("MedicinalProductInteraction", Other),
    ("MedicinalProductManufactured", Other),
    ("MedicinalProductPackaged", Other),
    ("MedicinalProductPharmaceutical", Other),
    ("MedicinalProductUndesirableEffect", Other),
    ("MessageDefinition", Other),
    ("MessageHeader", Other),
    ("MolecularSequence", Compartment),
    ("NamingSystem", Other),
    ("NutritionOrder", Compartment),
    ("Observation", Compartment),
    ("ObservationDefinition", Other),
    ("OperationDefinition", Other),
    ("OperationOutcome", Contained),
    ("Organization", Reference),
    ("OrganizationAffiliation", Other),
    ("Parameters", Contained),
    ("Patient", Compartment),
    ("PaymentNotice", Other),
    ("PaymentReconciliation", Other),
    ("Person", Compartment),
    ("PlanDefinition", Other),
    ("Practitioner", Reference),
    ("PractitionerRole", Reference),
    ("Procedure", Compartment),
    ("Provenance", Compartment),
    ("Questionnaire", Other),
    ("QuestionnaireResponse", Compartment),
    ("RelatedPerson", Compartment),
    ("RequestGroup", Compartment),
    ("ResearchDefinition", Other),
    ("ResearchElementDefinition", Other),
    ("ResearchStudy", Other),
    ("ResearchSubject", Compartment),
    ("RiskAssessment", Compartment),
    ("RiskEvidenceSynthesis", Other),
    ("Schedule", Compartment),
    ("SearchParameter", Other),
    ("ServiceRequest", Compartment),
    ("Slot", Other),
    ("Specimen", Compartment),
    ("SpecimenDefinition", Other),
    ("StructureDefinition", Other),
    ("StructureMap", Other),
    ("Subscription", Other),
    ("SubscriptionStatus", Other),
    ("Substance", Reference),
    ("SubstanceNucleicAcid", Other),
    ("SubstancePolymer", Other),
    ("SubstanceProtein", Other),
    ("SubstanceReferenceInformation", Other),
    ("SubstanceSourceMaterial", Other),
    ("SubstanceSpecification", Other),
    ("SupplyDelivery", Compartment),
    ("SupplyRequest", Compartment),
    ("Task", Compartment),
    ("TerminologyCapabilities", Other),
    ("TestReport", Other),
    ("TestScript", Other),
    ("ValueSet", Other),
    ("VerificationResult", Other),
    ("VisionPrescription", Compartment),
];

/// A resource type of FHIR R4; in JSON its name. Types are in alphabetical order.
///
/// ```
/// use evanesce::{Level, ResourceType};
///
/// let patient: ResourceType = "Patient".parse()?;
/// assert_eq!((patient, patient.to_string()), (ResourceType::PATIENT, "Patient".into()));
/// assert_eq!(ResourceType::of("patient"), None);
/// assert!(ResourceType::all().any(|it| it == ResourceType::PROVENANCE));
/// assert!(!ResourceType::BINARY.is_exported_at(&Level::System));
/// # Ok::<_, evanesce::UnknownType>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "Cow<'_, str>")]
pub struct ResourceType(u8);

/// More than twice as many as there are types.
const SLOTS: usize = 512;

/// The types by name. It is a hash table, because each reference of a source is looked up.
static BY_NAME: LazyLock<[Option<ResourceType>; SLOTS]> = LazyLock::new(|| {
    let mut slots = [None; SLOTS];
    for resource_type in ResourceType::all() {
        let mut free = slot(resource_type.as_str());
        while slots[free].is_some() {
            free = (free + 1) % SLOTS;
        }
        slots[free] = Some(resource_type);
    }
    slots
});

fn slot(name: &str) -> usize {
    (xxh3_64(name.as_bytes()) % SLOTS as u64) as usize
}

impl From<ResourceType> for &'static str {
    fn from(resource_type: ResourceType) -> Self {
        resource_type.as_str()
    }
}

impl FromStr for ResourceType {
    type Err = UnknownType;

    /// Reads a name as [`ResourceType::of`] does.
    fn from_str(name: &str) -> Result<Self, UnknownType> {
        Self::of(name).ok_or_else(|| UnknownType::new(name))
    }
}

impl TryFrom<&str> for ResourceType {
    type Error = UnknownType;

    fn try_from(name: &str) -> Result<Self, UnknownType> {
        name.parse()
    }
}

impl TryFrom<Cow<'_, str>> for ResourceType {
    type Error = UnknownType;

    fn try_from(name: Cow<'_, str>) -> Result<Self, UnknownType> {
        name.parse()
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ResourceType {
    /// Binary.
    pub const BINARY: Self = Self::named("Binary");
    /// Bundle.
    pub const BUNDLE: Self = Self::named("Bundle");
    /// Device.
    pub const DEVICE: Self = Self::named("Device");
    /// Group.
    pub const GROUP: Self = Self::named("Group");
    /// Patient.
    pub const PATIENT: Self = Self::named("Patient");
    /// Provenance.
    pub const PROVENANCE: Self = Self::named("Provenance");

    /// Returns the type of a name in this program. An unknown name does not compile.
    const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < TYPES.len() {
            if TYPES[index].0.eq_ignore_ascii_case(name) {
                return Self(index as u8);
            }
            index += 1;
        }
        panic!("no type of that name")
    }

    /// Returns the type with that name. Names are case-sensitive.
    pub fn of(name: &str) -> Option<Self> {
        let mut slot = slot(name);
        loop {
            let found = BY_NAME[slot]?;
            if found.as_str() == name {
                return Some(found);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Returns the name, as in `resourceType`.
    pub fn as_str(self) -> &'static str {
        TYPES[usize::from(self.0)].0
    }

    /// Returns all types, in alphabetical order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).take(TYPES.len()).map(Self)
    }

    /// Returns a number below 255 that identifies the type in this version of the program.
    pub(crate) fn index(self) -> u8 {
        self.0
    }

    /// Returns the type with that number.
    pub(crate) fn at(index: u8) -> Option<Self> {
        (usize::from(index) < TYPES.len()).then_some(Self(index))
    }

    fn role(self) -> ExportRole {
        TYPES[usize::from(self.0)].1
    }

    /// Returns whether resources of this type can be in a patient's compartment.
    pub(crate) fn is_in_compartment(self) -> bool {
        self.role() == Compartment
    }

    /// Returns whether a patient's resources refer to this type, as to Organization (K-10, K-17).
    pub(crate) fn is_referred_to(self) -> bool {
        self.role() == Reference
    }

    /// Returns whether an export of that level includes this type.
    pub fn is_exported_at(self, level: &Level) -> bool {
        match (self.role(), level) {
            (Compartment | Reference, _) | (Other, Level::System) => true,
            (Contained, _) | (Other, Level::Patient | Level::Group { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name_and_nothing_else_is() {
        for (name, _) in TYPES {
            assert_eq!(ResourceType::of(name).map(ResourceType::as_str), Some(*name));
        }
        assert_eq!(TYPES.len(), 147);
        for bad in ["", "patient", "Patient ", "DomainResource", "MissingType"] {
            assert_eq!(ResourceType::of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_patient_export_has_the_compartment_and_what_it_refers_to() {
        let at = |name, level| ResourceType::of(name).unwrap().is_exported_at(&level);
        assert!(at("Observation", Level::Patient) && at("Organization", Level::Patient));
        assert!(!at("ValueSet", Level::Patient) && at("ValueSet", Level::System));
        assert!(!at("Binary", Level::Patient) && !at("Binary", Level::System));
    }
}
