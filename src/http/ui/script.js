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

  // Gets a page and replaces one element of this page by the same element of that one.
  let running = null;
  const replace = async (address, id, options) => {
    running?.abort();
    const own = new AbortController();
    running = own;
    const target = document.getElementById(id);
    target.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address, { ...options, headers: { Accept: "text/html" }, signal: own.signal });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const replacement = page.getElementById(id);
      const text = page.getElementById("status")?.textContent;
      if (own.signal.aborted) return null;
      if (replacement) target.replaceChildren(...replacement.childNodes);
      if (status()) status().textContent = replacement ? text : page.querySelector("main")?.textContent.trim() ?? "The request failed.";
      showCopyButtons();
      return response;
    } catch (error) {
      if (error.name !== "AbortError" && status()) status().textContent = "Scrapebroker does not respond.";
      return null;
    } finally {
      if (running === own) target.removeAttribute("aria-busy");
    }
  };

  // A filter that is applied while it is typed.
  for (const form of document.querySelectorAll("form[data-live]")) {
    let timer = null;
    const apply = async () => {
      clearTimeout(timer);
      const address = url(new URL(form.action).pathname);
      address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
      if (await replace(address, form.dataset.live)) history.replaceState(null, "", address);
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

  // "Scrape now" without leaving the page.
  for (const form of document.querySelectorAll("form[data-scrape]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      if (status()) status().textContent = "Scraping all instances …";
      await replace(url(new URL(form.action).pathname), form.dataset.scrape, { method: "POST" });
      button.disabled = false;
      button.focus();
    });
  }

  const showCopyButtons = () => {
    for (const button of document.querySelectorAll("button.copy[hidden]")) button.hidden = false;
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
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const copied = await copy(document.getElementById(button.dataset.copy));
    if (status()) status().textContent = copied ? "Copied." : "The text is selected: copy it with the keyboard.";
  });
  showCopyButtons();
})();
