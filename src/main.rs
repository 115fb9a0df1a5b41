//! The `evanesce` program.

fn main() -> std::process::ExitCode {
    evanesce::cli::main()
}
