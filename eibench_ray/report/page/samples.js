// The samples: cells to compare, filters, the list, and the sample that is looked at.

const MOST_CELLS = 3;

class Samples {
  constructor(page, place) {
    this.page = page;
    this.place = place;
    this.set = 0;
    this.chosen = [];
    this.sample = null;
    this.view = element("div", { class: "view" });
    this.status = element("p", { class: "note", role: "status" });
    this.pickers = element("div", { class: "filters pickers" });
    this.filterBox = element("div", { class: "filters" });
    this.position = element("span", { class: "position" });
    this.list = new VirtualList(
      "Samples",
      (sample) => this.drawRow(sample),
      (sample) => this.go(sample),
    );
    place.hidden = false;
    place.replaceChildren(
      element("h2", { id: "samples-title" }, "Samples"),
      this.pickers,
      element(
        "div",
        { class: "panes" },
        element("div", { class: "side" }, this.filterBox, this.status, this.list.box),
        element(
          "div",
          { class: "main" },
          element(
            "div",
            { class: "turn" },
            element(
              "button",
              { type: "button", onclick: () => this.step(-1), "aria-label": "Previous sample (left arrow)" },
              "←",
            ),
            element(
              "button",
              { type: "button", onclick: () => this.step(1), "aria-label": "Next sample (right arrow)" },
              "→",
            ),
            this.position,
            element(
              "button",
              { type: "button", class: "quiet", onclick: (event) => this.copyLink(event.target) },
              "Copy link",
            ),
          ),
          this.view,
        ),
      ),
    );
    document.addEventListener("keydown", (event) => this.press(event));
  }

  async useSet(number, chosen) {
    const set = this.page.sets[number];
    if (this.set !== number || !this.index) {
      this.index = new SampleIndex(await readBlock(`index-${number}`), this.page.cells, set.cells);
      this.set = number;
      this.sample = null;
      this.filters = {
        order: "flips",
        differ: false,
        disagree: false,
        flag: "",
        trouble: "",
        group: "",
        least: "",
        most: "",

        found: null,
      };
      this.choose(chosen);
      this.drawFilters();
    } else {
      this.choose(chosen);
    }
  }

  /** Compares these cells; beside a single one comes the first with other answers. */
  choose(cells) {
    const members = this.page.sets[this.set].cells;
    const wanted = uniquely(cells.filter((cell) => members.includes(cell)));
    if (!wanted.length) wanted.push(members[0]);
    if (wanted.length < 2) {
      const others = members.filter((cell) => cell !== wanted[0]);
      const isAnswered = (cell) => this.page.cells[cell].answers !== this.page.cells[wanted[0]].answers;
      wanted.push(...(others.some(isAnswered) ? others.filter(isAnswered) : others).slice(0, 1));
    }
    this.chosen = wanted.slice(0, MOST_CELLS);
    this.drawPickers();
  }

  drawPickers() {
    const { sets, cells } = this.page;
    const members = sets[this.set].cells;
    const name = (cell) =>
      joined(
        cells[cell].names.filter(
          (_, axis) =>
            axis !== 2 && (axis === 0 || uniquely(members.map((other) => cells[other].names[axis])).length > 1),
        ),
      );
    const options = members.map((cell) => [cell, name(cell)]);
    const fields =
      sets.length > 1
        ? [
            select(
              "dataset",
              sets.map((set, number) => [number, set.dataset]),
              this.set,
              (value) => this.open({ set: Number(value), cells: [], sample: null }),
            ),
          ]
        : [];
    for (let place = 0; place < Math.min(MOST_CELLS, members.length); place += 1) {
      const none = place > 0 ? [["", "none"]] : [];
      fields.push(
        select(`cell ${"ABC"[place]}`, [...none, ...options], this.chosen[place] ?? "", (value) => {
          const next = [...this.chosen];
          if (value === "") next.splice(place, 1);
          else next[place] = Number(value);
          this.open({ cells: next, isExact: true });
        }),
      );
    }
    this.pickers.replaceChildren(...fields);
  }

  drawFilters() {
    const { data } = this.index;
    const change = (name, value) => {
      this.filters[name] = value;
      this.refresh();
    };
    const tick = (name, text) =>
      element(
        "label",
        { class: "tick" },
        element("input", { type: "checkbox", onchange: (event) => change(name, event.target.checked) }),
        text,
      );
    const members = this.page.sets[this.set].cells;
    const troubles = uniquely(members.flatMap((cell) => data.cells[cell].troubles.levels));
    const flags = FLAGS.filter((_, bit) =>
      members.some((cell) => data.cells[cell].flags.some((value) => (value >> bit) & 1)),
    );
    const groups = Object.entries(data.groups).flatMap(([column, { levels }]) =>
      [...levels]
        .sort((one, other) => one.localeCompare(other, "en", { numeric: true }))
        .map((name) => [JSON.stringify([column, name]), `${column}: ${name}`]),
    );
    const hasJudges = members.some((cell) => this.index.judgesOf(cell).length > 1);
    const limit = (name, label) =>
      element("input", {
        type: "number",
        step: "any",
        "aria-label": label,
        placeholder: label,
        oninput: (event) => change(name, event.target.value),
      });
    const search = element("input", {
      type: "search",
      placeholder: "Search prompts and answers",
      "aria-label": "Search prompts and answers",
      oninput: () => {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => this.search(search.value), 250);
      },
    });
    this.filterBox.replaceChildren(
      search,
      ...[
        select(
          "order",
          [
            ["flips", "flips first"],
            ["dataset", "as in the dataset"],
            ["lowest", "lowest score first"],
            ["highest", "highest score first"],
          ],
          "flips",
          (value) => change("order", value),
        ),
        groups.length ? select("group", [["", "all"], ...groups], "", (value) => change("group", value)) : null,
        troubles.length
          ? select("without a score", [["", "all"], ...troubles.map((one) => [one, one])], "", (value) =>
              change("trouble", value),
            )
          : null,
        flags.length
          ? select("ended", [["", "all"], ...flags.map((one) => [one, one])], "", (value) => change("flag", value))
          : null,
        element(
          "fieldset",
          { class: "range" },
          element("legend", {}, "score of A"),
          limit("least", "least"),
          limit("most", "most"),
        ),
        tick("differ", "cells differ"),
        hasJudges ? tick("disagree", "judges disagree") : null,
      ].filter(Boolean),
    );
  }

  async search(text) {
    const wanted = text.trim().toLowerCase();
    const ticket = (this.ticket = Symbol("search"));
    const tell = (number) => (this.status.textContent = `searching: ${counted(number, "sample")}`);
    const cells = this.chosen.map((cell) => this.page.cells[cell]);
    const found =
      wanted &&
      (await findText(wanted, this.page, this.set, this.index.data.ids, cells, () => this.ticket === ticket, tell));
    if (this.ticket !== ticket) return; // somebody has typed on
    this.filters.found = found || null;
    this.refresh();
  }

  refresh() {
    const rows = this.index.choose(this.filters, this.chosen);
    const { shown, total } = this.page.sets[this.set];
    const rest = shown < total ? `; the first of ${total.toLocaleString("en")}` : "";
    this.status.textContent = `${rows.length.toLocaleString("en")} of ${counted(shown, "sample")}${rest}`;
    this.list.show(rows);
    this.list.point(rows.indexOf(this.sample));
    this.drawPosition();
  }

  drawPosition() {
    const { rows, current } = this.list;
    const id = this.sample === null ? "" : this.index.data.ids[this.sample];
    this.position.replaceChildren(
      element("b", {}, id),
      current < 0 ? "" : ` ${(current + 1).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`,
    );
  }

  drawRow(sample) {
    const { ids, leads } = this.index.data;
    const scores = this.chosen.map((cell, place) => {
      const level = this.index.level(cell, sample);
      const shape = level && this.page.cells[cell].binary ? (level[0] ? "✓ " : "✗ ") : "";
      const text = level ? `${shape}${level[1]}` : "–";
      return element("span", { class: `score ${level ? "" : "none"}` }, element("i", {}, "ABC"[place]), ` ${text}`);
    });
    return [
      element("span", { class: "line" }, element("b", {}, ids[sample]), element("span", { class: "scores" }, scores)),
      element("span", { class: "lead" }, leads[sample]),
    ];
  }

  /** Opens what an address says: `#sample=ID&set=0&cells=1,2`. */
  async open({ set, cells, sample, isExact }) {
    const number = set ?? (cells?.length ? this.page.cells[cells[0]].set : this.set);
    await this.useSet(number, cells ?? this.chosen);
    if (isExact && cells.length === 1) {
      this.chosen = cells;
      this.drawPickers();
    }
    this.refresh();
    const { rows } = this.list;
    const wanted = sample ?? (this.sample !== null && rows.includes(this.sample) ? this.sample : rows[0]);
    if (wanted !== undefined) await this.go(wanted);
  }

  /** Shows a sample; the address says which, but for the one that is shown before anybody has chosen. */
  async go(sample, isChosen = true) {
    this.sample = sample;
    this.list.point(this.list.rows.indexOf(sample));
    this.drawPosition();
    if (isChosen) history.replaceState(null, "", `#${this.address()}`);
    try {
      const drawn = await drawSample(this.page, this.set, this.index, sample, this.chosen);
      if (this.sample === sample) this.view.replaceChildren(drawn);
    } catch (error) {
      this.view.replaceChildren(element("p", { class: "warning" }, error.message));
    }
  }

  address() {
    const set = this.page.sets.length > 1 ? `&set=${this.set}` : "";
    return `sample=${encodeURIComponent(this.index.data.ids[this.sample])}${set}&cells=${this.chosen.join(",")}`;
  }

  step(by) {
    this.list.choose(this.list.current + by);
  }

  press(event) {
    const isWriting = event.target.closest("input, select, textarea, .wide");
    if (isWriting || event.altKey || event.ctrlKey || event.metaKey || this.sample === null) return;
    const by = { ArrowLeft: -1, k: -1, ArrowRight: 1, j: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.step(by);
  }

  async copyLink(button) {
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "It stands in the address bar";
    }
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  }
}
