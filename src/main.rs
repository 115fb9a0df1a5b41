//! The `evanesce` program.

fn main() -> std::process::ExitCode {
    evanesce::run_program()
}
