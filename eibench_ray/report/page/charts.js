// Pictures by Vega-Lite, drawn when they come into view, with the page's colours for text and axes.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function chartColours() {
  const [ink, faint, line] = [style("--ink"), style("--faint"), style("--line")];
  const axis = { labelColor: faint, titleColor: faint, gridColor: line, domainColor: line, tickColor: line };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: "transparent" },
    axis,
    legend: { labelColor: ink, titleColor: faint },
    header: { labelColor: ink, titleColor: faint },
    title: { color: ink, subtitleColor: faint },
    text: { color: ink },
  };
}

async function drawChart(place, spec) {
  // Its expressions are interpreted, so that the page needs no right to evaluate code.
  const view = await vegaEmbed(place, structuredClone(spec), { actions: false, ast: true, renderer: "svg", config: chartColours(), tooltip: { theme: "custom" } });
  return view;
}

function makeCharts(charts, place) {
  if (!charts.length) return;
  const waiting = new Map();
  const draw = (box) => drawChart(box, waiting.get(box)).catch((error) => {
    box.replaceChildren(element("p", { class: "note" }, `This picture cannot be drawn: ${error.message}`));
  });
  const observer = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    observer.unobserve(entry.target);
    draw(entry.target);
  }), { rootMargin: "400px" });
  place.hidden = false;
  place.replaceChildren(
    element("h2", { id: "pictures-title" }, "Pictures"),
    element("div", { class: "charts" }, charts.map((chart) => {
      const box = element("div", { class: "chart", "aria-hidden": "true" });
      waiting.set(box, chart.spec);
      observer.observe(box);
      return element("figure", { id: `picture-${chart.name}` },
        element("h3", {}, chart.title), element("div", { class: "wide" }, box), element("figcaption", {}, chart.text));
    })));
  document.addEventListener("themechange", () => waiting.forEach((_, box) => box.firstChild && draw(box)));
  window.addEventListener("beforeprint", () => waiting.forEach((_, box) => box.firstChild || draw(box)));
}
