// Without this script every page is whole: it lights up what is picked, filters lists, and keeps the choice of colours.
"use strict";

const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function kept(name, value) {
  try {  // file:// and private windows may refuse a storage
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

if (["light", "dark"].includes(kept("theme"))) root.dataset.theme = kept("theme");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
}

function themeButton() {
  const button = document.getElementById("theme");
  const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept("theme", root.dataset.theme);
    say();
  });
  dark.addEventListener("change", say);
  say();
}

// Another model, exporter or target has its own page. What is lit here stays lit there, if it is there. By arrow keys
// one passes over values that one does not mean, so these wait for Enter, or for the next field.
function elsewhere(field) {
  let typed = false;
  function go() {
    if (!field.value) return;
    const [page, there] = field.value.split("#");
    const axes = (there || "").split("&").map(word => word.slice(0, word.indexOf("-")));
    const here = location.hash.slice(1).split("&").filter(word => word && !axes.includes(word.slice(0, word.indexOf("-"))));
    const words = [there, ...here].filter(Boolean).join("&");
    location.href = words ? page + "#" + words : page;
  }
  field.addEventListener("keydown", event => {
    typed = event.key !== "Enter";
    if (!typed) go();
  });
  field.addEventListener("pointerdown", () => { typed = false; });
  field.addEventListener("change", () => { if (!typed) go(); });
  field.addEventListener("blur", go);
  window.addEventListener("pageshow", () => {  // back from there: this page shows what it shows
    const own = [...field.options].findIndex(option => option.defaultSelected);
    field.selectedIndex = Math.max(0, own);
  });
}

// The choice is the address: "#compiler-3.8.0&runtime-3.9.0" or "#mark-B". So back, reload and links keep it.
function square(section) {
  const grid = section.querySelector(".grid");
  const form = section.querySelector(".pick");
  const fields = [...form.querySelectorAll("select[name]")];
  const answer = section.querySelector(".answer");
  const hint = answer.firstElementChild;
  const rows = new Map();
  const columns = new Map();
  const name = link => decodeURIComponent(link.hash.slice(1));
  grid.querySelectorAll("tbody tr").forEach(tr => rows.set(name(tr.querySelector("th a")), tr));
  grid.querySelectorAll("thead th").forEach(th => columns.set(name(th.querySelector("a")), th));
  const marks = new Map();
  section.querySelectorAll(".legend a.mark").forEach(link => marks.set(name(link), link));

  function chosen() {
    const words = decodeURIComponent(location.hash.slice(1)).split("&");
    const first = known => words.find(word => known.has(word));
    return { row: first(rows), column: first(columns), mark: first(marks) };
  }

  function choose(words) {
    const hash = words.filter(Boolean).map(encodeURIComponent).join("&");
    if (hash !== location.hash.slice(1)) history.pushState(null, "", hash ? "#" + hash : location.pathname + location.search);
    show();
  }

  function said(id) {
    return [...document.getElementById(id).childNodes].map(node => node.cloneNode(true));
  }

  function show() {
    const { row, column, mark } = chosen();
    const at = column ? columns.get(column).cellIndex : -1;
    const letter = mark ? marks.get(mark).dataset.mark : null;
    grid.classList.toggle("chosen", Boolean(row || column || mark));
    columns.forEach((th, id) => th.classList.toggle("picked", id === column));
    rows.forEach((tr, id) => {
      tr.cells[0].classList.toggle("picked", id === row);
      for (let place = 1; place < tr.cells.length; place++) {
        const cell = tr.cells[place];
        const both = row && column;
        const lit = both ? id === row || place === at : id === row || place === at || (letter !== null && cell.textContent === letter);
        cell.classList.toggle("lit", lit);
        cell.classList.toggle("exact", Boolean(both && id === row && place === at));
      }
    });
    marks.forEach((link, id) => link.setAttribute("aria-current", String(id === mark)));
    fields[0].value = row || "";
    fields[1].value = column || "";
    if (column) columns.get(column).scrollIntoView({ block: "nearest", inline: "nearest" });
    tell(row, column, mark, at);
  }

  function tell(row, column, mark, at) {
    if (row && column) {
      const link = rows.get(row).cells[at].querySelector("a");
      const names = fields.map(field => field.name + " " + field.selectedOptions[0].textContent);
      if (!link) { answer.replaceChildren(names.join(" with ") + ": not measured."); return; }
      const way = document.createElement("a");
      way.href = link.href;
      way.textContent = "evidence";
      const meaning = [...marks.values()].find(each => each.dataset.mark === link.textContent);
      const words = meaning && meaning.parentElement.lastElementChild.querySelector("a");
      answer.replaceChildren(names.join(" with ") + ": " + link.title + ". ", words ? words.cloneNode(true) : "", way);
    } else if (row || column) {
      answer.replaceChildren(...said(row || column));
    } else if (mark) {
      answer.replaceChildren(...[...marks.get(mark).parentElement.lastElementChild.childNodes].map(node => node.cloneNode(true)));
    } else {
      answer.replaceChildren(hint);
    }
  }

  section.addEventListener("click", event => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = link.getAttribute("href").startsWith("#") ? name(link) : null;
    if (id === null || !(rows.has(id) || columns.has(id) || marks.has(id))) return;
    event.preventDefault();
    choose(location.hash.slice(1) === encodeURIComponent(id) ? [] : [id]);
  });
  form.hidden = false;
  form.querySelectorAll("select[data-axis]").forEach(elsewhere);
  form.addEventListener("change", event => {
    if (fields.includes(event.target)) choose(fields.map(field => field.value));
  });
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", event => { event.preventDefault(); choose([]); });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && location.hash) choose([]);
  });
  window.addEventListener("popstate", show);
  window.addEventListener("hashchange", show);
  show();
  if (location.hash && grid.classList.contains("chosen")) {
    // The browser went to the sentence in the list, and opened the list for it.
    window.addEventListener("load", () => requestAnimationFrame(() => {
      section.querySelector(".answers").open = false;
      section.scrollIntoView();
    }));
  }
}

function search(form) {
  const field = document.getElementById("find");
  const counted = document.getElementById("counted");
  const lines = [...document.querySelectorAll(".found li")].map(line => [line, line.textContent.toLowerCase()]);
  const groups = [...document.querySelectorAll(".found")];
  function filter() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [line, text] of lines) {
      const found = words.every(word => text.includes(word));
      if (line.hidden === found) line.hidden = !found;
      count += found;
    }
    for (const group of groups) group.hidden = !group.querySelector("li:not([hidden])");
    counted.textContent = words.length ? count + " found" : "";
  }
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  field.addEventListener("input", () => {
    filter();
    history.replaceState(null, "", field.value ? "#q=" + encodeURIComponent(field.value) : location.pathname);
  });
  if (location.hash.startsWith("#q=")) field.value = decodeURIComponent(location.hash.slice(3));
  filter();
  field.focus();
}

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  document.querySelectorAll(".square").forEach(square);
  document.querySelectorAll(".find").forEach(search);
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    const field = document.getElementById("find");
    if (field) field.focus();
    else location.href = document.querySelector('header a[href$="search.html"]').href;
  });
});
