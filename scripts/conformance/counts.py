"""Counts the resources in a folder of NDJSON files, gzipped or not, by their types.

Usage: counts.py [--group ID] FOLDER [TYPE...]

Other lines, such as those of a client's log, do not count. With --group only what has a member
of that Group of the folder as its subject or patient, and the member itself.
"""

import argparse
import collections
import gzip
import json
import pathlib

arguments = argparse.ArgumentParser()
arguments.add_argument("--group")
arguments.add_argument("folder", type=pathlib.Path)
arguments.add_argument("types", nargs="*")
arguments = arguments.parse_args()


def resources():
    for path in sorted(arguments.folder.rglob("*.ndjson*")):
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            yield from (resource for resource in map(json.loads, lines) if "resourceType" in resource)


def belongs(resource, members):
    owner = resource.get("subject") or resource.get("patient") or {}
    return f"{resource['resourceType']}/{resource.get('id')}" in members or owner.get("reference") in members


members = None
if arguments.group:
    groups = (r for r in resources() if (r["resourceType"], r.get("id")) == ("Group", arguments.group))
    members = {member["entity"]["reference"] for group in groups for member in group["member"]}
found = (r for r in resources() if members is None or belongs(r, members))
counts = collections.Counter(resource["resourceType"] for resource in found)
for name, count in sorted(counts.items()):
    if not arguments.types or name in arguments.types:
        print(name, count)
