(async (path) => {
  for (;;) {
    try {
      const answer = await fetch(path, { redirect: "manual", headers: { accept: "application/json" } });
      const header = (name) => answer.headers.get(name) || "";
      const isWaiting = answer.status === 202 && header("location");
      // A handler's answer can have any status, and a Retry-After. Every answer of an edge has an X-Robots-Tag.
      const isProblem = header("content-type").startsWith("application/problem+json");
      const isBusy = header("x-robots-tag") ? isProblem && header("retry-after") : answer.status >= 500;
      if (!isWaiting && !isBusy) return location.replace(path);
    } catch {}
    await new Promise((go) => setTimeout(go, 500));
  }
})(document.currentScript.dataset.path);
