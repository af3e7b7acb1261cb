"use strict";
(() => {
  const { classes, columns, cases } = JSON.parse(document.getElementById("numbers").textContent);
  const byId = (id) => document.getElementById(id);
  const body = byId("table").tBodies[0];
  const rows = [...body.rows];
  const index = (row) => Number(row.dataset.index);
  let chosen = 0; // class whose values the table shows; 0 is all classes

  const format = (value, { decimals, signed }) => {
    if (value === null) return "-";
    const text = value.toFixed(Math.abs(value) < 1000 ? decimals : 0);
    return signed && !text.startsWith("-") ? `+${text}` : text;
  };

  // ------------------------------------------------------------- values of a class

  const showClass = () => {
    for (const row of rows) {
      const { values, outcomes } = cases[index(row)];
      row.querySelectorAll(".value").forEach((cell, k) => {
        cell.textContent = format(values[k][chosen], columns[k]);
      });
      const outcome = row.querySelector(".outcome");
      if (outcome) outcome.textContent = outcomes[chosen];
    }
  };

  // ------------------------------------------------------------- sorting

  const names = new Intl.Collator(undefined, { numeric: true });
  const keyOf = (row, by) => {
    if (by === "name") return cases[index(row)].name;
    if (by === "outcome") return cases[index(row)].outcomes[chosen];
    if (by === "role") return row.querySelector(".role").textContent;
    return cases[index(row)].values[Number(by)][chosen];
  };

  const sort = () => {
    const header = byId("table").querySelector("[aria-sort]");
    const by = header.dataset.sort;
    const sign = header.getAttribute("aria-sort") === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [x, y] = [keyOf(a, by), keyOf(b, by)];
      // cases without a value stay at the end, whichever way the others are sorted
      const lacking = (x === null || x === "") - (y === null || y === "");
      if (lacking || x === null) return lacking;
      return sign * (typeof x === "number" ? x - y : names.compare(x, y));
    });
    body.append(...rows);
  };

  byId("table").querySelectorAll("[data-sort]").forEach((header) => {
    header.querySelector("button").addEventListener("click", () => {
      const old = header.getAttribute("aria-sort");
      byId("table").querySelector("[aria-sort]").removeAttribute("aria-sort");
      header.setAttribute("aria-sort", old === "ascending" ? "descending" : "ascending");
      sort();
    });
  });

  // ------------------------------------------------------------- filtering

  const filter = () => {
    const words = byId("find").value.toLocaleLowerCase();
    const [metric, limit] = [byId("metric").value, byId("limit").valueAsNumber];
    const below = byId("relation").value === "below";
    let shown = 0;
    for (const row of rows) {
      const { name, values } = cases[index(row)];
      let keep = name.toLocaleLowerCase().includes(words);
      if (keep && metric !== "" && !Number.isNaN(limit)) {
        const value = values[Number(metric)][chosen];
        keep = value !== null && (below ? value <= limit : value >= limit);
      }
      row.hidden = !keep;
      shown += keep;
    }
    byId("count").textContent = `${shown} of ${rows.length} cases`;
  };

  const refresh = () => {
    // rows that move while the mouse is pressed on one of them would swallow the click
    if (chosen !== byId("class").selectedIndex) {
      chosen = byId("class").selectedIndex;
      showClass();
      sort();
    }
    filter();
  };
  byId("controls").addEventListener("input", refresh);
  byId("controls").addEventListener("change", refresh); // all that some tools send of a selection
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("reset", () => setTimeout(refresh));

  // ------------------------------------------------------------- pictures of a case

  const viewer = byId("viewer");
  let current = null; // what was clicked, and gets the focus back
  let shownRow = null;

  const element = (tag, text, scope) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };

  const single = (alone) => {
    for (const id of ["previous", "next"]) byId(id).hidden = alone;
    byId("viewer-numbers").parentElement.hidden = alone;
    byId("viewer-body").scrollTop = 0;
  };

  // what is enlarged stays named: the caption does not scroll with the picture
  const showFigure = (figure, opener) => {
    current = opener;
    const [first, ...rest] = figure.querySelector("figcaption").textContent.split(": ");
    byId("viewer-title").textContent = rest.length ? first : "";
    byId("viewer-note").textContent = rest.length ? rest.join(": ") : first;
    const picture = figure.querySelector("img").cloneNode();
    byId("viewer-sheet").replaceChildren(picture);
    single(true);
  };

  const show = (row) => {
    current = row.querySelector(".open");
    shownRow = row;
    const { name, values, outcomes } = cases[index(row)];
    byId("viewer-title").textContent = name;
    byId("viewer-note").textContent = columns
      .map((column, c) => `${column.title} ${format(values[c][0], column)}`)
      .slice(0, 3).join(", ");
    byId("viewer-sheet").replaceChildren(
      byId(`sheet-${index(row)}`).content.cloneNode(true),
    );
    const head = document.createElement("tr");
    head.append(...["class", ...columns.map((column) => column.title), ""].map(
      (text) => element("th", text, "col"),
    ));
    const lines = classes.map((label, k) => {
      const line = document.createElement("tr");
      const cells = columns.map((column, c) => element("td", format(values[c][k], column)));
      line.append(element("th", label, "row"), ...cells, element("td", k ? outcomes[k] : ""));
      return line;
    });
    byId("viewer-numbers").replaceChildren(head, ...lines);
    single(false);
  };

  const step = (by) => {
    const shown = rows.filter((row) => !row.hidden);
    const next = shown[shown.indexOf(shownRow) + by];
    if (next) show(next);
  };

  body.addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (!button) return;
    show(button.closest("tr"));
    viewer.showModal();
  });
  document.querySelectorAll(".enlarge").forEach((button) => {
    button.addEventListener("click", () => {
      const { case: number } = button.dataset;
      if (number !== undefined) {
        show(rows.find((row) => row.dataset.index === number));
        current = button;
      } else {
        showFigure(button.closest("figure"), button);
      }
      viewer.showModal();
    });
  });
  viewer.addEventListener("close", () => current.focus());
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close(); // the backdrop
  });
  viewer.addEventListener("keydown", (event) => {
    if (byId("next").hidden) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));

  byId("controls").hidden = false; // they do nothing without this script
  refresh(); // a browser may keep what was typed before the page was loaded again
})();
