// Cells of the leaderboard: the order of its rows, ranks, and intervals as bars.

/** Order of two keys; those that are missing come last, whichever way the others are sorted. */
function compareKeys(one, other, down) {
  const [first, second] = [one ?? null, other ?? null];
  if (first === null || second === null) return (first === null) - (second === null);
  const order = typeof first === "string" ? first.localeCompare(second, "en", { numeric: true }) : first - second;
  return down ? -order : order;
}

function drawRank(row) {
  if (!row.rank) return "-";
  const [best, worst] = row.rank;
  return [
    best === worst ? `${best}` : `${best}–${worst}`,
    row.tied ? [" ", element("span", { class: "mark", title: "nothing is surely better" }, "= best")] : null,
  ];
}

/** The interval as a bar with a dot at the mean. */
function drawBar(mean) {
  if (!mean || mean.value === null) return null;
  const [start, end] = mean.axis;
  const at = (value) => 2 + (96 * (value - start)) / (end - start || 1);
  const has = mean.low !== null;
  return drawing(
    "svg",
    { class: "bar", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawing("line", { class: "axis", x1: 2, x2: 98, y1: 6, y2: 6 }),
    has
      ? drawing("rect", {
          class: "interval",
          x: at(mean.low),
          width: Math.max(at(mean.high) - at(mean.low), 0.8),
          y: 3,
          height: 6,
          rx: 1.5,
        })
      : null,
    drawing("line", {
      class: mean.whole ? "mean" : "mean open",
      x1: at(mean.value),
      x2: at(mean.value),
      y1: 0,
      y2: 12,
    }),
  );
}
