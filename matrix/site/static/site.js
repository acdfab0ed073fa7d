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

const axisOf = word => word.slice(0, word.indexOf("-"));
const inWords = word => word.replace("-", " ");

function linkTo(href, text) {
  const link = document.createElement("a");
  link.href = href;
  link.textContent = text;
  return link;
}

// Another model, exporter or target has its own page. What is lit here stays lit there, if it is there. By arrow keys
// one passes over values that one does not mean, so these wait for Enter, or for the next field. A value that was not
// measured with all the others here is not opened: its nearest square is named.
function elsewhere(field, section) {
  let typed = false;
  const own = Math.max(0, [...field.options].findIndex(option => option.defaultSelected));
  function go() {
    if (!field.value) return;
    const { instead } = field.selectedOptions[0].dataset;
    if (instead) {
      const asked = field.dataset.axis + " " + field.selectedOptions[0].textContent;
      const has = instead.split(", ").map(words => words.split(" ")[0]);
      const here = section.dataset.fixed.split(" ").filter(word => has.includes(axisOf(word))).map(inWords);
      missing(section, asked + " was not measured with " + here.join(", ") + ". The nearest: ", linkTo(field.value, asked + " with " + instead), ".");
      field.selectedIndex = own;
      return;
    }
    const [page, there] = field.value.split("#");
    const axes = (there || "").split("&").map(axisOf);
    const here = location.hash.slice(1).split("&").filter(word => word && !axes.includes(axisOf(word)));
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
    field.selectedIndex = own;
  });
}

function missing(section, ...parts) {
  const line = section.querySelector(".missing");
  line.replaceChildren(...parts);
  line.hidden = !parts.length;
}

// What came with the address and is not in this square is said, with the nearest that is.
function notHere(section, known, words) {
  const parts = [];
  const fixed = section.dataset.fixed.split(" ");
  for (const word of words) {
    const other = fixed.find(each => axisOf(each) === axisOf(word));
    const among = [...known].filter(each => axisOf(each) === axisOf(word));
    if (known.has(word) || other === word || !(other || among.length)) continue;
    parts.push(inWords(word) + " was not measured in this square. ");
    if (other) parts.push("It has " + inWords(other) + ". ");
    if (!among.length) continue;
    const after = among.findIndex(each => each.localeCompare(word, "en", { numeric: true }) > 0);
    const near = after < 0 ? among.slice(-1) : among.slice(Math.max(0, after - 1), after + 1);
    parts.push("The nearest: ", ...near.flatMap(each => [linkTo("#" + each, inWords(each)), " "]));
  }
  missing(section, ...parts);
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
    missing(section);
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
      const meaning = [...marks.values()].find(each => each.dataset.mark === link.textContent);
      const words = meaning && meaning.parentElement.lastElementChild.querySelector("a");
      answer.replaceChildren(names.join(" with ") + ": " + link.title + ". ", words ? words.cloneNode(true) : "", linkTo(link.href, "evidence"));
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
  arrows(grid);
  form.hidden = false;
  form.querySelectorAll("select[data-axis]").forEach(field => elsewhere(field, section));
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
  notHere(section, new Set([...rows.keys(), ...columns.keys()]), decodeURIComponent(location.hash.slice(1)).split("&").filter(Boolean));
  if (location.hash && grid.classList.contains("chosen")) {
    // The browser went to the sentence in the list, and opened the list for it.
    window.addEventListener("load", () => requestAnimationFrame(() => {
      section.querySelector(".answers").open = false;
      section.scrollIntoView();
    }));
  }
}

// The square is one stop of the Tab key; arrows, Home and End move in it, over what was not measured.
function arrows(grid) {
  const links = [...grid.querySelectorAll("a")];
  const at = (row, column) => grid.rows[row] && grid.rows[row].cells[column] && grid.rows[row].cells[column].querySelector("a");
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function stop(link) {
    links.forEach(each => { each.tabIndex = -1; });
    link.tabIndex = 0;
  }

  function next(cell, key) {
    let row = cell.parentElement.rowIndex;
    let column = cell.cellIndex;
    const inRow = [...cell.parentElement.querySelectorAll("a")];
    if (key === "Home") return inRow[0];
    if (key === "End") return inRow[inRow.length - 1];
    const [down, across] = steps[key];
    for (row += down, column += across; grid.rows[row] && grid.rows[row].cells[column]; row += down, column += across) {
      if (at(row, column)) return at(row, column);
    }
    return null;
  }

  if (!links.length) return;
  grid.closest(".scroll").removeAttribute("tabindex");
  stop(links[0]);
  grid.addEventListener("focusin", event => stop(event.target));
  grid.addEventListener("keydown", event => {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    if (!plain || !(event.key in steps || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const link = next(event.target.closest("td, th"), event.key);
    if (link) link.focus();
  });
}

// A line as words between blanks: also the parts of mobilenet_v2, and those in one, mobilenetv2.
function wordsOf(text) {
  const words = text.toLowerCase().replaceAll("≠", " ").split(/[^a-z0-9._+-]+/).map(word => word.replace(/^[.+-]+|[.+-]+$/g, "")).filter(Boolean);
  const parts = words.filter(word => /[_-]/.test(word)).flatMap(word => [...word.split(/[_-]+/), word.replace(/[_-]+/g, "")]);
  return " " + [...words, ...parts].join(" ") + " ";
}

const UNSAID = new Set("a an and are by can do does for from i in is it load my of on or that the to was what which with".split(" "));
const isVersion = word => /^\d+(\.\d+)+$/.test(word);

// What must stand in a line: a word's beginning, a whole word of two letters; a release as such (3.1 is not 3.12); "compiler 3.8" together.
function wanted(query, axes) {
  const words = wordsOf(query).trim().split(" ").filter(word => word && !UNSAID.has(word));
  const found = [];
  for (let place = 0; place < words.length; place++) {
    const next = words[place + 1];
    const text = axes.includes(words[place]) && next && isVersion(next) ? words[place++] + " " + next : words[place];
    found.push(isVersion(text.split(" ").pop()) ? [" " + text + " ", " " + text + "."] : [" " + text + (/^[a-z]{1,2}$/.test(text) ? " " : "")]);
  }
  return found;
}

// How much of a pasted message a line of an error knows, numbers left out.
function likeness(query, known) {
  const words = [...new Set(query.toLowerCase().match(/[a-z_]{3,}/g) || [])];
  return words.length < 3 ? 0 : words.filter(word => known.has(word)).length / words.length;
}

function search(form) {
  const field = document.getElementById("find");
  const counted = document.getElementById("counted");
  const nothing = document.getElementById("nothing");
  const axes = form.dataset.axes.split(" ");
  const lines = [...document.querySelectorAll(".found li")].map(line => [line, wordsOf(line.textContent)]);
  const errors = lines.map(([line]) => line).filter(line => line.dataset.message).map(line => [line, new Set(line.dataset.message.split(" "))]);
  const groups = [...document.querySelectorAll(".found")];
  function pasted() {
    const scores = errors.map(([line, known]) => [line, likeness(field.value, known)]);
    const best = Math.max(0.5, ...scores.map(([, score]) => score));
    return new Set(scores.filter(([, score]) => score >= best - 0.05 && score >= 0.5).map(([line]) => line));
  }
  function filter() {
    const all = wanted(field.value, axes);
    const holds = text => all.every(words => words.some(word => text.includes(word)));
    let found = new Set(lines.filter(([, text]) => holds(text)).map(([line]) => line));
    if (!found.size) found = pasted();
    for (const [line] of lines) {
      if (line.hidden === found.has(line)) line.hidden = !line.hidden;
    }
    for (const group of groups) group.hidden = !group.querySelector("li:not([hidden])");
    nothing.hidden = found.size > 0;
    counted.textContent = !all.length ? "" : found.size ? found.size + " found" : "Nothing found.";
  }
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  field.addEventListener("input", () => {
    filter();
    history.replaceState(null, "", field.value ? "#q=" + encodeURIComponent(field.value) : location.pathname);
  });
  function fromAddress() {
    if (location.hash.startsWith("#q=")) field.value = decodeURIComponent(location.hash.slice(3));
    filter();
  }
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
  field.focus();
}

// A button copies the text of the element that it names; where a browser has no clipboard, the text is selected.
function copyButton(button) {
  const source = document.getElementById(button.dataset.copy);
  const name = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = name; }, 2000);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  document.querySelectorAll("button.copy").forEach(copyButton);
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
