"""Validates what a server says against R4's JSON schema, or files: a resource, or NDJSON.

Usage: r4_schema.py --schema fhir.schema.json (--base URL | FILE...)
"""

import argparse
import collections
import json
import sys
import time
import urllib.error
import urllib.request

import jsonschema

arguments = argparse.ArgumentParser()
arguments.add_argument("--schema", required=True)
arguments.add_argument("--base")
arguments.add_argument("files", nargs="*")
arguments = arguments.parse_args()

with open(arguments.schema) as file:
    SCHEMA = json.load(file)
KICKOFF = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
# The API that this server is modelled on names the group so; R4 has no underscore in ids.
GROUP_OF_ALL = '"All_Patients"'
UNKNOWN = "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4"

validators = {}
valid = collections.Counter()


def with_r4_ids(resource):
    return json.loads(json.dumps(resource).replace(GROUP_OF_ALL, GROUP_OF_ALL.replace("_", "-")))


def validate(resource, what):
    """Ends the program if it is not valid."""
    name = resource["resourceType"]
    if name not in validators:
        schema = {"definitions": SCHEMA["definitions"], "$ref": f"#/definitions/{name}"}
        validators[name] = jsonschema.Draft6Validator(schema)
    errors = list(validators[name].iter_errors(with_r4_ids(resource)))
    if errors:
        places = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]
        sys.exit("\n".join([f"failed: {what}: the {name} is not valid", *places]))
    valid[name] += 1
    # The schema of Bundle.entry.resource tells nothing of which of all types is wrong.
    for entry in resource.get("entry", []):
        validate(entry["resource"], what)


def call(method, path, status, headers=None, body=None):
    """The answer to a request, which must have this status."""
    url = path if path.startswith("http") else arguments.base + path
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request) as answer:
            got, fields, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        got, fields, content = error.code, error.headers, error.read()
    if got != status:
        sys.exit(f"failed: {method} {path}: {got} instead of {status}: {content[:500]}")
    if fields.get_content_type() == "application/fhir+json":
        validate(json.loads(content), f"{method} {path}")
    return fields, content


def refusals():
    for path, status in [
        ("/$export?_type=", 400),
        ("/$export?_type=Nonsense", 400),
        ("/$export?_type=Binary", 404),
        ("/$export?_since=yesterday", 400),
        ("/$export?_since=%zz", 400),
        ("/$export?x=%22%5C%00%F0%9F%92%A9%E2%80%A8", 400),
        ("/$export?_outputFormat=text/html", 400),
        ("/Group/nobody/$export", 404),
    ]:
        call("GET", path, status, KICKOFF)
    for path, status in [
        ("/$export", 406),
        ("/nothing", 404),
        ("/metadata?_format=xml", 406),
        ("/metadata?mode=nonsense", 400),
        ("/Group/nobody", 404),
        ("/Group?x=y", 400),
        ("/Group?_count=x", 400),
        ("/Binary/nobody", 404),
        ("/OperationDefinition/nobody", 404),
        (f"/bulk-api/request/{UNKNOWN}", 404),
        (f"/bulk-api/download/{UNKNOWN}/x", 404),
        (f"/Export/DeleteRequest?request={UNKNOWN}", 406),
        ("/metadata?" + "x" * 9000, 414),
    ]:
        call("GET", path, status)
    call("DELETE", "/metadata", 405)
    call("GET", "/metadata", 431, {"X-Long": "x" * 40_000})


def reads():
    call("GET", "/metadata", 200)
    for name in ["export", "patient-export", "group-export"]:
        call("GET", f"/OperationDefinition/{name}", 200)
    call("GET", "/OperationDefinition", 200)
    call("GET", "/OperationDefinition?url=http://nowhere.example/x", 200)
    call("GET", "/Group/All_Patients", 200)
    call("GET", "/Group?_count=2", 200)
    call("GET", "/Group?_count=0", 200)


def exports():
    """Kick-off, error files, deletion."""
    fields, _ = call("GET", "/$export", 202, KICKOFF)
    polling = fields["Content-Location"]
    until = time.monotonic() + 60
    while True:
        request = urllib.request.urlopen(polling)
        if request.status == 200:
            break
        if time.monotonic() > until:
            sys.exit("failed: the export does not end")
        time.sleep(0.1)
    manifest = json.load(request)
    if not manifest["error"]:
        sys.exit("failed: there is no error file")
    for file in manifest["error"]:
        _, content = call("GET", file["url"], 200)
        for line in content.splitlines():
            validate(json.loads(line), file["url"])
    call("DELETE", polling, 202)
    call("GET", polling, 404)


if arguments.base:
    refusals()
    reads()
    exports()
for path in arguments.files:
    with open(path) as file:
        resources = map(json.loads, file) if path.endswith(".ndjson") else [json.load(file)]
        for resource in resources:
            validate(resource, path)
print("ok: valid R4:", ", ".join(f"{count} {name}" for name, count in sorted(valid.items())))
