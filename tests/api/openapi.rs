//! The OpenAPI document: it tells of every URL, method and status, and of nothing else.

use super::*;

/// The document of a server.
pub struct Documented(Value);

impl Documented {
    pub fn by(server: &Server) -> Self {
        let answer = get(&server.base.replace("/r4/default", "/openapi.json"));
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        Self(answer.json())
    }

    fn paths(&self) -> &serde_json::Map<String, Value> {
        self.0["paths"].as_object().unwrap()
    }

    /// Whether a request for this path, as it is sent, may be answered so: paths that are not
    /// told of are 404, methods 405.
    pub fn allows(&self, method: &str, path: &str, status: u16) -> bool {
        let path = path.split(['?', '#']).next().unwrap();
        let segments = |path: &str| path.split('/').map(str::to_string).collect::<Vec<_>>();
        let asked = segments(path);
        let matches = |template: &&String| {
            let template = segments(template);
            template.len() == asked.len()
                && template.iter().zip(&asked).all(|(template, asked)| {
                    template == asked && !template.starts_with('{')
                        || template.starts_with('{') && !asked.is_empty()
                })
        };
        // One without placeholders counts before one with them.
        let found = self.paths().keys().filter(matches).min_by_key(|template| template.matches('{').count());
        let of_everything = [414, 431].contains(&status);
        let Some(path) = found else { return status == 404 || of_everything };
        // Methods are case-sensitive.
        let is_known = METHODS.contains(&method);
        match &self.paths()[path][method.to_ascii_lowercase()] {
            operation if is_known && !operation.is_null() => {
                operation["responses"].get(status.to_string()).is_some()
            }
            _ => status == 405 || of_everything,
        }
    }
}

/// The methods of HTTP that may be answered.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

#[test]
fn every_url_and_method_answers_as_it_is_documented_and_no_other_is_there() {
    let setup = Setup::new();
    let server = setup.start();
    let documented = Documented::by(&server);
    let root = server.base.strip_suffix("/r4/default").unwrap();
    assert!(documented.paths().len() >= 16);
    assert_eq!(documented.0["servers"][0]["url"], root);
    for (template, path) in documented.paths() {
        let names: Vec<_> = template.split(['{', '}']).skip(1).step_by(2).collect();
        let told = path["parameters"].as_array().cloned().unwrap_or_default();
        assert_eq!(told.iter().map(|p| p["name"].as_str().unwrap()).collect::<Vec<_>>(), names, "{template}");
        let url = template.replace("{tenant}", "default").replace("{id}", "export").replace(['{', '}'], "");
        for method in METHODS {
            let answer = send(method, &format!("{root}{url}"), &[]);
            let is_told = path.get(method.to_ascii_lowercase()).is_some();
            let what = format!("{method} {url}: {answer:?}");
            assert!(is_told || answer.status == 405, "it is not told of: {what}");
            assert!(!is_told || answer.status != 405, "it is told of and refused: {what}");
            if !is_told {
                let allowed: Vec<_> =
                    METHODS.iter().filter(|m| path.get(m.to_ascii_lowercase()).is_some()).collect();
                let mut allow: Vec<_> =
                    answer.header("allow").split(", ").filter(|m| !m.is_empty()).collect();
                allow.sort_by_key(|m| METHODS.iter().position(|known| known == m));
                assert_eq!(allow, allowed.into_iter().copied().collect::<Vec<_>>(), "{what}");
            } else {
                assert!(documented.allows(method, &url, answer.status), "{what}");
                let content =
                    &path[method.to_ascii_lowercase()]["responses"][answer.status.to_string()]["content"];
                let media_type = answer.header("content-type").split(';').next().unwrap();
                let is_told = content.get(media_type).is_some() || content.get("*/*").is_some();
                assert!(is_told || method == "HEAD", "{media_type}: {what}");
            }
        }
    }
    for path in ["/", "/r4", "/r4/default", "/r4/default/Patient", "/openapi", "/r4/default/openapi.json"] {
        assert!(documented.allows("GET", path, 404) && !documented.allows("GET", path, 200));
        assert_eq!(get(&format!("{root}{path}")).outcome(), outcome(404, "not-found"), "{path}");
    }
}

#[test]
fn the_document_tells_of_the_mode_and_the_profile_that_the_server_is_in() {
    let setup = Setup::new();
    let server = setup.start();
    let open = Documented::by(&server);
    let of_tokens = ["auth/token", "auth/introspect", "auth/jwks", ".well-known/smart-configuration"];
    for path in of_tokens {
        assert!(!open.paths().contains_key(&format!("/r4/{{tenant}}/{path}")), "{path}");
        for method in ["GET", "POST", "PUT"] {
            let answer = send(method, &format!("{}/{path}", server.base), &[]);
            assert_eq!(answer.outcome(), outcome(404, "not-found"), "{method} {path}");
        }
    }
    assert!(open.0["components"]["securitySchemes"].is_null());
    let operators = server.operator("openapi.json");
    assert_eq!(operators.status, 200);
    let operators = Documented(operators.json());
    for path in ["/admin/jobs/{job}/hold", "/metrics", "/openapi.json"] {
        assert!(operators.paths().contains_key(path), "{path}");
    }
    let hold = &operators.paths()["/admin/jobs/{job}/hold"]["put"];
    assert!(hold["requestBody"].is_object() && hold["security"][0]["operator"].is_array(), "{hold}");
    assert!(operators.paths()["/healthz"]["get"]["security"].is_null());
    assert!(!operators.paths().contains_key("/r4/{tenant}/metadata"));

    let setup = Setup::new().smart("");
    let smart = Documented::by(&setup.start());
    for path in of_tokens {
        assert!(smart.paths().contains_key(&format!("/r4/{{tenant}}/{path}")), "{path}");
    }
    let kickoff = "/r4/{tenant}/$export";
    assert!(smart.paths()[kickoff]["get"]["security"][0]["smart"].is_array());

    let names = |documented: &Documented, path: &str| -> Vec<String> {
        let parameters = documented.paths()[path]["get"]["parameters"].as_array().unwrap().clone();
        parameters.iter().map(|parameter| parameter["name"].as_str().unwrap().to_string()).collect()
    };
    let setup = Setup::new().set("protocol.profile=soarian");
    let server = setup.start();
    let soarian = Documented::by(&server);
    assert!(soarian.paths()[kickoff]["post"].is_null() && open.paths()[kickoff]["post"].is_object());
    let answer = post(&format!("{}/$export", server.base), &KICKOFF, "");
    assert_eq!((answer.outcome(), answer.header("allow")), (outcome(405, "not-supported"), "GET"));
    let (has, is) = (names(&soarian, kickoff), names(&open, kickoff));
    assert!(has.contains(&"_since".into()) && !has.contains(&"_typeFilter".into()), "{has:?}");
    assert!(is.contains(&"_typeFilter".into()), "{is:?}");
    let polling = "/r4/{tenant}/bulk-api/request/{job}";
    assert!(
        names(&soarian, polling).contains(&"Prefer".into())
            && !names(&open, polling).contains(&"Prefer".into())
    );
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_string));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let setup = Setup::new();
    let document = Documented::by(&setup.start()).0;
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let ids =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut ids: Vec<_> = ids.filter_map(|operation| operation["operationId"].as_str()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), all > 25), (all, true), "ids are unique");
}
