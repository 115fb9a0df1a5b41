//! A writer of compact JSON into one reusable byte buffer: it sets the commas and the quotes, and
//! knows the few FHIR shapes that come back everywhere (a coded concept, a reference, a quantity).
//! Strings are not escaped: all of them come from this room's own tables, which hold nothing that
//! needs it, as a debug assertion checks. `RawJson` is for text that is escaped already.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::kind::RecordKind;
use super::vocabulary::ConceptCode;

/// Something that can be shown as text inside a JSON string, with no quotes of its own.
pub(super) trait JsonText {
    /// Appends the text to `out`.
    fn show(&self, out: &mut Vec<u8>);
}

impl JsonText for &str {
    fn show(&self, out: &mut Vec<u8>) {
        debug_assert!(
            !self.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\'),
            "{self:?} would need escaping"
        );
        out.extend_from_slice(self.as_bytes());
    }
}

/// Text that is JSON as it stands, or escaped for a JSON string.
#[derive(Clone, Copy)]
pub(super) struct RawJson<'a>(pub(super) &'a str);

impl JsonText for RawJson<'_> {
    fn show(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl JsonText for u64 {
    fn show(&self, out: &mut Vec<u8>) {
        show_padded(*self, 1, out);
    }
}

/// Two shown one after the other.
impl<A: JsonText, B: JsonText> JsonText for (A, B) {
    fn show(&self, out: &mut Vec<u8>) {
        self.0.show(out);
        self.1.show(out);
    }
}

/// Three shown one after the other.
impl<A: JsonText, B: JsonText, C: JsonText> JsonText for (A, B, C) {
    fn show(&self, out: &mut Vec<u8>) {
        self.0.show(out);
        self.1.show(out);
        self.2.show(out);
    }
}

/// A decimal number kept as an integer, so that its digits never depend on how floats are printed:
/// `ScaledNumber { value: 372, decimals: 1 }` is shown as `37.2`.
#[derive(Clone, Copy)]
pub(super) struct ScaledNumber {
    /// The number times ten to the power of `decimals`.
    pub(super) value: u64,
    /// How many digits stand after the point.
    pub(super) decimals: u32,
}

impl JsonText for ScaledNumber {
    fn show(&self, out: &mut Vec<u8>) {
        let unit = 10_u64.pow(self.decimals);
        (self.value / unit).show(out);
        if self.decimals > 0 {
            out.push(b'.');
            show_padded(self.value % unit, self.decimals as usize, out);
        }
    }
}

/// Appends `value` in decimal, with leading zeros up to `width` digits.
pub(super) fn show_padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 || digits.len() - start < width {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// JSON text being written. The caller opens and closes in the right order; closures see to that
/// nearly everywhere.
pub(super) struct JsonWriter {
    /// What has been written and not yet taken away.
    pub(super) bytes: Vec<u8>,
    /// Whether the next value is the first of its object or array, and so takes no comma. Kept apart
    /// from `bytes`, which may be emptied in the middle of a line.
    first: bool,
}

impl JsonWriter {
    /// An empty buffer; it grows once to its working size and is then reused.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), first: true }
    }

    /// Opens an object that is the next item of an array, or a line of its own.
    pub(super) fn open_item(&mut self) {
        self.comma();
        self.open(b'{');
    }

    /// Opens an array under `key`.
    pub(super) fn open_array(&mut self, key: &str) {
        self.key(key);
        self.open(b'[');
    }

    /// Closes the innermost array.
    pub(super) fn close_array(&mut self) {
        self.close(b']');
    }

    /// Closes the innermost object.
    pub(super) fn close_item(&mut self) {
        self.close(b'}');
    }

    /// Ends the line after the object that is on it.
    pub(super) fn end_line(&mut self) {
        self.bytes.push(b'\n');
        self.first = true;
    }

    /// `"key":"value"`
    pub(super) fn text(&mut self, key: &str, value: impl JsonText) {
        self.key(key);
        self.quoted(value);
    }

    /// `"key":value`, for numbers.
    pub(super) fn number(&mut self, key: &str, value: impl JsonText) {
        self.key(key);
        value.show(&mut self.bytes);
    }

    /// `"key":true`. No element of the set is ever false.
    pub(super) fn set(&mut self, key: &str) {
        self.key(key);
        self.bytes.extend_from_slice(b"true");
    }

    /// `"key":"..."` with `data` in base64 (RFC 4648, padded).
    pub(super) fn base64(&mut self, key: &str, data: &[u8]) {
        self.text(key, &*STANDARD.encode(data));
    }

    /// `"key":{...}`
    pub(super) fn object(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.key(key);
        self.open(b'{');
        body(self);
        self.close(b'}');
    }

    /// `"key":[...]`
    pub(super) fn array(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.open_array(key);
        body(self);
        self.close_array();
    }

    /// `"key":[{...}]`, the array of one that FHIR asks for so often.
    pub(super) fn only(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.array(key, |json| json.item(body));
    }

    /// `{...}` as an item of an array.
    pub(super) fn item(&mut self, body: impl FnOnce(&mut Self)) {
        self.open_item();
        body(self);
        self.close_item();
    }

    /// `"value"` as an item of an array.
    pub(super) fn word(&mut self, value: impl JsonText) {
        self.comma();
        self.quoted(value);
    }

    /// A CodeableConcept under `key`.
    pub(super) fn concept(&mut self, key: &str, code: ConceptCode) {
        self.object(key, |json| json.only("coding", |json| json.coding_body(code)));
    }

    /// An array of one CodeableConcept under `key`.
    pub(super) fn concepts(&mut self, key: &str, code: ConceptCode) {
        self.only(key, |json| json.only("coding", |json| json.coding_body(code)));
    }

    /// A Coding under `key`.
    pub(super) fn coding(&mut self, key: &str, code: ConceptCode) {
        self.object(key, |json| json.coding_body(code));
    }

    /// A Reference to another resource of the set under `key`.
    pub(super) fn link(&mut self, key: &str, kind: RecordKind, id: impl JsonText) {
        self.object(key, |json| json.text("reference", (kind.name(), "/", id)));
    }

    /// A Reference to another resource of the set as an item of an array.
    pub(super) fn link_item(&mut self, kind: RecordKind, id: impl JsonText) {
        self.item(|json| json.text("reference", (kind.name(), "/", id)));
    }

    /// A Quantity in a UCUM unit under `key`.
    pub(super) fn quantity(&mut self, key: &str, value: ScaledNumber, unit: &str) {
        self.object(key, |json| {
            json.number("value", value);
            json.text("unit", unit);
            json.text("system", "http://unitsofmeasure.org");
            json.text("code", unit);
        });
    }

    fn coding_body(&mut self, code: ConceptCode) {
        self.text("system", code.system);
        self.text("code", code.code);
        self.text("display", code.display);
    }

    fn quoted(&mut self, value: impl JsonText) {
        self.bytes.push(b'"');
        value.show(&mut self.bytes);
        self.bytes.push(b'"');
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.quoted(key);
        self.bytes.push(b':');
    }

    fn comma(&mut self) {
        if !self.first {
            self.bytes.push(b',');
        }
        self.first = false;
    }

    fn open(&mut self, bracket: u8) {
        self.bytes.push(bracket);
        self.first = true;
    }

    fn close(&mut self, bracket: u8) {
        self.bytes.push(bracket);
        self.first = false;
    }
}
