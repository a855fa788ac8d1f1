// Searches texts block by block, so that the page stays alive and holds no more of them than it shows.

const TEXT_COLUMNS = ["inputs", "targets", "sent", "answers", "thinking", "calls"];

/** Samples of a set with a text (in lower case) in their ids, their own texts, or what some cells sent and were answered. */
async function findText(wanted, page, set, ids, cells, isWanted, tell) {
  const found = new Set();
  ids.forEach((id, sample) => id.toLowerCase().includes(wanted) && found.add(sample));
  const size = page.blockRows;
  const answers = uniquely(cells.map((cell) => cell.answers));
  for (let block = 0; block * size < ids.length; block += 1) {
    const names = [`samples-${set}-${block}`, ...answers.map((number) => `answers-${number}-${block}`)];
    for (const name of names) {
      const data = await readBlock(name);
      if (!isWanted()) return null;
      const has = (text) => text.toLowerCase().includes(wanted);
      const hits = new Set((data?.texts ?? []).flatMap((text, number) => (has(text) ? [number] : [])));
      if (hits.size) placesOf(data, hits).forEach((place) => found.add(block * size + place));
    }
    if (block % 8 === 7) {
      tell(Math.min((block + 1) * size, ids.length));
      await new Promise((resolve) => setTimeout(resolve)); // lets the page draw, and take the next key
    }
  }
  return found;
}

/** Rows of a block that hold one of some texts, by their numbers. */
function placesOf(data, hits) {
  const has = (value) => (typeof value === "number" ? hits.has(value) : Array.isArray(value) && value.some(has));
  const columns = TEXT_COLUMNS.filter((name) => data[name]);
  const found = new Set();
  columns.forEach((name) => data[name].forEach((value, place) => has(value) && found.add(place)));
  return found;
}
