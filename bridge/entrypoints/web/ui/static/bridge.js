// Small conveniences; every page works without them.
"use strict";
for (const time of document.querySelectorAll("time.local")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) time.textContent = at.toLocaleString();
}
const live = document.getElementById("live");
if (live) {
  let timer;
  const refresh = async () => {
    try {
      const answer = await fetch(location.href, { headers: { "X-Rows-Only": "1" } });
      if (answer.ok) document.getElementById("rows").innerHTML = await answer.text();
    } catch { /* the next one may come through */ }
  };
  live.addEventListener("change", () => {
    clearInterval(timer);
    if (live.checked) { refresh(); timer = setInterval(refresh, 2000); }
  });
}
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const body = document.getElementById("curl-body").textContent;
    const quoted = "'" + body.replaceAll("'", "'\\''") + "'";
    await navigator.clipboard.writeText(`curl -H 'Content-Type: application/json' --data ${quoted} ${location.origin}/webhooks/${button.dataset.source || ""}`);
    button.textContent = "Copied";
  });
}
