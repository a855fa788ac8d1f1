// The head of the page: what was asked, with what, and what came of it.

function drawHead(head) {
  const first = head.runs[0];
  byId("top-name").textContent = head.title;
  fill(byId("head"), {}, [
    element("p", { class: "kicker" }, head.runs.length > 1 ? counted(head.runs.length, "run") : `run ${first.id}`),
    element("h1", { id: "title" }, head.title),
    element("p", { class: "lead" }, head.asked),
    element("p", { class: "note" }, head.runs.length > 1 ? null : joined([first.began, first.state, head.versions])),
    element(
      "dl",
      { class: "facts" },
      head.facts.map((fact) =>
        element(
          "div",
          { class: fact.tone },
          element("dt", {}, fact.name),
          element("dd", {}, element("b", {}, fact.text), element("span", {}, fact.note)),
        ),
      ),
    ),
    [...head.troubles, ...head.blocked, ...head.failed].map((line) => element("p", { class: "warning" }, line)),
    folded("Models, versions and the command to repeat this", drawModels(head), drawRuns(head)),
    element("p", { class: "note" }, head.contents),
  ]);
}

function drawModels(head) {
  const columns = ["name", "source", "revision", "engine", "licence"].filter((name) =>
    head.models.some((model) => model[name]),
  );
  const heads = columns.map((name) => (name === "name" ? "model" : name));
  return table("Models", heads, head.models.map((model) => columns.map((name) => model[name])));
}

function drawRuns(head) {
  return head.runs.map((run) =>
    element(
      "div",
      { class: "run" },
      head.runs.length > 1 ? element("h4", {}, `${run.letter}: ${run.sweep}`) : null,
      head.runs.length > 1 ? element("p", { class: "note" }, joined([`run ${run.id}`, run.began, run.state])) : null,
      element("p", { class: "note" }, `Folder: ${run.folder}`),
      run.versions ? element("p", { class: "note" }, `Versions: ${run.versions}`) : null,
      run.command
        ? element("pre", { class: "command" }, run.command)
        : element("p", { class: "note" }, "The run's folder does not say which command began it."),
    ),
  );
}
