(async (path) => {
  for (;;) {
    try {
      const answer = await fetch(path, { redirect: "manual", headers: { accept: "application/json" } });
      const type = answer.headers.get("content-type") || "";
      const isWaiting = answer.status === 202 && answer.headers.has("location");
      const isBusy = answer.headers.has("retry-after") || (answer.status >= 500 && !type.includes("problem+json"));
      if (!isWaiting && !isBusy) return location.replace(path);
    } catch {}
    await new Promise((go) => setTimeout(go, 500));
  }
})(document.currentScript.dataset.path);
