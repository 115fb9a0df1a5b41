//! Crashes: the real binary is killed at named steps and at random instants, stopped, its
//! disk loses power, its system calls are watched and made to fail; then it is started again.
//! What is checked is always seen from outside: the API's answers, a walk over the disk, the
//! chain of receipts, and the store opened by the test after the last process is gone.

mod backups;
mod ballast;
mod breakpoints;
mod clients;
mod deeds;
mod epochs;
mod failing_store;
mod going_back;
mod injected;
mod joins;
mod machine;
mod old_store;
mod panics;
mod power_loss;
mod power_losses;
mod power_steps;
mod random_kills;
mod stops;
mod syscalls;
mod witnesses;
