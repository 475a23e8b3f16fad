"use strict";
// Progressive enhancement: every page works without this script.
(() => {
  const url = (path) => new URL(path, location.origin);
  const status = () => document.getElementById("status");

  // "12 s ago" keeps its meaning while the page is open.
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const ago = (seconds) => {
    if (seconds < 1) return "now";
    const [size, unit] = units.find(([size]) => seconds >= size);
    return `${Math.floor(seconds / size)} ${unit} ago`;
  };
  const updateTimes = () => {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const seconds = (Date.now() - Date.parse(element.dateTime)) / 1000;
      if (seconds >= 0) element.textContent = ago(seconds);
    }
  };
  setInterval(updateTimes, 10000);

  // Gets a page, and replaces elements of this page by those with the same ids of that one.
  let running = null;
  const replace = async (address, ids) => {
    running?.abort();
    const own = new AbortController();
    running = own;
    const targets = ids.map((id) => document.getElementById(id));
    for (const target of targets) target.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address, { headers: { Accept: "text/html" }, signal: own.signal });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (own.signal.aborted) return false;
      for (const target of targets) {
        const replacement = page.getElementById(target.id);
        if (replacement) target.replaceChildren(...replacement.childNodes);
      }
      say(page.getElementById("status")?.textContent ?? problemOf(page));
      addCopyButtons();
      return true;
    } catch (error) {
      if (error.name !== "AbortError") say("Scrapebroker does not respond.");
      return false;
    } finally {
      if (running === own) for (const target of targets) target.removeAttribute("aria-busy");
    }
  };
  const say = (text) => {
    if (status()) status().textContent = text;
  };
  const problemOf = (page) => page.querySelector("main")?.textContent.trim() ?? "The request failed.";

  // A filter that is applied while it is typed.
  for (const form of document.querySelectorAll("form[data-live]")) {
    let timer = null;
    const apply = async () => {
      clearTimeout(timer);
      const address = url(new URL(form.action).pathname);
      address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
      if (await replace(address, [form.dataset.live])) history.replaceState(null, "", address);
    };
    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 200);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      apply();
    });
  }

  // "Scrape now" without leaving the page. Then everything that it changes is shown anew.
  const scrape = async (action) => {
    const response = await fetch(action, { method: "POST", headers: { Accept: "text/html" }, redirect: "manual" });
    // The redirect leads to this page.
    if (response.type === "opaqueredirect" || response.ok) return null;
    return problemOf(new DOMParser().parseFromString(await response.text(), "text/html"));
  };
  for (const form of document.querySelectorAll("form[data-scrape]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      say("Scraping all instances …");
      const problem = await scrape(url(new URL(form.action).pathname)).catch(() => "Scrapebroker does not respond.");
      if (problem) {
        say(problem);
      } else {
        const refreshed = [...document.querySelectorAll("[data-refresh]")].map((element) => element.id);
        await replace(url(location.pathname + location.search), refreshed);
      }
      button.disabled = false;
      button.focus();
    });
  }

  // A button that copies the snippet above it.
  const addCopyButtons = () => {
    for (const snippet of document.querySelectorAll("main pre[aria-label]:not(.has-copy)")) {
      snippet.classList.add("has-copy");
      const [button, name] = [document.createElement("button"), document.createElement("span")];
      button.type = "button";
      button.className = "copy";
      name.className = "hidden-text";
      name.textContent = ` “${snippet.getAttribute("aria-label")}”`;
      button.append("Copy", name);
      button.addEventListener("click", () => show(button, snippet));
      snippet.after(button);
    }
  };
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      // Browsers offer the clipboard to pages of https and of this machine only.
      const selection = getSelection();
      selection.selectAllChildren(element);
      const copied = document.execCommand("copy");
      if (copied) selection.removeAllRanges();
      return copied;
    }
  };
  const show = async (button, snippet) => {
    const copied = await copy(snippet);
    const label = button.firstChild;
    label.data = copied ? "Copied" : "Selected: copy it with the keyboard";
    document.getElementById("copied").textContent = label.data;
    clearTimeout(button.timer);
    button.timer = setTimeout(() => {
      label.data = "Copy";
      document.getElementById("copied").textContent = "";
    }, 2000);
  };
  addCopyButtons();
})();
