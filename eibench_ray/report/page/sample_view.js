// One sample: its pictures and target, and what two or three cells answered, side by side.

/** A mark that says the same by its shape, its word and its colour. */
function hitMark(isHit) {
  return element("span", { class: isHit ? "hit" : "missed" }, isHit ? "✓ hit" : "✗ missed");
}

const joined = (names) => names.filter(Boolean).join(" · ");

/** Everything about one sample, as an element. */
async function drawSample(page, set, index, sample, chosen) {
  const block = Math.floor(sample / page.blockRows);
  const place = sample % page.blockRows;
  const [own, ...parts] = await Promise.all([
    readBlock(`samples-${set}-${block}`),
    ...chosen.map(async (cell) => ({
      cell,
      answers: await readBlock(`answers-${page.cells[cell].answers}-${block}`),
      scores: await readBlock(`scores-${cell}-${block}`),
    })),
  ]);
  const prompts = parts.map((part) => drawPrompts(part, place));
  const isShared = prompts.length > 1 && uniquely(prompts.map((prompt) => prompt.textContent)).length === 1;
  return element(
    "article",
    { class: "sample" },
    drawPictures(own, place),
    drawInputs(own, place),
    drawTargets(own, place, page, parts),
    isShared ? folded("Prompt as sent, to all of these", prompts[0]) : null,
    element(
      "div",
      { class: "columns" },
      parts.map((part, number) =>
        drawCell(page, index, sample, place, part, "ABC"[number], isShared ? null : prompts[number]),
      ),
    ),
  );
}

function drawPictures(own, place) {
  const paths = own.media?.[place] ?? [];
  const numbers = own.pictures?.[place] ?? [];
  if (!paths.length) return null;
  if (!numbers.length) {
    return element(
      "p",
      { class: "note" },
      `${counted(paths.length, "picture")}, not in this page: ${paths.join(", ")}`,
    );
  }
  return element(
    "div",
    { class: "pictures" },
    numbers.map((number, order) =>
      element(
        "figure",
        {},
        element("img", {
          src: own.thumbnails[number],
          alt: `Picture ${order + 1} of the sample: ${paths[order] ?? ""}`,
        }),
        paths.length > 1 ? element("figcaption", {}, `picture ${order + 1}`) : null,
      ),
    ),
  );
}

function drawInputs(own, place) {
  const inputs = own.inputs?.[place] ?? [];
  const metadata = own.metadata?.[place] ?? [];
  return element(
    "dl",
    { class: "inputs" },
    inputs.map(([name, text]) => [element("dt", {}, name), element("dd", {}, textOf(own, text))]),
    metadata.length
      ? [
          element("dt", {}, "columns"),
          element(
            "dd",
            { class: "chips" },
            metadata.map(([name, text]) => element("span", { class: "chip" }, element("b", {}, name), ` ${text}`)),
          ),
        ]
      : null,
  );
}

/** The target; where scorers say which of its parts an answer has, a table with a column per cell and judge's repeat. */
function drawTargets(own, place, page, parts) {
  const targets = (own.targets?.[place] ?? []).map((number) => textOf(own, number));
  if (!targets.length) return null;
  const columns = parts.flatMap(({ cell, scores }, number) =>
    (scores.scores?.[place] ?? []).flatMap((answer, repeat) =>
      answer.flatMap((score, seat) =>
        score?.[4]
          ? [
              {
                title: `${"ABC"[number]} ${page.cells[cell].names.slice(0, 2).join(" · ")}`,
                judge: joined([
                  page.cells[cell].seats[seat] ?? page.cells[cell].names[3],
                  repeat ? `answer ${repeat + 1}` : "",
                ]),
                hits: score[4],
              },
            ]
          : [],
      ),
    ),
  );
  if (!columns.length) {
    return element(
      "div",
      { class: "target" },
      element("h4", {}, "Target"),
      element(
        "ul",
        {},
        targets.map((target) => element("li", {}, target)),
      ),
    );
  }
  const heads = ["Target", ...columns.map((column) => [column.title, element("small", {}, column.judge)])];
  const hits = (number) => columns.map((column) => (number in column.hits ? hitMark(column.hits[number]) : "-"));
  return table("Target", heads, targets.map((target, number) => [target, ...hits(number)]), "target wide");
}

function drawPrompts({ answers }, place) {
  const sent = uniquely((answers?.sent?.[place] ?? []).map((one) => JSON.stringify(one))).map((one) => JSON.parse(one));
  return element(
    "div",
    {},
    sent.map((one) =>
      one === null
        ? element(
            "p",
            { class: "note" },
            "Not asked, or the words that were sent cannot be made again: the dataset or the prompt has changed since.",
          )
        : [
            one[0] === null
              ? null
              : element("div", {}, element("h5", {}, "system"), element("pre", {}, textOf(answers, one[0]))),
            element(
              "div",
              {},
              one[0] === null ? null : element("h5", {}, "user"),
              element("pre", {}, textOf(answers, one[1])),
            ),
          ],
    ),
  );
}

function drawCell(page, index, sample, place, { cell, answers, scores }, letter, prompt) {
  const { names, metric } = page.cells[cell];
  const level = index.level(cell, sample);
  const marks = [...index.flags(cell, sample), index.trouble(cell, sample)].filter(Boolean);
  const given = answers?.answers?.[place] ?? answers?.facts?.[place] ?? [null];
  return element(
    "section",
    { class: "cell" },
    element(
      "h4",
      {},
      element("span", { class: "letter" }, letter),
      names[0],
      element("small", {}, `${names[1]}, judged by ${names[3]}`),
    ),
    element(
      "p",
      { class: "figure" },
      element("strong", {}, level ? level[1] : "-"),
      ` ${metric}`,
      marks.map((mark) => [" ", element("span", { class: "mark" }, mark)]),
    ),
    prompt ? folded("Prompt as sent", prompt) : null,
    drawCalls(answers, place),
    given.map((text, repeat) => drawAnswer(page.cells[cell], answers, scores, place, repeat, given.length, text)),
  );
}

function drawCalls(answers, place) {
  const calls = answers?.calls?.[place] ?? [];
  return calls.length
    ? folded(
        counted(calls.length, "earlier call"),
        element(
          "dl",
          {},
          calls.map(([title, text]) => [
            element("dt", {}, title),
            element("dd", { class: "text" }, textOf(answers, text)),
          ]),
        ),
      )
    : null;
}

function drawAnswer(cell, answers, scores, place, repeat, num, text) {
  const thinking = textOf(answers, answers?.thinking?.[place]?.[repeat]);
  const error = answers?.errors?.[place]?.[repeat];
  const facts = textOf(answers, answers?.facts?.[place]?.[repeat]);
  const answer = textOf(answers, text);
  return element(
    "div",
    { class: "answer" },
    num > 1 ? element("h5", {}, `answer ${repeat + 1}`) : null,
    thinking ? folded("Thinking", element("div", { class: "text thinking" }, thinking)) : null,
    error
      ? element("p", { class: "error" }, `${error[0]}: ${textOf(answers, error[1]) ?? ""}`)
      : element("div", { class: "text" }, answer ?? element("em", {}, "no answer yet")),
    facts ? element("p", { class: "facts" }, facts) : null,
    drawVerdicts(cell, scores, place, repeat),
  );
}

/** Scores of one answer, judge by judge: the explanation in sight, the reply as it came folded. */
function drawVerdicts(cell, scores, place, repeat) {
  const given = scores?.scores?.[place]?.[repeat] ?? [];
  const replies = scores?.replies?.[place]?.[repeat] ?? [];
  return [
    given.map((score, seat) =>
      score === null
        ? null
        : element(
            "div",
            { class: "verdict" },
            element("b", {}, given.length === 1 ? cell.names[3] : (cell.seats[seat] ?? `repeat ${seat + 1}`)),
            element("span", {}, ` ${joined([score[1], score[2]])}`),
            textOf(scores, score[3]) ? element("blockquote", {}, textOf(scores, score[3])) : null,
          ),
    ),
    replies.some((reply) => reply !== null)
      ? folded(
          replies.length > 1 ? "Replies of the judges" : "Reply of the judge",
          replies.map((reply, seat) => [
            replies.length > 1 ? element("h5", {}, cell.seats[seat] ?? "") : null,
            element("pre", {}, textOf(scores, reply) ?? "-"),
          ]),
        )
      : null,
  ];
}
