// What HTML and htmx have no words for: counting down, copying, what is open or not live, finding by an id or a URL, and
// trying the API.
(() => {
  const seen = new WeakMap();

  const clock = (seconds) => {
    const pad = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
    if (!hours) return `${minutes}:${pad(seconds % 60)}`;
    return `${days ? `${days} d ` : ""}${hours % 24}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
  };

  const countDown = () => {
    const now = performance.now();
    for (const each of document.querySelectorAll("[data-left]")) {
      if (!seen.has(each)) seen.set(each, now);
      each.textContent = clock(Math.max(0, Math.round(each.dataset.left - (now - seen.get(each)) / 1000)));
    }
  };
  setInterval(countDown, 1000);
  document.addEventListener("DOMContentLoaded", countDown);
  document.addEventListener("htmx:afterSwap", countDown);

  // How long ago the times of a list were. The exact time is the title of each.
  const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const sayHowLongAgo = () => {
    for (const each of document.querySelectorAll("[data-ago]")) {
      const seconds = (new Date(each.dateTime) - Date.now()) / 1000;
      const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
      each.textContent = relative.format(Math.trunc(seconds / size), unit);
    }
  };
  setInterval(sayHowLongAgo, 15000);
  document.addEventListener("DOMContentLoaded", sayHowLongAgo);
  document.addEventListener("htmx:afterSwap", sayHowLongAgo);

  // What a person has opened stays open when a live part of the page is loaded again.
  let open = [];
  document.addEventListener("htmx:beforeSwap", () => {
    open = [...document.querySelectorAll("details[id][open]")].map((each) => each.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  });

  // A colleague who opens a link has done nothing yet, and has not asked for secrets.
  const addressToShare = () => {
    const address = new URL(location.href);
    for (const name of ["done", "secrets"]) address.searchParams.delete(name);
    return address.href;
  };

  // The first event of a stream comes when the server has it, so it says that the page is live again.
  const sayNotLive = (isLost) => {
    document.getElementById("not-live").hidden = !isLost;
  };
  document.addEventListener("htmx:sseMessage", () => sayNotLive(false));
  for (const name of ["htmx:sseError", "htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, () => sayNotLive(!resumes));
  }

  // A page that asks again by itself is live when it gets a response.
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.requestConfig.elt.matches("[hx-trigger^=every]")) sayNotLive(false);
  });

  // A browser has six connections to a host for all its tabs. A hidden page gives its own back until it is seen again.
  let source, resumes = false;
  document.addEventListener("htmx:sseOpen", (event) => {
    source = event.detail.source;
    if (document.hidden) source.close();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source?.close();
    else if (source?.readyState === EventSource.CLOSED) {
      resumes = true;
      source.onerror(new Event("error"));  // the extension connects again
      resumes = false;
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-address]");
    if (!button) return;
    const source = button.dataset.copy ? document.getElementById(button.dataset.copy).textContent : addressToShare();
    await navigator.clipboard.writeText(source);
    const said = document.getElementById("copied");
    said.textContent = said.dataset.done;
  });

  // The state in a URL is a secret: it becomes the id of its callback here, and never leaves the browser.
  const pathOf = async (text) => {
    const call = text.match(/[0-9a-f]{32}-[0-9a-f]{16}/);
    if (call) return `/calls/${call[0]}`;
    const state = text.match(/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/);
    if (state) {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(state[0])));
      return `/callbacks/${Array.from(hash.slice(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    }
    return /^[0-9a-f]{8,32}(-[0-9a-f]{0,16})?$/.test(text) ? `/find/${text}` : "";
  };

  // A URL has a scheme before its first "=", so it is no label. It is looked for at the owner whose page this is.
  const labelPathOf = (text) => {
    const owner = new URLSearchParams(location.search).get("owner") ?? "";
    return /^[^=:/]+=/.test(text) ? `/find?${new URLSearchParams({ label: text, owner })}` : "";
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target.closest(".find");
    if (!form) return;
    event.preventDefault();
    const text = form.querySelector("input").value.trim();
    const path = (await pathOf(text.toLowerCase())) || labelPathOf(text);
    if (path) location.assign(path);
    else form.querySelector("output").textContent = form.dataset.error;
  });

  // The page of the API: the same request by this browser and as a curl command. It sends a token, and never the cookie.
  const trial = document.querySelector(".try");
  if (trial) {
    const [rpc, token, message] = ["rpc", "api-token", "message"].map((id) => document.getElementById(id));
    const [status, answer, curl] = ["api-status", "api-answer", "api-curl"].map((id) => document.getElementById(id));

    const showCurl = () => {
      const quoted = message.value.replaceAll("'", "'\\''");
      const authorization = token.value ? ' \\\n  -H "Authorization: Bearer $TOKEN"' : "";
      curl.textContent = `curl ${location.origin}${rpc.value}${authorization} \\\n  --json '${quoted}'`;
    };
    const choose = () => {
      const chosen = rpc.selectedOptions[0].dataset;
      document.getElementById("rpc-summary").textContent = chosen.summary;
      message.value = chosen.example;
      showCurl();
    };
    choose();
    rpc.addEventListener("change", choose);
    trial.addEventListener("input", showCurl);

    trial.addEventListener("submit", async (event) => {
      event.preventDefault();
      const headers = { "Content-Type": "application/json" };
      if (token.value) headers.Authorization = `Bearer ${token.value}`;
      try {
        const got = await fetch(rpc.value, { method: "POST", credentials: "omit", headers, body: message.value });
        answer.textContent = JSON.stringify(await got.json(), null, 2);
        status.textContent = `HTTP ${got.status}`;
        answer.hidden = false;
      } catch {
        status.textContent = trial.dataset.lost;
        answer.hidden = true;
      }
    });
  }
})();
