//! What one export has in hand beside its life: its directory, its plan, its sealed parts, its writers.
//! The job's actor keeps it and does with it what the job's life asks for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    CancelToken, ExportError, Exporter, FenceReport, Part, PartDone, Plan, PlanHandover, PlanTurn, Pool,
    ResumedExport, StuckWriter, Work, WriteLimits,
};
use crate::files::ExportDir;
use crate::job::life::{Commit, Input, PlanShape};
use crate::job::{ExportRequest, FailureReason, JobId, JobRecord, OutputFile, RequestSummary, SealedPart};
use crate::store::DurableChange;
use crate::telemetry;
use crate::view::{ExportProgress, PartialManifests, PublishedJob};

/// What one export has in hand.
pub struct ExportSession {
    job: JobId,
    request: Option<Arc<RequestSummary>>,
    dir: Option<Arc<dyn ExportDir>>,
    plan: Option<Plan>,
    /// Fires when the export has ended, whether or not it is still being planned.
    over: CancelToken,
    sealed: Vec<SealedPart>,
    progress: Arc<ExportProgress>,
    partial: Arc<PartialManifests>,
    work: Option<Arc<Work>>,
    /// Writers that were inside a system call when they were fenced.
    stuck: Vec<StuckWriter>,
    /// What the next step of the planning takes over.
    pub handover: PlanHandover,
}

/// The parts of a plan that are still to be run.
#[derive(Debug, PartialEq, Eq)]
struct OpenParts {
    parts: Vec<(u32, Part)>,
    /// The work of the whole plan, in its units.
    planned: u64,
    /// The work that is sealed already.
    done: u64,
}

impl OpenParts {
    fn of(plan: Vec<Part>, sealed: &[SealedPart]) -> Self {
        let is_sealed: HashSet<_> = sealed.iter().map(|part| part.index).collect();
        let weight = |parts: &mut dyn Iterator<Item = &Part>| {
            parts.map(|part| part.weight).fold(0, u64::saturating_add)
        };
        let planned = weight(&mut plan.iter());
        let (sealed, parts): (Vec<_>, Vec<_>) = (0u32..).zip(plan).partition(|(n, _)| is_sealed.contains(n));
        Self { parts, planned, done: weight(&mut sealed.iter().map(|(_, part)| part)) }
    }
}

impl ExportSession {
    /// Creates a session that has nothing in hand yet.
    pub fn new(job: JobId) -> Self {
        Self {
            job,
            request: None,
            dir: None,
            plan: None,
            over: CancelToken::new(),
            sealed: Vec::new(),
            progress: Arc::default(),
            partial: Arc::default(),
            work: None,
            stuck: Vec::new(),
            handover: PlanHandover::Nothing,
        }
    }

    /// Takes over what is known of a job that was passivated, or found at a start.
    pub fn recall(&mut self, published: &PublishedJob) -> Input {
        self.request = published.request.clone();
        self.progress = published.progress.clone();
        self.partial = published.partial.clone();
        if published.record.state.name().is_active() {
            self.sealed = published.parts.to_vec();
        }
        let files = self.sealed.iter().map(|part| part.files.len()).sum();
        Input::Recalled { record: published.record.clone(), sealed: self.sealed.len(), files }
    }

    /// Takes over the directory and what is remembered of the request.
    pub fn open(&mut self, dir: Arc<dyn ExportDir>, request: RequestSummary) {
        (self.dir, self.request) = (Some(dir), Some(Arc::new(request)));
    }

    /// Takes over what was found of an interrupted export. Returns the plan's shape, if there is one.
    pub fn resume(&mut self, found: ResumedExport, is_active: bool) -> Option<PlanShape> {
        if is_active {
            self.open(found.dir, found.request);
        }
        found.plan.map(|plan| self.keep_plan(plan, is_active))
    }

    /// Keeps the plan until its parts go to the workers, if that is still to come.
    pub fn keep_plan(&mut self, plan: Plan, is_active: bool) -> PlanShape {
        let shape = PlanShape { parts: plan.parts.len(), transaction_time: plan.transaction_time };
        self.plan = Some(plan).filter(|_| is_active);
        shape
    }

    /// Takes over the turn to plan or to read.
    pub fn turn(&mut self) -> Option<PlanTurn> {
        if let PlanHandover::Turn(turn) = self.take_handover() { Some(turn) } else { None }
    }

    /// Takes over what is to be planned, and the turn for it.
    pub fn request_to_plan(&mut self) -> Option<(PlanTurn, Box<ExportRequest>)> {
        match self.take_handover() {
            PlanHandover::Request(turn, request) => Some((turn, request)),
            _ => None,
        }
    }

    /// Takes over the plan that is to be written.
    pub fn plan_to_write(&mut self) -> Option<Plan> {
        if let PlanHandover::Plan(plan) = self.take_handover() { Some(plan) } else { None }
    }

    /// Takes what the step before has left; nobody else gets it.
    pub fn take_handover(&mut self) -> PlanHandover {
        std::mem::take(&mut self.handover)
    }

    /// Returns the directory, until the export has ended.
    pub fn dir(&self) -> Option<Arc<dyn ExportDir>> {
        self.dir.clone()
    }

    /// Returns the token that fires when the export has ended.
    pub fn over(&self) -> CancelToken {
        self.over.clone()
    }

    /// Returns how far the export is.
    pub fn progress(&self) -> Arc<ExportProgress> {
        self.progress.clone()
    }

    /// Returns the sealed parts.
    pub fn sealed(&self) -> &[SealedPart] {
        &self.sealed
    }

    /// Returns what a failure is told as; `None` if the export was told to stop. The operator hears
    /// of it unless the job has ended meanwhile: a job that was marked has lost its directory to `trash/`,
    /// and that is no failure.
    pub fn reason(&self, error: &ExportError, is_active: bool) -> Option<FailureReason> {
        let reason = error.reason();
        if reason.is_some() && is_active {
            tracing::error!(job = %self.job, %error, "an export failed");
        }
        reason
    }

    /// Gives the parts that are not sealed to the workers. `report` is told of each, on their threads.
    pub fn run_parts(
        &mut self,
        record: &JobRecord,
        exporter: Arc<dyn Exporter>,
        limits: &WriteLimits,
        pool: &Pool,
        report: impl Fn(PartDone) + Send + Sync + 'static,
    ) {
        let (Some(request), Some(plan), Some(dir)) = (&self.request, &mut self.plan, &self.dir) else {
            return;
        };
        // They may be many megabytes: the workers get them, nobody keeps another copy.
        let plan = std::mem::take(&mut plan.parts);
        self.partial.plan(plan.len());
        self.progress.plan_parts(plan.len(), self.sealed.len());
        let open = OpenParts::of(plan, &self.sealed);
        self.progress.plan(open.planned);
        self.progress.advance(open.done);
        let (tenant, progress) = (record.tenant.clone(), self.progress.clone());
        let work = Work::new(self.job, tenant, exporter, dir.clone(), limits, progress, report);
        let work = Arc::new(work.within(&request.access));
        self.work = Some(work.clone());
        pool.enqueue(work, open.parts);
    }

    /// Keeps a part that is recorded. Returns how many files it has.
    pub fn seal(&mut self, part: SealedPart) -> usize {
        if self.request.as_ref().is_some_and(|request| request.partial_manifests) {
            self.partial.add(&part);
        }
        self.progress.seal();
        let files = part.files.len();
        self.sealed.push(part);
        files
    }

    /// Makes writers wait before their next write.
    pub fn pause(&self) {
        self.work.iter().for_each(|work| work.pause());
    }

    /// Stops the parts; the export goes on at the next start.
    pub fn halt(&self, pool: &Pool) {
        if let Some(work) = &self.work {
            work.stop();
            pool.dismiss(self.job);
        }
    }

    /// Ends the export: stops the parts, and lets go of what it needed.
    pub fn end(&mut self, pool: &Pool) {
        self.over.cancel();
        self.halt(pool);
        (self.dir, self.request, self.plan) = (None, None, None);
        self.partial = Arc::default();
    }

    /// Takes their files away from writers that are still there. Returns how many were closed, and how
    /// many are inside a system call; `None` if nothing was ever written.
    pub fn fence(&mut self, pool: &Pool) -> Option<(usize, usize)> {
        let FenceReport { closed, busy } = self.work.as_ref()?.fence();
        pool.abandon(self.job);
        for StuckWriter { part, worker } in &closed {
            tracing::error!(job = %self.job, part, worker, "a writer outlived its job's cancel deadline and was fenced");
        }
        let stuck: Vec<_> = busy.iter().filter(|writer| !self.stuck.contains(writer)).collect();
        for StuckWriter { part, worker } in &stuck {
            tracing::error!(
                job = %self.job, part, worker,
                "a writer is stuck in a system call: its names go, but its job is not erased before it returns"
            );
        }
        telemetry::fenced(closed.len(), stuck.len());
        self.stuck = busy;
        Some((closed.len(), self.stuck.len()))
    }

    /// Returns the change that makes a record durable, with what readers see of the export.
    pub fn change(&mut self, commit: Commit) -> DurableChange {
        match commit {
            Commit::New(record) => {
                let mut published = PublishedJob::new(record, self.request.clone(), Arc::new([]));
                published.progress = self.progress.clone();
                published.partial = self.partial.clone();
                DurableChange::New(published)
            }
            Commit::Update(record) => DurableChange::Update(record),
            Commit::Complete(record) => {
                // They stay as long as the actor does: a record that is stale is committed again.
                self.sealed.sort_by_key(|part| part.index);
                DurableChange::Complete(record, self.sealed.as_slice().into())
            }
            Commit::Mark(record) => DurableChange::Mark(record),
            Commit::MarkNew(record) => DurableChange::MarkNew(PublishedJob::new(record, None, Arc::new([]))),
            Commit::Erase(record, mut receipt) => {
                receipt.last_byte_at = self.last_byte_at();
                DurableChange::Erase(record, receipt)
            }
        }
    }

    fn last_byte_at(&self) -> Option<Timestamp> {
        self.work.as_ref().and_then(|work| work.written().last)
    }

    /// Returns the bytes that this process has written for the job.
    pub fn written_bytes(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.written().bytes)
    }

    /// Returns how long the parts have been running in this process.
    pub fn running_for(&self, now: Instant) -> Duration {
        self.progress.running(now)
    }

    /// Returns how many parts the plan has, and the most bytes that they will write, if the plan says so.
    pub fn planned(&self) -> (usize, Option<u64>) {
        self.plan.as_ref().map_or((0, None), |plan| (plan.parts.len(), plan.bytes))
    }
}

/// Returns the files of sealed parts.
pub(super) fn files_of(sealed: &[SealedPart]) -> impl Iterator<Item = &OutputFile> {
    sealed.iter().flat_map(|part| &part.files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobState;

    fn part(weight: u64) -> Part {
        Part { weight, content: weight.into() }
    }

    fn sealed(index: u32) -> SealedPart {
        let file = OutputFile::new(format!("{index}_Patient.ndjson"), "Patient");
        SealedPart { index, files: vec![file], broken_lines: 0 }
    }

    fn record(state: JobState) -> JobRecord {
        let (tenant, owner, submitted_at) =
            ("t".parse().unwrap(), "o".parse().unwrap(), Timestamp::UNIX_EPOCH);
        JobRecord { id: JobId::random(), tenant, owner, revision: 1, submitted_at, state }
    }

    #[test]
    fn an_export_that_is_resumed_runs_the_parts_that_were_not_sealed_and_counts_the_others_as_done() {
        let plan = vec![part(1), part(20), part(300)];
        let open = OpenParts::of(plan, &[sealed(1)]);
        assert_eq!(open, OpenParts { parts: vec![(0, part(1)), (2, part(300))], planned: 321, done: 20 });
        let huge = OpenParts::of(vec![part(u64::MAX), part(1)], &[]);
        assert_eq!((huge.planned, huge.done), (u64::MAX, 0));
    }

    #[test]
    fn a_job_that_is_recalled_brings_its_sealed_parts_only_while_it_is_active() {
        for (state, kept) in [(JobState::Queued, 2), (JobState::Failed(failure()), 0)] {
            let published = PublishedJob::new(record(state), None, [sealed(0), sealed(1)].into());
            let mut session = ExportSession::new(published.record.id);
            let Input::Recalled { sealed, files, .. } = session.recall(&published) else { panic!() };
            assert_eq!((sealed, files), (kept, kept));
        }
    }

    fn failure() -> crate::job::Failure {
        crate::job::Failure { at: Timestamp::UNIX_EPOCH, reason: FailureReason::StorageFull }
    }

    #[test]
    fn parts_are_committed_in_the_order_of_the_plan_and_again_if_the_record_was_stale() {
        let mut session = ExportSession::new(JobId::random());
        assert_eq!([session.seal(sealed(1)), session.seal(sealed(0))], [1, 1]);
        for _ in 0..2 {
            let change = session.change(Commit::Complete(record(JobState::Queued)));
            let DurableChange::Complete(_, parts) = change else { panic!() };
            assert_eq!(parts.iter().map(|part| part.index).collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn a_plan_that_comes_too_late_is_not_kept_and_a_failure_after_the_end_has_still_its_reason() {
        let mut session = ExportSession::new(JobId::random());
        let plan = || Plan::new(Timestamp::UNIX_EPOCH, vec![part(1), part(2)]);
        assert_eq!(session.keep_plan(plan(), false).parts, 2);
        assert!(session.plan.is_none());
        session.keep_plan(plan(), true);
        assert!(session.plan.is_some());
        let full = ExportError::SourceChanged("it is another file".into());
        assert_eq!(session.reason(&full, false), Some(FailureReason::SourceChanged));
        assert_eq!(session.reason(&ExportError::Cancelled, true), None);
    }
}
