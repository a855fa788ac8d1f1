// Puts the page together, and follows the address that leads to a sample.

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const numbers = (asked.get("cells") ?? "").split(",").filter(Boolean).map(Number);
  const set = asked.has("set") ? Number(asked.get("set")) : undefined;
  return asked.has("cells") || asked.has("sample") ? { cells: numbers, set, id: asked.get("sample") } : null;
}

/** Opens the samples that the address names; true where it names some. */
async function followAddress(samples) {
  const asked = readAddress();
  if (!asked || !samples) return false;
  const cells = asked.cells.filter((cell) => cell in samples.page.cells);
  const set = samples.page.sets[asked.set] ? asked.set : undefined;
  await samples.useSet(set ?? (cells.length ? samples.page.cells[cells[0]].set : 0), cells);
  const place = samples.index.data.ids.indexOf(asked.id);
  await samples.open({
    set: samples.set,
    cells: cells.length ? cells : samples.chosen,
    sample: place < 0 ? undefined : place,
  });
  samples.place.scrollIntoView();
  return true;
}

function makeTheme() {
  const root = document.documentElement;
  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => {
    byId("theme").textContent = isDark() ? "☀ Light" : "☾ Dark";
  };
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

async function start() {
  const page = await readBlock("page");
  makeTheme();
  drawHead(page.head);
  new Board(page.board, page.cells, byId("leaderboard"));
  makeCharts(page.charts, byId("charts"));
  const samples = page.sets.length ? new Samples(page, byId("samples")) : null;
  byId("parts").append(
    ...[
      ["leaderboard", "Leaderboard"],
      ["charts", "Charts"],
      ["samples", "Samples"],
    ]
      .filter(([id]) => !byId(id).hidden)
      .map(([id, text]) => element("a", { href: `#${id}` }, text)),
  );
  if (samples && !(await followAddress(samples))) {
    await samples.useSet(0, []);
    samples.refresh();
    if (samples.list.rows.length) await samples.go(samples.list.rows[0], false);
  }
  window.addEventListener("hashchange", () => followAddress(samples));
  document.body.dataset.ready = "";
}

start();
