// Sorting, filtering and the theme. Without this file the tables, charts and links are all there.
"use strict";

(() => {
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("sertbench-theme"); } catch { return null; } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (theme) => { root.dataset.theme = theme; };
  show(remembered() || (system.matches ? "dark" : "light"));

  function setUpTheme() {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = root.dataset.theme === "dark" ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      show(root.dataset.theme === "dark" ? "light" : "dark");
      label();
      try { localStorage.setItem("sertbench-theme", root.dataset.theme); } catch { /* the choice lasts for this page */ }
    });
    system.addEventListener("change", () => { if (!remembered()) { show(system.matches ? "dark" : "light"); label(); } });
  }

  // The value that a cell sorts by: a number if it starts with one, else text; null for an empty cell.
  function value(cell, isText) {
    const text = cell.textContent.trim();
    if (isText) return text.toLowerCase();
    const number = parseFloat(text.replaceAll(",", "").replace(/^[^-\d]+/, ""));
    return Number.isNaN(number) ? null : number;
  }

  const hasText = (head) => head.dataset.col === "model" || "text" in head.dataset;

  function sortBy(table, column, order) {
    const isText = hasText(table.tHead.rows[0].cells[column]);
    const sign = order === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      body.original ??= [...body.rows].filter((row) => !row.classList.contains("group"));
      let rows = body.original;
      if (order !== "none") {
        const keyed = rows.map((row, at) => ({ row, at, key: value(row.cells[column], isText) }));
        keyed.sort((a, b) => {
          if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.at - b.at;
          return sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) || a.at - b.at;
        });
        rows = keyed.map((item) => item.row);
      }
      const head = [...body.rows].filter((row) => row.classList.contains("group"));
      body.replaceChildren(...head, ...rows);
    }
  }

  function setUpSorting(table) {
    if (table.rows.length > 60 && table.matches(".results, .matrix")) table.classList.add("large");
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...[...head.childNodes].filter((node) => node.nodeName !== "svg"));
      head.prepend(button);
      button.addEventListener("click", () => {
        const first = head.dataset.col === "rank" || hasText(head) ? "ascending" : "descending";
        const second = first === "ascending" ? "descending" : "ascending";
        const now = head.getAttribute("aria-sort");
        const next = now === null ? first : now === first ? second : "none";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        sortBy(table, column, next);
      });
    });
  }

  function setUpFilters() {
    const form = document.getElementById("filters");
    if (!form) return;
    form.hidden = false;
    const field = (name) => document.getElementById(`f-${name}`);
    const boards = [...document.querySelectorAll(".board")].map((section) => ({
      section,
      bodies: [...section.querySelectorAll("tbody")].map((body) => ({
        body,
        rows: [...body.rows].filter((row) => !row.classList.contains("group")).map(known),
      })),
    }));
    const matrix = [...document.querySelectorAll(".matrix tbody tr")].map(known);
    function known(row) {
      return { row, name: row.querySelector("th").textContent.toLowerCase(), family: row.dataset.family, budget: row.dataset.budget };
    }
    const hide = (element, hidden) => { if (element.hidden !== hidden) element.hidden = hidden; };

    function apply() {
      const text = field("text").value.trim().toLowerCase();
      const [corpus, protocol, family, budget] = ["corpus", "protocol", "family", "budget"].map((name) => field(name).value);
      const fits = (item) => (!text || item.name.includes(text)) && (!family || item.family === family);
      let shown = 0;
      let all = 0;
      for (const { section, bodies } of boards) {
        const chosen = (!corpus || section.dataset.corpus === corpus) && (!protocol || section.dataset.protocol === protocol);
        let here = 0;
        for (const { body, rows } of bodies) {
          let left = 0;
          for (const item of rows) {
            const visible = chosen && fits(item) && (!budget || item.budget === budget);
            if (chosen) hide(item.row, !visible);
            left += visible;
          }
          hide(body, left === 0);
          here += left;
          all += rows.length;
        }
        hide(section, here === 0);
        shown += here;
      }
      for (const item of matrix) hide(item.row, !fits(item));
      document.getElementById("count").textContent = `${shown} of ${all} rows`;
      document.getElementById("nothing").hidden = shown > 0;
    }
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
  }

  document.addEventListener("DOMContentLoaded", () => {
    setUpTheme();
    document.querySelectorAll("table.sortable").forEach(setUpSorting);
    setUpFilters();
  });
})();
