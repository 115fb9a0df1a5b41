// Made-up resources of every type, from the model of R4 that the FHIRPath implementation ships:
// values come from small pools, so that searches meet them.
import r4 from 'fhirpath/fhir-context/r4/index.js';

const POOLS = {
  boolean: [true, false],
  canonical: ['http://q.org/a', 'http://q.org/a|1', 'http://q.org/b|2'],
  code: ['final', 'active', 'Final', 'x,y', 'a|b'],
  date: ['2020', '2020-02', '2020-02-29', '2021-12-31', '2019-07-04'],
  dateTime: ['2020', '2020-02', '2020-02-29', '2020-02-29T23:30:00-05:00', '2020-02-29T10:00:00Z', '2021-12-31T23:59:59.999Z'],
  decimal: [5.35, 5.4, 100, -3, 0.0000001, 5.45, 99.5],
  id: ['a1', 'A1', 'b-2.c'],
  instant: ['2020-02-29T10:00:00Z', '2020-02-29T10:00:00.5+01:00', '2021-12-31T23:59:59.999Z'],
  integer: [1, 5, 100, -3],
  string: ['Éva Muñoz', 'eva', 'Main St. 1', 'A, B', 'final', 'Straße  \t7', 'b\\c'],
  uri: ['http://a.org/x', 'http://a.org/x/y', 'urn:oid:1.2.3', 'http://a.org/x|2'],
};
Object.assign(POOLS, { markdown: POOLS.string, url: POOLS.uri, oid: POOLS.uri, uuid: POOLS.uri, positiveInt: [1, 5, 100], unsignedInt: [0, 5, 100],
  time: ['10:00:00'], base64Binary: ['AAAA'] });
/** Elements whose codes expressions look at. */
const CODES = {
  'ContactPoint.system': ['phone', 'email', 'url'],
  'RelatedArtifact.type': ['depends-on', 'derived-from', 'composed-of', 'successor', 'predecessor'],
};
const SYSTEMS = ['http://a.org/s', 'http://b.org/s'];
const REFERENCES = ['Patient/a1', 'Group/a1', 'https://h/fhir/Patient/a1', 'Patient/a1/_history/2', 'http://other.org/fhir/Patient/a1',
  'Practitioner/b2', 'Location/a1', 'RelatedPerson/b2', '#c1', 'urn:uuid:6f1c6e0e-0001-4000-8000-000000000000', 'Organization?identifier=x'];

const children = new Map();
for (const path of Object.keys(r4.path2Type)) {
  const dot = path.lastIndexOf('.');
  if (dot > 0) children.set(path.slice(0, dot), [...(children.get(path.slice(0, dot)) ?? []), path.slice(dot + 1)]);
}
const choices = new Map();
for (const [path, types] of Object.entries(r4.choiceTypePaths)) {
  const dot = path.lastIndexOf('.');
  choices.set(path.slice(0, dot), [...(choices.get(path.slice(0, dot)) ?? []), [path.slice(dot + 1), types]]);
}

/** A generator of numbers below 1 that a seed decides (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whether the model has a resource type of that name. */
export function isResource(type) {
  for (let at = type; at; at = r4.type2Parent[at]) if (at === 'Resource') return true;
  return false;
}

/** `count` resources of a type. */
export function made(type, count, seed) {
  const draw = random(seed);
  const pick = (pool) => pool[Math.floor(draw() * pool.length)];
  const value = (dataType, path, depth) => {
    if (POOLS[dataType]) return pick(POOLS[dataType]);
    if (dataType === 'Reference') {
      const reference = draw() < 0.85 ? { reference: pick(REFERENCES) } : {};
      if (draw() < 0.3) reference.identifier = { system: pick(SYSTEMS), value: pick(POOLS.string) };
      if (draw() < 0.2) reference.type = pick(['Patient', 'Group']);
      return Object.keys(reference).length ? reference : { display: 'nobody' };
    }
    if (dataType === 'Coding') {
      const coding = { code: pick(POOLS.code) };
      if (draw() < 0.7) coding.system = pick(SYSTEMS);
      if (draw() < 0.5) coding.display = pick(POOLS.string);
      return coding;
    }
    if (dataType === 'Period') {
      const [start, end] = [pick(POOLS.dateTime), pick(POOLS.dateTime)].sort();
      return { ...(draw() < 0.8 && { start }), ...(draw() < 0.8 && { end }) };
    }
    return object(['BackboneElement', 'Element'].includes(dataType) ? path : dataType, depth);
  };
  const object = (path, depth) => {
    const made = {};
    const likely = depth === 0 ? 0.85 : depth < 4 ? 0.6 : 0.2;
    const names = new Set();
    for (let at = path; at; at = at.includes('.') ? undefined : r4.type2Parent[at]) {
      for (const [name, dataTypes] of choices.get(at) ?? []) {
        names.add(name);
        dataTypes.forEach((dataType) => names.add(name + dataType));
        if (draw() >= likely) continue;
        const dataType = pick(dataTypes);
        const lower = dataType[0].toLowerCase() + dataType.slice(1);
        const given = value(POOLS[lower] ? lower : dataType, `${at}.${name}`, depth + 1);
        if (given !== undefined) made[name + dataType] = given;
      }
      for (const name of children.get(at) ?? []) {
        if (names.has(name) || ['id', 'contained', 'extension', 'modifierExtension', 'text', 'implicitRules'].includes(name) && !isText(at, name)) continue;
        names.add(name);
        const full = `${at}.${name}`;
        const elsewhere = r4.pathsDefinedElsewhere[full];
        const dataType = elsewhere ? 'BackboneElement' : r4.path2Type[full];
        if (depth > 6 || draw() >= likely || ['Resource', 'xhtml', 'Narrative'].includes(dataType)) continue;
        const one = () => (CODES[full] ? pick(CODES[full]) : value(dataType, elsewhere ?? full, depth + 1));
        const isList = r4.path2Repeating[full];
        const given = isList ? Array.from({ length: draw() < 0.4 ? 2 : 1 }, one).filter((it) => it !== undefined) : one();
        if (given !== undefined && !(isList && given.length === 0)) made[name] = given;
      }
    }
    return Object.keys(made).length ? made : undefined;
  };
  const isText = (at, name) => name === 'text' && r4.path2Type[`${at}.text`] === 'string';
  return Array.from({ length: count }, (_, n) => ({ resourceType: type, id: `${pick(POOLS.id)}${n % 7}`, ...object(type, 0) }));
}
