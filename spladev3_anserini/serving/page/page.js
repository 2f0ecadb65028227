// A question -> its terms, the hits, and why each is there. All that comes from the server becomes
// text nodes or attributes of known names; nothing is parsed as HTML.

const SHOWN = 10; // terms of a group before "Show all"
const PAUSE = 100; // milliseconds between the searches while a slider moves
const WAYS = { expand: "the model’s, new terms too", lexical: "the model’s, own words only",
  bow: "1 for each word", static: "a table’s" };
const $ = (id) => document.getElementById(id);
const figure = (value) => Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(4);
const counted = (count, word) => `${figure(count)} ${word}${count === 1 ? "" : "s"}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);

let indexes = []; // what /models says
let asked = {}; // the question on show: q, index, variant, hits, view, changed (Map: term -> impact)
let plain = null; // the server's answer to it, with the weights of the model
let shown = {}; // the query of the hits on show, as /explain takes it
let open = new Map(); // docid -> the panel that is open there
let timer = 0; // of the next search while a slider moves
const running = {}; // the latest request of each kind; a newer one stops it

/** An element with attributes, listeners (functions) and children; strings become text. */
function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** The JSON that the server answers; throws an error of one line. */
async function call(path, body, signal) {
  const options = { signal };
  if (body) {
    const headers = { "Content-Type": "application/json" };
    Object.assign(options, { method: "POST", headers, body: JSON.stringify(body) });
  }
  const response = await fetch(path, options).catch((error) => {
    throw signal?.aborted ? error : new Error("The server does not answer. Is it still running?");
  });
  const answer = await response.json().catch(() => null);
  signal?.throwIfAborted();
  if (!response.ok || !answer) {
    throw new Error(answer?.error ?? `The server answered ${response.status}; see its log.`);
  }
  return answer;
}

/** Runs work that waits for the server; work of the same kind that still waits is dropped. */
async function latest(kind, work, failed) {
  running[kind]?.abort();
  const control = (running[kind] = new AbortController());
  document.body.setAttribute("aria-busy", "true");
  try {
    await work(control.signal);
  } catch (error) {
    if (!control.signal.aborted) failed(error.message);
  }
  if (running[kind] === control) delete running[kind];
  document.body.setAttribute("aria-busy", String(Object.keys(running).length > 0));
}

function say(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

// The address -------------------------------------------------------------------------------------

function readAddress() {
  const address = new URLSearchParams(location.search);
  const index = indexes.find(({ name }) => name === address.get("index")) ?? indexes[0];
  let changed = new Map();
  try {
    changed = new Map(Object.entries(JSON.parse(address.get("weights") ?? "{}"))
      .filter(([, impact]) => Number.isInteger(impact) && impact >= 0));
  } catch { /* an address that somebody cut: the weights of the model */ }
  return {
    q: address.get("q") ?? "", index: index?.name, changed,
    variant: index?.variants.find((name) => name === address.get("variant")) ?? index?.variants[0],
    hits: Number(address.get("hits")) || 10, view: address.get("view") ?? "ranking",
  };
}

function writeAddress(how) {
  const address = new URLSearchParams({ q: asked.q, index: asked.index });
  const weights = Object.fromEntries(asked.changed);
  if (asked.variant) address.set("variant", asked.variant);
  if (asked.hits !== 10) address.set("hits", asked.hits);
  if (asked.view !== "ranking") address.set("view", asked.view);
  if (asked.changed.size) address.set("weights", JSON.stringify(weights));
  if (`?${address}` === location.search) return;
  try {
    history[how](null, "", `?${address}`);
  } catch { /* a browser that allows so many a minute: a later one is written again */ }
}

// The question ------------------------------------------------------------------------------------

function fillForm() {
  $("question").value = asked.q;
  $("index").value = asked.index;
  fillVariants(asked.variant);
  if (![...$("count").options].some((option) => Number(option.value) === asked.hits)) {
    $("count").append(element("option", {}, String(asked.hits)));
  }
  $("count").value = String(asked.hits);
}

function fillVariants(chosen) {
  const index = indexes.find(({ name }) => name === $("index").value);
  const { variants } = index;
  $("variant").replaceChildren(...variants.map((name) =>
    element("option", { value: name }, WAYS[name] ? `${name}: ${WAYS[name]}` : name)));
  $("weighed").hidden = variants.length < 2;
  if (variants.includes(chosen)) $("variant").value = chosen;
  $("facts").textContent = [counted(index.documents, "document"), index.model,
    index.engine === "lucene" ? "Lucene" : "exact engine"].join(" · ");
}

/** Shows what the address asks; the back button comes here too. */
function follow() {
  clearTimeout(timer);
  timer = 0;
  Object.values(running).forEach((control) => control.abort());
  asked = readAddress();
  open = new Map();
  fillForm();
  say("");
  document.title = asked.q ? `${asked.q} · spladev3_anserini` : "spladev3_anserini";
  $("start").hidden = Boolean(asked.q);
  document.querySelector(".skip").hidden = !asked.q;
  if (asked.q) return search();
  $("answer").hidden = true;
  $("question").focus();
}

function submitted(event) {
  event?.preventDefault();
  const q = $("question").value.trim();
  if (!q) return;
  if (!indexes.length) return location.assign(`?${new URLSearchParams({ q })}`);
  asked = { ...asked, q, index: $("index").value, variant: $("variant").value,
    hits: Number($("count").value), changed: new Map() };
  writeAddress("pushState");
  follow();
}

function search() {
  $("answer").inert = true; // its sliders are those of the question before
  latest("search", async (signal) => {
    plain = await call("search", { ...unchanged(), hits: asked.hits }, signal);
    const answer = asked.changed.size ? await reweighed(signal) : plain;
    $("answer").hidden = $("answer").inert = false;
    showQuery();
    showHits(answer);
    showView();
  }, (message) => {
    $("answer").hidden = true;
    say(message);
  });
}

/** The question as /search and /explain take it, with the weights of the model. */
const unchanged = () => ({ query: asked.q, index: asked.index, variant: asked.variant || null });

/** The query's impacts: the model's, with what was changed; terms that are off are left out. */
function impacts() {
  const all = new Map([...plain.impacts.map(({ term, impact }) => [term, impact]), ...asked.changed]);
  return new Map([...all].filter(([, impact]) => impact > 0));
}

/** The same with the weights as they are now. */
function query() {
  if (!asked.changed.size) return unchanged();
  return { impacts: Object.fromEntries(impacts()), index: asked.index };
}

async function reweighed(signal) {
  if (!asked.changed.size) return plain;
  return impacts().size ? call("search", { ...query(), hits: asked.hits }, signal) : { hits: [] };
}

function changed() {
  showBody();
  timer ||= setTimeout(() => {
    timer = 0;
    writeAddress("replaceState");
    latest("search", async (signal) => {
      showHits(await reweighed(signal));
      say("");
    }, (message) => {
      $("hits").replaceChildren();
      say(message);
    });
  }, PAUSE);
}

// The query's terms -------------------------------------------------------------------------------

function showQuery() {
  const given = new Set(plain.impacts.map(({ term }) => term));
  const others = [...asked.changed.keys()].filter((term) => !given.has(term)); // of the address
  const terms = [...plain.impacts, ...others.map((term) => ({ term, impact: 0, own: null }))];
  const most = Math.max(10, Math.ceil(1.5 * Math.max(0, ...terms.map(({ impact }) => impact))));
  $("unweighed").hidden = indexes.find(({ name }) => name === asked.index).kind !== "bm25";
  $("terms").replaceChildren(...groups(terms, "In the question", "Added by the model",
    (term) => slider(term, most)));
  showBody();
}

function showBody() {
  $("reset").hidden = !asked.changed.size;
  $("cut").textContent = plain.cut ? `${counted(plain.cut, "wordpiece")} at the end of the question ` +
    "were cut off: it is too long for the model." : "";
  $("terms").classList.toggle("changed", asked.changed.size > 0);
  const weights = plain.impacts.length ? { impacts: Object.fromEntries(impacts()) } : { query: asked.q };
  $("body").textContent = JSON.stringify({ ...weights, index: asked.index, hits: asked.hits }, null, 1);
  $("copy").textContent = "Copy";
}

/** Terms apart by whether they are the text's own (null: its text is not known), as lists of rows. */
function groups(terms, own, added, row) {
  const total = sum(terms.map(({ impact }) => impact));
  const kinds = [[own, "own", true], [added, "added", false], ["Terms", "any", null]];
  return kinds.map(([title, kind, which]) => [title, kind, terms.filter((term) => term.own === which)])
    .filter(([, , part]) => part.length).map(([title, kind, part]) => {
      const share = Math.round(100 * sum(part.map(({ impact }) => impact)) / total);
      const rows = part.map(row);
      const rest = rows.slice(SHOWN);
      rest.forEach((node) => { node.hidden = true; });
      const more = rest.length > 0 && element("button", { type: "button", class: "quiet", click() {
        rest.forEach((node) => { node.hidden = false; });
        rest[0].querySelector("input")?.focus();
        more.remove();
      } }, `Show all ${part.length}`);
      return element("div", { class: `group ${kind}` },
        element("h3", {}, title, element("span", { class: "share" }, ` ${share} %`)),
        element("ul", {}, ...rows), more || null);
    });
}

function slider({ term, impact }, most) {
  const now = asked.changed.get(term) ?? impact;
  most = Math.max(most, now);
  const box = element("input", { type: "checkbox", change() {
    set(box.checked ? Number(range.value) || impact : 0);
  } });
  const range = element("input", { type: "range", min: 0, max: most, value: now || impact,
    "aria-label": `Weight of ${term}`, input() { set(range.value); } });
  const output = element("span", { class: "value", "aria-hidden": "true" });
  const row = element("li", {}, element("label", {}, box, element("span", { class: "term" }, term)),
    range, output);
  const show = (value) => {
    box.checked = value > 0;
    row.classList.toggle("off", !value);
    row.classList.toggle("changed", value !== impact);
    row.style.setProperty("--fill", `${100 * range.value / most}%`);
    row.style.setProperty("--was", `${100 * impact / most}%`);
    output.textContent = value ? figure(value) : "off";
  };
  const set = (text) => {
    const value = Number(text);
    if (value) range.value = value;
    if (value === impact) asked.changed.delete(term);
    else asked.changed.set(term, value);
    show(value);
    changed();
  };
  show(now);
  return row;
}

// The hits ----------------------------------------------------------------------------------------

function showHits({ hits, milliseconds }) {
  shown = query();
  const before = asked.changed.size ? ranks(plain) : null;
  const best = Math.max(...hits.map(({ score }) => score));
  $("hits").replaceChildren(...hits.map((hit) => hitItem(hit, before, best)));
  const others = before && hits.filter(({ docid, rank }) => before.get(docid) !== rank).length;
  const none = asked.changed.size && !impacts().size ? "Every term is switched off."
    : "No document shares a term with this question.";
  $("status").textContent = hits.length
    ? counted(hits.length, "hit") + (others ? `, ${others} moved` : "") : none;
  $("times").textContent = Object.entries(milliseconds ?? {}).filter(([, time]) => time >= 0.05)
    .map(([step, time]) => `${step} ${time.toFixed(1)} ms`).join(", ");
}

function hitItem(hit, before, best) {
  const panel = element("div", { class: "panel", hidden: true });
  const button = (kind, label) => element("button", { type: "button", class: "quiet",
    "aria-expanded": "false", "aria-label": `${label}: ${hit.docid}`, "data-kind": kind,
    click() { toggle(hit, panel, open.get(hit.docid) === kind ? null : kind); } }, label);
  const item = element("li", {},
    element("div", { class: "hit" },
      element("span", { class: "rank" }, String(hit.rank)),
      element("h3", {}, hit.docid), before && moved(hit.rank, before.get(hit.docid)),
      element("span", { class: "score" }, figure(hit.score))),
    element("div", { class: "measure", "aria-hidden": "true" }, element("span", {})),
    snippet(hit),
    element("div", { class: "acts" }, plain.impacts.length ? button("why", "Why this score") : null,
      button("document", "The document")),
    panel);
  item.style.setProperty("--fill", `${100 * hit.score / best}%`);
  if (open.has(hit.docid)) toggle(hit, panel, open.get(hit.docid), item);
  return item;
}

const ranks = ({ hits }) => new Map(hits.map(({ docid, rank }) => [docid, rank]));

/** How a hit's rank differs from the one before; nothing where it does not. */
function moved(rank, before) {
  if (rank === before) return null;
  if (!before) return element("span", { class: "moved up" }, "new");
  const way = before > rank ? "up" : "down";
  return element("span", { class: `moved ${way}` }, `${way} ${Math.abs(before - rank)}`);
}

function snippet({ snippet: pieces, text }) {
  if (!pieces && text == null) return null;
  return element("p", { class: "text" }, ...(pieces ?? [[text, false]]).map(([piece, marked]) =>
    marked ? element("mark", {}, piece) : piece));
}

async function toggle(hit, panel, kind, item = panel.parentNode) {
  if (kind) open.set(hit.docid, kind);
  else open.delete(hit.docid);
  for (const button of item.querySelectorAll(".acts button")) {
    button.setAttribute("aria-expanded", String(button.dataset.kind === kind));
  }
  panel.hidden = !kind;
  const still = () => open.get(hit.docid) === kind;
  try {
    const parts = kind === "why" ? await why(hit) : kind ? await own(hit) : [];
    if (still() || !kind) panel.replaceChildren(...parts);
  } catch (error) {
    if (still()) panel.replaceChildren(element("p", { role: "alert" }, error.message));
  }
}

async function why({ docid, score }) {
  const answer = await call("explain", { ...shown, docid });
  const most = Math.max(...answer.terms.map(({ product }) => product));
  const given = new Set(plain.impacts.filter((term) => term.own).map(({ term }) => term));
  const rows = answer.terms.map(({ term, query: weight, document: there, product }) => {
    const row = element("tr", { class: given.has(term) ? "own" : "added" },
      element("th", { scope: "row" }, term), element("td", {}, figure(weight)),
      element("td", {}, figure(there)), element("td", { class: "product" }, figure(product)));
    row.style.setProperty("--fill", `${100 * product / most}%`);
    return row;
  });
  const total = sum(answer.terms.map(({ product }) => product));
  const heads = ["Term", "Query", "Document", "Product"].map((head) =>
    element("th", { scope: "col" }, head));
  return [element("table", {}, element("caption", {}, "Query weight × document weight = product"),
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows),
    element("tfoot", {}, element("tr", {}, element("th", { scope: "row", colspan: 3 }, "Sum"),
      element("td", {}, figure(total))))),
  total === score ? null : element("p", { role: "alert" },
    `The sum is not the score ${figure(score)}: was the index replaced? Ask again.`)]
    .filter(Boolean);
}

async function own({ docid }) {
  const where = new URLSearchParams({ index: asked.index });
  const answer = await call(`documents/${encodeURIComponent(docid)}?${where}`);
  const terms = answer.impacts ?? [];
  const most = Math.max(...terms.map(({ impact }) => impact));
  const bar = ({ term, impact }) => {
    const row = element("li", {}, element("span", { class: "term" }, term),
      element("span", { class: "bar", "aria-hidden": "true" }),
      element("span", { class: "value" }, figure(impact)));
    row.style.setProperty("--fill", `${100 * impact / most}%`);
    return row;
  };
  return [answer.text == null ? element("p", { class: "soft" }, "The index keeps no text of it.")
    : element("p", { class: "text whole" }, answer.text),
  element("div", { class: "terms" }, ...groups(terms, "In the text", "Added by the model", bar))];
}

// Side by side ------------------------------------------------------------------------------------

function showView() {
  const both = asked.view === "compare";
  document.body.classList.toggle("comparing", both);
  $("ranking").setAttribute("aria-pressed", String(!both));
  $("compare").setAttribute("aria-pressed", String(both));
  $("hits").hidden = both;
  $("systems").hidden = !both;
  if (both) compare();
}

/** Every way to ask: the changed weights, each index with each of its variants, and all fused. */
function systems() {
  const several = indexes.length > 1;
  const ways = indexes.flatMap(({ name, variants }) => (variants.length ? variants : [null])
    .map((variant) => ({ title: variant ?? name, note: variant && several ? name : null,
      body: { query: asked.q, index: name, variant } })));
  if (impacts().size && asked.changed.size) {
    ways.unshift({ title: "your weights", note: several ? asked.index : null, body: query() });
  }
  const fuse = indexes.map(({ name }) => name);
  if (several) ways.push({ title: "fused", note: `${fuse.join(" + ")}, by rank`, body: { query: asked.q, fuse } });
  return ways;
}

function compare() {
  const columns = systems().map(({ title, note, body }) => {
    const list = element("ol", {}, element("li", { class: "soft" }, "…"));
    return { list, body: { ...body, hits: asked.hits }, node: element("section", { "aria-label": title },
      element("h3", {}, title, element("span", { class: "share" }, note ? ` ${note}` : "")), list) };
  });
  $("systems").replaceChildren(...columns.map(({ node }) => node));
  return latest("compare", (signal) => {
    const answers = columns.map(({ body }) => call("search", body, signal));
    return Promise.all(columns.map(async ({ list }, place) => {
      try {
        const before = place ? ranks(await answers[0].catch(() => ({ hits: [] }))) : null;
        const { hits } = await answers[place];
        list.replaceChildren(...hits.map((hit) => element("li", { "data-docid": hit.docid },
          element("div", { class: "hit" }, element("span", { class: "rank" }, String(hit.rank)),
            element("span", { class: "docid" }, hit.docid),
            before && moved(hit.rank, before.get(hit.docid)),
            element("span", { class: "score" }, figure(hit.score))), snippet(hit))));
        if (!hits.length) list.replaceWith(element("p", { class: "soft" }, "No hits."));
      } catch (error) {
        if (!signal.aborted) list.replaceWith(element("p", { class: "fault" }, error.message));
      }
    }));
  }, say);
}

/** The same document in every column, where the pointer is. */
function point(event) {
  const docid = event.target.closest?.("li")?.dataset.docid;
  for (const item of $("systems").querySelectorAll("li")) {
    item.classList.toggle("same", docid !== undefined && item.dataset.docid === docid);
  }
}

// What the page listens to ------------------------------------------------------------------------

async function copy() {
  try {
    await navigator.clipboard.writeText($("body").textContent);
    $("copy").textContent = "Copied";
  } catch { // browsers give the clipboard to https and to localhost alone
    getSelection().selectAllChildren($("body"));
    $("copy").textContent = "Selected: copy it with your keyboard";
  }
}

function look(view) {
  if (view === asked.view) return;
  asked.view = view;
  writeAddress("pushState");
  showView();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // a new fragment would be a new place to go back to
  $("results").focus();
});
$("ask").addEventListener("submit", submitted);
$("index").addEventListener("change", () => { fillVariants(); submitted(); });
for (const id of ["variant", "count"]) $(id).addEventListener("change", () => submitted());
$("reset").addEventListener("click", () => {
  asked.changed.clear();
  showQuery();
  changed();
  $("query-title").focus();
});
$("ranking").addEventListener("click", () => look("ranking"));
$("compare").addEventListener("click", () => look("compare"));
$("systems").addEventListener("pointerover", point);
$("copy").addEventListener("click", copy);
addEventListener("popstate", follow);

latest("models", async (signal) => {
  ({ indexes } = await call("models", null, signal));
  $("index").replaceChildren(...indexes.map(({ name }) => element("option", { value: name }, name)));
  $("index").parentNode.hidden = indexes.length < 2;
  follow();
}, say);
