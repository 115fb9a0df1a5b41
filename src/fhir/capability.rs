//! The CapabilityStatement: what this server supports, and no more (CP-2).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::level::Level;
use super::resource_type::ResourceType;
use super::search;
use super::{EXPORT_OPERATIONS, ExportOperation, ExportParameter};

/// The base of the Bulk Data IG's artefacts.
pub const BULK: &str = "http://hl7.org/fhir/uv/bulkdata";

/// What a URL supports, in terms of FHIR.
#[derive(Debug, PartialEq, Eq)]
pub enum CapabilityOffer {
    /// An export operation.
    Export(&'static ExportOperation),
    /// An interaction with a resource type: the type, the interaction's code, and the search
    /// parameters with their types.
    Interaction(&'static str, &'static str, &'static [(&'static str, &'static str)]),
}

/// Whether resources of a type are exported at a level.
type IsExported = dyn Fn(ResourceType, &Level) -> bool;

/// The configuration as far as the statement describes it (CP-6).
pub struct CapabilityProfile {
    /// The parameters of kick-offs.
    pub parameters: Vec<&'static ExportParameter>,
    /// The approximate size in bytes at which the next file of a type begins.
    pub max_file_bytes: u64,
    /// Whether resources of a type are exported at a level at all.
    pub is_exported: Box<IsExported>,
    /// Which reference resources are exported with patients.
    pub references: &'static str,
    /// Which Devices are, as a sentence.
    pub devices: &'static str,
    /// The token endpoint; `None` without authentication.
    pub token_url: Option<String>,
}

/// Returns the statement of the server at `base` (`{public url}/r4/{tenant}`), dated `since`, the
/// start of this process (CP-1 to CP-6).
pub fn capability_statement(
    base: &str,
    since: Timestamp,
    offers: &[&CapabilityOffer],
    profile: &CapabilityProfile,
) -> Value {
    let has_filters = profile.parameters.iter().any(|parameter| parameter.name == "_typeFilter");
    let of_system = offers.iter().filter_map(|offer| match offer {
        CapabilityOffer::Export(export) if export.resource.is_none() => Some(operation("export", export)),
        _ => None,
    });
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": super::seconds(since),
        "kind": "instance",
        "instantiates": [format!("{BULK}/CapabilityStatement/bulk-data")],
        "software": {"name": "Evanesce", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "FHIR Bulk Data export", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "implementationGuide": [format!("{BULK}/ImplementationGuide/hl7.fhir.uv.bulkdata")],
        "rest": [{
            "mode": "server",
            "documentation": documentation(profile),
            "security": security(profile.token_url.as_deref()),
            "resource": ResourceType::all().filter_map(|t| resource(t, offers, &*profile.is_exported, has_filters)).collect::<Vec<_>>(),
            "operation": of_system.collect::<Vec<_>>(),
        }]
    })
}

/// Returns the description of exports (CP-6).
fn documentation(profile: &CapabilityProfile) -> String {
    let parameters: Vec<_> = profile.parameters.iter().map(|parameter| parameter.name).collect();
    format!(
        "Exports of everything, of all patients, or of the patients of a Group, with the parameters {}. \
         Files are NDJSON (application/fhir+ndjson); of a type with more than about {} bytes there are \
         several. Patient and Group exports hold what is in the compartments of the patients, and \
         reference resources such as Organization and Practitioner: {}. {} With _since, patients who became \
         members of a Group after it come with what has changed since, not with what is older. \
         The polling location answers the status, then the manifest; DELETE there cancels the export or \
         erases its files.",
        parameters.join(", "),
        profile.max_file_bytes,
        profile.references,
        profile.devices,
    )
}

/// Describes how clients authorize. Clients still look for the deprecated extension `oauth-uris`
/// (CP-4).
fn security(token_url: Option<&str>) -> Value {
    let Some(token_url) = token_url else {
        return json!({"description": "No authentication: all requests are those of one built-in client."});
    };
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{"url": "token", "valueUri": token_url}],
        }],
        "service": [{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }],
        }],
        "description": "SMART Backend Services: an access token for a signed assertion (private_key_jwt).",
    })
}

/// Returns an operation under a name, with the definition of the IG.
fn operation(name: &str, export: &ExportOperation) -> Value {
    json!({"name": name, "definition": export.canonical()})
}

/// Describes what is supported for a type; `None` if nothing is. Operations have both names that
/// clients look for (section 15). The search parameters are those of the search, or else those of
/// `_typeFilter` (CP-3).
fn resource(
    resource_type: ResourceType,
    offers: &[&CapabilityOffer],
    is_exported: &IsExported,
    has_filters: bool,
) -> Option<Value> {
    let name = resource_type.as_str();
    let (mut operations, mut interactions, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
    for offer in offers {
        match offer {
            CapabilityOffer::Export(export) if export.resource == Some(name) => {
                operations.extend([operation("export", export), operation(export.id, export)]);
            }
            CapabilityOffer::Interaction(of, code, searched) if *of == name => {
                interactions.push(json!({"code": code}));
                parameters.extend(searched.iter().map(|(name, kind)| search_parameter(name, kind)));
            }
            CapabilityOffer::Export(_) | CapabilityOffer::Interaction(..) => {}
        }
    }
    let is_searched = !parameters.is_empty();
    let is_exported_at = |level: &Level| is_exported(resource_type, level);
    let is_exported = is_exported_at(&Level::System);
    if !is_exported && operations.is_empty() && interactions.is_empty() {
        return None;
    }
    let mut resource = json!({"type": name});
    let filters = search::parameters(resource_type).filter(|_| is_exported && has_filters);
    if is_searched {
        let filters: Vec<_> = filters.map(|(name, _)| name).collect();
        if !filters.is_empty() {
            let filters = filters.join(", ");
            resource["documentation"] = format!("An export's _typeFilter takes also {filters}.").into();
        }
    } else {
        parameters.extend(filters.map(|(name, kind)| search_parameter(name, kind.as_str())));
    }
    let lists = [("interaction", interactions), ("searchParam", parameters), ("operation", operations)];
    for (key, list) in lists.into_iter().chain([("extension", not_supported(&is_exported_at))]) {
        if !list.is_empty() {
            resource[key] = list.into();
        }
    }
    Some(resource)
}

fn search_parameter(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind})
}

/// Lists the exports that leave a type out (CP-3): all of them, or those of patients.
fn not_supported(is_exported_at: &dyn Fn(&Level) -> bool) -> Vec<Value> {
    let extension = |canonical: String| {
        json!({
            "url": format!("{BULK}/Extension/operation-not-supported"),
            "valueCanonical": canonical,
        })
    };
    if !is_exported_at(&Level::System) {
        return vec![extension(format!("{BULK}/CapabilityStatement/bulk-data"))];
    }
    if is_exported_at(&Level::Patient) {
        return Vec::new();
    }
    let of_patients = EXPORT_OPERATIONS.iter().filter(|export| export.resource.is_some());
    of_patients.map(|export| extension(export.canonical())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{GROUP_EXPORT, SYSTEM_EXPORT};

    fn statement(offers: &[&CapabilityOffer]) -> Value {
        let profile = CapabilityProfile {
            parameters: crate::fhir::EXPORT_PARAMETERS.iter().collect(),
            max_file_bytes: 1000,
            is_exported: Box::new(ResourceType::is_exported_at),
            references: "none",
            devices: "Devices do.",
            token_url: None,
        };
        capability_statement("http://h/r4/default", "2026-01-01T00:00:00Z".parse().unwrap(), offers, &profile)
    }

    fn resource_of<'a>(statement: &'a Value, name: &str) -> Option<&'a Value> {
        statement["rest"][0]["resource"].as_array().unwrap().iter().find(|resource| resource["type"] == name)
    }

    #[test]
    fn it_names_what_is_offered_and_no_more() {
        let none = statement(&[]);
        assert_eq!(none["implementation"]["url"], "http://h/r4/default");
        assert_eq!(none["rest"][0]["operation"], json!([]));
        let group = resource_of(&none, "Group").unwrap().as_object().unwrap();
        assert_eq!(group.keys().collect::<Vec<_>>(), ["searchParam", "type"]);
        assert!(resource_of(&none, "Binary").is_none());
        let read = CapabilityOffer::Interaction("Binary", "read", &[]);
        let all = statement(&[
            &CapabilityOffer::Export(&SYSTEM_EXPORT),
            &CapabilityOffer::Export(&GROUP_EXPORT),
            &read,
        ]);
        let definition = |name: &str| format!("{BULK}/OperationDefinition/{name}");
        assert_eq!(
            all["rest"][0]["operation"],
            json!([{"name": "export", "definition": definition("export")}])
        );
        let group = &resource_of(&all, "Group").unwrap()["operation"];
        for (n, name) in ["export", "group-export"].into_iter().enumerate() {
            assert_eq!(group[n], json!({"name": name, "definition": definition("group-export")}));
        }
        assert_eq!(resource_of(&all, "Binary").unwrap()["interaction"], json!([{"code": "read"}]));
    }

    #[test]
    fn a_type_that_is_searched_has_the_parameters_of_the_search_alone() {
        let search =
            CapabilityOffer::Interaction("Group", "search-type", &[("_id", "token"), ("name", "string")]);
        let statement = statement(&[&search]);
        let group = resource_of(&statement, "Group").unwrap();
        let parameter = |name, kind| json!({"name": name, "type": kind});
        assert_eq!(group["searchParam"], json!([parameter("_id", "token"), parameter("name", "string")]));
        assert!(group["documentation"].as_str().unwrap().contains("characteristic"), "{group}");
        let patient = resource_of(&statement, "Patient").unwrap();
        assert!(patient["searchParam"].as_array().unwrap().contains(&parameter("gender", "token")), "CP-3");
    }

    #[test]
    fn types_that_an_export_leaves_out_say_so() {
        let statement = statement(&[&CapabilityOffer::Interaction("Binary", "read", &[])]);
        let left_out = |name: &str| -> Vec<String> {
            let extensions = resource_of(&statement, name).unwrap()["extension"].as_array();
            let canonicals = extensions.into_iter().flatten().map(|e| e["valueCanonical"].as_str().unwrap());
            canonicals.map(|canonical| canonical.rsplit('/').next().unwrap().to_string()).collect()
        };
        assert_eq!(left_out("Observation"), [""; 0]);
        assert_eq!(left_out("ValueSet"), ["patient-export", "group-export"]);
        assert_eq!(left_out("Binary"), ["bulk-data"]);
    }
}
