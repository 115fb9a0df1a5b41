// Tells what would keep somebody from using this page: with a keyboard, with a screen reader, with weak
// eyes, on a phone. Runs in the page and returns sentences.
const faults = [];
const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const name = (element) => {
  const id = element.id ? "#" + element.id : "";
  const classes = [...element.classList].map((one) => "." + one).join("");
  return element.tagName.toLowerCase() + id + classes;
};

// The page as a whole.
if (!document.documentElement.lang) faults.push("the page has no language");
if (!document.title) faults.push("the page has no title");
const headings = [...document.querySelectorAll("h1")].filter(shown);
if (headings.length !== 1) faults.push(`the page has ${headings.length} h1`);
if (document.querySelectorAll("main").length !== 1) faults.push("the page has not one main landmark");
let level = 1;
for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) faults.push(`a heading jumps from h${level} to h${own}: ${heading.textContent.trim()}`);
  level = own;
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`the id ${id} is not unique`);
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
  const wide = [...document.querySelectorAll("body *")].filter(
    (element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1,
  );
  faults.push(`the page scrolls sideways: ${wide.slice(0, 5).map(name).join(", ")}`);
}

// On a phone nothing has to be scrolled sideways, not even inside itself.
for (const element of document.querySelectorAll("body *")) {
  const is_cut = element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1;
  const is_box = getComputedStyle(element).overflowX !== "visible" && !element.matches("input, select, progress");
  if (innerWidth < 600 && shown(element) && is_cut && is_box) faults.push(`${name(element)} is cut`);
}

// What has to have a name.
const text = (ids) =>
  (ids ?? "").split(/\s+/).filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
const label = (element) =>
  (
    element.getAttribute("aria-label") ||
    text(element.getAttribute("aria-labelledby")) ||
    [...(element.labels ?? [])].map((one) => one.textContent).join(" ") ||
    (element.matches("button, a, summary") ? element.textContent : "") ||
    element.getAttribute("title") ||
    element.querySelector("img[alt], svg title")?.textContent ||
    ""
  ).trim();
for (const element of document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a[href], summary")) {
  if (shown(element) && !label(element)) faults.push(`${name(element)} has no name`);
}
for (const element of document.querySelectorAll("img:not([alt]), progress, meter, [role=progressbar], [role=img], dialog")) {
  if (shown(element) && !label(element)) faults.push(`${name(element)} has no text in its place`);
}
for (const element of document.querySelectorAll("svg:not([role=img]):not([aria-hidden=true])")) {
  if (shown(element)) faults.push(`${name(element)} is neither an image with a name nor hidden`);
}
for (const table of document.querySelectorAll("table")) {
  if (shown(table) && !table.querySelector("th")) faults.push(`${name(table)} has no header`);
}
for (const element of document.querySelectorAll("[tabindex]")) {
  if (Number(element.getAttribute("tabindex")) > 0) faults.push(`${name(element)} is before its turn`);
}

// Contrast (WCAG 1.4.3), of each text on the colours behind it.
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d", { willReadFrequently: true });
const known = new Map();
const rgba = (color) => {
  if (!known.has(color)) {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    known.set(color, [r, g, b, a / 255]);
  }
  return known.get(color);
};
const over = ([r, g, b, a], [below_r, below_g, below_b]) => [
  r * a + below_r * (1 - a),
  g * a + below_g * (1 - a),
  b * a + below_b * (1 - a),
  1,
];
const behind = (element) => {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    const color = rgba(getComputedStyle(one).backgroundColor);
    layers.unshift(color);
    if (color[3] === 1) break;
  }
  const page = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
  return layers.reduce((below, layer) => over(layer, below), page);
};
const luminance = (color) => {
  const [r, g, b] = color.slice(0, 3).map((part) => {
    const one = part / 255;
    return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};
const told = new Set();
for (const element of document.querySelectorAll("body *")) {
  const has_text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!has_text || !shown(element) || element.matches(":disabled, script, style, noscript, option")) continue;
  const style = getComputedStyle(element);
  // Texts for screen readers alone are clipped to a pixel.
  const box = element.getBoundingClientRect();
  if (box.width <= 1 || box.height <= 1) continue;
  const ground = behind(element);
  const ink = over(rgba(element.namespaceURI.endsWith("svg") ? style.fill : style.color), ground);
  const size = parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  const found = contrast(ink, ground);
  const key = name(element) + found.toFixed(2);
  if (found < needed && !told.has(key)) {
    told.add(key);
    const shown_text = element.textContent.trim().slice(0, 30);
    faults.push(`${name(element)} "${shown_text}" has a contrast of ${found.toFixed(2)}, and needs ${needed}`);
  }
}
return faults;
