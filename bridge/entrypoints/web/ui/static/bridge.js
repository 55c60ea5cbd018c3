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
    time.textContent = time.classList.contains("hour") ? hour(at) : at.toLocaleString();
  }
};
local(document);
const live = document.getElementById("live");
if (live) {
  const rows = document.getElementById("rows");
  live.parentElement.hidden = false;
  let timer, shown = "";
  const refresh = async () => {
    if (document.hidden || rows.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Rows-Only": "1" } });
      if (answer.status === 401) return location.reload(); // logged out meanwhile: to the login, and back
      const text = answer.ok ? await answer.text() : shown;
      live.parentElement.title = answer.ok ? "" : "the bridge does not answer just now";
      if (text !== shown) { rows.innerHTML = text; local(rows); shown = text; }
    } catch { live.parentElement.title = "the bridge does not answer just now"; }
  };
  const follow = () => {
    clearInterval(timer);
    if (live.checked) { refresh(); timer = setInterval(refresh, 2000); }
  };
  live.addEventListener("change", follow);
  follow();
}
// A second click sends nothing twice. A form whose answer is a download stays, and may be sent again.
const SENT_MS = 3000;
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, SENT_MS);
});
for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.from).textContent);
    button.textContent = "Copied";
  });
}
