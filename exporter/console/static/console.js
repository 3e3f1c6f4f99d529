// The overview page: asks the API every two seconds and redraws. Text from outside is only ever set as textContent.
const EVERY_MS = 2000;
const POINTS = 60;
const OUTCOMES = ["delivered", "in_flight", "bounced", "expired", "admin_bounced", "suppressed", "transferred"];
const RATES = ["delivery_rate", "bounce_rate", "deferral_rate", "complaint_rate"];
const history = new Map();
let lastGood = 0;

const $ = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
const words = (name) => name.replaceAll("_", " ");

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function percent(value, digits = 2) {
  return `${(100 * value).toFixed(digits)} %`;
}

function rateCell(name, rate) {
  const cell = element("td", { class: `n rate ${rate.verdict}` });
  if (rate.value === null) {
    cell.append("no data");
    return cell;
  }
  const digits = name === "complaint_rate" ? 3 : 1;
  cell.append(percent(rate.value, digits));
  cell.append(element("small", {}, `${percent(rate.low, digits)} – ${percent(rate.high, digits)}`));
  cell.title = `${count(rate.num)} of ${count(rate.den)}`;
  return cell;
}

function sparkline(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 130 26");
  svg.setAttribute("aria-hidden", "true");
  if (values.length < 2) return svg;
  const top = Math.max(1, ...values);
  const x = (i) => (130 * i / (values.length - 1)).toFixed(1);
  const line = "M" + values.map((value, i) => `${x(i)} ${(24 - 22 * value / top).toFixed(1)}`).join("L");
  for (const [d, kind] of [[`${line}L130 26L0 26Z`, "fill"], [line, "line"]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}

// What a total grew by, per minute, between the last answers. Answers come when they come: the clock is asked.
function remember(key, total) {
  const now = performance.now();
  const seen = history.get(key) ?? { last: total, at: now, steps: [] };
  if (now > seen.at) {
    seen.steps.push(60000 * Math.max(0, total - seen.last) / (now - seen.at));
    if (seen.steps.length > POINTS) seen.steps.shift();
  }
  history.set(key, { last: total, at: now, steps: seen.steps });
  return seen.steps;
}

function drawProviders(rows) {
  $("providers").tBodies[0].replaceChildren(...rows.map((row) => {
    const name = row[$("by").value];
    const line = element("tr", {}, element("th", { scope: "row" }, name === "" ? "unknown" : name));
    for (const name of ["injected", "in_flight", "delivered", "bounced", "expired"]) {
      line.append(element("td", { class: "n" }, count(row[name])));
    }
    const cell = element("td");
    cell.append(sparkline(remember(`${$("by").value}=${name}`, row.delivered)));
    line.append(cell, ...RATES.map((name) => rateCell(name, row[name])));
    return line;
  }));
}

function tile(title, value, small, verdict = "") {
  return element("div", { class: "tile" }, element("h3", {}, title), element("strong", { class: verdict }, value),
    element("small", {}, small));
}

function drawTiles(total, steps) {
  const of = (rate) => rate.value === null ? "no data" : `${count(rate.num)} of ${count(rate.den)}`;
  const show = (rate, digits) => rate.value === null ? "–" : percent(rate.value, digits);
  const recent = steps.slice(-5);
  const perMinute = recent.length ? recent.reduce((a, b) => a + b, 0) / recent.length : 0;
  $("tiles").replaceChildren(
    tile("Processed per minute", count(Math.round(perMinute)), `${count(total.injected)} injected`),
    tile("Delivery success", show(total.delivery_rate, 2), of(total.delivery_rate), total.delivery_rate.verdict),
    tile("Bounces", show(total.bounce_rate, 2), of(total.bounce_rate), total.bounce_rate.verdict),
    tile("Deferred at least once", show(total.deferral_rate, 2), of(total.deferral_rate), total.deferral_rate.verdict),
    tile("Complaints", show(total.complaint_rate, 3), of(total.complaint_rate), total.complaint_rate.verdict),
    tile("In flight", count(total.in_flight), `completion ${show(total.completion, 1)}`),
  );
}

function drawIdentity(total, holds) {
  const parts = OUTCOMES.filter((name) => total[name] > 0);
  $("identity-bar").replaceChildren(...parts.map((name) => {
    const part = element("i");
    part.style.flexGrow = total[name];
    part.style.background = `var(--${name})`;
    part.title = `${words(name)}: ${count(total[name])}`;
    return part;
  }));
  $("identity-bar").setAttribute("aria-label", parts.map((name) => `${words(name)} ${total[name]}`).join(", "));
  $("identity-legend").replaceChildren(...parts.map((name) => {
    const item = element("li", {}, `${words(name)} ${count(total[name])}`);
    item.style.setProperty("--c", `var(--${name})`);
    return item;
  }));
  const sum = OUTCOMES.reduce((all, name) => all + total[name], 0);
  const right = holds && sum === total.injected;
  $("identity-verdict").textContent = right
    ? `${count(total.injected)} injected, all accounted for` : `the sum is off by ${total.injected - sum}: see mtascope status`;
  $("identity-verdict").className = right ? "" : "bad";
}

function drawReasons(rows) {
  $("reasons").tBodies[0].replaceChildren(...rows.map((row) => {
    const reply = [row.code, row.enhanced, row.text].filter(Boolean).join(" ");
    const what = row.origin === "local" ? `${words(row.type)} (ours)` : words(row.type);
    return element("tr", {}, element("td", { class: "n" }, count(row.events)), element("td", {}, row.provider),
      element("td", {}, what), element("td", {}, element("span", { class: "tag" }, words(row.bounce_class))),
      element("td", { class: "reply" }, reply), element("td", {}, row.last_seen.slice(11, 19)));
  }));
}

function drawEvent(event) {
  const reply = [event.code, event.enhanced, event.text].filter(Boolean).join(" ");
  const cause = event.bounce_class ? element("span", { class: "tag" }, words(event.bounce_class)) : "";
  return element("tr", {}, element("td", {}, event.time.slice(0, 23).replace("T", " ")), element("td", {}, words(event.type)),
    element("td", {}, event.peer_host ?? ""), element("td", {}, cause), element("td", { class: "reply" }, reply));
}

function drawMessage(message) {
  const late = [message.returned && "returned later", message.complained && "complained"].filter(Boolean);
  const title = element("h3", {}, `${message.recipient} at ${message.provider}: ${[words(message.outcome), ...late].join(", ")}`);
  const ids = [message.ids.message_id && `Message-ID ${message.ids.message_id}`, `queue ids ${message.ids.queue_ids.join(", ")}`,
    message.tenant && `tenant ${message.tenant}`, message.campaign && `campaign ${message.campaign}`].filter(Boolean);
  return element("article", {}, title, element("p", {}, ids.join(" · ")),
    element("table", {}, element("tbody", {}, ...message.events.map(drawEvent))));
}

async function search(event) {
  event.preventDefault();
  const identifier = $("identifier").value.trim();
  $("found").hidden = identifier === "";
  if (identifier === "") return;
  try {
    const { messages } = await ask(`v1/trace?limit=20&id=${encodeURIComponent(identifier)}`);
    $("found-title").textContent = messages.length ? `What happened to ${identifier}` : `Nothing is known of ${identifier}`;
    $("found-messages").replaceChildren(...messages.map(drawMessage));
  } catch (error) {
    $("found-title").textContent = `No answer (${error.message})`;
    $("found-messages").replaceChildren();
  }
}

function fill(table, rows) {
  $(`${table}-section`).hidden = rows.length === 0;
  $(table).tBodies[0].replaceChildren(...rows.map((cells) => {
    const line = element("tr");
    for (const [text, kind] of cells) line.append(element("td", kind ? { class: kind } : {}, text));
    return line;
  }));
}

const age = (seconds) => seconds < 90 ? `${seconds.toFixed(0)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
const level = (value) => value <= 1 ? percent(value) : count(Math.round(value));

function drawIncidents(rows) {
  fill("incidents", rows.slice(0, 10).map((row) => [
    [row.closed === null ? "open" : "over", row.closed === null ? "bad" : ""],
    [words(row.kind), ""], [row.provider, ""], [row.began.slice(5, 16).replace("T", " "), ""],
    [level(row.level), "n"], [level(row.baseline), "n"],
    [[...row.causes.slice(0, 2).map((cause) => `${cause.dimension} ${cause.value}`), ...(row.advice ?? []).slice(0, 1)].join("; "), ""],
  ]));
}

function drawQueues(rows) {
  fill("queues", rows.map((row) => [
    [row.domain, ""], [row.provider, ""], [count(row.in_flight), "n"], [count(row.deferred), "n"], [age(row.oldest_s), "n"],
    [row.reply ?? "", "reply"],
  ]));
}

// The token comes once, behind #, which browsers send nowhere; it is kept for this tab and taken out of the address.
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    window.history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

async function ask(path) {
  const headers = { accept: "application/json" };
  const secret = token();
  if (secret) headers.authorization = `Bearer ${secret}`;
  const response = await fetch(path, { headers });
  if (response.status === 401) throw new Error("this page needs a token: open the address that was printed at start");
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  const since = new Date(Date.now() - 1000 * Number($("range").value)).toISOString();
  try {
    const query = `since=${encodeURIComponent(since)}`;
    const by = $("by").value;
    const [rows, totals, reasons, status, incidents, queues] = await Promise.all([
      ask(`v1/rates?by=${by}&top=25&${query}`), ask(`v1/rates?by=&${query}`), ask(`v1/reasons?limit=15&${query}`),
      ask("v1/status"), ask(`v1/incidents?${query}`), ask("v1/queues?limit=10"),
    ]);
    if (by !== $("by").value) return;
    $("split").textContent = $("by").selectedOptions[0].textContent;
    $("providers-title").textContent = by === "provider" ? "Mailbox providers" : `By ${$("split").textContent}`;
    drawIncidents(incidents);
    drawQueues(queues);
    const total = totals[0];
    const done = total.sent + total.admin_bounced + total.suppressed + total.transferred;
    drawTiles(total, remember("", done));
    drawIdentity(total, status.store.identity_holds !== false);
    drawProviders(rows);
    drawReasons(reasons);
    $("version").textContent = `version ${status.version}`;
    lastGood = Date.now();
    const lag = status.collector.lag_s;
    $("state").textContent = lag === null ? "no events yet" : `complete up to ${Math.max(0, lag).toFixed(0)} s ago`;
    $("state").className = "";
  } catch (error) {
    const since = lastGood ? `, figures are ${Math.round((Date.now() - lastGood) / 1000)} s old` : "";
    $("state").textContent = `no answer (${error.message})${since}`;
    $("state").className = "stale";
  } finally {
    setTimeout(refresh, EVERY_MS);
  }
}

$("search").addEventListener("submit", search);
$("identifier").addEventListener("search", (event) => { if ($("identifier").value === "") search(event); });
for (const control of ["range", "by"]) $(control).addEventListener("change", () => history.clear());
refresh();
