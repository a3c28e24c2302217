//! Tools of tests and bench for the loaded programs: runs on made-up frames, traffic made in the
//! kernel, and how long a packet takes. Not in the agent.

pub mod generator;
pub mod stopwatch;
mod test_run;
pub mod trial;
pub mod varying;
