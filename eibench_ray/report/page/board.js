// The leaderboard: a table that is sorted and filtered. Every figure comes as text, as the other tables write it.

const AXES = ["model", "setting", "dataset", "judge"];

class Board {
  constructor(data, cells, place) {
    this.data = data;
    this.cells = cells;
    this.place = place;
    this.chosen = {};
    this.group = "";
    this.sorting = null;
    this.body = element("tbody");
    this.head = element("thead");
    this.status = element("p", { class: "note", role: "status" });
    this.place.replaceChildren(
      element("h2", { id: "leaderboard-title" }, "Leaderboard"),
      this.makeFilters(),
      element(
        "div",
        { class: "wide", tabindex: "0", role: "region", "aria-label": "Leaderboard" },
        element("table", { class: "board" }, this.head, this.body),
      ),
      this.status,
      folded(
        "How to read this",
        element(
          "ul",
          {},
          [...this.explain(), ...data.notes].map((note) => element("li", {}, note)),
        ),
      ),
    );
    this.columns = this.makeColumns();
    this.draw();
  }

  explain() {
    const notes = [
      "bar: the score and its interval, on the metric's whole scale; a row with open bounds is drawn hollow",
    ];
    if (this.data.rows.some((row) => row.rank)) {
      notes.push(
        "rank: the ranks that a cell may have among those of its setting (or of its model, where there is one), by " +
          "paired tests adjusted after Holm; “= best”: nothing is surely better, and something is not surely worse",
      );
    }
    return notes;
  }

  makeFilters() {
    const fields = AXES.map((axis, number) => {
      const values = uniquely(this.data.rows.map((row) => row.names[number]));
      if (values.length < 2) return null;
      return select(axis, [["", `all ${values.length}`], ...values.map((value) => [value, value])], "", (value) => {
        this.chosen[number] = value;
        this.draw();
      });
    });
    const groups = Object.entries(this.data.groups).flatMap(([column, names]) =>
      names.map((name) => [JSON.stringify([column, name]), `${column}: ${name}`]),
    );
    if (groups.length) {
      fields.push(
        select("group", [["", "all samples"], ...groups], "", (value) => {
          this.group = value;
          this.draw();
        }),
      );
    }
    return element("div", { class: "filters" }, fields);
  }

  /** The mean that a row shows: of all samples, or of the chosen group. */
  meanOf(row) {
    if (!this.group) return row.score;
    const [column, name] = JSON.parse(this.group);
    return row.groups[column]?.[name] ?? null;
  }

  makeColumns() {
    const rows = this.data.rows;
    const several = (number) => uniquely(rows.map((row) => row.names[number])).length > 1;
    const columns = [{ title: "model", sort: (row) => row.names[0], draw: (row) => this.drawModel(row), isName: true }];
    for (const number of [1, 2, 3]) {
      if (number === 1 || several(number)) {
        columns.push({
          title: AXES[number],
          sort: (row) => row.names[number],
          draw: (row) => this.drawName(row, number),
        });
      }
    }
    const headings = uniquely(rows.map((row) => row.metric.name));
    columns.push({
      title: headings.length === 1 ? headings[0] : "score",
      down: true,
      sort: (row) => this.rankable(row),
      draw: (row) => this.drawScore(row),
      kind: "score",
    });
    columns.push({
      title: `${this.data.level} interval`,
      sort: (row) => this.meanOf(row)?.low ?? null,
      down: true,
      draw: (row) => [drawBar(this.meanOf(row)), this.meanOf(row)?.interval || "-"],
      kind: "interval",
    });
    if (rows.some((row) => row.rank)) {
      columns.push({
        title: "rank",
        sort: (row) => row.rank && row.rank[0] + row.rank[1] / 1000,
        draw: drawRank,
        kind: "number",
      });
    }
    if (
      rows.some(
        (row) =>
          !row.score.whole ||
          Object.values(row.groups).some((one) => Object.values(one).some((mean) => mean && !mean.whole)),
      )
    ) {
      columns.push({
        title: "coverage %",
        sort: (row) => (this.meanOf(row) ? this.meanOf(row).scored / this.meanOf(row).n : null),
        draw: (row) => this.drawCoverage(row),
        kind: "number",
      });
    }
    columns.push({
      title: "n",
      sort: (row) => this.meanOf(row)?.n ?? null,
      draw: (row) => this.meanOf(row)?.n.toLocaleString("en") ?? "-",
      kind: "number",
    });
    columns.push({
      title: "clusters",
      sort: (row) => this.meanOf(row)?.clusters ?? null,
      draw: (row) => this.meanOf(row)?.clusters.toLocaleString("en") ?? "-",
      kind: "number",
    });
    this.data.further.forEach((metric, number) =>
      columns.push({
        title: metric.name,
        down: metric.direction === "higher",
        sort: (row) => row.further[number]?.value ?? null,
        draw: (row) =>
          row.further[number] ? [row.further[number].text, element("small", {}, row.further[number].interval)] : "-",
        kind: "number",
      }),
    );
    this.data.counts.forEach((title, number) =>
      columns.push({
        title,
        down: true,
        sort: (row) => row.counts[number][0],
        draw: (row) => element("span", { class: row.counts[number][0] ? "" : "zero" }, row.counts[number][1]),
        kind: "number",
      }),
    );
    return columns;
  }

  rankable(row) {
    const value = this.meanOf(row)?.value ?? null;
    return value === null ? null : row.metric.direction === "higher" ? value : -value;
  }

  drawModel(row) {
    const name =
      row.cell === null
        ? row.names[0]
        : element("a", { href: `#cells=${row.cell}`, title: "Open its samples" }, row.names[0]);
    return [
      name,
      row.marks.map((mark) => [" ", element("span", { class: `mark ${mark === "failed" ? "bad" : ""}` }, mark)]),
    ];
  }

  drawName(row, number) {
    return [
      row.names[number],
      number === 3 && row.kinship ? [" ", element("span", { class: "mark" }, row.kinship)] : null,
    ];
  }

  drawScore(row) {
    const mean = this.meanOf(row);
    if (!mean || mean.value === null) return "-";
    const figure = element(row.bold ? "strong" : "span", {}, mean.text);
    if (row.cell === null) return figure;
    return element(
      "a",
      {
        href: `#cells=${row.cell}`,
        class: "figure",
        "aria-label": `${mean.text}: open the samples of ${row.names.join(", ")}`,
      },
      figure,
    );
  }

  drawCoverage(row) {
    const mean = this.meanOf(row);
    return mean ? [mean.coverage, mean.bounds ? element("small", {}, `bounds ${mean.bounds}`) : null] : "-";
  }

  sortBy(column) {
    const isSame = this.sorting?.column === column;
    const down = isSame ? !this.sorting.down : Boolean(column.down);
    this.sorting = { column, down };
    this.draw();
    this.head.querySelectorAll("button")[this.columns.indexOf(column)].focus();
  }

  draw() {
    const state = (column) =>
      this.sorting?.column === column ? (this.sorting.down ? "descending" : "ascending") : "none";
    this.head.replaceChildren(
      element(
        "tr",
        {},
        this.columns.map((column) =>
          element(
            "th",
            { scope: "col", "aria-sort": state(column), class: column.kind },
            element(
              "button",
              { type: "button", onclick: () => this.sortBy(column) },
              column.title,
              element(
                "span",
                { class: "arrow", "aria-hidden": "true" },
                { none: "", ascending: "▲", descending: "▼" }[state(column)],
              ),
            ),
          ),
        ),
      ),
    );
    let rows = this.data.rows.filter((row) =>
      Object.entries(this.chosen).every(([number, value]) => !value || row.names[number] === value),
    );
    if (this.sorting) {
      const { column, down } = this.sorting;
      const keyed = rows.map((row) => [column.sort(row), row]);
      keyed.sort(([one], [other]) => compareKeys(one, other, down));
      rows = keyed.map(([, row]) => row);
    }
    this.body.replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          {},
          this.columns.map((column) =>
            element(
              column.isName ? "th" : "td",
              { class: column.kind, scope: column.isName ? "row" : null },
              column.draw(row),
            ),
          ),
        ),
      ),
    );
    const group = this.group ? ` of samples with ${JSON.parse(this.group).join(": ")}` : "";
    this.status.textContent = `${counted(rows.length, "cell")}${group}${rows.length < this.data.rows.length ? ` of ${this.data.rows.length}` : ""}`;
  }
}
