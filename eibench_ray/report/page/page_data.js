// Data of the page: blocks by name, each read when it is looked at, and the last few kept.
// They stand in the page as scripts that never run; those of a large page are files beside it, which script elements load.

const MOST_KEPT = 24;
const keptBlocks = new Map();
const waitingBlocks = new Map();

/** Called by a data file that a script element has loaded. */
function keepBlock(name, value) {
  waitingBlocks.get(name)?.resolve(value);
}

function loadBlock(name) {
  const inline = byId(`block-${name}`);
  if (inline) return Promise.resolve(JSON.parse(inline.textContent));
  const [folder, stamp] = document.body.dataset.place.split("|");
  if (!stamp) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const script = element("script", {
      src: `${encodeURIComponent(folder)}/${name}.${stamp}.js`,
      onerror: () =>
        reject(new Error(`${folder}/${name}.${stamp}.js cannot be read: keep the folder ${folder} beside this page`)),
      onload: () => script.remove(),
    });
    waitingBlocks.set(name, { resolve });
    document.head.append(script);
  }).finally(() => waitingBlocks.delete(name));
}

/** A block, or null where the page has none of that name. */
async function readBlock(name) {
  let block = keptBlocks.get(name);
  keptBlocks.delete(name);
  block ??= loadBlock(name);
  keptBlocks.set(name, block); // last, so that the first is the one that was not looked at for longest
  if (keptBlocks.size > MOST_KEPT) keptBlocks.delete(keptBlocks.keys().next().value);
  return block;
}

/** The text of a block by its number; null for none. */
const textOf = (block, place) => (place === null || place === undefined ? null : block.texts[place]);
