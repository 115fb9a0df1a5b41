//! Facts of FHIR R4 (4.0.1), as the oracle's own copy: which types there are, what each is to
//! an export, and where a compartment type names its patients (CompartmentDefinition/patient
//! joined with the expressions of its search parameters). Made from the published definitions,
//! not from what the server has.

/// The types of the patient compartment, each with the paths of elements, from the root, that
/// end in a Reference to a patient of whose compartment the resource is a part.
pub const COMPARTMENT: &[(&str, &[&str])] = &[
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

/// The types that compartment resources refer to and that go with them (K-10, K-17).
pub const REFERENCE: &[&str] = &[
    "Device",
    "Endpoint",
    "HealthcareService",
    "Location",
    "Medication",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Substance",
];

/// Where a Device says whose it is, which puts it into no compartment.
const DEVICE: &[&str] = &["patient"];

/// Where a List names its members, which puts it into no compartment either.
pub const LIST_MEMBERS: &str = "entry.item";

/// The types that name patients side by side (P15).
pub const PEERS: &[&str] = &[
    "Account",
    "Appointment",
    "AuditEvent",
    "Communication",
    "CommunicationRequest",
    "List",
    "Provenance",
    "Schedule",
];

/// The types that travel inside others only (K-11).
pub const CONTAINED: &[&str] = &["Binary", "Bundle", "OperationOutcome", "Parameters"];

/// All other types: exported at the system level only.
pub const OTHER: &[&str] = &[
    "ActivityDefinition",
    "BiologicallyDerivedProduct",
    "CapabilityStatement",
    "CatalogEntry",
    "ChargeItemDefinition",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "Contract",
    "DeviceDefinition",
    "DeviceMetric",
    "EffectEvidenceSynthesis",
    "EnrollmentResponse",
    "EventDefinition",
    "Evidence",
    "EvidenceVariable",
    "ExampleScenario",
    "GraphDefinition",
    "GuidanceResponse",
    "ImplementationGuide",
    "InsurancePlan",
    "Library",
    "Linkage",
    "Measure",
    "MedicationKnowledge",
    "MedicinalProduct",
    "MedicinalProductAuthorization",
    "MedicinalProductContraindication",
    "MedicinalProductIndication",
    "MedicinalProductIngredient",
    "MedicinalProductInteraction",
    "MedicinalProductManufactured",
    "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect",
    "MessageDefinition",
    "MessageHeader",
    "NamingSystem",
    "ObservationDefinition",
    "OperationDefinition",
    "OrganizationAffiliation",
    "PaymentNotice",
    "PaymentReconciliation",
    "PlanDefinition",
    "Questionnaire",
    "ResearchDefinition",
    "ResearchElementDefinition",
    "ResearchStudy",
    "RiskEvidenceSynthesis",
    "SearchParameter",
    "Slot",
    "SpecimenDefinition",
    "StructureDefinition",
    "StructureMap",
    "Subscription",
    "SubscriptionStatus",
    "SubstanceNucleicAcid",
    "SubstancePolymer",
    "SubstanceProtein",
    "SubstanceReferenceInformation",
    "SubstanceSourceMaterial",
    "SubstanceSpecification",
    "TerminologyCapabilities",
    "TestReport",
    "TestScript",
    "ValueSet",
    "VerificationResult",
];

/// The paths by which a type says whose it is; none for a type that does not.
pub fn owner_paths(resource_type: &str) -> &'static [&'static str] {
    if resource_type == "Device" { DEVICE } else { compartment_paths(resource_type) }
}

/// The compartment paths of a type; none for a type that is in no compartment.
pub fn compartment_paths(resource_type: &str) -> &'static [&'static str] {
    COMPARTMENT.iter().find(|(name, _)| *name == resource_type).map_or(&[], |(_, paths)| paths)
}

/// Whether that is a resource type of R4.
pub fn is_type(name: &str) -> bool {
    let others = [REFERENCE, CONTAINED, OTHER].concat();
    !compartment_paths(name).is_empty() || others.contains(&name)
}
