// The matching rules of FHIR R4's search page (3.1.1.4), read from the page and not from the
// engine that they check. A value is {type, value}: a FHIR data type and its JSON.
import Decimal from 'decimal.js';

const TENTH = new Decimal('0.1');
const PLAIN = new Set(['boolean', 'code', 'id', 'uri', 'url', 'string', 'markdown', 'canonical']);
const array = (x) => (x === undefined || x === null ? [] : Array.isArray(x) ? x : [x]);

/** Whether one of the values is what the filter {kind, modifier, items} asks for. */
export function matches(filter, values, base) {
  const present = values.filter(({ value }) => value !== null && value !== undefined);
  if (filter.modifier === 'missing') return (present.length === 0) === (filter.items[0] === 'true');
  const some = filter.items.some((item) => present.some((it) => matchesOne(filter, item, it, base)));
  return filter.modifier === 'not' ? !some : some;
}

function matchesOne({ kind, modifier }, item, it, base) {
  switch (kind) {
    case 'token': return modifier === 'text' ? describes(item, it) : token(item, it);
    case 'reference':
      if (modifier === 'identifier') {
        return it.type === 'Reference' && it.value.identifier !== undefined
          && token(item, { type: 'Identifier', value: it.value.identifier });
      }
      return reference(unescape(item), modifier, it, base);
    case 'date': return date(item, it);
    case 'string': return words(unescape(item), modifier, stringsOf(it));
    case 'number': case 'quantity': return quantity(item, it);
    case 'uri': return uri(unescape(item), modifier, it);
    default: throw new Error(`no rule for ${kind}`);
  }
}

/** The parts between unescaped separators, their escapes kept. */
function split(text, separator) {
  const parts = [''];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\') { parts[parts.length - 1] += text.slice(at, at + 2); at += 1; }
    else if (text[at] === separator) parts.push('');
    else parts[parts.length - 1] += text[at];
  }
  return parts;
}

const unescape = (text) => text.replace(/\\([,|$\\])/g, '$1');

function token(item, { type, value }) {
  const parts = split(item, '|').map(unescape);
  const [system, code] = parts.length === 1 ? [undefined, parts[0]] : parts;
  const isCode = (found, exact) => found !== undefined
    && (exact ? found === code : found.toLowerCase() === code.toLowerCase());
  const pair = (foundSystem, foundCode) => (system === undefined
    || (system === '' ? foundSystem === undefined : foundSystem === system))
    && ((code === '' && system !== undefined) || isCode(foundCode, false));
  switch (type) {
    case 'Coding': return pair(value.system, value.code);
    case 'CodeableConcept': return array(value.coding).some((coding) => pair(coding.system, coding.code));
    case 'Identifier': return pair(value.system, value.value);
    case 'ContactPoint': return system === undefined && isCode(value.value, false);
    case 'string': return system === undefined && isCode(value, false);
    default: return PLAIN.has(type) && system === undefined && isCode(String(value), true);
  }
}

function describes(item, { type, value }) {
  const texts = {
    Coding: () => [value.display],
    CodeableConcept: () => [value.text, ...array(value.coding).map((coding) => coding.display)],
    Identifier: () => [value.type?.text],
  }[type];
  return words(unescape(item), undefined, texts ? texts() : []);
}

const normal = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase().replace(/\p{M}/gu, '')
  .replace(/[!-/:-@[-`{-~]/g, '').split(/\s+/u).filter(Boolean).join(' ');

function stringsOf({ type, value }) {
  const parts = {
    HumanName: ['family', 'given', 'prefix', 'suffix', 'text'],
    Address: ['text', 'line', 'city', 'district', 'state', 'postalCode', 'country'],
  }[type];
  return parts ? parts.flatMap((part) => array(value[part])) : [value];
}

function words(sought, modifier, texts) {
  return texts.filter((text) => typeof text === 'string').some((text) => {
    if (modifier === 'exact') return text === sought;
    if (modifier === 'contains') return normal(text).includes(normal(sought));
    return normal(text).startsWith(normal(sought));
  });
}

/** The type that a reference says it is to: what resolve() would find. */
export function typeOf(reference) {
  const path = (reference.reference ?? '').replace(/\/_history\/.*$/, '');
  return /(?:^|\/)([A-Z][A-Za-z]+)(?:\/[^/?#]+$|\?)/.exec(path)?.[1] ?? reference.type;
}

function reference(sought, modifier, { type, value }, base) {
  if (type === 'canonical') return value === sought || value.startsWith(`${sought}|`);
  if (type === 'uri' || type === 'url') return value === sought;
  if (type !== 'Reference' || value.reference === undefined) return false;
  const LOCAL = /^([A-Z][A-Za-z]+)\/([^/?#]+)(?:\/_history\/([^/]+))?$/;
  const here = base ?? 'http://here.invalid';
  const absolute = (text) => (LOCAL.test(text) ? `${here}/${text}` : text);
  const isUrl = /^[A-Za-z][A-Za-z0-9+.-]*:./.test(sought) || LOCAL.test(sought);
  const found = absolute(value.reference);
  if (isUrl) {
    const versionless = (text) => text.replace(/\/_history\/[^/]*$/, '');
    return found === absolute(sought) || (!sought.includes('/_history/') && versionless(found) === absolute(sought));
  }
  const local = found.startsWith(`${here}/`) ? LOCAL.exec(found.slice(here.length + 1)) : null;
  return local !== null && local[2] === sought && (modifier === undefined || local[1] === modifier);
}

function uri(sought, modifier, { type, value }) {
  if (modifier === 'below') return value.startsWith(sought);
  if (modifier === 'above') return sought.startsWith(value);
  return value === sought || (type === 'canonical' && value.startsWith(`${sought}|`));
}

const prefixed = (text) => {
  const found = /^(eq|ne|gt|lt|ge|le|sa|eb|ap)(.*)$/.exec(text);
  return found ? [found[1], found[2]] : ['eq', text];
};

function quantity(item, { type, value }) {
  const [first, system, code] = split(item, '|').map(unescape);
  const [prefix, number] = prefixed(first);
  const ends = type === 'Range' ? [value.low, value.high] : [value, value];
  if (!['Range', 'Quantity', 'Age', 'Duration', 'Money', 'SimpleQuantity', 'decimal', 'integer', 'positiveInt', 'unsignedInt'].includes(type)) return false;
  const [low, high] = ends.map((end) => (typeof end === 'object' ? end?.value : end))
    .map((end) => (end === undefined ? undefined : new Decimal(end)));
  if (low === undefined && high === undefined) return false;
  if (code !== undefined) {
    const isUnit = (it) => {
      const unit = type === 'Money' ? { system: 'urn:iso:std:iso:4217', code: it.currency } : it;
      return system === '' ? unit.code === code || unit.unit === code
        : unit.system === system && (code === '' || unit.code === code);
    };
    if (!ends.filter((end) => end !== undefined).every(isUnit)) return false;
  }
  return compareNumbers(prefix, number, low, high);
}

function compareNumbers(prefix, text, low, high) {
  const sought = new Decimal(text);
  const [, fraction = '', exponent = '0'] = /^[+-]?\d+(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  const half = new Decimal(10).pow(Number(exponent) - fraction.length).div(2);
  const within = low !== undefined && high !== undefined && low.gte(sought.minus(half)) && high.lt(sought.plus(half));
  switch (prefix) {
    case 'eq': return within;
    case 'ne': return !within;
    case 'gt': return high === undefined || high.gt(sought);
    case 'lt': return low === undefined || low.lt(sought);
    case 'ge': return high === undefined || high.gte(sought);
    case 'le': return low === undefined || low.lte(sought);
    case 'sa': return low !== undefined && low.gt(sought);
    case 'eb': return high !== undefined && high.lt(sought);
    default: {
      const near = Decimal.max(half, sought.abs().times(TENTH));
      return (low === undefined || low.lte(sought.plus(near))) && (high === undefined || high.gte(sought.minus(near)));
    }
  }
}

/** From when to before when, in nanoseconds since 1970; undefined if it is no date. */
function span(text) {
  const found = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?$/.exec(text);
  if (!found) return undefined;
  const [, year, month, day, hour, minute, second, fraction, zone] = found;
  const at = (y, mo, d, h = 0, mi = 0, s = 0) => {
    const date = new Date(0);
    date.setUTCFullYear(y, mo, d);
    date.setUTCHours(h, mi, s);
    return BigInt(date.getTime()) * 1_000_000n;
  };
  const [y, mo, d] = [Number(year), Number(month ?? 1) - 1, Number(day ?? 1)];
  if (hour === undefined) {
    const next = day !== undefined ? [y, mo, d + 1] : month !== undefined ? [y, mo + 1, 1] : [y + 1, 0, 1];
    return [at(y, mo, d), at(...next)];
  }
  let offset = 0n;
  if (zone !== undefined && zone !== 'Z') {
    offset = BigInt(Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4))) * 60_000_000_000n * (zone[0] === '-' ? -1n : 1n);
  }
  const nanoseconds = BigInt((fraction ?? '').slice(0, 9).padEnd(9, '0'));
  const from = at(y, mo, d, Number(hour), Number(minute), Number(second ?? 0)) - offset + nanoseconds;
  const length = second === undefined ? 60_000_000_000n : 10n ** BigInt(9 - Math.min((fraction ?? '').length, 9));
  return [from, from + length];
}

const BEGINNING = -(10n ** 30n);
const END = 10n ** 30n;

function spanOf({ type, value }) {
  switch (type) {
    case 'date': case 'dateTime': return span(value);
    case 'instant': { const read = span(value); return read && [read[0], read[0] + 1n]; }
    case 'Period': {
      if (value.start === undefined && value.end === undefined) return undefined;
      return [value.start === undefined ? BEGINNING : span(value.start)[0], value.end === undefined ? END : span(value.end)[1]];
    }
    case 'Timing': {
      const spans = array(value.event).map((event) => span(event));
      const bounds = value.repeat?.boundsPeriod && spanOf({ type: 'Period', value: value.repeat.boundsPeriod });
      if (bounds) spans.push(bounds);
      if (spans.length === 0) return undefined;
      return spans.reduce(([a, b], [c, d]) => [a < c ? a : c, b > d ? b : d]);
    }
    default: return undefined;
  }
}

function date(item, it) {
  const [prefix, text] = prefixed(item);
  const [from, to] = span(text.replace(' ', '+'));
  const target = spanOf(it);
  if (!target) return false;
  const [start, end] = target;
  const within = from <= start && end <= to;
  switch (prefix) {
    case 'eq': return within;
    case 'ne': return !within;
    case 'gt': return end > to;
    case 'lt': return start < from;
    case 'ge': return end > to || (start < to && end > from);
    case 'le': return start < from || (start < to && end > from);
    case 'sa': return start >= to;
    case 'eb': return end <= from;
    default: return start < to + (to - from) && end > from - (to - from);
  }
}
