//! What the application and the scopes of its token leave of a request. What is not the application's own
//! is answered as absent (404); what its scopes do not cover is forbidden (403, SCP-3). The decisions
//! themselves stand in [`auth`](crate::auth).

use std::collections::BTreeSet;

use crate::auth::{Application, Permission, ScopeCoverage, Scopes};
use crate::config::ProtocolProfile;
use crate::fhir::ResourceType;
use crate::fhir::reference::BaseUrls;
use crate::fhir::search::{self, TypeFilter};
use crate::http::ApiError;
use crate::http::parameters::{exported_under, provenances};
use crate::job::{ExportAccess, FailureReason, Level, TypeShare};

/// Refuses exports that the application may not start.
///
/// # Errors
/// Fails with 404 `not-found`; for a group that the application may not see, as for one that does not
/// exist.
pub fn check_level(application: Option<&Application>, level: &Level) -> Result<(), ApiError> {
    if application.is_none_or(|application| application.may_export(level)) {
        return Ok(());
    }
    Err(match level {
        Level::System => ApiError::not_configured("system"),
        Level::Patient => ApiError::not_configured("patient"),
        Level::Group { .. } => ApiError::job_failed(FailureReason::GroupNotFound),
    })
}

/// Returns what an export with these parameters may hold. A scope is never lenient, whatever the handling
/// of the parameters. `realm` is the base URL that the token is for.
///
/// # Errors
/// Fails with 403 `security` if a parameter names a type that the scopes do not cover, or if they cover
/// nothing of the export.
pub fn access(
    scopes: &Scopes,
    realm: &str,
    level: &Level,
    profile: ProtocolProfile,
    given: &[(String, String)],
) -> Result<ExportAccess, ApiError> {
    let access = scopes.access();
    let is_covered = |it: &ResourceType| access.of_type(*it) != TypeShare::Nothing;
    let beyond: BTreeSet<_> = given.iter().flat_map(named).filter(|it| !is_covered(it)).collect();
    if !beyond.is_empty() {
        let beyond: Vec<_> = beyond.into_iter().map(ResourceType::as_str).collect();
        let beyond = beyond.join(", ");
        let text = format!(
            "The scopes of the access token do not cover {beyond}; leave that out, or ask for a token that \
             covers it, with read and search (such as system/Patient.rs)."
        );
        return Err(ApiError::beyond_scopes(realm, text));
    }
    let is_exported = |it: &ResourceType| it.is_exported_at(level) && exported_under(profile, *it);
    if !ResourceType::all().filter(is_exported).any(|it| is_covered(&it)) {
        return Err(ApiError::beyond_scopes(
            realm,
            "The scopes of the access token cover no type of this export; ask for a token that covers some, \
             with read and search (such as system/Patient.rs).",
        ));
    }
    Ok(access)
}

/// Returns the types of R4 that a parameter names: naming a type asks for it. Other names are refused when
/// the parameters are read.
fn named((name, value): &(String, String)) -> Vec<ResourceType> {
    let of_all = |names: &mut dyn Iterator<Item = &str>| names.filter_map(ResourceType::of).collect();
    match name.as_str() {
        "_type" => of_all(&mut value.split(',')),
        "_typeFilter" => {
            let filters = search::split(value).into_iter();
            of_all(&mut filters.filter_map(|filter| filter.split_once('?')).map(|(name, _)| name))
        }
        "_elements" => {
            let items = value.split(',').filter_map(|item| item.split_once('.'));
            of_all(&mut items.map(|(name, _)| name))
        }
        "includeAssociatedData" if value.split(',').any(|value| provenances(value).is_some()) => {
            vec![ResourceType::PROVENANCE]
        }
        _ => Vec::new(),
    }
}

/// Returns which resources of a type a read or a search may give. `realm` is the base URL that the token
/// is for.
///
/// # Errors
/// Fails with 403 `security` if there are none.
pub fn coverage(
    scopes: &Scopes,
    realm: &str,
    resource_type: ResourceType,
    permission: Permission,
) -> Result<VisibleResources, ApiError> {
    let searches = match scopes.coverage(resource_type, permission) {
        ScopeCoverage::All => None,
        ScopeCoverage::Restricted(searches) => Some(searches),
        ScopeCoverage::None => {
            let name = resource_type.as_str();
            let text = format!(
                "The scopes of the access token do not cover this; ask for a token with system/{name}.rs."
            );
            return Err(ApiError::beyond_scopes(realm, text));
        }
    };
    let filter = |search: String| TypeFilter::of_type(resource_type, &search);
    let filters = searches.map(|searches| searches.into_iter().map(filter).collect::<Result<_, _>>());
    // They were checked when the token was issued.
    Ok(VisibleResources(filters.transpose().map_err(|_| ApiError::internal())?))
}

/// The resources of a type that a client may see.
#[derive(Debug, Clone)]
pub struct VisibleResources(Option<Vec<TypeFilter>>);

impl VisibleResources {
    /// All resources.
    pub const ALL: Self = Self(None);

    /// Returns whether the client may see all.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether the client may see this one. `bases` are the URLs below which references are
    /// relative.
    pub fn has(&self, resource: &[u8], bases: &BaseUrls) -> bool {
        self.0.as_ref().is_none_or(|filters| filters.iter().any(|filter| filter.matches(resource, bases)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::StatusCode;
    use jsonwebtoken::jwk::JwkSet;

    use super::*;
    use crate::auth::{ClientKeys, Groups};
    use crate::fhir::IssueCode;

    fn application(system_export: bool, patient_export: bool, groups: Groups) -> Application {
        Application {
            tenant: "t".parse().unwrap(),
            client_id: "c".parse().unwrap(),
            name: None,
            active: true,
            keys: ClientKeys::Inline(JwkSet { keys: Vec::new() }),
            scopes: Scopes::everything(),
            groups,
            system_export,
            patient_export,
            max_active_jobs: None,
            introspection: false,
        }
    }

    #[test]
    fn k_15_an_export_that_is_not_the_applications_to_start_is_not_there() {
        let group = |id: &str| Level::Group { id: id.into() };
        let only = || Groups::Only(["cohort-1".to_string()].into());
        let unknown = ApiError::job_failed(FailureReason::GroupNotFound);
        let (system, patient) = (ApiError::not_configured("system"), ApiError::not_configured("patient"));
        for (application, level, expected) in [
            (None, Level::System, Ok(())),
            (Some(application(true, false, only())), Level::System, Ok(())),
            (Some(application(false, true, Groups::All)), Level::System, Err(system)),
            (Some(application(false, true, only())), Level::Patient, Ok(())),
            (Some(application(true, false, Groups::All)), Level::Patient, Err(patient)),
            (Some(application(false, false, only())), group("cohort-1"), Ok(())),
            (Some(application(false, false, Groups::All)), group("cohort-9"), Ok(())),
            (Some(application(true, true, only())), group("cohort-2"), Err(unknown.clone())),
            (Some(application(true, true, only())), group("All_Patients"), Err(unknown)),
        ] {
            let checked = check_level(application.as_ref(), &level);
            if let Err(error) = &checked {
                assert_eq!((error.status_code(), error.code()), (StatusCode::NOT_FOUND, IssueCode::NotFound));
            }
            assert_eq!(checked, expected, "{level:?}");
        }
    }

    /// Returns the access that a kick-off gets, or the types that it is refused for.
    fn kick_off(scopes: &str, level: Level, given: &[(&str, &str)]) -> Result<ExportAccess, String> {
        let given: Vec<_> = given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let scopes: Scopes = scopes.parse().unwrap();
        access(&scopes, "https://h/r4/t", &level, ProtocolProfile::Standard, &given).map_err(|error| {
            assert_eq!((error.status_code(), error.code()), (StatusCode::FORBIDDEN, IssueCode::Security));
            let challenge = error.error_response().headers().get("www-authenticate").cloned().unwrap();
            assert_eq!(challenge, r#"Bearer realm="https://h/r4/t", error="insufficient_scope""#, "G-8");
            let text = error.to_string();
            let names = text.split_once("cover ").unwrap().1.split_once(';').unwrap().0;
            names.into()
        })
    }

    #[test]
    fn scp_3_a_type_that_is_named_and_not_covered_is_forbidden_in_whatever_parameter() {
        let two = "system/Patient.read system/Observation.rs?category=laboratory system/Condition.r";
        let allowed = Ok(two.parse::<Scopes>().unwrap().access());
        for (name, value, expected) in [
            ("_since", "2026-01-01T00:00:00Z", Ok(())),
            ("_type", "Patient", Ok(())),
            ("_type", "Patient,Observation", Ok(())),
            ("_type", "Patient,Condition,Encounter,Condition", Err("Condition, Encounter")),
            ("_type", "Slot", Err("Slot")),
            ("_type", "Binary", Err("Binary")),
            // Malformed rather than named: refused where the parameter is read.
            ("_type", "Nonsense,,patient", Ok(())),
            ("_typeFilter", "Observation?status=final", Ok(())),
            ("_typeFilter", "Patient?active=true,Encounter?status=finished", Err("Encounter")),
            ("_typeFilter", "Condition?nonsense", Err("Condition")),
            ("_elements", "id,Patient.name", Ok(())),
            ("_elements", "id,Condition.code,Encounter.nonsense", Err("Condition, Encounter")),
            ("includeAssociatedData", "x,LatestProvenanceResources", Err("Provenance")),
            ("includeAssociatedData", "x", Ok(())),
            ("organizeOutputBy", "Patient", Ok(())),
            ("patient", "Patient/x", Ok(())),
        ] {
            let expected = expected.map_err(String::from).and_then(|()| allowed.clone());
            for others in [&[][..], &[("_type", "Patient")], &[("nonsense", "x")]] {
                let given = [others, &[(name, value)]].concat();
                assert_eq!(kick_off(two, Level::Patient, &given), expected, "{name}={value}");
            }
            let given = [(name, value)];
            assert_eq!(kick_off("system/*.read", Level::System, &given), Ok(ExportAccess::everything()));
        }
        let given = [("_type", "Slot"), ("_elements", "Account.id")];
        assert_eq!(kick_off(two, Level::System, &given), Err("Account, Slot".into()), "all at once");
    }

    #[test]
    fn scp_3_without_a_type_the_scopes_decide_and_have_to_leave_something() {
        let nothing = Err("no type of this export".to_string());
        for (scopes, level, expected) in [
            ("", Level::System, false),
            ("system/*.r system/*.s", Level::System, false),
            ("system/Binary.rs", Level::System, false),
            ("system/Slot.rs", Level::System, true),
            ("system/Slot.rs", Level::Patient, false),
            ("system/Organization.rs", Level::Patient, true),
            ("system/Observation.rs?category=laboratory", Level::Group { id: "x".into() }, true),
        ] {
            let expected =
                if expected { Ok(scopes.parse::<Scopes>().unwrap().access()) } else { nothing.clone() };
            assert_eq!(kick_off(scopes, level, &[]), expected, "{scopes}");
        }
        let account: Scopes = "system/Account.rs".parse().unwrap();
        let soarian =
            |scopes: &Scopes| access(scopes, "", &Level::Patient, ProtocolProfile::Soarian, &[]).is_ok();
        assert!(!soarian(&account) && soarian(&"system/Goal.rs".parse().unwrap()));
    }
}
