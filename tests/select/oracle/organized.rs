//! What an export should hold that is organized by Patient (O-3).

use std::collections::{BTreeMap, BTreeSet};

use evanesce::Kickoff;
use evanesce::job::{FailureReason, Level};

use super::{References, Resource, Source, is_named, with_base};

/// What an export holds that is organized by Patient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Organized {
    /// By the patient's id: the lines behind the header.
    pub blocks: BTreeMap<String, Vec<Vec<u8>>>,
    /// Resources that are in no block.
    pub left_out: usize,
    /// As in [`super::Selection`].
    pub deleted: Vec<(String, Option<i128>)>,
    /// Lines of the source that are no resource.
    pub broken: u64,
}

impl Source<'_> {
    /// What it should hold if it is organized by Patient (O-3): for each patient what an export
    /// of a group of this patient alone would hold, in its order, the Patient before the rest;
    /// and how many of the resources of a plain export are in none of these.
    pub fn organize(&self, kickoff: &Kickoff, references: References) -> Result<Organized, FailureReason> {
        let whose = self.whose(kickoff)?;
        let deleted = self.told(kickoff, references, whose.as_ref());
        let told = self.told_to(kickoff, whose.as_ref());
        let plain = told.selected(kickoff, references, whose.as_ref());
        let is_system = kickoff.level == Level::System;
        let level = if is_system { Level::Patient } else { kickoff.level.clone() };
        let references = if is_system { References::Referenced } else { references };
        let references = if references == References::All { References::Referenced } else { references };
        let kickoff = Kickoff { level, ..kickoff.clone() };
        let is_asked_for = |id: &String| whose.as_ref().is_none_or(|whose| whose.contains(id));
        let of = |one: &Resource| {
            let mut patients = one.patients.clone();
            patients.retain(is_asked_for);
            patients
        };
        let patients: BTreeSet<String> = told.resources.iter().flat_map(of).collect();
        // What belongs to a whole population is in no block.
        let resources = told.resources.iter().filter(|one| of(one).len() <= 100).cloned().collect();
        let private = Source { resources, gone: Vec::new(), known: BTreeSet::new(), groups: None, ..told };
        let (mut blocks, mut placed) = (BTreeMap::new(), BTreeSet::new());
        for id in patients {
            let mut block = private.selected(&kickoff, references, Some(&BTreeSet::from([id.clone()])));
            placed.extend(block.iter().map(|resource| resource.line.as_ptr()));
            let own = ("Patient".into(), id.clone());
            block.sort_by_key(|resource| (!is_named(resource, &own), std::ptr::from_ref(*resource)));
            if !block.is_empty() {
                let line = |resource: &&Resource| with_base(resource, &kickoff.base_url, self.base_url);
                blocks.insert(id, block.iter().map(line).collect());
            }
        }
        let is_left_out = |one: &&&Resource| !placed.contains(&one.line.as_ptr());
        let left_out = plain.iter().filter(is_left_out).count();
        Ok(Organized { blocks, left_out, deleted, broken: self.broken })
    }
}
