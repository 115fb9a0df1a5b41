//! Reads files of blocks, and holds them against the rules of blocks on the way (O-3).

use evanesce::job::{OrganizeBy, OutputFile};

use super::*;

const HEADER: &[u8] =
    br#"{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":"#;

/// See the module.
pub struct Reader {
    sizes: Sizes,
    read: Organized,
    /// The file that the last block goes on in, whose it is, and its bytes so far.
    continues_in: Option<(String, String, u64)>,
}

impl Reader {
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, read: Organized::default(), continues_in: None }
    }

    /// Reads the next file of the manifest.
    pub fn file(&mut self, file: &OutputFile, content: &[u8]) {
        let text = content.strip_suffix(b"\n").expect("a file ends with a line feed, and is not empty");
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        assert_eq!((file.count, file.bytes), (lines.len() as u64, content.len() as u64));
        if file.is_error() {
            assert_eq!((file.organized_by, &file.continues_in), (None, &None));
            return lines.iter().for_each(|line| self.outcome(line));
        }
        if file.is_deleted() {
            assert_eq!((file.organized_by, &file.continues_in), (None, &None));
            self.read.deleted.extend(lines.iter().flat_map(|line| deletions(line)));
            return self.read.deleted.sort();
        }
        assert!(file.name.ends_with("_Patient.ndjson"), "{}", file.name);
        assert_eq!(file.organized_by, Some(OrganizeBy::Patient));
        assert!(content.len() as u64 <= self.sizes.file || lines.len() == 2, "{} bytes", content.len());
        let mut blocks: Vec<(String, Vec<&[u8]>)> = Vec::new();
        for line in lines {
            match header(line) {
                Some(patient) => blocks.push((patient, Vec::new())),
                None => blocks.last_mut().expect("a file begins with a header").1.push(line),
            }
        }
        let last = blocks.last().unwrap().0.clone();
        for (n, (patient, lines)) in blocks.into_iter().enumerate() {
            assert!(!lines.is_empty(), "a header without a resource: {patient}");
            let bytes = lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
            let header_bytes =
                HEADER.len() as u64 + serde_json::to_string(&patient).unwrap().len() as u64 + 13;
            let before = match self.continues_in.take() {
                Some((name, owner, before)) => {
                    assert_eq!((n, &name, &owner), (0, &file.name, &patient));
                    assert!(before + bytes > self.sizes.file, "it was split in vain");
                    before
                }
                None => {
                    let fresh = self.read.blocks.insert(patient.clone(), Vec::new());
                    assert_eq!(fresh, None, "a second block of {patient}");
                    header_bytes
                }
            };
            let block = self.read.blocks.get_mut(&patient).unwrap();
            block.extend(lines.iter().map(|line| line.to_vec()));
            if let Some(next) = file.continues_in.as_ref().filter(|_| patient == last) {
                self.continues_in = Some((next.clone(), patient, before + bytes));
            }
        }
    }

    /// What was read.
    pub fn end(self) -> Organized {
        assert_eq!(self.continues_in, None);
        self.read
    }

    fn outcome(&mut self, line: &[u8]) {
        let json: Value = serde_json::from_slice(line).unwrap();
        let text = json["issue"][0]["details"]["text"].as_str().unwrap();
        match text
            .split_once(" resources were left out: they belong to no patient, or to more than 100 patients")
        {
            Some((count, _)) => {
                assert_eq!(json["issue"][0]["severity"], "information");
                assert_eq!(std::mem::replace(&mut self.read.left_out, count.parse().unwrap()), 0);
            }
            None => self.read.broken += broken_lines(line),
        }
    }
}

/// The id in a header, if the line is one.
fn header(line: &[u8]) -> Option<String> {
    let reference = line.strip_prefix(HEADER)?.strip_suffix(b"}}]}").unwrap();
    let reference: String = serde_json::from_slice(reference).unwrap();
    Some(reference.strip_prefix("Patient/").unwrap().to_string())
}
