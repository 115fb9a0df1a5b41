use super::*;

/// A schedule in which every job always has so many writers waiting with pieces of one
/// size, on a clock of its own.
struct Simulation {
    schedule: WriteSchedule,
    now: Instant,
    /// Key, bytes of a piece, bytes written.
    jobs: Vec<(ScheduleKey, usize, u64)>,
}

impl Simulation {
    fn new(rates: ByteRates) -> Self {
        Self::with_own(rates, &[])
    }

    /// Some tenants have limits of their own.
    fn with_own(rates: ByteRates, own: &[(&str, u64)]) -> Self {
        let own = own.iter().map(|(name, rate)| (name.parse().unwrap(), *rate)).collect();
        let schedule = Throttle::new(rates, own).schedule.into_inner();
        let now = schedule.began;
        Self { schedule, now, jobs: Vec::new() }
    }

    fn join(&mut self, tenant: &str, writers: usize, piece: usize) -> usize {
        let key = self.schedule.join(tenant.parse().unwrap(), Arc::default());
        (0..writers).for_each(|_| self.schedule.wait(key));
        self.jobs.push((key, piece, 0));
        self.jobs.len() - 1
    }

    /// The next write: the index of its job. It begins `late` after it might.
    fn step(&mut self, late: Duration) -> usize {
        let (key, at) = self.schedule.next().unwrap();
        self.now = self.now.max(at) + late;
        let index = self.jobs.iter().position(|job| job.0 == key).unwrap();
        let (_, piece, written) = &mut self.jobs[index];
        self.schedule.take(key, *piece, self.now);
        *written += *piece as u64;
        index
    }

    fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.schedule.next().unwrap().1 < until {
            self.step(Duration::ZERO);
        }
        self.now = until;
    }

    fn written(&self, job: usize) -> u64 {
        self.jobs[job].2
    }
}

#[track_caller]
fn assert_about(actual: u64, expected: u64) {
    assert!(actual.abs_diff(expected) <= expected / 20, "{actual}, should be about {expected}");
}

const MIB: u64 = 1 << 20;

#[test]
fn two_jobs_get_half_each_whatever_their_writers_and_the_size_of_their_writes() {
    let mut simulation = Simulation::new(ByteRates { all: MIB, ..ByteRates::default() });
    let many = simulation.join("t", 8, 32 << 10);
    let small_writes = simulation.join("t", 1, 700);
    simulation.run(10);
    assert_about(simulation.written(many), 5 * MIB);
    assert_about(simulation.written(small_writes), 5 * MIB);
}

#[test]
fn a_job_that_comes_to_a_throttled_one_has_the_next_turn_and_then_half() {
    let mut simulation = Simulation::new(ByteRates { all: MIB, ..ByteRates::default() });
    let huge = simulation.join("t", 4, 32 << 10);
    simulation.run(100);
    let before = simulation.written(huge);
    let small = simulation.join("t", 1, 32 << 10);
    assert_eq!(simulation.step(Duration::ZERO), small, "not after turns reserved by the huge one");
    assert_eq!(simulation.step(Duration::ZERO), huge, "nor does it catch up on what it did not ask for");
    simulation.run(10);
    assert_about(simulation.written(small), 5 * MIB);
    assert_about(simulation.written(huge) - before, 5 * MIB);
}

#[test]
fn at_a_high_limit_the_jobs_take_turns_write_by_write() {
    let mut simulation = Simulation::new(ByteRates { all: 1 << 34, ..ByteRates::default() });
    let one = simulation.join("t", 2, 256 << 10);
    let other = simulation.join("t", 2, 256 << 10);
    let order: Vec<_> = (0..6).map(|_| simulation.step(Duration::ZERO)).collect();
    assert_eq!(order, [one, other, one, other, one, other]);
}

#[test]
fn a_write_obeys_all_three_limits() {
    let mut simulation = Simulation::new(ByteRates { all: 4 * MIB, tenant: 2 * MIB, job: MIB });
    let alone = simulation.join("one", 4, 16 << 10);
    let crowd: Vec<_> = (0..4).map(|_| simulation.join("two", 4, 16 << 10)).collect();
    simulation.run(10);
    assert_about(simulation.written(alone), 10 * MIB);
    for job in &crowd {
        assert_about(simulation.written(*job), 5 * MIB);
    }
    for tenant in ["three", "four"] {
        simulation.join(tenant, 4, 16 << 10);
        simulation.join(tenant, 4, 16 << 10);
    }
    let before: u64 = simulation.jobs.iter().map(|job| job.2).sum();
    simulation.run(10);
    let after: u64 = simulation.jobs.iter().map(|job| job.2).sum();
    assert_about(after - before, 40 * MIB);
}

#[test]
fn a_late_writer_loses_no_bytes_and_an_idle_time_is_not_made_up_for() {
    let mut simulation = Simulation::new(ByteRates { job: MIB, ..ByteRates::default() });
    let job = simulation.join("t", 1, 32 << 10);
    for _ in 0..320 {
        simulation.step(Duration::from_millis(5));
    }
    let seconds = (simulation.now - simulation.schedule.began).as_secs_f64();
    assert!((9.8..10.2).contains(&seconds), "10 MiB in {seconds} s");
    simulation.now += Duration::from_secs(1000);
    let before = simulation.written(job);
    simulation.run(1);
    assert_about(simulation.written(job) - before, MIB);
}

#[test]
fn what_a_tenant_owes_outlives_its_job_and_is_forgotten_when_it_is_paid() {
    let mut simulation = Simulation::new(ByteRates { tenant: MIB, ..ByteRates::default() });
    let job = simulation.join("t", 1, MIB as usize);
    simulation.step(Duration::ZERO);
    simulation.schedule.leave(simulation.jobs[job].0, simulation.now);
    simulation.join("t", 1, 1);
    let (key, at) = simulation.schedule.next().unwrap();
    assert!(at > simulation.schedule.began + Duration::from_millis(900));
    simulation.schedule.leave(key, at);
    assert!(simulation.schedule.tenants.is_empty());
}

#[test]
fn a_tenant_has_a_limit_of_its_own_or_none_and_the_others_the_common_one() {
    let rates = ByteRates { tenant: 2 * MIB, ..ByteRates::default() };
    let mut simulation = Simulation::with_own(rates, &[("slow", MIB), ("fast", 4 * MIB)]);
    let slow = [(); 2].map(|()| simulation.join("slow", 2, 32 << 10));
    let fast = simulation.join("fast", 2, 128 << 10);
    let other = simulation.join("other", 2, 64 << 10);
    simulation.run(10);
    for job in slow {
        assert_about(simulation.written(job), 5 * MIB);
    }
    assert_about(simulation.written(fast), 40 * MIB);
    assert_about(simulation.written(other), 20 * MIB);
    let unlimited = Simulation::with_own(rates, &[("free", 0)]);
    assert_eq!(unlimited.schedule.rates.of(&"free".parse().unwrap()), ByteRates::default());
}

#[test]
fn tenants_whose_writes_differ_in_size_share_the_limit_of_all_by_bytes() {
    let rates = ByteRates { all: MIB, ..ByteRates::default() };
    let mut simulation = Simulation::with_own(rates, &[("small", 100 * MIB)]);
    let large = simulation.join("large", 1, 256 << 10);
    let small = [(); 2].map(|()| simulation.join("small", 1, 1 << 10));
    simulation.run(60);
    for job in [large, small[0], small[1]] {
        assert_about(simulation.written(job), 20 * MIB);
    }
}

#[test]
fn a_job_that_was_paused_does_not_make_up_for_it() {
    let mut simulation = Simulation::new(ByteRates { all: MIB, ..ByteRates::default() });
    let jobs = [(); 2].map(|()| simulation.join("t", 2, 32 << 10));
    let paused = simulation.jobs[jobs[0]].0;
    simulation.schedule.share(paused).state = GateState::Paused;
    simulation.run(60);
    simulation.schedule.share(paused).state = GateState::Open;
    simulation.run(10);
    assert_about(simulation.written(jobs[0]), 5 * MIB);
}

#[test]
fn a_job_of_a_slow_tenant_does_not_make_up_for_what_other_tenants_had() {
    let rates = ByteRates { all: 10 * MIB, ..ByteRates::default() };
    let mut simulation = Simulation::with_own(rates, &[("slow", MIB)]);
    let first = simulation.join("slow", 1, 32 << 10);
    simulation.join("fast", 1, 128 << 10);
    simulation.run(60);
    let before = simulation.written(first);
    let second = simulation.join("slow", 1, 32 << 10);
    simulation.run(10);
    assert_about(simulation.written(second), 5 * MIB);
    assert_about(simulation.written(first) - before, 5 * MIB);
}

#[test]
fn a_write_is_no_larger_than_a_turn_of_the_lowest_limit_that_the_job_has() {
    let own = HashMap::from([("slow".parse().unwrap(), MIB), ("free".parse().unwrap(), 0)]);
    let largest = |all, tenant, job, name: &str| {
        Throttle::new(ByteRates { all, tenant, job }, own.clone()).largest_write(&name.parse().unwrap())
    };
    assert_eq!(largest(0, 0, 0, "t"), None);
    assert_eq!(largest(MIB, 0, 0, "t"), Some(32 << 10));
    assert_eq!(largest(1 << 40, MIB, 2 * MIB, "t"), Some(32 << 10));
    assert_eq!(largest(0, 0, 1, "t"), Some(1024));
    assert_eq!(largest(1 << 40, 0, 0, "t"), Some(256 << 10));
    assert_eq!(largest(0, 0, 0, "slow"), Some(32 << 10));
    assert_eq!(largest(0, MIB, 0, "free"), None);
}
