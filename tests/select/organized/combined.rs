//! Blocks together with the other parameters: what these do to lines they do in blocks too, and
//! what is known before of the size holds in each case.

use evanesce::job::AssociatedData;

use super::*;

fn narrowed(type_filters: &[&str], elements: &[&str], kickoff: Kickoff) -> Kickoff {
    let parameters = kickoff.parameters.with_type_filters(type_filters).unwrap();
    Kickoff { parameters: parameters.with_elements(elements).unwrap(), ..kickoff }
}

fn about(patients: &[&str], kickoff: Kickoff) -> Kickoff {
    let patients = patients.iter().map(|id| id.to_string()).collect();
    Kickoff { parameters: Parameters { patients, ..kickoff.parameters }, ..kickoff }
}

/// The type and the id of a line.
fn name(line: &[u8]) -> (String, String) {
    let json: Value = serde_json::from_slice(line).unwrap();
    (json["resourceType"].as_str().unwrap().into(), json["id"].as_str().unwrap().into())
}

/// Blocks of the generated set are those of an export that is asked for nothing else, with what
/// becomes of each line in one that is not organized.
async fn check_narrowed(narrow: impl Fn(Kickoff) -> Kickoff) {
    for sizes in [LARGE, MIDDLING, TINY] {
        let instance = Instance::sized(source(), Settings::default(), sizes).await;
        let plain = instance.export(&narrow(patient_level())).await.unwrap();
        let become_what: BTreeMap<_, _> =
            plain.lines.into_values().flatten().map(|line| (name(&line), line)).collect();
        let whole = instance.organize(&patient_level(), sizes).await.unwrap();
        let narrowed = instance.organize(&narrow(patient_level()), sizes).await.unwrap();
        let mut expected = whole.blocks.clone();
        for block in expected.values_mut() {
            *block = block.iter().filter_map(|line| become_what.get(&name(line)).cloned()).collect();
        }
        assert!(narrowed.blocks == expected, "{sizes:?}");
        assert_ne!(narrowed.blocks, whole.blocks);
        assert_eq!(expected.len(), 30);
    }
}

#[tokio::test]
async fn o_3_a_type_filter_leaves_lines_out_of_blocks_and_blocks_without_a_line_out_of_files() {
    let final_ones = ["Observation?status=final", "Patient?gender=female"];
    check_narrowed(|kickoff| narrowed(&final_ones, &[], kickoff)).await;
    let women = narrowed(&final_ones[1..], &[], only(patient_level(), &["Patient"]));
    let instance = Instance::sized(source(), Settings::default(), LARGE).await;
    let plain = instance.export(&women).await.unwrap();
    let blocks = instance.organize(&women, LARGE).await.unwrap().blocks;
    assert_eq!(blocks.len(), plain.lines["Patient"].len());
    assert!((1..30).contains(&blocks.len()), "{} blocks", blocks.len());
}

#[tokio::test]
async fn o_3_elements_cut_lines_down_in_blocks_and_leave_their_headers_whole() {
    let elements = ["Observation.code", "Patient.gender", "Organization.name"];
    check_narrowed(|kickoff| narrowed(&[], &elements, kickoff)).await;
    // A header of a patient whom the source knows only by what refers to it: an element that
    // is not asked for.
    let kickoff = narrowed(&[], &["Observation.code"], only(patient_level(), &["Observation"]));
    let instance = Instance::start(&content(&[("a", &[ABOUT_NOBODY])]), Settings::default()).await;
    let blocks = instance.organize(&kickoff, LARGE).await.unwrap().blocks;
    let line = String::from_utf8(blocks["nobody"][0].clone()).unwrap();
    assert!(line.contains("SUBSETTED") && !line.contains("subject"), "{line}");
}

/// A document of a patient with an attachment.
fn document(id: &str, patient: &str, url: &str) -> String {
    let title = "x".repeat(600);
    format!(
        r#"{{"resourceType":"DocumentReference","id":"{id}","subject":{{"reference":"Patient/{patient}"}},"content":[{{"attachment":{{"url":"{url}","title":"{title}"}}}}]}}"#
    )
}

#[tokio::test]
async fn o_3_o_4_urls_of_binaries_are_absolute_in_blocks_too() {
    let documents: Vec<_> =
        (0..40).map(|n| document(&n.to_string(), ["p", "q"][n % 2], &format!("Binary/{n}"))).collect();
    let lines: Vec<_> = documents.iter().map(String::as_str).chain([P, Q, X, Y]).collect();
    let folder = scratch();
    std::fs::write(folder.path().join("a"), lines.join("\n")).unwrap();
    let base_url = "https://h.example.org/a/base/that/is/much/longer/than/what/stands/in/the/source";
    let kickoff = Kickoff { base_url: base_url.into(), ..patient_level() };
    for sizes in [LARGE, MIDDLING, TINY] {
        let instance = Instance::sized(folder.path(), Settings::default(), sizes).await;
        instance.check(std::slice::from_ref(&kickoff), sizes).await.unwrap_or_else(|wrong| panic!("{wrong}"));
        let blocks = instance.organize(&kickoff, sizes).await.unwrap().blocks;
        let lines = blocks["p"].iter().map(|line| String::from_utf8_lossy(line));
        assert_eq!(lines.filter(|line| line.contains(&format!("{base_url}/Binary/"))).count(), 20);
    }
}

#[tokio::test]
async fn o_3_only_the_patients_that_are_named_have_blocks() {
    let members = group("g", &["p", "q"]);
    let lines_with = [&ALL[..], &[&members]].concat();
    for level in [patient_level(), group_level("g")] {
        let kickoff = about(&["q"], only(level, &["Patient"]));
        assert_eq!(text(kickoff, &lines_with).await, lines(&[&header_of("q"), Q]));
    }
    let instance = Instance::start(&content(&[("a", &lines_with)]), Settings::default()).await;
    let stranger = about(&["stranger"], patient_level());
    assert_eq!(instance.organize(&stranger, LARGE).await, Err(FailureReason::PatientNotFound));
}

#[tokio::test]
async fn o_3_mf_6_what_is_gone_is_told_and_stands_in_no_block() {
    let gone = r#"{"resourceType":"Bundle","type":"transaction","timestamp":"2024-05-05T00:00:00Z","entry":[{"request":{"method":"DELETE","url":"Observation/1"}},{"request":{"method":"DELETE","url":"Organization/z"}},{"request":{"method":"DELETE","url":"Patient/q"}}]}"#;
    let lines_with = [&ALL[..], &[gone]].concat();
    let instance = Instance::start(&content(&[("a", &lines_with)]), Settings::default()).await;
    let since = |text| aged(patient_level(), instant(text), None);
    let told = |found: &Organized| found.deleted.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let early = instance.organize(&since("2024-05-04T00:00:00Z"), LARGE).await.unwrap();
    assert_eq!(told(&early), ["Observation/1", "Organization/z", "Patient/q"]);
    assert_eq!(early.blocks["p"], [P, OF_BOTH].map(|line| line.as_bytes().to_vec()));
    // The patient who is gone has what still refers to it.
    assert_eq!(early.blocks["q"], [P.as_bytes().to_vec()]);
    for kickoff in [since("2024-05-06T00:00:00Z"), patient_level()] {
        assert!(told(&instance.organize(&kickoff, LARGE).await.unwrap()).is_empty());
    }
    let kickoffs =
        [since("2024-05-04T00:00:00Z"), aged(at_level(Level::System), instant("2024-05-04T00:00:00Z"), None)];
    instance.check(&kickoffs, LARGE).await.unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[tokio::test]
async fn o_3_k_13_provenances_stand_beside_what_they_are_about_but_not_beside_other_patients() {
    let provenance = |id: &str, targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|name| serde_json::json!({"reference": name})).collect();
        serde_json::json!({"resourceType": "Provenance", "id": id, "target": targets}).to_string()
    };
    let [of_1, of_x, of_q, of_z, of_nothing] = [
        provenance("of-1", &["Observation/1"]),
        provenance("of-x", &["Organization/x"]),
        provenance("of-q", &["Patient/q", "Organization/x"]),
        provenance("of-z", &["Organization/z"]),
        provenance("of-nothing", &["Observation/missing"]),
    ];
    let lines_with = [&ALL[..], &[&of_1, &of_x, &of_q, &of_z, &of_nothing]].concat();
    let parameters = Parameters { provenances: Some(AssociatedData::Relevant), ..Parameters::default() };
    let kickoff = Kickoff { parameters, ..patient_level() };
    let [p, q, nobody] = ["p", "q", "nobody"].map(header_of);
    let expected = lines(&[
        &nobody,
        ABOUT_NOBODY,
        &p,
        P,
        ABOUT_P,
        OF_BOTH,
        X,
        Y,
        &of_1,
        &of_x,
        &q,
        Q,
        P,
        X,
        Y,
        &of_x,
        &of_q,
    ]);
    assert_eq!(text(kickoff.clone(), &lines_with).await, expected);
    // Organization z, and what is known of it, is in no block.
    let instance = Instance::start(&content(&[("a", &lines_with)]), Settings::default()).await;
    let all = Kickoff { parameters: kickoff.parameters, ..at_level(Level::System) };
    assert_eq!(instance.organize(&all, LARGE).await.unwrap().left_out, 2);
}
