//! Room on the disk and in the quotas of tenants: it is given once, given back in time, and
//! who finds none is told what to do.

mod answers;
mod disk;
mod estimates;
mod quota;
