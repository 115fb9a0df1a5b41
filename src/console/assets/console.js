// The console works without this script. With it, times are in the reader's zone, ages go on, and the parts
// that change do so by themselves.
"use strict";

// Times. The server writes UTC; on hover it stays UTC.

const clock = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  timeZoneName: "short",
});
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function span(seconds) {
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? ["second", 1];
  const number = Math.floor(seconds / size);
  return `${number} ${unit}${number === 1 ? "" : "s"}`;
}

function text(time) {
  const at = Date.parse(time.dateTime);
  if (Number.isNaN(at)) return time.textContent;
  const seconds = Math.abs(Date.now() + skew - at) / 1000;
  switch (time.dataset.as) {
    case "ago": return `${span(seconds)} ago`;
    case "until": return at > Date.now() + skew ? `in ${span(seconds)}` : "now";
    default: return clock.format(at);
  }
}

// How far the server's clock is ahead of the reader's, by the time at which the page was made.
const made = document.querySelector("footer time");
const skew = made && performance.now() < 10000 ? Date.parse(made.dateTime) - Date.now() : 0;

function showTimes(root) {
  for (const time of root.querySelectorAll("time[data-as]")) {
    const shown = text(time);
    if (time.textContent !== shown) time.textContent = shown;
  }
}

// Live parts. What did not change is left alone, so that focus, selection and scrolling stay.

function update(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id ?? "") !== (fresh.id ?? "")) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  updateChildren(old, fresh);
}

function updateChildren(old, fresh) {
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id ? known.get(child.id) : undefined;
    if (same && same !== place) old.insertBefore(same, place);
    const now = same ?? (place && !place.id && !child.id ? place : null);
    if (now) {
      place = now.nextSibling;
      update(now, child);
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

const status = document.getElementById("live");

function say(tone, words) {
  if (status && status.textContent !== words) {
    status.dataset.tone = tone;
    status.textContent = words;
  }
}

function follow(part) {
  let source = null;
  let isOver = false;
  const stop = () => { source?.close(); source = null; };
  const start = () => {
    if (source || isOver || document.hidden) return;
    source = new EventSource(part.dataset.live);
    source.addEventListener("part", (event) => {
      const fresh = document.createElement(part.nodeName);
      fresh.innerHTML = JSON.parse(event.data);
      showTimes(fresh);
      updateChildren(part, fresh);
      say("good", "Live");
    });
    source.addEventListener("end", (event) => {
      isOver = true;
      stop();
      say("bad", `${JSON.parse(event.data)} Reload the page to sign in.`);
    });
    source.addEventListener("stop", (event) => say("bad", JSON.parse(event.data)));
    source.addEventListener("error", () => {
      const isClosed = source?.readyState === EventSource.CLOSED;
      if (isClosed) isOver = true;
      say("bad", isClosed ? "Not live: reload the page." : "Not live: the server does not answer; trying again.");
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  start();
}

showTimes(document);
setInterval(() => showTimes(document), 1000);
document.querySelectorAll("[data-live]").forEach(follow);
