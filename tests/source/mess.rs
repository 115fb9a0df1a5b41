//! The generator's mess, exported at each level and compared with an oracle that reads everything.

use evanesce::Kickoff;
use evanesce::job::Level;

use super::*;
use crate::select::oracle;

#[test]
fn a_generated_mess_is_exported_as_the_oracle_says() {
    let folder = scratch();
    let generated = generate(folder.path(), 25, 3, &["--mess"]);
    let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|it| (it.file_name().into_string().unwrap(), std::fs::read(it.path()).unwrap()));
    let files: Vec<_> = named.collect();
    let source = oracle::Source::read(&files, None);

    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for (path, level) in [
        ("$export", Level::System),
        ("Patient/$export", Level::Patient),
        ("Group/practice-1/$export", Level::Group { id: "practice-1".into() }),
    ] {
        let kickoff = Kickoff::new(level.clone());
        let expected = source.select(&kickoff, oracle::References::Referenced).unwrap();
        let (_, manifest) = server.export(path);
        let lines = exported(&manifest);
        let mut expected_lines: Lines = expected.lines.into_values().flatten().collect();
        expected_lines.sort();
        assert_same(&lines, &expected_lines);
        let texts = broken(&manifest);
        let named = texts.iter().filter(|text| text.starts_with("Line ")).count() as u64;
        let more = texts.iter().filter_map(|text| text.split_once(" more lines")?.0.parse::<u64>().ok());
        assert_eq!((named + more.sum::<u64>(), expected.broken), (generated.broken_lines, expected.broken));
        if level == Level::System {
            let superseded = server.metric("evanesce_index_superseded_resources") as u64;
            assert!(superseded > 0);
            assert_eq!(lines.len() as u64, generated.resources - superseded);
        }
    }
}
