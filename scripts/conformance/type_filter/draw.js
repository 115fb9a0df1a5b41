// Search values for a parameter: some from the values that were found, and some that are near
// them or far from them. An item is as it stands in a search, its escapes made.

const escape = (text) => String(text).replace(/[\\,|$]/g, '\\$&');
const PREFIXES = ['eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb', 'ap'];
const array = (x) => (x === undefined || x === null ? [] : Array.isArray(x) ? x : [x]);
const isWord = (text) => typeof text === 'string' && /[\p{L}\p{N}]/u.test(text);

/** Filters {modifier, items} for a parameter of that kind, from the values found. */
export function draw(kind, values, { targets, isPlain, isBoolean }, random) {
  const pick = (pool) => pool[Math.floor(random() * pool.length)];
  const found = Array.from({ length: Math.min(4, values.length) }, () => pick(values));
  const filters = [{ modifier: 'missing', items: ['true'] }, { modifier: 'missing', items: ['false'] }];
  const add = (modifier, item) => item !== undefined && item !== '' && filters.push({ modifier, items: [item] });
  const makers = { token, reference, date, string: words, number: (it) => numbers(it, false), quantity: (it) => numbers(it, true), uri };
  for (const it of found) makers[kind](it);
  ({
    // Where nothing was found it is not known what a token must look like.
    token: () => add(undefined, isBoolean ? 'true' : values.length ? 'no-such-code' : ''),
    reference: () => add(undefined, 'Patient/nobody'),
    date: () => { for (const prefix of ['', 'gt', 'lt', 'ne']) add(undefined, `${prefix}1950-05`); },
    string: () => add(undefined, 'Zyx'),
    number: () => add(undefined, 'gt50'),
    quantity: () => add(undefined, 'le50'),
    uri: () => add(undefined, 'urn:none'),
  })[kind]();
  // Two alternatives of one modifier.
  const plain = filters.filter(({ modifier }) => modifier !== 'missing');
  for (const one of plain.slice(0, 2)) {
    const other = pick(plain.filter(({ modifier }) => modifier === one.modifier));
    filters.push({ modifier: one.modifier, items: [...one.items, ...other.items] });
  }
  return filters;

  function token({ type, value }) {
    const pair = (system, code) => {
      if (code !== undefined && code !== '') {
        add(undefined, escape(code));
        add('not', escape(code));
        add(undefined, escape(random() < 0.5 ? code.toUpperCase() : code.slice(0, -1)));
        if (!isPlain) {
          add(undefined, `|${escape(code)}`);
          if (system !== undefined) add(undefined, `${escape(system)}|${escape(code)}`);
          add(undefined, `http://none|${escape(code)}`);
        }
      }
      if (system !== undefined && !isPlain) { add(undefined, `${escape(system)}|`); add('not', `${escape(system)}|`); }
    };
    const text = (text) => isWord(text) && add('text', escape(text.slice(0, 2 + Math.floor(random() * 5))));
    switch (type) {
      case 'CodeableConcept':
        for (const coding of array(value.coding)) { pair(coding.system, coding.code); text(coding.display); }
        text(value.text);
        break;
      case 'Coding': pair(value.system, value.code); text(value.display); break;
      case 'Identifier': pair(value.system, value.value); text(value.type?.text); break;
      case 'ContactPoint': if (value.value) { add(undefined, escape(value.value)); add(undefined, escape(value.value.toUpperCase())); } break;
      case 'boolean': add(undefined, String(value)); add('not', String(value)); break;
      default:
        add(undefined, escape(value));
        add('not', escape(value));
        if (!isBoolean) add(undefined, escape(random() < 0.5 ? String(value).toUpperCase() : `${value}x`));
    }
  }

  function reference({ type, value }) {
    if (type !== 'Reference') {
      if (typeof value !== 'string') return;
      add(undefined, escape(value));
      add(undefined, escape(value.split('|')[0]));
      add(undefined, escape(`${value.split('|')[0]}|9`));
      return;
    }
    const text = value.reference;
    const local = /(?:^|\/)([A-Z][A-Za-z]+)\/([A-Za-z0-9.-]+)(\/_history\/.*)?$/.exec(text ?? '');
    if (local) {
      add(undefined, escape(text));
      add(undefined, escape(local[2]));
      add(undefined, `${local[1]}/${local[2]}`);
      add(undefined, `${local[1]}/${local[2]}/_history/2`);
      add(undefined, `https://h/fhir/${local[1]}/${local[2]}`);
      add(undefined, `http://other.org/fhir/${local[1]}/${local[2]}`);
      if (targets.includes(local[1])) add(local[1], local[2]);
    } else if (/^[a-z]+:/.test(text ?? '')) {
      add(undefined, escape(text));
    }
    if (value.identifier?.value) {
      add('identifier', escape(value.identifier.value));
      if (value.identifier.system) add('identifier', `${escape(value.identifier.system)}|${escape(value.identifier.value)}`);
    }
  }

  function date({ value }) {
    const texts = typeof value === 'string' ? [value] : [value.start, value.end, value.repeat?.boundsPeriod?.start, value.repeat?.boundsPeriod?.end, ...array(value.event)];
    for (const text of texts.filter((text) => /^\d{4}/.test(text ?? ''))) {
      for (const cut of new Set([4, 7, 10, text.length])) {
        if (cut > text.length || ![4, 7, 10].includes(cut) && cut < 20) continue;
        const part = text.slice(0, cut);
        add(undefined, part);
        add(undefined, pick(PREFIXES) + part);
        add(undefined, pick(PREFIXES) + part);
      }
      const time = /^(.*T\d\d:\d\d)(:\d\d)(\.\d+)?(.*)$/.exec(text);
      if (time) {
        add(undefined, pick(PREFIXES) + time[1] + time[4]);
        add(undefined, pick(PREFIXES) + time[1] + time[2] + time[4].replace('+', ' '));
        add(undefined, pick(PREFIXES) + time[1] + time[2]);
      }
      add(undefined, pick(PREFIXES) + String(Number(text.slice(0, 4)) + 1));
    }
  }

  function words({ type, value }) {
    const names = { HumanName: ['family', 'given', 'text', 'prefix', 'suffix'], Address: ['line', 'city', 'state', 'postalCode', 'text', 'country', 'district'] }[type];
    const texts = (names ? names.flatMap((name) => array(value[name])) : [value]).filter(isWord);
    for (const text of texts.slice(0, 4)) {
      const start = text.slice(0, 1 + Math.floor(random() * text.length));
      if (!isWord(start)) continue;
      const middle = text.slice(Math.floor(text.length / 3), Math.ceil((2 * text.length) / 3));
      add(undefined, escape(start));
      add(undefined, escape(start.toUpperCase()));
      add(undefined, escape(start.normalize('NFD').replace(/\p{M}/gu, '')));
      add('exact', escape(text));
      add('exact', escape(text.toUpperCase()));
      if (isWord(middle)) { add('contains', escape(middle)); add(undefined, escape(middle)); }
    }
  }

  function numbers({ type, value }, hasUnit) {
    const ends = type === 'Range' ? [value.low, value.high] : [value];
    for (const end of ends) {
      const number = typeof end === 'object' ? end?.value : end;
      if (typeof number !== 'number') continue;
      const forms = [String(number), number.toFixed(0), number.toFixed(1), number.toFixed(2), number.toExponential(0), String(number + 1), String(number * 1.05)]
        .filter((form) => /^[-+]?\d{1,15}(\.\d{1,15})?(e[-+]?\d{1,2})?$/.test(form) && form.replace(/\D/g, '').length < 18);
      for (const form of forms) {
        add(undefined, form);
        add(undefined, pick(PREFIXES) + form);
        add(undefined, pick(PREFIXES) + form);
      }
      if (!hasUnit) continue;
      const unit = type === 'Money' ? { system: 'urn:iso:std:iso:4217', code: value.currency } : end;
      const form = pick(PREFIXES) + number;
      if (!/e/.test(form.slice(2)) && unit.code) {
        add(undefined, `${number}||${escape(unit.code)}`);
        if (unit.system) { add(undefined, `${form}|${escape(unit.system)}|${escape(unit.code)}`); add(undefined, `${form}|${escape(unit.system)}|`); }
        add(undefined, `${number}|http://none|${escape(unit.code)}`);
      }
      if (unit.unit) add(undefined, `${form}||${escape(unit.unit)}`);
    }
  }

  function uri({ value }) {
    if (typeof value !== 'string') return;
    add(undefined, escape(value));
    add(undefined, escape(value.split('|')[0]));
    if (value.startsWith('urn:')) return;
    add('below', escape(value.slice(0, Math.ceil(value.length * random()))));
    add('above', escape(`${value}/z`));
    add('above', escape(value));
  }
}
