//! A page of the manual, taken apart: its blocks of code, its links, and what links can lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use pulldown_cmark::{BrokenLink, CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd};

/// The folder of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all pages, as paths from the project's folder.
pub fn names_of_pages() -> Vec<String> {
    let docs = std::fs::read_dir(project().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    let top = ["README.md", "SECURITY.md", "CHANGELOG.md"].map(String::from);
    let mut names: Vec<_> = docs.filter(|name| name.ends_with(".md")).chain(top).collect();
    names.sort();
    names
}

/// A Markdown page.
#[derive(Debug)]
pub struct ManualPage {
    /// Its path from the project's folder.
    pub name: String,
    pub blocks: Vec<CodeBlock>,
    /// Links and pictures.
    pub links: Vec<PageLink>,
    /// Labels of reference links that have no definition, with their lines.
    pub undefined: Vec<(usize, String)>,
    /// The anchors of the headings, as GitHub and rustdoc make them.
    pub anchors: BTreeSet<String>,
}

/// A link, or a picture.
#[derive(Debug)]
pub struct PageLink {
    pub line: usize,
    /// What it leads to.
    pub to: String,
    /// The label of a reference link.
    pub label: Option<String>,
}

/// A block of code.
#[derive(Debug)]
pub struct CodeBlock {
    /// The line on which its code begins, from 1.
    pub line: usize,
    /// The info string of its fence; `None` if it is indented.
    pub info: Option<String>,
    pub text: String,
}

impl PageLink {
    /// Whether it leads to another page of the manual.
    pub fn is_of_page(&self) -> bool {
        let path = self.to.split('#').next().unwrap_or_default();
        path.ends_with(".md") && !path.contains("://")
    }
}

impl ManualPage {
    pub fn read(name: &str) -> Self {
        Self::parse(name, &std::fs::read_to_string(project().join(name)).unwrap())
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        let mut undefined = Vec::new();
        let mut tell = |link: BrokenLink<'_>| -> Option<(CowStr<'_>, CowStr<'_>)> {
            undefined.push((line(link.span.start), link.reference.to_string()));
            None
        };
        let parser = Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(&mut tell));
        let (mut blocks, mut links, mut headings) = (Vec::<CodeBlock>::new(), Vec::new(), Vec::new());
        let (mut in_block, mut in_heading) = (false, false);
        for (event, Range { start, .. }) in parser.into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let (info, fence) = match kind {
                        CodeBlockKind::Fenced(info) => (Some(info.trim().to_string()), 1),
                        CodeBlockKind::Indented => (None, 0),
                    };
                    blocks.push(CodeBlock { line: line(start) + fence, info, text: String::new() });
                    in_block = true;
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Heading { .. }) => {
                    headings.push(String::new());
                    in_heading = true;
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Text(text) | Event::Code(text) => {
                    if in_block {
                        blocks.last_mut().unwrap().text.push_str(&text);
                    } else if in_heading {
                        headings.last_mut().unwrap().push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, id, .. } | Tag::Image { dest_url, id, .. }) => {
                    let label = (!id.is_empty()).then(|| id.to_string());
                    links.push(PageLink { line: line(start), to: dest_url.to_string(), label });
                }
                _ => {}
            }
        }
        Self { name: name.into(), blocks, links, undefined, anchors: anchors(&headings) }
    }

    /// Returns what is wrong with the links of this page.
    pub fn broken_links(&self, pages: &BTreeMap<&str, &ManualPage>) -> Vec<String> {
        let undefined =
            self.undefined.iter().map(|(line, label)| (line, format!("[{label}] is not defined")));
        let broken = self.links.iter().filter_map(|link| Some((&link.line, self.fault(&link.to, pages)?)));
        undefined.chain(broken).map(|(line, fault)| format!("{}:{line}: {fault}", self.name)).collect()
    }

    fn fault(&self, link: &str, pages: &BTreeMap<&str, &ManualPage>) -> Option<String> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
        let (target, anchors) = if path.is_empty() {
            (self.name.clone(), Some(&self.anchors))
        } else {
            let target = relative(Path::new(&self.name).parent().unwrap(), path);
            if !project().join(&target).exists() {
                return Some(format!("{link} leads nowhere"));
            }
            let anchors = pages.get(target.as_str()).map(|page| &page.anchors);
            (target, anchors)
        };
        let is_there = anchor.is_none_or(|anchor| anchors.is_some_and(|anchors| anchors.contains(anchor)));
        (!is_there).then(|| format!("{link}: {target} has no such heading"))
    }
}

/// Resolves a relative path in a folder of the project, without the file system.
fn relative(folder: &Path, path: &str) -> String {
    let mut resolved = PathBuf::from(folder);
    for step in path.split('/') {
        match step {
            "." | "" => {}
            ".." => assert!(resolved.pop(), "{path} leaves the project"),
            step => resolved.push(step),
        }
    }
    resolved.to_str().unwrap().into()
}

/// The anchors of headings: of the same ones, the later have a number.
fn anchors(headings: &[String]) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String =
            kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let numbered = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}
