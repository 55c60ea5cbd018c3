// Small conveniences; every page works without them.
"use strict";
// What is known to the hour: no minutes, but where a time zone begins its hours at half past.
const hour = (at) => at.toLocaleString([], {
  year: "numeric", month: "numeric", day: "numeric", hour: "numeric", ...(at.getMinutes() ? { minute: "2-digit" } : {}),
});
const local = (root) => {
  for (const time of root.querySelectorAll("time.local")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.title = at.toISOString().replace("T", " ").replace("Z", " UTC");
    time.textContent = time.classList.contains("hour") ? hour(at) : at.toLocaleString([], { timeZoneName: "short" });
  }
};
local(document);
// A page left open says how old it is: what it shows may be over.
const foot = document.getElementById("foot"), OLD_S = 60, LOOK_MS = 5000;
const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];
let loaded = Date.now();
const aged = () => {
  const seconds = (Date.now() - loaded) / 1000;
  const [, size, unit] = STEPS.find(([limit]) => seconds < limit);
  foot.classList.toggle("old", seconds >= OLD_S);
  document.getElementById("old").hidden = seconds < OLD_S;
  foot.querySelector("strong").textContent = `${Math.floor(seconds / size)} ${unit}`;
};
const renewed = () => {
  loaded = Date.now();
  foot.querySelector("time").dateTime = new Date(loaded).toISOString();
  local(foot);
  aged();
};
if (foot) {
  setInterval(aged, LOOK_MS);
  document.addEventListener("visibilitychange", aged);
}
const live = document.getElementById("live");
if (live) {
  const rows = document.getElementById("rows");
  live.parentElement.hidden = false;
  const told = document.getElementById("told"), tail = document.getElementById("tail");
  const say = (where, words) => { if (where.textContent !== words) where.textContent = words; };
  const events = () => new Set([...rows.querySelectorAll("a[href^='/events/']")].map((one) => one.pathname));
  let timer, shown = "", came = 0;
  const put = (text) => { // who listens is told how many came so far: a sentence that stands there already is not read
    const before = events();
    rows.innerHTML = shown = text;
    local(rows);
    came += [...events()].filter((one) => !before.has(one)).length;
    if (came) say(told, `${came} more ${came === 1 ? "event" : "events"}`);
  };
  const refresh = async () => {
    if (document.hidden || rows.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Rows-Only": "1" } });
      if (answer.status === 401) return location.reload(); // logged out meanwhile: to the login, and back
      say(tail, answer.ok ? "" : "no answer just now");
      if (!answer.ok) return;
      const text = await answer.text();
      renewed();
      if (text !== shown) put(text);
    } catch { say(tail, "no answer just now"); }
  };
  const follow = () => {
    clearInterval(timer);
    say(tail, "");
    if (live.checked) { refresh(); timer = setInterval(refresh, 2000); }
  };
  live.addEventListener("change", follow);
  follow();
}
// A second click sends nothing twice, however long the answer takes. A form whose answer is a download stays, and may
// be sent again soon; so may one that a browser brings back, and one whose answer was lost.
const DOWNLOADED_MS = 3000, LOST_MS = 60000;
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, event.submitter && "stays" in event.submitter.dataset ? DOWNLOADED_MS : LOST_MS);
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.from).textContent);
    button.textContent = "Copied";
  });
}
