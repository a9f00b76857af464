"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const make = (name, text, kind) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const round = (value, digits = 0) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });

// The head.
const { verdict, reasons } = data.judgement;
at("verdict").textContent = verdict;
at("verdict").className = verdict;
at("title").textContent = `seed ${data.seed}, ${data.nodes} nodes, ${round(data.seconds)} s`;
document.title = `${verdict}: seed ${data.seed}`;
at("about").append(`${data.version || "server"} · ${data.npm} players by socket.io-client · again: `, make("code", data.again));
const kinds = Object.values(data.measures.kinds);
const sum = name => kinds.reduce((all, kind) => all + kind[name], 0);
const gaps = data.measures.gaps.filter(gap => gap.outcome.outcome === "installed").map(gap => gap.gap_ms);
const tiles = [
  [round(sum("ok") + sum("fail") + sum("info")), "operations"],
  [`${round(100 * sum("ok") / Math.max(1, sum("ok") + sum("fail") + sum("info")), 1)} %`, "answered at the first try"],
  [round(data.measures.gaps.length), "faults"],
  [`${round(Math.max(0, ...gaps))} ms`, "longest time without a write"],
  [round(data.measures.kills), "kills survived"],
  [round(data.measures.power_cuts), "power cuts survived"],
  [round(data.measures.battles), "battles ended"],
  [round(data.measures.elections), "terms"],
  [round(data.measures.log_index), "log entries"],
  [`${round(data.measures.resident_mib_max)} MiB`, "memory of the largest node"],
];
for (const [value, name] of tiles) {
  const tile = make("li");
  tile.append(make("b", value), make("span", name));
  at("tiles").append(tile);
}
if (reasons.length) {
  at("reasons").append(make("h2", verdict === "invalid" ? "What did not hold" : "Why nobody can say"));
  const list = make("ul");
  reasons.forEach(reason => list.append(make("li", reason)));
  at("reasons").append(list);
}

// The timeline.
const time = data.timeline;
const W = 1140, LEFT = 92, RIGHT = 12, GAP = 32;
const NODE_COLOURS = ["#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280"];
const x = second => LEFT + (W - LEFT - RIGHT) * second / time.end_s;
const svg = (name, attributes, parent) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
};
const charts = [
  { name: "operations / s", height: 110, draw: drawRates },
  { name: "latency", height: 110, draw: drawLatency },
  { name: "nodes", height: 26 * data.nodes, draw: drawNodes },
  { name: "redis", height: 14, draw: drawRedis, skip: !time.redis.length },
  { name: "memory", height: 60, draw: drawMemory },
].filter(chart => !chart.skip);
const FAULT_ROWS = faultRows();
const faultsHeight = 16 * FAULT_ROWS.length;
const height = 28 + faultsHeight + charts.reduce((all, chart) => all + chart.height + GAP, 0) + 26;
const root = svg("svg", { viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": "timeline of the run" });
at("timeline").append(root);
const bands = svg("g", { opacity: 0.28 }, root);
let y = 14;
drawFaults();
y += faultsHeight + 22;
for (const chart of charts) {
  const text = svg("text", { x: 0, y: y - 12, class: "name" }, root);
  text.textContent = chart.name;
  chart.draw(y, chart.height);
  y += chart.height + GAP;
}
drawAxis();

// Names of faults are put into rows so that none covers another.
function faultRows() {
  const rows = [];
  for (const gap of data.measures.gaps) {
    const from = x(gap.begins_s), to = Math.max(x(gap.ends_s), from + 6.2 * gap.kind.length + 8);
    let row = rows.find(row => row.end <= from);
    if (!row) rows.push(row = { end: 0, gaps: [] });
    row.end = to;
    row.gaps.push(gap);
  }
  return rows;
}
function drawFaults() {
  const text = svg("text", { x: 0, y: y + 10, class: "name" }, root);
  text.textContent = "faults";
  FAULT_ROWS.forEach((row, number) => row.gaps.forEach(gap => {
    const left = x(gap.begins_s), width = Math.max(2, x(gap.ends_s) - left);
    const colour = gap.kind.startsWith("redis") ? "var(--band2)" : "var(--band)";
    const full = { x: left, y: 0, width, height: height - 26, fill: colour };
    const about = `${gap.fault}: ${gap.kind} (${gap.nodes.join(", ")}) ${round(gap.begins_s, 1)}–${round(gap.ends_s, 1)} s, ` +
      `${gap.outcome.outcome}${gap.outcome.reason ? ": " + gap.outcome.reason : ""}, no write for ${round(gap.gap_ms)} ms`;
    svg("title", {}, svg("rect", full, bands)).textContent = about;
    const place = Math.min(left + 2, W - RIGHT - 6.2 * gap.kind.length);
    const label = svg("text", { x: place, y: y + 10 + 16 * number }, root);
    label.textContent = gap.kind;
    svg("title", {}, label).textContent = about;
  }));
}
function frame(top, high, marks) {
  for (const [value, name] of marks) {
    const line = top + high - value * high;
    svg("line", { x1: LEFT, x2: W - RIGHT, y1: line, y2: line, class: "axis" }, root);
    const text = svg("text", { x: LEFT - 6, y: line + 4, "text-anchor": "end" }, root);
    text.textContent = name;
  }
}
function drawRates(top, high) {
  const perSecond = row => row.map(count => count / time.step_s);
  const rows = [perSecond(time.ok), perSecond(time.info), perSecond(time.fail)];
  const most = Math.max(1, ...rows[0].map((_, at) => rows[0][at] + rows[1][at] + rows[2][at]));
  frame(top, high, [[0, "0"], [1, round(most)]]);
  const width = Math.max(0.5, x(time.step_s) - x(0) - 0.4);
  rows[0].forEach((_, moment) => {
    let base = top + high;
    ["var(--ok)", "var(--info)", "var(--fail)"].forEach((fill, row) => {
      const tall = high * rows[row][moment] / most;
      if (tall > 0) svg("rect", { x: x(moment * time.step_s), y: base - tall, width, height: tall, fill }, root);
      base -= tall;
    });
  });
  key(top, [["var(--ok)", "ok"], ["var(--info)", "nobody can say"], ["var(--fail)", "did not happen"]]);
}
function key(top, parts) {
  let left = LEFT + 6;
  for (const [fill, name] of parts) {
    svg("rect", { x: left, y: top - 20, width: 9, height: 9, fill, rx: 2 }, root);
    svg("text", { x: left + 13, y: top - 12 }, root).textContent = name;
    left += 26 + 6 * name.length;
  }
}
function drawLatency(top, high) {
  const low = Math.log10(0.5), up = Math.log10(10000);
  const part = ms => Math.min(1, Math.max(0, (Math.log10(Math.max(ms, 0.5)) - low) / (up - low)));
  frame(top, high, [[part(1), "1 ms"], [part(10), "10"], [part(100), "100"], [part(1000), "1 s"], [part(10000), "10 s"]]);
  for (const [row, stroke] of [[time.p99_ms, "var(--violet)"], [time.p50_ms, "var(--blue)"]]) {
    let path = "";
    row.forEach((ms, moment) => {
      if (ms <= 0) return;
      const before = moment > 0 && row[moment - 1] > 0;
      path += `${before ? "L" : "M"}${x((moment + 0.5) * time.step_s).toFixed(1)},${(top + high - part(ms) * high).toFixed(1)}`;
    });
    svg("path", { d: path, fill: "none", stroke, "stroke-width": 1.5 }, root);
  }
  key(top, [["var(--violet)", "p99"], ["var(--blue)", "p50"]]);
}
function drawNodes(top) {
  for (let node = 0; node < data.nodes; node++) {
    const line = top + 26 * node, fill = NODE_COLOURS[node];
    svg("text", { x: LEFT - 6, y: line + 14, "text-anchor": "end" }, root).textContent = `node ${node + 1}`;
    for (const [from, to] of time.lives[node]) {
      svg("rect", { x: x(from), y: line + 4, width: Math.max(1, x(to) - x(from)), height: 12, fill, opacity: 0.35, rx: 2 }, root);
    }
    const rows = time.standing[node];
    rows.forEach(([from, term, leads, led], number) => {
      const to = number + 1 < rows.length ? rows[number + 1][0] : time.end_s;
      const left = x(from), width = Math.max(1, x(to) - left);
      if (leads) {
        const bar = svg("rect", { x: left, y: line + 2, width, height: 16, fill, rx: 2 }, root);
        svg("title", {}, bar).textContent = `node ${node + 1} leads in term ${term}`;
        if (width > 14) {
          const text = svg("text", { x: left + 3, y: line + 14, style: "fill:#fff" }, root);
          text.textContent = term;
        }
      } else if (!led) {
        svg("rect", { x: left, y: line + 8, width, height: 4, fill: "var(--info)" }, root);
      }
    });
  }
  key(top, [["var(--blue)", "full: leads, with its term"], ["var(--info)", "knows no leader"]]);
}
function drawRedis(top) {
  const rows = time.redis;
  rows.forEach(([from, up], number) => {
    const to = number + 1 < rows.length ? rows[number + 1][0] : time.end_s;
    svg("rect", { x: x(from), y: top + 2, width: Math.max(0.5, x(to) - x(from) + 0.3), height: 10, fill: up ? "var(--ok)" : "var(--info)" }, root);
  });
}
function drawMemory(top, high) {
  const most = Math.max(1, ...time.resident_mib.flat().map(([, mib]) => mib));
  frame(top, high, [[0, "0"], [1, `${round(most)} MiB`]]);
  time.resident_mib.forEach((row, node) => {
    const path = row.map(([second, mib], number) => `${number ? "L" : "M"}${x(second).toFixed(1)},${(top + high - high * mib / most).toFixed(1)}`);
    svg("path", { d: path.join(""), fill: "none", stroke: NODE_COLOURS[node], "stroke-width": 1.5 }, root);
  });
}
function drawAxis() {
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find(step => time.end_s / step <= 14) || 7200;
  for (let second = 0; second <= time.end_s; second += step) {
    svg("line", { x1: x(second), x2: x(second), y1: height - 26, y2: height - 20, class: "axis" }, root);
    svg("text", { x: x(second), y: height - 8, "text-anchor": "middle" }, root).textContent = `${second} s`;
  }
}

// The tables.
function table(id, heads, rows) {
  const head = make("tr");
  heads.forEach(([name, kind]) => head.append(make("th", name, kind)));
  at(id).append(head);
  for (const cells of rows) {
    const row = make("tr");
    cells.forEach(cell => {
      const made = make("td", undefined, cell.kind);
      made.append(cell.node || String(cell.text));
      row.append(made);
    });
    at(id).append(row);
  }
}
const text = (value, kind) => ({ text: value, kind });
const number = (value, digits) => text(round(value, digits), "n");
table("promises", [["", ""], ["promise"], ["looked at", "n"], ["", ""], ["file"]], data.said.map(said => {
  const broken = said.violations.length, open = said.undecided.length;
  const state = broken ? ["broken", "bad"] : !said.wanted ? ["not asked", "open"] : said.items === 0 || open ? ["unknown", "open"] : ["kept", "good"];
  const promise = make("div", said.promise);
  const faced = said.provoked.filter(([, times]) => times > 0).map(([kind, times]) => times > 1 ? `${kind} ×${times}` : kind);
  promise.append(make("div", faced.length ? `withstood: ${faced.join(", ")}` : "nothing in this run was made to break it", "faced"));
  for (const [name, lines] of [["violations", said.violations.map(it => it.what)], ["undecided", said.undecided]]) {
    if (!lines.length) continue;
    const more = make("details");
    more.append(make("summary", `${lines.length} ${name}`));
    lines.slice(0, 50).forEach(line => more.append(make("div", line)));
    promise.append(more);
  }
  return [text(said.id), { node: promise }, number(said.items), text(state[0], state[1]), { node: make("code", said.file) }];
}));
const widest = Math.max(1, ...data.measures.gaps.map(gap => gap.gap_ms));
table("faults", [["", "n"], ["fault"], ["whom"], ["from", "n"], ["to", "n"], ["outcome"], ["no write, ms", "n"], ["", ""]],
  data.measures.gaps.map(gap => {
    const bar = make("i");
    bar.style.width = `${100 * gap.gap_ms / widest}%`;
    const outcome = gap.outcome.reason ? `${gap.outcome.outcome}: ${gap.outcome.reason}` : gap.outcome.outcome;
    return [number(gap.fault), text(gap.kind), text(gap.nodes.join(", ")), number(gap.begins_s, 1), number(gap.ends_s, 1),
      text(outcome, gap.outcome.outcome === "installed" ? "" : "open"), number(gap.gap_ms), { node: bar, kind: "bar" }];
  }));
table("operations", [["kind"], ["ok", "n"], ["did not happen", "n"], ["nobody can say", "n"], ["p50 ms", "n"], ["p99 ms", "n"], ["max ms", "n"]],
  Object.entries(data.measures.kinds).map(([name, kind]) => [text(name), number(kind.ok), number(kind.fail), number(kind.info),
    number(kind.p50_ms, 1), number(kind.p99_ms, 1), number(kind.max_ms)]));
