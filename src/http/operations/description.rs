//! The form of what the OpenAPI document says of an operation: parameters, bodies and answers.

/// What is said of an operation.
pub struct OperationDescription {
    /// One sentence.
    pub summary: &'static str,
    /// The parameters beside those of its path.
    pub parameters: &'static [&'static [OperationParameter]],
    /// The body that it takes.
    pub body: Option<BodyContent>,
    /// All answers; those that share a status are described together.
    pub answers: &'static [&'static [DocumentedAnswer]],
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterPlace {
    /// In the query string.
    Query,
    /// In a header field.
    Header,
}

/// A parameter of an operation.
pub struct OperationParameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: ParameterPlace,
    /// Whether it must be there.
    pub is_required: bool,
    /// Its values.
    pub values: ParameterValues,
    /// What it does.
    pub description: &'static str,
}

/// The values of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum ParameterValues {
    /// A text such as this one.
    Like(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number from 0 on.
    Number,
}

/// An answer.
pub struct DocumentedAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// When it comes.
    pub meaning: &'static str,
    /// What its body may be; empty if it has none.
    pub content: &'static [BodyContent],
    /// Its header fields beside those of every answer.
    pub headers: &'static [AnswerHeader],
}

/// A header field of an answer, and what it says.
pub type AnswerHeader = (&'static str, &'static str);

/// The content of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyContent {
    /// Its media type.
    pub media_type: &'static str,
    /// The name of its schema in the OpenAPI document.
    pub schema: &'static str,
}

/// Returns a body of this media type and schema.
pub const fn content(media_type: &'static str, schema: &'static str) -> BodyContent {
    BodyContent { media_type, schema }
}

/// Returns the forms of a resource: FHIR's media type, and plain JSON.
pub const fn resource(schema: &'static str) -> [BodyContent; 2] {
    [content("application/fhir+json", schema), content("application/json", schema)]
}

/// Returns an answer with this content.
pub const fn answer(status: u16, meaning: &'static str, content: &'static [BodyContent]) -> DocumentedAnswer {
    DocumentedAnswer { status, meaning, content, headers: &[] }
}

/// Returns an answer that is an OperationOutcome.
pub const fn refusal(status: u16, meaning: &'static str) -> DocumentedAnswer {
    answer(status, meaning, super::common::OUTCOME)
}

impl DocumentedAnswer {
    /// Returns the answer with these header fields.
    pub const fn with(self, headers: &'static [AnswerHeader]) -> Self {
        Self { headers, ..self }
    }
}

impl OperationParameter {
    /// Returns an optional parameter of the query string. The text `example` is one of its values.
    pub const fn query(name: &'static str, example: &'static str, description: &'static str) -> Self {
        let (place, values) = (ParameterPlace::Query, ParameterValues::Like(example));
        Self { name, place, is_required: false, values, description }
    }

    /// Returns an optional header field. The text `example` is one of its values.
    pub const fn header(name: &'static str, example: &'static str, description: &'static str) -> Self {
        Self { place: ParameterPlace::Header, ..Self::query(name, example, description) }
    }

    /// Returns the parameter with exactly these values.
    pub const fn one_of(self, values: &'static [&'static str]) -> Self {
        Self { values: ParameterValues::OneOf(values), ..self }
    }

    /// Returns the parameter with whole numbers as values.
    pub const fn number(self) -> Self {
        Self { values: ParameterValues::Number, ..self }
    }

    /// Returns the parameter, which must be there.
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }
}
