//! What a newcomer meets first: the sample data, the demo, and a first start.

mod start;

use std::path::Path;

use crate::support::generate;

/// `data/sample` is what `evanesce generate --patients 100 --seed 1` makes, to the byte.
#[test]
fn the_sample_is_what_the_generator_makes() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), 100, 1, &[]);
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|name| name.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&sample), names(folder.path()));
    for name in names(&sample) {
        let [checked_in, made] =
            [&sample, folder.path()].map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(checked_in == made, "{name:?} differs");
    }
}

#[test]
fn the_demo_passes_its_own_checks() {
    let mut demo = crate::support::evanesce_command();
    let output = demo.arg("demo").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the reaper left nothing behind"), "{text}");
}
