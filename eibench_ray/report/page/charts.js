// Charts by Vega-Lite, drawn when they come into view. Their ink is the page's, so they stand on light and on dark.

// Expressions are interpreted (ast), so that the page needs no right to evaluate code.
const CHART_OPTIONS = { actions: false, ast: true, renderer: "svg" };

function makeCharts(charts, place) {
  if (!charts.length) return;
  const waiting = new Map();
  const draw = async (box) => {
    const spec = waiting.get(box);
    waiting.delete(box);
    try {
      await vegaEmbed(box, spec, CHART_OPTIONS);
    } catch (error) {
      box.replaceChildren(element("p", { class: "note" }, `This chart cannot be drawn: ${error.message}`));
    }
  };
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting && waiting.has(target)) draw(target);
    },
    { rootMargin: "400px" },
  );
  place.hidden = false;
  place.replaceChildren(
    element("h2", { id: "charts-title" }, "Charts"),
    element(
      "div",
      { class: "charts" },
      charts.map((chart) => {
        const box = element("div", { class: "chart", "aria-hidden": "true" }); // the caption says the same in words
        waiting.set(box, chart.spec);
        return element(
          "figure",
          { id: `chart-${chart.name}` },
          element("h3", {}, chart.title),
          box,
          element("figcaption", {}, chart.text),
        );
      }),
    ),
  );
  waiting.forEach((_, box) => observer.observe(box));
  window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(draw));
}
