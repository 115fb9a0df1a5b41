//! URLs of attachments (O-4): those of Binaries of the source become absolute, and nothing else
//! changes by a byte.

use super::*;

const OURS: &str = "https://h.example.org/r4/t";

fn seen_at(base_url: &str, kickoff: Kickoff) -> Kickoff {
    Kickoff { base_url: base_url.into(), ..kickoff }
}

fn document(id: &str, attachment: &str) -> String {
    format!(
        r#"{{"resourceType":"DocumentReference","id":"{id}","subject":{{"reference":"Patient/p"}},"content":[{{"attachment":{attachment}}}]}}"#
    )
}

/// What becomes of the attachment of a document, with `source.base_url` set.
async fn becomes(attachment: &str) -> String {
    let settings = Settings { base_url: Some("https://src.example.org/r4".into()), ..Settings::default() };
    let line = document("d", attachment);
    let instance = Instance::start(&content(&[("a", &[&line])]), settings).await;
    let kickoff = seen_at(OURS, patient_level());
    instance.compare(std::slice::from_ref(&kickoff)).await.unwrap();
    let mut lines = instance.export(&kickoff).await.unwrap().lines.remove("DocumentReference").unwrap();
    let line = String::from_utf8(lines.remove(0)).unwrap();
    let (_, end) = line.split_once(r#""attachment":"#).unwrap();
    end.strip_suffix("}]}").unwrap().into()
}

#[tokio::test]
async fn o_4_k_11_the_url_of_a_binary_becomes_absolute_however_it_is_written() {
    for (url, id) in [
        ("Binary/b-1.2", "b-1.2"),
        ("Binary\\/b", "b"),
        ("\\u0042inary\\u002fb", "b"),
        ("Binary/b/_history/3", "b"),
        ("https://src.example.org/r4/Binary/b", "b"),
        ("https:\\/\\/src.example.org\\/r4\\/Binary\\/b\\/_history\\/1", "b"),
    ] {
        for around in [
            r#"{"contentType":"text/plain","url":URL}"#,
            r#"{ "url" : URL , "title" : "é" }"#,
            r#"{"u\u0072l":URL,"hash":"\\"}"#,
            r#"{"extension":[{"url":"x","valueAttachment":{"url":URL}}]}"#,
        ] {
            let attachment = around.replace("URL", &format!("\"{url}\""));
            let expected = around.replace("URL", &format!("\"{OURS}/Binary/{id}\""));
            assert_eq!(becomes(&attachment).await, expected, "{attachment}");
        }
    }
}

#[tokio::test]
async fn o_4_everything_else_passes_through_byte_for_byte() {
    for attachment in [
        r#"{"data":"QmluYXJ5L2I=","contentType":"text/plain"}"#,
        r#"{"url":"https://elsewhere.example.org/Binary/b"}"#,
        r#"{"url":"https://src.example.org/r4/Binary/b?x"}"#,
        r#"{"url":"Binary/"}"#,
        r#"{"url":"Binary/a b"}"#,
        r#"{"url":"Patient/p"}"#,
        r##"{"url":"#b"}"##,
        r#"{"title":"\"url\":\"Binary/b\""}"#,
        r#"{"title":"url","language":"Binary/b"}"#,
        r#"{"uri":"Binary/b", "x" : [ "url" ,"Binary/b" ] }"#,
        r#"{"url":["Binary/b"]}"#,
    ] {
        assert_eq!(becomes(attachment).await, attachment);
    }
}

#[tokio::test]
async fn o_4_attachments_of_all_types_and_of_contained_resources_are_changed() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p","photo":[{"url":"Binary/1"},{"url":"Binary/2"}]}"#.to_string(),
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"},"contained":[{"resourceType":"Media","content":{"url":"Binary/1"}}]}"#.into(),
        r#"{"resourceType":"Library","id":"l","content":[{"url":"Binary/1"}]}"#.into(),
        document("d", r#"{"url":"Binary/1"}"#),
        document("e", r#"{"data":"QQ=="}"#),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    for small in [false, true] {
        let files = content(&[("a", &lines)]);
        let instance = Instance::start(&files, Settings { small, ..Settings::default() }).await;
        let kickoff = seen_at(OURS, Kickoff::system());
        instance.compare(&[kickoff.clone(), seen_at(OURS, patient_level())]).await.unwrap();
        let export = instance.export(&kickoff).await.unwrap();
        let text = String::from_utf8(export.lines.values().flatten().flatten().copied().collect()).unwrap();
        assert_eq!(text.matches(&format!("\"{OURS}/Binary/")).count(), 5);
        assert_eq!(text.matches("\"Binary/").count(), 0);
        // A host that has no base URL gets what is there.
        let untouched = instance.export(&Kickoff::system()).await.unwrap();
        let text =
            String::from_utf8(untouched.lines.values().flatten().flatten().copied().collect()).unwrap();
        assert_eq!(text.matches("\"Binary/").count(), 5);
    }
}
