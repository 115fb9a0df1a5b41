//! A world in one line, for the way to a broken promise. A star stands for what is not synced.

use std::fmt;

use super::process::{Doing, Download};
use super::record::Record;
use super::world::World;

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |synced| if synced { "" } else { "*" };
        let name = |record: Option<Record>| record.map_or("none", |record| record.name.as_str());
        write!(f, "[store {}{}", name(self.store.now.seen), star(self.store.now.is_synced()))?;
        write!(f, "; {:?}{}", self.place.seen, star(self.place.is_synced()))?;
        for (what, there) in [("a name in trash/", self.stand_in), ("told by the log", self.audit)] {
            if there.seen || there.synced {
                write!(f, ", {what}{}", star(there.is_synced()))?;
            }
        }
        if self.plan.seen > 0 {
            write!(f, " plan.json{}", star(self.plan.is_synced()))?;
        }
        let files = self.parts.iter().flat_map(|part| [("file", part.file), ("stale", part.stale)]);
        for (kind, file) in files.filter(|(_, file)| file.seen || file.synced) {
            let shown = if file.seen { kind.to_string() } else { format!("({kind})") };
            write!(f, " {shown}{}", star(file.is_synced()))?;
        }
        if let Some(says) = self.job_json.seen {
            write!(f, " job.json({says}){}", star(self.job_json.is_synced()))?;
        }
        if !self.key.seen {
            write!(f, "; no key{}", star(self.key.is_synced()))?;
        }
        write!(f, "; receipts {}{}", self.receipts.seen.lines, star(self.receipts.is_synced()))?;
        match &self.process {
            Some(process) => {
                write!(f, "; actor {}, view {}", name(process.memory()), name(process.view))?;
                for Doing { work, stage, .. } in &process.doing {
                    write!(f, ", {work:?} {stage}")?;
                }
                if process.download != Download::NotYet {
                    write!(f, ", download {:?}", process.download)?;
                }
            }
            None => write!(f, "; down")?,
        }
        write!(f, "; kick-off {:?}; DELETEs {:?}]", self.kickoff, self.answers)
    }
}
