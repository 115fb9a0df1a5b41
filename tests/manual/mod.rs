//! The manual is true: every command of every page works, every block of code says what it is, and every
//! link leads somewhere. `docs/testing.md` says how pages are written for it.

mod messages;
mod page;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use page::{ManualPage, names_of_pages, project};
use run::BlockUse;

use crate::support::{Need, skip};

/// Pages that are run at the same time.
const AT_ONCE: usize = 4;

fn pages() -> Vec<ManualPage> {
    names_of_pages().iter().map(|name| ManualPage::read(name)).collect()
}

/// Whether there is what pages take beside the program; skips the test if not.
fn has_curl(what: &str) -> bool {
    let tried = std::process::Command::new("curl").arg("--version").output();
    let has_curl = tried.is_ok_and(|output| output.status.success());
    if !has_curl {
        skip(Need::Curl, what, "it does not start");
    }
    has_curl
}

/// `EVANESCE_PAGE=docs/quick-start.md` runs one page.
#[test]
fn every_command_of_every_page_works() {
    if !has_curl("the commands of the manual") {
        return;
    }
    let only = std::env::var("EVANESCE_PAGE").ok();
    let pages: Vec<_> =
        pages().into_iter().filter(|page| only.as_ref().is_none_or(|name| *name == page.name)).collect();
    assert!(!pages.is_empty(), "there is no page {only:?}");
    let waiting = Mutex::new(pages.iter());
    let (failures, skipped) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::<_, BTreeMap<_, _>>::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || waiting.lock().unwrap().next();
                while let Some(page) = next() {
                    match run::run(page) {
                        Ok(reasons) if reasons.is_empty() => {}
                        Ok(reasons) => drop(skipped.lock().unwrap().insert(&page.name, reasons)),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    println!("blocks that were not run: {:#?}", skipped.into_inner().unwrap());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_wrong_command_fails_its_page_and_is_told_by_its_line() {
    if !has_curl("a page of the manual") {
        return;
    }
    let failure = |text: &str| run::run(&ManualPage::parse("docs/wrong.md", text)).unwrap_err();
    let wrong = failure("# Wrong\n\n```sh\ntrue\nevanesce stauts\n```\n");
    assert!(wrong.contains("docs/wrong.md:5: this command failed") && wrong.contains("stauts"), "{wrong}");
    let wrong = failure("```sh\ncat nothing | wc\n```\n");
    assert!(wrong.contains("docs/wrong.md:2: this command failed"), "{wrong}");
    let wrong = failure("```sh\necho $nobody\n```\n");
    assert!(wrong.contains("docs/wrong.md: line 2: nobody: unbound"), "{wrong}");
    let wrong = failure("```sh background\nevanesce serve --auth none --source nowhere\n```\n");
    assert!(wrong.contains("docs/wrong.md: it ended before it was ready"), "{wrong}");
    let wrong = failure("```sh skip=boring\nfalse\n```\n");
    assert!(wrong.contains("docs/wrong.md:2: skip=boring"), "{wrong}");
    let page = "```sh background\nevanesce serve --auth none\n```\n
```sh\ncurl -fs http://127.0.0.1:8080/healthz\nname=me\n```\n
```sh stopped\ntest \"$name\" = me\n! curl -fs http://127.0.0.1:8080/healthz\nevanesce fsck\n```\n
```sh skip=root\nfalse\n```\n";
    let skipped = run::run(&ManualPage::parse("docs/right.md", page)).unwrap();
    assert_eq!(skipped, BTreeMap::from([("root".to_string(), 1)]));
}

#[test]
fn every_block_of_code_says_what_it_is() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let fault = match block.usage() {
                Err(fault) => Some(fault),
                Ok(BlockUse::Run | BlockUse::RunStopped | BlockUse::Background)
                    if block.text.contains("/tmp/") =>
                {
                    Some("it is run in a folder of its own, and leaves it".into())
                }
                Ok(_) => None,
            };
            wrong.extend(fault.map(|fault| format!("{}:{}: {fault}", page.name, block.line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_and_every_anchor_leads_somewhere() {
    let pages = pages();
    let by_name: BTreeMap<_, _> = pages.iter().map(|page| (page.name.as_str(), page)).collect();
    let broken: Vec<_> = pages.iter().flat_map(|page| page.broken_links(&by_name)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let page =
        ManualPage::parse("docs/a.md", "# A\n[b](b.md) [c](#c) [d][] [a](#a) [e](protocol.md#nothing)");
    assert_eq!(
        page.broken_links(&by_name),
        [
            "docs/a.md:2: [d] is not defined",
            "docs/a.md:2: b.md leads nowhere",
            "docs/a.md:2: #c: docs/a.md has no such heading",
            "docs/a.md:2: protocol.md#nothing: docs/protocol.md has no such heading"
        ]
    );
}

#[test]
fn the_first_page_is_short_and_leads_to_all_others() {
    let text = std::fs::read_to_string(project().join("README.md")).unwrap();
    assert!(text.len() <= 8000, "README.md has {} bytes", text.len());
    let linked: BTreeSet<_> = ManualPage::read("README.md").links.into_iter().map(|link| link.to).collect();
    let missing: Vec<_> =
        names_of_pages().into_iter().filter(|name| name != "README.md" && !linked.contains(name)).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}

/// rustdoc shows the pages as `evanesce::guide`, where a link leads to what `links.md` says of its label.
#[test]
fn the_guide_of_the_crate_has_every_page_and_a_place_for_every_link() {
    let guide = include_str!("../../src/guide/mod.rs");
    let labels = include_str!("../../src/guide/links.md");
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| page.name != "README.md") {
        if !guide.contains(&format!("\"{}\"", page.name)) {
            wrong.push(format!("src/guide/mod.rs does not have {}", page.name));
        }
        for link in page.links.iter().filter(|link| link.is_of_page()) {
            let place = format!("{}:{}", page.name, link.line);
            match &link.label {
                Some(label) if labels.contains(&format!("[{label}]: crate")) => {}
                Some(label) => wrong.push(format!("{place}: [{label}] has no line in src/guide/links.md")),
                None => wrong.push(format!("{place}: {} should be a reference link", link.to)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// rustdoc copies no files, so the guide has the pictures as data.
#[test]
fn the_guide_of_the_crate_has_every_picture_of_its_pages() {
    use base64::Engine as _;
    let pages = pages();
    let links = pages.iter().filter(|page| page.name != "README.md").flat_map(|page| &page.links);
    let pictures: BTreeMap<_, _> =
        links.filter(|link| link.to.starts_with("images/")).map(|link| (&link.label, &link.to)).collect();
    let line = |(label, path): (&Option<String>, &String)| {
        let label = label.as_ref().unwrap_or_else(|| panic!("{path} should be a reference"));
        let picture = std::fs::read(project().join("docs").join(path)).unwrap();
        let data = base64::engine::general_purpose::STANDARD.encode(picture);
        format!("[{label}]: data:image/png;base64,{data}\n")
    };
    assert_eq!(pictures.len(), 3);
    let made: String = pictures.into_iter().map(line).collect();
    let is_current = include_str!("../../src/guide/pictures.md") == made;
    assert!(
        is_current,
        "src/guide/pictures.md is stale; a line of it is made by \
         `echo \"[LABEL]: data:image/png;base64,$(base64 -w0 docs/images/LABEL.png)\"`, in the order of the labels"
    );
}
