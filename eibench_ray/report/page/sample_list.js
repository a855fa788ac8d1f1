// The list of samples: an index with all that is filtered by, and a list that draws only the rows that are seen.

const ROW_HEIGHT = 54; // pixels, as in page.css
const FLAGS = ["truncated", "empty", "cut while thinking", "refused"];

/** A list of any length: as tall as all of its rows, with elements for those in view only. */
class VirtualList {
  constructor(label, drawRow, onchoose) {
    this.drawRow = drawRow;
    this.onchoose = onchoose;
    this.rows = [];
    this.current = -1;
    this.drawn = new Map(); // elements by place, so that scrolling makes only those that come into view
    this.room = element("div", { class: "room" });
    this.box = element(
      "div",
      {
        class: "list",
        role: "listbox",
        tabindex: "0",
        "aria-label": label,
        onscroll: () => this.schedule(),
        onkeydown: (event) => this.press(event),
      },
      this.room,
    );
    new ResizeObserver(() => this.schedule()).observe(this.box);
  }

  show(rows) {
    this.rows = rows;
    this.drawn.clear();
    this.room.replaceChildren();
    this.room.style.height = `${rows.length * ROW_HEIGHT}px`;
    this.draw();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  draw() {
    const first = Math.max(Math.floor(this.box.scrollTop / ROW_HEIGHT) - 4, 0);
    const last = Math.min(Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW_HEIGHT) + 4, this.rows.length);
    for (const [place, row] of this.drawn) {
      if (place >= first && place < last) continue;
      row.remove();
      this.drawn.delete(place);
    }
    for (let place = first; place < last; place += 1) {
      if (!this.drawn.has(place)) this.drawn.set(place, this.makeRow(place));
      this.drawn.get(place).setAttribute("aria-selected", String(place === this.current));
    }
    const isSeen = this.current >= first && this.current < last;
    if (isSeen) this.box.setAttribute("aria-activedescendant", `row-${this.current}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  makeRow(place) {
    const row = element(
      "div",
      {
        class: "row",
        role: "option",
        id: `row-${place}`,
        "aria-posinset": place + 1,
        "aria-setsize": this.rows.length,
        onclick: () => this.choose(place),
      },
      this.drawRow(this.rows[place]),
    );
    row.style.transform = `translateY(${place * ROW_HEIGHT}px)`;
    this.room.append(row);
    return row;
  }

  choose(place) {
    if (!this.rows.length) return;
    this.point(Math.min(Math.max(place, 0), this.rows.length - 1));
    this.onchoose(this.rows[this.current]);
  }

  /** Marks a row and brings it into view; -1 marks none. */
  point(place) {
    this.current = place;
    const top = place * ROW_HEIGHT;
    if (place >= 0 && (top < this.box.scrollTop || top + ROW_HEIGHT > this.box.scrollTop + this.box.clientHeight)) {
      this.box.scrollTop = top - this.box.clientHeight / 2 + ROW_HEIGHT / 2;
    }
    this.draw();
  }

  press(event) {
    const page = Math.max(Math.floor(this.box.clientHeight / ROW_HEIGHT) - 1, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.choose(Math.min(Math.max(this.current + step, 0), this.rows.length - 1));
  }
}

/** What is known of all samples of a set without their texts. */
class SampleIndex {
  constructor(data, cells, members) {
    this.data = data;
    this.cells = cells;
    this.members = members;
  }

  get num() {
    return this.data.ids.length;
  }

  level(cell, sample) {
    const { levels, codes } = this.data.cells[cell].values;
    return codes[sample] < 0 ? null : levels[codes[sample]];
  }

  value(cell, sample) {
    return this.level(cell, sample)?.[0] ?? null;
  }

  trouble(cell, sample) {
    const { levels, codes } = this.data.cells[cell].troubles;
    return codes[sample] < 0 ? "" : levels[codes[sample]];
  }

  flags(cell, sample) {
    return FLAGS.filter((_, bit) => (this.data.cells[cell].flags[sample] >> bit) & 1);
  }

  group(column, sample) {
    const { levels, codes } = this.data.groups[column];
    return codes[sample] < 0 ? null : levels[codes[sample]];
  }

  /** How far apart some cells are; a score beside none is as far as can be. */
  spread(cells, sample) {
    const values = cells.map((cell) => this.value(cell, sample));
    const known = values.filter((value) => value !== null);
    if (known.length < 2) return known.length && known.length < values.length ? Number.MAX_VALUE : 0;
    return known.length < values.length ? Number.MAX_VALUE : Math.max(...known) - Math.min(...known);
  }

  /** Other cells of the same answers, whose judges may think otherwise. */
  judgesOf(cell) {
    return this.members.filter((other) => this.cells[other].answers === this.cells[cell].answers);
  }

  judgesDisagree(cell, sample) {
    return this.spread(this.judgesOf(cell), sample) > 0;
  }

  /** The samples that pass, in the order that was asked for. */
  choose(filters, chosen) {
    const scale = this.cells[chosen[0]].metric.endsWith("%") ? 100 : 1;
    const found = [];
    for (let sample = 0; sample < this.num; sample += 1) {
      if (this.passes(filters, chosen, sample, scale)) found.push(sample);
    }
    const keys = {
      flips: (sample) => -this.spread(chosen, sample),
      lowest: (sample) => this.value(chosen[0], sample) ?? Infinity,
      highest: (sample) => -(this.value(chosen[0], sample) ?? -Infinity),
    };
    const key = keys[filters.order];
    if (!key) return found;
    const keyed = found.map((sample) => [key(sample), sample]);
    keyed.sort(([one, first], [other, second]) => (one === other ? first - second : one - other));
    return keyed.map(([, sample]) => sample);
  }

  passes(filters, chosen, sample, scale) {
    if (filters.found && !filters.found.has(sample)) return false;
    if (filters.differ && !(this.spread(chosen, sample) > 0)) return false;
    if (filters.disagree && !chosen.some((cell) => this.judgesDisagree(cell, sample))) return false;
    if (filters.flag && !chosen.some((cell) => this.flags(cell, sample).includes(filters.flag))) return false;
    if (filters.trouble && !chosen.some((cell) => this.trouble(cell, sample) === filters.trouble)) return false;
    if (filters.group) {
      const [column, name] = JSON.parse(filters.group);
      if (this.group(column, sample) !== name) return false;
    }
    if (filters.least === "" && filters.most === "") return true;
    const value = this.value(chosen[0], sample);
    if (value === null) return false;
    return (
      (filters.least === "" || value * scale >= Number(filters.least) - 1e-9) &&
      (filters.most === "" || value * scale <= Number(filters.most) + 1e-9)
    );
  }
}
