//! The codes the set is made of: a small practice's share of SNOMED CT, LOINC, RxNorm and CVX, each
//! code real and with its own display. A table is extended at its end by one line, which changes what
//! every seed gives.

use std::ops::RangeInclusive;

/// A code of a code system, with the words it stands for.
#[derive(Clone, Copy)]
pub(super) struct ConceptCode {
    pub(super) system: &'static str,
    pub(super) code: &'static str,
    pub(super) display: &'static str,
}

/// A code of any code system.
pub(super) const fn code(system: &'static str, code: &'static str, display: &'static str) -> ConceptCode {
    ConceptCode { system, code, display }
}

/// A code of one of HL7's own code systems, all named `http://terminology.hl7.org/CodeSystem/...`.
macro_rules! hl7 {
    ($system:literal, $code:literal, $display:literal) => {
        $crate::generate::vocabulary::code(
            concat!("http://terminology.hl7.org/CodeSystem/", $system),
            $code,
            $display,
        )
    };
}
pub(super) use hl7;

/// A SNOMED CT concept.
pub(super) const fn snomed(id: &'static str, display: &'static str) -> ConceptCode {
    code("http://snomed.info/sct", id, display)
}

/// A LOINC term.
pub(super) const fn loinc(id: &'static str, display: &'static str) -> ConceptCode {
    code("http://loinc.org", id, display)
}

const fn rxnorm(id: &'static str, display: &'static str) -> ConceptCode {
    code("http://www.nlm.nih.gov/research/umls/rxnorm", id, display)
}

/// A long-lasting condition with the care that goes with it.
pub(super) struct ChronicCondition {
    pub(super) condition: ConceptCode,
    pub(super) medication: ConceptCode,
    /// The category of the care plan.
    pub(super) plan: ConceptCode,
    /// What the plan has the patient do.
    pub(super) activity: ConceptCode,
    /// What the plan is for.
    pub(super) goal: &'static str,
}

/// Of these every patient has exactly one.
pub(super) const CHRONIC: &[ChronicCondition] = &[
    ChronicCondition {
        condition: snomed("59621000", "Essential hypertension (disorder)"),
        medication: rxnorm("314076", "lisinopril 10 MG Oral Tablet"),
        plan: snomed("443402002", "Lifestyle education regarding hypertension (procedure)"),
        activity: snomed("229065009", "Exercise therapy (regime/therapy)"),
        goal: "Blood pressure below 130/80 mm[Hg] at three visits in a row",
    },
    ChronicCondition {
        condition: snomed("44054006", "Diabetes mellitus type 2 (disorder)"),
        medication: rxnorm("861007", "metformin hydrochloride 500 MG Oral Tablet"),
        plan: snomed("698360004", "Diabetes self management plan (record artifact)"),
        activity: snomed("160670007", "Diabetic diet (finding)"),
        goal: "Hemoglobin A1c below 7.0 % within a year",
    },
    ChronicCondition {
        condition: snomed("55822004", "Hyperlipidemia (disorder)"),
        medication: rxnorm("617310", "atorvastatin 20 MG Oral Tablet"),
        plan: snomed("736285004", "Hyperlipidemia clinical management plan (record artifact)"),
        activity: snomed("226234005", "Healthy diet (finding)"),
        goal: "Total cholesterol below 200 mg/dL within six months",
    },
    ChronicCondition {
        condition: snomed("195967001", "Asthma (disorder)"),
        medication: rxnorm("745679", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"),
        plan: snomed("699728000", "Asthma self management (regime/therapy)"),
        activity: snomed("710081004", "Smoking cessation therapy (regime/therapy)"),
        goal: "No night-time symptoms in four weeks out of five",
    },
    ChronicCondition {
        condition: snomed("239873007", "Osteoarthritis of knee (disorder)"),
        medication: rxnorm("849574", "naproxen sodium 220 MG Oral Tablet"),
        plan: snomed("408869004", "Musculoskeletal care (regime/therapy)"),
        activity: snomed("229065009", "Exercise therapy (regime/therapy)"),
        goal: "Walks for thirty minutes a day without a rest",
    },
];

/// Something that passes, with what is given for it.
pub(super) struct AcuteCondition {
    pub(super) condition: ConceptCode,
    pub(super) medication: ConceptCode,
}

const AMOXICILLIN: ConceptCode = rxnorm("308191", "amoxicillin 500 MG Oral Capsule");
const ACETAMINOPHEN: ConceptCode = rxnorm("313782", "acetaminophen 325 MG Oral Tablet");
const IBUPROFEN: ConceptCode = rxnorm("310965", "ibuprofen 200 MG Oral Tablet");

const fn acute(id: &'static str, display: &'static str, medication: ConceptCode) -> AcuteCondition {
    AcuteCondition { condition: snomed(id, display), medication }
}

pub(super) const ACUTE: &[AcuteCondition] = &[
    acute("10509002", "Acute bronchitis (disorder)", ACETAMINOPHEN),
    acute("444814009", "Viral sinusitis (disorder)", ACETAMINOPHEN),
    acute("195662009", "Acute viral pharyngitis (disorder)", IBUPROFEN),
    acute("43878008", "Streptococcal sore throat (disorder)", AMOXICILLIN),
    acute("75498004", "Acute bacterial sinusitis (disorder)", AMOXICILLIN),
    acute("44465007", "Sprain of ankle (disorder)", IBUPROFEN),
];

/// Something that is measured, with the span of values to be met in the set.
pub(super) struct ClinicalMeasure {
    pub(super) code: ConceptCode,
    /// The UCUM unit.
    pub(super) unit: &'static str,
    /// How many digits of `low` and `high` stand after the point.
    pub(super) decimals: u32,
    pub(super) low: u64,
    pub(super) high: u64,
}

/// A measure by its LOINC code.
const fn measure(
    (id, display): (&'static str, &'static str),
    unit: &'static str,
    decimals: u32,
    span: RangeInclusive<u64>,
) -> ClinicalMeasure {
    ClinicalMeasure { code: loinc(id, display), unit, decimals, low: *span.start(), high: *span.end() }
}

pub(super) const BLOOD_PRESSURE: ConceptCode =
    loinc("85354-9", "Blood pressure panel with all children optional");

// The tables of measures are left as they are, for one line a measure is how they are read.

#[rustfmt::skip]
pub(super) const PRESSURES: [ClinicalMeasure; 2] = [
    measure(("8480-6", "Systolic blood pressure"), "mm[Hg]", 0, 104..=152),
    measure(("8462-4", "Diastolic blood pressure"), "mm[Hg]", 0, 62..=96),
];

pub(super) const BODY_WEIGHT: ClinicalMeasure = measure(("29463-7", "Body weight"), "kg", 1, 481..=1190);

#[rustfmt::skip]
pub(super) const VITAL_SIGNS: &[ClinicalMeasure] = &[
    measure(("8867-4", "Heart rate"), "/min", 0, 56..=98),
    measure(("9279-1", "Respiratory rate"), "/min", 0, 12..=20),
    measure(("8310-5", "Body temperature"), "Cel", 1, 361..=378),
    measure(("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"), "%", 0, 94..=100),
];

/// Laboratory tests that are ordered and reported together.
pub(super) struct LaboratoryPanel {
    pub(super) code: ConceptCode,
    pub(super) tests: &'static [ClinicalMeasure],
}

#[rustfmt::skip]
pub(super) const PANELS: &[LaboratoryPanel] = &[
    LaboratoryPanel {
        code: loinc("24321-2", "Basic metabolic 2000 panel - Serum or Plasma"),
        tests: &[
            measure(("2345-7", "Glucose [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 72..=164),
            measure(("2160-0", "Creatinine [Mass/volume] in Serum or Plasma"), "mg/dL", 2, 58..=138),
            measure(("2823-3", "Potassium [Moles/volume] in Serum or Plasma"), "mmol/L", 1, 34..=52),
        ],
    },
    LaboratoryPanel {
        code: loinc("24331-1", "Lipid 1996 panel - Serum or Plasma"),
        tests: &[
            measure(("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 142..=268),
            measure(("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 34..=82),
            measure(("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 68..=232),
        ],
    },
    LaboratoryPanel {
        code: loinc("58410-2", "CBC panel - Blood by Automated count"),
        tests: &[
            measure(("718-7", "Hemoglobin [Mass/volume] in Blood"), "g/dL", 1, 112..=174),
            measure(("777-3", "Platelets [#/volume] in Blood by Automated count"), "10*3/uL", 0, 148..=410),
        ],
    },
];

/// A vaccine, with the first calendar year in which the set has it given.
pub(super) struct VaccineCode {
    pub(super) since: i16,
    pub(super) code: ConceptCode,
}

const fn vaccine(since: i16, id: &'static str, display: &'static str) -> VaccineCode {
    VaccineCode { since, code: code("http://hl7.org/fhir/sid/cvx", id, display) }
}

/// In the order of `since`, so that what a year has on offer is a prefix.
pub(super) const VACCINES: &[VaccineCode] = &[
    vaccine(2015, "140", "Influenza, seasonal, injectable, preservative free"),
    vaccine(2015, "115", "Tdap"),
    vaccine(2015, "33", "pneumococcal polysaccharide PPV23"),
    vaccine(2015, "43", "Hep B, adult"),
    vaccine(2018, "187", "zoster recombinant"),
    vaccine(2021, "208", "COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose"),
];

pub(super) const PROCEDURES: &[ConceptCode] = &[
    snomed("430193006", "Medication reconciliation (procedure)"),
    snomed("710824005", "Assessment of health and social care needs (procedure)"),
    snomed("171207006", "Depression screening (procedure)"),
    snomed("29303009", "Electrocardiographic procedure (procedure)"),
    snomed("399208008", "Plain X-ray of chest (procedure)"),
    snomed("73761001", "Colonoscopy (procedure)"),
];

pub(super) const REASONS: &[ConceptCode] = &[
    snomed("185349003", "Encounter for check up (procedure)"),
    snomed("185345009", "Encounter for symptom (procedure)"),
    snomed("390906007", "Follow-up encounter (procedure)"),
];

/// An allergy, with its FHIR category.
pub(super) struct AllergyCode {
    pub(super) code: ConceptCode,
    pub(super) category: &'static str,
}

const fn allergy(id: &'static str, display: &'static str, category: &'static str) -> AllergyCode {
    AllergyCode { code: snomed(id, display), category }
}

pub(super) const ALLERGIES: &[AllergyCode] = &[
    allergy("91936005", "Allergy to penicillin (finding)", "medication"),
    allergy("91935009", "Allergy to peanut (finding)", "food"),
    allergy("300916003", "Allergy to latex (finding)", "environment"),
    allergy("418689008", "Allergy to grass pollen (finding)", "environment"),
];

pub(super) const DEVICES: &[ConceptCode] = &[
    snomed("337414009", "Blood glucose meter (physical object)"),
    snomed("170615005", "Home nebulizer (physical object)"),
    snomed("702172008", "Home continuous positive airway pressure unit (physical object)"),
];

/// The specialty of every practitioner.
pub(super) const FAMILY_DOCTOR: ConceptCode = snomed("62247001", "Family medicine specialist (occupation)");
