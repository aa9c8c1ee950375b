"use strict";

const data = host => JSON.parse(host.querySelector(":scope > script[type='application/json']").textContent);

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

// ---- charts: colours are names of the style sheet's palette, so that they follow light and dark ----

const names = new Set(document.body.dataset.palette.split(" "));

function coloured(value, key, style) {
  if (typeof value === "string") {
    return /color$/.test(key) && names.has(value) ? style.getPropertyValue(`--${value}`).trim() : value;
  }
  if (Array.isArray(value)) return value.map(item => coloured(item, key, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name, style)]));
}

const config = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false, // a study stays where it is
  displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  showTips: false,
};

async function drawChart(box) {
  const host = box.querySelector(".chart");
  const figures = data(box);
  const pressed = box.querySelector("[aria-pressed=true]");
  const figure = figures[pressed ? pressed.dataset.variant : Object.keys(figures)[0]];
  const { data: traces, layout } = coloured(figure, "", getComputedStyle(document.documentElement));
  layout.font.family = getComputedStyle(document.body).fontFamily;
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page
  await Plotly.react(host, traces, layout, config);
  host.dataset.drawn = pressed ? pressed.dataset.variant : "";
}

const open = box => !box.closest("details:not([open])");

async function drawAll(root = document) {
  for (const box of root.querySelectorAll(".chart-box")) if (open(box)) await drawChart(box);
}

for (const button of document.querySelectorAll(".switch button")) {
  button.addEventListener("click", () => {
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
    drawChart(button.closest(".chart-box"));
  });
}
for (const fold of document.querySelectorAll("details")) {
  fold.addEventListener("toggle", () => fold.open && drawAll(fold));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());

// ---- commands to copy ----

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages from a disk may have no clipboard
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copyText(button.dataset.copy);
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

// ---- long tables: a cell is a text, or a text and the number it sorts by ----

const PAGE = 25;
const word = cell => Array.isArray(cell) ? cell[0] : cell;
const rank = cell => Array.isArray(cell) ? cell[1] ?? Infinity : cell;
const order = (a, b) => typeof a === "string" ? a.localeCompare(b) : a === b ? 0 : a - b;

function grid(host) {
  const { columns, rows, copy } = data(host);
  const numeric = columns.map((_, index) => rows.some(row => Array.isArray(row[index])));
  let found = rows, sorted = null, rising = true, shown = PAGE;

  const body = element("tbody");
  const told = element("span");
  const more = element("button", { type: "button", onclick: () => { shown += 4 * PAGE; fill(); } });
  const box = element("input", { type: "search", placeholder: "filter", ariaLabel: "Filter the rows" });
  box.addEventListener("input", () => { shown = PAGE; search(); });

  const heads = columns.map((column, index) => {
    const button = element("button", { type: "button", textContent: column, onclick: () => sort(index) });
    return element("th", { scope: "col", className: numeric[index] ? "number" : "" }, button);
  });

  const copies = copy ? [element("th", { scope: "col", textContent: copy })] : [];

  function search() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter(row => {
      const text = row.map(word).join(" ").toLowerCase();
      return words.every(one => text.includes(one));
    });
    arrange();
  }

  function sort(index) {
    rising = sorted === index ? !rising : true;
    sorted = index;
    arrange();
  }

  function arrange() {
    heads.forEach((head, index) => {
      head.ariaSort = index !== sorted ? null : rising ? "ascending" : "descending";
      const arrow = index !== sorted ? "" : rising ? " ↑" : " ↓";
      if (head.firstElementChild) head.firstElementChild.textContent = columns[index] + arrow;
    });
    if (sorted !== null) {
      const sign = rising ? 1 : -1;
      found = [...found].sort((a, b) => sign * order(rank(a[sorted]), rank(b[sorted])));
    }
    fill();
  }

  function line(row) {
    const cells = columns.map((_, index) =>
      element("td", { textContent: word(row[index]), className: numeric[index] ? "number" : "" }));
    if (copy) {
      const button = element("button", { type: "button", textContent: "copy", title: row[columns.length] });
      button.dataset.copy = row[columns.length];
      cells.unshift(element("td", { className: "stub" }, button)); // in sight, however wide the table
    }
    return element("tr", {}, ...cells);
  }

  function fill() {
    body.replaceChildren(...found.slice(0, shown).map(line));
    const least = Math.min(shown, found.length);
    told.textContent = `${least.toLocaleString("en")} of ${found.length.toLocaleString("en")} rows`;
    more.hidden = least === found.length;
    more.textContent = `show ${Math.min(4 * PAGE, found.length - least)} more`;
  }

  const table = element("table", {}, element("thead", {}, element("tr", {}, ...copies, ...heads)), body);
  host.append(element("div", { className: "tools" }, box, told), element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: host.id.slice(5) }, table), more);
  fill();
}

document.querySelectorAll(".grid").forEach(grid);
drawAll().then(() => { document.documentElement.dataset.ready = "yes"; });
