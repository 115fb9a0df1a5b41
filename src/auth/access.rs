//! Decides what scopes and an application's settings allow: what an export may hold (SCP-3), who
//! may download a file (F-2), and which Binaries may be read by their bare URL. These are pure
//! functions, and do not know how a refusal is answered.

use super::{Application, Groups, Permission, ScopeCoverage, Scopes};
use crate::fhir::ResourceType;
use crate::job::{AccessSummary, ExportAccess, OutputFile, RequestSummary};

impl Scopes {
    /// Returns what an export may hold that is kicked off with these scopes.
    pub fn access(&self) -> ExportAccess {
        if self.cover_everything() {
            return ExportAccess::everything();
        }
        let share = |resource_type| match self.coverage(resource_type, Permission::Export) {
            ScopeCoverage::None => None,
            ScopeCoverage::Restricted(mut searches) => {
                // One access has one notation, so that a repeated kick-off finds its export again.
                searches.sort_unstable();
                searches.dedup();
                Some(searches)
            }
            ScopeCoverage::All => Some(Vec::new()),
        };
        let covered = |it: ResourceType| share(it).map(|searches| (it, searches));
        let types = ResourceType::all().filter_map(covered).collect();
        ExportAccess::of_types(types).expect("each criterion was parsed with its scope")
    }

    /// Returns whether these scopes cover the resources of a type in an export with this access.
    /// They must cover the whole type. If the export only holds what matches some searches, each of
    /// these searches may be among the scopes' instead, letter by letter: whether one search finds
    /// no more than another cannot be decided.
    pub fn may_have(&self, resource_type: ResourceType, held: &AccessSummary) -> bool {
        match self.coverage(resource_type, Permission::Export) {
            ScopeCoverage::None => false,
            ScopeCoverage::All => true,
            ScopeCoverage::Restricted(ours) => match held.restrictions(resource_type) {
                None | Some([]) => false,
                Some(theirs) => theirs.iter().all(|search| ours.contains(search)),
            },
        }
    }

    /// Returns whether an owner with these scopes may download a file of the export of `request`
    /// (F-2). A file of blocks, or of deletions, may hold all types of the export, and needs scopes
    /// for each. A file of errors is always the owner's to read. Without a request, which is then
    /// lost, the contents are unknown and nothing is allowed.
    pub fn may_have_file(&self, file: &OutputFile, request: Option<&RequestSummary>) -> bool {
        if file.is_error() || self.cover_everything() {
            return true;
        }
        let everything = AccessSummary::default();
        let held = request.map_or(&everything, |request| &request.access);
        if file.organized_by.is_some() || file.is_deleted() {
            let may_be_there = |it: &ResourceType| request.is_none_or(|request| may_hold(request, *it));
            return ResourceType::all().filter(may_be_there).all(|it| self.may_have(it, held));
        }
        ResourceType::of(&file.resource_type).is_some_and(|it| self.may_have(it, held))
    }
}

/// Returns whether the export may hold resources of a type.
fn may_hold(request: &RequestSummary, resource_type: ResourceType) -> bool {
    let is_asked_for = request.types.is_empty() || request.types.contains(&resource_type);
    let goes_along = resource_type == ResourceType::PROVENANCE && request.provenances.is_some();
    (goes_along || is_asked_for && resource_type.is_exported_at(&request.level))
        && request.access.restrictions(resource_type).is_some()
}

impl Application {
    /// Restricts an access to the Groups that the application may read (P15).
    pub fn limit(&self, access: ExportAccess) -> ExportAccess {
        match &self.groups {
            Groups::All => access,
            Groups::Only(ids) => access.of_groups(ids.clone()),
        }
    }

    /// Returns whether the application may have all of its tenant, scopes permitting. It may then
    /// read Binaries that no export has handed out.
    pub fn is_unlimited(&self) -> bool {
        self.groups == Groups::All && self.system_export
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::job::{AssociatedData, ExportRequest, Kickoff, Level, OrganizeBy, Parameters, TypeShare};

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn request(scope: &str, level: Level, parameters: Parameters) -> RequestSummary {
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let kickoff = Kickoff { parameters, ..Kickoff::new(level) };
        let request = ExportRequest::new(tenant, owner, kickoff, Timestamp::UNIX_EPOCH);
        RequestSummary::of(&ExportRequest { access: scopes(scope).access(), ..request })
    }

    fn file(resource_type: &str) -> OutputFile {
        OutputFile::new(format!("A_{resource_type}.ndjson"), resource_type)
    }

    #[test]
    fn scp_3_an_export_may_hold_what_the_scopes_cover() {
        assert_eq!(scopes("system/*.read system/Patient.rs").access(), ExportAccess::everything());
        assert_eq!(scopes("").access(), ExportAccess::of_types([].into()).unwrap());
        assert_eq!(
            scopes("system/*.r system/*.s system/Patient.r").access(),
            ExportAccess::of_types([].into()).unwrap()
        );
        let some = "system/Patient.read system/Observation.rs?status=final system/Condition.r \
                    system/Observation.rs?category=laboratory system/Observation.rs?status=final";
        let searches = vec!["category=laboratory".to_string(), "status=final".into()];
        let observation = ResourceType::of("Observation").unwrap();
        let types = [(ResourceType::PATIENT, Vec::new()), (observation, searches)];
        assert_eq!(scopes(some).access(), ExportAccess::of_types(types.into()).unwrap());
        let whole = format!("{some} system/Observation.read");
        assert_eq!(scopes(&whole).access().of_type(observation), TypeShare::All);
    }

    #[test]
    fn f_2_a_file_needs_its_type_whole_or_the_restrictions_that_it_was_made_under() {
        let lab = "system/Observation.rs?category=laboratory";
        let vital = "system/Observation.rs?category=vital-signs";
        let (both, final_lab) = (format!("{lab} {vital}"), format!("{lab}&status=final"));
        let (asked, all) = (Parameters::default(), "system/*.read");
        for (kicked_off, asking, may) in [
            (all, all, true),
            (all, "system/Observation.read", true),
            (all, "system/Observation.rs", true),
            (all, "system/Observation.r", false),
            (all, "system/Patient.read", false),
            (all, "", false),
            (all, lab, false),
            ("system/Observation.read", lab, false),
            (lab, lab, true),
            (lab, "system/Observation.read", true),
            (lab, vital, false),
            (lab, &*both, true),
            (&*both, &*both, true),
            (&*both, lab, false),
            (lab, &*final_lab, false),
            (&*final_lab, lab, false),
        ] {
            let request = request(kicked_off, Level::System, asked.clone());
            let got = scopes(asking).may_have_file(&file("Observation"), Some(&request));
            assert_eq!(got, may, "{asking} for what was exported with {kicked_off}");
        }
        assert!(scopes("system/Observation.rs").may_have_file(&file("Observation"), None));
        assert!(!scopes(lab).may_have_file(&file("Observation"), None));
        let error = file("OperationOutcome");
        assert!(error.is_error() && scopes("").may_have_file(&error, None));
    }

    #[test]
    fn f_2_a_file_of_many_types_needs_all_that_the_export_may_hold() {
        let blocks = OutputFile { organized_by: Some(OrganizeBy::Patient), ..file("Patient") };
        let two = "system/Patient.read system/Observation.rs";
        let lab = "system/Patient.read system/Observation.rs?category=laboratory";
        let types = |names: &[&str]| Parameters::default().with_types(names).unwrap();
        let some = types(&["Patient", "Observation"]);
        let with = Parameters { provenances: Some(AssociatedData::Latest), ..some.clone() };
        for (kicked_off, asked, asking, may) in [
            ("system/*.read", Parameters::default(), "system/*.rs", true),
            ("system/*.read", Parameters::default(), two, false),
            (two, Parameters::default(), two, true),
            (two, Parameters::default(), "system/Patient.read", false),
            ("system/*.read", some.clone(), two, true),
            ("system/*.read", some.clone(), "system/Patient.read", false),
            ("system/*.read", some.clone(), lab, false),
            (lab, some.clone(), lab, true),
            (lab, some, two, true),
            ("system/*.read", with.clone(), two, false),
            ("system/*.read", with, "system/Patient.rs system/Observation.rs system/Provenance.rs", true),
            // Not in compartments, and so not in such an export.
            ("system/Patient.rs system/Library.rs", Parameters::default(), "system/Patient.rs", true),
        ] {
            for file in [&blocks, &file("Bundle")] {
                let request = request(kicked_off, Level::Patient, asked.clone());
                let got = scopes(asking).may_have_file(file, Some(&request));
                assert_eq!(got, may, "{asking} for {asked:?} exported with {kicked_off}");
                assert!(!scopes(two).may_have_file(file, None));
            }
        }
    }
}
