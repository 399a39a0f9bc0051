// Makes the pages lively: changes as they come, keys, folding, copying. Every page also works without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("on");
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const tree = () => $("#tree");
  const search = $("#search");

  // The page at an address, or nothing where the server does not answer.
  let asked = 0;
  async function fetched(address) {
    const response = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
    if (!response || !response.ok) return null;
    return new DOMParser().parseFromString(await response.text(), "text/html");
  }
  const swap = (id, from) => {
    const [old, now] = [document.getElementById(id), from.getElementById(id)];
    if (!old || !now || old.innerHTML === now.innerHTML) return;
    old.replaceChildren(...document.importNode(now, true).childNodes);
  };

  // ---- live ----
  const state = $("#state");
  const live = document.body.dataset.live;
  if (live && window.EventSource) {
    let due = 0, last = 0, source = null;
    const refresh = () => {
      due = 0;
      last = Date.now();
      (tree() ? growSession : growList)();
    };
    const soon = () => { if (!due) due = setTimeout(refresh, Math.max(60, 400 - (Date.now() - last))); };
    const say = (what) => {
      if (!state) return;
      state.firstElementChild.textContent = what;
      state.classList.toggle("lost", what !== "live");
    };
    // A browser opens only so many connections to one server: those that nobody looks at are given up.
    const connect = () => {
      if (document.hidden) { source?.close(); source = null; return; }
      if (source) return;
      source = new EventSource(live);
      source.addEventListener("session", soon);
      source.onopen = () => { if (last) soon(); last = last || 1; say("live"); };
      source.onerror = () => say("not connected");
    };
    connect();
    document.addEventListener("visibilitychange", connect);
    // A session that nothing more is heard of has ended: the page says so without being reloaded.
    setInterval(() => { if (!document.hidden && $(".dot.run", $("#rows") || $("#facts") || root)) soon(); }, 10000);
  }

  const waiting = new Map();
  async function growList() {
    const now = await fetched(location.href);
    if (!now) return;
    swapTotal(now);
    const rows = $("#rows");
    if (!rows) { if ($("#rows", now)) location.reload(); return; }
    const known = new Map($$("tr[data-id]", rows).map((row) => [row.dataset.id, row]));
    const scrolled = scrollY > 80;
    let before = rows.firstElementChild;
    for (const row of $$("#rows > tr", now)) {
      const old = known.get(row.dataset.id);
      if (old) {
        if (old.innerHTML !== row.innerHTML) old.innerHTML = row.innerHTML;
        old.className = row.className;
        if (!scrolled) before = old.nextElementSibling;
      } else if (scrolled) {
        waiting.set(row.dataset.id, row);
      } else {
        const fresh = document.importNode(row, true);
        fresh.classList.add("new");
        rows.insertBefore(fresh, before);
      }
    }
    announce();
  }
  function swapTotal(now) {
    const [old, total] = [$(".top .total"), $(".top .total", now)];
    if (old && total) old.textContent = total.textContent;
  }
  const fresh = $("#fresh");
  function announce() {
    if (!fresh) return;
    fresh.hidden = waiting.size === 0;
    fresh.textContent = `${waiting.size} new`;
  }
  function letIn() {
    if (waiting.size === 0) return;
    waiting.clear();
    announce();
    growList();
  }
  fresh?.addEventListener("click", () => { scrollTo({ top: 0 }); setTimeout(letIn, 50); });
  addEventListener("scroll", () => { if (scrollY < 40) letIn(); }, { passive: true });

  // Times that pass.
  const ago = (s) => s < 1 ? "now" : s < 60 ? `${Math.round(s)} s ago` : s < 3600 ? `${Math.round(s / 60)} min ago`
    : s < 86400 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} d ago`;
  setInterval(() => {
    for (const time of $$("time[data-t]")) time.textContent = ago((Date.now() - time.dataset.t) / 1000);
  }, 5000);

  // ---- the tree ----
  const address = () => new URL(location.href);
  const rowsInSight = () => $$(".row", tree());
  const chosen = () => $(".row.sel", tree());
  const link = (row) => $("a.pk", row)?.getAttribute("href");
  const idOf = (row) => row && link(row) && new URLSearchParams(link(row).slice(1)).get("event");

  // Parts of the tree that come into sight are asked for then.
  const seen = window.IntersectionObserver && tree() ? new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) fill(target);
  }, { root: $("#left"), rootMargin: "800px 0px" }) : null;
  function watch() {
    for (const part of $$(".chunk[data-wait]", tree())) seen?.observe(part);
  }
  async function fill(part) {
    if (part.dataset.busy) return part.dataset.busy;
    seen?.unobserve(part);
    part.dataset.busy = "1";
    const at = address();
    at.searchParams.set("from", part.dataset.from);
    const now = await fetched(at);
    const full = now && $(`.chunk[data-from="${part.dataset.from}"]:not([data-wait])`, now);
    delete part.dataset.busy;
    if (!full) return;
    part.replaceChildren(...document.importNode(full, true).childNodes);
    part.removeAttribute("data-wait");
    mark();
  }

  function mark() {
    const id = address().searchParams.get("event") || current;
    for (const row of rowsInSight()) {
      const on = idOf(row) === id;
      row.classList.toggle("sel", on);
      row.setAttribute("aria-selected", on);
      row.tabIndex = on ? 0 : -1;
      // The tree is one stop for the tab key; within it the arrows lead.
      for (const inner of $$("a", row)) inner.tabIndex = -1;
    }
  }
  let current = tree() && idOf(chosen());

  async function choose(row, { push = true, focus = true } = {}) {
    const id = idOf(row);
    if (!id) return;
    const at = address();
    at.searchParams.set("event", id);
    at.searchParams.delete("from");
    current = id;
    history[push ? "pushState" : "replaceState"](null, "", at);
    mark();
    if (focus) row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    await show(at);
  }
  async function show(at) {
    const mine = ++asked;
    const now = await fetched(at);
    if (!now || mine !== asked) return;
    swap("detail", now);
    const detail = $("#detail");
    if (detail) detail.scrollTop = 0;
    highlight();
  }

  // The whole tree anew, at the place where it is.
  async function redraw(at, keep = true) {
    const scroller = $("#left");
    const top = scroller.scrollTop;
    const from = Math.floor(top / 24);
    const asks = new URL(at);
    if (keep) asks.searchParams.set("from", from);
    const focused = tree().contains(document.activeElement);
    const now = await fetched(asks);
    if (!now) return;
    const loaded = new Map($$(".chunk:not([data-wait])", tree()).map((part) => [part.dataset.from, part]));
    const same = $("#tree", now).dataset.total === tree().dataset.total && keep;
    const next = document.importNode($("#tree", now), true);
    for (const part of $$(".chunk[data-wait]", next)) {
      const old = same && loaded.get(part.dataset.from);
      if (old) part.replaceWith(old);
    }
    tree().replaceChildren(...next.childNodes);
    for (const kind of ["total", "bad", "hit"]) tree().dataset[kind] = next.dataset[kind];
    $(".axis").replaceWith(document.importNode($(".axis", now), true));
    swap("facts", now);
    swap("title", now);
    document.title = now.title;
    scroller.scrollTop = top;
    watch();
    mark();
    if (focused) chosen()?.focus({ preventScroll: true });
    return now;
  }
  async function growSession() {
    const now = await redraw(address());
    if (!now || !getSelection().isCollapsed) return;
    const open = $$("#detail details[open]").length;
    if (!open) swap("detail", now);
    highlight();
  }

  async function fold(row, want) {
    const toggle = $("a.tw", row);
    if (!toggle || (row.getAttribute("aria-expanded") === "true") === want) return false;
    const at = new URL(toggle.getAttribute("href"), location.href);
    const asks = address();
    const folds = at.searchParams.get("fold");
    folds ? asks.searchParams.set("fold", folds) : asks.searchParams.delete("fold");
    history.replaceState(null, "", asks);
    await redraw(asks);
    return true;
  }

  async function step(by) {
    const rows = rowsInSight();
    let at = rows.indexOf(chosen()) + by;
    if (rows[at]) {
      while (rows[at] && !link(rows[at])) at += by;
      if (rows[at]) return choose(rows[at], { push: false });
    }
    // The next one may not be here yet.
    const part = chosen()?.parentElement;
    const next = by > 0 ? part?.nextElementSibling : part?.previousElementSibling;
    if (next?.dataset.wait !== undefined) { await fill(next); return step(by); }
  }
  // The next line of a kind, wherever it is: the tree says where they stand.
  async function seek(kind) {
    const places = (tree().dataset[kind] || "").split(" ").filter(Boolean).map(Number);
    if (!places.length) return;
    const place = (row) => Number(row.parentElement.dataset.from) + [...row.parentElement.children].indexOf(row);
    const here = chosen() ? place(chosen()) : -1;
    const next = places.find((at) => at > here) ?? places[0];
    const part = $$(".chunk", tree()).findLast((part) => Number(part.dataset.from) <= next);
    if (part?.dataset.wait !== undefined) await fill(part);
    const row = part?.children[next - Number(part.dataset.from)];
    if (row) await choose(row);
  }

  // What was searched for, marked in the event too; without touching what is shown.
  function highlight() {
    if (!window.Highlight || !CSS.highlights) return;
    CSS.highlights.delete("hit");
    const said = tree() && search?.value.trim().toLowerCase();
    const detail = $("#detail");
    if (!said || !detail) return;
    const hits = new Highlight();
    const walk = document.createTreeWalker(detail, NodeFilter.SHOW_TEXT);
    let first = null;
    while (walk.nextNode() && hits.size < 500) {
      const node = walk.currentNode, content = node.data.toLowerCase();
      for (let at = content.indexOf(said); at >= 0; at = content.indexOf(said, at + said.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, Math.min(at + said.length, node.length));
        hits.add(range);
        first ??= node.parentElement;
      }
    }
    CSS.highlights.set("hit", hits);
    first?.closest("details:not([open])")?.setAttribute("open", "");
  }

  if (tree()) {
    watch();
    mark();
    const row = chosen();
    if (row) {
      const scroller = $("#left");
      scroller.scrollTop = Math.max(0, row.offsetTop - scroller.offsetTop - 160);
    }
    tree().addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      const row = event.target.closest(".row");
      if (!row) return;
      event.preventDefault();
      if (event.target.closest("a.tw")) fold(row, row.getAttribute("aria-expanded") !== "true");
      else choose(row);
    });
    $("#detail").addEventListener("click", (event) => {
      const tab = event.target.closest(".tabs a:not(.copy)");
      if (!tab || event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      const at = new URL(tab.getAttribute("href"), location.href);
      history.replaceState(null, "", at);
      show(at);
    });
    addEventListener("popstate", () => { current = address().searchParams.get("event") || current; redraw(address()).then(() => show(address())); });
    const form = $(".find");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const at = address();
      const said = search.value.trim();
      said ? at.searchParams.set("q", said) : at.searchParams.delete("q");
      history.replaceState(null, "", at);
      const now = await redraw(at, false);
      const found = now && $(".found", now);
      $(".found", form)?.remove();
      if (found) search.after(document.importNode(found, true));
      highlight();
      if (said) { await seek("hit"); chosen()?.focus(); }
    });
    search.addEventListener("search", () => { if (!search.value) form.requestSubmit(); });
    highlight();
  }
  $(".filters")?.addEventListener("change", (event) => event.target.form.requestSubmit());

  // ---- keys ----
  addEventListener("keydown", async (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (typing) {
      if (event.key === "Escape") { event.target.blur(); (chosen?.() || tree())?.focus(); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); search?.focus(); search?.select(); return; }
    if (event.key === "?") { $("#keys")?.showModal(); return; }
    if (!tree() || $("#keys")?.open) {
      if (!tree() && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        const links = $$("#rows td.name a");
        const next = links[links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
        if (next) { event.preventDefault(); next.focus(); }
      }
      return;
    }
    const reading = $("#detail").contains(event.target);
    if (event.key === "Escape") { chosen()?.focus(); return; }
    if (event.key === "e") return seek("bad");
    if (event.key === "n") return seek("hit");
    if (reading) return;
    const row = chosen();
    switch (event.key) {
      case "ArrowDown": case "j": event.preventDefault(); return step(1);
      case "ArrowUp": case "k": event.preventDefault(); return step(-1);
      case "Home": event.preventDefault(); $("#left").scrollTop = 0; return;
      case "End": event.preventDefault(); $("#left").scrollTop = 1e9; return;
      case "ArrowLeft": {
        event.preventDefault();
        if (row && await fold(row, false)) return;
        const level = row && Number(row.getAttribute("aria-level"));
        const rows = rowsInSight();
        for (let at = rows.indexOf(row) - 1; at >= 0; at--) {
          if (Number(rows[at].getAttribute("aria-level")) < level && link(rows[at])) return choose(rows[at], { push: false });
        }
        return;
      }
      case "ArrowRight":
        event.preventDefault();
        if (row && row.hasAttribute("aria-expanded") && !(await fold(row, true))) return step(1);
        return;
      case "Enter": $("#detail").focus(); return;
    }
  });
  for (const button of $$("[data-keys]")) button.addEventListener("click", () => $("#keys").showModal());

  // ---- copying ----
  addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-text], [data-copy-link]");
    if (!button) return;
    const { copy, text } = button.dataset;
    const content = text ?? (copy ? fetch(copy).then((response) => response.text()) : location.href);
    const label = button.lastChild;
    const before = label.textContent;
    try {
      await navigator.clipboard.writeText(await content);
      label.textContent = "copied";
    } catch {
      label.textContent = "not copied";
    }
    setTimeout(() => { label.textContent = before; }, 1500);
  });
})();
