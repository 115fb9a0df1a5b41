//! Of whom an export tells: nobody's members but those that are asked for and allowed (P15).

use evanesce::job::{AssociatedData, OrganizeBy};

use super::*;

fn named(patients: &[&str], kickoff: Kickoff) -> Kickoff {
    let patients = patients.iter().map(|id| id.to_string()).collect();
    Kickoff { parameters: Parameters { patients, ..kickoff.parameters }, ..kickoff }
}

fn reading(groups: &[&str]) -> Settings {
    Settings { groups: Some(groups.iter().map(|id| id.to_string()).collect()), ..Settings::default() }
}

async fn with(settings: Settings, lines: &[&str]) -> Instance {
    Instance::start(&content(&[("a", lines)]), settings).await
}

fn provenance(id: &str, target: &str) -> String {
    format!(r#"{{"resourceType":"Provenance","id":"{id}","target":[{{"reference":"{target}"}}]}}"#)
}

/// `p` is in all Groups, `q` in some; what is about a Group names it.
fn groups() -> Vec<String> {
    vec![
        r#"{"resourceType":"Patient","id":"p"}"#.into(),
        r#"{"resourceType":"Patient","id":"q"}"#.into(),
        group("mine", &["p"]),
        group("diabetes", &["p", "q"]),
        group("other", &["p"]),
        r#"{"resourceType":"Group","actual":true,"member":[{"entity":{"reference":"Patient/p"}}]}"#.into(),
        provenance("of-mine", "Group/mine"),
        provenance("of-diabetes", "Group/diabetes"),
        provenance("of-other", "Group/other/_history/2"),
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Group/other"},"performer":[{"reference":"Patient/p"}]}"#.into(),
        r#"{"resourceType":"MeasureReport","id":"1","subject":{"reference":"Group/diabetes"}}"#.into(),
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Group/gone"}}]}"#.into(),
    ]
}

fn since(kickoff: Kickoff) -> Kickoff {
    aged(kickoff, instant("2020-01-01T00:00:00Z"), None)
}

#[tokio::test]
async fn p15_a_group_that_may_not_be_read_is_in_no_export_nor_what_tells_of_it() {
    let lines = groups();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let instance = with(reading(&["mine"]), &lines).await;
    let patients = ["Patient/p", "Patient/q"];
    let mine = ["Group/mine", "Provenance/of-mine"];
    for kickoff in [Kickoff::system(), patient_level()] {
        instance.expect(&kickoff, &[&mine[..], &patients].concat()).await;
        instance.expect(&since(kickoff.clone()), &[&mine[..], &patients].concat()).await;
        instance.expect(&only(kickoff.clone(), &["Group"]), &["Group/mine"]).await;
        for provenances in [AssociatedData::Latest, AssociatedData::Relevant] {
            let parameters = Parameters { provenances: Some(provenances), ..Parameters::default() };
            let kickoff = Kickoff { parameters, ..kickoff.clone() };
            instance.expect(&kickoff, &[&mine[..], &patients].concat()).await;
        }
    }
    instance.expect(&group_level("mine"), &["Group/mine", "Patient/p", "Provenance/of-mine"]).await;
    // Who may read all of them gets all.
    let instance = with(Settings::default(), &lines).await;
    let all = ["Group/-", "Group/diabetes", "Group/mine", "Group/other"];
    instance.expect(&only(patient_level(), &["Group"]), &all).await;
    instance.expect(&since(only(patient_level(), &["Group"])), &[&all[..], &["-Group/gone"]].concat()).await;
}

#[tokio::test]
async fn p15_a_group_export_holds_of_groups_the_one_that_is_asked_for() {
    let lines = groups();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    for settings in [Settings::default(), reading(&["mine", "diabetes", "gone"])] {
        let instance = with(settings, &lines).await;
        let expected = ["Group/mine", "Patient/p", "Provenance/of-mine"];
        instance.expect(&group_level("mine"), &expected).await;
        instance.expect(&since(group_level("mine")), &expected).await;
        let expected = ["Group/diabetes", "Patient/p", "Patient/q", "Provenance/of-diabetes"];
        instance.expect(&group_level("diabetes"), &expected).await;
        instance.expect(&group_level("All_Patients"), &["Patient/p", "Patient/q"]).await;
    }
}

#[tokio::test]
async fn p15_blocks_hold_no_group_that_may_not_be_read() {
    let lines = groups();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let instance = with(reading(&["mine"]), &lines).await;
    for (kickoff, expected) in [
        (Kickoff::system(), ["Group/mine", "Patient/p", "Patient/q", "Provenance/of-mine"].as_slice()),
        (patient_level(), &["Group/mine", "Patient/p", "Patient/q", "Provenance/of-mine"]),
        (group_level("mine"), &["Group/mine", "Patient/p", "Provenance/of-mine"]),
        (named(&["p"], patient_level()), &["Patient/p"]),
    ] {
        let organize_by = Some(OrganizeBy::Patient);
        let kickoff = Kickoff { parameters: Parameters { organize_by, ..kickoff.parameters }, ..kickoff };
        let files = instance.export(&kickoff).await.unwrap().lines;
        let resources = files["Patient"].iter().map(|line| serde_json::from_slice(line).unwrap());
        let name = |json: serde_json::Value| {
            json["id"].as_str().map(|id| format!("{}/{id}", json["resourceType"].as_str().unwrap()))
        };
        let found: BTreeSet<_> = resources.filter_map(name).collect();
        assert_eq!(found, expected.iter().map(|name| name.to_string()).collect(), "{kickoff:?}");
    }
}

/// One of each kind that can name several patients: `alone` names `p`, `both` names `p` and `q`.
const KINDS: [(&str, &str, bool); 12] = [
    ("Account", r#""subject":[X]"#, true),
    ("Appointment", r#""participant":[{"actor":[X]}]"#, true),
    ("AuditEvent", r#""agent":[{"who":P}],"entity":[{"what":[X]}]"#, true),
    ("Communication", r#""recipient":[X]"#, true),
    ("CommunicationRequest", r#""recipient":[X]"#, true),
    ("List", r#""subject":P,"entry":[{"item":[X]}]"#, true),
    ("Provenance", r#""target":[X]"#, true),
    ("Schedule", r#""actor":[X]"#, true),
    ("CareTeam", r#""subject":P,"participant":[{"member":[X]}]"#, false),
    ("Coverage", r#""beneficiary":P,"payor":[X]"#, false),
    ("Observation", r#""subject":P,"performer":[X]"#, false),
    ("DocumentManifest", r#""subject":P,"recipient":[X]"#, false),
];

fn kinds() -> Vec<String> {
    let [p, q] = ["p", "q"].map(|id| format!(r#"{{"reference":"Patient/{id}"}}"#));
    let line = |kind: &str, id: &str, members: &str, them: &str| {
        let members = members.replace('P', &p).replace('X', them);
        format!(r#"{{"resourceType":"{kind}","id":"{id}",{members}}}"#)
    };
    let mut lines = ["p", "q"].map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)).to_vec();
    for (kind, members, _) in KINDS {
        lines.push(line(kind, "alone", members, &p));
        lines.push(line(kind, "both", members, &format!("{p},{q}")));
    }
    lines.extend([group("g", &["p"]), group("h", &["p", "q"])]);
    lines
}

#[tokio::test]
async fn p15_an_export_of_named_patients_holds_nothing_that_others_are_in() {
    let lines = kinds();
    let instance = with(Settings::default(), &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let of = |id: &str| KINDS.map(|(kind, ..)| format!("{kind}/{id}"));
    let (alone, both) = (of("alone"), of("both"));
    let alone: Vec<_> = alone.iter().map(String::as_str).chain(["Patient/p"]).collect();
    for kickoff in [patient_level(), group_level("g"), group_level("h"), group_level("All_Patients")] {
        instance.expect(&named(&["p"], kickoff), &alone).await;
    }
    let whole: Vec<_> =
        alone.into_iter().chain(both.iter().map(String::as_str)).chain(["Patient/q"]).collect();
    instance.expect(&named(&["p", "q"], patient_level()), &whole).await;
    let groups = [&whole[..], &["Group/g", "Group/h"]].concat();
    instance.expect(&patient_level(), &groups).await;
}

#[tokio::test]
async fn p15_a_group_export_holds_nothing_that_names_others_side_by_side_with_its_members() {
    let lines = kinds();
    let instance = with(Settings::default(), &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut expected = vec!["Group/g".to_string(), "Patient/p".into()];
    for (kind, _, names_peers) in KINDS {
        expected.push(format!("{kind}/alone"));
        // In one's record others may have a part.
        expected.extend((!names_peers).then(|| format!("{kind}/both")));
    }
    instance.expect(&group_level("g"), &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn p15_a_patient_goes_out_for_its_own_name_and_not_for_one_that_it_links_to() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"Patient/q"}}]}"#,
        r#"{"resourceType":"Patient","id":"q","link":[{"other":{"reference":"Patient/p"}},{"other":{"reference":"Patient/r"}}]}"#,
        r#"{"resourceType":"Patient","id":"r"}"#,
    ];
    let instance = with(Settings::default(), &lines).await;
    for id in ["p", "q", "r"] {
        instance.expect(&named(&[id], patient_level()), &[&format!("Patient/{id}")]).await;
    }
}

#[tokio::test]
async fn p15_a_device_goes_with_its_patient_and_with_nobody_else() {
    let device = |id: &str, patient: &str| {
        format!(r#"{{"resourceType":"Device","id":"{id}","patient":{{"reference":"Patient/{patient}"}}}}"#)
    };
    let uses = |id: &str, patient: &str, device: &str| {
        format!(
            r#"{{"resourceType":"DeviceUseStatement","id":"{id}","subject":{{"reference":"Patient/{patient}"}},"device":{{"reference":"Device/{device}"}}}}"#
        )
    };
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#.to_string(),
        r#"{"resourceType":"Patient","id":"q"}"#.into(),
        group("g", &["p"]),
        device("pump", "p"),
        device("pacer", "p"),
        device("of-q", "q"),
        r#"{"resourceType":"Device","id":"shared"}"#.into(),
        r#"{"resourceType":"Device","id":"unused"}"#.into(),
        uses("1", "p", "pacer"),
        uses("2", "p", "of-q"),
        uses("3", "p", "shared"),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let (all, none, referenced) = (References::All, References::None, References::Referenced);
    for (by_patient, references, expected) in [
        (true, referenced, &["pacer", "pump", "shared"][..]),
        (true, all, &["pacer", "pump", "shared", "unused"]),
        (true, none, &["pacer", "pump"]),
        (false, referenced, &["pacer", "shared"]),
        (false, all, &["pacer", "pump", "shared", "unused"]),
        (false, none, &[]),
    ] {
        let settings = Settings { devices_by_patient: Some(by_patient), ..Settings::references(references) };
        let instance = with(settings, &lines).await;
        let expected: Vec<_> = expected.iter().map(|id| format!("Device/{id}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        for kickoff in [group_level("g"), named(&["p"], patient_level())] {
            let types = only(kickoff.clone(), &["Device", "DeviceUseStatement"]);
            let uses = ["DeviceUseStatement/1", "DeviceUseStatement/2", "DeviceUseStatement/3"];
            instance.expect(&types, &[&expected[..], &uses].concat()).await;
        }
    }
    // By themselves, too: unless they go by what refers to them.
    let alone = only(group_level("g"), &["Device"]);
    let instance = with(Settings::default(), &lines).await;
    instance.expect(&alone, &["Device/pacer", "Device/pump"]).await;
    instance
        .expect(&only(patient_level(), &["Device"]), &["Device/of-q", "Device/pacer", "Device/pump"])
        .await;
    let settings = Settings { devices_by_patient: Some(false), ..Settings::default() };
    with(settings, &lines).await.expect(&alone, &[]).await;
}
