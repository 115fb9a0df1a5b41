//! Whose compartments a request is about: the members of its group, and of these, or of all,
//! the patients that its parameter `patient` names.

use std::collections::HashSet;

use super::group::{self, Members};
use crate::export::{CancelToken, ExportError};
use crate::index::{Index, Key, Look, key};
use crate::job::{ALL_PATIENTS, ExportRequest, Level};

/// Whether the request is about some patients only, each of whom must be there.
pub fn is_about_some(request: &ExportRequest) -> bool {
    group_of(request).is_some() || !request.parameters().patients.is_empty()
}

/// The group that is asked for, if it is not everybody.
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
    pub patients: Option<HashSet<Key>>,
    /// Of a Group, what became of its members.
    pub members: Option<Members>,
}

/// Whose compartments the request is about.
///
/// # Errors
/// Those of [`group::members`]; [`ExportError::PatientNotFound`] if a patient that is named is
/// no member, or if the source does not know of it.
pub fn asked_for(
    index: &Index,
    look: &Look<'_>,
    request: &ExportRequest,
    cancel: &CancelToken,
) -> Result<AskedFor, ExportError> {
    let members = group_of(request).map(|id| group::members(index, look, id, cancel)).transpose()?;
    let (patients, members) = members.unzip();
    let named = &request.parameters().patients;
    if named.is_empty() {
        return Ok(AskedFor { patients, members });
    }
    let named: HashSet<_> = named.iter().map(|id| key(&format!("Patient/{id}"))).collect();
    if patients.is_some_and(|members| !named.is_subset(&members)) || !are_known(look, &named, cancel)? {
        return Err(ExportError::PatientNotFound);
    }
    Ok(AskedFor { patients: Some(named), members: None })
}

/// Whether the source knows of all of them: by a Patient, by anything that names them where that
/// makes it theirs, in any version, or by their deletion.
fn are_known(look: &Look<'_>, patients: &HashSet<Key>, cancel: &CancelToken) -> Result<bool, ExportError> {
    let mut unknown = patients.clone();
    let mut meet = |patient: &Key| {
        unknown.remove(patient);
        unknown.is_empty()
    };
    let mut deleted = look.overlay.gone().iter().flat_map(|gone| &gone.patients);
    if deleted.any(&mut meet) {
        return Ok(true);
    }
    for segment in &look.segments {
        let reader = segment.open()?;
        for chunk in &segment.chunks {
            cancel.check()?;
            for patient in reader.links(chunk)?.everybody() {
                cancel.check()?;
                if meet(patient) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
