//! The nineteen resource types of the set, named once.
//! The enum, the list of its values and their FHIR names all come from that one list, so that they
//! cannot fall out of step.

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// The resource types of the set, in the order of their names.
        #[derive(Clone, Copy)]
        pub(super) enum RecordKind { $($kind),* }

        impl RecordKind {
            /// Every kind, each at the index of its own number.
            pub(super) const ALL: &[Self] = &[$(Self::$kind),*];

            /// The FHIR name of the type.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),* }
            }
        }
    };
}

kinds!(
    AllergyIntolerance,
    CarePlan,
    CareTeam,
    Condition,
    Device,
    DiagnosticReport,
    DocumentReference,
    Encounter,
    Goal,
    Group,
    Immunization,
    Location,
    MedicationRequest,
    Observation,
    Organization,
    Patient,
    Practitioner,
    Procedure,
    Provenance,
);
