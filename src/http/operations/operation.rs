//! What the table of routes says of an operation. The router, the names in logs and metrics,
//! the `Allow` of a 405, the CapabilityStatement and the OpenAPI document are all made of it.

use actix_web::Route;
use actix_web::http::Method;

use crate::config::ProtocolProfile;
use crate::fhir::CapabilityOffer;
use crate::http::caller::Access;

/// One URL.
pub struct Operation {
    /// Its name in logs and metrics, and the beginning of its ids in the OpenAPI document.
    pub name: &'static str,
    /// Its path from the root, with placeholders.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What the CapabilityStatement says of it.
    pub offer: Option<CapabilityOffer>,
    /// The methods that it takes, in the order of `Allow`.
    pub methods: &'static [Handled],
}

/// A method of a URL: what answers it, and what is said of that.
pub type Handled = (Method, fn() -> Route, &'static Description);

impl Operation {
    /// The methods that it takes under the rules of a profile: Soarian's kick-offs are by GET only.
    pub fn methods_under(&self, profile: ProtocolProfile) -> impl Iterator<Item = &'static Handled> + use<> {
        let is_kickoff = matches!(self.offer, Some(CapabilityOffer::Export(_)));
        let is_taken = move |(method, ..): &&Handled| {
            profile == ProtocolProfile::Standard || !is_kickoff || *method == Method::GET
        };
        self.methods.iter().filter(is_taken)
    }

    /// The value of `Allow`.
    pub fn allow(&self, profile: ProtocolProfile) -> String {
        self.methods_under(profile).map(|(method, ..)| method.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// What a client is told of a method of a URL.
pub struct Description {
    /// One sentence.
    pub summary: &'static str,
    /// What it takes beside its path.
    pub parameters: &'static [&'static [Parameter]],
    /// The body that it takes.
    pub body: Option<Content>,
    /// All that it answers; several with one status are told together.
    pub answers: &'static [&'static [Answer]],
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the query string.
    Query,
    /// A header field.
    Header,
}

/// A parameter of an operation.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it must be there.
    pub is_required: bool,
    /// Its values.
    pub values: Values,
    /// What it does.
    pub description: &'static str,
}

/// Which values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// Any text such as this one.
    Like(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number from 0 on.
    Number,
}

/// One answer.
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// When it comes.
    pub meaning: &'static str,
    /// What its body may be; nothing if it has none.
    pub content: &'static [Content],
    /// Header fields that it has beside those of every answer.
    pub fields: &'static [Field],
}

/// A body.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    /// Its media type.
    pub media_type: &'static str,
    /// Its schema among those of the OpenAPI document.
    pub schema: &'static str,
}

/// A header field of an answer, and what it says.
pub type Field = (&'static str, &'static str);
