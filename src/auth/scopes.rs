//! Scopes of version 1 and 2 (REQUIREMENTS section 9.5): `system/Patient.read`, `system/*.rs`,
//! `system/Observation.rs?category=laboratory`. Parsing is strict, so nothing is granted by a
//! misreading. A restriction that cannot be enforced is refused (SCP-2).

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::fhir::search::TypeFilter;
use crate::fhir::{ResourceType, quoted};

/// The scopes of a token, or those registered for an application, in their written order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scope {
    /// The resource type; `None` is any type.
    resource_type: Option<ResourceType>,
    permissions: Permissions,
    /// The search restriction behind the `?`, which [`TypeFilter`] understands.
    restriction: Option<String>,
    version: ScopeVersion,
}

/// The most scopes in one list (P13): R4 has 148 types. An intersection of two lists has no more.
const MOST: usize = 200;

/// Largest list in bytes.
const MOST_BYTES: usize = 16 << 10;

/// How a scope is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ScopeVersion {
    V1,
    V2,
}

/// The permissions that this server has operations for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Permissions {
    read: bool,
    search: bool,
}

/// The permission that an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// `r`: reads a resource by its id.
    Read,
    /// `s`: searches.
    Search,
    /// Both, as an export needs them (SCP-2).
    Export,
}

/// How much of a type the scopes allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeCoverage {
    /// Nothing.
    None,
    /// Resources that match one of these searches, such as `category=laboratory`.
    Restricted(Vec<String>),
    /// All resources of the type.
    All,
}

/// Why a text is not a list of scopes, for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScopeError(String);

/// The permissions in their order (version 2).
const CRUDS: &str = "cruds";

impl Permissions {
    const NONE: Self = Self { read: false, search: false };
    const EXPORT: Self = Self { read: true, search: true };

    fn parse(text: &str) -> Option<(Self, ScopeVersion)> {
        match text {
            "read" | "*" => return Some((Self::EXPORT, ScopeVersion::V1)),
            "write" => return Some((Self::NONE, ScopeVersion::V1)),
            _ => {}
        }
        let mut order = CRUDS.chars();
        let in_order = !text.is_empty() && text.chars().all(|letter| order.any(|known| known == letter));
        in_order.then(|| (Self { read: text.contains('r'), search: text.contains('s') }, ScopeVersion::V2))
    }

    fn both(self, other: Self) -> Self {
        Self { read: self.read && other.read, search: self.search && other.search }
    }

    fn allow(self, permission: Permission) -> bool {
        match permission {
            Permission::Read => self.read,
            Permission::Search => self.search,
            Permission::Export => self.read && self.search,
        }
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, ScopeError> {
        let refuse = |reason: &str| {
            let example = "scopes are such as system/Patient.read, system/*.rs";
            ScopeError(format!("{} {reason}; {example}", quoted(text)))
        };
        let rest = text.strip_prefix("system/").ok_or_else(|| refuse("does not begin with system/"))?;
        let (rest, restriction) = match rest.split_once('?') {
            Some((rest, restriction)) => (rest, Some(restriction.to_owned())),
            None => (rest, None),
        };
        let (name, actions) = rest.split_once('.').ok_or_else(|| refuse("has no permissions"))?;
        let resource_type = match name {
            "*" => None,
            _ => Some(ResourceType::of(name).ok_or_else(|| refuse("is of no resource type of FHIR R4"))?),
        };
        let (permissions, version) =
            Permissions::parse(actions).ok_or_else(|| refuse("has permissions that there are not"))?;
        if let Some(restriction) = &restriction {
            if resource_type.is_none() || version == ScopeVersion::V1 {
                return Err(refuse("has a restriction, which only one type in version 2 can have"));
            }
            TypeFilter::parse(&format!("{name}?{restriction}"))
                .map_err(|error| refuse(&format!("has a restriction that cannot be enforced: {error}")))?;
        }
        Ok(Self { resource_type, permissions, restriction, version })
    }

    /// Returns what both scopes allow, in the style of `self` if possible, or `None`.
    fn both(&self, other: &Self) -> Option<Self> {
        let resource_type = match (self.resource_type, other.resource_type) {
            (Some(ours), Some(theirs)) if ours != theirs => return None,
            (ours, theirs) => ours.or(theirs),
        };
        let permissions = self.permissions.both(other.permissions);
        if permissions == Permissions::NONE {
            return None;
        }
        let restriction = match (&self.restriction, &other.restriction) {
            (Some(ours), Some(theirs)) => Some(all_of(ours, theirs)),
            (ours, theirs) => ours.clone().or_else(|| theirs.clone()),
        };
        let is_v1 =
            self.version == ScopeVersion::V1 && restriction.is_none() && permissions == Permissions::EXPORT;
        let version = if is_v1 { ScopeVersion::V1 } else { ScopeVersion::V2 };
        Some(Self { resource_type, permissions, restriction, version })
    }

    fn is_of(&self, resource_type: ResourceType) -> bool {
        self.resource_type.is_none_or(|ours| ours == resource_type)
    }
}

/// Returns the search that combines both searches.
fn all_of(ours: &str, theirs: &str) -> String {
    let mut criteria: Vec<&str> = ours.split('&').collect();
    for criterion in theirs.split('&') {
        if !criteria.contains(&criterion) {
            criteria.push(criterion);
        }
    }
    criteria.join("&")
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.resource_type.map_or("*", ResourceType::as_str);
        let permissions = match (self.version, self.permissions) {
            (ScopeVersion::V1, _) => "read",
            (ScopeVersion::V2, Permissions { read: true, search: true }) => "rs",
            (ScopeVersion::V2, Permissions { read: true, search: false }) => "r",
            (ScopeVersion::V2, Permissions { search, .. }) => {
                if search {
                    "s"
                } else {
                    ""
                }
            }
        };
        write!(f, "system/{name}.{permissions}")?;
        self.restriction.as_ref().map_or(Ok(()), |restriction| write!(f, "?{restriction}"))
    }
}

impl Scopes {
    /// Returns all scopes without restrictions.
    pub fn everything() -> Self {
        let (permissions, version) = (Permissions::EXPORT, ScopeVersion::V2);
        Self(vec![Scope { resource_type: None, permissions, restriction: None, version }])
    }

    /// Returns the number of scopes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|scope| scope.permissions == Permissions::NONE)
    }

    /// Returns the intersection with `registered` (SCP-1), written as in `self`. It never allows
    /// more than either list, and never grants a permission to write.
    pub fn within(&self, registered: &Self) -> Self {
        let (mut granted, mut known) = (Vec::new(), HashSet::new());
        for asked in &self.0 {
            for scope in registered.0.iter().filter_map(|ours| asked.both(ours)) {
                if known.insert(scope.clone()) {
                    granted.push(scope);
                }
            }
        }
        Self(granted)
    }

    /// Returns whether the list is too long for a token, which could not be parsed again.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > MOST || self.to_string().len() > MOST_BYTES
    }

    /// Returns how much of a type may be read, searched or exported.
    pub fn coverage(&self, resource_type: ResourceType, permission: Permission) -> ScopeCoverage {
        let mut restrictions = Vec::new();
        for scope in self.0.iter().filter(|scope| scope.is_of(resource_type)) {
            if scope.permissions.allow(permission) {
                match &scope.restriction {
                    None => return ScopeCoverage::All,
                    Some(restriction) => restrictions.push(restriction.clone()),
                }
            }
        }
        if restrictions.is_empty() { ScopeCoverage::None } else { ScopeCoverage::Restricted(restrictions) }
    }

    /// Returns whether all types may be exported without restrictions.
    pub fn cover_everything(&self) -> bool {
        let whole = |scope: &Scope| scope.resource_type.is_none() && scope.permissions == Permissions::EXPORT;
        self.0.iter().any(whole)
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// Parses scopes that are separated by spaces. One bad scope makes the whole list an error.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.len() > MOST_BYTES || text.split_ascii_whitespace().nth(MOST).is_some() {
            return Err(ScopeError(format!(
                "There may be {MOST} scopes, and {MOST_BYTES} bytes of them; system/*.rs is all types at once"
            )));
        }
        let scopes: Result<Vec<_>, _> = text.split_ascii_whitespace().map(Scope::parse).collect();
        Ok(Self(scopes?))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&scopes.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_no_scope_of_a_backend_service_is_refused() {
        for bad in [
            "launch fhirUser",
            "openid",
            "patient/Patient.read",
            "user/*.rs",
            "system/Patient",
            "system/Patient.",
            "system/Patient.sr",
            "system/Patient.rr",
            "system/Patient.read.write",
            "system/Patient.Read",
            "system/Nonsense.read",
            "system/patient.read",
            "system/.read",
            "SYSTEM/*.read",
            "system/*.rs?category=laboratory",
            "system/Observation.read?category=laboratory",
            "system/Observation.rs?",
            "system/Observation.rs?nonsense=1",
            "system/Observation.rs?patient.name=x",
            "system/*.rs system/*.x",
        ] {
            assert!(bad.parse::<Scopes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn p13_so_many_scopes_are_read_and_no_more() {
        let many = |n: usize| vec!["system/Patient.rs"; n].join(" ").parse::<Scopes>();
        assert_eq!(many(MOST).unwrap().len(), MOST);
        assert!(many(MOST + 1).unwrap_err().to_string().contains("200 scopes"));
        let long = |bytes: usize| {
            let frame = "system/Patient.rs?name=".len();
            format!("system/Patient.rs?name={}", "x".repeat(bytes - frame)).parse::<Scopes>()
        };
        assert!(long(MOST_BYTES).is_ok() && long(MOST_BYTES + 1).is_err());
        // Restrictions of both multiply.
        let restricted = |code: &str| {
            let scopes = (0..MOST).map(|n| format!("system/Patient.rs?{code}={n}")).collect::<Vec<_>>();
            scopes.join(" ").parse::<Scopes>().unwrap()
        };
        let both = restricted("_id").within(&restricted("name"));
        assert_eq!(both.len(), MOST * MOST);
        assert!(both.is_too_long() && !restricted("_id").is_too_long());
    }

    #[test]
    fn scp_1_what_is_granted_is_within_what_is_registered_and_never_to_write() {
        let cases = [
            ("system/*.read", "system/*.rs", "system/*.read"),
            ("system/*.*", "system/*.rs", "system/*.read"),
            ("system/*.cruds", "system/*.cruds", "system/*.rs"),
            ("system/*.write", "system/*.cruds", ""),
            ("system/Patient.cud", "system/*.cruds", ""),
            ("system/*.r", "system/*.rs", "system/*.r"),
            ("system/*.rs", "system/Patient.r", "system/Patient.r"),
            ("system/*.read", "system/Patient.s", "system/Patient.s"),
            ("system/*.read", "system/Patient.read system/Group.rs", "system/Patient.read system/Group.read"),
            ("system/Patient.read system/Group.rs", "system/*.rs", "system/Patient.read system/Group.rs"),
            ("system/Patient.rs", "system/Group.rs", ""),
            (
                "system/*.rs",
                "system/Observation.rs?category=laboratory",
                "system/Observation.rs?category=laboratory",
            ),
            (
                "system/Observation.read",
                "system/Observation.rs?category=laboratory",
                "system/Observation.rs?category=laboratory",
            ),
            (
                "system/Observation.rs?status=final",
                "system/Observation.rs?category=laboratory",
                "system/Observation.rs?status=final&category=laboratory",
            ),
            ("system/Patient.rs system/Patient.rs", "system/*.rs", "system/Patient.rs"),
            ("", "system/*.rs", ""),
        ];
        for (asked, registered, granted) in cases {
            let within = scopes(asked).within(&scopes(registered));
            assert_eq!(within.to_string(), granted, "{asked} of {registered}");
            assert_eq!(within.is_empty(), granted.is_empty(), "{asked} of {registered}");
            assert_eq!(scopes(&within.to_string()).to_string(), granted, "it can be read again");
            assert_eq!(within.within(&scopes(registered)), within, "nothing changes if it is granted again");
        }
    }

    #[test]
    fn scp_2_an_export_needs_read_and_search_in_one_scope() {
        let export = |text: &str, name: &str| {
            scopes(text).coverage(ResourceType::of(name).unwrap(), Permission::Export)
        };
        assert_eq!(export("system/*.rs", "Patient"), ScopeCoverage::All);
        assert_eq!(export("system/Patient.read", "Patient"), ScopeCoverage::All);
        assert_eq!(export("system/Patient.r system/Patient.s", "Patient"), ScopeCoverage::None);
        assert_eq!(export("system/Patient.rs", "Observation"), ScopeCoverage::None);
        let restricted = "system/Observation.rs?category=laboratory system/Observation.rs?status=final";
        assert_eq!(
            export(restricted, "Observation"),
            ScopeCoverage::Restricted(vec!["category=laboratory".into(), "status=final".into()])
        );
        assert_eq!(export(&format!("{restricted} system/*.rs"), "Observation"), ScopeCoverage::All);
        let group = ResourceType::GROUP;
        assert_eq!(scopes("system/Group.r").coverage(group, Permission::Read), ScopeCoverage::All);
        assert_eq!(scopes("system/Group.r").coverage(group, Permission::Search), ScopeCoverage::None);
        assert!(scopes("system/Patient.rs system/*.read").cover_everything());
        for less in ["system/*.r", "system/Patient.rs", ""] {
            assert!(!scopes(less).cover_everything(), "{less}");
        }
        assert!(Scopes::everything().cover_everything());
    }
}
