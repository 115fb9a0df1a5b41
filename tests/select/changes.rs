//! A source that changes between two exports of one instance: the second has what is there then.

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;

fn patient(id: &str, name: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"name\":[{{\"family\":\"{name}\"}}]}}\n")
}

/// Files `a` and `b` of two patients each, exported once.
async fn exported_once() -> Instance {
    let a = patient("p", "old") + &patient("q", "old");
    let b = patient("r", "old") + &patient("s", "old");
    let files = [("a".to_string(), a.into_bytes()), ("b".to_string(), b.into_bytes())];
    let instance = Instance::start(&files, Settings::default()).await;
    expect(&instance, &["p old", "q old", "r old", "s old"]).await;
    instance
}

/// That an export has exactly these patients, with these names, at either level.
async fn expect(instance: &Instance, patients: &[&str]) {
    for kickoff in [Kickoff::system(), patient_level()] {
        let ids: Vec<_> = patients.iter().map(|text| text.split_once(' ').unwrap().0).collect();
        let ids: Vec<_> = ids.iter().map(|id| format!("Patient/{id}")).collect();
        instance.expect(&kickoff, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let lines = instance.export(&kickoff).await.unwrap().lines.remove("Patient").unwrap();
        let expected = patients.iter().map(|text| {
            let (id, name) = text.split_once(' ').unwrap();
            patient(id, name).trim_end().as_bytes().to_vec()
        });
        assert_eq!(lines, expected.collect::<Vec<_>>());
    }
}

fn append(instance: &Instance, name: &str, text: &str) {
    let file = std::fs::OpenOptions::new().append(true).open(instance.path(name));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn lines_that_were_appended_are_in_the_next_export_and_supersede_older_ones() {
    let instance = exported_once().await;
    append(&instance, "a", &(patient("t", "new") + &patient("q", "new")));
    append(&instance, "b", &patient("s", "new"));
    expect(&instance, &["p old", "q new", "r old", "s new", "t new"]).await;
}

#[tokio::test]
async fn a_line_that_was_half_written_is_whole_in_the_next_export() {
    let instance = exported_once().await;
    let line = patient("t", "new");
    append(&instance, "a", &line[..20]);
    let broken = instance.export(&Kickoff::system()).await.unwrap();
    assert_eq!(broken.broken, 1);
    append(&instance, "a", &line[20..]);
    expect(&instance, &["p old", "q old", "r old", "s old", "t new"]).await;
    assert_eq!(instance.export(&Kickoff::system()).await.unwrap().broken, 0);
}

#[tokio::test]
async fn a_file_that_was_renamed_over_another_is_read_anew() {
    let instance = exported_once().await;
    let new = scratch_beside(&instance);
    std::fs::write(&new, patient("p", "new") + &patient("q", "new")).unwrap();
    std::fs::rename(&new, instance.path("a")).unwrap();
    expect(&instance, &["p new", "q new", "r old", "s old"]).await;
}

/// A path outside of the source on the same file system.
fn scratch_beside(instance: &Instance) -> PathBuf {
    instance.data.path().join("new.ndjson")
}

#[tokio::test]
async fn a_file_that_was_written_over_in_place_is_read_anew_though_size_and_time_are_the_same() {
    let instance = exported_once().await;
    let file = std::fs::OpenOptions::new().write(true).open(instance.path("a")).unwrap();
    let before = file.metadata().unwrap();
    file.write_all_at((patient("p", "new") + &patient("q", "new")).as_bytes(), 0).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let after = file.metadata().unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
    drop(file);
    expect(&instance, &["p new", "q new", "r old", "s old"]).await;
}

#[tokio::test]
async fn a_file_that_became_shorter_is_read_anew() {
    let instance = exported_once().await;
    std::fs::write(instance.path("a"), patient("q", "new")).unwrap();
    expect(&instance, &["q new", "r old", "s old"]).await;
}

#[tokio::test]
async fn the_resources_of_a_file_that_is_gone_are_gone_and_what_they_superseded_is_back() {
    let instance = exported_once().await;
    std::fs::write(instance.path("c"), patient("q", "new") + &patient("t", "new")).unwrap();
    expect(&instance, &["p old", "q new", "r old", "s old", "t new"]).await;
    std::fs::remove_file(instance.path("c")).unwrap();
    expect(&instance, &["p old", "q old", "r old", "s old"]).await;
    std::fs::remove_file(instance.path("a")).unwrap();
    expect(&instance, &["r old", "s old"]).await;
}

#[tokio::test]
async fn a_file_that_came_between_two_others_takes_its_place_in_their_order() {
    let instance = exported_once().await;
    let between = patient("q", "new") + &patient("r", "newer, and yet superseded");
    std::fs::write(instance.path("aa"), between).unwrap();
    expect(&instance, &["p old", "q new", "r old", "s old"]).await;
    // Under another name it is the last one.
    std::fs::rename(instance.path("aa"), instance.path("c")).unwrap();
    expect(&instance, &["p old", "q new", "r newer, and yet superseded", "s old"]).await;
}

#[tokio::test]
async fn two_files_that_changed_their_names_have_changed_their_order() {
    let instance = exported_once().await;
    std::fs::write(instance.path("b"), patient("p", "new")).unwrap();
    expect(&instance, &["p new", "q old"]).await;
    std::fs::rename(instance.path("a"), instance.path("c")).unwrap();
    expect(&instance, &["p old", "q old"]).await;
}

#[tokio::test]
async fn a_group_has_the_members_of_the_moment() {
    let instance = exported_once().await;
    instance.expect_refusal(&group_level("g"), FailureReason::GroupNotFound).await;
    std::fs::write(instance.path("groups"), group("g", &["p"])).unwrap();
    instance.expect(&group_level("g"), &["Group/g", "Patient/p"]).await;
    append(&instance, "groups", &format!("\n{}\n", group("g", &["q", "r"])));
    instance.expect(&group_level("g"), &["Group/g", "Patient/q", "Patient/r"]).await;
    std::fs::remove_file(instance.path("groups")).unwrap();
    instance.expect_refusal(&group_level("g"), FailureReason::GroupNotFound).await;
}
