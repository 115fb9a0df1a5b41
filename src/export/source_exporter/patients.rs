//! Whose compartments a request is about: the members of its group, and of these, or of all,
//! the patients that its parameter `patient` names.

use std::collections::HashSet;

use super::context::PlanContext;
use super::group;
use super::roster::MemberCounts;
use crate::export::ExportError;
use crate::index::{IndexView, ResourceKey, key};
use crate::job::{ALL_PATIENTS, ExportRequest, Level};

/// Returns whether the request is about some patients only, each of whom must be there.
pub fn is_about_some(request: &ExportRequest) -> bool {
    group_of(request).is_some() || !request.parameters().patients.is_empty()
}

/// Returns the group that is asked for, if it is not everybody.
fn group_of(request: &ExportRequest) -> Option<&str> {
    match request.level() {
        Level::Group { id } if id != ALL_PATIENTS => Some(id),
        _ => None,
    }
}

/// Whose compartments a request is about.
#[derive(Debug, Default, Clone)]
pub struct AskedFor {
    /// The patients; `None` for everybody.
    pub patients: Option<HashSet<ResourceKey>>,
    /// Of a Group, what became of its members.
    pub members: Option<MemberCounts>,
}

/// Returns whose compartments the request is about.
///
/// # Errors
/// Those of [`group::roster`] and of [`GroupRoster::at`](super::roster::GroupRoster::at);
/// [`ExportError::PatientNotFound`] if a patient that is named is no member, or if the source does
/// not know of it.
pub fn asked_for(context: &PlanContext<'_>) -> Result<AskedFor, ExportError> {
    let look = context.look;
    let members = group_of(context.request).map(|id| group::roster(context, id)?.at(look.taken_at));
    let (patients, members) = members.transpose()?.unzip();
    let named = &context.request.parameters().patients;
    if named.is_empty() {
        return Ok(AskedFor { patients, members });
    }
    let named: HashSet<_> = named.iter().map(|id| key(&format!("Patient/{id}"))).collect();
    if patients.is_some_and(|members| !named.is_subset(&members)) || !are_known(look, &named) {
        return Err(ExportError::PatientNotFound);
    }
    Ok(AskedFor { patients: Some(named), members: None })
}

/// Returns whether the source knows of all of them: by a Patient, by anything that names them where
/// that makes it theirs, in any version, or by their deletion.
fn are_known(look: &IndexView<'_>, patients: &HashSet<ResourceKey>) -> bool {
    patients.iter().all(|patient| look.totals.patient(patient).is_some())
}
