"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const config = { displaylogo: false, responsive: true, toImageButtonOptions: { format: "svg" } };
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

// --- light and dark

const theme = () => root.dataset.theme || (dark.matches ? "dark" : "light");

function repaint() {
  for (const chart of document.querySelectorAll(".chart")) {
    Plotly.relayout(chart, { template: data.templates[theme()] });
  }
}

document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  repaint();
});
dark.addEventListener("change", repaint);

// --- charts

data.charts.forEach((chart, number) => {
  const place = document.getElementById(`chart-${number}`);
  Plotly.newPlot(place, chart.data, { ...chart.layout, template: data.templates[theme()] }, config);
  place.on("plotly_click", ({ points }) => choose(place.closest("section"), points[0].customdata));
});

// --- points and their recipes

function choose(section, point) {
  const { recipe, points } = data.sections[section.dataset.section];
  if (points[point] === undefined) return;
  for (const row of section.querySelectorAll("tr[data-point]")) {
    row.classList.toggle("chosen", Number(row.dataset.point) === point);
  }
  const shown = section.querySelector("pre.recipe");
  if (!shown) return;
  section.querySelector(".which").textContent = point;
  shown.replaceChildren(
    ...recipe.map(([text, param]) => {
      const line = document.createElement(param === null ? "span" : "mark");
      line.textContent = param === null ? text : text + JSON.stringify(points[point][param]);
      return line;
    }).flatMap((line) => [line, "\n"])
  );
}

for (const section of document.querySelectorAll("section")) {
  for (const row of section.querySelectorAll("tr[data-point]")) {
    row.addEventListener("click", () => choose(section, Number(row.dataset.point)));
  }
  choose(section, data.sections[section.dataset.section].first);
}

// --- tables that sort

const words = new Intl.Collator(undefined, { numeric: true });

/** The order of two cells; those without a value are last either way. */
function order(one, other, sign) {
  const [a, b] = [one, other].map((cell) => cell.dataset.value ?? cell.textContent);
  if (a === "–" || b === "–") return (a === "–") - (b === "–");
  const difference = one.dataset.value === undefined ? words.compare(a, b) : Number(a) - Number(b);
  return sign * (difference || 0); // equal infinities differ by NaN
}

function sort(head) {
  const [table, column] = [head.closest("table"), head.cellIndex];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => order(one.cells[column], other.cells[column], down ? -1 : 1));
  table.tBodies[0].append(...rows);
}

for (const head of document.querySelectorAll("th")) {
  head.firstElementChild.addEventListener("click", () => sort(head));
}
